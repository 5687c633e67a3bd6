//! Sizes of partitions and of ext4: BLKPG and EXT4_IOC_RESIZE_FS.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::last_errno;

/// `struct blkpg_partition` of include/uapi/linux/blkpg.h.
#[repr(C)]
struct Partition {
    start: i64,
    length: i64,
    number: libc::c_int,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Argument {
    operation: libc::c_int,
    flags: libc::c_int,
    length: libc::c_int,
    partition: *mut Partition,
}

/// `_IO(0x12, 105)`.
const BLKPG: libc::c_ulong = 0x1269;
/// BLKPG_RESIZE_PARTITION.
const RESIZE: libc::c_int = 3;
/// `_IOW('f', 16, __u64)` of fs/ext4/ext4.h.
const RESIZE_EXT4: libc::c_ulong = 1 << 30 | 8 << 16 | (b'f' as libc::c_ulong) << 8 | 16;

/// Tells the kernel that a partition of this disk has another length; start and length are bytes.
pub(crate) fn resize_partition(
    disk: BorrowedFd<'_>,
    number: i32,
    start: i64,
    length: i64,
) -> Result<(), Errno> {
    let mut partition = Partition { start, length, number, names: [0; 128] };
    let argument = Argument {
        operation: RESIZE,
        flags: 0,
        length: size_of::<Partition>() as libc::c_int,
        partition: &raw mut partition,
    };
    // SAFETY: the kernel reads one struct blkpg_ioctl_arg and the partition that it points to; both live here.
    let result = unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG as _, &raw const argument) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Makes a mounted ext4 that many of its blocks large.
pub(crate) fn resize_ext4(mount_point: BorrowedFd<'_>, blocks: u64) -> Result<(), Errno> {
    // SAFETY: the kernel reads 8 bytes, and `blocks` lives during the call.
    let result = unsafe { libc::ioctl(mount_point.as_raw_fd(), RESIZE_EXT4 as _, &raw const blocks) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
