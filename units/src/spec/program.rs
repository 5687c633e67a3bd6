//! Which image runs, the root that is made of it, the process, and its output.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Reference;
use crate::schedule::Zone;

/// `[image]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Image {
    /// `ref`, in normal form.
    pub reference: Reference,
    /// What the image's own VOLUMEs become.
    pub volumes: ImageVolumes,
}

impl Image {
    /// Every other key at its default.
    pub fn of(reference: Reference) -> Self {
        Self { reference, volumes: ImageVolumes::Tmpfs }
    }
}

/// `image.volumes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ImageVolumes {
    /// RAM, with what the image has there.
    #[default]
    Tmpfs,
    /// Parts of a volume of the unit.
    Volume,
    /// Nothing.
    Ignore,
}

/// `[rootfs]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rootfs {
    /// The root is mounted read-only.
    pub read_only: bool,
    /// Paths that get a small tmpfs when the root is read-only.
    pub tmpfs: Vec<String>,
    /// Where writes go when the root is writable.
    pub upper: Upper,
    /// What a writable layer may hold, bytes; in RAM there is always a limit.
    pub size: Option<u64>,
    /// A writable layer on the disk is kept as long as the image is the same.
    pub persist: bool,
    /// Namespaces that the container makes see what is mounted in it.
    pub shared: bool,
}

impl Rootfs {
    /// Bytes of a writable layer in RAM.
    pub fn ram(&self) -> u64 {
        self.size.unwrap_or(256 << 20)
    }

    /// Whether its writable layer is on the disk.
    pub fn is_on_disk(&self) -> bool {
        !self.read_only && self.upper == Upper::Disk
    }
}

impl Default for Rootfs {
    fn default() -> Self {
        Self {
            read_only: true,
            tmpfs: ["/tmp", "/run", "/var/tmp"].map(String::from).to_vec(),
            upper: Upper::Tmpfs,
            size: None,
            persist: false,
            shared: false,
        }
    }
}

/// `rootfs.upper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Upper {
    /// Nowhere.
    None,
    /// RAM; gone with the container.
    Tmpfs,
    /// The data partition; emptied at every start unless it is to persist.
    Disk,
}

/// `[process]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Process {
    /// Replaces the image's Entrypoint, and clears its Cmd.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's Cmd.
    pub args: Option<Vec<String>>,
    /// Absolute; the image's WorkingDir or `/`.
    pub workdir: Option<String>,
    /// `uid[:gid]` or `name[:group]`, looked up in the image; the image's User or root.
    pub user: Option<String>,
    /// Supplementary groups, ids or names.
    pub groups: Vec<String>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// By lower-case resource name without RLIMIT_ (`nofile`): soft and hard, [`u64::MAX`] is unlimited.
    pub rlimits: BTreeMap<String, (u64, u64)>,
    /// -1000 to 1000.
    pub oom_score_adj: i16,
    /// How the kernel schedules it.
    pub scheduling: Scheduling,
    /// ioprio_set(2); none is the kernel's.
    pub io_priority: Option<IoPriority>,
    /// It runs below a small init of ours.
    pub init: bool,
    /// Its standard input.
    pub stdin: Stdin,
    /// Absolute path of a terminal of the node that is its standard input, output and error.
    pub console: Option<String>,
    /// Time zone; none is the image's.
    pub timezone: Option<Zone>,
}

/// `process.stdin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// /dev/null: the end of it at once.
    #[default]
    Null,
    /// Nothing ever comes, and no end.
    Open,
}

/// `process.nice` and `[process.scheduler]`: sched(7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// -20 to 19, of the policies that have no priority.
    pub nice: i8,
    /// Which scheduler.
    pub policy: SchedulerPolicy,
    /// 1 to 99, of fifo and rr.
    pub priority: u8,
    /// Of deadline: so much time of a processor,
    pub runtime: Duration,
    /// so long after the begin of a period,
    pub deadline: Duration,
    /// in each of these; zero is the same as the deadline.
    pub period: Duration,
    /// Children do not inherit it.
    pub reset_on_fork: bool,
}

/// `process.scheduler.policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchedulerPolicy {
    /// SCHED_OTHER.
    #[default]
    Other,
    /// SCHED_BATCH.
    Batch,
    /// SCHED_IDLE.
    Idle,
    /// SCHED_FIFO.
    Fifo,
    /// SCHED_RR.
    Rr,
    /// SCHED_DEADLINE.
    Deadline,
}

/// `process.io_priority`; levels are from 0, the first, to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IoPriority {
    /// IOPRIO_CLASS_RT.
    RealTime(u8),
    /// IOPRIO_CLASS_BE.
    BestEffort(u8),
    /// IOPRIO_CLASS_IDLE.
    Idle,
}

impl IoPriority {
    /// `be:4`, `rt:0` or `idle`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "idle" {
            return Some(Self::Idle);
        }
        let (class, level) = text.split_once(':')?;
        let level = Some(level).filter(|level| level.len() == 1)?.parse().ok().filter(|level| *level <= 7)?;
        match class {
            "rt" => Some(Self::RealTime(level)),
            "be" => Some(Self::BestEffort(level)),
            _ => None,
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Where output goes.
    pub to: LogSink,
    /// A file is rotated at this size, bytes.
    pub max_size: u64,
    /// Rotated files kept.
    pub keep: u32,
    /// A file is rotated when it is that old, and removed when its last line is; none is unlimited.
    pub max_age: Option<Duration>,
    /// Lines beyond it are dropped, and counted; none is unlimited.
    pub rate: Option<Rate>,
    /// The longest line, bytes; what is longer becomes several.
    pub max_line: u64,
    /// When it writes faster than the disk does.
    pub overflow: Overflow,
}

/// So many, so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many,
    pub count: u32,
    /// in that time.
    pub per: Duration,
}

impl Rate {
    /// `1000/s`, `60/m` or `5/h`.
    pub fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/')?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        Some(Self { count: count.parse().ok()?, per: Duration::from_secs(seconds) })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            3600 => "h",
            60 => "m",
            _ => "s",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// `log.overflow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overflow {
    /// The oldest lines are dropped, and counted.
    #[default]
    Drop,
    /// It has to wait.
    Block,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            to: LogSink::Store,
            max_size: 10 << 20,
            keep: 5,
            max_age: None,
            rate: Some(Rate { count: 1000, per: Duration::from_secs(1) }),
            max_line: 16 << 10,
            overflow: Overflow::Drop,
        }
    }
}

/// `log.to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSink {
    /// Files on the data partition.
    Store,
    /// Files in RAM.
    Ram,
    /// The same, and the node's console shows what it can of them.
    Console,
    /// Discarded.
    None,
}
