//! What is wrong with a unit set, told so that a person can mend it: place, message, nearest right thing.
//!
//! Drawing the source line is the command's business; here are only the facts. Numbers are stable: a number is
//! never used again for something else.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A stable number, shown as `BUnnnn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BU{:04}", self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let number = text.strip_prefix("BU").and_then(|number| number.parse().ok());
        number.map(Self).ok_or_else(|| serde::de::Error::custom("no code of a diagnostic"))
    }
}

/// Whether the set can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The whole set is refused.
    Error,
    /// Probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One fault. Its [`Display`](fmt::Display) is the stable first line, `FILE:LINE:COL: error[BUnnnn]: message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// What kind of fault.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// The file, as the user knows it.
    pub path: String,
    /// The bytes of the file that are meant; may be empty.
    pub span: Range<usize>,
    /// Line of the span's start, from 1.
    pub line: usize,
    /// Column of the span's start in characters, from 1.
    pub column: usize,
    /// What is wrong: lower case, no full stop, one line.
    pub message: String,
    /// A few words to put beside the span.
    pub label: Option<String>,
    /// Other places that have to do with it.
    pub related: Vec<Related>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Another place that has to do with a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// The file, as the user knows it.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is there.
    pub text: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, severity, code, message, .. } = self;
        write!(f, "{path}:{line}:{column}: {severity}[{code}]: {message}")
    }
}

/// Line and column (in characters), both from 1, of a byte offset; one beyond the end is the end.
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = text.get(..end).unwrap_or("");
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or("").chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "a\näöx\n";
        for (offset, place) in [(0, (1, 1)), (2, (2, 1)), (4, (2, 2)), (6, (2, 3)), (7, (2, 4)), (99, (3, 1))]
        {
            assert_eq!(line_column(text, offset), place, "{offset}");
        }
        // In the middle of a character: its start.
        assert_eq!(line_column(text, 3), (2, 1));
    }
}
