//! Limits of the unit's cgroup; the keys have the names of the cgroup v2 files.

use std::time::Duration;

use super::draft::{ContainerDraft, fit};
use super::forms::{HUGE_PAGE, KERNEL_FILE, NUMBER_LIST, PERCENT};
use super::{Key, Section, Take, Text, Word, key, named, section, word};
use crate::spec::{IoLimit, OnOom, Partition, PrioClass};

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
    section("cpuset", "Which processors and memory nodes it may use."),
    named("hugetlb", Text::Form(&HUGE_PAGE), |_, _| (), "Huge pages it may hold, by size of the page."),
    section("cgroup", "The cgroup itself."),
    named(
        "cgroup.raw",
        Text::Form(&KERNEL_FILE),
        |_, _| (),
        "Files of the cgroup that have no key of their own.",
    ),
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
    key(
        "io.limits.*.weight",
        "the kernel's, 100",
        Take::Int(1, 10_000, |d, at, v| limit(d, at).weight = Some(fit(v))),
        "Share of this disk.",
    ),
    key(
        "io.limits.*.latency",
        "none",
        Take::Duration(Duration::from_millis(1), Duration::from_secs(10), |d, at, v| {
            limit(d, at).latency = Some(v);
        }),
        "Others are slowed down when its requests take longer (io.latency).",
    ),
    key("io.prio_class", "\"none\"", Take::Words(PRIO_CLASS), "Class of its requests (io.prio.class)."),
    key(
        "memory.swap_high",
        "no limit",
        Take::Amount(|d, _, v| d.unit.memory.swap_high = Some(v)),
        "Swap beyond which it is slowed down.",
    ),
    key(
        "memory.zswap_max",
        "no limit",
        Take::Amount(|d, _, v| d.unit.memory.zswap_max = Some(v)),
        "Compressed swap it may use.",
    ),
    key(
        "memory.zswap_writeback",
        "true",
        Take::Bool(|d, _, v| d.unit.memory.zswap_writeback = v),
        "Compressed swap may go to the disk.",
    ),
    key("memory.on_oom", "\"restart\"", Take::Words(ON_OOM), "When it ran out of memory."),
    key(
        "cpu.uclamp_min",
        "the kernel's, \"0%\"",
        Take::Text(Text::Form(&PERCENT), |d, _, v| d.unit.cpu.uclamp_min = percent(&v)),
        "Least speed of the processor.",
    ),
    key(
        "cpu.uclamp_max",
        "no limit",
        Take::Text(Text::Form(&PERCENT), |d, _, v| d.unit.cpu.uclamp_max = percent(&v)),
        "Highest speed.",
    ),
    key(
        "cpuset.cpus",
        "all",
        Take::Text(Text::Form(&NUMBER_LIST), |d, _, v| d.unit.cpuset.cpus = Some(v)),
        "Processors it may use.",
    ),
    key(
        "cpuset.mems",
        "all",
        Take::Text(Text::Form(&NUMBER_LIST), |d, _, v| d.unit.cpuset.mems = Some(v)),
        "Memory nodes it may use.",
    ),
    key("cpuset.partition", "\"member\"", Take::Words(PARTITION), "Whether the processors are its alone."),
    key(
        "hugetlb.*",
        "no limit",
        Take::Amount(|d, at, v| {
            d.unit.hugetlb.insert(at.to_owned(), v);
        }),
        "What it may hold in pages of this size.",
    ),
    key(
        "hugetlb_rsvd",
        "false",
        Take::Bool(|d, _, v| d.unit.hugetlb_rsvd = v),
        "Count pages when they are reserved, not when used.",
    ),
    key(
        "cgroup.raw.*",
        "",
        Take::Text(Text::Value, |d, at, v| {
            d.unit.cgroup_raw.insert(at.to_owned(), v);
        }),
        "One file of the cgroup and what is written.",
    ),
    key(
        "cgroup.delegate",
        "false",
        Take::Bool(|d, _, v| d.unit.delegate.on = v),
        "It may make cgroups of its own, and limit them.",
    ),
    key(
        "cgroup.max_descendants",
        "64",
        Take::Int(0, 10_000, |d, _, v| d.unit.delegate.descendants = fit(v)),
        "How many of them.",
    ),
];

fn limit<'d>(draft: &'d mut ContainerDraft, device: &str) -> &'d mut IoLimit {
    draft.unit.io.limits.entry(device.to_owned()).or_default()
}

fn percent(text: &str) -> Option<u8> {
    text.strip_suffix('%')?.parse().ok()
}

const PRIO_CLASS: &[Word<ContainerDraft>] = &[
    word("none", "as the process says", |d, _| d.unit.io.prio_class = None),
    word("promote-to-rt", "real time at least", |d, _| {
        d.unit.io.prio_class = Some(PrioClass::PromoteToRt);
    }),
    word("restrict-to-be", "best effort at most", |d, _| {
        d.unit.io.prio_class = Some(PrioClass::RestrictToBe);
    }),
    word("idle", "idle", |d, _| d.unit.io.prio_class = Some(PrioClass::Idle)),
];

const ON_OOM: &[Word<ContainerDraft>] = &[
    word("restart", "it is started again, as [restart] says", |d, _| d.unit.memory.on_oom = OnOom::Restart),
    word("stop", "it stays down, whatever [restart] says", |d, _| d.unit.memory.on_oom = OnOom::Stop),
    word("continue", "what is left of it goes on: memory.oom_group is false", |d, _| {
        d.unit.memory.on_oom = OnOom::Continue;
    }),
];

const PARTITION: &[Word<ContainerDraft>] = &[
    word("member", "they are shared", |d, _| d.unit.cpuset.partition = Partition::Member),
    word("root", "they are its alone", |d, _| d.unit.cpuset.partition = Partition::Root),
    word("isolated", "and the kernel does not balance over them", |d, _| {
        d.unit.cpuset.partition = Partition::Isolated;
    }),
];
