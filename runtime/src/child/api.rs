//! The mount system calls of Linux 5.2 and later, without paths where a descriptor will do.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

pub(super) const NOSUID_NODEV: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
pub(super) const NOTHING: MountAttrFlags = NOSUID_NODEV.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
pub(super) const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// A new file system instance, mounted nowhere yet.
pub(super) fn new_mount(
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    mount_context(context.as_fd(), attributes)
}

/// The mount of a context whose options are all set.
pub(super) fn mount_context(context: BorrowedFd<'_>, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A detached copy of what is mounted at `path` below `dir`, which may be empty for `dir` itself.
pub(super) fn copy_tree(dir: BorrowedFd<'_>, path: &CStr, more: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(dir, path, flags | more)
}

/// Mounts on exactly the file that `target` is open on, whatever its path has become.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// Mounts over the root. Nothing disappears: walks of absolute paths begin at the process' root, below this mount.
/// Overlay takes only layers of mounts that are somewhere in the caller's namespace (Linux before 6.15), and this is
/// the one place that every namespace has.
pub(super) fn attach_over_root(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount(mount, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
