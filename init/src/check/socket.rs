//! A TCP connection that is made without waiting for it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, getpeername, recv, send,
    socket_with, sockopt,
};

/// A connection under way or made, with what is still to be sent through it.
pub struct Connection {
    socket: OwnedFd,
    is_open: bool,
    output: Vec<u8>,
}

impl Connection {
    /// Begins to connect, to send `output` then.
    ///
    /// # Errors
    /// It failed at once: nobody listens there.
    pub fn open(address: Ipv4Addr, port: u16, output: Vec<u8>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match connect(&socket, &SocketAddrV4::new(address, port)) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(Self { socket, is_open: false, output }),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it had been made when it was looked at last.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Sends what can be; `false` while there is no connection.
    ///
    /// # Errors
    /// There will be none: refused, unreachable.
    pub fn advance(&mut self) -> io::Result<bool> {
        if !self.is_open {
            sockopt::socket_error(&self.socket)??;
            self.is_open = match getpeername(&self.socket) {
                Ok(_) => true,
                Err(Errno::NOTCONN) => false,
                Err(error) => return Err(error.into()),
            };
        }
        if self.is_open {
            self.send();
        }
        Ok(self.is_open)
    }

    /// Adds to what is to be sent.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// A server that takes no more may have answered: what is left is dropped.
    fn send(&mut self) {
        while !self.output.is_empty() {
            match send(&self.socket, &self.output, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.output.clear(),
            }
        }
    }

    /// What has come: `None` when nothing has, no bytes at the end of it.
    ///
    /// # Errors
    /// recv(2).
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, Errno> {
        let len = loop {
            match recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((_, len)) => break len,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        };
        Ok(Some(buffer.get(..len).unwrap_or_default()))
    }

    /// What to wait for: until it is made, something comes, or it can take more.
    pub fn fd(&self) -> PollFd<'_> {
        let input = if self.is_open { PollFlags::IN } else { PollFlags::empty() };
        let output = if self.is_open && self.output.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        PollFd::new(&self.socket, input | output)
    }
}
