//! Packets with descriptors beside them, over SOCK_SEQPACKET: how the processes of a node talk to each other.
//!
//! A packet arrives whole or is an error; nothing here blocks. What the bytes mean is said in [`berth_units::wire`],
//! not here.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_units::wire::PACKET_MAX;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};

/// The most descriptors that travel beside one packet.
pub const FDS_MAX: usize = 16;

/// One end of a connection.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What [`Channel::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A whole packet: its first `len` bytes of the buffer, and the descriptors beside it, close-on-exec.
    Packet {
        /// Bytes written to the buffer, at least one.
        len: usize,
        /// In the sender's order.
        fds: Vec<OwnedFd>,
    },
    /// The other end is gone, and everything that it sent has been received.
    Closed,
}

impl Channel {
    /// Two connected ends, close-on-exec and non-blocking, that take packets of [`PACKET_MAX`] bytes.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        for end in [&one, &other] {
            raise_send_buffer(end)?;
        }
        Ok((Self(one), Self(other)))
    }

    /// An end that was inherited or received; made non-blocking and close-on-exec.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self(fd))
    }

    /// Sends one packet and duplicates of `fds`.
    ///
    /// # Errors
    /// `WouldBlock` while the buffers are full, `BrokenPipe` or `ConnectionReset` when the other end is gone,
    /// `InvalidInput` for an empty packet (it would look like the end) or more than [`FDS_MAX`] descriptors;
    /// EMSGSIZE for a packet that no buffer takes.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let taken = fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds));
        if bytes.is_empty() || fds.len() > FDS_MAX || !taken {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::io::retry_on_intr(|| sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags))?;
        Ok(())
    }

    /// Receives one packet into `buffer`.
    ///
    /// # Errors
    /// `WouldBlock` while there is none; `InvalidData` for a packet that is longer than `buffer` or came with
    /// more than [`FDS_MAX`] descriptors: it is gone then, its descriptors are closed.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
                Err(rustix::io::Errno::INTR) => {}
                // What the other end had not read is lost with it; for us that is its end all the same.
                Err(rustix::io::Errno::CONNRESET) => return Ok(Received::Closed),
                other => break other?,
            }
        };
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                fds.extend(received);
            }
        }
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) || fds.len() > FDS_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if message.bytes == 0 {
            return Ok(Received::Closed);
        }
        Ok(Received::Packet { len: message.bytes, fds })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

/// Room for two of the longest packets. Only with CAP_NET_ADMIN may it pass net.core.wmem_max; without, as much
/// as is allowed.
fn raise_send_buffer(end: &OwnedFd) -> io::Result<()> {
    let size = 2 * PACKET_MAX;
    sockopt::set_socket_send_buffer_size_force(end, size)
        .or_else(|_| sockopt::set_socket_send_buffer_size(end, size))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn packets_keep_their_borders_and_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        one.send(b"first", &[]).unwrap();
        one.send(b"second", &[writer.as_fd(), reader.as_fd()]).unwrap();
        drop(writer);
        let mut buffer = [0; 64];
        let Received::Packet { len: 5, fds } = other.receive(&mut buffer).unwrap() else { panic!() };
        assert!(fds.is_empty());
        let Received::Packet { len: 6, mut fds } = other.receive(&mut buffer).unwrap() else { panic!() };
        assert_eq!((&buffer[..6], fds.len()), (&b"second"[..], 2));
        let flags = rustix::io::fcntl_getfd(&fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        std::fs::File::from(fds.remove(0)).write_all(b"x").unwrap();
        let mut got = Vec::new();
        drop(fds);
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"x");
    }

    #[test]
    fn nothing_there_and_nobody_there_differ() {
        let (one, other) = Channel::pair().unwrap();
        let mut buffer = [0; 8];
        assert_eq!(other.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        one.send(b"last", &[]).unwrap();
        drop(one);
        assert!(matches!(other.receive(&mut buffer), Ok(Received::Packet { len: 4, .. })));
        assert!(matches!(other.receive(&mut buffer), Ok(Received::Closed)));
        assert_eq!(other.send(b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn packets_that_do_not_fit_are_errors() {
        let (one, other) = Channel::pair().unwrap();
        one.send(b"123456789", &[]).unwrap();
        assert_eq!(other.receive(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(one.send(b"", &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let many = [one.as_fd(); FDS_MAX + 1];
        assert_eq!(one.send(b"x", &many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_full_channel_would_block() {
        let (one, _other) = Channel::pair().unwrap();
        let kind = (0..1 << 20).find_map(|_| one.send(&[0; 64], &[]).err()).map(|error| error.kind());
        assert_eq!(kind, Some(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn the_longest_packet_fits() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&vec![7; PACKET_MAX], &[]).unwrap();
        let mut buffer = vec![0; PACKET_MAX];
        assert!(matches!(other.receive(&mut buffer), Ok(Received::Packet { len: PACKET_MAX, .. })));
        assert_eq!(buffer[PACKET_MAX - 1], 7);
    }
}
