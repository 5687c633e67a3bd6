//! clone3(2).

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;
use super::child::exit;

/// `struct clone_args` as of Linux 5.7, include/uapi/linux/sched.h.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;
const CLONE_NEWNS: u64 = 0x0002_0000;
const CLONE_NEWCGROUP: u64 = 0x0200_0000;
const CLONE_NEWUTS: u64 = 0x0400_0000;
const CLONE_NEWIPC: u64 = 0x0800_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_NEWNET: u64 = 0x4000_0000;

/// Which namespaces the child gets new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespaces {
    /// None.
    Shared,
    /// Mounts, pids, IPC, UTS, cgroups.
    Container,
    /// Those and the network.
    ContainerAndNetwork,
}

impl Namespaces {
    fn flags(self) -> u64 {
        const CONTAINER: u64 = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
        match self {
            Self::Shared => 0,
            Self::Container => CONTAINER,
            Self::ContainerAndNetwork => CONTAINER | CLONE_NEWNET,
        }
    }
}

/// How the child is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth<'a> {
    pub(crate) namespaces: Namespaces,
    /// Sibling instead of child.
    pub(crate) clone_parent: bool,
    /// cgroup v2 directory that it is born in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
}

impl Birth<'_> {
    fn args(&self, pidfd: &mut libc::c_int) -> CloneArgs {
        let mut flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | self.namespaces.flags();
        let mut args = CloneArgs {
            pidfd: std::ptr::from_mut(pidfd).addr() as u64,
            exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
            ..CloneArgs::default()
        };
        if self.clone_parent {
            flags |= CLONE_PARENT;
            // The sibling signals its parent as the caller does; the kernel takes no other wish (EINVAL).
            args.exit_signal = 0;
        }
        if let Some(cgroup) = self.cgroup {
            flags |= CLONE_INTO_CGROUP;
            args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
        }
        args.flags = flags;
        args
    }
}

/// Ends the child even if its code unwinds: a second copy of the caller must never run on.
struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        exit(CHILD_FAILED);
    }
}

/// Exit code of a child that did not reach execve.
pub(crate) const CHILD_FAILED: u8 = 125;

/// Makes a child with a copy of the caller's memory that runs `child` and ends with [`CHILD_FAILED`] if that returns.
/// The caller gets its pid and pidfd.
///
/// `child` must not allocate, lock or panic: other threads of the caller do not exist in it, and what they held
/// stays held. That would hang the child, it would not corrupt anything.
pub(crate) fn clone3(birth: &Birth<'_>, child: impl FnOnce()) -> Result<(i32, OwnedFd), Errno> {
    let mut pidfd: libc::c_int = -1;
    let args = birth.args(&mut pidfd);
    // SAFETY: `args` is a whole clone_args of the size given, alive during the call, and so is the place of the
    // pidfd. Without CLONE_VM and with no stack given the child goes on with a private copy of this stack, as
    // after fork(2); it never returns from here (ExitOnDrop), and shares no memory with the caller.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        let _end = ExitOnDrop;
        child();
        exit(CHILD_FAILED);
    }
    // SAFETY: CLONE_PIDFD made the kernel store a new descriptor there that nobody else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((i32::try_from(pid).map_err(|_| Errno::RANGE)?, pidfd))
}
