//! Signals to the first process of a unit, and to nobody else.

use std::io;
use std::path::Path;

use berth_runtime::send_signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Sends a signal to a process if it belongs to that cgroup.
///
/// The pidfd is opened first and the cgroup compared then: whoever has the pid now is the one that is compared and
/// the one that is signalled, even if the number was given away in between.
pub fn send(pid: i32, cgroup: &Path, signal: i32) -> io::Result<()> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let member = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()))?;
    let path = member.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    if !Path::new("/sys/fs/cgroup").join(path).starts_with(cgroup) {
        return Err(io::ErrorKind::NotFound.into());
    }
    send_signal(&pidfd, signal)
}
