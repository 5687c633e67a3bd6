//! Limits of a cgroup as plain numbers, and the writes that they come to.

use std::collections::{BTreeMap, BTreeSet};

/// What the group is of its processors; it is read back, because a partition that cannot be is no failed write.
pub(super) const PARTITION: &str = "cpuset.cpus.partition";

/// Limits as the kernel takes them; [`u64::MAX`] is `max`, unset knobs are not touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// memory.max, bytes.
    pub memory_max: Option<u64>,
    /// memory.high, bytes.
    pub memory_high: Option<u64>,
    /// memory.low, bytes.
    pub memory_low: Option<u64>,
    /// memory.min, bytes.
    pub memory_min: Option<u64>,
    /// memory.swap.max, bytes; skipped where the kernel has no swap accounting.
    pub memory_swap_max: Option<u64>,
    /// memory.swap.high, bytes.
    pub memory_swap_high: Option<u64>,
    /// memory.zswap.max, bytes.
    pub memory_zswap_max: Option<u64>,
    /// memory.zswap.writeback.
    pub memory_zswap_writeback: Option<bool>,
    /// memory.oom.group.
    pub memory_oom_group: Option<bool>,
    /// cpu.max: quota ([`u64::MAX`] is none) and period, microseconds.
    pub cpu_max: Option<(u64, u64)>,
    /// cpu.max.burst, microseconds.
    pub cpu_max_burst: Option<u64>,
    /// cpu.weight, 1 to 10000.
    pub cpu_weight: Option<u16>,
    /// cpu.idle.
    pub cpu_idle: Option<bool>,
    /// cpu.uclamp.min, per cent.
    pub cpu_uclamp_min: Option<u8>,
    /// cpu.uclamp.max, per cent.
    pub cpu_uclamp_max: Option<u8>,
    /// cpuset.cpus, as the kernel writes lists.
    pub cpuset_cpus: Option<String>,
    /// cpuset.mems, the same.
    pub cpuset_mems: Option<String>,
    /// cpuset.cpus.partition.
    pub cpuset_partition: Option<Partition>,
    /// hugetlb.SIZE.max and hugetlb.SIZE.rsvd.max.
    pub hugetlb: Vec<HugePages>,
    /// pids.max.
    pub pids_max: Option<u64>,
    /// io.weight, the `default` entry, 1 to 10000.
    pub io_weight: Option<u16>,
    /// io.prio.class, the kernel's word.
    pub io_prio_class: Option<&'static str>,
    /// io.max by device.
    pub io_max: Vec<IoMax>,
    /// io.weight by device, 1 to 10000.
    pub io_weights: Vec<((u32, u32), u16)>,
    /// io.latency by device: target in microseconds.
    pub io_latency: Vec<((u32, u32), u64)>,
    /// cgroup.max.descendants. A container makes groups below its own from inside a user namespace, however its
    /// /sys/fs/cgroup is mounted: so many that the kernel has no more for others, or so deep that nobody can name
    /// them to remove them.
    pub descendants: Option<u64>,
    /// cgroup.max.depth: so deep that a path of names of 255 bytes stays shorter than PATH_MAX.
    pub depth: Option<u64>,
    /// Other files and what is written there, last of all.
    pub raw: BTreeMap<String, String>,
}

/// A kind of cpuset.cpus.partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// Processors that are the group's alone.
    Root,
    /// And over which the kernel does not balance.
    Isolated,
}

impl Partition {
    /// The kernel's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Isolated => "isolated",
        }
    }
}

/// A limit of huge pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HugePages {
    /// Size of the page in the kernel's words: `2MB`.
    pub size: String,
    /// Counted when they are reserved, not when they are used.
    pub reserved: bool,
    /// Bytes.
    pub max: u64,
}

/// One line of io.max; unset is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoMax {
    /// Major and minor number of a whole disk.
    pub device: (u32, u32),
    /// Bytes a second.
    pub rbps: Option<u64>,
    /// Bytes a second.
    pub wbps: Option<u64>,
    /// Operations a second.
    pub riops: Option<u64>,
    /// Operations a second.
    pub wiops: Option<u64>,
}

/// A knob and what is written to it.
type Write = (String, String);

impl Limits {
    /// Interface files whose limits can change in place, each with what a new group has in it; by device nothing.
    /// Not among them: processors and huge pages, whose change needs a new process, and files without a key.
    pub const KNOBS: [(&str, &str); 20] = [
        ("memory.min", "0"),
        ("memory.low", "0"),
        ("memory.high", "max"),
        ("memory.max", "max"),
        ("memory.swap.high", "max"),
        ("memory.swap.max", "max"),
        ("memory.zswap.max", "max"),
        ("memory.zswap.writeback", "1"),
        ("memory.oom.group", "0"),
        ("cpu.idle", "0"),
        ("cpu.weight", "100"),
        ("cpu.max", "max 100000"),
        ("cpu.max.burst", "0"),
        ("cpu.uclamp.min", "0"),
        ("cpu.uclamp.max", "max"),
        ("pids.max", "max"),
        ("cgroup.max.descendants", "max"),
        ("cgroup.max.depth", "max"),
        ("io.prio.class", "no-change"),
        ("io.weight", "default 100"),
    ];

    /// Whether that interface file holds a limit that can change in place.
    pub fn is_knob(name: &str) -> bool {
        matches!(name, "io.max" | "io.latency") || Self::KNOBS.iter().any(|(knob, _)| *knob == name)
    }

    /// What is written where, in an order in which no limit is refused for another's sake.
    pub fn plan_writes(&self) -> Vec<Write> {
        let raw = self.raw.iter().map(|(knob, value)| (knob.clone(), value.clone()));
        let parts = [self.memory(), self.cpu(), self.cpuset(), self.hugetlb(), self.counts(), self.io()];
        parts.into_iter().flatten().chain(raw).collect()
    }

    fn memory(&self) -> Vec<Write> {
        set([
            ("memory.min", self.memory_min.map(amount)),
            ("memory.low", self.memory_low.map(amount)),
            ("memory.high", self.memory_high.map(amount)),
            ("memory.max", self.memory_max.map(amount)),
            ("memory.swap.high", self.memory_swap_high.map(amount)),
            ("memory.swap.max", self.memory_swap_max.map(amount)),
            ("memory.zswap.max", self.memory_zswap_max.map(amount)),
            ("memory.zswap.writeback", self.memory_zswap_writeback.map(flag)),
            ("memory.oom.group", self.memory_oom_group.map(flag)),
        ])
    }

    fn cpu(&self) -> Vec<Write> {
        let percent = |percent: u8| percent.to_string();
        set([
            ("cpu.idle", self.cpu_idle.map(flag)),
            // An idle group has no weight: the kernel answers EINVAL.
            ("cpu.weight", self.cpu_weight.filter(|_| self.cpu_idle != Some(true)).map(|w| w.to_string())),
            ("cpu.max", self.cpu_max.map(|(quota, period)| format!("{} {period}", amount(quota)))),
            ("cpu.max.burst", self.cpu_max_burst.map(|burst| burst.to_string())),
            ("cpu.uclamp.min", self.cpu_uclamp_min.map(percent)),
            ("cpu.uclamp.max", self.cpu_uclamp_max.map(percent)),
        ])
    }

    fn cpuset(&self) -> Vec<Write> {
        // Below a group that is no partition itself only a list of its own makes one.
        let exclusive = self.cpuset_cpus.clone().filter(|_| self.cpuset_partition.is_some());
        set([
            ("cpuset.mems", self.cpuset_mems.clone()),
            ("cpuset.cpus", self.cpuset_cpus.clone()),
            ("cpuset.cpus.exclusive", exclusive),
            (PARTITION, self.cpuset_partition.map(|partition| partition.word().to_owned())),
        ])
    }

    fn hugetlb(&self) -> Vec<Write> {
        let write = |pages: &HugePages| {
            let reserved = if pages.reserved { ".rsvd" } else { "" };
            (format!("hugetlb.{}{reserved}.max", pages.size), amount(pages.max))
        };
        self.hugetlb.iter().map(write).collect()
    }

    fn counts(&self) -> Vec<Write> {
        set([
            ("pids.max", self.pids_max.map(amount)),
            ("cgroup.max.descendants", self.descendants.map(amount)),
            ("cgroup.max.depth", self.depth.map(amount)),
        ])
    }

    fn io(&self) -> Vec<Write> {
        let mut all = set([
            ("io.prio.class", self.io_prio_class.map(str::to_owned)),
            ("io.weight", self.io_weight.map(|weight| format!("default {weight}"))),
        ]);
        let weight =
            |((major, minor), weight): &((u32, u32), u16)| ("io.weight", format!("{major}:{minor} {weight}"));
        let latency = |((major, minor), target): &((u32, u32), u64)| {
            ("io.latency", format!("{major}:{minor} target={target}"))
        };
        let lines = self.io_max.iter().map(|line| ("io.max", line.to_line()));
        let lines =
            lines.chain(self.io_weights.iter().map(weight)).chain(self.io_latency.iter().map(latency));
        all.extend(lines.map(|(knob, value)| (knob.to_owned(), value)));
        all
    }

    /// Controllers without which these limits have no files.
    pub(super) fn controllers(&self) -> BTreeSet<String> {
        let of = |(knob, _): &Write| knob.split('.').next().unwrap_or_default().to_owned();
        self.plan_writes().iter().map(of).filter(|controller| controller != "cgroup").collect()
    }
}

fn set<const N: usize>(knobs: [(&str, Option<String>); N]) -> Vec<Write> {
    knobs.into_iter().filter_map(|(knob, value)| Some((knob.to_owned(), value?))).collect()
}

fn amount(value: u64) -> String {
    if value == u64::MAX { "max".to_owned() } else { value.to_string() }
}

fn flag(value: bool) -> String {
    u8::from(value).to_string()
}

impl IoMax {
    fn to_line(&self) -> String {
        let (major, minor) = self.device;
        let [rbps, wbps, riops, wiops] =
            [self.rbps, self.wbps, self.riops, self.wiops].map(|value| amount(value.unwrap_or(u64::MAX)));
        format!("{major}:{minor} rbps={rbps} wbps={wbps} riops={riops} wiops={wiops}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_in_the_kernels_words() {
        let limits = Limits {
            memory_max: Some(64 << 20),
            memory_high: Some(u64::MAX),
            memory_oom_group: Some(true),
            cpu_max: Some((150_000, 100_000)),
            cpu_weight: Some(50),
            pids_max: Some(u64::MAX),
            descendants: Some(0),
            io_max: vec![IoMax { device: (254, 0), rbps: Some(1024), ..IoMax::default() }],
            ..Limits::default()
        };
        let expect = [
            ("memory.high", "max"),
            ("memory.max", "67108864"),
            ("memory.oom.group", "1"),
            ("cpu.weight", "50"),
            ("cpu.max", "150000 100000"),
            ("pids.max", "max"),
            ("cgroup.max.descendants", "0"),
            ("io.max", "254:0 rbps=1024 wbps=max riops=max wiops=max"),
        ];
        assert_eq!(limits.plan_writes(), pairs(&expect));
        let unlimited = Limits { cpu_max: Some((u64::MAX, 100_000)), ..Limits::default() };
        assert_eq!(unlimited.plan_writes(), pairs(&[("cpu.max", "max 100000")]));
    }

    #[test]
    fn what_can_change_in_place_is_a_knob() {
        let knobs = ["memory.max", "cpu.max.burst", "io.max", "io.weight", "io.latency", "pids.max"];
        assert!(knobs.into_iter().all(Limits::is_knob));
        let others = ["cgroup.procs", "cpuset.cpus", "io.stat", "memory.events", ""];
        assert!(!others.into_iter().any(Limits::is_knob));
    }

    #[test]
    fn an_idle_group_gets_no_weight() {
        let limits = Limits { cpu_idle: Some(true), cpu_weight: Some(5), ..Limits::default() };
        assert_eq!(limits.plan_writes(), pairs(&[("cpu.idle", "1")]));
    }

    #[test]
    fn what_few_units_limit_is_written_in_the_kernels_words() {
        let pages = |size: &str, reserved| HugePages { size: size.to_owned(), reserved, max: 4 << 20 };
        let limits = Limits {
            memory_swap_high: Some(4096),
            memory_zswap_max: Some(u64::MAX),
            memory_zswap_writeback: Some(false),
            cpu_uclamp_min: Some(40),
            cpu_uclamp_max: Some(100),
            cpuset_cpus: Some("1-3".to_owned()),
            cpuset_mems: Some("0".to_owned()),
            hugetlb: vec![pages("2MB", false), pages("1GB", true)],
            io_prio_class: Some("idle"),
            io_weights: vec![((254, 0), 200)],
            io_latency: vec![((254, 16), 10_000)],
            raw: BTreeMap::from([("misc.max".to_owned(), "res_a 1".to_owned())]),
            ..Limits::default()
        };
        let expect = [
            ("memory.swap.high", "4096"),
            ("memory.zswap.max", "max"),
            ("memory.zswap.writeback", "0"),
            ("cpu.uclamp.min", "40"),
            ("cpu.uclamp.max", "100"),
            ("cpuset.mems", "0"),
            ("cpuset.cpus", "1-3"),
            ("hugetlb.2MB.max", "4194304"),
            ("hugetlb.1GB.rsvd.max", "4194304"),
            ("io.prio.class", "idle"),
            ("io.weight", "254:0 200"),
            ("io.latency", "254:16 target=10000"),
            ("misc.max", "res_a 1"),
        ];
        assert_eq!(limits.plan_writes(), pairs(&expect));
        let controllers: Vec<_> = limits.controllers().into_iter().collect();
        assert_eq!(controllers, ["cpu", "cpuset", "hugetlb", "io", "memory", "misc"]);
    }

    #[test]
    fn a_partition_has_its_processors_before_it_is_one() {
        let limits = Limits {
            cpuset_cpus: Some("1".to_owned()),
            cpuset_partition: Some(Partition::Isolated),
            ..Limits::default()
        };
        let expect =
            [("cpuset.cpus", "1"), ("cpuset.cpus.exclusive", "1"), ("cpuset.cpus.partition", "isolated")];
        assert_eq!(limits.plan_writes(), pairs(&expect));
    }

    fn pairs(writes: &[(&str, &str)]) -> Vec<Write> {
        writes.iter().map(|(knob, value)| ((*knob).to_owned(), (*value).to_owned())).collect()
    }
}
