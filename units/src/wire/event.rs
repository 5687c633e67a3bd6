//! An event: something that happened to a unit or to the node, as one line of JSON.
//!
//! The members, their order apart, are stable (docs/contract.md). Numbers grow by one within a boot; each boot begins
//! with `boot`, at a number above all that were given before where there is a data partition to remember them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Name;

/// Where the supervisor writes events, in RAM: `current` and one older file, as logs are.
pub const EVENTS_DIR: &str = "/run/berth/events";

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub seq: u64,
    /// RFC 3339 with microseconds, by the clock on the wall.
    pub time: String,
    /// The unit or network; none for the node.
    pub unit: Option<Name>,
    /// What happened.
    pub kind: Kind,
    /// The same for people, without the unit's name.
    pub text: String,
    /// What a program may want to know besides; an object whose members depend on the kind.
    pub detail: Value,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The node started: the first event of a boot.
    Boot,
    /// A unit set is in force.
    SetTaken,
    /// A unit set is faulty, and nothing of it is in force.
    SetRefused,
    /// A revision is on trial.
    Trial,
    /// A revision is good.
    Good,
    /// A revision has failed, and was taken back.
    Bad,
    /// One of our own processes was started again.
    Daemon,
    /// The addresses of the uplink have changed.
    Uplink,
    /// The node shuts down.
    Shutdown,
    /// A network is up.
    NetworkUp,
    /// A network could not be made.
    NetworkFailed,
    /// Somebody asked a unit to start or to stop.
    Asked,
    /// A unit will start as soon as it may.
    Waiting,
    /// A unit was left out, because a condition does not hold.
    Skipped,
    /// Its process was made.
    Starting,
    /// Its program runs.
    Running,
    /// It is ready.
    Ready,
    /// It is not ready any more.
    Unready,
    /// What a check of its health comes to has changed.
    Check,
    /// Somebody paused it.
    Paused,
    /// It goes on after a pause.
    Resumed,
    /// It was told to end.
    Stopping,
    /// It is being killed.
    Killing,
    /// It has ended, or its start has failed.
    Exited,
    /// It is stopped, having had no process.
    Stopped,
    /// It is declared no more and forgotten.
    Forgotten,
}
