//! `node.toml`: the node itself.

use std::time::Duration;

use super::draft::{NodeDraft, UplinkWord};
use super::forms::{IP, KERNEL_PATH, LISTEN, NODE_SYSCTL, PERCENT, TIMEZONE, WINDOW};
use super::{
    Key, Section, Take, Text, Word, key, later, planned, planned_named, planned_section, planned_word,
    required, section, word,
};

pub(super) const SECTIONS: &[Section<NodeDraft>] = &[
    section("uplink", "How the node reaches the outside."),
    section("kernel", "What the kernel is told and loads."),
    planned_named("labels", Text::Label, "Free key-value pairs."),
    planned_section("time", "Where the clock comes from."),
    planned_named("sysctl", Text::Form(&NODE_SYSCTL), "Sysctls of the node by dotted name."),
    planned_named("sysfs", Text::Form(&KERNEL_PATH), "Files below /sys that are written at boot."),
    planned_section("dns", "How the node looks up names."),
    planned_section("watchdog", "The hardware watchdog."),
    planned_section("zram", "Compressed swap in RAM."),
    planned_section("swap", "Swap."),
    planned_section("gc", "When images are removed."),
    planned_section("io", "What the node's disks can do."),
    planned_named("io.cost", Text::Device, "Cost models by block device."),
    planned_section("api", "Access from outside."),
    planned_section("events", "Where events go."),
    planned_section("update", "How the OS image is renewed."),
];

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

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
    planned("labels.*", "", Take::Text(Text::Value, later), "One label."),
    key(
        "profiles",
        "[]",
        Take::List(Text::Entry, |d, _, v| d.node.profiles = v),
        "Profiles of units that are enabled.",
    ),
    planned("machine_id", "\"persist\"", Take::Words(MACHINE_ID), "Where /etc/machine-id comes from."),
    planned("timezone", "\"UTC\"", Take::Text(Text::Form(&TIMEZONE), later), "Time zone of the node."),
    planned("time.servers", "those of DHCP", Take::List(Text::Hostname, later), "NTP servers."),
    planned("sysctl.*", "", Take::Text(Text::Value, later), "One sysctl."),
    planned("sysfs.*", "", Take::Text(Text::Value, later), "One file below /sys and what is written."),
    planned(
        "kernel.params",
        "[]",
        Take::List(Text::KernelWord, later),
        "Module parameters, MODULE.NAME=VALUE.",
    ),
    planned("dns.servers", "the uplink's", Take::List(Text::Form(&IP), later), "Name servers."),
    planned("dns.search", "[]", Take::List(Text::Hostname, later), "Domains that short names are tried in."),
    planned("watchdog.device", "/dev/watchdog0", Take::Text(Text::Device, later), "Hardware watchdog."),
    planned(
        "watchdog.timeout",
        "\"30s\"",
        Take::Duration(SECOND, HOUR, later),
        "It resets the node after this.",
    ),
    planned("zram.size", "\"0\"", Take::Amount(later), "Compressed swap in RAM."),
    planned("swap.volume", "", Take::Name(later), "Volume that is used as swap."),
    planned(
        "gc.disk_high",
        "\"85%\"",
        Take::Text(Text::Form(&PERCENT), later),
        "Images are removed above this.",
    ),
    planned(
        "gc.disk_low",
        "\"75%\"",
        Take::Text(Text::Form(&PERCENT), later),
        "Until no more than this is used.",
    ),
    planned("io.cost.*", "", Take::Text(Text::Line, later), "io.cost.model of one block device."),
    planned(
        "api.listen",
        "",
        Take::Text(Text::Form(&LISTEN), later),
        "Where the node is reached from outside.",
    ),
    planned("api.certificate", "", Take::Name(later), "Secret that holds its certificate and key."),
    planned("api.clients", "", Take::Name(later), "Secret that holds the authority of clients."),
    planned(
        "events.targets",
        "[]",
        Take::List(Text::Entry, later),
        "Units of kind log-target that get events.",
    ),
    planned("update.channel", "", Take::Text(Text::Line, later), "Which OS images are followed."),
    planned("update.window", "any time", Take::Text(Text::Form(&WINDOW), later), "When an update may begin."),
    planned("update.healthy_for", "\"1m\"", Take::Duration(SECOND, HOUR, later), "Gates hold for this long."),
    planned("uplink.vlan", "none", Take::Int(1, 4094, later), "VLAN of the interface."),
    planned("uplink.ipv6", "\"auto\"", Take::Words(IPV6), "How it gets IPv6 addresses."),
];

const MODE: &[Word<NodeDraft>] = &[
    word("dhcp", "from a DHCP server", |d, _| d.mode = UplinkWord::Dhcp),
    word("static", "from uplink.address", |d, _| d.mode = UplinkWord::Static),
    word("none", "the node stays off the network", |d, _| d.mode = UplinkWord::None),
];

const MACHINE_ID: &[Word<NodeDraft>] = &[
    planned_word("persist", "made once and kept"),
    planned_word("transient", "new at every boot"),
    planned_word("hardware", "made of the machine's serial number"),
];

const IPV6: &[Word<NodeDraft>] = &[
    planned_word("auto", "from router advertisements"),
    planned_word("dhcp", "from a DHCPv6 server"),
    planned_word("none", "not at all"),
];
