//! Bytes between a pipe and the log: a file in RAM that splice(2) fills.
//!
//! The kernel moves bytes from the pipe to the file within one call, and counts those as consumed that it has
//! written: a process killed at any moment leaves every byte in exactly one of the two. Offsets only grow; what is
//! in the log is given back as holes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

/// Bytes that may wait for a log that cannot be written.
pub const SPOOL_MAX: u64 = 1 << 20;
/// Bytes taken from a pipe in one turn.
const TURN: usize = 256 << 10;
/// Memory is given back in pieces of this many bytes at least.
const HOLE_MIN: u64 = 16 << 10;

/// What a pipe gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Bytes, now spooled.
    Some,
    /// Nothing for now.
    Nothing,
    /// Nothing ever more.
    End,
    /// That many bytes, which had no room and are lost.
    Lost(u64),
}

/// One stream's spool.
#[derive(Debug)]
pub struct Spool {
    file: File,
    /// Everything before is in the log.
    start: u64,
    /// Everything before has been taken from the pipe.
    end: u64,
    /// Everything before, down to a page, is a hole.
    freed: u64,
}

impl Spool {
    /// Opens or makes it; `start` as the checkpoint has it.
    pub fn open(path: &Path, start: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let end = file.metadata()?.len();
        Ok(Self { file, start: start.min(end), end, freed: 0 })
    }

    /// Position up to which lines are in the log.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Bytes that wait for the log.
    pub fn waiting(&self) -> u64 {
        self.end - self.start
    }

    /// Nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Moves bytes from the pipe. One that finds no memory reads and loses them instead: an app must go on.
    pub fn fill(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Taken> {
        let mut offset = self.end;
        match splice(pipe, None, &self.file, Some(&mut offset), TURN, SpliceFlags::NONBLOCK) {
            Ok(0) => Ok(Taken::End),
            Ok(count) => {
                self.end += u64::try_from(count).unwrap_or(0);
                Ok(Taken::Some)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Taken::Nothing),
            Err(Errno::NOSPC | Errno::NOMEM) => lose(pipe),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of the oldest bytes until no more than [`SPOOL_MAX`] wait; how many were lost.
    pub fn shrink(&mut self) -> u64 {
        let waiting = self.end - self.start;
        let lost = if waiting > SPOOL_MAX { waiting - SPOOL_MAX / 2 } else { 0 };
        self.advance(lost);
        lost
    }

    /// The first bytes that wait, as many as `buffer` takes, and whether these are all.
    pub fn peek<'a>(&self, buffer: &'a mut [u8]) -> io::Result<(&'a [u8], bool)> {
        let waiting = usize::try_from(self.end - self.start).unwrap_or(usize::MAX);
        let len = waiting.min(buffer.len());
        let part = buffer.get_mut(..len).unwrap_or_default();
        self.file.read_exact_at(part, self.start)?;
        Ok((part, len == waiting))
    }

    /// That many bytes are in the log; call [`Self::free`] when the checkpoint says so too.
    pub fn advance(&mut self, count: u64) {
        self.start = self.end.min(self.start + count);
    }

    /// Gives memory back. A kernel that cannot only costs memory.
    pub fn free(&mut self) {
        if self.start - self.freed >= HOLE_MIN {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if fallocate(&self.file, flags, self.freed, self.start - self.freed).is_ok() {
                self.freed = self.start - self.start % 4096;
            }
        }
    }
}

/// Reads and forgets.
pub fn lose(pipe: BorrowedFd<'_>) -> io::Result<Taken> {
    let mut buffer = [0; 16 << 10];
    match rustix::io::read(pipe, &mut buffer) {
        Ok(0) => Ok(Taken::End),
        Ok(count) => Ok(Taken::Lost(u64::try_from(count).unwrap_or(0))),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Taken::Nothing),
        Err(error) => Err(error.into()),
    }
}
