//! Published ports: one owner each.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Set;
use crate::Name;
use crate::codes::{HOST_PORT, INTERNAL_PORT};
use crate::fault::{Fault, Place};
use crate::spec::{Port, Protocol};

/// A published port with the unit, the name in its table and the place.
struct Published<'s> {
    unit: &'s Name,
    port: &'s Port,
    place: Place,
}

pub(super) fn check_host_ports(set: &Set<'_>, faults: &mut Vec<Fault>) {
    let mut owners: BTreeMap<(Protocol, u16), BTreeMap<Option<Ipv4Addr>, Published<'_>>> = BTreeMap::new();
    for (unit, declared) in &set.declared.units {
        let Some(origin) = set.origin(unit) else { continue };
        for (name, port) in &declared.ports {
            let here = Published { unit, port, place: origin.value(&format!("ports.{name}.host")) };
            let others = owners.entry((port.protocol, port.host)).or_default();
            // Without an address a port is published on all of them.
            let other = match port.host_ip {
                None => others.values().next(),
                address => others.get(&None).or_else(|| others.get(&address)),
            };
            match other {
                Some(other) => faults.push(collision(&here, other)),
                None => drop(others.insert(port.host_ip, here)),
            }
        }
    }
}

fn collision(here: &Published<'_>, other: &Published<'_>) -> Fault {
    let by = if here.unit == other.unit {
        "twice by this unit".to_owned()
    } else {
        format!("by unit '{}'", other.unit)
    };
    let also = if here.unit == other.unit { "" } else { "also " };
    let message = format!("host port {} is {also}published {by}", here.port.host);
    Fault::error(HOST_PORT, here.place.clone(), message)
        .related(other.place.clone(), "has it too")
        .help("give one of them another host port, or each its own host_ip")
}

pub(super) fn check_internal(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for (name, unit) in &set.declared.units {
        let Some(origin) = set.origin(name) else { continue };
        let first = unit.networks.keys().next();
        let internal =
            |network: &&Name| set.declared.networks.get(*network).is_some_and(|network| network.internal);
        let Some(network) = first.filter(internal) else { continue };
        for port in unit.ports.keys() {
            let message = format!("port '{port}' leads to network '{network}', which is internal");
            faults.push(Fault::warning(INTERNAL_PORT, origin.key(&format!("ports.{port}")), message));
        }
    }
}
