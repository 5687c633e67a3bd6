//! The user's terminal in raw mode, and its size.

use std::io::{self, Stdin};
use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Standard input in raw mode; the mode before it comes back when this is dropped.
pub struct Raw {
    stdin: Stdin,
    before: Termios,
}

impl Raw {
    /// Turns off echo, line editing and signals: the terminal inside does all that.
    pub fn of_stdin() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone; there is nobody left to tell.
        tcsetattr(&self.stdin, OptionalActions::Drain, &self.before).unwrap_or_default();
    }
}

/// Rows and columns of a terminal.
pub fn size_of(fd: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(fd).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
