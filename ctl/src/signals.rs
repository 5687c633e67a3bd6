//! Signals as something to read: blocked, and taken from a descriptor in the poll loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

pub use nix::sys::signal::Signal;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// A set of signals that no longer interrupt. Dropping it lets them through again.
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Takes these signals.
    pub fn take(signals: &[Signal]) -> io::Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { fd, before })
    }

    /// To wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The next signal that has come.
    pub fn next(&self) -> Option<Signal> {
        let info = self.fd.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.before.thread_set_mask().unwrap_or_default();
    }
}
