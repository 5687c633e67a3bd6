//! Bytes on their way to a descriptor that may not take them now.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use rustix::io::{self, Errno};

/// A queue of bytes.
#[derive(Debug, Default)]
pub struct Pending(VecDeque<u8>);

impl Pending {
    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    #[cfg(test)]
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.iter().copied().collect()
    }

    /// Writes once, at most `most` bytes, and returns how many were taken; 0 when the descriptor takes none now.
    pub fn write_to(&mut self, fd: impl AsFd, most: usize) -> io::Result<usize> {
        let front = self.0.as_slices().0;
        let front = front.get(..most).unwrap_or(front);
        if front.is_empty() {
            return Ok(0);
        }
        match io::write(fd, front) {
            Ok(taken) => {
                self.0.drain(..taken.min(self.0.len()));
                Ok(taken)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error),
        }
    }
}
