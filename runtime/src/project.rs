//! Projects: directory trees whose files a file system counts and limits together (ext4's project quota).
//!
//! A directory with a project hands it on to what is made in it; the kernel keeps the sum and the limits in the file
//! system itself, so that they hold over power cuts without anybody counting.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::sys::quota::{self, Dqblk, LIMITS, PROJECT_INHERIT};

/// For each so many bytes of its size a project may have one file more: what holds data is stopped by its size first,
/// and empty files cannot take all inodes of the file system.
const BYTES_PER_FILE: u64 = 4096;

/// What a project has and may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on the disk.
    pub used: u64,
    /// Files, directories and links.
    pub files: u64,
    /// Bytes; none is unlimited.
    pub limit: Option<u64>,
}

/// The project of an open file or directory; 0 is none.
///
/// # Errors
/// ioctl_fsgetxattr(2); ENOTTY and EOPNOTSUPP where the file system knows no projects.
pub fn project_of(file: impl AsFd) -> Result<u32, Errno> {
    Ok(quota::attributes(file.as_fd())?.project)
}

/// Puts an open directory, and whatever will be made in it, into a project. What is in it already stays where it is.
///
/// # Errors
/// ioctl_fsgetxattr(2), ioctl_fssetxattr(2).
pub fn set_project(directory: impl AsFd, project: u32) -> Result<(), Errno> {
    let directory = directory.as_fd();
    let mut attributes = quota::attributes(directory)?;
    if attributes.project == project && attributes.flags & PROJECT_INHERIT != 0 {
        return Ok(());
    }
    attributes.project = project;
    attributes.flags |= PROJECT_INHERIT;
    quota::set_attributes(directory, &attributes)
}

/// What a project takes of the file system that `file` is on.
///
/// # Errors
/// quotactl_fd(2); ESRCH where project quota is not on.
pub fn usage(file: impl AsFd, project: u32) -> Result<Usage, Errno> {
    let quota = match quota::project_quota(file.as_fd(), project) {
        // Nobody has ever used this project.
        Err(Errno::NOENT) => Dqblk::default(),
        result => result?,
    };
    let limit = (quota.block_hard > 0).then(|| quota.block_hard.saturating_mul(1024));
    Ok(Usage { used: quota.space, files: quota.inodes, limit })
}

/// Limits a project to so many bytes, rounded up to KiB, and to a number of files that goes with them.
///
/// # Errors
/// quotactl_fd(2); ESRCH where project quota is not on.
pub fn set_limit(file: impl AsFd, project: u32, limit: Option<u64>) -> Result<(), Errno> {
    let blocks = limit.map_or(0, |bytes| bytes.div_ceil(1024).max(1));
    let files = limit.map_or(0, |bytes| (bytes / BYTES_PER_FILE).max(1));
    let quota = Dqblk { block_hard: blocks, inode_hard: files, valid: LIMITS, ..Dqblk::default() };
    quota::set_project_quota(file.as_fd(), project, &quota)
}
