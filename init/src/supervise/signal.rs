//! Signals to the first process of a unit, and to nobody else.

use std::fs;
use std::io;
use std::path::Path;

use berth_runtime::send_signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The process has it.
    Sent,
    /// The kernel would have dropped it: the first process of a PID namespace gets no signal whose default action it
    /// has left in place (pid_namespaces(7)). Anywhere else that action would have ended it.
    Unheard,
}

/// Sends a signal to a process if it belongs to that cgroup.
///
/// The pidfd is opened first and the cgroup compared then: whoever has the pid now is the one that is compared and
/// the one that is signalled, even if the number was given away in between.
pub fn send(pid: i32, cgroup: &Path, signal: i32) -> io::Result<Delivery> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    if !is_member(pid.as_raw_pid(), cgroup)? {
        return Err(io::ErrorKind::NotFound.into());
    }
    if is_unheard(&fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?, signal) {
        return Ok(Delivery::Unheard);
    }
    send_signal(&pidfd, signal).map(|()| Delivery::Sent)
}

/// Whether a process belongs to that cgroup or to one below it.
pub fn is_member(pid: i32, cgroup: &Path) -> io::Result<bool> {
    let member = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = member.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Ok(Path::new("/sys/fs/cgroup").join(path).starts_with(cgroup))
}

/// Whether a process neither catches, blocks (to read it from a signalfd) nor ignores a signal, by the masks of
/// /proc/PID/status (proc_pid_status(5)).
fn is_unheard(status: &str, signal: i32) -> bool {
    let Some(bit) = u32::try_from(signal).ok().and_then(|signal| 1_u64.checked_shl(signal.wrapping_sub(1)))
    else {
        return false;
    };
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).ok()
    };
    let masks = ["SigCgt", "SigBlk", "SigIgn"].map(mask);
    masks.iter().all(|mask| mask.is_some_and(|mask| mask & bit == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_unheard_when_no_mask_has_it() {
        let status =
            "SigQ:\t0/1\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\nSigCgt:\t0000000400004000\n";
        for (signal, unheard) in [(15, false), (1, false), (13, false), (35, false), (3, true), (37, true)] {
            assert_eq!(is_unheard(status, signal), unheard, "{signal}");
        }
        assert!(!is_unheard("", 15) && !is_unheard(status, 0) && !is_unheard(status, -1));
    }
}
