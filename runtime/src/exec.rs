//! One more process in a running container.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spawn::{Running, SpawnError, Stdio};
use crate::spec::Process;

/// Which container, and what to run in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The container's first process, in the caller's PID namespace.
    pub pid: i32,
    /// Its start time ([`start_time`]): a pid that was given to somebody else meanwhile is refused.
    pub start_time: u64,
    /// The unit's cgroup v2 directory.
    pub cgroup: PathBuf,
    /// What to run. With `terminal`, standard input is a terminal, best one of [`crate::open_pty`].
    pub process: Process,
}

/// Start time of a process in clock ticks since boot: field 22 of /proc/PID/stat (proc(5)).
///
/// # Errors
/// There is no such process, or its stat is not as documented.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the command in parentheses and may hold anything, so count from the last one.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace());
    let field = fields.and_then(|mut fields| fields.nth(19));
    field.and_then(|field| field.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Runs a process in a container. It is the caller's child; it has been let go already.
///
/// # Errors
/// The container is gone, or the caller's side could not do its part.
pub fn exec(_target: &ExecSpec, _stdio: &Stdio<'_>) -> Result<Running, SpawnError> {
    Err(SpawnError::System { doing: "exec", source: io::ErrorKind::Unsupported.into() })
}

/// Both ends of a terminal of the container's own devpts.
#[derive(Debug)]
pub struct Pty {
    /// The end that shows and types.
    pub master: OwnedFd,
    /// The end that is the process' standard input, output and error.
    pub terminal: OwnedFd,
}

/// Makes a terminal in a container's devpts, so that /dev/pts/N exists there.
///
/// # Errors
/// The container is gone, or its /dev/pts is no devpts.
pub fn open_pty(_target: &ExecSpec) -> Result<Pty, SpawnError> {
    Err(SpawnError::System { doing: "open a terminal", source: io::ErrorKind::Unsupported.into() })
}
