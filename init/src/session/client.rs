//! The client's connection: frames in, frames out, neither without bound.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_units::wire::session::{FRAME_MAX, HEADER_LEN, Kind, decode, encode};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Bytes for the client that may wait: over it nothing more is read for it.
const OUT_MAX: usize = 256 << 10;
/// Bytes read from the client at once.
const READ: usize = 64 << 10;

/// The connection and what waits on either way.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Bytes of `outgoing` that are sent.
    sent: usize,
}

impl Client {
    /// Takes over an upgraded connection.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, incoming: Vec::new(), outgoing: Vec::new(), sent: 0 })
    }

    /// Frames for the client wait for it to read.
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// There is room for another frame.
    pub fn has_room(&self) -> bool {
        self.outgoing.len() - self.sent < OUT_MAX
    }

    /// Queues a frame.
    pub fn push(&mut self, kind: Kind, payload: &[u8]) {
        encode(kind, payload, &mut self.outgoing);
    }

    /// Sends what the client takes for now.
    ///
    /// # Errors
    /// The client is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match send(&self.socket, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => self.sent += count,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(())
    }

    /// Sends everything, however long the client takes.
    ///
    /// # Errors
    /// The client is gone.
    pub fn flush_all(&mut self) -> io::Result<()> {
        self.flush()?;
        while self.has_outgoing() {
            let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
            rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
            self.flush()?;
        }
        Ok(())
    }

    /// Sends the last frame.
    pub fn finish(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        self.push(kind, payload.get(..FRAME_MAX).unwrap_or(payload));
        self.flush_all()
    }

    /// Reads what the client has sent, once.
    ///
    /// # Errors
    /// `UnexpectedEof` when the client is gone.
    pub fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; READ];
        match recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, len)) => {
                self.incoming.extend_from_slice(buffer.get(..len).unwrap_or_default());
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands every whole frame to `take`, as long as it wants more.
    ///
    /// # Errors
    /// `InvalidData` for a frame that cannot be.
    pub fn take_frames(&mut self, mut take: impl FnMut(Kind, &[u8]) -> bool) -> io::Result<()> {
        let mut used = 0;
        let mut wants_more = true;
        while wants_more
            && let Some((kind, payload, len)) =
                decode(self.incoming.get(used..).unwrap_or_default()).map_err(io::Error::other)?
        {
            wants_more = take(kind, payload);
            used += len;
        }
        self.incoming.drain(..used);
        Ok(())
    }

    /// More than a frame waits already: nothing is to be read until it is taken.
    pub fn is_full(&self) -> bool {
        self.incoming.len() >= FRAME_MAX + HEADER_LEN
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
