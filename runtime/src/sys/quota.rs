//! Project quota: FS_IOC_FSSETXATTR and quotactl_fd(2).

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::{check, last_errno};

/// `struct fsxattr` of include/uapi/linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FsAttributes {
    pub(crate) flags: u32,
    pub(crate) extent_size: u32,
    pub(crate) extents: u32,
    pub(crate) project: u32,
    pub(crate) cow_extent_size: u32,
    pub(crate) padding: [u8; 8],
}

/// `struct if_dqblk` of include/uapi/linux/quota.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dqblk {
    /// KiB; 0 is unlimited.
    pub(crate) block_hard: u64,
    pub(crate) block_soft: u64,
    /// Bytes.
    pub(crate) space: u64,
    pub(crate) inode_hard: u64,
    pub(crate) inode_soft: u64,
    pub(crate) inodes: u64,
    pub(crate) block_time: u64,
    pub(crate) inode_time: u64,
    /// Which of the fields count: QIF_*.
    pub(crate) valid: u32,
}

/// Files that are made below a directory get its project.
pub(crate) const PROJECT_INHERIT: u32 = 0x200;
/// QIF_LIMITS: the four limits.
pub(crate) const LIMITS: u32 = 1 | 4;

const GET_ATTRIBUTES: libc::c_ulong = request(2, 31);
const SET_ATTRIBUTES: libc::c_ulong = request(1, 32);
const GET_QUOTA: libc::c_uint = 0x80_0007;
const SET_QUOTA: libc::c_uint = 0x80_0008;
const PROJECT_QUOTA: libc::c_uint = 2;

/// `_IOR('X', number, struct fsxattr)` (direction 2) and `_IOW` (1), include/uapi/asm-generic/ioctl.h.
const fn request(direction: libc::c_ulong, number: libc::c_ulong) -> libc::c_ulong {
    direction << 30
        | (size_of::<FsAttributes>() as libc::c_ulong) << 16
        | (b'X' as libc::c_ulong) << 8
        | number
}

/// Attributes of an open file or directory.
pub(crate) fn attributes(file: BorrowedFd<'_>) -> Result<FsAttributes, Errno> {
    let mut attributes = FsAttributes::default();
    // SAFETY: the kernel writes one struct fsxattr, and `attributes` is one, alive and ours alone during the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), GET_ATTRIBUTES as _, &raw mut attributes) };
    if result < 0 { Err(last_errno()) } else { Ok(attributes) }
}

/// Replaces the attributes of an open file or directory.
pub(crate) fn set_attributes(file: BorrowedFd<'_>, attributes: &FsAttributes) -> Result<(), Errno> {
    // SAFETY: the kernel reads one struct fsxattr, and `attributes` is one, alive during the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), SET_ATTRIBUTES as _, &raw const *attributes) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// What a project takes of the file system that `file` is on, and may take.
pub(crate) fn project_quota(file: BorrowedFd<'_>, project: u32) -> Result<Dqblk, Errno> {
    let mut quota = Dqblk::default();
    // SAFETY: for Q_GETQUOTA the kernel writes one struct if_dqblk, and `quota` is one, alive and ours alone.
    check(unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_raw_fd(),
            GET_QUOTA << 8 | PROJECT_QUOTA,
            project,
            &raw mut quota,
        )
    })?;
    Ok(quota)
}

/// Sets what `quota.valid` says of a project on the file system that `file` is on.
pub(crate) fn set_project_quota(file: BorrowedFd<'_>, project: u32, quota: &Dqblk) -> Result<(), Errno> {
    // SAFETY: for Q_SETQUOTA the kernel reads one struct if_dqblk, and `quota` is one, alive during the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_raw_fd(),
            SET_QUOTA << 8 | PROJECT_QUOTA,
            project,
            &raw const *quota,
        )
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernel() {
        // As strace prints them for lsattr -p and chattr -p on x86-64 and arm64.
        assert_eq!((GET_ATTRIBUTES, SET_ATTRIBUTES), (0x801c_581f, 0x401c_5820));
        assert_eq!(size_of::<Dqblk>(), 72);
    }
}
