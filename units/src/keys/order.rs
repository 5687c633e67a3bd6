//! What a start waits for: other units, facts, conditions.

use std::time::Duration;

use super::draft::ContainerDraft;
use super::forms::SERVER;
use super::{Key, Section, Take, Text, Word, key, later, named, planned, planned_word, section, word};
use crate::Name;
use crate::spec::{Arch, Depends, OnRestart, OnStop, OnUnmet, Server, Strength, Until};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    named("depends", Text::Unit, |d, at| depend(d, at, |_| ()), "Units that it depends on, by name."),
    section("wait_for", "Facts outside of the set that have to hold before it starts."),
    section("conditions", "Whether it is started at all; looked at once, at the start."),
];

const NOW: Duration = Duration::ZERO;
const DAY: Duration = Duration::from_secs(86_400);

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key("depends.*.until", "\"ready\"", Take::Words(UNTIL), "What of the other unit has to hold."),
    key("depends.*.strength", "\"need\"", Take::Words(STRENGTH), "How the two are bound."),
    key("depends.*.on_stop", "\"stop\"", Take::Words(ON_STOP), "When a needed unit stops for good."),
    key(
        "depends.*.on_restart",
        "\"restart\"",
        Take::Words(ON_RESTART),
        "When a needed unit is started anew.",
    ),
    key(
        "after",
        "[]",
        Take::List(Text::Unit, |d, _, v| d.unit.after = names(&v)),
        "It starts after these units and stops before them.",
    ),
    key(
        "before",
        "[]",
        Take::List(Text::Unit, |d, _, v| d.unit.before = names(&v)),
        "It starts before these units and stops after them.",
    ),
    key(
        "conflicts",
        "[]",
        Take::List(Text::Unit, |d, _, v| d.unit.conflicts = names(&v)),
        "It never runs beside these units.",
    ),
    planned("critical", "false", Take::Bool(later), "When it fails, the node falls back and restarts."),
    key("wait_for.network", "", Take::Words(NETWORK), "What of the node's network has to be there."),
    key("wait_for.time", "false", Take::Bool(|d, _, v| d.unit.wait_for.time = v), "The clock has to be set."),
    key(
        "wait_for.paths",
        "[]",
        Take::List(Text::Path, |d, _, v| d.unit.wait_for.paths = v),
        "Paths of the node that have to exist; not below /proc and /sys.",
    ),
    key(
        "wait_for.devices",
        "[]",
        Take::List(Text::Device, |d, _, v| d.unit.wait_for.devices = v),
        "Devices that have to exist.",
    ),
    key(
        "wait_for.tcp",
        "[]",
        Take::List(Text::Form(&SERVER), |d, _, v| {
            d.unit.wait_for.tcp = v.iter().filter_map(|server| Server::parse(server)).collect()
        }),
        "Servers that have to accept connections.",
    ),
    key(
        "wait_for.timeout",
        "\"2m\"",
        Take::Duration(NOW, DAY, |d, _, v| d.unit.wait_for.timeout = v),
        "After it the start has failed; \"0s\" is no limit.",
    ),
    key(
        "conditions.path_exists",
        "[]",
        Take::List(Text::Path, |d, _, v| d.unit.conditions.path_exists = v),
        "Paths of the node that have to exist.",
    ),
    key("conditions.arch", "", Take::Words(ARCH), "Architecture of the node."),
    key(
        "conditions.memory_min",
        "",
        Take::Size(1 << 20, 1 << 50, |d, _, v| d.unit.conditions.memory_min = Some(v)),
        "Memory that the node has to have.",
    ),
    key(
        "conditions.kernel_cmdline",
        "[]",
        Take::List(Text::KernelWord, |d, _, v| d.unit.conditions.kernel_cmdline = v),
        "Words that the kernel command line has to have.",
    ),
    key(
        "conditions.device",
        "",
        Take::Text(Text::Device, |d, _, v| d.unit.conditions.device = Some(v)),
        "A device that has to exist.",
    ),
    key(
        "conditions.first_boot",
        "",
        Take::Bool(|d, _, v| d.unit.conditions.first_boot = Some(v)),
        "Only, or never, in the first boot with this data partition.",
    ),
    key(
        "conditions.cpu_feature",
        "[]",
        Take::List(Text::Line, |d, _, v| d.unit.conditions.cpu_feature = v),
        "Features that the processor has to have, with the kernel's words (/proc/cpuinfo).",
    ),
    key("conditions.on_unmet", "\"skip\"", Take::Words(ON_UNMET), "What an unmet condition means."),
];

const UNTIL: &[Word<ContainerDraft>] = &[
    word("started", "its process has been executed", |d, at| depend(d, at, |on| on.until = Until::Started)),
    word("ready", "it is ready", |d, at| depend(d, at, |on| on.until = Until::Ready)),
    word("healthy", "it is ready and its checks pass", |d, at| {
        depend(d, at, |on| on.until = Until::Healthy);
    }),
    word("completed", "it has ended with success", |d, at| depend(d, at, |on| on.until = Until::Completed)),
];

const STRENGTH: &[Word<ContainerDraft>] = &[
    word("need", "no start without it, and no going on without it", |d, at| {
        depend(d, at, |on| on.strength = Strength::Need);
    }),
    word("milestone", "it has to have come so far once", |d, at| {
        depend(d, at, |on| on.strength = Strength::Milestone);
    }),
    word("wants", "only the order; it may fail or be absent", |d, at| {
        depend(d, at, |on| on.strength = Strength::Wants);
    }),
];

const ON_STOP: &[Word<ContainerDraft>] = &[
    word("stop", "stop before it, and start when it is back", |d, at| {
        depend(d, at, |on| on.on_stop = OnStop::Stop);
    }),
    word("ignore", "go on", |d, at| depend(d, at, |on| on.on_stop = OnStop::Ignore)),
];

const ON_RESTART: &[Word<ContainerDraft>] = &[
    word("restart", "stop before it and start after it", |d, at| {
        depend(d, at, |on| on.on_restart = OnRestart::Restart);
    }),
    word("ignore", "go on", |d, at| depend(d, at, |on| on.on_restart = OnRestart::Ignore)),
];

const NETWORK: &[Word<ContainerDraft>] = &[
    word("online", "the uplink has an address", |d, _| d.unit.wait_for.online = true),
    planned_word("address", "some link has an address"),
];

const ARCH: &[Word<ContainerDraft>] = &[
    word("x86_64", "64-bit x86", |d, _| d.unit.conditions.arch = Some(Arch::X86)),
    word("aarch64", "64-bit ARM", |d, _| d.unit.conditions.arch = Some(Arch::Arm)),
];

const ON_UNMET: &[Word<ContainerDraft>] = &[
    word("skip", "it is left out, and nobody misses it", |d, _| d.unit.conditions.on_unmet = OnUnmet::Skip),
    word("fail", "it has failed", |d, _| d.unit.conditions.on_unmet = OnUnmet::Fail),
];

fn depend(draft: &mut ContainerDraft, unit: &str, set: impl FnOnce(&mut Depends)) {
    // The walker has checked the name.
    if let Ok(unit) = Name::parse(unit) {
        set(draft.unit.depends.entry(unit).or_default());
    }
}

/// Names of a list whose entries have been checked.
pub(super) fn names(list: &[String]) -> Vec<Name> {
    list.iter().filter_map(|name| Name::parse(name).ok()).collect()
}
