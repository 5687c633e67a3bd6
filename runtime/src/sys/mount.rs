//! mount_setattr(2).

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

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
    // The ways to keep times are no flags but a number of several bits, which is cleared as a whole.
    let times = MountAttrFlags::MOUNT_ATTR__ATIME;
    let attr_clr = if set.intersects(times) { u64::from(times.bits()) } else { 0 };
    change(mount, &MountAttr { attr_set: u64::from(set.bits()), attr_clr, ..MountAttr::default() }, reach)
}

/// Sets how mounts below spread.
pub(crate) fn set_propagation(
    mount: BorrowedFd<'_>,
    propagation: MountPropagationFlags,
    reach: Reach,
) -> Result<(), Errno> {
    change(mount, &MountAttr { propagation: u64::from(propagation.bits()), ..MountAttr::default() }, reach)
}

fn change(mount: BorrowedFd<'_>, attr: &MountAttr, reach: Reach) -> Result<(), Errno> {
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
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}
