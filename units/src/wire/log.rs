//! Between the supervisor and the log process. What comes back is about lines that somebody waits for, no more.

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::spec::Log;

/// One packet; the descriptors named travel beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Read a unit's pipes from now on. Beside it: the read ends of stdout and stderr, in this order. Sent again
    /// for every unit after a restart of either side, and when its settings change: then it replaces.
    Add {
        /// Whose output.
        unit: Name,
        /// Rotation.
        log: Log,
        /// A line that is looked for.
        #[serde(default)]
        awaits: Option<Awaited>,
    },
    /// A run has ended: what it said last is a line, with or without a line break.
    EndLines {
        /// Whose.
        unit: Name,
    },
    /// Stop reading a unit's pipes; its files stay.
    Remove {
        /// Whose.
        unit: Name,
    },
}

/// A line that makes a run ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// Number of the run.
    pub run: u64,
    /// What is in the line, [`crate::pattern::Pattern`].
    pub pattern: String,
    /// The run has not said anything yet: whatever is in the pipes is of earlier ones.
    pub is_new: bool,
}

/// One packet from the log process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// From now on a line of that run is looked for.
    Listening {
        /// Whose.
        unit: Name,
        /// Number of the run.
        run: u64,
    },
    /// It is there.
    Found {
        /// Whose.
        unit: Name,
        /// Number of the run.
        run: u64,
    },
}

/// One line of a log file: `TIME STREAM TEXT`, TIME in RFC 3339 with microseconds and Z, STREAM `stdout` or `stderr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Directory of all units' logs on the data partition; one directory a unit.
pub const LOG_DIR: &str = "/data/logs";
/// The same for `log.to = "ram"`, and for every unit when there is no data partition.
pub const LOG_DIR_RAM: &str = "/run/berth/logs";
/// The file being written; rotated ones are `1` (newest), `2`, …
pub const LOG_CURRENT: &str = "current";
