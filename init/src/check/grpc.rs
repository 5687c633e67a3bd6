//! One call of grpc.health.v1.Health/Check, over HTTP/2 without TLS (RFC 9113): one request, one small answer.
//!
//! Nothing of HTTP/2 that such a call can do without is here. Headers of the answer are not decoded: the message alone
//! says how the service is, and an answer without one is a failure whatever its headers say. So no table of the server
//! is kept. The server may be anything: at most [`ANSWER_MAX`] bytes of it are read, less than the window that every
//! connection begins with, and the caller sets the deadline.

use std::io;
use std::net::Ipv4Addr;

use rustix::event::PollFd;

use super::attempt::{Outcome, refused};
use super::socket::Connection;

/// Bytes of an answer in which the message has to be.
const ANSWER_MAX: usize = 32 << 10;
/// The longest frame that a peer may send which has not been told otherwise (RFC 9113, 4.2).
const FRAME_MAX: usize = 16_384;
/// Frames after which nobody waits for more: empty ones cost a server nothing.
const FRAMES_MAX: usize = 256;
/// The longest message: it holds one number.
const MESSAGE_MAX: usize = 1024;

// RFC 9113, 6: types and flags of frames, as far as they are looked at.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// The one request of the connection.
const STREAM: u32 = 1;

/// A call under way.
pub struct Question {
    connection: Connection,
    /// What came and has not been looked at.
    input: Vec<u8>,
    answer: Answer,
}

impl Question {
    /// Begins to connect.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn start(port: u16) -> io::Result<Self> {
        Ok(Self {
            connection: Connection::open(Ipv4Addr::LOCALHOST, port, request(port))?,
            input: Vec::new(),
            answer: Answer::default(),
        })
    }

    /// Whether somebody has accepted.
    pub fn is_connected(&self) -> bool {
        self.connection.is_open()
    }

    /// What to wait for.
    pub fn fd(&self) -> PollFd<'_> {
        self.connection.fd()
    }

    /// Sends and receives what can be; how it ended, once that is known.
    pub fn advance(&mut self) -> Option<Outcome> {
        match self.connection.advance() {
            Ok(true) => {
                let outcome = self.receive();
                // What the server asked for meanwhile; that there is a connection is known.
                let _open = self.connection.advance();
                outcome
            }
            Ok(false) => None,
            Err(error) => Some(refused(&error)),
        }
    }

    fn receive(&mut self) -> Option<Outcome> {
        let mut buffer = [0; 4096];
        loop {
            match self.connection.receive(&mut buffer) {
                Ok(None) => return None,
                Ok(Some([])) => return Some(Outcome::failed("no answer: closed the connection")),
                Ok(Some(bytes)) => self.input.extend_from_slice(bytes),
                Err(error) => return Some(Outcome::failed(format!("no answer: {error}"))),
            }
            while let Some(frame) = self.answer.next_frame(&mut self.input) {
                let outcome =
                    frame.map_or_else(Some, |frame| self.answer.take(&frame, self.connection.output()));
                if outcome.is_some() {
                    return outcome;
                }
            }
        }
    }
}

/// What a server has said so far.
#[derive(Default)]
struct Answer {
    /// Bytes and frames that were read.
    bytes: usize,
    frames: usize,
    /// DATA of our stream: five bytes before a message.
    body: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Answer {
    /// The next whole frame, taken out of what came; or that there will be none.
    fn next_frame(&mut self, input: &mut Vec<u8>) -> Option<Result<Frame, Outcome>> {
        let [a, b, c, kind, flags, stream @ ..] = input.first_chunk::<9>()?;
        let (kind, flags) = (*kind, *flags);
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let stream = u32::from_be_bytes(*stream) & (u32::MAX >> 1);
        // An answer in HTTP/1, or in anything else, has most unlikely lengths.
        if len > FRAME_MAX || (self.frames == 0 && kind != SETTINGS) {
            return Some(Err(Outcome::failed("the answer is not HTTP/2")));
        }
        let payload = input.get(9..9 + len)?.to_vec();
        input.drain(..9 + len);
        self.frames += 1;
        self.bytes += 9 + len;
        if self.bytes > ANSWER_MAX || self.frames > FRAMES_MAX {
            return Some(Err(Outcome::failed("the answer is too long")));
        }
        Some(Ok(Frame { kind, flags, stream, payload }))
    }

    fn take(&mut self, frame: &Frame, output: &mut Vec<u8>) -> Option<Outcome> {
        let Frame { kind, flags, stream, payload } = frame;
        match (*kind, *stream) {
            (SETTINGS, 0) if flags & ACK == 0 => push_frame(output, (SETTINGS, ACK, 0), &[]),
            (PING, 0) if flags & ACK == 0 => push_frame(output, (PING, ACK, 0), payload),
            (GOAWAY, 0) => {
                return Some(Outcome::failed(format!("the server hung up{}", code(payload.get(4..)))));
            }
            (RST_STREAM, STREAM) => {
                return Some(Outcome::failed(format!("the server refused the call{}", code(Some(payload)))));
            }
            (DATA, STREAM) => {
                let Some(data) = unpadded(*flags, payload) else {
                    return Some(Outcome::failed("the answer is not HTTP/2"));
                };
                self.body.extend_from_slice(data);
                if let Some(outcome) = self.judge() {
                    return Some(outcome);
                }
            }
            _ => (),
        }
        let ended = *stream == STREAM && matches!(*kind, DATA | HEADERS) && flags & END_STREAM != 0;
        ended.then(|| Outcome::failed("answered without a status: it does not serve grpc.health.v1"))
    }

    /// What the message says, once it is there.
    fn judge(&self) -> Option<Outcome> {
        let ([compressed, length @ ..], message) = self.body.split_first_chunk::<5>()?;
        let length = u32::from_be_bytes(*length) as usize;
        if *compressed != 0 || length > MESSAGE_MAX {
            return Some(Outcome::failed("the answer is no message of grpc.health.v1"));
        }
        Some(match parse_status(message.get(..length)?) {
            Some(1) => Outcome::passed("serving"),
            Some(2) => Outcome::failed("not serving"),
            Some(0 | 3) => Outcome::failed("the server does not know how it is"),
            Some(other) => Outcome::failed(format!("unknown status {other}")),
            None => Outcome::failed("the answer is no message of grpc.health.v1"),
        })
    }
}

/// Field 1 of HealthCheckResponse; 0 where it is left out. Other fields are passed over.
fn parse_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// At most ten bytes of seven bits each, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn unpadded(flags: u8, payload: &[u8]) -> Option<&[u8]> {
    if flags & PADDED == 0 {
        return Some(payload);
    }
    let (pad, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*pad))?)
}

/// The four bytes of an error code, in words.
fn code(bytes: Option<&[u8]>) -> String {
    let code = bytes.and_then(|bytes| bytes.first_chunk::<4>());
    code.map_or(String::new(), |code| format!(" with HTTP/2 error {}", u32::from_be_bytes(*code)))
}

fn push_frame(output: &mut Vec<u8>, (kind, flags, stream): (u8, u8, u32), payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    output.extend_from_slice(length.get(1..).unwrap_or_default());
    output.extend_from_slice(&[kind, flags]);
    output.extend_from_slice(&stream.to_be_bytes());
    output.extend_from_slice(payload);
}

/// Preface, settings, and a call with an empty request: how is the server as a whole?
fn request(port: u16) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_ENABLE_PUSH off: a pushed stream would only cost.
    push_frame(&mut bytes, (SETTINGS, 0, 0), &[0, 2, 0, 0, 0, 0]);
    // RFC 7541: 3 and 6 of the static table are `:method: POST` and `:scheme: http`; the rest are literals without an
    // entry, by a name of the table (`:path` 4, `:authority` 1, `content-type` 31) or of their own.
    let mut headers = vec![0x80 | 3, 0x80 | 6];
    push_literal(&mut headers, &[4], "/grpc.health.v1.Health/Check");
    push_literal(&mut headers, &[1], &format!("localhost:{port}"));
    push_literal(&mut headers, &[0x0f, 31 - 15], "application/grpc");
    headers.push(0);
    push_literal(&mut headers, &[2, b't', b'e'], "trailers");
    push_frame(&mut bytes, (HEADERS, END_HEADERS, STREAM), &headers);
    // Not compressed, of length zero.
    push_frame(&mut bytes, (DATA, END_STREAM, STREAM), &[0; 5]);
    bytes
}

/// A value behind its name; all of them are shorter than 127 bytes, so one byte says how long.
fn push_literal(headers: &mut Vec<u8>, name: &[u8], value: &str) {
    headers.extend_from_slice(name);
    headers.push(u8::try_from(value.len()).unwrap_or_default());
    headers.extend_from_slice(value.as_bytes());
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
