//! QEMU's own control connection: QMP, a line of JSON each way (QEMU, docs/interop/qmp-spec.rst).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use rustix::io::Errno;
use serde_json::Value;

use crate::pending::Pending;

/// A line is never longer; what is longer is not QMP.
const LINE_MAX: usize = 64 << 10;

/// What QEMU reports and matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The guest has turned itself off.
    GuestOff,
    /// QEMU ends for another reason, which is named.
    Ends(String),
    /// The guest has reset itself.
    Reset,
}

/// The connection.
pub struct Monitor {
    stream: UnixStream,
    inbox: Vec<u8>,
    outbox: Pending,
    open: bool,
}

impl Monitor {
    /// Over a connected socket; begins the conversation.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut monitor = Self { stream, inbox: Vec::new(), outbox: Pending::default(), open: true };
        monitor.execute("qmp_capabilities");
        Ok(monitor)
    }

    /// Queues a command that has no arguments.
    pub fn execute(&mut self, command: &str) {
        self.outbox.push(format!("{{\"execute\":\"{command}\"}}\n").as_bytes());
    }

    /// To wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What for.
    pub fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.open);
        flags.set(PollFlags::OUT, self.open && !self.outbox.is_empty());
        flags
    }

    /// Reads and writes; returns the events that arrived.
    pub fn on_ready(&mut self, flags: PollFlags) -> Vec<Event> {
        if flags.contains(PollFlags::OUT) && self.outbox.write_to(&self.stream, LINE_MAX).is_err() {
            self.open = false;
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return Vec::new();
        }
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.stream, &mut buffer) {
            Ok(0) => self.open = false,
            Ok(len) => self.inbox.extend_from_slice(buffer.get(..len).unwrap_or(&[])),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.open = false,
        }
        self.take_lines()
    }

    fn take_lines(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(end) = self.inbox.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.inbox.drain(..=end).collect();
            events.extend(parse_event(&line));
        }
        if self.inbox.len() > LINE_MAX {
            self.inbox.clear();
        }
        events
    }
}

fn parse_event(line: &[u8]) -> Option<Event> {
    let message: Value = serde_json::from_slice(line).ok()?;
    let data = message.get("data");
    match message.get("event")?.as_str()? {
        "SHUTDOWN" => {
            let reason = data.and_then(|data| data.get("reason")?.as_str()).unwrap_or("unknown");
            let by_guest = reason == "guest-shutdown";
            Some(if by_guest { Event::GuestOff } else { Event::Ends(reason.to_owned()) })
        }
        "RESET" => Some(Event::Reset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn events_are_told_apart_even_in_pieces() {
        let (ours, mut qemu) = UnixStream::pair().unwrap();
        let mut monitor = Monitor::new(ours).unwrap();
        let mut say = |text: &str| {
            qemu.write_all(text.as_bytes()).unwrap();
            monitor.on_ready(PollFlags::IN | PollFlags::OUT)
        };
        assert_eq!(say("{\"QMP\": {}}\r\n{\"return\": {}}\r\nnonsense\n{\"event\": \"RES"), []);
        assert_eq!(say("ET\"}\r\n"), [Event::Reset]);
        assert_eq!(
            say("{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-shutdown\"}}\n\
                 {\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,\"reason\":\"host-signal\"}}\n"),
            [Event::GuestOff, Event::Ends("host-signal".to_owned())]
        );
        drop(qemu);
        monitor.on_ready(PollFlags::HUP);
        assert!(monitor.interest().is_empty());
    }
}
