//! How a container is reached and what it reaches.

use super::draft::{ContainerDraft, fit};
use super::forms::{BANDWIDTH, DNS_OPTION, HOST_ADDRESS, IP, IPV6, LISTEN, MAC, NET_RULE};
use super::{
    Key, Section, Take, Text, Word, key, later, named, planned, planned_named, planned_section, planned_word,
    required, section, word,
};
use crate::Name;
use crate::spec::{Attachment, Listen, NetworkMode, Protocol};

/// Shared by pods: `[networks.*]` and `[ports.*]`.
pub(super) const NETWORKS: Section<ContainerDraft> =
    named("networks", Text::Entry, |d, at| attach(d, at, |_| ()), "Networks that it joins, by name.");
pub(super) const PORTS: Section<ContainerDraft> = named(
    "ports",
    Text::Entry,
    |d, at| {
        d.port(at);
    },
    "Ports published on the node, by name.",
);

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("network", "Mode and host name."),
    NETWORKS,
    PORTS,
    planned_section("network.dns", "How it looks up names."),
    planned_named("network.hosts", Text::Hostname, "Names that it knows without asking."),
    planned_section("network.allow", "Whom it may reach, and who may reach it."),
    named(
        "sockets",
        Text::Entry,
        |d, at| {
            d.socket(at);
        },
        "Sockets of the node that berth holds open for it over restarts, by name.",
    ),
];

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key("network.mode", "\"bridge\"", Take::Words(MODE), "What network it sees."),
    key(
        "network.hostname",
        "the unit's name",
        Take::Text(Text::Hostname, |d, _, v| d.unit.hostname = v),
        "Its host name.",
    ),
    planned("ports.*.family", "\"both\"", Take::Words(FAMILY), "Only for this kind of address."),
    planned("network.domainname", "none", Take::Text(Text::Hostname, later), "Its NIS domain name."),
    planned("network.dns.servers", "the node's", Take::List(Text::Form(&IP), later), "Name servers it asks."),
    planned(
        "network.dns.search",
        "[]",
        Take::List(Text::Hostname, later),
        "Domains that short names are tried in.",
    ),
    planned(
        "network.dns.options",
        "[]",
        Take::List(Text::Form(&DNS_OPTION), later),
        "Options of resolv.conf(5).",
    ),
    planned("network.hosts.*", "", Take::Text(Text::Form(&HOST_ADDRESS), later), "One host name's address."),
    planned("network.egress", "no limit", Take::Text(Text::Form(&BANDWIDTH), later), "What it may send."),
    planned("network.ingress", "no limit", Take::Text(Text::Form(&BANDWIDTH), later), "What it may receive."),
    planned("network.burst", "\"64K\"", Take::Size(1, 1 << 30, later), "What may go at once beyond that."),
    planned(
        "network.allow.egress",
        "everything",
        Take::List(Text::Form(&NET_RULE), later),
        "Only to these it may connect.",
    ),
    planned(
        "network.allow.ingress_from",
        "everything",
        Take::List(Text::Form(&NET_RULE), later),
        "Only these may connect to it.",
    ),
    planned(
        "networks.*.ipv6",
        "chosen and kept",
        Take::Text(Text::Form(&IPV6), later),
        "A fixed IPv6 address.",
    ),
    planned("networks.*.mac", "made of the address", Take::Text(Text::Form(&MAC), later), "MAC address."),
    planned(
        "networks.*.ifname",
        "eth0, eth1 and so on",
        Take::Text(Text::Interface, later),
        "Interface's name.",
    ),
    planned("networks.*.default_route", "of the first network", Take::Bool(later), "The way out goes here."),
    required(
        "sockets.*.listen",
        Take::Text(Text::Form(&LISTEN), |d, at, v| d.socket(at).listen = Listen::parse(&v)),
        "Where it listens.",
    ),
    key(
        "sockets.*.mode",
        "octal 0660",
        Take::Mode(|d, at, v| d.socket(at).mode = Some(v)),
        "Mode of a unix socket.",
    ),
    key(
        "sockets.*.owner",
        "root",
        Take::Text(Text::User, |d, at, v| d.socket(at).owner = Some(v)),
        "Owner of a unix socket, uid[:gid] in numbers.",
    ),
];

/// What a unit or a pod has in a network.
pub(super) const ATTACHMENT: &[Key<ContainerDraft>] = &[
    key(
        "networks.*.ipv4",
        "chosen and kept",
        Take::Ipv4(|d, at, v| attach(d, at, |joined| joined.ipv4 = Some(v))),
        "A fixed address.",
    ),
    key(
        "networks.*.aliases",
        "[]",
        Take::List(Text::Hostname, |d, at, v| attach(d, at, |joined| joined.aliases = v)),
        "More names that it answers to on this network.",
    ),
];

/// Ports of a unit or of a pod.
pub(super) const PORT: &[Key<ContainerDraft>] = &[
    required("ports.*.host", Take::Port(|d, at, v| d.port(at).host = Some(fit(v))), "Port of the node."),
    required(
        "ports.*.container",
        Take::Port(|d, at, v| d.port(at).container = Some(fit(v))),
        "Port in the container.",
    ),
    key("ports.*.protocol", "\"tcp\"", Take::Words(PROTOCOL), "Protocol."),
    key(
        "ports.*.host_ip",
        "all of the node's",
        Take::Ipv4(|d, at, v| d.port(at).host_ip = Some(v).filter(|address| !address.is_unspecified())),
        "Only on this address of the node.",
    ),
];

const MODE: &[Word<ContainerDraft>] = &[
    word("bridge", "its own, attached to networks", |d, _| d.unit.network = NetworkMode::Bridge),
    word("host", "the node's", |d, _| d.unit.network = NetworkMode::Host),
    word("none", "its own, with nothing but loopback", |d, _| d.unit.network = NetworkMode::None),
    word("unit:NAME", "that of another unit, whose life it shares", |d, at| {
        // Of a word with a name that name is given, and it has been checked.
        if let Ok(owner) = Name::parse(at) {
            d.unit.network = NetworkMode::Unit(owner);
        }
    }),
];

const PROTOCOL: &[Word<ContainerDraft>] = &[
    word("tcp", "TCP", |d, at| d.port(at).protocol = Some(Protocol::Tcp)),
    word("udp", "UDP", |d, at| d.port(at).protocol = Some(Protocol::Udp)),
    planned_word("sctp", "SCTP"),
];

pub(super) fn attach(draft: &mut ContainerDraft, network: &str, change: impl FnOnce(&mut Attachment)) {
    // The walker has checked the name.
    if let Ok(network) = Name::parse_plain(network) {
        change(draft.unit.networks.entry(network).or_default());
    }
}

const FAMILY: &[Word<ContainerDraft>] =
    &[planned_word("ipv4", "IPv4"), planned_word("ipv6", "IPv6"), planned_word("both", "IPv4 and IPv6")];
