//! What goes to standard output and standard error, and how: colour and width only on a terminal.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use crate::failure::{Failure, Kind};

/// Writes to standard output. A reader that went away ends the command quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Kind::ReaderGone, error),
        _ => Failure::action(WriteError(error)),
    })
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write the output")]
struct WriteError(#[source] io::Error);

/// Writes to standard error; nobody is left to be told when that fails.
pub fn note(text: &str) {
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

/// Writes JSON to standard output, indented, with a line feed.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(Failure::action)?;
    text.push('\n');
    print(&text)
}

/// How text may look where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Escape sequences are welcome.
    pub colour: bool,
    /// Columns of the terminal; none when it is not one.
    pub width: Option<usize>,
}

impl Look {
    /// No colour, any width.
    #[cfg(test)]
    pub const PLAIN: Self = Self { colour: false, width: None };

    /// Of standard output. `NO_COLOR` (no-color.org) and `TERM=dumb` are honoured.
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self { colour: false, width: None };
        }
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        Self { colour: !dumb && !refused, width: width.filter(|columns| *columns > 0) }
    }

    /// Text in a colour, where colours are welcome.
    pub fn paint<T: fmt::Display>(self, colour: Colour, text: T) -> Painted<T> {
        Painted { code: if self.colour { Some(colour) } else { None }, text }
    }
}

/// The few colours in use, each with one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// As it should be.
    Green,
    /// On its way, or worth a look.
    Yellow,
    /// Wrong.
    Red,
    /// Less important.
    Dim,
    /// Headings.
    Bold,
}

/// Text with a colour around it.
pub struct Painted<T> {
    code: Option<Colour>,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.code {
            None => return self.text.fmt(f),
            Some(Colour::Green) => "32",
            Some(Colour::Yellow) => "33",
            Some(Colour::Red) => "31",
            Some(Colour::Dim) => "2",
            Some(Colour::Bold) => "1",
        };
        write!(f, "\x1b[{code}m")?;
        self.text.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}

/// Text of the node without control characters, so that a container cannot draw on the user's terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
