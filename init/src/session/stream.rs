//! The client's connection as a stream of bytes: frames of standard output or input without their headers.

use std::io::{self, Read, Write};

use berth_units::wire::session::Kind;
use rustix::event::{PollFd, PollFlags, poll};

use super::client::Client;

/// Frames of standard output, no more of them than the client takes.
pub struct ToClient<'c>(pub &'c mut Client);

impl Write for ToClient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.0.has_room() {
            self.0.flush_all()?;
        }
        self.0.push(Kind::Stdout, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush_all()
    }
}

/// Frames of standard input.
pub struct FromClient<'c> {
    client: &'c mut Client,
    pending: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for FromClient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.pending.len() && !self.ended {
            self.take_frame()?;
        }
        let rest = self.pending.get(self.at..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        self.at += len;
        Ok(len)
    }
}

impl<'c> FromClient<'c> {
    /// From the next frame on.
    pub fn new(client: &'c mut Client) -> Self {
        Self { client, pending: Vec::new(), at: 0, ended: false }
    }

    /// The next frame of input; others mean nothing here.
    fn take_frame(&mut self) -> io::Result<()> {
        let (mut next, mut ended) = (None, false);
        self.client.take_frames(|kind, payload| {
            ended = kind == Kind::Stdin && payload.is_empty();
            next = (kind == Kind::Stdin).then(|| payload.to_vec());
            next.is_none()
        })?;
        self.ended = ended;
        if let Some(next) = next {
            (self.pending, self.at) = (next, 0);
            return Ok(());
        }
        let mut fds = [PollFd::new(&*self.client, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        self.client.fill()
    }
}
