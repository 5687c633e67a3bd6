//! What a unit may take of the node: limits with the names of cgroup v2.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::quantity::{Amount, MilliCpus};

/// `[memory]`; unset keys keep the kernel's default.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// memory.max.
    pub max: Option<Amount>,
    /// memory.high.
    pub high: Option<Amount>,
    /// memory.low.
    pub low: Option<Amount>,
    /// memory.min.
    pub min: Option<Amount>,
    /// memory.swap.max.
    pub swap_max: Amount,
    /// memory.swap.high.
    pub swap_high: Option<Amount>,
    /// memory.zswap.max.
    pub zswap_max: Option<Amount>,
    /// memory.zswap.writeback.
    pub zswap_writeback: bool,
    /// What follows when it ran out of memory.
    pub on_oom: OnOom,
    /// memory.oom.group: the whole container dies, not a part of it.
    pub oom_group: bool,
    /// Size of /dev/shm, bytes.
    pub shm_size: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            max: None,
            high: None,
            low: None,
            min: None,
            swap_max: Amount::Bytes(0),
            swap_high: None,
            zswap_max: None,
            zswap_writeback: true,
            oom_group: true,
            on_oom: OnOom::Restart,
            shm_size: 64 << 20,
        }
    }
}

/// `[cpu]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cpu {
    /// cpu.max, as processors.
    pub max: Option<MilliCpus>,
    /// Period of cpu.max.
    pub period: Duration,
    /// cpu.max.burst.
    pub burst: Duration,
    /// cpu.weight, 1 to 10000.
    pub weight: Option<u16>,
    /// cpu.idle.
    pub idle: bool,
    /// cpu.uclamp.min, per cent.
    pub uclamp_min: Option<u8>,
    /// cpu.uclamp.max, per cent.
    pub uclamp_max: Option<u8>,
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            max: None,
            period: Duration::from_millis(100),
            burst: Duration::ZERO,
            weight: None,
            idle: false,
            uclamp_min: None,
            uclamp_max: None,
        }
    }
}

/// `[pids]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pids {
    /// pids.max; never unlimited, a fork bomb would hit PID 1's node.
    pub max: u32,
}

impl Default for Pids {
    fn default() -> Self {
        Self { max: 4096 }
    }
}

/// `[io]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Io {
    /// io.weight (the `default` entry), 1 to 10000.
    pub weight: Option<u16>,
    /// io.max by block device path.
    pub limits: BTreeMap<String, IoLimit>,
    /// io.prio.class; none is as the process says.
    pub prio_class: Option<PrioClass>,
}

/// `io.prio_class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PrioClass {
    /// Real time at least.
    PromoteToRt,
    /// Best effort at most.
    RestrictToBe,
    /// Idle.
    Idle,
}

/// `[io.limits."/dev/vda"]`; unset is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IoLimit {
    /// rbps, bytes a second.
    pub read_bps: Option<u64>,
    /// wbps, bytes a second.
    pub write_bps: Option<u64>,
    /// riops, operations a second.
    pub read_iops: Option<u64>,
    /// wiops, operations a second.
    pub write_iops: Option<u64>,
    /// io.weight of this device, 1 to 10000.
    pub weight: Option<u16>,
    /// io.latency.
    pub latency: Option<Duration>,
}

/// `[cpuset]`; unset is all that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cpuset {
    /// cpuset.cpus, as the kernel writes lists: `0-3,5`.
    pub cpus: Option<String>,
    /// cpuset.mems.
    pub mems: Option<String>,
    /// cpuset.cpus.partition.
    pub partition: Partition,
}

/// `cpuset.partition`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Partition {
    /// Processors are shared.
    #[default]
    Member,
    /// They are its alone.
    Root,
    /// And the kernel does not balance over them.
    Isolated,
}

/// `memory.on_oom`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum OnOom {
    /// What `restart` says of its end.
    #[default]
    Restart,
    /// It stays down.
    Stop,
    /// What is left of it goes on.
    Continue,
}

/// `[cgroup]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Delegate {
    /// Its cgroup is handed to its user: it may make others below it.
    pub on: bool,
    /// So many of them.
    pub descendants: u32,
}

impl Default for Delegate {
    fn default() -> Self {
        Self { on: false, descendants: 64 }
    }
}
