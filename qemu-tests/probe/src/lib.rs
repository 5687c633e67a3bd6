//! What the probe says, for the scenarios that read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a process sees: `probe report`, as JSON on one line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// getpid(2).
    pub pid: u32,
    /// getppid(2).
    pub ppid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// uname(2).
    pub hostname: String,
    /// argv.
    pub args: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: String,
    /// Numeric names in /proc.
    pub pids: Vec<u32>,
    /// All of /proc/self/status: capabilities, NoNewPrivs, Seccomp.
    pub status: BTreeMap<String, String>,
    /// /proc/self/cgroup.
    pub cgroup: String,
    /// Namespace links by name.
    pub namespaces: BTreeMap<String, String>,
    /// /proc/self/mountinfo.
    pub mounts: Vec<Mount>,
    /// Descriptor to what it is.
    pub fds: BTreeMap<u32, String>,
    /// Names in `/`.
    pub root: Vec<String>,
    /// Names in /dev.
    pub dev: Vec<String>,
    /// Network interfaces.
    pub interfaces: Vec<String>,
    /// IPv4 addresses of this network namespace.
    pub addresses: Vec<String>,
    /// /proc/self/limits.
    pub limits: String,
}

/// A line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Path in the file system that is mounted.
    pub root: String,
    /// Where.
    pub target: String,
    /// Options of the mount, separated by commas.
    pub options: String,
    /// File system type.
    pub fs: String,
    /// What the file system says that it is made of.
    pub source: String,
}

/// `probe burn-cpu`, as JSON on one line.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Burnt {
    /// Seconds on the wall.
    pub wall: f64,
    /// Seconds of processor time.
    pub cpu: f64,
}
