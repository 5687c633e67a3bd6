//! Connections of the control socket: bytes in, calls out, replies back. What a call does is not decided here.
//!
//! Only root can connect (mode 0600, checked by the kernel). Even so every client is bounded in what it may send
//! and in what may wait for it, and none can make the supervisor wait.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_units::Private;
use berth_units::wire::control::{Call, Fault, MESSAGE_MAX, parse_call};
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// The longest call, bytes: an exec with a long command line fits.
const CALL_MAX: usize = 256 << 10;
/// The same of one client at a time: a unit set of a thousand files fits.
const LONG_MAX: usize = MESSAGE_MAX;
/// Clients at the same time.
const CLIENTS_MAX: usize = 64;
/// Calls taken of one client before the others get their turn, and replies that may wait for it.
const REPLIES_MAX: usize = 8 << 20;

/// All connected clients.
#[derive(Debug, Default)]
pub struct Clients {
    all: BTreeMap<u64, Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What a client has asked.
#[derive(Debug)]
pub enum Asked {
    /// A call, and whether the client wants the connection upgraded.
    Call(Call, bool),
    /// Something that is no call: the reply says why.
    Fault(Fault),
    /// Nothing whole yet.
    Nothing,
    /// It is gone.
    Gone,
}

impl Clients {
    /// Takes a connection in; `None` when there are too many.
    pub fn add(&mut self, socket: OwnedFd) -> Option<u64> {
        if self.all.len() >= CLIENTS_MAX {
            return None;
        }
        self.next += 1;
        self.all.insert(self.next, Client { socket, input: Vec::new(), output: Vec::new() });
        Some(self.next)
    }

    /// Forgets a client; its connection, for an upgrade.
    pub fn remove(&mut self, client: u64) -> Option<OwnedFd> {
        self.all.remove(&client).map(|client| client.socket)
    }

    /// The connection, to wait for it.
    pub fn socket(&self, client: u64) -> Option<BorrowedFd<'_>> {
        self.all.get(&client).map(|client| client.socket.as_fd())
    }

    /// Reads what a client has sent, up to the end of its first call and not a byte further: what follows may belong
    /// to the session process that gets the connection.
    pub fn receive(&mut self, client: u64) -> Asked {
        let others = self.all.iter().filter(|(number, _)| **number != client);
        let taken = others.map(|(_, other)| other.input.len()).any(|len| len > CALL_MAX);
        let Some(client) = self.all.get_mut(&client) else {
            return Asked::Gone;
        };
        match client.read_call(if taken { CALL_MAX } else { LONG_MAX }) {
            Ok(Some(call)) => match parse_call(call.bytes()) {
                Ok((call, upgrade)) => Asked::Call(call, upgrade),
                Err(fault) => Asked::Fault(fault),
            },
            Ok(None) => Asked::Nothing,
            Err(_) => Asked::Gone,
        }
    }

    /// Queues a reply and sends what the socket takes.
    pub fn reply(&mut self, client: u64, reply: &Reply) -> Sent {
        let Some(known) = self.all.get_mut(&client) else {
            return Sent::Gone;
        };
        known.output.extend_from_slice(&reply.0);
        self.send(client, &[0])
    }

    /// Queues bytes and sends what the socket takes.
    pub fn send(&mut self, client: u64, bytes: &[u8]) -> Sent {
        let Some(client) = self.all.get_mut(&client) else {
            return Sent::Gone;
        };
        client.output.extend_from_slice(bytes);
        if client.output.len() > REPLIES_MAX { Sent::Gone } else { client.flush() }
    }

    /// Sends what waits.
    pub fn flush(&mut self, client: u64) -> Sent {
        self.all.get_mut(&client).map_or(Sent::Gone, Client::flush)
    }
}

/// How far sending is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Everything.
    All,
    /// The rest waits for room.
    Some,
    /// The client is gone.
    Gone,
}

/// A reply as it travels.
#[derive(Debug)]
pub struct Reply(Vec<u8>);

impl Reply {
    /// `{"parameters": …}`.
    pub fn parameters(value: &impl serde::Serialize) -> Self {
        let text = serde_json::to_vec(&serde_json::json!({ "parameters": value }));
        Self(text.unwrap_or_else(|_| b"{}".to_vec()))
    }

    /// `{"error": …, "parameters": …}`.
    pub fn fault(fault: &Fault) -> Self {
        Self(serde_json::to_vec(fault).unwrap_or_else(|_| b"{}".to_vec()))
    }
}

impl Client {
    fn read_call(&mut self, most: usize) -> io::Result<Option<Private>> {
        let mut buffer = [0; 4096];
        loop {
            let flags = RecvFlags::DONTWAIT;
            let peeked = match recv(&self.socket, &mut buffer[..], flags | RecvFlags::PEEK) {
                Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((_, len)) => len,
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let seen = buffer.get(..peeked).unwrap_or_default();
            let end = seen.iter().position(|byte| *byte == 0);
            let take = end.map_or(peeked, |at| at + 1);
            let Some(room) = buffer.get_mut(..take) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let (_, taken) = recv(&self.socket, room, flags)?;
            self.input.extend_from_slice(buffer.get(..taken).unwrap_or_default());
            if self.input.len() > most {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if end.is_some() {
                self.input.pop();
                // It may hold a secret.
                return Ok(Some(std::mem::take(&mut self.input).into()));
            }
        }
    }

    fn flush(&mut self) -> Sent {
        while !self.output.is_empty() {
            match send(&self.socket, &self.output, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(rustix::io::Errno::AGAIN) => return Sent::Some,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Sent::Gone,
            }
        }
        Sent::All
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (Clients, u64, OwnedFd) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let mut clients = Clients::default();
        let client = clients.add(ours).unwrap();
        (clients, client, theirs)
    }

    fn write(fd: &OwnedFd, bytes: &[u8]) {
        assert_eq!(rustix::io::write(fd, bytes), Ok(bytes.len()));
    }

    #[test]
    fn calls_come_whole_and_nothing_beyond_is_read() {
        let (mut clients, client, theirs) = pair();
        write(&theirs, br#"{"method":"io.berth.Con"#);
        assert!(matches!(clients.receive(client), Asked::Nothing));
        write(&theirs, b"trol.Status\"}\0rest");
        assert!(matches!(clients.receive(client), Asked::Call(Call::Status {}, false)));
        let socket = clients.remove(client).unwrap();
        let mut rest = [0; 16];
        assert_eq!(rustix::io::read(&socket, &mut rest), Ok(4));
        assert_eq!(&rest[..4], b"rest");
    }

    #[test]
    fn a_client_cannot_send_without_end() {
        let (mut clients, client, theirs) = pair();
        rustix::io::ioctl_fionbio(&theirs, true).unwrap();
        let gone = (0..1000).any(|_| {
            let _full = rustix::io::write(&theirs, &[b'x'; 65536]);
            matches!(clients.receive(client), Asked::Gone)
        });
        assert!(gone);
    }
}
