//! When a unit starts and ends beside others: dependencies, facts it waits for, conditions, restarts.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;

use crate::Name;

/// `type`: what its process is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Type {
    /// It runs until it is stopped.
    #[default]
    Service,
    /// It does one thing and ends.
    Oneshot,
    /// It does one thing whenever its time has come or somebody asks for it.
    Job,
}

impl Type {
    /// Whether its process is to end by itself: then done is what ready is for a service.
    pub fn ends(self) -> bool {
        self != Self::Service
    }
}

/// `[depends.NAME]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Depends {
    /// What of it has to hold before the start.
    pub until: Until,
    /// How the two are bound.
    pub strength: Strength,
    /// What happens when it stops for good.
    pub on_stop: OnStop,
    /// What happens when it is started anew.
    pub on_restart: OnRestart,
}

impl Default for Depends {
    fn default() -> Self {
        Self {
            until: Until::Ready,
            strength: Strength::Need,
            on_stop: OnStop::Stop,
            on_restart: OnRestart::Restart,
        }
    }
}

/// `depends.NAME.until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Until {
    /// Its process has been executed.
    Started,
    /// It is ready.
    Ready,
    /// It is ready and its checks pass.
    Healthy,
    /// It has ended with success.
    Completed,
}

/// `depends.NAME.strength`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Strength {
    /// Bound for life: no start without it, and no going on without it.
    Need,
    /// It has to have come so far once; later it does not matter.
    Milestone,
    /// Only the order: its failure or absence is tolerated.
    Wants,
}

/// `depends.NAME.on_stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum OnStop {
    /// Stop, before it.
    Stop,
    /// Go on.
    Ignore,
}

/// `depends.NAME.on_restart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum OnRestart {
    /// Stop before it and start after it.
    Restart,
    /// Go on.
    Ignore,
}

/// `[wait_for]`: facts outside of the set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitFor {
    /// `network = "online"`: the uplink has an address.
    pub online: bool,
    /// The clock has been set.
    pub time: bool,
    /// Paths of the node that have to exist, devices among them.
    pub paths: Vec<String>,
    /// The same below /dev.
    pub devices: Vec<String>,
    /// Servers that have to accept connections.
    pub tcp: Vec<Server>,
    /// Over it the start has failed. Zero: no limit.
    pub timeout: Duration,
}

impl Default for WaitFor {
    fn default() -> Self {
        Self {
            online: false,
            time: false,
            paths: Vec::new(),
            devices: Vec::new(),
            tcp: Vec::new(),
            timeout: Duration::from_secs(120),
        }
    }
}

/// One of `wait_for.tcp`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Server {
    /// Where it is.
    pub host: Host,
    /// Its port there.
    pub port: u16,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Host {
    /// At an address.
    Address(Ipv4Addr),
    /// In a unit of this node.
    Unit(Name),
}

impl Server {
    /// `db:5432` or `192.168.1.7:5432`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let is_plain = port.bytes().all(|digit| digit.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_plain && *port > 0)?;
        let address = host.parse().map(Host::Address);
        let host = address.ok().or_else(|| Name::parse(host).ok().map(Host::Unit))?;
        Some(Self { host, port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(address) => write!(f, "{address}:{}", self.port),
            Host::Unit(unit) => write!(f, "{unit}:{}", self.port),
        }
    }
}

/// `[conditions]`: looked at once, at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conditions {
    /// Paths of the node that have to exist.
    pub path_exists: Vec<String>,
    /// Architecture of the node.
    pub arch: Option<Arch>,
    /// Memory of the node, bytes.
    pub memory_min: Option<u64>,
    /// Words that the kernel command line has to have.
    pub kernel_cmdline: Vec<String>,
    /// Features that the processor has to have.
    pub cpu_feature: Vec<String>,
    /// A device that has to exist.
    pub device: Option<String>,
    /// Whether this is the first boot with this data partition.
    pub first_boot: Option<bool>,
    /// What becomes of the unit when one does not hold.
    pub on_unmet: OnUnmet,
}

/// `conditions.arch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Arch {
    /// x86_64.
    X86,
    /// aarch64.
    Arm,
}

impl Arch {
    /// The kernel's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "aarch64",
        }
    }
}

/// `conditions.on_unmet`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum OnUnmet {
    /// It is not started, and nobody misses it.
    #[default]
    Skip,
    /// It has failed.
    Fail,
}

/// `[restart]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Restart {
    /// When at all.
    pub policy: Policy,
    /// Before the first restart.
    pub delay: Duration,
    /// Each further one waits this many thousandths of the one before (2000 doubles).
    pub factor_milli: u32,
    /// Longest wait.
    pub max_delay: Duration,
    /// Each wait is shorter by up to this many thousandths of itself, so that units do not come back in step.
    pub jitter_milli: u32,
    /// A run of this length starts the count anew.
    pub reset_after: Duration,
    /// More restarts than this within `window` are too many.
    pub burst: u32,
    /// See `burst`.
    pub window: Duration,
    /// What happens then.
    pub on_limit: OnLimit,
    /// Exit codes that are success, beside 0.
    pub success_codes: Vec<u8>,
    /// Exit codes after which it is left alone, whatever the policy says.
    pub no_restart_codes: Vec<u8>,
    /// Exit codes after which it is started again, whatever the policy says.
    pub force_codes: Vec<u8>,
    /// Whether those that depend on it are restarted with it when it ends by itself.
    pub propagate: bool,
}

impl Restart {
    /// Whether it says something of that exit code.
    pub fn names(&self, code: u8) -> bool {
        [&self.success_codes, &self.no_restart_codes, &self.force_codes]
            .iter()
            .any(|codes| codes.contains(&code))
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: Policy::Always,
            delay: Duration::from_millis(500),
            factor_milli: 2000,
            max_delay: Duration::from_secs(60),
            jitter_milli: 100,
            reset_after: Duration::from_secs(60),
            burst: 10,
            window: Duration::from_secs(600),
            on_limit: OnLimit::Slow,
            success_codes: Vec::new(),
            no_restart_codes: Vec::new(),
            force_codes: Vec::new(),
            propagate: false,
        }
    }
}

/// `restart.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Policy {
    /// However it ended; of a oneshot, only when it did not succeed.
    Always,
    /// Only after an exit code that is no success, a signal, or out of memory.
    OnFailure,
    /// Never.
    Never,
}

/// `restart.on_limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum OnLimit {
    /// Go on, `max_delay` apart.
    Slow,
    /// It has failed.
    Fail,
    /// It has failed, and the node restarts.
    Reboot,
}

/// `[stop]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stop {
    /// Signal number; the image's StopSignal or SIGTERM when unset.
    pub signal: Option<i32>,
    /// After it, cgroup.kill.
    pub timeout: Duration,
    /// Who is sent the signal.
    pub mode: StopMode,
    /// Its ports are taken back so long before the signal.
    pub delay: Duration,
}

/// `stop.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum StopMode {
    /// Its first process.
    #[default]
    Main,
    /// All of its processes.
    All,
}

/// `[reload]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// How it is told.
    pub way: ReloadWay,
    /// After it the reload has failed.
    pub timeout: Duration,
}

/// `reload.signal` or `reload.exec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ReloadWay {
    /// A signal to its first process.
    Signal(i32),
    /// A program in the container, its arguments behind it, ends with code 0.
    Exec(Vec<String>),
}

/// `[hooks.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// The program and its arguments.
    pub exec: Vec<String>,
    /// Where it runs.
    pub place: Place,
    /// `uid[:gid]` or name in place of the unit's user.
    pub user: Option<String>,
    /// After it the hook is killed and has failed.
    pub timeout: Duration,
    /// What its failure means.
    pub on_error: OnError,
}

impl Default for Hook {
    fn default() -> Self {
        Self {
            exec: Vec::new(),
            place: Place::Container,
            user: None,
            timeout: Duration::from_secs(30),
            on_error: OnError::Fail,
        }
    }
}

/// `hooks.NAME.where`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Place {
    /// Beside the unit's process.
    Container,
    /// In a container of its own, of the same image.
    Image,
}

/// `hooks.NAME.on_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum OnError {
    /// The start has failed.
    Fail,
    /// Nothing.
    Ignore,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: None, timeout: Duration::from_secs(10), mode: StopMode::Main, delay: Duration::ZERO }
    }
}

/// `[job]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Further tries of a run that failed.
    pub retries: u32,
    /// Runs that are remembered.
    pub keep: u32,
}

impl Default for Job {
    fn default() -> Self {
        Self { retries: 0, keep: 10 }
    }
}

/// `[update]`: what a unit has to show before a revision is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Update {
    /// It has been healthy for this long.
    pub healthy_for: Duration,
    /// By then, from the beginning of the trial on.
    pub deadline: Duration,
    /// What follows when it is not.
    pub on_failure: OnFailedUpdate,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            healthy_for: Duration::from_secs(30),
            deadline: Duration::from_secs(300),
            on_failure: OnFailedUpdate::default(),
        }
    }
}

/// `update.on_failure`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum OnFailedUpdate {
    /// Back to the last good revision.
    #[default]
    Rollback,
    /// Nothing.
    Hold,
}
