//! Other contents for the supplies of a container that runs.
//!
//! The files that a container sees are those of a file system in RAM, read-only and one by one. Who has kept that
//! file system from the start on ([`crate::Held::scratch`]) can write to them: the mounts of a container are of files,
//! not of names, so each is written in place.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, ftruncate, openat};
use rustix::io::{Errno, pwrite};

use crate::spec::Supply;

/// Path in the scratch tmpfs of a supply by its number.
pub(crate) fn place(number: usize) -> String {
    format!("supplies/{number}")
}

/// Writes new contents; the supplies are those of the start, in the same order. Owners and modes stay. A reader may see
/// the old and the new at once while it is written.
///
/// # Errors
/// There is no such supply, or no room.
pub fn resupply(scratch: impl AsFd, supplies: &[Supply]) -> io::Result<()> {
    for (number, supply) in supplies.iter().enumerate() {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&scratch, place(number), flags, Mode::empty())?;
        let mut at = 0;
        while let Some(rest) = supply.contents.get(at..).filter(|rest| !rest.is_empty()) {
            match pwrite(&file, rest, at as u64)? {
                0 => return Err(Errno::IO.into()),
                written => at += written,
            }
        }
        ftruncate(&file, at as u64)?;
    }
    Ok(())
}
