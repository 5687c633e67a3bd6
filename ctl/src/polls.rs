//! One poll(2) over named descriptors.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Descriptors to wait for, each with a token that says whose it is.
pub struct Polls<'fd, T> {
    fds: Vec<PollFd<'fd>>,
    tokens: Vec<T>,
}

impl<'fd, T> Polls<'fd, T> {
    /// Nothing to wait for yet.
    pub fn new() -> Self {
        Self { fds: Vec::new(), tokens: Vec::new() }
    }

    /// Waits for `flags` of `fd` too. With no flags it is left out: poll(2) would report a hang-up for ever.
    pub fn add(&mut self, token: T, fd: BorrowedFd<'fd>, flags: PollFlags) {
        if !flags.is_empty() {
            self.fds.push(PollFd::from_borrowed_fd(fd, flags));
            self.tokens.push(token);
        }
    }

    /// Waits until something is ready or `timeout` is over; `None` waits for ever. A signal is no error.
    pub fn wait(mut self, timeout: Option<Duration>) -> io::Result<Vec<(T, PollFlags)>> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut self.fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = self.tokens.into_iter().zip(self.fds.iter().map(PollFd::revents));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }
}
