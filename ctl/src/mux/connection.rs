//! One connection: a local stream, and the window on what is under way to and from its other half.

use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use berth_units::wire::mux::{Kind, RECORD_MAX, WINDOW};
use rustix::event::PollFlags;
use rustix::io::Errno;

use super::link::Link;
use crate::pending::Pending;

const WINDOW_BYTES: usize = WINDOW as usize;

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    GoesOn,
    /// It is to be forgotten; the other side knows, or has been told.
    Over,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// From the port, for the stream.
    waiting: Pending,
    /// Bytes that may still be sent.
    credit: usize,
    /// Bytes that the stream took and that were not given back yet.
    taken: usize,
    /// Nothing more is read from the stream: it has ended, or the other side has forgotten us.
    read_done: bool,
    /// Nothing more comes from the other side.
    peer_done: bool,
}

impl Connection {
    /// A new one; `stream` does not block.
    pub fn new(stream: UnixStream) -> Self {
        let waiting = Pending::default();
        Self { stream, waiting, credit: WINDOW_BYTES, taken: 0, read_done: false, peer_done: false }
    }

    /// Its stream.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Bytes held for its reader.
    #[cfg(test)]
    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// What it waits for.
    pub fn interest(&self, may_read: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, may_read && !self.read_done && self.credit > 0);
        flags.set(PollFlags::OUT, !self.waiting.is_empty());
        flags
    }

    /// Reads and writes what the stream allows.
    pub fn on_ready(&mut self, number: u32, flags: PollFlags, link: &mut Link) -> Verdict {
        let can_write = flags.intersects(PollFlags::OUT | PollFlags::ERR) && !self.waiting.is_empty();
        if can_write && self.write(number, link) == Verdict::Over {
            return Verdict::Over;
        }
        let can_read = flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        if can_read && !self.read_done && self.credit > 0 {
            return self.read(number, flags, link);
        }
        self.verdict()
    }

    /// Takes a record of the other side.
    pub fn take(&mut self, number: u32, kind: Kind, payload: &[u8], link: &mut Link) -> Verdict {
        match kind {
            Kind::Data => return self.take_data(number, payload, link),
            Kind::Credit => {
                let given = payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                let given = usize::try_from(given).unwrap_or(WINDOW_BYTES);
                self.credit = self.credit.saturating_add(given).min(WINDOW_BYTES);
            }
            Kind::End => self.end_of_peer(),
            Kind::Close => {
                self.read_done = true;
                self.end_of_peer();
            }
            Kind::Open | Kind::Reset => {}
        }
        self.verdict()
    }

    fn take_data(&mut self, number: u32, payload: &[u8], link: &mut Link) -> Verdict {
        if self.peer_done || self.waiting.len() + self.taken + payload.len() > WINDOW_BYTES {
            return Self::close(number, link);
        }
        self.waiting.push(payload);
        self.write(number, link)
    }

    fn write(&mut self, number: u32, link: &mut Link) -> Verdict {
        loop {
            match self.waiting.write_to(&self.stream, WINDOW_BYTES) {
                Ok(0) => break,
                Ok(len) => self.taken += len,
                Err(_) if self.read_done && self.peer_done => return Verdict::Over,
                Err(_) => return Self::close(number, link),
            }
        }
        if self.peer_done {
            self.end_of_peer();
        } else if self.taken > 0 && (self.waiting.is_empty() || self.taken >= WINDOW_BYTES / 4) {
            let taken = u32::try_from(self.taken).unwrap_or(WINDOW);
            link.send(number, Kind::Credit, &taken.to_be_bytes());
            self.taken = 0;
        }
        self.verdict()
    }

    fn read(&mut self, number: u32, flags: PollFlags, link: &mut Link) -> Verdict {
        let mut buffer = [0; RECORD_MAX];
        let most = self.credit.min(RECORD_MAX);
        let Some(room) = buffer.get_mut(..most) else { return Verdict::GoesOn };
        match rustix::io::read(&self.stream, room) {
            // A hang-up means that nobody reads the other direction either.
            Ok(0) if flags.contains(PollFlags::HUP) => return Self::close(number, link),
            Ok(0) => {
                self.read_done = true;
                link.send(number, Kind::End, &[]);
            }
            Ok(len) => {
                self.credit -= len;
                link.send(number, Kind::Data, buffer.get(..len).unwrap_or(&[]));
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Self::close(number, link),
        }
        self.verdict()
    }

    /// Nothing more comes: once all is written, the stream learns of it.
    fn end_of_peer(&mut self) {
        self.peer_done = true;
        if self.waiting.is_empty() {
            // It may be closed already, which is just as well.
            self.stream.shutdown(Shutdown::Write).unwrap_or_default();
        }
    }

    fn close(number: u32, link: &mut Link) -> Verdict {
        link.send(number, Kind::Close, &[]);
        Verdict::Over
    }

    fn verdict(&self) -> Verdict {
        if self.read_done && self.peer_done && self.waiting.is_empty() {
            Verdict::Over
        } else {
            Verdict::GoesOn
        }
    }
}
