//! Dependencies lead to units and never in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::Set;
use crate::Name;
use crate::codes::{CYCLE, SELF_DEPENDENCY, UNKNOWN_UNIT, WAITS_FOR_IDLE, WRONG_KIND};
use crate::fault::{Fault, Place};
use crate::nearest::nearest;
use crate::resolve::Origin;
use crate::spec::{Start, Unit};

pub(super) fn check_references(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for (name, unit) in &set.declared.units {
        let Some(origin) = set.origin(name) else { continue };
        for needed in unit.depends.keys() {
            faults.extend(check_reference(set, (name, unit), needed, origin));
        }
    }
}

fn check_reference(
    set: &Set<'_>,
    (name, unit): (&Name, &Unit),
    needed: &Name,
    origin: &Origin,
) -> Option<Fault> {
    let place = origin.key(&format!("depends.{needed}"));
    if needed == name {
        return Some(Fault::error(SELF_DEPENDENCY, place, format!("unit '{name}' depends on itself")));
    }
    match set.kind(needed) {
        None => {
            let fault = Fault::error(UNKNOWN_UNIT, place, format!("unit '{needed}' does not exist"));
            let others = set.declared.units.keys().filter(|other| *other != name).map(Name::as_str);
            Some(match nearest(needed.as_str(), others) {
                Some(near) => fault.label(format!("did you mean '{near}'?")),
                None => fault.help(format!("add {needed}.toml, or take the dependency out")),
            })
        }
        Some("a container") => {
            let other = set.declared.units.get(needed)?;
            let starts = |unit: &Unit| unit.enabled && unit.start == Start::Boot;
            let idle = starts(unit) && !starts(other);
            let why = if other.enabled { "is only started by hand" } else { "is disabled" };
            idle.then(|| {
                Fault::warning(
                    WAITS_FOR_IDLE,
                    place,
                    format!("unit '{name}' waits for '{needed}', which {why}"),
                )
            })
        }
        Some("broken") => None,
        Some(kind) => Some(Fault::error(
            WRONG_KIND,
            place,
            format!("a unit cannot depend on '{needed}', which is {kind}"),
        )),
    }
}

/// Each loop begins at the first of its units by name.
pub(super) fn check_cycles(set: &Set<'_>, faults: &mut Vec<Fault>) {
    let units = &set.declared.units;
    let next = |name: &Name| {
        let unit = units.get(name);
        unit.into_iter().flat_map(|unit| unit.depends.keys()).filter(|needed| units.contains_key(*needed))
    };
    let graph: BTreeMap<&Name, Vec<&Name>> = units
        .keys()
        .map(|name| {
            let edges = next(name).filter(|needed| *needed != name);
            (name, edges.filter_map(|needed| units.get_key_value(needed).map(|(key, _)| key)).collect())
        })
        .collect();
    for cycle in find_cycles(&graph) {
        let path = |pair: &[&Name]| match pair {
            [from, to] => set
                .origin(from)
                .map(|origin| (origin.key(&format!("depends.{to}")), format!("{from} -> {to}"))),
            _ => None,
        };
        let mut places: Vec<(Place, String)> = cycle.windows(2).filter_map(path).collect();
        if places.is_empty() {
            continue;
        }
        let (first, _) = places.remove(0);
        let names: Vec<_> = cycle.iter().map(|name| name.as_str()).collect();
        let fault = Fault::error(CYCLE, first, format!("dependency cycle: {}", names.join(" -> ")));
        let fault = places.into_iter().take(8).fold(fault, |fault, (place, text)| fault.related(place, text));
        faults.push(fault.help("take one of these dependencies out"));
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
