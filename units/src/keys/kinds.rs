//! Kinds of units that are not carried out yet: their files are checked, and refused all the same.

use std::time::Duration;

use super::forms::{
    CRON, IPV6_NET, KEY_SOURCE, LISTEN, NET_RULE, NUMBER_LIST, PLATFORM, REGISTRY_HOST, ROUTE,
};
use super::{Effect, Key, Schema, Section, Take, Text, Word, key, later, planned, planned_named};
use super::{planned_required, planned_section, planned_word, required};

/// What is kept of such a file.
type Nothing = ();

/// All kinds of which nothing is kept.
pub(crate) static KINDS: [Schema<Nothing>; 7] = [
    kind("firewall", &[LABELS, FIREWALL_TABLES], &[&head("\"firewall\""), LABEL, FIREWALL]),
    kind("image", &[LABELS], &[&head("\"image\""), LABEL, IMAGE]),
    kind("link", &[LABELS, LINK_TABLES], &[&head("\"link\""), LABEL, LINK]),
    kind("log-target", &[LABELS, LOG_TARGET_TABLES], &[&head("\"log-target\""), LABEL, LOG_TARGET]),
    kind("registry", &[LABELS], &[&head("\"registry\""), LABEL, REGISTRY]),
    kind("slice", &[LABELS, SLICE_TABLES], &[&head("\"slice\""), LABEL, SLICE]),
    kind("timer", &[LABELS, TIMER_TABLES], &[&head("\"timer\""), LABEL, TIMER]),
];

const fn kind(
    kind: &'static str,
    sections: &'static [&'static [Section<Nothing>]],
    keys: &'static [&'static [Key<Nothing>]],
) -> Schema<Nothing> {
    Schema { kind, sections, keys, effect: Effect::Planned }
}

const fn head(word: &'static str) -> [Key<Nothing>; 3] {
    [
        required("schema", Take::Header("1"), "Version of the rules that the file follows."),
        required("kind", Take::Header(word), "What the file declares."),
        key("description", "", Take::Text(Text::Line, later), "One line for people."),
    ]
}

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(366 * 86_400);

const LABELS: &[Section<Nothing>] = &[planned_named("labels", Text::Label, "Free key-value pairs.")];

const LABEL: &[Key<Nothing>] = &[planned("labels.*", "", Take::Text(Text::Value, later), "One label.")];

const IMAGE: &[Key<Nothing>] = &[
    planned_required("ref", Take::Reference(later), "Image reference."),
    planned("pull", "\"missing\"", Take::Words(PULL), "When it is fetched."),
    planned("auth", "", Take::Name(later), "Secret that holds the registry's credentials."),
    planned("verify", "", Take::Name(later), "Policy that its signature has to meet."),
    planned("platform", "the node's", Take::Text(Text::Form(&PLATFORM), later), "Which variant."),
    planned("mirrors", "[]", Take::List(Text::Form(&REGISTRY_HOST), later), "Hosts that are asked first."),
    planned("preload", "false", Take::Bool(later), "Put it into the OS image."),
    planned("keep", "false", Take::Bool(later), "Never remove it."),
    planned("decrypt_key", "", Take::Text(Text::Form(&KEY_SOURCE), later), "Where its key comes from."),
];

const PULL: &[Word<Nothing>] = &[
    planned_word("missing", "when the node does not have it"),
    planned_word("always", "at every start"),
    planned_word("never", "never"),
    planned_word("newer", "when the registry has a newer one"),
];

const REGISTRY: &[Key<Nothing>] = &[
    planned_required("host", Take::Text(Text::Form(&REGISTRY_HOST), later), "Its host."),
    planned("mirrors", "[]", Take::List(Text::Form(&REGISTRY_HOST), later), "Hosts that are asked first."),
    planned("ca", "", Take::Name(later), "Config that holds its authority."),
    planned("auth", "", Take::Name(later), "Secret that holds the credentials."),
    planned("insecure", "false", Take::Bool(later), "Speak without TLS."),
    planned("rate", "no limit", Take::Size(1, 1 << 50, later), "Bytes a second."),
];

const SLICE_TABLES: &[Section<Nothing>] = &[
    planned_section("memory", "Memory limits."),
    planned_section("cpu", "Processor limits."),
    planned_section("cpuset", "Which processors and memory nodes its units may use."),
    planned_section("pids", "Limit of processes and threads."),
    planned_section("io", "Disk limits."),
];

const SLICE: &[Key<Nothing>] = &[
    planned("memory.max", "no limit", Take::Amount(later), "Hard limit."),
    planned("memory.high", "no limit", Take::Amount(later), "Soft limit."),
    planned("memory.low", "nothing", Take::Amount(later), "Kept as long as others have more."),
    planned("memory.min", "nothing", Take::Amount(later), "Kept whatever happens."),
    planned("cpu.max", "no limit", Take::Cpus(later), "Processors."),
    planned("cpu.weight", "100", Take::Int(1, 10_000, later), "Share among slices that compete."),
    planned("cpuset.cpus", "all", Take::Text(Text::Form(&NUMBER_LIST), later), "Processors."),
    planned("pids.max", "no limit", Take::Int(1, 4_194_304, later), "Processes and threads."),
    planned("io.weight", "100", Take::Int(1, 10_000, later), "Share of the disk among slices that compete."),
];

const TIMER_TABLES: &[Section<Nothing>] = &[planned_section("schedule", "When it starts the unit.")];

const TIMER: &[Key<Nothing>] = &[
    planned_required("unit", Take::Name(later), "Unit that it starts."),
    planned("schedule.cron", "", Take::Text(Text::Form(&CRON), later), "As crontab(5), without names."),
    planned("schedule.every", "", Take::Duration(SECOND, YEAR, later), "From one start to the next."),
    planned("schedule.on_boot", "", Take::Duration(Duration::ZERO, YEAR, later), "After the node's boot."),
];

const LOG_TARGET_TABLES: &[Section<Nothing>] = &[planned_section("tls", "How the connection is protected.")];

const LOG_TARGET: &[Key<Nothing>] = &[
    planned_required("type", Take::Words(TARGET), "What it speaks."),
    planned_required("url", Take::Text(Text::Url, later), "Where it is."),
    planned("tls.ca", "", Take::Name(later), "Config that holds its authority."),
    planned("tls.certificate", "", Take::Name(later), "Secret that holds our certificate and key."),
    planned("buffer", "\"1M\"", Take::Size(4096, 1 << 40, later), "What is kept while it is away."),
];

const TARGET: &[Word<Nothing>] = &[
    planned_word("syslog", "RFC 5424"),
    planned_word("loki", "Loki's push API"),
    planned_word("otlp", "OpenTelemetry over HTTP"),
    planned_word("vector", "Vector's own protocol"),
];

const LINK_TABLES: &[Section<Nothing>] = &[planned_section("static", "Its fixed addresses.")];

const LINK: &[Key<Nothing>] = &[
    planned_required("type", Take::Words(LINK_TYPE), "What it is."),
    planned("interface", "the unit's name", Take::Text(Text::Interface, later), "Its name in the kernel."),
    planned("parent", "", Take::Text(Text::Interface, later), "Of a vlan: the link that it lies on."),
    planned("vlan", "", Take::Int(1, 4094, later), "Of a vlan: its number."),
    planned("members", "[]", Take::List(Text::Interface, later), "Of a bridge or bond: the links in it."),
    planned("mtu", "1500", Take::Int(576, 65_535, later), "Largest packet, bytes."),
    planned("dhcp4", "false", Take::Bool(later), "Ask for an IPv4 address."),
    planned("dhcp6", "false", Take::Bool(later), "Ask for an IPv6 address."),
    planned("static.ipv4", "", Take::Ipv4Net(later), "IPv4 address."),
    planned("static.ipv6", "", Take::Text(Text::Form(&IPV6_NET), later), "IPv6 address."),
    planned("static.routes", "[]", Take::List(Text::Form(&ROUTE), later), "Routes."),
];

const LINK_TYPE: &[Word<Nothing>] = &[
    planned_word("ethernet", "an interface that the machine has"),
    planned_word("vlan", "a VLAN of another link"),
    planned_word("bridge", "several links as one network"),
    planned_word("bond", "several links as one"),
    planned_word("wireguard", "an encrypted tunnel"),
    planned_word("wifi", "a wireless interface"),
];

const FIREWALL_TABLES: &[Section<Nothing>] =
    &[planned_named("rules", Text::Entry, "What is let in, by name.")];

const FIREWALL: &[Key<Nothing>] = &[
    planned("default", "\"accept\"", Take::Words(VERDICT), "What no rule speaks of."),
    planned("rules.*.from", "everywhere", Take::List(Text::Form(&NET_RULE), later), "Who."),
    planned("rules.*.to", "every port", Take::List(Text::Form(&LISTEN), later), "Which sockets of the node."),
    planned("rules.*.action", "\"accept\"", Take::Words(VERDICT), "What becomes of it."),
];

const VERDICT: &[Word<Nothing>] =
    &[planned_word("accept", "it is let in"), planned_word("drop", "it is left without an answer")];
