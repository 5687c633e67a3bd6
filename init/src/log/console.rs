//! What units with `log.to = "console"` say, on the node's console.
//!
//! A console may be slow, or a serial line at whose other end nobody is: what it does not take now waits, up to a bound,
//! and beyond it lines are left out and counted. Nothing of it is lost to `berth logs`.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use berth_units::Name;
use rustix::fs::OFlags;

use crate::error;

/// Bytes that wait for the console.
const WAITING_MAX: usize = 16 << 10;
/// Characters of a line that are shown.
const SHOWN_MAX: usize = 500;

/// The console.
#[derive(Debug)]
pub struct Console {
    path: PathBuf,
    /// None before the first line, and where it cannot be opened.
    terminal: Option<OwnedFd>,
    waiting: Vec<u8>,
    left_out: u64,
    has_failed: bool,
}

impl Console {
    /// That file, which is opened when there is something to show.
    pub fn new(path: PathBuf) -> Self {
        Self { path, terminal: None, waiting: Vec::new(), left_out: 0, has_failed: false }
    }

    /// Shows lines of a unit's log.
    pub fn show(&mut self, unit: &Name, lines: &[u8]) {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.add(&shown(unit, line));
        }
        self.flush();
    }

    fn add(&mut self, line: &str) {
        let note = match self.left_out {
            0 => String::new(),
            count => format!("berth: {count} lines are not shown here\n"),
        };
        if self.waiting.len() + note.len() + line.len() > WAITING_MAX {
            self.left_out += 1;
        } else {
            self.left_out = 0;
            self.waiting.extend(note.bytes().chain(line.bytes()));
        }
    }

    /// Writes what it takes now.
    pub fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.write() {
                Ok(0) => return,
                Ok(written) => drop(self.waiting.drain(..written.min(self.waiting.len()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    if !std::mem::replace(&mut self.has_failed, true) {
                        error!("cannot write to '{}': {error}; showing nothing there", self.path.display());
                    }
                    self.waiting.clear();
                    self.terminal = None;
                    return;
                }
            }
        }
    }

    fn write(&mut self) -> io::Result<usize> {
        if self.terminal.is_none() {
            let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
            let flags = i32::try_from(flags).unwrap_or(0);
            let opened = OpenOptions::new().write(true).custom_flags(flags).open(&self.path)?;
            self.terminal = Some(opened.into());
        }
        let Some(terminal) = &self.terminal else { return Ok(0) };
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(terminal, &self.waiting))?)
    }

    /// To wait for room; none while nothing waits.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.terminal.as_ref().filter(|_| !self.waiting.is_empty()).map(AsFd::as_fd)
    }
}

/// A line of a log file, `TIME STREAM TEXT`, without what could steer a terminal.
fn shown(unit: &Name, line: &[u8]) -> String {
    let text = line.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let plain =
        text.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c });
    format!("{unit}: {}\n", plain.take(SHOWN_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_the_console_does_not_take_is_left_out_and_counted() {
        let path = std::env::temp_dir().join(format!("berth-console-{}", std::process::id()));
        let _absent = std::fs::remove_file(&path);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        // Both ends, so that opening it waits for nobody.
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let capacity = rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
        let unit = Name::parse("web").unwrap();
        let mut console = Console::new(path.clone());
        let line = format!("2026-11-20T16:50:58.000123Z stdout {}\n", "x".repeat(100));
        let most = (capacity + WAITING_MAX) / 106;
        console.show(&unit, line.repeat(most + 50).as_bytes());
        assert!(console.left_out >= 50 && console.left_out < 100 && console.awaited().is_some());
        let mut taken = vec![0; capacity];
        let mut said = Vec::new();
        while console.awaited().is_some() {
            let len = reader.read(&mut taken).unwrap();
            said.extend_from_slice(taken.get(..len).unwrap());
            console.flush();
        }
        console.show(&unit, b"2026-11-20T16:50:58.000123Z stderr last \x1b[2Jwords\n");
        let len = reader.read(&mut taken).unwrap();
        said.extend_from_slice(taken.get(..len).unwrap());
        let said = String::from_utf8(said).unwrap();
        assert!(said.lines().last().unwrap().ends_with("web: last \u{fffd}[2Jwords"), "{said}");
        assert!(said.contains("lines are not shown here\nweb: last"), "{said}");
        std::fs::remove_file(path).unwrap();
    }
}
