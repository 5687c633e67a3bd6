//! mount_setattr(2).

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::check;

/// `struct mount_attr` of Linux 5.12, include/uapi/linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// How far a change of attributes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This mount.
    One,
    /// And all below it.
    Tree,
}

/// Sets attributes of the mount whose root `mount` is; those not named stay.
pub(crate) fn set_attributes(mount: BorrowedFd<'_>, set: MountAttrFlags, reach: Reach) -> Result<(), Errno> {
    let attr = MountAttr { attr_set: u64::from(set.bits()), ..MountAttr::default() };
    let recursive = if reach == Reach::Tree { libc::AT_RECURSIVE } else { 0 };
    let path = c"".as_ptr();
    // SAFETY: `path` is a static empty string, which AT_EMPTY_PATH allows; `attr` is a whole mount_attr of the size
    // given and alive during the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            path,
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}
