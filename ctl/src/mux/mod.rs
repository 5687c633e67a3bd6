//! Both ends of the virtio-serial port: many connections over one stream, each with a window of its own.
//!
//! `berth run` has the host's end and opens connections, `berth relay` has the node's and answers them with
//! connections to the control socket. The records are those of [`berth_units::wire::mux`].
//!
//! Memory is bounded: [`CONNECTIONS_MAX`] connections, each with at most a window of bytes that its reader has not
//! taken, and [`QUEUE_MAX`] bytes on their way to the port.

mod connection;
mod link;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use berth_units::wire::mux::Kind;
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::polls::Polls;
use connection::{Connection, Verdict};
use link::{Incoming, Link};

/// Connections at one time.
pub const CONNECTIONS_MAX: usize = 32;

/// While so many bytes wait for the port, nothing is read from the connections.
const QUEUE_MAX: usize = 128 << 10;

/// Honest ends never have so many bytes waiting: one that asks on and on and reads no answer is started anew with.
const QUEUE_LIMIT: usize = 1 << 20;

/// How a request for a connection is met on the node.
pub type Dial = Box<dyn Fn() -> io::Result<UnixStream>>;

/// Whose descriptor is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The port.
    Link,
    /// A connection.
    Connection(u32),
}

/// What became of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// It works.
    Open,
    /// The other side is not there.
    HungUp,
}

/// The connections and the stream that carries them.
pub struct Mux {
    port: OwnedFd,
    link: Link,
    /// `None` on the host: it is never asked for a connection.
    dial: Option<Dial>,
    connections: BTreeMap<u32, Connection>,
    #[cfg(any(feature = "builder", test))]
    next: u32,
    /// Grows with every fresh start that was agreed on.
    epoch: u64,
}

impl Mux {
    /// The end that opens connections. `port` does not block.
    #[cfg(any(feature = "builder", test))]
    pub fn host(port: OwnedFd) -> Self {
        Self::new(port, None)
    }

    /// The end that answers them with what `dial` returns. `port` does not block.
    pub fn node(port: OwnedFd, dial: Dial) -> Self {
        Self::new(port, Some(dial))
    }

    fn new(port: OwnedFd, dial: Option<Dial>) -> Self {
        Self {
            port,
            link: Link::new(nonce()),
            dial,
            connections: BTreeMap::new(),
            #[cfg(any(feature = "builder", test))]
            next: 1,
            epoch: 0,
        }
    }

    /// Starts anew after the other side had gone away.
    pub fn restart(&mut self) {
        self.connections.clear();
        self.link = Link::new(nonce());
    }

    /// Whether connections can be opened: both sides know of each other, and there is room.
    #[cfg(feature = "builder")]
    pub fn has_room(&self) -> bool {
        self.link.is_answered() && self.connections.len() < CONNECTIONS_MAX
    }

    /// Whether both sides know of each other.
    pub fn is_answered(&self) -> bool {
        self.link.is_answered()
    }

    /// Asks the other side again, while it has not answered.
    pub fn ask_again(&mut self) {
        self.link.ask_again();
    }

    /// A number that changes when all connections were lost.
    #[cfg(any(feature = "builder", test))]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The port.
    pub fn port(&self) -> &OwnedFd {
        &self.port
    }

    /// Carries a stream to the other side.
    #[cfg(any(feature = "builder", test))]
    pub fn open(&mut self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let number = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        self.link.send(number, Kind::Open, &[]);
        self.connections.insert(number, Connection::new(stream));
        Ok(())
    }

    /// Adds the connections to what is waited for, and the port if it is `with_port`.
    pub fn watch<'a, T>(&'a self, polls: &mut Polls<'a, T>, with_port: bool, token: impl Fn(Source) -> T) {
        if with_port {
            let write = if self.link.queued() > 0 { PollFlags::OUT } else { PollFlags::empty() };
            polls.add(token(Source::Link), self.port.as_fd(), PollFlags::IN | write);
        }
        let may_read = self.link.queued() < QUEUE_MAX;
        for (number, connection) in &self.connections {
            polls.add(token(Source::Connection(*number)), connection.fd(), connection.interest(may_read));
        }
    }

    /// Does what a ready descriptor allows.
    pub fn on_ready(&mut self, source: Source, flags: PollFlags) -> io::Result<Port> {
        match source {
            Source::Link => return self.on_port(flags),
            Source::Connection(number) => {
                if let Some(connection) = self.connections.get_mut(&number)
                    && connection.on_ready(number, flags, &mut self.link) == Verdict::Over
                {
                    self.connections.remove(&number);
                }
            }
        }
        Ok(Port::Open)
    }

    fn on_port(&mut self, flags: PollFlags) -> io::Result<Port> {
        if flags.contains(PollFlags::OUT) {
            self.write_port()?;
        }
        if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return self.read_port();
        }
        Ok(Port::Open)
    }

    fn write_port(&mut self) -> io::Result<()> {
        let front = self.link.front();
        if front.is_empty() {
            return Ok(());
        }
        match rustix::io::write(&self.port, front) {
            Ok(len) => self.link.wrote(len),
            // A reader that is gone shows when reading.
            Err(Errno::AGAIN | Errno::INTR | Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn read_port(&mut self) -> io::Result<Port> {
        let mut buffer = [0; 32 << 10];
        let len = match rustix::io::read(&self.port, &mut buffer) {
            Ok(0) | Err(Errno::PIPE | Errno::CONNRESET) => return Ok(Port::HungUp),
            Ok(len) => len,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Port::Open),
            Err(error) => return Err(error.into()),
        };
        self.link.feed(buffer.get(..len).unwrap_or(&[]));
        while let Some(incoming) = self.link.next() {
            self.take(incoming);
        }
        if self.link.queued() > QUEUE_LIMIT {
            let gone = self.link.start_anew();
            self.take(gone);
        }
        Ok(Port::Open)
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Gone => {
                self.connections.clear();
                self.epoch += 1;
            }
            Incoming::Record(number, Kind::Open, _) => self.answer_open(number),
            Incoming::Record(number, kind, payload) => {
                if let Some(connection) = self.connections.get_mut(&number)
                    && connection.take(number, kind, &payload, &mut self.link) == Verdict::Over
                {
                    self.connections.remove(&number);
                }
            }
        }
    }

    fn answer_open(&mut self, number: u32) {
        self.connections.remove(&number);
        let room = self.connections.len() < CONNECTIONS_MAX;
        let dialled = self.dial.as_ref().filter(|_| room).and_then(|dial| dial().ok());
        match dialled {
            Some(stream) if stream.set_nonblocking(true).is_ok() => {
                self.connections.insert(number, Connection::new(stream));
            }
            _ => self.link.send(number, Kind::Close, &[]),
        }
    }
}

/// Differs from one start to the next: the seed of the standard library's hash maps, which is random.
fn nonce() -> u64 {
    RandomState::new().build_hasher().finish()
}
