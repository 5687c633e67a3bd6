//! The last acts: kill what is left, write everything to disk, let go of the file systems, stop the machine.
//!
//! Nothing here may stop the way down: what fails is logged, and the next act follows.

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use berth_units::wire::control::Then;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid as AnyPid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::system::{RebootCommand, reboot};
use rustix::time::Timespec;

use super::cgroup;
use super::reap::{Reaped, reap};
use super::signals::Signals;
use crate::{error, notice, warning};

/// Processes that were sent SIGKILL have this long to disappear.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// Disks have this long to take what is not written yet: a slow one with much to write needs minutes, and one that
/// does not answer any more would keep sync(2) waiting, and the node from coming back, for ever.
const DISKS_LIMIT: Duration = Duration::from_secs(180);

/// Mounts that hold no data of ours or that the last acts need; everything below them too.
const LEFT_MOUNTED: &[&str] = &["/", "/proc", "/sys", "/dev", "/run"];

/// Kills every process but PID 1 and takes their exits from the kernel.
pub fn kill_everything(signals: &Signals) {
    let start = Instant::now();
    cgroup::kill_all();
    // All that PID 1 may signal except itself (kill(2)); nobody there is fine too.
    let _nobody = kill(AnyPid::from_raw(-1), Signal::SIGKILL);
    let killed = wait_for_children(signals, start + KILL_LIMIT);
    let took = start.elapsed().as_millis();
    match killed {
        Ok(count) => notice!("shutdown: killed {count} processes ({took} ms)"),
        Err(count) => warning!("shutdown: killed {count} processes, some do not end ({took} ms), going on"),
    }
}

/// Ctrl-Alt-Del becomes SIGINT to PID 1 instead of an immediate reset.
pub fn take_ctrl_alt_del() {
    if let Err(error) = reboot(RebootCommand::CadOff) {
        warning!("boot: cannot take over Ctrl-Alt-Del: {error}, going on");
    }
}

/// How many were reaped: `Ok` when no child is left, `Err` when time was over.
fn wait_for_children(signals: &Signals, limit: Instant) -> Result<u32, u32> {
    let mut count = 0;
    loop {
        match reap(None) {
            Reaped::Dead(..) => count += 1,
            Reaped::NoChild => return Ok(count),
            Reaped::NoneDead => {
                let left = limit.saturating_duration_since(Instant::now());
                let timeout = Timespec::try_from(left).ok().filter(|_| !left.is_zero()).ok_or(count)?;
                // An error of poll(2) costs a round of the loop, bounded by the limit.
                let _ready = poll(&mut [PollFd::new(signals, PollFlags::IN)], Some(&timeout));
                while signals.read().is_some() {}
            }
        }
    }
}

/// Writes everything to disk and unmounts all file systems that hold data, the newest mount first.
pub fn let_go_of_disks() {
    if !is_done_within(DISKS_LIMIT, write_and_unmount) {
        error!("shutdown: a disk does not answer within {} s, going on without", DISKS_LIMIT.as_secs());
    }
}

/// Does something that the kernel may never come back from. A thread, the only one that PID 1 ever has, because what
/// waits for a disk cannot be interrupted; reboot(2) does not wait for it.
fn is_done_within(limit: Duration, act: fn()) -> bool {
    let (done, ended) = mpsc::channel();
    let thread = thread::Builder::new().spawn(move || {
        act();
        let _given_up = done.send(());
    });
    match thread {
        Ok(_thread) => ended.recv_timeout(limit).is_ok(),
        Err(error) => {
            warning!("shutdown: cannot have a thread: {error}, waiting for the disks however long");
            act();
            true
        }
    }
}

fn write_and_unmount() {
    let start = Instant::now();
    rustix::fs::sync();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for target in plan_unmounts(&mounts) {
        unmount_or_seal(&target);
    }
    rustix::fs::sync();
    notice!("shutdown: disks are written and unmounted ({} ms)", start.elapsed().as_millis());
}

/// One file system: unmounted, or at least read-only and out of sight.
fn unmount_or_seal(target: &str) {
    match unmount(target, UnmountFlags::NOFOLLOW) {
        Ok(()) => {}
        Err(Errno::BUSY) => {
            warning!("shutdown: '{target}' is busy, making it read-only");
            if let Err(error) = mount_remount(target, MountFlags::RDONLY, c"") {
                error!("shutdown: cannot remount '{target}' read-only: {error}, going on");
            }
            if let Err(error) = unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH) {
                error!("shutdown: cannot detach '{target}': {error}, going on");
            }
        }
        Err(error) => error!("shutdown: cannot unmount '{target}': {error}, going on"),
    }
}

/// Mount points to unmount, in order, from the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).
fn plan_unmounts(mountinfo: &str) -> Vec<String> {
    let targets = mountinfo.lines().rev().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    targets.filter(|target| !is_left_mounted(target)).collect()
}

fn is_left_mounted(target: &str) -> bool {
    LEFT_MOUNTED.contains(&target)
        || ["/proc/", "/sys/", "/dev/"].iter().any(|prefix| target.starts_with(prefix))
}

/// Blanks and backslashes are written as three octal digits.
fn unescape(field: &str) -> String {
    let mut pieces = field.split('\\');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, piece.get(3..)) {
            (Some(code), Some(rest)) => {
                out.push(char::from(code));
                out.push_str(rest);
            }
            _ => {
                out.push('\\');
                out.push_str(piece);
            }
        }
    }
    out
}

/// Stops the machine. Returns only if the kernel refuses.
pub fn stop_machine(then: Then) {
    let (command, word) = match then {
        Then::Poweroff => (RebootCommand::PowerOff, "power off"),
        Then::Reboot => (RebootCommand::Restart, "reboot"),
    };
    notice!("shutdown: {word}");
    if let Err(error) = reboot(command) {
        error!("shutdown: cannot {word}: {error}; it is safe to switch off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_without_end_is_given_up() {
        assert!(is_done_within(Duration::from_secs(60), || {}));
        assert!(!is_done_within(Duration::from_millis(10), || loop {
            thread::park();
        }));
    }

    #[test]
    fn what_holds_data_is_unmounted_in_reverse() {
        let mountinfo = "\
21 1 0:2 / / ro - rootfs rootfs rw
22 21 0:20 / /proc rw,nosuid - proc proc rw
23 21 0:21 / /run rw - tmpfs tmpfs rw
24 21 253:0 / /data rw - ext4 /dev/vda rw
25 21 253:16 / /factory ro - erofs /dev/vdb ro
26 24 253:32 / /data/a\\040b\\134c rw - ext4 /dev/vdc rw
27 23 0:30 / /run/berth/x rw - tmpfs tmpfs rw
28 22 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
";
        assert_eq!(plan_unmounts(mountinfo), ["/run/berth/x", "/data/a b\\c", "/factory", "/data"]);
        assert_eq!(unescape("/odd\\04"), "/odd\\04");
    }
}
