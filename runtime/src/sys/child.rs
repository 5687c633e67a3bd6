//! What only the child between clone3 and execve calls: none of it allocates.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::io::Errno;

use super::check;
use super::strings::Strings;

/// Ends the process at once: no destructors, no exit handlers, which belong to the caller of clone3.
pub(crate) fn exit(code: u8) -> ! {
    // SAFETY: _exit has no requirements and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}

/// What to do with a range of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// Close them now.
    Close,
    /// Close them at execve.
    CloseOnExec,
}

/// close_range(2) over every descriptor from `first` on that is not in `keep`, which is sorted.
pub(crate) fn close_all_but(keep: &[RawFd], first: RawFd, action: Range) -> Result<(), Errno> {
    let mut from = first;
    for &fd in keep.iter().filter(|fd| **fd >= first) {
        if fd > from {
            close_range(from.unsigned_abs(), fd.unsigned_abs() - 1, action)?;
        }
        from = fd.saturating_add(1);
    }
    close_range(from.unsigned_abs(), u32::MAX, action)
}

fn close_range(first: u32, last: u32, action: Range) -> Result<(), Errno> {
    let flags = match action {
        Range::Close => 0,
        Range::CloseOnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: takes no pointers. Values that own a closed descriptor exist only in the caller's copy of memory: the
    // child never uses or drops one that is not in its list of descriptors to keep.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Puts a descriptor at a number, not close-on-exec; what was there is closed.
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    // SAFETY: takes no pointers. `number` is below every descriptor that the child owns (`Lifted` of the
    // plan sees to it), so that no owner loses its descriptor.
    check(unsafe { libc::dup3(fd.as_raw_fd(), number, 0) }.into()).map(drop)
}

/// Default action for every signal. CLONE_CLEAR_SIGHAND leaves ignored ones ignored, as Rust does with SIGPIPE. By the
/// system call itself, because libc keeps two signals to itself, which may have been inherited ignored.
pub(crate) fn default_signals() {
    const SIGSET_SIZE: usize = 8;
    // The kernel's struct sigaction has two or three words and the mask: SIG_DFL, no flags, an empty mask.
    let default = [0_u64; 4];
    let previous = std::ptr::null_mut::<u64>();
    for signal in 1..=64 {
        // SAFETY: `default` is at least as long as the kernel's struct sigaction and alive during the call; SIG_DFL
        // installs no code; nothing is written through a null pointer. It fails for SIGKILL and SIGSTOP, harmlessly.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), previous, SIGSET_SIZE) };
    }
}

/// Joins a new, anonymous session keyring. A kernel without keyrings has none to leak.
pub(crate) fn join_new_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name is allowed and asks for an anonymous keyring; keyctl(2).
    match check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) }) {
        Err(Errno::NOSYS) => Ok(()),
        result => result.map(drop),
    }
}

/// sched_setattr(2) of the caller.
pub(crate) fn set_scheduler(attributes: &libc::sched_attr) -> Result<(), Errno> {
    let (own, flags) = (0, 0);
    // SAFETY: the kernel reads as many bytes as `size` says, which is the size of the struct, and writes at most there.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, own, std::ptr::from_ref(attributes), flags) })
        .map(drop)
}

/// ioprio_set(2) of the caller: class and level in one number.
pub(crate) fn set_io_priority(priority: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let (own, priority) = (0, libc::c_int::from(priority));
    // SAFETY: takes no pointers.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, own, priority) }).map(drop)
}

/// Whether the working directory is below the root: getcwd(2) says `(unreachable)` otherwise, which libc hides.
pub(crate) fn cwd_is_reachable() -> Result<bool, Errno> {
    let mut buffer = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most the length given into the buffer, which is alive and that long.
    check(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) })?;
    Ok(buffer.first() == Some(&b'/'))
}

/// execveat(2) of the program that a descriptor is open on; returns only the reason why not.
pub(crate) fn execve_open(program: BorrowedFd<'_>, argv: &Strings, env: &Strings) -> Errno {
    let (own, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: as with execve below; an empty path ends in NUL, too.
    unsafe {
        libc::syscall(libc::SYS_execveat, program.as_raw_fd(), own, argv.as_ptr(), env.as_ptr(), flags)
    };
    super::last_errno()
}

/// execve(2); returns only the reason why not.
pub(crate) fn execve(path: &CStr, argv: &Strings, env: &Strings) -> Errno {
    // SAFETY: `path` ends in NUL; both arrays are null-terminated arrays of pointers to strings that end in NUL and
    // live as long as their owners (the promise of Strings). The kernel only reads them.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    super::last_errno()
}
