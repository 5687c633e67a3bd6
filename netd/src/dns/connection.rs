//! DNS over TCP: messages with their length before them, in both directions, without blocking (RFC 7766).

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::PollFlags;

/// Bytes that may wait for a slow reader.
const OUTBOX_MAX: usize = 128 << 10;
/// Bytes read before the others have their turn.
const BURST: usize = 16 << 10;

/// One connection, to a container or to an upstream.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Connection {
    /// An accepted connection.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, inbox: Vec::new(), outbox: Vec::new() })
    }

    /// A connection that is being made; `message` is sent once it is.
    pub fn connecting(stream: TcpStream, message: &[u8]) -> io::Result<Self> {
        let mut connection = Self { stream, inbox: Vec::new(), outbox: Vec::new() };
        connection.queue(message)?;
        Ok(connection)
    }

    /// What to wait for. A peer that does not read is not read from either.
    pub fn interest(&self) -> PollFlags {
        if self.outbox.is_empty() { PollFlags::IN } else { PollFlags::OUT }
    }

    /// Sends a message, or as much of it as goes now.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.queue(message)?;
        self.flush()
    }

    /// Writes what waits, reads what came and returns the whole messages in it.
    ///
    /// # Errors
    /// The connection is of no use any more: closed, broken, or a message is longer than `max`.
    pub fn exchange(&mut self, max: usize) -> io::Result<Vec<Vec<u8>>> {
        self.flush()?;
        let mut buffer = [0; BURST];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.inbox.extend(buffer.get(..length).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        self.take_messages(max)
    }

    fn take_messages(&mut self, max: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        while let Some((length, rest)) = self.inbox.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes(*length));
            if length > max {
                return Err(ErrorKind::InvalidData.into());
            }
            let Some(message) = rest.get(..length) else { break };
            messages.push(message.to_vec());
            self.inbox.drain(..length + 2);
        }
        Ok(messages)
    }

    fn queue(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u16::try_from(message.len()).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        if self.outbox.len() + message.len() > OUTBOX_MAX {
            return Err(ErrorKind::OutOfMemory.into());
        }
        self.outbox.extend(length.to_be_bytes());
        self.outbox.extend(message);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => drop(self.outbox.drain(..length)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
