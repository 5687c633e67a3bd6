//! Why a command did not do what it was asked: a kind, an error with its causes, and what to do next.

use std::error::Error;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::output::printable;

/// Whose fault it is; the exit code follows from it (docs/contract.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The reader of our output went away: nothing to say, nothing failed.
    ReaderGone,
    /// The files that were read are at fault.
    Input,
    /// The command line is at fault.
    Usage,
    /// The node does not answer.
    Unreachable,
    /// The action was understood and did not succeed.
    Action,
}

impl Kind {
    /// The exit code of the command.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::ReaderGone => 0,
            Self::Input => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Action => 4,
        })
    }
}

/// What a command returns when it fails.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// What could not be done; its sources say why. None when all has been said already.
    pub error: Option<Box<dyn Error>>,
    /// What the user can do about it, a sentence each.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure of that kind.
    pub fn new(kind: Kind, error: impl Into<Box<dyn Error>>) -> Self {
        Self { kind, error: Some(error.into()), hints: Vec::new() }
    }

    /// The input is at fault.
    pub fn input(error: impl Into<Box<dyn Error>>) -> Self {
        Self::new(Kind::Input, error)
    }

    /// The command line is at fault in a way that only doing it shows.
    pub fn usage(error: impl Into<Box<dyn Error>>) -> Self {
        Self::new(Kind::Usage, error)
    }

    /// The action failed.
    pub fn action(error: impl Into<Box<dyn Error>>) -> Self {
        Self::new(Kind::Action, error)
    }

    /// The exit code alone: the command has already said what is wrong.
    pub fn said(kind: Kind) -> Self {
        Self { kind, error: None, hints: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The text for standard error, ending in a line feed; empty when there is nothing to say. Names in it may come
    /// from an image or a node, so none of it moves the cursor.
    pub fn text(&self) -> String {
        let Some(error) = self.error.as_deref().filter(|_| self.kind != Kind::ReaderGone) else {
            return String::new();
        };
        let mut text = format!("error: {}\n", printable(&chain(error)));
        for hint in &self.hints {
            // Writing to a String cannot fail.
            writeln!(text, "help: {}", printable(hint)).unwrap_or_default();
        }
        text
    }
}

/// An error and its causes in one line, each cause once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = without_number(&error.to_string()).to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        let part = without_number(&part);
        if !text.ends_with(part) {
            text.push_str(": ");
            text.push_str(part);
        }
        cause = error.source();
    }
    text
}

/// The text of an `io::Error` without ` (os error 2)`.
fn without_number(text: &str) -> &str {
    text.rfind(" (os error ").and_then(|at| text.get(..at)).unwrap_or(text)
}

/// A system call on a path that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} '{path}'")]
pub struct Cannot {
    what: &'static str,
    path: String,
    #[source]
    source: io::Error,
}

impl Cannot {
    /// For `map_err`: `Cannot::at("read", path)`.
    pub fn at<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path: PathBuf = path.to_owned();
        move |source| Self { what, path: path.display().to_string(), source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once_and_without_numbers() {
        let source = io::Error::from_raw_os_error(2);
        let failure = Failure::action(Cannot::at("open", Path::new("/x"))(source)).hint("make it");
        assert_eq!(failure.text(), "error: cannot open '/x': No such file or directory\nhelp: make it\n");
        assert_eq!(Failure::said(Kind::Input).text(), "");
    }

    #[test]
    fn names_of_others_do_not_reach_the_terminal_as_they_are() {
        let failure = Failure::input("layer 'a\x1b]0;owned\x07\r\nok: b'").hint("see '\x1b[31m'");
        let text = failure.text();
        assert_eq!(text.matches('\n').count(), 2, "{text:?}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}
