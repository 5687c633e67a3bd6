//! The answers to Stats and Inspect, as far as our own command reads them.

use serde::{Deserialize, Serialize};

use super::{State, UnitStatus};

/// What every container uses, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Microseconds since the kernel started: two answers give rates.
    pub at_usec: u64,
    /// By name.
    pub units: Vec<UnitFigures>,
}

/// Of one unit; none where it does not run or the kernel does not count it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitFigures {
    /// Unit name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// usage_usec of cpu.stat.
    pub cpu_usec: Option<u64>,
    /// memory.current, bytes.
    pub memory: Option<u64>,
    /// memory.max, bytes; none is unlimited.
    pub memory_max: Option<u64>,
    /// pids.current.
    pub pids: Option<u64>,
    /// Bytes read from disks since its start, of io.stat.
    pub io_read: Option<u64>,
    /// Bytes written to disks.
    pub io_write: Option<u64>,
    /// Percent of the last ten seconds in which some process waited for a processor (PSI, `some avg10`).
    pub pressure_cpu: Option<f64>,
    /// The same for memory.
    pub pressure_memory: Option<f64>,
    /// The same for disks.
    pub pressure_io: Option<f64>,
}

/// The part of the answer to Inspect that is shown to people.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Inspected {
    /// As in Status.
    pub status: UnitStatus,
    /// Whom it depends on.
    pub depends_on: Vec<Related>,
    /// Who depends on it.
    pub needed_by: Vec<Related>,
}

/// Another unit, and what it is doing.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Related {
    /// Its name.
    pub unit: String,
    /// What it is doing.
    pub state: State,
}
