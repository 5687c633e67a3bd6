//! When a unit is ready, and how its health is looked at.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[ready] when`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Ready {
    /// As soon as execve(2) succeeded.
    Exec,
    /// A line (or the end of file after at least one byte) arrives on this descriptor, as s6 does it.
    Fd(u8),
    /// It says `READY=1`, sd_notify(3).
    Notify,
    /// A check of that name passes.
    Check(String),
    /// A line of its output has this in it, [`crate::pattern::Pattern`].
    Log(String),
}

/// `[health.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is looked at.
    pub probe: Probe,
    /// What it stands for.
    pub role: Role,
    /// From the beginning of one run to the next.
    pub interval: Duration,
    /// A run that takes longer has failed.
    pub timeout: Duration,
    /// Failures in a row that count.
    pub failures: u32,
    /// Successes in a row that count.
    pub successes: u32,
    /// From the start of the unit on, failures do not count for so long, unless it has passed before.
    pub start_period: Duration,
    /// In place of `interval` until it has passed: in the start period, and of a ready check.
    pub start_interval: Duration,
    /// What is done to the unit when it fails.
    pub on_failure: OnFailure,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            probe: Probe::Exec(Vec::new()),
            role: Role::Live,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
            failures: 3,
            successes: 1,
            start_period: Duration::ZERO,
            start_interval: Duration::from_secs(1),
            on_failure: OnFailure::Restart,
        }
    }
}

/// `health.NAME.exec`, `http`, `grpc` or `tcp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// A program in the container, its arguments behind it, ends with code 0.
    Exec(Vec<String>),
    /// An HTTP server answers with an expected status.
    Http(Http),
    /// A server on this port of the container's loopback address says by grpc.health.v1 that it serves.
    Grpc(u16),
    /// Somebody accepts connections on this port of the container's loopback address.
    Tcp(u16),
    /// The same at this address: `wait_for.tcp`.
    Reach(SocketAddrV4),
}

/// `health.NAME.http` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Whom to ask; the container's loopback address unless the URL names another.
    pub address: Ipv4Addr,
    /// Port.
    pub port: u16,
    /// What stands behind the port, `/` at least.
    pub path: String,
    /// Request method.
    pub method: String,
    /// Header lines, `Name: value`.
    pub headers: Vec<String>,
    /// Lowest and highest status that passes.
    pub expect: (u16, u16),
}

/// `health.NAME.role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The unit works: it is restarted when it does not.
    Live,
    /// The unit can be used: it is not ready while it cannot.
    Ready,
    /// The unit has come up: the other checks wait for it.
    Startup,
}

/// `health.NAME.on_failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It is stopped as by hand, then started as `restart` says.
    Restart,
    /// The same without asking: its cgroup is killed.
    Kill,
    /// Nothing; the status shows it.
    None,
}
