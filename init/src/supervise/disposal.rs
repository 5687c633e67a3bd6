//! Descriptors that others have made are closed by a process that ends, and never by us or by PID 1.
//!
//! Whoever closes a TCP socket last sleeps in close(2) for as long as its owner has said with SO_LINGER, and a
//! container may send such a socket to us, or leave it in the queue of a socket of ours, which is closed with it. Only
//! a process that is on its way out does not wait (inet_release() in net/ipv4/af_inet.c, PF_EXITING).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, Shutdown, SocketFlags, recvmsg, shutdown,
};

use super::program;
use crate::error;
use crate::kmsg::Chain;

/// Descriptors of one process: their numbers are below 256.
const AT_ONCE: usize = 200;
/// Datagrams and connections that are taken out of one socket; the kernel's queues are shorter.
const QUEUE_MAX: usize = 8192;
/// SCM_MAX_FD of the kernel: no message carries more.
pub const RIGHTS_MAX: usize = 253;

/// Has descriptors closed elsewhere. Those that cannot be handed on stay open: that costs a number each.
pub fn dispose(fds: Vec<OwnedFd>) {
    let mut rest = fds;
    while !rest.is_empty() {
        let some: Vec<_> = rest.drain(..rest.len().min(AT_ONCE)).collect();
        match hand_on(&some) {
            // In this order: then the copies of that process are the last ones.
            Ok(end) => {
                drop(some);
                drop(end);
            }
            Err(error) => {
                error!("cannot have {} descriptors of others closed: {}", some.len(), Chain(&error));
                some.into_iter().for_each(std::mem::forget);
            }
        }
    }
}

/// Starts a process that has them all, and ends when the pipe does that is returned.
fn hand_on(fds: &[OwnedFd]) -> io::Result<io::PipeWriter> {
    let (reader, end) = io::pipe()?;
    let numbered = [reader.as_fd()].into_iter().chain(fds.iter().map(AsFd::as_fd)).zip(3..);
    let numbered: Vec<(BorrowedFd<'_>, u8)> = numbered.collect();
    match program::start(&["/bin/berth-session", "--close"], &numbered, None, program::ORDINARY) {
        Ok(_running) => Ok(end),
        Err(error) => Err(io::Error::other(Chain(&error).to_string())),
    }
}

/// Takes everything out of a socket that others write to, before it is closed: nobody can put anything in after it.
pub fn empty_datagrams(socket: BorrowedFd<'_>) {
    // One that was never connected can be shut all the same (unix(7)).
    let _or_shut_already = shutdown(socket, Shutdown::Read);
    let mut found = Vec::new();
    for _ in 0..QUEUE_MAX {
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(RIGHTS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let mut byte = [0];
        match recvmsg(socket, &mut [io::IoSliceMut::new(&mut byte)], &mut control, flags) {
            Ok(message) if message.bytes > 0 => found.extend(rights(&mut control)),
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => break,
        }
    }
    dispose(found);
}

/// The same for connections that nobody has accepted.
pub fn empty_queue(listener: BorrowedFd<'_>) {
    let _or_shut_already = shutdown(listener, Shutdown::Both);
    // Shut, it does not let anybody wait: with an empty queue the kernel answers EINVAL.
    let accept = || rustix::net::accept_with(listener, SocketFlags::CLOEXEC).ok();
    dispose(std::iter::from_fn(accept).take(QUEUE_MAX).collect());
}

/// The descriptors of a message. All parts are drained: after half of them rustix (1.1) reads on from where no header
/// is.
fn rights(control: &mut RecvAncillaryBuffer<'_>) -> Vec<OwnedFd> {
    let parts = control.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights.collect::<Vec<_>>()),
        _ => None,
    });
    parts.flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    #[test]
    fn sockets_are_emptied_and_take_nothing_more() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        for _ in 0..3 {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = [writer.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            sendmsg(&theirs, &[io::IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
        }
        empty_datagrams(ours.as_fd());
        assert!(theirs.send(b"late").is_err());
        ours.set_nonblocking(true).unwrap();
        assert!(!matches!(ours.recv(&mut [0; 8]), Ok(len) if len > 0));
        drop((reader, writer));
    }

    #[test]
    fn waiting_connections_are_taken_out() {
        let path = std::env::temp_dir().join(format!("berth-disposal-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let _waiting = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
        empty_queue(listener.as_fd());
        assert!(UnixStream::connect(&path).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
