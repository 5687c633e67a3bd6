//! What the files mean: the declared state with every default filled in.
//!
//! The parser turns TOML into these types; the planner, the runtime and netd read them. A key that a file does
//! not set has the value of the type's `Default`. Names of fields are the names of the keys.

mod health;
mod lifecycle;
mod resources;
mod security;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Name, Reference};

pub use health::{Check, Http, OnFailure, Probe, Ready, Role};
pub use lifecycle::{
    Arch, Conditions, Depends, OnLimit, OnRestart, OnStop, OnUnmet, Policy, Restart, Stop, Strength, Type,
    Until, WaitFor,
};
pub use resources::{Cpu, Io, IoLimit, Memory, Pids};
pub use security::{Profile, Security};

/// A whole unit set: valid together or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// The node's own settings.
    pub node: Node,
    /// `kind = "container"`.
    pub units: BTreeMap<Name, Unit>,
    /// `kind = "network"`, with [`DEFAULT_NETWORK`] added where a unit needs it.
    pub networks: BTreeMap<Name, Network>,
    /// `kind = "volume"`, with every volume that a mount names and no file declares.
    pub volumes: BTreeMap<Name, Volume>,
}

/// The network of units that are in bridge mode and name none.
pub const DEFAULT_NETWORK: &str = "default";

/// `node.toml`: what the node itself is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Host name, also shown in `berth status`.
    pub hostname: Name,
    /// How the node reaches the outside.
    pub uplink: Uplink,
    /// How long a shutdown may take before what is left is killed.
    pub stop_timeout: Duration,
    /// Memory that units together cannot take from the node.
    pub memory_reserve: u64,
    /// Words appended to the kernel command line by the builder.
    pub kernel_append: Vec<String>,
    /// Kernel modules loaded at boot beyond those that berth needs.
    pub kernel_modules: Vec<String>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            hostname: Name::parse("berth").unwrap_or_else(|_| unreachable!("a literal that is a name")),
            uplink: Uplink::default(),
            stop_timeout: Duration::from_secs(30),
            memory_reserve: 32 << 20,
            kernel_append: Vec::new(),
            kernel_modules: Vec::new(),
        }
    }
}

/// `[uplink]` of node.toml. First cut: one ethernet link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uplink {
    /// Interface name, or none for the first ethernet link that has a driver.
    pub interface: Option<String>,
    /// How it gets its address.
    pub mode: UplinkMode,
}

/// How the uplink gets its address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UplinkMode {
    /// DHCPv4.
    Dhcp,
    /// Written in node.toml.
    Static {
        /// Address with its prefix length.
        address: Ipv4Net,
        /// Default route.
        gateway: Option<Ipv4Addr>,
        /// Name servers that the built-in DNS forwards to.
        dns: Vec<Ipv4Addr>,
    },
    /// The node stays off the network.
    None,
}

impl Default for Uplink {
    fn default() -> Self {
        Self { interface: None, mode: UplinkMode::Dhcp }
    }
}

/// An IPv4 address with a prefix length, e.g. `10.89.0.1/24`: of a subnet the host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ipv4Net {
    /// Address.
    pub address: Ipv4Addr,
    /// Prefix length, 0 to 32.
    pub prefix: u8,
}

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
    /// Networks that it joins; filled with [`DEFAULT_NETWORK`] in bridge mode when none is named.
    pub networks: BTreeMap<Name, Attachment>,
    /// Published ports, by name.
    pub ports: BTreeMap<String, Port>,
    /// Service or one deed.
    pub kind: Type,
    /// Whether it still counts as there after it ended with success; as its type has it by default.
    pub remain_after_exit: Option<bool>,
    /// Units whose state has to hold before it starts.
    pub depends: BTreeMap<Name, Depends>,
    /// It starts after these and stops before them.
    pub after: Vec<Name>,
    /// The other way round.
    pub before: Vec<Name>,
    /// It never runs beside these.
    pub conflicts: Vec<Name>,
    /// Facts outside of the set that have to hold before it starts.
    pub wait_for: WaitFor,
    /// Whether it is started at all.
    pub conditions: Conditions,
    /// When it counts as ready.
    pub ready: Ready,
    /// Checks of its health, by name.
    pub health: BTreeMap<String, Check>,
    /// From the start to ready; over it the start has failed. Zero: no limit.
    pub start_timeout: Duration,
    /// It is ended when it has run so long. Zero: no limit.
    pub runtime_max: Duration,
    /// What happens after it ended.
    pub restart: Restart,
    /// Started when it has failed.
    pub on_failure: Vec<Name>,
    /// Started when it has ended with success.
    pub on_success: Vec<Name>,
    /// How it is asked to end.
    pub stop: Stop,
    /// What becomes of its output.
    pub log: Log,
    /// How far it is opened up.
    pub security: Security,
}

impl Unit {
    /// Whether it counts as there after it ended with success.
    pub fn remains(&self) -> bool {
        self.remain_after_exit.unwrap_or(self.kind == Type::Oneshot)
    }

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
            kind: Type::Service,
            remain_after_exit: None,
            depends: BTreeMap::new(),
            after: Vec::new(),
            before: Vec::new(),
            conflicts: Vec::new(),
            wait_for: WaitFor::default(),
            conditions: Conditions::default(),
            ready: Ready::Exec,
            health: BTreeMap::new(),
            start_timeout: Duration::from_secs(60),
            runtime_max: Duration::ZERO,
            restart: Restart::default(),
            on_failure: Vec::new(),
            on_success: Vec::new(),
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

/// `kind = "network"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// `ipv4.subnet`; the resolver gives each network that names none its own /24 of 10.88.0.0/13.
    pub subnet: Ipv4Net,
    /// Address of the bridge; the first one of the subnet by default.
    pub gateway: Ipv4Addr,
    /// Masquerade towards the uplink.
    pub nat: bool,
    /// No way out and none in, only between its members.
    pub internal: bool,
    /// Bytes; 1500 by default.
    pub mtu: u32,
}

/// `kind = "volume"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Owner of its root.
    pub uid: u32,
    /// Group of its root.
    pub gid: u32,
    /// Mode of its root.
    pub mode: u32,
}

impl Default for Volume {
    fn default() -> Self {
        Self { uid: 0, gid: 0, mode: 0o755 }
    }
}
