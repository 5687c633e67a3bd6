//! The node's console on our standard output.
//!
//! On a terminal bytes pass as they come. Otherwise whole lines do, without carriage returns, so that a test or a
//! log file reads plain text. A reader that went away stops nothing.
//!
//! Control characters become question marks: the kernel prints the names that processes give themselves, so that a
//! container could otherwise draw on the terminal by running out of memory.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::output::note;
use crate::pending::Pending;

/// While so much waits for the reader of our output, the console is not read.
const HELD_MAX: usize = 256 << 10;
/// A longer line is passed in pieces.
const LINE_MAX: usize = 16 << 10;
/// poll(2) promises room for so many bytes in a pipe (pipe(7), PIPE_BUF).
const WRITE_MAX: usize = 4096;

/// The console.
pub struct Console {
    socket: UnixStream,
    open: bool,
    line: Vec<u8>,
    out: Pending,
    /// Ends with a line feed, or nothing was said yet.
    at_line_start: bool,
    plain: bool,
    reader_gone: bool,
    /// The last byte, of which a control character of two bytes may be the rest.
    last: u8,
}

impl Console {
    /// Over QEMU's serial socket; `headless` output is plain even on a terminal.
    pub fn new(socket: UnixStream, headless: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            open: true,
            line: Vec::new(),
            out: Pending::default(),
            at_line_start: true,
            plain: headless || !io::stdout().is_terminal(),
            reader_gone: false,
            last: 0,
        })
    }

    /// The socket, and what it waits for.
    pub fn socket(&self) -> (BorrowedFd<'_>, PollFlags) {
        let read = self.open && self.out.len() < HELD_MAX;
        (self.socket.as_fd(), if read { PollFlags::IN } else { PollFlags::empty() })
    }

    /// What standard output is waited for.
    pub fn stdout_interest(&self) -> PollFlags {
        if self.out.is_empty() { PollFlags::empty() } else { PollFlags::OUT }
    }

    /// Reads what the node wrote; false at the end.
    pub fn read(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) => self.open = false,
            Ok(len) => {
                let bytes = buffer.get_mut(..len).unwrap_or_default();
                self.last = neutralise(bytes, self.last);
                self.take(bytes);
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.open = false,
        }
        false
    }

    fn take(&mut self, bytes: &[u8]) {
        if !self.plain {
            self.push(bytes);
            return;
        }
        for byte in bytes.iter().filter(|byte| **byte != b'\r') {
            self.line.push(*byte);
            if *byte == b'\n' || self.line.len() > LINE_MAX {
                let line = std::mem::take(&mut self.line);
                self.push(&line);
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if !self.reader_gone {
            self.at_line_start = bytes.last().is_none_or(|byte| *byte == b'\n');
            self.out.push(bytes);
        }
    }

    /// Writes what standard output takes now.
    pub fn write(&mut self) {
        if self.out.write_to(io::stdout(), WRITE_MAX).is_err() {
            self.reader_gone = true;
            self.out = Pending::default();
        }
    }

    /// A line of our own: among the console's lines on a terminal, on standard error otherwise.
    pub fn say(&mut self, text: &str) {
        if self.plain {
            note(&format!("{text}\n"));
            return;
        }
        let first = if self.at_line_start { "" } else { "\n" };
        self.push(format!("{first}{text}\n").as_bytes());
    }

    /// The terminal has drawn a `^C`: what is said next begins a line of its own.
    pub fn interrupted(&mut self) {
        self.at_line_start = false;
    }

    /// The rest, once QEMU has ended.
    pub fn finish(&mut self) {
        while self.read() {}
        let line = std::mem::take(&mut self.line);
        self.push(&line);
        let mut stdout = io::stdout().lock();
        while let Ok(1..) = self.out.write_to(&stdout, WRITE_MAX) {}
        stdout.flush().unwrap_or_default();
    }
}

/// Puts a question mark in place of each control character but tabs and line breaks; `last` is the byte before, and
/// the last one comes back. C1 controls are what follows 0xc2 in UTF-8.
fn neutralise(bytes: &mut [u8], mut last: u8) -> u8 {
    for byte in bytes {
        let was = *byte;
        let is_control = matches!(was, 0..=8 | 0xb | 0xc | 0xe..=0x1f | 0x7f);
        if is_control || (last == 0xc2 && (0x80..0xa0).contains(&was)) {
            *byte = b'?';
        }
        last = was;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_draw_on_the_terminal_by_its_name() {
        let (ours, mut node) = UnixStream::pair().unwrap();
        let mut console = Console::new(ours, false).unwrap();
        console.plain = false;
        // The last one is CSI in UTF-8, cut by a read.
        for part in [&b"killed 7 (\x1b]0;own\x07)\t\r\n"[..], b"\xc3\xa4 \xc2", b"\x9b31m\n"] {
            node.write_all(part).unwrap();
            assert!(console.read());
        }
        assert_eq!(console.out.to_vec(), b"killed 7 (?]0;own?)\t\r\n\xc3\xa4 \xc2?31m\n");
    }

    #[test]
    fn plain_output_is_whole_lines_without_carriage_returns() {
        let (ours, mut node) = UnixStream::pair().unwrap();
        let mut console = Console::new(ours, true).unwrap();
        node.write_all(b"one\r\ntw").unwrap();
        assert!(console.read());
        assert_eq!(console.out.to_vec(), b"one\n");
        node.write_all(b"o\r\n").unwrap();
        assert!(console.read());
        assert_eq!(console.out.to_vec(), b"one\ntwo\n");
        assert!(!console.read());
        drop(node);
        assert!(!console.read() && console.socket().1.is_empty());
    }
}
