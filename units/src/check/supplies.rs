//! What units are given is declared, theirs to have, and can be filled in.

use super::Set;
use crate::Name;
use crate::codes::{CONFIG_TEMPLATE, SECRET_NOT_ALLOWED, UNKNOWN_SUPPLY, UNKNOWN_UNIT, WRONG_KIND};
use crate::fault::{Fault, Place};
use crate::nearest::nearest;
use crate::resolve::Origin;
use crate::spec::{ConfigSource, Content, NetworkMode, Unit};
use crate::template::{Hole, Part, parse};

pub(super) fn check_supplies(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for (name, unit) in &set.declared.units {
        let Some(origin) = set.origin(name) else { continue };
        check_secrets(set, unit, origin, faults);
        check_configs(set, unit, origin, faults);
    }
    check_allowed(set, faults);
}

/// Of an entry that does not name its source, the entry itself does.
fn source_place(origin: &Origin, table: &str) -> Place {
    let key = format!("{table}.source");
    if origin.spans.has(&key) { origin.value(&key) } else { origin.key(table) }
}

fn check_secrets(set: &Set<'_>, unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    for (entry, used) in &unit.supplies.secrets {
        let place = source_place(origin, &format!("secrets.{entry}"));
        let known = set.declared.secrets.keys();
        faults.extend(unknown(set, ("secret", &used.source), known, place.clone()));
        let secret = set.declared.secrets.get(&used.source);
        let refused =
            secret.and_then(|secret| secret.allow.as_ref()).is_some_and(|all| !all.contains(&unit.name));
        if refused {
            let message = format!("unit '{}' may not have secret '{}'", unit.name, used.source);
            let fault = Fault::error(SECRET_NOT_ALLOWED, place, message);
            let related = set.origin(&used.source).map(|origin| origin.value("allow"));
            let fault = fault.help("add the unit to `allow` of the secret, or take the secret out");
            faults
                .push(related.into_iter().fold(fault, |fault, place| fault.related(place, "those who may")));
        }
    }
}

fn check_configs(set: &Set<'_>, unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    for (entry, used) in &unit.supplies.configs {
        let table = format!("configs.{entry}");
        match &used.source {
            ConfigSource::Own { content: Content::Text(text), template: true } => {
                let place = origin.value(&format!("{table}.content"));
                faults.extend(template_fault(text, unit, place));
            }
            ConfigSource::Own { .. } => {}
            ConfigSource::Unit(source) => {
                let place = source_place(origin, &table);
                faults.extend(unknown(set, ("config", source), set.declared.configs.keys(), place.clone()));
                let config = set.declared.configs.get(source).filter(|config| config.template);
                let Some(Content::Text(text)) = config.map(|config| &config.content) else { continue };
                let there = set.origin(source).map_or(place.clone(), |origin| origin.value("content"));
                let fault = template_fault(text, unit, there);
                let related = format!("unit '{}' is given it here", unit.name);
                faults.extend(fault.map(|fault| fault.related(place, related)));
            }
        }
    }
}

/// The first thing that is wrong with a template, as far as the set tells. The image may set variables, too.
fn template_fault(text: &str, unit: &Unit, place: Place) -> Option<Fault> {
    let parts = match parse(text) {
        Ok(parts) => parts,
        Err(error) => return Some(Fault::error(CONFIG_TEMPLATE, place, format!("template, {error}"))),
    };
    let missing = |part: &Part<'_>| match part {
        Part::Hole(Hole::Secret(name), line) if !unit.supplies.secrets.contains_key(*name) => {
            Some((*line, format!("the unit has no [secrets.{}]", crate::fault::clip(name))))
        }
        Part::Hole(Hole::Ip, line) if unit.network != NetworkMode::Bridge => {
            Some((*line, "the unit has no address of its own".to_owned()))
        }
        _ => None,
    };
    let (line, what) = parts.iter().find_map(missing)?;
    Some(Fault::error(CONFIG_TEMPLATE, place, format!("template, line {line}: {what}")))
}

fn unknown<'n>(
    set: &Set<'_>,
    (kind, name): (&str, &Name),
    mut known: impl Iterator<Item = &'n Name> + Clone,
    place: Place,
) -> Option<Fault> {
    if known.clone().any(|other| other == name) {
        return None;
    }
    match set.kind(name) {
        None => {
            let fault = Fault::error(UNKNOWN_SUPPLY, place, format!("{kind} '{name}' does not exist"));
            Some(match nearest(name.as_str(), known.by_ref().map(Name::as_str)) {
                Some(near) => fault.label(format!("did you mean '{near}'?")),
                None => fault.help(format!("add {name}.toml with kind = \"{kind}\"")),
            })
        }
        // One with faults of its own is in no list.
        Some("broken") => None,
        Some(other) if other == format!("a {kind}") => None,
        Some(other) => {
            Some(Fault::error(WRONG_KIND, place, format!("a {kind} is needed, and '{name}' is {other}")))
        }
    }
}

/// A name in `allow` that nobody has is most likely a slip.
fn check_allowed(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for (name, secret) in &set.declared.secrets {
        let Some(origin) = set.origin(name) else { continue };
        for unit in secret.allow.iter().flatten().filter(|unit| set.kind(unit).is_none()) {
            let message = format!("unit '{unit}' does not exist");
            faults.push(Fault::warning(UNKNOWN_UNIT, origin.value("allow"), message));
        }
    }
}
