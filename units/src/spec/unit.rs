//! A container: everything that its file says.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::resources::{Cpu, Io, Memory, Pids};
use crate::{Name, Reference};

/// A container on this node.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// File stem.
    pub name: Name,
    /// One line for people.
    pub description: String,
    /// Links for people.
    pub documentation: Vec<String>,
    /// `false`: kept in the set, never started by itself.
    pub enabled: bool,
    /// Start at boot or only when asked.
    pub start: Start,
    /// Free key-value pairs, shown and filtered by.
    pub labels: BTreeMap<String, String>,
    /// Which image, and where it comes from.
    pub image: Image,
    /// The root file system that is made of it.
    pub rootfs: Rootfs,
    /// What runs.
    pub process: Process,
    /// Merged over the image's Env.
    pub env: BTreeMap<String, String>,
    /// memory.* of cgroup v2.
    pub memory: Memory,
    /// cpu.* of cgroup v2.
    pub cpu: Cpu,
    /// pids.* of cgroup v2.
    pub pids: Pids,
    /// io.* of cgroup v2.
    pub io: Io,
    /// By name, so that a drop-in can change one.
    pub mounts: BTreeMap<String, Mount>,
    /// Mode, host name, extra hosts.
    pub network: NetworkMode,
    /// Container's host name; the unit's name by default.
    pub hostname: String,
    /// Networks that it joins; filled with [`super::DEFAULT_NETWORK`] in bridge mode when none is named.
    pub networks: BTreeMap<Name, Attachment>,
    /// Published ports, by name.
    pub ports: BTreeMap<String, Port>,
    /// What has to hold before it starts.
    pub depends: BTreeMap<Name, Depends>,
    /// When it counts as ready.
    pub ready: Ready,
    /// From the start to ready; over it the start has failed. Zero: no limit.
    pub start_timeout: Duration,
    /// What happens after it ended.
    pub restart: Restart,
    /// How it is asked to end.
    pub stop: Stop,
    /// What becomes of its output.
    pub log: Log,
    /// How far it is opened up.
    pub security: Security,
}

impl Unit {
    /// A unit of that name and image, every other key at its default.
    pub fn new(name: Name, reference: Reference) -> Self {
        Self {
            hostname: name.to_string(),
            name,
            description: String::new(),
            documentation: Vec::new(),
            enabled: true,
            start: Start::Boot,
            labels: BTreeMap::new(),
            image: Image { reference },
            rootfs: Rootfs::default(),
            process: Process::default(),
            env: BTreeMap::new(),
            memory: Memory::default(),
            cpu: Cpu::default(),
            pids: Pids::default(),
            io: Io::default(),
            mounts: BTreeMap::new(),
            network: NetworkMode::Bridge,
            networks: BTreeMap::new(),
            ports: BTreeMap::new(),
            depends: BTreeMap::new(),
            ready: Ready::Exec,
            start_timeout: Duration::from_secs(60),
            restart: Restart::default(),
            stop: Stop::default(),
            log: Log::default(),
            security: Security::default(),
        }
    }
}

/// `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the node.
    Boot,
    /// Only by `berth start`.
    Manual,
}

/// `[image]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// `ref`, in normal form.
    pub reference: Reference,
}

/// `[rootfs]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rootfs {
    /// The root is mounted read-only.
    pub read_only: bool,
    /// Paths that get a small tmpfs when the root is read-only.
    pub tmpfs: Vec<String>,
    /// Where writes go when the root is writable.
    pub upper: Upper,
    /// Size of a tmpfs upper layer, bytes.
    pub size: u64,
}

impl Default for Rootfs {
    fn default() -> Self {
        Self {
            read_only: true,
            tmpfs: ["/tmp", "/run", "/var/tmp"].map(String::from).to_vec(),
            upper: Upper::Tmpfs,
            size: 256 << 20,
        }
    }
}

/// `rootfs.upper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// RAM; gone with the container.
    Tmpfs,
    /// The data partition; emptied at every start.
    Disk,
}

/// `[process]`.
#[derive(Clone, Debug, Default, PartialEq)]
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
}

/// `[mounts.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// A bind is read-only unless told otherwise, a volume and a tmpfs are writable.
    pub read_only: bool,
    /// `exec` allowed; nosuid and nodev always hold.
    pub exec: bool,
}

/// What `[mounts.NAME]` mounts.
#[derive(Clone, Debug, PartialEq)]
pub enum MountSource {
    /// A named volume on the data partition.
    Volume {
        /// Its name.
        volume: Name,
        /// A directory below it.
        subpath: Option<String>,
    },
    /// A path of the node.
    Bind {
        /// Absolute; must exist unless `create`.
        path: String,
        /// Make a directory when it is absent.
        create: bool,
    },
    /// RAM.
    Tmpfs {
        /// Bytes.
        size: u64,
        /// Mode of its root.
        mode: u32,
    },
}

/// `network.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// Its own network namespace, attached to declared networks.
    Bridge,
    /// The node's.
    Host,
    /// Its own, with nothing but loopback.
    None,
}

/// `[networks.NAME]` of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attachment {
    /// A fixed address; chosen and kept stable otherwise.
    pub ipv4: Option<Ipv4Addr>,
    /// More names that answer for it on this network.
    pub aliases: Vec<String>,
}

/// `[ports.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Port of the node.
    pub host: u16,
    /// Port in the container.
    pub container: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Only on this address of the node; all of them otherwise.
    pub host_ip: Option<Ipv4Addr>,
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// `[depends.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depends {
    /// What of it has to hold.
    pub until: Until,
}

/// `depends.NAME.until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Its process has been executed.
    Started,
    /// It is ready.
    Ready,
}

/// `[ready] when`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// As soon as execve(2) succeeded.
    Exec,
    /// A line (or the end of file after at least one byte) arrives on this descriptor, as s6 does it.
    Fd(u8),
}

/// `[restart]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// When at all.
    pub policy: Policy,
    /// Before the first restart.
    pub delay: Duration,
    /// Each further one waits this many thousandths of the one before (2000 doubles).
    pub factor_milli: u32,
    /// Longest wait.
    pub max_delay: Duration,
    /// A run of this length starts the count anew.
    pub reset_after: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: Policy::Always,
            delay: Duration::from_millis(500),
            factor_milli: 2000,
            max_delay: Duration::from_secs(60),
            reset_after: Duration::from_secs(60),
        }
    }
}

/// `restart.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// However it ended.
    Always,
    /// Only after an exit code other than 0, a signal, or out of memory.
    OnFailure,
    /// Never.
    Never,
}

/// `[stop]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// Signal number; the image's StopSignal or SIGTERM when unset.
    pub signal: Option<i32>,
    /// After it, cgroup.kill.
    pub timeout: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: None, timeout: Duration::from_secs(10) }
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
}

impl Default for Log {
    fn default() -> Self {
        Self { to: LogSink::Store, max_size: 10 << 20, keep: 5 }
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
    /// Discarded.
    None,
}

/// `[security]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Security {
    /// What the rest starts from.
    pub profile: Profile,
    /// Capabilities added to the profile's, without CAP_, upper case.
    pub cap_add: Vec<String>,
    /// Capabilities taken away; `ALL` takes all.
    pub cap_drop: Vec<String>,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// Namespaced sysctls, dotted name to value.
    pub sysctl: BTreeMap<String, String>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            profile: Profile::Restricted,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            no_new_privileges: true,
            sysctl: BTreeMap::new(),
        }
    }
}

/// `security.profile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// No capabilities.
    Restricted,
    /// CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT.
    Baseline,
    /// All capabilities, nothing masked, the node's devices.
    Privileged,
}
