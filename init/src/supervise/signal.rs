//! Signals to the processes of a unit, and to nobody else.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use berth_runtime::{send_signal, start_time};
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

/// Sends a signal to the first process of a unit if it belongs to that cgroup.
pub fn send(pid: i32, cgroup: &Path, signal: i32) -> io::Result<Delivery> {
    let (pid, pidfd) = member(pid, cgroup)?;
    if is_deaf(pid, signal)? {
        return Ok(Delivery::Unheard);
    }
    send_signal(&pidfd, signal).map(|()| Delivery::Sent)
}

/// The same to any other: its default actions are carried out.
pub fn send_to_other(pid: i32, cgroup: &Path, signal: i32) -> io::Result<()> {
    let (_, pidfd) = member(pid, cgroup)?;
    send_signal(&pidfd, signal)
}

/// A process of that cgroup.
///
/// The pidfd is opened first and the cgroup compared then: whoever has the pid now is the one that is compared and
/// the one that is signalled, even if the number was given away in between.
fn member(pid: i32, cgroup: &Path) -> io::Result<(Pid, OwnedFd)> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    if !is_member(pid.as_raw_pid(), cgroup)? {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((pid, pidfd))
}

/// Start time of a process of that cgroup: with it the process is meant for good, whoever gets its number later.
pub fn start_time_of(pid: i32, cgroup: &Path) -> io::Result<u64> {
    let began = start_time(pid)?;
    // Looked at after it: who has the number now and is a member is the one that began then, or began later, and is
    // then refused by whoever compares.
    if is_member(pid, cgroup)? { Ok(began) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Whether a process does nothing about a signal. Looked at twice: it may go from one way of waiting to another.
fn is_deaf(pid: Pid, signal: i32) -> io::Result<bool> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_nonzero()));
    for _ in 0..2 {
        // Where the kernel does not say what it waits in, its masks are all that there is.
        if !is_unheard(&read("status")?, signal) || read("syscall").is_ok_and(|text| awaits_signals(&text)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a process belongs to that cgroup or to one below it.
pub fn is_member(pid: i32, cgroup: &Path) -> io::Result<bool> {
    let member = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = member.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Ok(Path::new("/sys/fs/cgroup").join(path).starts_with(cgroup))
}

/// Whether a process is in rt_sigtimedwait(2), by /proc/PID/syscall (proc_pid_syscall(5)). The kernel takes the signals
/// that it waits for out of its mask meanwhile and still delivers them; small inits of containers spend their lives so.
fn awaits_signals(syscall: &str) -> bool {
    let number = if cfg!(target_arch = "x86_64") { "128" } else { "137" };
    syscall.split(' ').next() == Some(number)
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
        assert!(!awaits_signals("running\n") && !awaits_signals("35 0x80 0x0\n") && !awaits_signals(""));
        assert!(!is_unheard("", 15) && !is_unheard(status, 0) && !is_unheard(status, -1));
    }

    #[test]
    fn who_leaves_a_signal_to_its_default_is_ended_by_it() {
        use std::os::unix::process::ExitStatusExt;
        let text = fs::read_to_string("/proc/self/cgroup").unwrap();
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let cgroup = Path::new("/sys/fs/cgroup").join(path);
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let other = Path::new("/sys/fs/cgroup/units/other");
        assert!(send_to_other(pid, other, 15).is_err());
        assert_eq!(start_time_of(pid, other).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(start_time_of(pid, &cgroup).unwrap(), start_time(pid).unwrap());
        assert_eq!(child.try_wait().unwrap(), None);
        send_to_other(pid, &cgroup, 15).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
    }

    #[test]
    fn who_waits_for_a_signal_hears_it() {
        use nix::sys::signal::{SigSet, Signal};
        let (told, is_waiting) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let signals: SigSet = [Signal::SIGUSR1].into_iter().collect();
            signals.thread_block().unwrap();
            told.send(rustix::thread::gettid()).unwrap();
            signals.wait().unwrap()
        });
        let thread_id = is_waiting.recv().unwrap();
        // Blocked before it waits and awaited then: at no time deaf.
        for _ in 0..1000 {
            assert!(!is_deaf(thread_id, 10).unwrap());
        }
    }
}
