//! What to do about the difference between the wanted links and those that the kernel shows. Pure.
//!
//! Only what is wanted or bears our mark is ever touched. nftables has its own comparison ([`crate::firewall`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use berth_units::Name;
use berth_units::spec::Ipv4Net;
use berth_units::wire::net::{NetState, bridge_ifname, mac_address};

use crate::route::{Address, DefaultRoute, Link, OUR_GROUP, contains};

/// What the kernel shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// All links.
    pub links: Vec<Link>,
    /// All IPv4 addresses.
    pub addresses: Vec<Address>,
    /// All default routes of the main table.
    pub routes: Vec<DefaultRoute>,
    /// Those of [`sysctls`] that exist: path below /proc/sys to value.
    pub sysctls: BTreeMap<String, String>,
}

/// What the uplink should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedUplink {
    /// Interface.
    pub ifname: String,
    /// Its address, or leave what it has: a lease of an earlier life stays until we know better.
    pub config: Option<UplinkConfig>,
}

/// Address of the uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UplinkConfig {
    /// The only address of ours on it; none takes ours away.
    pub address: Option<Ipv4Net>,
    /// Default route.
    pub gateway: Option<Ipv4Addr>,
    /// Of the address, seconds; none is for ever.
    pub lifetime: Option<u32>,
    /// Set the lifetime anew though the address is there.
    pub renewed: bool,
}

/// One change. Links are named, not numbered: some are made by an earlier change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Removes a link.
    DeleteLink(String),
    /// Makes a bridge with this hardware address and MTU.
    CreateBridge(String, [u8; 6], u32),
    /// Marks a link as ours.
    Mark(String),
    /// Sets a hardware address.
    SetMac(String, [u8; 6]),
    /// Sets an MTU.
    SetMtu(String, u32),
    /// Writes a value below /proc/sys.
    Sysctl(String, String),
    /// Adds an address with a lifetime.
    AddAddress(String, Ipv4Net, Option<u32>),
    /// Takes an address away.
    DeleteAddress(String, Ipv4Net),
    /// Brings a link up.
    Up(String),
    /// Puts the first link on the second, a bridge.
    Enslave(String, String),
    /// Sets the default route over a link.
    SetRoute(String, Ipv4Addr, Onlink),
    /// Takes a default route away: by index, the link may be unknown.
    DeleteRoute(u32, Ipv4Addr),
}

/// Whether a gateway lies outside the subnet of its link.
pub type Onlink = bool;

/// Changes, each with the network that fails with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In order.
    pub ops: Vec<(Option<Name>, Op)>,
    /// Networks that cannot be made at all, with the reason.
    pub failed: BTreeMap<Name, String>,
}

/// Sysctls of the node as a whole while there is a network.
const NODE_SYSCTLS: [(&str, &str); 3] = [
    ("net/ipv4/ip_forward", "1"),
    // Redirects would tell containers to bypass the address translation of published ports.
    ("net/ipv4/conf/all/send_redirects", "0"),
    // Where br_netfilter is loaded: what one bridge carries within itself is not the firewall's business.
    ("net/bridge/bridge-nf-call-iptables", "0"),
];

/// Sysctls of a bridge, before it is brought up.
const BRIDGE_SYSCTLS: [(&str, &str, &str); 4] = [
    // Published ports answer on 127.0.0.1 of the node; the firewall keeps containers from the rest of 127/8.
    ("ipv4", "route_localnet", "1"),
    // Containers cannot pretend to be outside their subnet.
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "send_redirects", "0"),
    ("ipv6", "disable_ipv6", "1"),
];

fn bridge_sysctls(ifname: &str) -> impl Iterator<Item = (String, &'static str)> {
    BRIDGE_SYSCTLS
        .iter()
        .map(move |(family, key, value)| (format!("net/{family}/conf/{ifname}/{key}"), *value))
}

/// The sysctls that [`plan`] compares.
pub fn sysctls(state: &NetState) -> Vec<String> {
    let node = NODE_SYSCTLS.iter().map(|(path, _)| (*path).to_owned());
    let bridges = state.networks.keys().map(bridge_ifname);
    node.chain(bridges.flat_map(|ifname| bridge_sysctls(&ifname).map(|(path, _)| path).collect::<Vec<_>>()))
        .collect()
}

/// MAC address of a network's bridge, apart from those of units that have the network's name.
fn bridge_mac(network: &Name) -> [u8; 6] {
    let [_, rest @ ..] = mac_address(network, network);
    let [a, b, c, d, e] = rest;
    [0x56, a, b, c, d, e]
}

/// The changes that make `seen` equal to `state`. Without a difference there is none.
pub fn plan(state: &NetState, uplink: Option<&WantedUplink>, seen: &Seen) -> Plan {
    let mut plan = Plan::default();
    plan_removals(state, seen, &mut plan);
    for (path, value) in NODE_SYSCTLS {
        // One that does not exist belongs to a part of the kernel that is not loaded.
        let differs = seen.sysctls.get(path).is_some_and(|now| now != value);
        if differs && !state.networks.is_empty() {
            plan.ops.push((None, Op::Sysctl(path.to_owned(), value.to_owned())));
        }
    }
    for (name, network) in &state.networks {
        let gateway = Ipv4Net { address: network.gateway, prefix: network.subnet.prefix };
        plan_bridge(name, gateway, network.mtu, seen, &mut plan);
    }
    if let Some(uplink) = uplink {
        plan_uplink(uplink, seen, &mut plan);
    }
    plan
}

fn plan_removals(state: &NetState, seen: &Seen, plan: &mut Plan) {
    let wanted: BTreeSet<String> = state.networks.keys().map(bridge_ifname).collect();
    for link in &seen.links {
        if link.group == OUR_GROUP && link.kind.as_deref() == Some("bridge") && !wanted.contains(&link.name) {
            plan.ops.push((None, Op::DeleteLink(link.name.clone())));
        }
    }
}

fn plan_bridge(name: &Name, gateway: Ipv4Net, mtu: u32, seen: &Seen, plan: &mut Plan) {
    let ifname = bridge_ifname(name);
    let mac = bridge_mac(name);
    let present = seen.links.iter().find(|link| link.name == ifname);
    let mut ops = Vec::new();
    match present {
        Some(link) if link.kind.as_deref() != Some("bridge") => {
            plan.failed.insert(name.clone(), format!("the link '{ifname}' exists and is no bridge"));
            return;
        }
        Some(link) => {
            ops.extend((link.group != OUR_GROUP).then(|| Op::Mark(ifname.clone())));
            ops.extend((link.mac != mac).then(|| Op::SetMac(ifname.clone(), mac)));
            ops.extend((link.mtu != mtu).then(|| Op::SetMtu(ifname.clone(), mtu)));
        }
        None => ops.push(Op::CreateBridge(ifname.clone(), mac, mtu)),
    }
    for (path, value) in bridge_sysctls(&ifname) {
        let right = present.is_some() && seen.sysctls.get(&path).is_none_or(|now| now == value);
        ops.extend((!right).then(|| Op::Sysctl(path, value.to_owned())));
    }
    let index = present.map(|link| link.index);
    let here = || seen.addresses.iter().filter(|address| Some(address.link) == index);
    for other in here().filter(|address| address.net != gateway) {
        ops.push(Op::DeleteAddress(ifname.clone(), other.net));
    }
    ops.extend(
        here().all(|address| address.net != gateway).then(|| Op::AddAddress(ifname.clone(), gateway, None)),
    );
    ops.extend((!present.is_some_and(|link| link.up)).then(|| Op::Up(ifname.clone())));
    ops.extend(strays(name, index, seen).map(|link| Op::Enslave(link, ifname.clone())));
    let down = veths(name, seen).filter(|link| !link.up);
    ops.extend(down.map(|link| Op::Up(link.name.clone())));
    plan.ops.extend(ops.into_iter().map(|op| (Some(name.clone()), op)));
}

/// Our veths that belong to the network and are not on its bridge: it was removed behind our back.
fn strays(network: &Name, bridge: Option<u32>, seen: &Seen) -> impl Iterator<Item = String> {
    let apart = move |link: &&Link| bridge.is_none_or(|index| link.master != index);
    veths(network, seen).filter(apart).map(|link| link.name.clone())
}

/// Host ends of the containers' interfaces on a network.
fn veths<'s>(network: &Name, seen: &'s Seen) -> impl Iterator<Item = &'s Link> {
    let ours = move |link: &&Link| link.group == OUR_GROUP && link.alias == network.as_str();
    seen.links.iter().filter(ours).filter(|link| link.kind.as_deref() == Some("veth"))
}

fn plan_uplink(uplink: &WantedUplink, seen: &Seen, plan: &mut Plan) {
    let Some(link) = seen.links.iter().find(|link| link.name == uplink.ifname) else { return };
    let name = || uplink.ifname.clone();
    let mut ops = Vec::new();
    ops.extend((!link.up).then(|| Op::Up(name())));
    // Another link was the uplink before.
    for former in seen.links.iter().filter(|other| other.group != OUR_GROUP && other.index != link.index) {
        let left = seen.addresses.iter().filter(|address| address.ours && address.link == former.index);
        ops.extend(left.map(|address| Op::DeleteAddress(former.name.clone(), address.net)));
    }
    if let Some(config) = &uplink.config {
        let here = || seen.addresses.iter().filter(|address| address.link == link.index);
        // A changed prefix of the same address has to go first: the kernel tells addresses apart by both.
        for other in here().filter(|address| address.ours && Some(address.net) != config.address) {
            ops.push(Op::DeleteAddress(name(), other.net));
        }
        if let Some(net) = config.address
            && (config.renewed || here().all(|address| address.net != net))
        {
            ops.push(Op::AddAddress(name(), net, config.lifetime));
        }
        let mut routed = false;
        for route in &seen.routes {
            let right = route.link == link.index && Some(route.gateway) == config.gateway;
            routed |= right;
            if route.ours && !right {
                ops.push(Op::DeleteRoute(route.link, route.gateway));
            }
        }
        if let Some(gateway) = config.gateway.filter(|_| !routed) {
            let onlink = config.address.is_some_and(|net| !contains(net, gateway));
            ops.push(Op::SetRoute(name(), gateway, onlink));
        }
    }
    plan.ops.extend(ops.into_iter().map(|op| (None, op)));
}

#[cfg(test)]
mod tests;
