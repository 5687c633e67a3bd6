//! The root that a container sees, from outside.

use std::io;
use std::os::fd::OwnedFd;

use berth_runtime::start_time;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

/// Whose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RootSpec {
    /// Its first process.
    pub pid: i32,
    /// That one's start time: a pid that was given to somebody else is refused.
    pub start_time: u64,
}

impl RootSpec {
    /// Opens it, with all that is mounted there.
    ///
    /// # Errors
    /// The container has ended.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, format!("/proc/{}/root", self.pid), flags, Mode::empty())?;
        // After the look-up by pid: what was opened is the container's as long as the pid still is.
        match start_time(self.pid)? == self.start_time {
            true => Ok(root),
            false => Err(io::Error::new(io::ErrorKind::NotFound, "it has just ended")),
        }
    }
}
