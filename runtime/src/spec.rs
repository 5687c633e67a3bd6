//! What to run: plain data with every name of the outside resolved to a path of this node.
//!
//! The supervisor fills a [`Spec`] from a unit and its image; [`crate::spawn`] turns it into a process. Nothing
//! here reads a file. User and group names stay text, because only the assembled root can resolve them.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt;
use std::path::PathBuf;

use berth_units::spec::{IoPriority, Manner, Scheduling};
use serde::{Deserialize, Serialize};

use crate::capability::Capabilities;

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Host name in its own UTS namespace.
    pub hostname: String,
    /// What its root file system is made of.
    pub root: Root,
    /// Mounted on top, parents before children whatever the order here.
    pub mounts: Vec<Mount>,
    /// Devices of the node that it may use, beside those that every container has.
    pub devices: Vec<Device>,
    /// Read-only files laid over the image: `/etc/hostname`, `/etc/hosts`, `/etc/resolv.conf`.
    pub files: Vec<File>,
    /// Volumes that are used for the first time.
    pub seeds: Vec<Seed>,
    /// Read-only files that lie over the mounts, in RAM: secrets and configuration.
    pub supplies: Vec<Supply>,
    /// What runs in it.
    pub process: Process,
    /// A program of the node that becomes the first process; what runs is its child then, and number 2. It is told that
    /// number, reaps, and passes signals on.
    #[serde(default)]
    pub reaper: Option<PathBuf>,
    /// Its network namespace.
    pub network: Network,
    /// An existing cgroup v2 directory, limits already set: the process is born in it.
    pub cgroup: PathBuf,
    /// Size of /dev/shm, bytes.
    pub shm_size: u64,
    /// Hidden under /dev/null or an empty directory; absent ones are skipped. See [`MASKED_PATHS`].
    pub masked_paths: Vec<String>,
    /// Mounted read-only over themselves; absent ones are skipped. See [`READONLY_PATHS`].
    pub readonly_paths: Vec<String>,
    /// Namespaced sysctls, dotted name and value.
    pub sysctl: Vec<(String, String)>,
    /// Its cgroup is its user's: /sys/fs/cgroup is writable, and it may make groups below its own.
    pub delegate: bool,
    /// The node's devices, a writable /sys and cgroup tree, nothing masked or made read-only.
    pub privileged: bool,
    /// The process becomes the child of the caller's parent (CLONE_PARENT), who then reaps it.
    pub clone_parent: bool,
}

impl Spec {
    /// A spec of that root, command and cgroup, every other field at the safe default.
    pub fn new(root: Root, argv: Vec<String>, cgroup: PathBuf) -> Self {
        Self {
            hostname: "container".to_owned(),
            root,
            mounts: Vec::new(),
            devices: Vec::new(),
            files: Vec::new(),
            seeds: Vec::new(),
            supplies: Vec::new(),
            process: Process::new(argv),
            reaper: None,
            network: Network::Private,
            cgroup,
            shm_size: 64 << 20,
            masked_paths: MASKED_PATHS.map(String::from).to_vec(),
            readonly_paths: READONLY_PATHS.map(String::from).to_vec(),
            sysctl: Vec::new(),
            delegate: false,
            privileged: false,
            clone_parent: false,
        }
    }
}

/// What an unprivileged container must not read: node-wide state that has no namespace.
pub const MASKED_PATHS: [&str; 17] = [
    "/proc/acpi",
    "/proc/asound",
    // Root's by its mode alone, without a capability asked for: writing turns on the kernel's debug messages.
    "/proc/dynamic_debug",
    "/proc/interrupts",
    "/proc/kcore",
    // Which page of the node's memory is used for what: root's by mode alone, too.
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// What an unprivileged container may read and must not write.
pub const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The root file system: image layers under a writable overlay layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// Unpacked layer directories, lowest first, at least one.
    pub layers: Vec<PathBuf>,
    /// Where writes go.
    pub writable: Writable,
    /// Mount namespaces that the container makes see what is mounted in it.
    pub shared: bool,
}

/// Where writes to the root go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writable {
    /// Nowhere: read-only, once the mount points are made.
    No,
    /// RAM; gone with the container.
    Tmpfs {
        /// Bytes.
        size: u64,
    },
    /// `dir/upper` and `dir/work`. The file system must be able to be an overlay upper.
    Disk {
        /// An existing directory that this container alone uses.
        dir: PathBuf,
        /// What was written over this image is kept; without an image everything is removed at the start.
        keep: Option<String>,
    },
}

/// A mount of the unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container; made when absent, even in a read-only root.
    pub target: String,
    /// No writes through this mount.
    pub read_only: bool,
    /// Programs may be executed from it. nosuid and nodev always hold.
    pub exec: bool,
    /// How else.
    pub manner: Manner,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A directory or file of the node.
    Bind {
        /// Absolute and existing; trusted.
        path: PathBuf,
        /// Below `path`, made when absent. Not trusted: it cannot leave `path`, whatever links are there.
        subpath: Option<String>,
    },
    /// RAM.
    Tmpfs {
        /// Bytes.
        size: u64,
        /// Mode of its root.
        mode: u32,
    },
    /// Another image, read-only.
    Image {
        /// As those of [`Root`]; trusted, unlike what is in them.
        layers: Vec<PathBuf>,
        /// A directory or file in it. It cannot leave the image, whatever links are there.
        subpath: Option<String>,
    },
}

/// The name of the attribute of a [`Writable::Disk`] directory that says over which image its layer was written.
pub const LAYER_OF: &CStr = c"trusted.berth.layer";

/// The name of the attribute that a volume has until it was filled for its first use. It has to be empty of anything
/// that counts until then.
pub const UNSEEDED: &CStr = c"trusted.berth.unseeded";

/// A volume that may still have the attribute [`UNSEEDED`]: it is filled, once, and loses it. Of units that start at
/// the same time the first one does it, and the others wait for that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seed {
    /// The volume's directory, absolute and existing; trusted.
    pub volume: PathBuf,
    /// What is copied.
    pub from: SeedFrom,
    /// The root of the volume gets the owner and the mode of that directory, too.
    pub own: bool,
}

/// What a volume is filled with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeedFrom {
    /// Nothing.
    Nothing,
    /// This directory of the container's image, absolute.
    Root(String),
    /// All of another image: its layers.
    Image(Vec<PathBuf>),
}

/// A device of the node. Nothing but the mode of its file says who may do what with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path on the node; trusted.
    pub source: PathBuf,
    /// Absolute path in the container, below /dev; nothing may be there yet.
    pub target: String,
    /// Mode of the file; that of the node's where none is given.
    pub mode: Option<u32>,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A read-only file laid over the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Absolute path in the container; made when absent.
    pub target: String,
    /// The whole of it.
    pub contents: Vec<u8>,
}

/// A read-only file of RAM that lies over the mounts. A link in its place is followed inside of the root.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Supply {
    /// Absolute path in the container; made when absent.
    pub target: String,
    /// The whole of it.
    pub contents: Vec<u8>,
    /// Its mode; what it says of set-user-ID has no effect.
    pub mode: u32,
    /// Its owner; the process' user when there is none.
    pub uid: Option<u32>,
    /// Its group; that of the process' user when there is none.
    pub gid: Option<u32>,
}

/// Without the contents, which may be a secret.
impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supply({}, {} bytes, {:o})", self.target, self.contents.len(), self.mode)
    }
}

/// The network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A new one with loopback up; [`crate::Held::netns`] hands it out before the process runs.
    Private,
    /// The caller's.
    Host,
    /// That of another container.
    Join(Peer),
}

/// A container whose namespaces another one shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its first process, in the caller's PID namespace.
    pub pid: i32,
    /// Start time of that process ([`crate::start_time`]): a pid that was given to somebody else meanwhile is refused.
    pub start_time: u64,
    /// IPC and host name are shared, too.
    pub pod: bool,
}

/// A process and what it may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments. A program without a slash is looked up in PATH of `env`.
    pub argv: Vec<String>,
    /// `KEY=value`. HOME is added from the image's /etc/passwd when absent.
    pub env: Vec<String>,
    /// Absolute; made when absent (not by an exec).
    pub cwd: String,
    /// Who it runs as.
    pub user: User,
    /// File mode creation mask.
    pub umask: u32,
    /// By lower-case resource name without RLIMIT_ (`nofile`): soft and hard, [`u64::MAX`] is unlimited.
    pub rlimits: BTreeMap<String, (u64, u64)>,
    /// -1000 to 1000.
    pub oom_score_adj: i16,
    /// How the kernel schedules it; sched(7).
    pub scheduling: Scheduling,
    /// ioprio_set(2); none is the caller's.
    pub io_priority: Option<IoPriority>,
    /// Bounding, permitted and effective set.
    pub capabilities: Capabilities,
    /// A user other than root keeps the capabilities over execve (inheritable and ambient set).
    pub ambient: bool,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// Standard input is a terminal, which becomes the controlling one.
    pub terminal: bool,
}

/// Name of [`Spec::reaper`] as it sees it, by which a program knows what it is to be.
pub const REAPER: &str = "berth-reaper";

/// PATH of a process whose environment has none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Process {
    /// That command as root without capabilities, every other field at the safe default.
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            env: vec![format!("PATH={DEFAULT_PATH}")],
            cwd: "/".to_owned(),
            user: User::default(),
            umask: 0o022,
            rlimits: BTreeMap::new(),
            oom_score_adj: 0,
            scheduling: Scheduling::default(),
            io_priority: None,
            capabilities: Capabilities::NONE,
            ambient: false,
            no_new_privileges: true,
            terminal: false,
        }
    }
}

/// Who a process runs as, in the words of the unit or the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// `uid[:gid]` or `name[:group]`, looked up in the root's /etc/passwd and /etc/group; empty is root.
    pub user: String,
    /// Supplementary groups, ids or names, beside those that the image gives to the user.
    pub groups: Vec<String>,
}
