//! The rules of the node for a declared state. Pure: state in, messages out.
//!
//! | chain | does |
//! |---|---|
//! | prerouting, output (dstnat) | published ports: one look-up in a map, whatever their number |
//! | postrouting (srcnat) | masquerade to the outside, of hairpins, and of 127.0.0.0/8 |
//! | forward (policy drop) | replies, published ports, containers to the outside; never bridge to bridge |
//! | input | from containers only DNS on their own gateway and ICMP; on gateways nothing from anybody else |

use berth_units::spec::{Network, Protocol};
use berth_units::wire::net::{NetState, PublishedPort, bridge_ifname};

use super::nft::Expression::{
    CtState, CtStatus, Dnat, FromSubnet, In, Is, IsIpv4, IsNot, IsProtocol, LoadDestination, LoadIifname,
    LoadOifname, LoadPort, LoadProtocol, Map, Masquerade, NotToSubnet, ToLocal, Verdict as End,
};
use super::nft::Verdict::{Accept, Drop};
use super::nft::{
    Chain, DNAT_STATUS, ESTABLISHED, Expression, RELATED, Type, ifname, new_chain, new_elements, new_rule,
    new_set, word,
};
use crate::netlink::Message;
use crate::route::{contains, mask};

const CHAINS: [Chain; 5] = [
    Chain { name: "prerouting", kind: "nat", hook: 0, priority: -100, policy: Accept },
    Chain { name: "output", kind: "nat", hook: 3, priority: -100, policy: Accept },
    Chain { name: "postrouting", kind: "nat", hook: 4, priority: 100, policy: Accept },
    Chain { name: "forward", kind: "filter", hook: 2, priority: 0, policy: Drop },
    Chain { name: "input", kind: "filter", hook: 1, priority: 0, policy: Accept },
];

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DNS_PORT: [u8; 2] = 53_u16.to_be_bytes();

type Elements = Vec<(Vec<u8>, Vec<u8>)>;

/// What the rules look up, and how many rules there are: what a dump has to show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruleset {
    /// In the order in which the kernel has to get them; without the table itself.
    pub messages: Vec<Message>,
    /// Rules in all chains.
    pub rules: usize,
    /// Elements in all sets and maps.
    pub elements: usize,
    /// Ports that cannot be published, with the reason.
    pub refused: Vec<String>,
}

/// The whole content of the table.
pub fn ruleset(state: &NetState) -> Ruleset {
    let mut out = Ruleset::default();
    add_sets(state, &mut out);
    out.messages.extend(CHAINS.iter().map(new_chain));
    add_publishing(&mut out);
    add_masquerading(state, &mut out);
    add_forwarding(&mut out);
    add_input(state, &mut out);
    out
}

impl Ruleset {
    fn rule(&mut self, chain: &str, expressions: &[Expression<'_>]) {
        self.messages.push(new_rule(chain, expressions));
        self.rules += 1;
    }

    fn set(&mut self, (name, id): (&str, u32), key: &[Type], data: &[Type], elements: &Elements) {
        self.messages.push(new_set(name, id, key, data));
        self.messages.extend(new_elements(name, elements));
        self.elements += elements.len();
    }
}

fn add_sets(state: &NetState, out: &mut Ruleset) {
    let names = |keep: fn(&Network) -> bool| -> Elements {
        let kept = state.networks.iter().filter(|(_, network)| keep(network));
        kept.map(|(name, _)| (ifname(&bridge_ifname(name)), Vec::new())).collect()
    };
    let gateway = |(name, network): (_, &Network)| {
        ([ifname(&bridge_ifname(name)), network.gateway.octets().to_vec()].concat(), Vec::new())
    };
    out.set(("bridges", 1), &[Type::Ifname], &[], &names(|_| true));
    out.set(("internal", 2), &[Type::Ifname], &[], &names(|network| network.internal));
    out.set(("gateways", 3), &[Type::Ifname, Type::Ipv4], &[], &state.networks.iter().map(gateway).collect());
    let (mut anywhere, mut on_address) = (Elements::new(), Elements::new());
    for port in &state.ports {
        let inside = |network: &&Network| network.internal && contains(network.subnet, port.address);
        if state.networks.values().find(inside).is_some() {
            out.refused.push(format!(
                "cannot publish port {} of '{}': its network is internal",
                port.host, port.unit
            ));
            continue;
        }
        let (key, target) = mapping(port);
        match port.host_ip {
            None => anywhere.push((key, target)),
            Some(address) => on_address.push(([address.octets().to_vec(), key].concat(), target)),
        }
    }
    for elements in [&mut anywhere, &mut on_address] {
        elements.sort();
        // The units' check has refused two units on one port; should it come here all the same, one of them wins.
        elements.dedup_by(|later, first| later.0 == first.0);
    }
    let target = [Type::Ipv4, Type::Port];
    out.set(("published", 4), &[Type::Protocol, Type::Port], &target, &anywhere);
    out.set(("published_on", 5), &[Type::Ipv4, Type::Protocol, Type::Port], &target, &on_address);
}

fn mapping(port: &PublishedPort) -> (Vec<u8>, Vec<u8>) {
    let protocol = match port.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
    };
    let key = [word(&[protocol]), word(&port.host.to_be_bytes())].concat();
    (key, [port.address.octets().to_vec(), word(&port.container.to_be_bytes())].concat())
}

fn add_publishing(out: &mut Ruleset) {
    // What comes in for 127/8 was made by a neighbour or a container: translated here, it would never meet the kernel's
    // own check, which comes after. The node's own packets have been translated on their way out.
    let foreign = NotToSubnet([127, 0, 0, 0], [255, 0, 0, 0]);
    for (chain, begin) in [("prerouting", &[IsIpv4, foreign, ToLocal][..]), ("output", &[IsIpv4, ToLocal])] {
        let on_address = [LoadDestination(0), LoadProtocol(1), LoadPort(2), Map("published_on"), Dnat];
        out.rule(chain, &[begin, &on_address[..]].concat());
        out.rule(chain, &[begin, &[LoadProtocol(0), LoadPort(1), Map("published"), Dnat]].concat());
    }
}

fn add_masquerading(state: &NetState, out: &mut Ruleset) {
    let loopback = FromSubnet([127, 0, 0, 0], [255, 0, 0, 0]);
    out.rule("postrouting", &[IsIpv4, loopback, LoadOifname(0), In("bridges"), Masquerade]);
    for (name, network) in &state.networks {
        let bits = mask(network.subnet.prefix).to_be_bytes();
        let bridge = ifname(&bridge_ifname(name));
        let from = FromSubnet(network.subnet.address.octets(), bits);
        // A container that reaches itself or a neighbour through a published port: without this the answer would
        // take the short way and not be recognized.
        let hairpin = [CtStatus(DNAT_STATUS), LoadOifname(0), Is(&bridge), Masquerade];
        out.rule("postrouting", &[&[IsIpv4, from.clone()], &hairpin[..]].concat());
        if network.nat && !network.internal {
            out.rule("postrouting", &[IsIpv4, from, LoadOifname(0), IsNot(&bridge), Masquerade]);
        }
    }
}

fn add_forwarding(out: &mut Ruleset) {
    out.rule("forward", &[CtState(ESTABLISHED | RELATED), End(Accept)]);
    out.rule("forward", &[LoadIifname(0), In("internal"), End(Drop)]);
    out.rule("forward", &[LoadOifname(0), In("internal"), End(Drop)]);
    out.rule("forward", &[CtStatus(DNAT_STATUS), End(Accept)]);
    out.rule("forward", &[LoadOifname(0), In("bridges"), End(Drop)]);
    out.rule("forward", &[LoadIifname(0), In("bridges"), End(Accept)]);
}

fn add_input(state: &NetState, out: &mut Ruleset) {
    out.rule("input", &[CtState(ESTABLISHED | RELATED), End(Accept)]);
    for protocol in [UDP, TCP] {
        // ifname takes four words, the address the fifth.
        let own_gateway = [LoadIifname(0), LoadDestination(4), In("gateways"), End(Accept)];
        let dns = [IsIpv4, IsProtocol(protocol), LoadPort(0), Is(&DNS_PORT)];
        out.rule("input", &[&dns[..], &own_gateway].concat());
    }
    out.rule("input", &[IsIpv4, IsProtocol(ICMP), LoadIifname(0), In("bridges"), End(Accept)]);
    out.rule("input", &[LoadIifname(0), In("bridges"), End(Drop)]);
    // The node answers to all of its addresses on every link: names are for the network that they are of.
    for network in state.networks.values() {
        let gateway = network.gateway.octets();
        let foreign = [LoadDestination(0), Is(&gateway), LoadIifname(0), IsNot(&ifname("lo")), End(Drop)];
        out.rule("input", &[&[IsIpv4], &foreign[..]].concat());
    }
}
