//! One writer at a time, over processes: flock(2) on a file of the store. A killed process holds no lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::fault::{DepotError, cannot};

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub struct Guard(#[expect(dead_code, reason = "its closing gives the lock back")] Option<File>);

/// Waits for the lock; `waiting` is called once when somebody has it.
pub fn lock(path: &Path, exclusive: bool, waiting: impl FnOnce()) -> Result<Guard, DepotError> {
    let mut options = OpenOptions::new();
    let file = match options.read(true).write(true).create(true).truncate(false).open(path) {
        // A store on a read-only disk has no writers.
        Err(error) if !exclusive && error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            return Ok(Guard(None));
        }
        file => file.map_err(cannot("lock", path))?,
    };
    let (now, wait) = match exclusive {
        true => (FlockOperation::NonBlockingLockExclusive, FlockOperation::LockExclusive),
        false => (FlockOperation::NonBlockingLockShared, FlockOperation::LockShared),
    };
    let mut result = flock(&file, now);
    if result == Err(Errno::WOULDBLOCK) {
        waiting();
        result = flock(&file, wait);
        while result == Err(Errno::INTR) {
            result = flock(&file, wait);
        }
    }
    result.map_err(|error| cannot("lock", path)(error.into()))?;
    Ok(Guard(Some(file)))
}
