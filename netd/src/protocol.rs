//! The supervisor's side of [`berth_units::wire::net`]: packets on descriptor 3, whole or not at all.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_units::wire::PACKET_MAX;
use berth_units::wire::net::{Reply, Request};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags,
    SocketType, recv, recvmsg, sendmsg, sockopt,
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Where the supervisor's end is inherited.
const INHERITED: i32 = 3;
/// Descriptors beside one packet; one is enough.
const FDS_MAX: usize = 4;
/// Answers that wait for a supervisor that does not read. It may be dead for a while, and nothing is asked then.
const QUEUE_MAX: usize = 1024;

/// What is wrong with the conversation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such descriptor, or not what was agreed.
    #[error("descriptor 3 is not the supervisor's SOCK_SEQPACKET socket")]
    Inherit(#[source] io::Error),
    /// recvmsg or sendmsg.
    #[error("cannot talk to the supervisor")]
    Exchange(#[source] io::Error),
    /// The packet is not a request. It is gone; the next may be better.
    #[error("the supervisor's packet is no request")]
    Malformed(#[source] serde_json::Error),
    /// The packet was longer than [`PACKET_MAX`] or came with too many descriptors.
    #[error("the supervisor's packet is too long")]
    TooLong,
}

/// What came.
#[derive(Debug)]
pub enum Received {
    /// A request, and the descriptor beside it.
    Request(Request, Option<OwnedFd>),
    /// Nothing for now.
    Nothing,
    /// PID 1 has closed the other end: we are not wanted any more.
    Closed,
}

/// The supervisor's socket.
#[derive(Debug)]
pub struct Supervisor {
    fd: OwnedFd,
    queue: VecDeque<Vec<u8>>,
}

impl Supervisor {
    /// Takes over descriptor 3. The number alone is no proof of ownership, so the kernel is asked for a duplicate of
    /// whatever is there; then the original is closed.
    pub fn inherit() -> Result<Self, Error> {
        let take = || -> io::Result<OwnedFd> {
            let own = pidfd_open(getpid(), PidfdFlags::empty())?;
            let fd = pidfd_getfd(&own, INHERITED, PidfdGetfdFlags::empty())?;
            if sockopt::socket_type(&fd)? != SocketType::SEQPACKET {
                return Err(Errno::PROTOTYPE.into());
            }
            // Only now: without a supervisor the number may be that of a descriptor of our own.
            nix::unistd::close(INHERITED)?;
            Ok(fd)
        };
        Ok(Self { fd: take().map_err(Error::Inherit)?, queue: VecDeque::new() })
    }

    /// What to wait for.
    pub fn interest(&self) -> PollFlags {
        if self.queue.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// Takes one packet.
    pub fn receive(&self) -> Result<Received, Error> {
        // Asked for its length first: room for the longest packet would stay with us for ever.
        let waiting =
            recv(&self.fd, &mut [0_u8; 0], RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT);
        let length = waiting.map_or(0, |(_, length)| length);
        let mut buffer = vec![0; length.clamp(1, PACKET_MAX)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = match recvmsg(&self.fd, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            other => other.map_err(|errno| Error::Exchange(errno.into()))?,
        };
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                fds.extend(received);
            }
        }
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(Error::TooLong);
        }
        if message.bytes == 0 {
            return Ok(Received::Closed);
        }
        let bytes = buffer.get(..message.bytes).unwrap_or_default();
        let request = serde_json::from_slice(bytes).map_err(Error::Malformed)?;
        Ok(Received::Request(request, fds.into_iter().next()))
    }

    /// Sends an answer, or keeps it until the supervisor reads.
    pub fn send(&mut self, reply: &Reply) -> Result<(), Error> {
        let bytes = serde_json::to_vec(reply).map_err(Error::Malformed)?;
        if self.queue.len() >= QUEUE_MAX {
            self.queue.pop_front();
        }
        self.queue.push_back(bytes);
        self.flush()
    }

    /// Sends what waits.
    pub fn flush(&mut self) -> Result<(), Error> {
        while let Some(bytes) = self.queue.front() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(&self.fd, &[IoSlice::new(bytes)], &mut SendAncillaryBuffer::default(), flags) {
                Ok(_) => drop(self.queue.pop_front()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                // The end is seen, and acted upon, by receiving.
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => self.queue.clear(),
                Err(errno) => {
                    self.queue.pop_front();
                    return Err(Error::Exchange(errno.into()));
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Supervisor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
