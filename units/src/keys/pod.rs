//! `kind = "pod"`: the network, the IPC and the host name that several containers share.

use std::time::Duration;

use super::draft::ContainerDraft;
use super::forms::IP;
use super::networking::{ATTACHMENT, NETWORKS, PORT, PORTS};
use super::{
    Effect, Key, Schema, Section, Take, Text, Word, key, later, named, planned, planned_section,
    planned_word, required, word,
};

/// `kind = "pod"`.
pub(crate) static POD: Schema<ContainerDraft> = Schema {
    kind: "pod",
    sections: &[SECTIONS],
    keys: &[KEYS, ATTACHMENT, PORT, LIMITS],
    effect: Effect::Now,
};

const DAY: Duration = Duration::from_secs(86_400);

const SECTIONS: &[Section<ContainerDraft>] = &[
    named("labels", Text::Label, |_, _| (), "Free key-value pairs, shown and filtered by."),
    NETWORKS,
    PORTS,
    planned_section("dns", "How it looks up names."),
    planned_section("memory", "Memory limits of all together."),
    planned_section("cpu", "Processor limits of all together."),
    planned_section("pids", "Limit of processes of all together."),
];

const KEYS: &[Key<ContainerDraft>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    required("kind", Take::Header("\"pod\""), "What the file declares."),
    key("description", "", Take::Text(Text::Line, |d, _, v| d.unit.description = v), "One line for people."),
    key(
        "labels.*",
        "",
        Take::Text(Text::Value, |d, at, v| drop(d.unit.labels.insert(at.to_owned(), v))),
        "One label.",
    ),
    key(
        "hostname",
        "the pod's name",
        Take::Text(Text::Hostname, |d, _, v| d.unit.hostname = v),
        "Host name of all its containers.",
    ),
    planned("dns.servers", "the node's", Take::List(Text::Form(&IP), later), "Name servers."),
    planned("dns.search", "[]", Take::List(Text::Hostname, later), "Domains that short names are tried in."),
    key("exit_policy", "\"continue\"", Take::Words(EXIT_POLICY), "When its last unit has ended."),
    planned("stop_timeout", "\"10s\"", Take::Duration(Duration::ZERO, DAY, later), "For all its units."),
    planned("userns", "\"auto\"", Take::Userns(later), "Whose ids its users have on the node."),
];

const LIMITS: &[Key<ContainerDraft>] = &[
    planned("memory.max", "no limit", Take::Amount(later), "Hard limit."),
    planned("cpu.max", "no limit", Take::Cpus(later), "Processors."),
    planned("pids.max", "no limit", Take::Int(1, 4_194_304, later), "Processes and threads."),
];

const EXIT_POLICY: &[Word<ContainerDraft>] =
    &[planned_word("stop", "the pod goes, too"), word("continue", "the pod stays", |_, _| ())];
