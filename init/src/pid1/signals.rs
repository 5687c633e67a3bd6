//! Signals as something to read: all are blocked, the few that mean something arrive through a signalfd(2).

use std::os::fd::{AsFd, BorrowedFd};

use berth_units::wire::control::Then;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Those that are listened to, and what is asked for by them.
const ASKED: &[(Signal, Asked)] = &[
    (Signal::SIGCHLD, Asked::Reap),
    // Ctrl-Alt-Del, once reboot(2) has been told so.
    (Signal::SIGINT, Asked::End(Then::Reboot)),
    (Signal::SIGTERM, Asked::End(Then::Poweroff)),
    // A failing power supply (power(7) daemons), and what `poweroff` programs send.
    (Signal::SIGPWR, Asked::End(Then::Poweroff)),
    (Signal::SIGUSR2, Asked::End(Then::Poweroff)),
];

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A child has ended.
    Reap,
    /// The node is to end.
    End(Then),
}

/// The source of signals.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks every signal for good and opens the descriptor.
    pub fn open() -> nix::Result<Self> {
        SigSet::all().thread_block()?;
        let mask: SigSet = ASKED.iter().map(|(signal, _)| *signal).collect();
        Ok(Self(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next one, if any is pending.
    pub fn read(&self) -> Option<Asked> {
        let number = self.0.read_signal().ok()??.ssi_signo;
        let known = |signal: &Signal| u32::try_from(*signal as i32) == Ok(number);
        ASKED.iter().find(|(signal, _)| known(signal)).map(|(_, asked)| *asked)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
