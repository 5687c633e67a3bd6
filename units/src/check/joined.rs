//! Whose network a unit shares: somebody who has one of his own, and whose life it shares as well.

use super::Set;
use crate::Name;
use crate::codes::{NETWORK_OWNER, WRONG_KIND};
use crate::fault::Fault;
use crate::resolve::Origin;
use crate::spec::{Depends, NetworkMode, OnRestart, OnStop, Strength, Unit, Until};

pub(super) fn check_owners(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for unit in set.declared.units.values() {
        let (Some(owner), Some(origin)) = (unit.network.owner(), set.origin(&unit.name)) else { continue };
        // One that does not exist, or is the unit itself, has been reported as a dependency.
        if let Some(found) = set.declared.units.get(owner).filter(|found| found.name != unit.name) {
            faults.extend(check_owner(unit, found, origin));
        }
        faults.extend(unit.depends.get(owner).and_then(|depends| check_bond(owner, *depends, origin)));
    }
}

fn check_owner(unit: &Unit, owner: &Unit, origin: &Origin) -> Option<Fault> {
    let name = &owner.name;
    let key = unit.network.key();
    if matches!(unit.network, NetworkMode::Pod(_)) && !owner.is_pod {
        let message = format!("'{name}' is a {}, not a pod", owner.kind_word());
        let fault = Fault::error(WRONG_KIND, origin.value(key), message);
        return Some(fault.help(format!("to share only its network, write network.mode = \"unit:{name}\"")));
    }
    if owner.kind.ends() {
        let message = format!("'{name}' has no network to share: it ends by itself");
        return Some(Fault::error(NETWORK_OWNER, origin.value(key), message));
    }
    let whose = match &owner.network {
        NetworkMode::Bridge | NetworkMode::None => return None,
        NetworkMode::Host => "the node".to_owned(),
        NetworkMode::Unit(other) | NetworkMode::Pod(other) => format!("'{other}'"),
    };
    let message = format!("'{name}' has no network of its own: it has that of {whose}");
    let fault = Fault::error(NETWORK_OWNER, origin.value(key), message);
    Some(fault.help(match owner.network.owner() {
        Some(other) => format!("name '{other}' here"),
        None => "write network.mode = \"host\" here, too".to_owned(),
    }))
}

/// A network that is gone with its owner is nothing to go on in.
fn check_bond(owner: &Name, depends: Depends, origin: &Origin) -> Option<Fault> {
    let loose = [
        ("until", depends.until == Until::Completed),
        ("strength", depends.strength != Strength::Need),
        ("on_stop", depends.on_stop != OnStop::Stop),
        ("on_restart", depends.on_restart != OnRestart::Restart),
    ];
    let (key, _) = loose.into_iter().find(|(_, is_loose)| *is_loose)?;
    let message = format!("'{key}' cannot be: it shares the network of '{owner}', and so its life");
    Some(
        Fault::error(NETWORK_OWNER, origin.value(&format!("depends.{owner}.{key}")), message)
            .help("take it out"),
    )
}
