//! Networks exist, do not overlap, and have room for their members.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Set;
use crate::Name;
use crate::codes::{
    ADDRESS_TWICE, ALIAS, FIXED_ADDRESS, NETWORK_FULL, OVERLAP, UNKNOWN_NETWORK, UPLINK_OVERLAP, WRONG_KIND,
};
use crate::fault::{Fault, Place};
use crate::nearest::nearest;
use crate::resolve::Origin;
use crate::spec::{Attachment, Network, Unit, UplinkMode};

/// Every unit's attachment to one network, with the unit's file.
type Members<'s> = Vec<(&'s Name, &'s Attachment, &'s Origin)>;

fn members<'s>(set: &'s Set<'_>, network: &Name) -> Members<'s> {
    let joined =
        |(name, unit): (&'s Name, &'s Unit)| Some((name, unit.networks.get(network)?, set.origin(name)?));
    set.declared.units.iter().filter_map(joined).collect()
}

pub(super) fn check_subnets(set: &Set<'_>, faults: &mut Vec<Fault>) {
    // By first address: a subnet overlaps another only if it overlaps the widest one before it.
    let mut order: Vec<(&Name, &Network)> = set.declared.networks.iter().collect();
    order.sort_by_key(|(_, network)| (network.subnet.network(), network.subnet.prefix));
    let mut widest: Option<(&Name, &Network)> = None;
    for (name, network) in order {
        if let Some((other, wide)) = widest.filter(|(_, wide)| wide.subnet.overlaps(&network.subnet)) {
            faults.extend(overlap(set, (name, network), (other, wide)));
        } else {
            widest = Some((name, network));
        }
    }
    let (Some(origin), UplinkMode::Static { address, .. }) =
        (&set.parsed.node_origin, &set.declared.node.uplink.mode)
    else {
        return;
    };
    for (name, network) in
        set.declared.networks.iter().filter(|(_, network)| network.subnet.overlaps(address))
    {
        let message = format!("the node's subnet {address} overlaps network '{name}', {}", network.subnet);
        faults.push(
            Fault::error(UPLINK_OVERLAP, origin.value("uplink.address"), message)
                .help("give the network another subnet"),
        );
    }
}

fn overlap(
    set: &Set<'_>,
    (name, network): (&Name, &Network),
    (other, wide): (&Name, &Network),
) -> Option<Fault> {
    // One of the two has a file, else the resolver would have chosen apart.
    let place = |name: &Name| set.origin(name).map(|origin| origin.value("ipv4.subnet"));
    let message =
        format!("the subnets of '{name}' and '{other}' overlap: {} and {}", network.subnet, wide.subnet);
    match (place(name), place(other)) {
        (Some(here), Some(there)) => {
            Some(Fault::error(OVERLAP, here, message).related(there, "the other one"))
        }
        (here, there) => Some(Fault::error(OVERLAP, here.or(there)?, message)),
    }
}

pub(super) fn check_memberships(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for (name, unit) in &set.declared.units {
        let Some(origin) = set.origin(name) else { continue };
        for network in unit.networks.keys().filter(|network| !set.declared.networks.contains_key(*network)) {
            faults.extend(unknown_network(set, network, origin));
        }
    }
    for (name, network) in &set.declared.networks {
        check_fixed(set, name, network, faults);
    }
}

fn unknown_network(set: &Set<'_>, network: &Name, origin: &Origin) -> Option<Fault> {
    let place = origin.key(&format!("networks.{network}"));
    match set.kind(network) {
        // A declared network that got no subnet, or a broken file: reported already.
        Some("a network" | "broken") => None,
        Some(kind) => {
            Some(Fault::error(WRONG_KIND, place, format!("a unit cannot join '{network}', which is {kind}")))
        }
        None => {
            let fault = Fault::error(UNKNOWN_NETWORK, place, format!("network '{network}' does not exist"));
            Some(match nearest(network.as_str(), set.declared.networks.keys().map(Name::as_str)) {
                Some(near) => fault.label(format!("did you mean '{near}'?")),
                None => fault.help(format!("add {network}.toml with schema = 1 and kind = \"network\"")),
            })
        }
    }
}

fn check_fixed(set: &Set<'_>, name: &Name, network: &Network, faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<Ipv4Addr, (&Name, Place)> = BTreeMap::new();
    for (unit, attachment, origin) in members(set, name) {
        let Some(address) = attachment.ipv4 else { continue };
        let place = origin.value(&format!("networks.{name}.ipv4"));
        let subnet = network.subnet;
        let fault = |message: String| {
            let help = format!("take a free address from {} to {}", subnet.first_host(), subnet.last_host());
            Fault::error(FIXED_ADDRESS, place.clone(), message).help(help)
        };
        if !subnet.contains(address) {
            faults.push(fault(format!("{address} is outside network '{name}', {subnet}")));
        } else if address == network.gateway {
            faults.push(fault(format!("{address} is the gateway of network '{name}'")));
        } else if !subnet.is_host(address) {
            faults.push(fault(format!("{address} is an end of network '{name}', {subnet}, and no host's")));
        }
        if let Some((other, there)) = seen.get(&address) {
            let message = format!("address {address} of network '{name}' is also that of unit '{other}'");
            faults.push(
                Fault::error(ADDRESS_TWICE, place, message)
                    .related(there.clone(), format!("of unit '{other}'")),
            );
        } else {
            seen.insert(address, (unit, place));
        }
    }
}

pub(super) fn check_aliases(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for network in set.declared.networks.keys() {
        let members = members(set, network);
        let mut owners: BTreeMap<String, &Name> = BTreeMap::new();
        for (unit, _, origin) in &members {
            // `worker@a` answers to worker-a, too.
            if let Some(owner) = owners.insert(unit.label(), *unit) {
                let label = unit.label();
                let message =
                    format!("on network '{network}' the name '{label}' also leads to unit '{owner}'");
                faults.push(Fault::warning(ALIAS, origin.file(), message));
            }
        }
        for (unit, attachment, origin) in &members {
            for alias in &attachment.aliases {
                let owner = *owners.entry(alias.clone()).or_insert(unit);
                if owner != *unit {
                    let place = origin.value(&format!("networks.{network}.aliases"));
                    let message =
                        format!("on network '{network}' the alias '{alias}' also leads to unit '{owner}'");
                    faults.push(Fault::warning(ALIAS, place, message));
                }
            }
        }
    }
}

pub(super) fn check_room(set: &Set<'_>, faults: &mut Vec<Fault>) {
    for (name, network) in &set.declared.networks {
        let members = members(set, name);
        // One is the gateway's.
        let room = network.subnet.hosts().saturating_sub(1);
        if let (Some((_, _, last)), true) = (members.last(), members.len() > room as usize) {
            let place =
                set.origin(name).map_or_else(|| last.key("networks"), |origin| origin.value("ipv4.subnet"));
            let message = format!("network '{name}' has {room} addresses for {} units", members.len());
            faults.push(Fault::error(NETWORK_FULL, place, message).help("give it a larger ipv4.subnet"));
        }
    }
}
