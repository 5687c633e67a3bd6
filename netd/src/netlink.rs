//! Netlink, the part that berth-netd needs: messages as bytes, one synchronous socket, nothing more.
//!
//! Own code because the message shape is what counts (a veth made inside a foreign namespace in one message, an
//! nftables batch in one send) and both protocols share it; it costs about a tenth of the crates and no runtime.
//! The kernel answers while the send is still running, so blocking here never waits. What the messages mean is in
//! [`crate::route`] and [`crate::firewall`]. Sources: netlink(7), include/uapi/linux/netlink.h.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
    sockopt,
};

/// NETLINK_ROUTE, protocol number 0.
pub const ROUTE: Option<Protocol> = None;
/// NETLINK_NETFILTER.
pub const NETFILTER: Option<Protocol> = Some(rustix::net::netlink::NETFILTER);

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const F_REQUEST: u16 = 1;
const F_ACK: u16 = 4;
const F_DUMP: u16 = 0x300;
const F_DUMP_INTR: u16 = 0x10;
/// Fail when the object exists (NLM_F_CREATE | NLM_F_EXCL).
pub const F_CREATE: u16 = 0x600;
/// Make it or change it (NLM_F_CREATE | NLM_F_REPLACE).
pub const F_REPLACE: u16 = 0x500;
/// Make it unless it is there (NLM_F_CREATE alone).
pub const F_ENSURE: u16 = 0x400;
/// Append to a list (NLM_F_CREATE | NLM_F_APPEND).
pub const F_APPEND: u16 = 0xc00;
const HEADER: usize = 16;
/// What the kernel fills at most in one dump packet.
const BUFFER: usize = 32 << 10;
/// The kernel restarts a dump that raced with a change at most this often on our side.
const DUMP_TRIES: usize = 16;

/// Why the kernel and we could not talk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Opening or configuring the socket.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// send or recv itself.
    #[error("cannot exchange netlink messages")]
    Exchange(#[source] io::Error),
    /// The kernel's answer was an error.
    #[error("the kernel refuses")]
    Refused(#[source] io::Error),
    /// The kernel's answer makes no sense.
    #[error("the kernel's netlink answer is malformed")]
    Malformed,
    /// A dump was overtaken by changes again and again.
    #[error("the kernel's tables change faster than they can be read")]
    Unsettled,
}

impl Error {
    /// The kernel said exactly this.
    pub fn is(&self, errno: Errno) -> bool {
        matches!(self, Self::Refused(cause) if cause.raw_os_error() == Some(errno.raw_os_error()))
    }
}

/// A message under construction, with attributes nested by closures.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of this type; `flags` beyond NLM_F_REQUEST.
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | F_REQUEST).to_ne_bytes());
        bytes.extend([0; 8]);
        Self { bytes }
    }

    /// Appends the fixed part that follows the header.
    pub fn put(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self.pad();
        self
    }

    /// Appends an attribute. Callers keep values far below 64 KiB, the limit of the format.
    pub fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        debug_assert!(value.len() < usize::from(u16::MAX) - 4, "attribute too long");
        self.bytes.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
        self
    }

    /// A string attribute, NUL-terminated.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let bytes: Vec<u8> = value.bytes().chain([0]).collect();
        self.attr(kind, &bytes)
    }

    /// A number in host order, as rtnetlink has them.
    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// A number in network order, as nfnetlink has them.
    pub fn be32(self, kind: u16, value: u32) -> Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// An attribute that holds attributes.
    pub fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | 0x8000).to_ne_bytes());
        let mut filled = fill(self);
        let length = filled.bytes.len() - start;
        debug_assert!(length <= usize::from(u16::MAX), "nested attribute too long");
        patch(&mut filled.bytes, start, &u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
        filled
    }

    /// The bytes to send.
    pub fn finish(mut self, sequence: u32, more_flags: u16) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        patch(&mut self.bytes, 0, &length.to_ne_bytes());
        let flags = read_u16(&self.bytes, 6).unwrap_or(0) | more_flags;
        patch(&mut self.bytes, 6, &flags.to_ne_bytes());
        patch(&mut self.bytes, 8, &sequence.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn patch(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(slot) = bytes.get_mut(at..at + value.len()) {
        slot.copy_from_slice(value);
    }
}

/// Reads a host-order number at `at`.
pub fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads a host-order number at `at`.
pub fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The attributes in `bytes`; ends at the first that does not fit.
pub fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(bytes, 0)?);
        let kind = read_u16(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// One message out of a packet.
#[derive(Clone, Copy, Debug)]
struct Received<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The messages in a packet; ends at the first that does not fit.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(read_u32(bytes, 0)?).ok()?;
        let message = Received {
            kind: read_u16(bytes, 4)?,
            flags: read_u16(bytes, 6)?,
            sequence: read_u32(bytes, 8)?,
            payload: bytes.get(HEADER..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The error number of an NLMSG_ERROR or NLMSG_DONE payload; zero is an acknowledgement.
fn verdict(payload: &[u8]) -> Result<(), Error> {
    match payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(code) => Err(Error::Refused(io::Error::from_raw_os_error(code.saturating_neg()))),
        None => Err(Error::Malformed),
    }
}

/// A socket for requests, bound to the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket of a netlink family: [`ROUTE`] or [`NETFILTER`].
    pub fn open(protocol: Option<Protocol>) -> Result<Self, Error> {
        let open = || -> io::Result<OwnedFd> {
            let fd = new_socket(protocol, SocketFlags::CLOEXEC)?;
            bind(&fd, &SocketAddrNetlink::new(0, 0))?;
            // Never reached while the kernel is well: it answers before send returns.
            sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(Duration::from_secs(5)))?;
            Ok(fd)
        };
        Ok(Self { fd: open().map_err(Error::Open)?, sequence: 0 })
    }

    /// Sends one request and waits for its acknowledgement.
    pub fn request(&mut self, message: Message) -> Result<(), Error> {
        let sequence = self.send(message, F_ACK)?;
        self.answers(sequence, |_, _| {}).map(|_| ())
    }

    /// Sends one request that is answered by one message, and gives its payload to `see`.
    pub fn get(&mut self, message: Message, see: impl FnMut(u16, &[u8])) -> Result<(), Error> {
        let sequence = self.send(message, F_ACK)?;
        self.answers(sequence, see).map(|_| ())
    }

    /// Asks for a table and collects what `see` makes of each entry; starts again when the table changed meanwhile.
    pub fn dump<T>(&mut self, message: &Message, see: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, Error> {
        for _ in 0..DUMP_TRIES {
            let mut found = Vec::new();
            let sequence = self.send(message.clone(), F_DUMP)?;
            if !self.answers(sequence, |_, payload| found.extend(see(payload)))? {
                return Ok(found);
            }
        }
        Err(Error::Unsettled)
    }

    /// Sends messages as one packet, the way nfnetlink commits them: all or nothing. The first error is returned.
    pub fn batch(&mut self, messages: Vec<Message>) -> Result<(), Error> {
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let mut packet = Vec::new();
        let first = self.sequence.wrapping_add(1);
        // Only the last real message asks to be acknowledged: thousands of answers would not fit the buffer.
        for (message, place) in messages.into_iter().zip(1..) {
            self.sequence = self.sequence.wrapping_add(1);
            packet.extend(message.finish(self.sequence, if place + 1 == count { F_ACK } else { 0 }));
        }
        sockopt::set_socket_send_buffer_size_force(&self.fd, 2 * packet.len() + 4096)
            .map_err(|cause| Error::Open(cause.into()))?;
        retry_on_intr(|| send(&self.fd, &packet, SendFlags::empty())).map_err(exchange)?;
        self.batch_verdict(first)
    }

    fn batch_verdict(&mut self, first: u32) -> Result<(), Error> {
        let mut outcome = Err(Error::Malformed);
        let mut buffer = vec![0; BUFFER];
        // The answers are all there already; the first error is the cause, later ones may follow from it.
        while let Ok((length, _)) =
            retry_on_intr(|| recv(&self.fd, buffer.as_mut_slice(), RecvFlags::DONTWAIT))
        {
            for message in messages(buffer.get(..length).unwrap_or_default()) {
                let ours = message.sequence.wrapping_sub(first) <= self.sequence.wrapping_sub(first);
                if !ours || message.kind != NLMSG_ERROR {
                    continue;
                }
                match verdict(message.payload) {
                    Ok(()) if matches!(outcome, Err(Error::Malformed)) => outcome = Ok(()),
                    Err(error) if !matches!(outcome, Err(Error::Refused(_))) => outcome = Err(error),
                    _ => {}
                }
            }
        }
        outcome
    }

    fn send(&mut self, message: Message, flags: u16) -> Result<u32, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.finish(self.sequence, flags);
        retry_on_intr(|| send(&self.fd, &bytes, SendFlags::empty())).map_err(exchange)?;
        Ok(self.sequence)
    }

    /// Reads until the answer to `sequence` is complete; true when the dump was interrupted.
    fn answers(&mut self, sequence: u32, mut see: impl FnMut(u16, &[u8])) -> Result<bool, Error> {
        let mut buffer = vec![0; BUFFER];
        let mut interrupted = false;
        loop {
            let (length, _) = retry_on_intr(|| recv(&self.fd, buffer.as_mut_slice(), RecvFlags::empty()))
                .map_err(exchange)?;
            for message in messages(buffer.get(..length).unwrap_or_default()) {
                if message.sequence != sequence {
                    continue;
                }
                interrupted |= message.flags & F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => return verdict(message.payload).map(|()| interrupted),
                    kind => see(kind, message.payload),
                }
            }
        }
    }
}

/// A socket on which the kernel tells of changes. Only that something changed counts, so nothing is parsed.
#[derive(Debug)]
pub struct Events(OwnedFd);

impl Events {
    /// Subscribes to the groups in the bit mask `groups`.
    pub fn open(protocol: Option<Protocol>, groups: u32) -> Result<Self, Error> {
        let open = || -> io::Result<OwnedFd> {
            let fd = new_socket(protocol, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
            bind(&fd, &SocketAddrNetlink::new(0, groups))?;
            Ok(fd)
        };
        open().map(Self).map_err(Error::Open)
    }

    /// Takes everything that waits. An overrun (ENOBUFS) is a change too.
    pub fn drain(&self) {
        let mut buffer = [0; 4096];
        loop {
            match recv(&self.0, &mut buffer, RecvFlags::TRUNC) {
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn new_socket(protocol: Option<Protocol>, flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?)
}

fn exchange(cause: Errno) -> Error {
    Error::Exchange(cause.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_lengths_and_padding() {
        let bytes = Message::new(16, F_CREATE)
            .put(&[7; 4])
            .nest(18, |inner| inner.text(1, "veth"))
            .attr(3, b"ab")
            .finish(9, F_ACK);
        let expected = [
            &[48, 0, 0, 0, 16, 0, 5, 6, 9, 0, 0, 0, 0, 0, 0, 0][..],
            &[7; 4],
            &[16, 0, 18, 0x80, 9, 0, 1, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0],
            &[6, 0, 3, 0, b'a', b'b', 0, 0],
        ]
        .concat();
        assert_eq!(bytes.len(), 44);
        assert_eq!(bytes[4..], expected[4..]);
        assert_eq!(bytes[0], 44);
    }

    #[test]
    fn attributes_that_lie_end_the_list() {
        let good = [6, 0, 3, 0x40, b'a', b'b', 0, 0];
        assert_eq!(attrs(&good).collect::<Vec<_>>(), [(3, &b"ab"[..])]);
        for bad in [&[6, 0, 3][..], &[2, 0, 3, 0], &[9, 0, 3, 0, 1, 2], &[0, 0, 0, 0]] {
            assert_eq!(attrs(bad).count(), 0, "{bad:?}");
        }
    }
}
