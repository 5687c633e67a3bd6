//! Disks that have become larger: the kernel's partition and a mounted ext4 follow while they are in use.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::sys;

/// Tells the kernel that partition `number` of a disk begins at `start` as before and is now `length` bytes long. What
/// is mounted from it stays so. EBUSY: it would overlap another one.
pub fn resize_partition(disk: impl AsFd, number: i32, start: u64, length: u64) -> Result<(), Errno> {
    let small = |value| i64::try_from(value).map_err(|_| Errno::OVERFLOW);
    sys::disk::resize_partition(disk.as_fd(), number, small(start)?, small(length)?)
}

/// Makes a mounted ext4 that many of its blocks large; nothing happens when it is. It can be used meanwhile, and a
/// power cut in the middle leaves one that is somewhere between the two sizes. `mount_point` is any directory of it.
pub fn resize_ext4(mount_point: impl AsFd, blocks: u64) -> Result<(), Errno> {
    sys::disk::resize_ext4(mount_point.as_fd(), blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn what_is_no_disk_is_refused() {
        let directory = File::open("/proc").unwrap();
        assert_eq!(resize_partition(&directory, 1, 0, 512), Err(Errno::NOTTY));
        assert_eq!(resize_partition(&directory, 1, u64::MAX, 512), Err(Errno::OVERFLOW));
        assert_eq!(resize_ext4(&directory, 1), Err(Errno::NOTTY));
    }
}
