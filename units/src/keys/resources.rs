//! Limits of the unit's cgroup; the keys have the names of the cgroup v2 files.

use std::time::Duration;

use super::draft::{ContainerDraft, fit};
use super::forms::{HUGE_PAGE, KERNEL_FILE, NUMBER_LIST, PERCENT, PRESSURE_ACTION};
use super::{
    Key, Section, Take, Text, Word, key, later, named, planned, planned_named, planned_required,
    planned_section, planned_word, section,
};
use crate::spec::IoLimit;

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("memory", "Memory limits."),
    section("cpu", "Processor limits."),
    section("pids", "Limit of processes and threads."),
    section("io", "Disk limits."),
    named(
        "io.limits",
        Text::Device,
        |d, at| {
            limit(d, at);
        },
        "Limits by block device.",
    ),
    planned_section("cpuset", "Which processors and memory nodes it may use."),
    planned_named("hugetlb", Text::Form(&HUGE_PAGE), "Huge pages it may hold, by size of the page."),
    planned_section("cgroup", "The cgroup itself."),
    planned_named(
        "cgroup.raw",
        Text::Form(&KERNEL_FILE),
        "Files of the cgroup that have no key of their own.",
    ),
    planned_named("pressure", Text::Entry, "What is done when resources run short, by name."),
];

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key(
        "memory.max",
        "no limit",
        Take::Amount(|d, _, v| d.unit.memory.max = Some(v)),
        "Hard limit: beyond it the unit is killed.",
    ),
    key(
        "memory.high",
        "no limit",
        Take::Amount(|d, _, v| d.unit.memory.high = Some(v)),
        "Soft limit: beyond it the unit is slowed down.",
    ),
    key(
        "memory.low",
        "nothing",
        Take::Amount(|d, _, v| d.unit.memory.low = Some(v)),
        "Kept for the unit as long as others have more.",
    ),
    key(
        "memory.min",
        "nothing",
        Take::Amount(|d, _, v| d.unit.memory.min = Some(v)),
        "Kept for the unit whatever happens.",
    ),
    key("memory.swap_max", "0", Take::Amount(|d, _, v| d.unit.memory.swap_max = v), "Swap it may use."),
    key(
        "memory.oom_group",
        "true",
        Take::Bool(|d, _, v| d.unit.memory.oom_group = v),
        "Out of memory ends the whole container, not a part of it.",
    ),
    key(
        "memory.shm_size",
        "\"64M\"",
        Take::Size(4096, 1 << 50, |d, _, v| d.unit.memory.shm_size = v),
        "Size of /dev/shm.",
    ),
    key(
        "cpu.max",
        "no limit",
        Take::Cpus(|d, _, v| d.unit.cpu.max = Some(v)),
        "Processors it may use: 1.5 is one and a half.",
    ),
    key(
        "cpu.period",
        "\"100ms\"",
        Take::Duration(Duration::from_millis(1), Duration::from_secs(1), |d, _, v| d.unit.cpu.period = v),
        "Over which cpu.max is measured.",
    ),
    key(
        "cpu.burst",
        "\"0s\"",
        Take::Duration(Duration::ZERO, Duration::from_secs(1), |d, _, v| d.unit.cpu.burst = v),
        "Unused time that may be saved up for a burst.",
    ),
    key(
        "cpu.weight",
        "the kernel\'s, 100",
        Take::Int(1, 10_000, |d, _, v| d.unit.cpu.weight = Some(fit(v))),
        "Share among units that compete.",
    ),
    key(
        "cpu.idle",
        "false",
        Take::Bool(|d, _, v| d.unit.cpu.idle = v),
        "Run only when nobody else wants to.",
    ),
    key(
        "pids.max",
        "4096",
        Take::Int(1, 4_194_304, |d, _, v| d.unit.pids.max = fit(v)),
        "Processes and threads; never unlimited.",
    ),
    key(
        "io.weight",
        "the kernel\'s, 100",
        Take::Int(1, 10_000, |d, _, v| d.unit.io.weight = Some(fit(v))),
        "Share of the disk among units that compete.",
    ),
    key(
        "io.limits.*.read_bps",
        "no limit",
        Take::Size(1, u64::MAX, |d, at, v| limit(d, at).read_bps = Some(v)),
        "Bytes read a second.",
    ),
    key(
        "io.limits.*.write_bps",
        "no limit",
        Take::Size(1, u64::MAX, |d, at, v| limit(d, at).write_bps = Some(v)),
        "Bytes written a second.",
    ),
    key(
        "io.limits.*.read_iops",
        "no limit",
        Take::Int(1, i64::MAX, |d, at, v| limit(d, at).read_iops = Some(fit(v))),
        "Reads a second.",
    ),
    key(
        "io.limits.*.write_iops",
        "no limit",
        Take::Int(1, i64::MAX, |d, at, v| limit(d, at).write_iops = Some(fit(v))),
        "Writes a second.",
    ),
    planned("io.limits.*.weight", "the kernel's, 100", Take::Int(1, 10_000, later), "Share of this disk."),
    planned(
        "io.limits.*.latency",
        "none",
        Take::Duration(Duration::from_millis(1), Duration::from_secs(10), later),
        "Others are slowed down when its requests take longer (io.latency).",
    ),
    planned("io.prio_class", "\"none\"", Take::Words(PRIO_CLASS), "Class of its requests (io.prio.class)."),
    planned("memory.swap_high", "no limit", Take::Amount(later), "Swap beyond which it is slowed down."),
    planned("memory.zswap_max", "no limit", Take::Amount(later), "Compressed swap it may use."),
    planned("memory.zswap_writeback", "true", Take::Bool(later), "Compressed swap may go to the disk."),
    planned("memory.on_oom", "\"restart\"", Take::Words(ON_OOM), "When it ran out of memory."),
    planned(
        "cpu.uclamp_min",
        "\"0%\"",
        Take::Text(Text::Form(&PERCENT), later),
        "Least speed of the processor.",
    ),
    planned("cpu.uclamp_max", "no limit", Take::Text(Text::Form(&PERCENT), later), "Highest speed."),
    planned("cpuset.cpus", "all", Take::Text(Text::Form(&NUMBER_LIST), later), "Processors it may use."),
    planned("cpuset.mems", "all", Take::Text(Text::Form(&NUMBER_LIST), later), "Memory nodes it may use."),
    planned(
        "cpuset.partition",
        "\"member\"",
        Take::Words(PARTITION),
        "Whether the processors are its alone.",
    ),
    planned("hugetlb.*", "0", Take::Amount(later), "What it may hold in pages of this size."),
    planned("hugetlb_rsvd", "false", Take::Bool(later), "Count pages when they are reserved, not when used."),
    planned(
        "cgroup.raw.*",
        "",
        Take::Text(Text::Value, later),
        "One file of the cgroup and what is written.",
    ),
    planned("cgroup.delegate", "false", Take::Bool(later), "It may make cgroups of its own."),
    planned("cgroup.max_descendants", "no limit", Take::Int(0, 100_000, later), "How many of them."),
    planned_required("pressure.*.resource", Take::Words(RESOURCE), "Of what there is too little."),
    planned("pressure.*.kind", "\"some\"", Take::Words(KIND), "Who has to wait for it."),
    planned(
        "pressure.*.threshold",
        "\"150ms\"",
        Take::Duration(Duration::from_millis(1), Duration::from_secs(10), later),
        "How long, within the window.",
    ),
    planned(
        "pressure.*.window",
        "\"1s\"",
        Take::Duration(Duration::from_millis(500), Duration::from_secs(10), later),
        "Over which it is measured.",
    ),
    planned(
        "pressure.*.action",
        "\"log\"",
        Take::Text(Text::Form(&PRESSURE_ACTION), later),
        "What is done then.",
    ),
    planned("pressure_notify", "false", Take::Bool(later), "Tell it of memory pressure, as systemd does."),
];

fn limit<'d>(draft: &'d mut ContainerDraft, device: &str) -> &'d mut IoLimit {
    draft.unit.io.limits.entry(device.to_owned()).or_default()
}

const PRIO_CLASS: &[Word<ContainerDraft>] = &[
    planned_word("none", "as the process says"),
    planned_word("promote-to-rt", "real time at least"),
    planned_word("restrict-to-be", "best effort at most"),
    planned_word("idle", "idle"),
];

const ON_OOM: &[Word<ContainerDraft>] = &[
    planned_word("restart", "it is started again, as [restart] says"),
    planned_word("stop", "it stays down"),
    planned_word("continue", "what is left of it goes on"),
];

const PARTITION: &[Word<ContainerDraft>] = &[
    planned_word("member", "they are shared"),
    planned_word("root", "they are its alone"),
    planned_word("isolated", "and the kernel does not balance over them"),
];

const RESOURCE: &[Word<ContainerDraft>] =
    &[planned_word("memory", "memory"), planned_word("cpu", "processors"), planned_word("io", "disks")];

const KIND: &[Word<ContainerDraft>] =
    &[planned_word("some", "one process at least"), planned_word("full", "all processes")];
