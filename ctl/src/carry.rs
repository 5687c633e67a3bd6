//! An upgraded connection as a stream of bytes, for files in place of standard streams.
//!
//! Whatever waits, waits here: the node's last words and a Ctrl-C are seen while it takes nothing and gives nothing.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use berth_units::wire::session::{FRAME_MAX, Kind, decode, encode};
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::client::Upgraded;
use crate::output::printable;
use crate::polls::Polls;
use crate::session::SessionError;
use crate::signals::{Signal, Signals};

/// The connection.
pub struct Carry {
    socket: UnixStream,
    inbox: Vec<u8>,
    /// Bytes of a Stdout frame that nobody has read yet, and how many of them are.
    data: Vec<u8>,
    read: usize,
    signals: Signals,
    interrupted: bool,
    end: Option<Result<(), String>>,
    lost: bool,
}

impl Carry {
    /// Takes the connection, and SIGINT and its like.
    pub fn new(upgraded: Upgraded) -> Result<Self, SessionError> {
        upgraded.stream.set_nonblocking(true).map_err(SessionError::Local)?;
        let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        Ok(Self {
            socket: upgraded.stream,
            inbox: upgraded.rest,
            data: Vec::new(),
            read: 0,
            signals: signals.map_err(SessionError::Local)?,
            interrupted: false,
            end: None,
            lost: false,
        })
    }

    /// Says that nothing more is sent.
    pub fn close(&mut self) -> io::Result<()> {
        self.send(&[])
    }

    /// Reads to the last frame; why it is not the one that was hoped for.
    pub fn finish(mut self) -> Result<(), SessionError> {
        let ended = io::copy(&mut self, &mut io::sink());
        match self.fault() {
            Some(fault) => Err(fault),
            None => ended.map(drop).map_err(|error| SessionError::Lost(Some(error))),
        }
    }

    /// What the node said, or what became of the connection, where that explains a failure.
    pub fn fault(&mut self) -> Option<SessionError> {
        match self.end.take() {
            Some(Err(text)) => Some(SessionError::Refused(text)),
            _ if self.interrupted => Some(SessionError::Interrupted),
            _ if self.lost => Some(SessionError::Lost(None)),
            _ => None,
        }
    }

    /// Waits until something can be read or, if `write`, written.
    fn wait(&mut self, write: bool) -> io::Result<PollFlags> {
        let flags = if write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut polls = Polls::new();
        polls.add(true, self.socket.as_fd(), flags);
        polls.add(false, self.signals.fd(), PollFlags::IN);
        let mut ready = PollFlags::empty();
        for (is_socket, flags) in polls.wait(None)? {
            if is_socket {
                ready = flags;
            } else {
                self.interrupted = true;
                return Err(io::Error::other("interrupted"));
            }
        }
        Ok(ready)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 32 << 10];
        match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) | Err(Errno::CONNRESET | Errno::PIPE) => self.lost = true,
            Ok(len) => self.inbox.extend_from_slice(buffer.get(..len).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Takes frames up to the next one of data.
    fn take_frames(&mut self) -> io::Result<()> {
        let mut at = 0;
        while self.end.is_none() && self.read == self.data.len() {
            let Some((kind, payload, used)) =
                decode(self.inbox.get(at..).unwrap_or_default()).map_err(io::Error::other)?
            else {
                break;
            };
            match kind {
                Kind::Stdout => (self.data, self.read) = (payload.to_vec(), 0),
                Kind::Stderr => {
                    let text = String::from_utf8_lossy(payload);
                    text.lines().for_each(|line| eprintln!("{}", printable(line)));
                }
                Kind::Exit => self.end = Some(Ok(())),
                Kind::Error => self.end = Some(Err(String::from_utf8_lossy(payload).into_owned())),
                Kind::Stdin | Kind::Resize | Kind::Signal => {}
            }
            at += used;
        }
        self.inbox.drain(..at);
        Ok(())
    }

    fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        encode(Kind::Stdin, payload, &mut frame);
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            self.take_frames()?;
            if self.end.is_some() || self.lost {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let ready = self.wait(true)?;
            if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                self.fill()?;
            }
            if ready.contains(PollFlags::OUT) {
                match rustix::io::write(&self.socket, rest) {
                    Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                    // Its last words are still to be read.
                    Err(Errno::AGAIN | Errno::INTR | Errno::PIPE | Errno::CONNRESET) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

impl Read for Carry {
    /// Bytes of Stdout frames; none after the last frame.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.take_frames()?;
            let rest = self.data.get(self.read..).unwrap_or_default();
            if !rest.is_empty() {
                let len = rest.len().min(buffer.len());
                for (to, from) in buffer.iter_mut().zip(rest) {
                    *to = *from;
                }
                self.read += len;
                return Ok(len);
            }
            match &self.end {
                Some(Ok(())) => return Ok(0),
                Some(Err(text)) => return Err(io::Error::other(text.clone())),
                None if self.lost => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => {}
            }
            if !self.wait(false)?.is_empty() {
                self.fill()?;
            }
        }
    }
}

impl Write for Carry {
    /// A Stdin frame.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..FRAME_MAX).unwrap_or(bytes);
        if !piece.is_empty() {
            self.send(piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Carry, UnixStream) {
        let (ours, node) = UnixStream::pair().unwrap();
        (Carry::new(Upgraded { stream: ours, rest: Vec::new() }).unwrap(), node)
    }

    #[test]
    fn bytes_come_out_of_frames_and_end_with_the_last() {
        let (mut carry, mut node) = pair();
        let mut frames = Vec::new();
        encode(Kind::Stdout, b"one ", &mut frames);
        encode(Kind::Stdout, b"two", &mut frames);
        encode(Kind::Exit, &[0], &mut frames);
        node.write_all(&frames).unwrap();
        let mut text = String::new();
        carry.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
        carry.finish().unwrap();
    }

    #[test]
    fn a_node_that_gives_up_is_heard_while_it_takes_nothing() {
        let (mut carry, mut node) = pair();
        let mut frames = Vec::new();
        encode(Kind::Error, b"no room", &mut frames);
        node.write_all(&frames).unwrap();
        // More than the socket holds: without a look at the node's words this would wait for ever.
        let sent = (0..1000).try_for_each(|_| carry.write_all(&[0; FRAME_MAX]));
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(matches!(carry.fault(), Some(SessionError::Refused(text)) if text == "no room"));
    }

    #[test]
    fn a_node_that_goes_away_is_no_end() {
        let (mut carry, node) = pair();
        drop(node);
        assert!(carry.read(&mut [0; 8]).is_err());
        assert!(matches!(carry.finish(), Err(SessionError::Lost(_))));
    }
}
