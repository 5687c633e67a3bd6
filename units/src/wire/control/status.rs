//! The answer to Status.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{FailedStatus, TrialStatus};
use crate::health::Verdict;
use crate::job::Cause;
use crate::spec::{Protocol, Role};

/// The answer to Status. The members named in docs/contract.md are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: NodeStatus,
    /// Units of every kind, containers first, each kind by name.
    pub units: Vec<UnitStatus>,
}

/// The node's part of Status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Host name.
    pub hostname: String,
    /// berth's version.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Where the running units come from: `factory` or `data`.
    pub source: String,
    /// Why not from where they should come: a faulty unit set, say.
    pub fault: Option<String>,
    /// Tells the set in force from others; empty when it is the factory's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub set: String,
    /// Revision in force; 0 is the factory's.
    pub revision: u64,
    /// How its trial goes, while it is on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStatus>,
    /// The last one that has failed, as long as the one that was returned to runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedStatus>,
    /// Seconds since the kernel started.
    pub uptime: f64,
    /// `data` when all that lasts is on a disk, `ram` when nothing lasts.
    pub storage: String,
    /// Room of what `storage` names, bytes; 0 where it is not known.
    #[serde(default)]
    pub storage_total: u64,
    /// Bytes of it that are free.
    #[serde(default)]
    pub storage_free: u64,
    /// Memory of the machine, bytes.
    pub memory_total: u64,
    /// Memory available, bytes.
    pub memory_available: u64,
    /// Addresses of the uplink.
    pub addresses: Vec<String>,
    /// Restarts of our own processes since boot, by process name (`supervise`, `netd`, `log`).
    pub restarts: BTreeMap<String, u64>,
}

/// One unit's part of Status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitStatus {
    /// Unit name.
    pub name: String,
    /// `container`, `service`, `network` or `volume`.
    pub kind: String,
    /// What it is doing.
    pub state: State,
    /// Its labels.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why it is in that state, for people.
    pub why: Option<String>,
    /// What it says of itself (`STATUS=` of sd_notify(3)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// Process id on the node.
    pub pid: Option<i32>,
    /// Reference in normal form.
    pub image: Option<String>,
    /// Digest of the image.
    pub image_digest: Option<String>,
    /// Times it was started again by itself since the last start by hand or boot.
    pub restarts: u64,
    /// IP addresses.
    pub addresses: Vec<String>,
    /// RFC 3339: since when in this state.
    pub since: String,
    /// Seconds in this state.
    pub since_seconds: f64,
    /// RFC 3339: when it will be tried again, in backoff.
    pub next_try: Option<String>,
    /// RFC 3339: when a job runs next by its schedule, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run: Option<String>,
    /// The last runs of a job, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunStatus>,
    /// Seconds until then.
    #[serde(default)]
    pub next_try_seconds: Option<f64>,
    /// How the last run ended.
    pub last_exit: Option<LastExit>,
    /// memory.current, bytes.
    pub memory: Option<u64>,
    /// memory.max, bytes; none is unlimited.
    pub memory_max: Option<u64>,
    /// usage_usec of cpu.stat.
    pub cpu_usec: Option<u64>,
    /// pids.current.
    pub pids: Option<u64>,
    /// Published ports.
    pub ports: Vec<PortStatus>,
    /// Its reload, under way or the last one of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadStatus>,
    /// Sockets that are held open for it: `http tcp:0.0.0.0:80`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<String>,
    /// Checks of its health, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStatus>,
}

impl UnitStatus {
    /// Whether it is something that runs: a container, a service or a pod.
    pub fn is_program(&self) -> bool {
        matches!(self.kind.as_str(), "container" | "pod" | "service")
    }
}

/// A reload of a unit in Status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// How far it is.
    pub state: ReloadState,
    /// RFC 3339: when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `reload.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReloadState {
    /// Under way.
    Running,
    /// It was done.
    Done,
    /// It was not.
    Failed,
}

/// A check of a unit's health in Status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub role: Role,
    /// What is looked at, for people: `http://:8080/healthz`.
    pub target: String,
    /// What its results have come to.
    pub verdict: Verdict,
    /// RFC 3339: since when.
    pub since: String,
    /// Results like the last one in a row.
    pub row: u32,
    /// The last ones that were told, the newest last. One like the result before it is told only when it counts.
    pub results: Vec<ResultStatus>,
}

/// A run of a job that has ended, all its tries together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// Counts the runs of the job.
    pub number: u64,
    /// Why it was: `schedule`, `boot`, `asked` or `needed`.
    pub cause: Cause,
    /// RFC 3339: the time of the schedule; the latest run that was missed counts, not those before.
    pub planned: Option<String>,
    /// RFC 3339: when its first try began.
    pub began: String,
    /// RFC 3339: when it ended; none for one that was interrupted.
    pub ended: Option<String>,
    /// How long it took, waits between tries included.
    pub seconds: Option<f64>,
    /// Tries that have ended.
    pub tries: u32,
    /// Whether its last try was a success.
    pub success: bool,
    /// How its last try ended.
    pub reason: ExitReason,
    /// Exit code, when it exited.
    pub code: Option<i32>,
    /// Signal, when it was killed.
    pub signal: Option<i32>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultStatus {
    /// RFC 3339.
    pub at: String,
    /// Whether it is what was hoped for.
    pub passed: bool,
    /// What was found.
    pub text: String,
}

/// A published port in Status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Protocol.
    pub protocol: Protocol,
    /// Only on this address.
    pub host_ip: Option<Ipv4Addr>,
    /// Port of the node.
    pub host: u16,
    /// Port in the container.
    pub container: u16,
}

/// `state` of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// For a dependency, a network or a volume.
    Waiting,
    /// Its image is on the way.
    Pulling,
    /// Being set up, or running and not ready.
    Starting,
    /// Running and ready.
    Ready,
    /// It will not be tried again by itself.
    Failed,
    /// Running, and frozen by hand.
    Paused,
    /// Asked to end.
    Stopping,
    /// Ended as asked, or never asked to start.
    Stopped,
    /// Ended by itself; waits for its next try.
    Backoff,
    /// Ended by itself with success, and its policy lets it rest.
    Completed,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting",
            Self::Pulling => "pulling",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Backoff => "backoff",
            Self::Completed => "completed",
        })
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// Which kind of end.
    pub reason: ExitReason,
    /// Exit code, when it exited.
    pub code: Option<i32>,
    /// Signal, when it was killed.
    pub signal: Option<i32>,
    /// RFC 3339.
    pub at: String,
    /// Step and error of a start that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a run ended, for people.
impl std::fmt::Display for LastExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.reason, self.code, self.signal) {
            (ExitReason::Oom, ..) => f.write_str("out of memory: over memory.max, killed by the kernel"),
            (ExitReason::StartFailed, ..) => f.write_str("could not be started"),
            (ExitReason::RuntimeMax, ..) => f.write_str("had run for runtime_max, stopped"),
            (ExitReason::StartTimeout, ..) => f.write_str("was not ready in time, killed"),
            (ExitReason::Unhealthy, ..) => f.write_str("unhealthy, ended"),
            (ExitReason::Interrupted, ..) => f.write_str("interrupted"),
            (ExitReason::Skipped, ..) => f.write_str("skipped"),
            (_, Some(code), _) => write!(f, "exit code {code}"),
            (_, None, Some(signal)) => write!(f, "killed by signal {signal}"),
            (_, None, None) => f.write_str("ended"),
        }?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

/// `reason` of a [`LastExit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitReason {
    /// It exited; `code` is set.
    Exit,
    /// A signal ended it; `signal` is set.
    Signal,
    /// memory.max was reached and the kernel killed it.
    Oom,
    /// It could not be started; `detail` says why.
    StartFailed,
    /// It was not ready in time.
    StartTimeout,
    /// It was told to stop; code or signal are set.
    Stopped,
    /// It had run for `runtime_max` and was stopped.
    RuntimeMax,
    /// A check of its health failed; `detail` says which.
    Unhealthy,
    /// The node went down, and nobody knows how far it came.
    Interrupted,
    /// A condition did not hold and it was left out; `detail` says which.
    Skipped,
}
