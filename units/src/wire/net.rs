//! Between the supervisor and netd: the whole wanted network state, and one attachment at a time.
//!
//! netd is level-triggered: [`Request::Declare`] always carries everything, and netd makes the kernel equal to it,
//! removing what is no longer named. Both sides may die at any time; after a reconnect the supervisor declares
//! again, netd finds that nothing differs and touches nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::spec::{Ipv4Net, Network, Protocol, Uplink};

/// From the supervisor to netd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Make it so.
    Declare {
        /// Echoed in [`Reply::Declared`].
        generation: u64,
        /// Everything.
        state: Box<NetState>,
    },
    /// Put interfaces into the network namespace that comes beside as one descriptor. The namespace belongs to
    /// a process that waits for the answer. Idempotent: a left-over host end of the same name is replaced.
    Attach {
        /// Echoed.
        unit: Name,
        /// Echoed: tells two runs of a unit apart.
        run: u64,
        /// In order: the first becomes `eth0` and carries the default route.
        interfaces: Vec<Interface>,
    },
    /// Who is attached, told to a netd that has just started: it attached none of them itself.
    Attached {
        /// By unit.
        units: BTreeMap<Name, Attached>,
    },
}

/// A unit that has its interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Which run of it.
    pub run: u64,
    /// The host ends of its interfaces.
    pub links: Vec<String>,
}

/// From netd to the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Answer to [`Request::Declare`], said again whenever other networks fail than before.
    Declared {
        /// Of the request.
        generation: u64,
        /// Networks that could not be made, with the reason; all others are up.
        failed: BTreeMap<Name, String>,
        /// What else went wrong (published ports, say), if anything.
        error: Option<String>,
    },
    /// Answer to [`Request::Attach`].
    Attached {
        /// Of the request.
        unit: Name,
        /// Of the request.
        run: u64,
        /// Why not.
        error: Option<String>,
    },
    /// An interface of an attached unit is gone: with its container, or because somebody removed it. Said once a
    /// run and attachment; whoever still runs is attached again.
    Detached {
        /// Whose.
        unit: Name,
        /// Of which run.
        run: u64,
    },
    /// The uplink's addresses changed; also sent once after each start of netd.
    Uplink(UplinkState),
}

/// All of the network that the node should have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetState {
    /// How the node reaches the outside.
    pub uplink: Uplink,
    /// Host name to tell the DHCP server.
    pub hostname: String,
    /// Bridges to have.
    pub networks: BTreeMap<Name, Network>,
    /// Names that the built-in DNS answers, by network: name (unit or alias) to addresses.
    pub names: BTreeMap<Name, BTreeMap<String, Vec<Ipv4Addr>>>,
    /// Ports to publish.
    pub ports: Vec<PublishedPort>,
}

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Who asked for it.
    pub unit: Name,
    /// Protocol.
    pub protocol: Protocol,
    /// Only on this address of the node.
    pub host_ip: Option<Ipv4Addr>,
    /// Port of the node.
    pub host: u16,
    /// Where it leads: the unit's address on its first network.
    pub address: Ipv4Addr,
    /// Port there.
    pub container: u16,
}

/// One veth of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Network to join.
    pub network: Name,
    /// Name inside: eth0, eth1, …
    pub ifname: String,
    /// Name of the end on the bridge, at most 15 bytes: see [`host_ifname`].
    pub host_ifname: String,
    /// Address inside, with the subnet's prefix.
    pub address: Ipv4Net,
    /// Default route; only of the first interface.
    pub gateway: Option<Ipv4Addr>,
}

/// What is known of the uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkState {
    /// Interface, once found.
    pub interface: Option<String>,
    /// Its addresses.
    pub addresses: Vec<Ipv4Net>,
    /// Default gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers in use.
    pub dns: Vec<Ipv4Addr>,
}

/// Name of the bridge of a network: `br-` and the name, or `br` and a hash where that is over 15 bytes (IFNAMSIZ).
pub fn bridge_ifname(network: &Name) -> String {
    let plain = format!("br-{network}");
    if plain.len() <= 15 { plain } else { format!("br{:012x}", fnv(&[network.as_str()]) & 0xffff_ffff_ffff) }
}

/// Name of the host end of a unit's veth on a network: `v` and a hash, the same over restarts.
pub fn host_ifname(unit: &Name, network: &Name) -> String {
    format!("v{:013x}", fnv(&[unit.as_str(), network.as_str()]) & 0xf_ffff_ffff_ffff)
}

/// A stable, locally administered unicast MAC address for a unit on a network.
pub fn mac_address(unit: &Name, network: &Name) -> [u8; 6] {
    let [_, _, a, b, c, d, e, _] = fnv(&["mac", unit.as_str(), network.as_str()]).to_be_bytes();
    [0x52, a, b, c, d, e]
}

/// FNV-1a over the parts with a separator, 64 bits: spreads names, hides nothing.
pub(crate) fn fnv(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_fit_and_differ() {
        let name = |text: &str| Name::parse(text).unwrap();
        assert_eq!(bridge_ifname(&name("apps")), "br-apps");
        assert!(bridge_ifname(&name(&"x".repeat(63))).len() <= 15);
        assert!(host_ifname(&name("a"), &name("b")).len() <= 15);
        assert_ne!(host_ifname(&name("a"), &name("bc")), host_ifname(&name("ab"), &name("c")));
    }
}
