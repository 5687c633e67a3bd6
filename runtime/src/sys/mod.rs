//! The system calls that neither rustix nor nix wraps safely. The only unsafe code of berth.
//!
//! Each function is one kernel interface. Safe ones check what the kernel does not; the functions of [`child`]
//! change the whole process and are safe only because nothing but the child of [`clone::clone3`] calls them.
#![expect(unsafe_code, reason = "this is the room for it: every other module of the workspace denies it")]

pub(crate) mod child;
pub(crate) mod clone;
pub(crate) mod disk;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod quota;
pub(crate) mod signal;
pub(crate) mod strings;

use rustix::io::Errno;

/// The result of a raw call that says -1 on failure.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    // A system call that fails without an errno cannot be; EIO would then be as good as anything.
    let raw = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Errno::from_raw_os_error(raw)
}
