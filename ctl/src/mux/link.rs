//! The byte stream below the connections: whole records in and out, and finding the step again after a restart.
//! Pure: bytes are handed in and taken out by [`super::Mux`].

use std::collections::VecDeque;

use berth_units::wire::mux::{HEADER_LEN, Kind, RESET_ANSWER, RESET_ASK, decode, encode};

/// The most that is written at once. The guest's driver takes a write of up to 32 KiB as a whole or not at all, so
/// the host never sees a part of a record, even if the relay is killed (Linux, drivers/char/virtio_console.c,
/// port_fops_write).
pub const WRITE_MAX: usize = 32 << 10;

const NONCE_LEN: usize = 8;
const RESET_LEN: usize = HEADER_LEN + RESET_ASK.len() + NONCE_LEN;

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// The other side started anew, or the step was lost: every connection is gone.
    Gone,
    /// A record of a connection.
    Record(u32, Kind, Vec<u8>),
}

/// Both directions of the stream.
#[derive(Debug)]
pub struct Link {
    inbox: Vec<u8>,
    /// Whole records, each encoded.
    outbox: VecDeque<Vec<u8>>,
    queued: usize,
    /// Under way to the descriptor: whole records, and how many bytes are gone already.
    writing: Vec<u8>,
    written: usize,
    /// Our question. It is answered, or what arrives is skipped.
    nonce: [u8; NONCE_LEN],
    answered: bool,
}

impl Link {
    /// A stream that asks its other side for a fresh start. `nonce` differs from that of earlier starts.
    pub fn new(nonce: u64) -> Self {
        let mut link = Self {
            inbox: Vec::new(),
            outbox: VecDeque::new(),
            queued: 0,
            writing: Vec::new(),
            written: 0,
            nonce: nonce.to_be_bytes(),
            answered: false,
        };
        link.ask();
        link
    }

    /// Whether both sides agree that there were no connections before.
    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.queued + self.writing.len() - self.written
    }

    /// Asks, if no earlier question still waits to be written.
    pub fn ask_again(&mut self) {
        if self.queued() == 0 && !self.answered {
            self.ask();
        }
    }

    /// Queues a record.
    pub fn send(&mut self, connection: u32, kind: Kind, payload: &[u8]) {
        let mut record = Vec::with_capacity(HEADER_LEN + payload.len());
        encode(connection, kind, payload, &mut record);
        self.queued += record.len();
        self.outbox.push_back(record);
    }

    /// The bytes to be written next: whole records, at most [`WRITE_MAX`] bytes.
    pub fn front(&mut self) -> &[u8] {
        if self.written == self.writing.len() {
            self.writing.clear();
            self.written = 0;
            while let Some(record) = self.outbox.front() {
                if !self.writing.is_empty() && self.writing.len() + record.len() > WRITE_MAX {
                    break;
                }
                self.writing.extend_from_slice(record);
                self.queued -= record.len();
                self.outbox.pop_front();
            }
        }
        self.writing.get(self.written..).unwrap_or(&[])
    }

    /// `len` bytes of [`Self::front`] were written.
    pub fn wrote(&mut self, len: usize) {
        self.written = (self.written + len).min(self.writing.len());
    }

    /// Takes bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
    }

    /// What arrived next, or `None` until more bytes do.
    pub fn next(&mut self) -> Option<Incoming> {
        loop {
            if !self.answered {
                self.skip_to_reset()?;
            }
            let decoded = decode(&self.inbox);
            let incoming = match decoded {
                Ok(None) => return None,
                Ok(Some((_, Kind::Reset, payload, used))) => {
                    let payload = payload.to_vec();
                    self.inbox.drain(..used);
                    self.take_reset(&payload)
                }
                Ok(Some((connection, kind, payload, used))) => {
                    let record = Incoming::Record(connection, kind, payload.to_vec());
                    self.inbox.drain(..used);
                    Some(record)
                }
                Err(_) => Some(self.start_anew()),
            };
            if incoming.is_some() {
                return incoming;
            }
        }
    }

    /// A question is answered and takes all connections with it; our answer ends the skipping.
    fn take_reset(&mut self, payload: &[u8]) -> Option<Incoming> {
        let (magic, nonce) = payload.split_first_chunk::<{ RESET_ASK.len() }>()?;
        if *magic == RESET_ASK {
            // What was queued was for connections that are gone.
            self.outbox.clear();
            self.queued = 0;
            let answer = [&RESET_ANSWER[..], nonce].concat();
            self.send(0, Kind::Reset, &answer);
            if !self.answered {
                self.ask();
            }
            return Some(Incoming::Gone);
        }
        if *magic == RESET_ANSWER && *nonce == self.nonce && !self.answered {
            self.answered = true;
            return Some(Incoming::Gone);
        }
        None
    }

    fn ask(&mut self) {
        let question = [&RESET_ASK[..], &self.nonce].concat();
        self.send(0, Kind::Reset, &question);
    }

    /// Forgets what is queued and asks for a fresh start; nothing else counts until it is answered.
    pub fn start_anew(&mut self) -> Incoming {
        self.answered = false;
        self.nonce = u64::from_be_bytes(self.nonce).wrapping_add(1).to_be_bytes();
        self.outbox.clear();
        self.queued = 0;
        self.ask();
        Incoming::Gone
    }

    /// Throws away what is before the next Reset; `None` while there is no whole one.
    fn skip_to_reset(&mut self) -> Option<()> {
        let found = self.inbox.windows(RESET_LEN).position(is_reset);
        let keep = found.unwrap_or_else(|| self.inbox.len().saturating_sub(RESET_LEN - 1));
        self.inbox.drain(..keep);
        found.map(drop)
    }
}

fn is_reset(bytes: &[u8]) -> bool {
    matches!(decode(bytes), Ok(Some((0, Kind::Reset, payload, RESET_LEN)))
        if payload.starts_with(&RESET_ASK) || payload.starts_with(&RESET_ANSWER))
}
