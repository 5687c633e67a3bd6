//! What our own processes have to say: one line, one write(2), a level in front as the kernel's log wants it.
//!
//! PID 1 writes to /dev/kmsg; it starts the others with standard error on /dev/kmsg, so all that they say ends in
//! the kernel's log, on the console and in `dmesg`, in order with the kernel's own words. Nothing is allocated and
//! nothing can fail: what cannot be written is lost. The output of containers never comes here.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::OnceLock;

/// The longest line with its prefix, bytes: the kernel refuses records of about 1024 (PRINTKRB_RECORD_MAX).
const LINE_MAX: usize = 960;

/// Severity as in syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Something that should work did not.
    Error = 3,
    /// Something was put right or left out.
    Warning = 4,
    /// What a reader of the log looks for: boot phases, restarts, the way down.
    Notice = 5,
    /// The rest.
    Info = 6,
}

struct Voice {
    name: &'static str,
    kmsg: Option<File>,
}

static VOICE: OnceLock<Voice> = OnceLock::new();

/// Names this process in front of its lines, which go to standard error. Later calls change nothing.
pub fn speak_as(name: &'static str) {
    VOICE.get_or_init(|| Voice { name, kmsg: None });
}

/// The same for PID 1, whose lines go to /dev/kmsg, or to standard error while that cannot be opened.
pub fn speak_to_kernel(name: &'static str) {
    VOICE.get_or_init(|| Voice { name, kmsg: OpenOptions::new().write(true).open("/dev/kmsg").ok() });
}

/// Writes one line; use the macros [`crate::error!`], [`crate::warning!`], [`crate::notice!`] and [`crate::info!`].
pub fn say(level: Level, text: fmt::Arguments<'_>) {
    let silent = Voice { name: "berth", kmsg: None };
    let voice = VOICE.get().unwrap_or(&silent);
    let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
    // A line that is too long is cut: Line says so by an error that means nothing here.
    let _cut = write!(line, "<{}>{}: {text}", level as u8, voice.name);
    let bytes = line.end();
    let _lost = match &voice.kmsg {
        Some(kmsg) => (&mut &*kmsg).write_all(bytes),
        None => std::io::stderr().write_all(bytes),
    };
}

/// A line under construction; line breaks within become spaces, since each would begin a record without a level.
struct Line {
    bytes: [u8; LINE_MAX],
    len: usize,
}

impl Line {
    fn end(&mut self) -> &[u8] {
        self.len = self.len.min(LINE_MAX - 1);
        if let Some(last) = self.bytes.get_mut(self.len) {
            *last = b'\n';
        }
        self.bytes.get(..=self.len).unwrap_or_default()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.bytes.get_mut(self.len).ok_or(fmt::Error)? = if byte == b'\n' { b' ' } else { byte };
            self.len += 1;
        }
        Ok(())
    }
}

/// An error with all its sources in one line: `cannot mount '/data': No such device`.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Says that something that should work did not.
#[macro_export]
macro_rules! error { ($($word:tt)*) => { $crate::kmsg::say($crate::kmsg::Level::Error, format_args!($($word)*)) } }
/// Says that something was put right or left out.
#[macro_export]
macro_rules! warning { ($($word:tt)*) => { $crate::kmsg::say($crate::kmsg::Level::Warning, format_args!($($word)*)) } }
/// Says what a reader of the log looks for.
#[macro_export]
macro_rules! notice { ($($word:tt)*) => { $crate::kmsg::say($crate::kmsg::Level::Notice, format_args!($($word)*)) } }
/// Says the rest.
#[macro_export]
macro_rules! info { ($($word:tt)*) => { $crate::kmsg::say($crate::kmsg::Level::Info, format_args!($($word)*)) } }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_single_and_cut() {
        let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
        write!(line, "<6>a\nb").unwrap();
        assert_eq!(line.end(), b"<6>a b\n");
        let mut line = Line { bytes: [0; LINE_MAX], len: 0 };
        assert!(write!(line, "{}", "x".repeat(2000)).is_err());
        assert_eq!((line.end().len(), line.end().last()), (LINE_MAX, Some(&b'\n')));
    }

    #[test]
    fn chains_name_every_source() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot mount '/data'")]
        struct Mount(#[source] std::io::Error);
        let error = Mount(std::io::ErrorKind::NotFound.into());
        assert_eq!(Chain(&error).to_string(), "cannot mount '/data': entity not found");
    }
}
