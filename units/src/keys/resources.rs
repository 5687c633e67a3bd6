//! Limits of the unit's cgroup; the keys have the names of the cgroup v2 files.

use std::time::Duration;

use super::draft::{ContainerDraft, fit};
use super::{Key, Section, Take, Text, key, named, section};
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
];

fn limit<'d>(draft: &'d mut ContainerDraft, device: &str) -> &'d mut IoLimit {
    draft.unit.io.limits.entry(device.to_owned()).or_default()
}
