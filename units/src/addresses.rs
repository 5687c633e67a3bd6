//! Which unit has which address on which network: stable over restarts, boots and changes of other units.
//!
//! A fixed address wins, then what a unit had before, then a free address that begins at a hash of its name: a
//! unit that comes back after its lease was lost most often finds the address it had.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::spec::{Declared, Network};
use crate::wire::net::fnv;

/// Addresses by network and unit; kept on disk by the supervisor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Leases(pub BTreeMap<Name, BTreeMap<Name, Ipv4Addr>>);

impl Leases {
    /// The address of a unit on a network.
    pub fn get(&self, network: &Name, unit: &Name) -> Option<Ipv4Addr> {
        self.0.get(network)?.get(unit).copied()
    }
}

/// A network has no address left for a unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("network '{network}' has no free address for unit '{unit}'")]
pub struct Exhausted {
    /// The network.
    pub network: Name,
    /// The unit that got none.
    pub unit: Name,
}

/// Gives every unit an address on every network it joins.
///
/// Leases of units that are not members any more are dropped. Two units never get one address, whatever the old
/// leases say.
pub fn assign(declared: &Declared, leases: &Leases) -> (Leases, Vec<Exhausted>) {
    let mut new = Leases::default();
    let mut exhausted = Vec::new();
    for (name, network) in &declared.networks {
        let mut round = Round { name, network, given: BTreeMap::new(), taken: BTreeSet::new() };
        let members = declared.units.values().filter_map(|unit| Some((&unit.name, unit.networks.get(name)?)));
        let members: Vec<_> = members.collect();
        for (unit, attachment) in &members {
            attachment.ipv4.map(|address| round.give(unit, address));
        }
        for (unit, _) in &members {
            leases.get(name, unit).map(|address| round.give(unit, address));
        }
        for (unit, _) in &members {
            if !round.given.contains_key(*unit) && !round.give_free(unit) {
                exhausted.push(Exhausted { network: name.clone(), unit: (*unit).clone() });
            }
        }
        new.0.insert(name.clone(), round.given);
    }
    (new, exhausted)
}

/// The addresses of one network while they are given out.
struct Round<'r> {
    name: &'r Name,
    network: &'r Network,
    given: BTreeMap<Name, Ipv4Addr>,
    taken: BTreeSet<Ipv4Addr>,
}

impl Round<'_> {
    /// Whether the unit got the address.
    fn give(&mut self, unit: &Name, address: Ipv4Addr) -> bool {
        let lawful = self.network.subnet.is_host(address) && address != self.network.gateway;
        if !lawful || self.given.contains_key(unit) || !self.taken.insert(address) {
            return false;
        }
        self.given.insert(unit.clone(), address);
        true
    }

    /// The first free address from the unit's own starting point on.
    fn give_free(&mut self, unit: &Name) -> bool {
        let hosts = u64::from(self.network.subnet.hosts());
        // More steps than members and gateway are never needed.
        let steps = hosts.min(self.taken.len() as u64 + 2);
        let Some(start) = fnv(&[self.name.as_str(), unit.as_str()]).checked_rem(hosts) else { return false };
        let first = self.network.subnet.first_host().to_bits();
        (0..steps).any(|step| {
            let offset = u32::try_from((start + step) % hosts).unwrap_or(0);
            self.give(unit, Ipv4Addr::from_bits(first.saturating_add(offset)))
        })
    }
}

#[cfg(test)]
mod tests;
