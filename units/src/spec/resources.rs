//! What a container may use: the knobs of cgroup v2 under the kernel's names.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::quantity::{Amount, MilliCpus};

/// `[memory]`; unset keys keep the kernel's default.
#[derive(Clone, Debug, PartialEq)]
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
            oom_group: true,
            shm_size: 64 << 20,
        }
    }
}

/// `[cpu]`.
#[derive(Clone, Debug, PartialEq)]
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
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            max: None,
            period: Duration::from_millis(100),
            burst: Duration::ZERO,
            weight: None,
            idle: false,
        }
    }
}

/// `[pids]`.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Io {
    /// io.weight (the `default` entry), 1 to 10000.
    pub weight: Option<u16>,
    /// io.max by block device path.
    pub limits: BTreeMap<String, IoLimit>,
}

/// `[io.limits."/dev/vda"]`; unset is unlimited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IoLimit {
    /// rbps, bytes a second.
    pub read_bps: Option<u64>,
    /// wbps, bytes a second.
    pub write_bps: Option<u64>,
    /// riops, operations a second.
    pub read_iops: Option<u64>,
    /// wiops, operations a second.
    pub write_iops: Option<u64>,
}
