//! A call to the node that does not stop the poll loop: over a connection of our own through the port.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use berth_units::wire::control::Call;
use rustix::io::Errno;

use crate::mux::Mux;
use crate::varlink;

/// A call under way.
pub struct Question {
    stream: UnixStream,
    inbox: Vec<u8>,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    NotYet,
    /// The reply, to be parsed.
    Reply(Vec<u8>),
    /// The node closed the connection: its supervisor is not there now.
    Closed,
}

impl Question {
    /// Asks. The call is shorter than a socket's buffer, so it is written at once.
    pub fn ask(mux: &mut Mux, call: &Call) -> io::Result<Self> {
        let (inner, mut stream) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        stream.write_all(&varlink::encode(call, false)?)?;
        mux.open(inner)?;
        Ok(Self { stream, inbox: Vec::new() })
    }

    /// To wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Reads what there is.
    pub fn on_ready(&mut self) -> Answer {
        let mut buffer = [0; 16 << 10];
        match rustix::io::read(&self.stream, &mut buffer) {
            Ok(0) => return Answer::Closed,
            Ok(len) => self.inbox.extend_from_slice(buffer.get(..len).unwrap_or(&[])),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Answer::Closed,
        }
        match varlink::split(&mut self.inbox) {
            Ok(Some(reply)) => Answer::Reply(reply),
            Ok(None) => Answer::NotYet,
            Err(_) => Answer::Closed,
        }
    }
}
