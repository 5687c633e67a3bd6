//! One HTTP request, and the first line of its answer (RFC 9112). Nothing else of the answer is looked at: a check
//! asks whether the server works, not what it has to say.
//!
//! The server may be anything: at most [`ANSWER_MAX`] bytes of it are read, and the caller sets the deadline.

use std::io;

use berth_units::spec::Http;
use rustix::event::PollFd;

use super::attempt::{Outcome, refused};
use super::socket::Connection;

/// Bytes of an answer in which its status has to be: interim answers come first.
const ANSWER_MAX: usize = 4096;
/// Bytes of a line that is shown when it is no status line.
const SHOWN_MAX: usize = 60;

/// A request under way.
pub struct Exchange {
    connection: Connection,
    answer: Vec<u8>,
    expect: (u16, u16),
}

impl Exchange {
    /// Begins to connect.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn start(http: &Http) -> io::Result<Self> {
        Ok(Self {
            connection: Connection::open(http.address, http.port, request(http))?,
            answer: Vec::new(),
            expect: http.expect,
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

    /// Sends and receives what can be; how it ended, once the status is known or cannot come any more.
    pub fn advance(&mut self) -> Option<Outcome> {
        match self.connection.advance() {
            // A server that has answered before it has read everything is heard all the same.
            Ok(true) => self.receive(),
            Ok(false) => None,
            Err(error) => Some(refused(&error)),
        }
    }

    fn receive(&mut self) -> Option<Outcome> {
        let mut buffer = [0; ANSWER_MAX];
        loop {
            let outcome = match self.connection.receive(&mut buffer) {
                Ok(None) => return None,
                Ok(Some([])) => self.judge().or_else(|| Some(self.unfinished("closed the connection"))),
                Ok(Some(bytes)) => {
                    self.answer.extend_from_slice(bytes);
                    self.judge()
                }
                Err(error) => Some(self.unfinished(&error.to_string())),
            };
            if outcome.is_some() {
                return outcome;
            }
        }
    }

    /// What the answer says, as soon as it says something.
    fn judge(&mut self) -> Option<Outcome> {
        loop {
            let Some(end) = self.answer.iter().position(|byte| *byte == b'\n') else {
                let endless = self.answer.len() >= ANSWER_MAX;
                return endless.then(|| not_http(&self.answer));
            };
            let line = self.answer.get(..end).unwrap_or_default();
            let Some((status, reason)) = parse_status_line(line) else {
                return Some(not_http(line));
            };
            if (100..200).contains(&status) {
                // An interim answer: another one follows its head (RFC 9110, 15.2).
                match self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    Some(at) => drop(self.answer.drain(..at + 4)),
                    None if self.answer.len() >= ANSWER_MAX => return Some(not_http(&self.answer)),
                    None => return None,
                }
                continue;
            }
            let text = format!("HTTP {status} {reason}").trim_end().to_owned();
            let (low, high) = self.expect;
            return Some(Outcome { passed: (low..=high).contains(&status), text });
        }
    }

    fn unfinished(&self, what: &str) -> Outcome {
        match self.answer.is_empty() {
            true => Outcome::failed(format!("no answer: {what}")),
            false => not_http(&self.answer),
        }
    }
}

/// The request with everything that the unit file has checked already.
fn request(http: &Http) -> Vec<u8> {
    let Http { address, port, path, method, headers, .. } = http;
    let host = if address.is_loopback() { "localhost".to_owned() } else { address.to_string() };
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n");
    let sets = |name: &str| headers.iter().any(|line| line.to_ascii_lowercase().starts_with(name));
    if !sets("user-agent:") {
        text.push_str("User-Agent: berth\r\n");
    }
    if method == "POST" {
        text.push_str("Content-Length: 0\r\n");
    }
    for line in headers {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// `HTTP/1.1 200 OK`: status and reason (RFC 9112, 4). The reason may be missing with the blank before it.
fn parse_status_line(line: &[u8]) -> Option<(u16, String)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, reason) = rest.split_at_checked(3)?;
    let status = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    let reason = match reason {
        [] => &[],
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    let status = status.parse().ok().filter(|status| *status >= 100)?;
    Some((status, shown(reason)))
}

fn not_http(answer: &[u8]) -> Outcome {
    Outcome::failed(format!("the answer is not HTTP: '{}'", shown(answer)))
}

/// The beginning of what a server said, fit to be printed.
fn shown(bytes: &[u8]) -> String {
    let begin = bytes.get(..SHOWN_MAX).unwrap_or(bytes);
    begin
        .iter()
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
        .collect()
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
