//! How a container is reached and what it reaches.

use super::draft::{ContainerDraft, fit};
use super::{Key, Section, Take, Text, Word, key, named, planned_word, required, section, word};
use crate::Name;
use crate::spec::{Attachment, NetworkMode, Protocol};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("network", "Mode and host name."),
    named("networks", Text::Entry, |d, at| attach(d, at, |_| ()), "Networks that it joins, by name."),
    named(
        "ports",
        Text::Entry,
        |d, at| {
            d.port(at);
        },
        "Ports published on the node, by name.",
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
    required(
        "ports.*.host",
        Take::Int(1, 65_535, |d, at, v| d.port(at).host = Some(fit(v))),
        "Port of the node.",
    ),
    required(
        "ports.*.container",
        Take::Int(1, 65_535, |d, at, v| d.port(at).container = Some(fit(v))),
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
    planned_word("unit:NAME", "that of another unit"),
];

const PROTOCOL: &[Word<ContainerDraft>] = &[
    word("tcp", "TCP", |d, at| d.port(at).protocol = Some(Protocol::Tcp)),
    word("udp", "UDP", |d, at| d.port(at).protocol = Some(Protocol::Udp)),
    planned_word("sctp", "SCTP"),
];

fn attach(draft: &mut ContainerDraft, network: &str, change: impl FnOnce(&mut Attachment)) {
    // The walker has checked the name.
    if let Ok(network) = Name::parse(network) {
        change(draft.unit.networks.entry(network).or_default());
    }
}
