//! Dependencies lead to units and never in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::Set;
use crate::Name;
use crate::codes::{
    CHAIN_LOOP, CONFLICT_AND_ORDER, CONFLICT_AT_BOOT, CYCLE, NO_SERVER, SELF_DEPENDENCY, UNKNOWN_UNIT,
    WAITS_FOR_IDLE, WRONG_KIND,
};
use crate::diagnostic::Code;
use crate::fault::{Fault, Place};
use crate::nearest::nearest;
use crate::resolve::Origin;
use crate::spec::{Host, NetworkMode, Start, Strength, Type, Unit};

/// A key that names other units, and what the name means there.
struct Reference<'u> {
    name: &'u Name,
    key: String,
    /// Nothing of it works without the other unit.
    firm: bool,
    /// The unit waits for the other one to come.
    waits: bool,
}

fn references(unit: &Unit) -> impl Iterator<Item = Reference<'_>> {
    let depends = unit.depends.iter().map(|(name, depends)| Reference {
        name,
        key: key_of(unit, name),
        firm: depends.strength != Strength::Wants,
        waits: depends.strength != Strength::Wants,
    });
    let lists = [
        ("after", &unit.after, false),
        ("before", &unit.before, false),
        ("conflicts", &unit.conflicts, false),
        ("on_failure", &unit.on_failure, true),
        ("on_success", &unit.on_success, true),
    ];
    let listed = lists.into_iter().flat_map(|(key, names, firm)| {
        names.iter().map(move |name| Reference { name, key: key.to_owned(), firm, waits: false })
    });
    let servers = unit.wait_for.tcp.iter().filter_map(|server| match &server.host {
        Host::Unit(name) => Some(Reference { name, key: "wait_for.tcp".to_owned(), firm: true, waits: true }),
        Host::Address(_) => None,
    });
    depends.chain(listed).chain(servers)
}

/// The units whose servers a start waits for.
fn servers_of(unit: &Unit) -> impl Iterator<Item = &Name> {
    references(unit).filter(|reference| reference.key == "wait_for.tcp").map(|reference| reference.name)
}

/// The key by which a unit depends on another: who is in its network need not say so.
fn key_of(unit: &Unit, on: &Name) -> String {
    match unit.network.owner() {
        Some(owner) if owner == on => unit.network.key().to_owned(),
        _ => format!("depends.{on}"),
    }
}

pub(super) fn check_references(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for (name, unit) in &set.declared.units {
        let Some(origin) = set.origin(name) else { continue };
        for reference in references(unit) {
            faults.extend(check_reference(set, (name, unit), &reference, origin));
        }
    }
}

fn check_reference(
    set: &Set<'_>,
    (name, unit): (&Name, &Unit),
    reference: &Reference<'_>,
    origin: &Origin,
) -> Option<Fault> {
    let place = origin.key(&reference.key);
    let other = reference.name;
    if other == name {
        let what = if unit.depends.contains_key(other) { "depends on" } else { "names" };
        return Some(Fault::error(SELF_DEPENDENCY, place, format!("unit '{name}' {what} itself")));
    }
    match set.kind(other) {
        None => {
            let message = format!("unit '{other}' does not exist");
            let fault = match reference.firm {
                true => Fault::error(UNKNOWN_UNIT, place, message),
                false => Fault::warning(UNKNOWN_UNIT, place, message),
            };
            let others = set.declared.units.keys().filter(|other| *other != name).map(Name::as_str);
            Some(match nearest(other.as_str(), others) {
                Some(near) => fault.label(format!("did you mean '{near}'?")),
                None => fault.help(format!("add {other}.toml, or take the name out")),
            })
        }
        Some("a container") if reference.key == "wait_for.tcp" && is_unreachable(set, other) => {
            let message = format!("'{other}' has no network in which somebody could reach it");
            Some(Fault::error(NO_SERVER, place, message))
        }
        Some("a container") if reference.waits => {
            let needed = set.declared.units.get(other)?;
            let idle = starts(unit) && !starts(needed);
            let why = if needed.enabled { "is only started by hand" } else { "is disabled" };
            idle.then(|| {
                let message = format!("unit '{name}' waits for '{other}', which {why}");
                Fault::warning(WAITS_FOR_IDLE, place, message)
            })
        }
        Some("a container" | "broken") => None,
        Some(kind) => Some(Fault::error(
            WRONG_KIND,
            place,
            format!("a unit cannot depend on '{other}', which is {kind}"),
        )),
    }
}

/// Whether nobody can connect to a unit from outside.
fn is_unreachable(set: &Set<'_>, name: &Name) -> bool {
    let unit = set.declared.units.get(name);
    let owner = unit.and_then(|unit| unit.network.owner()).and_then(|owner| set.declared.units.get(owner));
    owner.or(unit).is_some_and(|unit| unit.network == NetworkMode::None)
}

/// Whether a unit starts with the node.
fn starts(unit: &Unit) -> bool {
    unit.enabled && unit.start == Start::Boot
}

/// Two that conflict cannot both start with the node, nor can one wait for the other.
pub(super) fn check_conflicts(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for (name, unit) in &set.declared.units {
        let Some(origin) = set.origin(name) else { continue };
        let rivals = unit.conflicts.iter().filter_map(|other| set.declared.units.get(other));
        for rival in rivals.filter(|rival| rival.name != *name) {
            let other = &rival.name;
            let place = origin.key("conflicts");
            if follows(unit, rival) || follows(rival, unit) {
                let message = format!("units '{name}' and '{other}' conflict, and one waits for the other");
                faults.push(Fault::error(CONFLICT_AND_ORDER, place, message));
            } else if [unit, rival].iter().all(|unit| starts(unit) && unit.kind != Type::Job) {
                let message = format!("units '{name}' and '{other}' conflict, and both start at boot");
                faults.push(
                    Fault::error(CONFLICT_AT_BOOT, place, message)
                        .help("give one of them start = \"manual\""),
                );
            }
        }
    }
}

/// Whether a unit comes after another.
fn follows(unit: &Unit, other: &Unit) -> bool {
    unit.depends.contains_key(&other.name)
        || unit.after.contains(&other.name)
        || other.before.contains(&unit.name)
}

/// Who leads to whom, with the file and the key that say so.
type Edges<'n> = BTreeMap<&'n Name, Vec<(&'n Name, &'n Name, &'static str)>>;

/// Each loop begins at the first of its units by name.
pub(super) fn check_cycles(set: &Set<'_>, faults: &mut Vec<Fault>) {
    let mut order = Edges::new();
    for (name, unit) in &set.declared.units {
        let own = unit.depends.keys().map(|on| (on, name, "depends"));
        let servers = servers_of(unit).map(|on| (on, name, "wait_for.tcp"));
        let after = unit.after.iter().map(|on| (on, name, "after"));
        order.entry(name).or_default().extend(own.chain(after).chain(servers));
        for later in &unit.before {
            order.entry(later).or_default().push((name, name, "before"));
        }
    }
    let loops = Loops { edges: order, code: CYCLE, what: "dependency cycle" };
    loops.check(set, "take one of these dependencies out", faults);
    let mut chains = Edges::new();
    for (name, unit) in &set.declared.units {
        let failure = unit.on_failure.iter().map(|next| (next, name, "on_failure"));
        let success = unit.on_success.iter().map(|next| (next, name, "on_success"));
        chains.entry(name).or_default().extend(failure.chain(success));
    }
    let loops = Loops { edges: chains, code: CHAIN_LOOP, what: "units that start each other without end" };
    loops.check(set, "take one of these names out", faults);
}

/// A graph that must not have loops.
struct Loops<'n> {
    edges: Edges<'n>,
    code: Code,
    what: &'static str,
}

impl Loops<'_> {
    fn check(&self, set: &Set<'_>, help: &str, faults: &mut Vec<Fault>) {
        let exists = |name: &&&Name| set.declared.units.contains_key(**name);
        let graph: BTreeMap<&Name, Vec<&Name>> = self
            .edges
            .iter()
            .filter(|(name, _)| exists(name))
            .map(|(name, edges)| {
                let next: Vec<&Name> = edges.iter().map(|(to, ..)| *to).collect();
                (*name, next.into_iter().filter(|to| to != name && exists(&to)).collect())
            })
            .collect();
        for cycle in find_cycles(&graph) {
            let mut places = cycle.windows(2).filter_map(|pair| self.place(set, pair));
            let Some((first, _)) = places.next() else { continue };
            let names: Vec<_> = cycle.iter().map(|name| name.as_str()).collect();
            let fault = Fault::error(self.code, first, format!("{}: {}", self.what, names.join(" -> ")));
            let fault = places.take(8).fold(fault, |fault, (place, text)| fault.related(place, text));
            faults.push(fault.help(help));
        }
    }

    /// Where a step of a loop stands in the files.
    fn place(&self, set: &Set<'_>, pair: &[&Name]) -> Option<(Place, String)> {
        let [from, to] = pair else { return None };
        let (_, file, key) = self.edges.get(from)?.iter().find(|(next, ..)| next == to)?;
        let unit = set.declared.units.get(*file).filter(|_| *key == "depends");
        let path = unit.map_or((*key).to_owned(), |unit| key_of(unit, to));
        Some((set.origin(file)?.key(&path), format!("{from} -> {to}")))
    }
}

/// Loops that are shown: whoever has more has one mistake, not many.
const CYCLES_MAX: usize = 8;

/// The first loops that a walk meets: closed lists whose first and last name are the same.
///
/// Depth first without recursion, since a chain of a thousand units is lawful.
fn find_cycles<'n>(graph: &BTreeMap<&'n Name, Vec<&'n Name>>) -> Vec<Vec<&'n Name>> {
    let mut done: BTreeSet<&Name> = BTreeSet::new();
    let mut cycles = Vec::new();
    for start in graph.keys() {
        let mut path: Vec<(&Name, std::slice::Iter<'_, &Name>)> = Vec::new();
        let mut on_path: BTreeSet<&Name> = BTreeSet::new();
        let mut enter = Some(*start);
        loop {
            if let Some(name) = enter.take().filter(|name| !done.contains(name)) {
                on_path.insert(name);
                path.push((name, graph.get(name).map(|edges| edges.iter()).unwrap_or_default()));
            }
            let Some((name, edges)) = path.last_mut() else { break };
            match edges.next() {
                Some(needed) if on_path.contains(needed) => {
                    let from = path.iter().position(|(name, _)| name == needed).unwrap_or(0);
                    let names = path.iter().skip(from).map(|(name, _)| *name);
                    cycles.push(closed(names.collect()));
                    if cycles.len() == CYCLES_MAX {
                        return cycles;
                    }
                }
                Some(needed) => enter = Some(needed),
                None => {
                    on_path.remove(*name);
                    done.insert(name);
                    path.pop();
                }
            }
        }
    }
    cycles
}

/// Turned so that the smallest name comes first, and closed.
fn closed(mut names: Vec<&Name>) -> Vec<&Name> {
    let first = names.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(at, _)| at);
    names.rotate_left(first);
    names.extend(names.first().copied());
    names
}
