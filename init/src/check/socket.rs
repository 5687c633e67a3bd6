//! A TCP connection that is made without waiting for it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, getpeername, socket_with, sockopt};

/// A connection under way or made.
pub struct Connection(OwnedFd);

impl Connection {
    /// Begins to connect.
    ///
    /// # Errors
    /// It failed at once: nobody listens there.
    pub fn open(address: Ipv4Addr, port: u16) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match connect(&socket, &SocketAddrV4::new(address, port)) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(Self(socket)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it has been made.
    ///
    /// # Errors
    /// It will not be: refused, unreachable.
    pub fn is_open(&self) -> io::Result<bool> {
        sockopt::socket_error(&self.0)??;
        match getpeername(&self.0) {
            Ok(_) => Ok(true),
            Err(Errno::NOTCONN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// To wait until it is made, or can take more.
    pub fn writable(&self) -> PollFd<'_> {
        PollFd::new(&self.0, PollFlags::OUT)
    }

    /// To wait until something comes or it can take more.
    pub fn either(&self) -> PollFd<'_> {
        PollFd::new(&self.0, PollFlags::IN | PollFlags::OUT)
    }

    /// To wait until something comes.
    pub fn readable(&self) -> PollFd<'_> {
        PollFd::new(&self.0, PollFlags::IN)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
