//! `node.toml`: the node itself.

use std::time::Duration;

use super::draft::{NodeDraft, UplinkWord};
use super::{Key, Section, Take, Text, Word, key, required, section, word};

pub(super) const SECTIONS: &[Section<NodeDraft>] = &[
    section("uplink", "How the node reaches the outside."),
    section("kernel", "What the kernel is told and loads."),
];

pub(super) const KEYS: &[Key<NodeDraft>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    key("kind", "\"node\"", Take::Header("\"node\""), "What the file declares."),
    key("description", "", Take::Text(Text::Line, |_, _, _| ()), "One line for people."),
    key("hostname", "\"berth\"", Take::Name(|d, _, v| d.node.hostname = v), "Host name of the node."),
    key(
        "stop_timeout",
        "\"30s\"",
        Take::Duration(Duration::from_secs(1), Duration::from_secs(3600), |d, _, v| d.node.stop_timeout = v),
        "How long a shutdown may take before what is left is killed.",
    ),
    key(
        "memory_reserve",
        "\"32M\"",
        Take::Size(0, 1 << 50, |d, _, v| d.node.memory_reserve = v),
        "Memory that units together cannot take from the node.",
    ),
    key(
        "uplink.interface",
        "the first ethernet link",
        Take::Text(Text::Interface, |d, _, v| d.node.uplink.interface = Some(v)),
        "Name of the interface.",
    ),
    key("uplink.mode", "\"dhcp\"", Take::Words(MODE), "How it gets its address."),
    key("uplink.address", "", Take::Ipv4Net(|d, _, v| d.address = Some(v)), "Address of mode static."),
    key("uplink.gateway", "none", Take::Ipv4(|d, _, v| d.gateway = Some(v)), "Default route of mode static."),
    key("uplink.dns", "none", Take::Ipv4List(|d, _, v| d.dns = v), "Name servers of mode static."),
    key(
        "kernel.append",
        "[]",
        Take::List(Text::KernelWord, |d, _, v| d.node.kernel_append = v),
        "Words of the kernel command line.",
    ),
    key(
        "kernel.modules",
        "[]",
        Take::List(Text::Module, |d, _, v| d.node.kernel_modules = v),
        "Modules loaded at boot.",
    ),
];

const MODE: &[Word<NodeDraft>] = &[
    word("dhcp", "from a DHCP server", |d, _| d.mode = UplinkWord::Dhcp),
    word("static", "from uplink.address", |d, _| d.mode = UplinkWord::Static),
    word("none", "the node stays off the network", |d, _| d.mode = UplinkWord::None),
];
