//! Patterns of lines: regular expressions whose time grows with the line alone, whatever they are.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};

/// The longest pattern, bytes.
pub const PATTERN_MAX: usize = 256;
/// Bytes that a pattern may take when it is compiled: `x{1000}{1000}` is short.
const COMPILED_MAX: usize = 256 << 10;

/// A pattern, compiled.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles it: `regex_lite::Regex`, so `.` is any character and classes such as `\\d` are of ASCII.
    ///
    /// # Errors
    /// It is too long, too large or none; why, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > PATTERN_MAX {
            return Err(format!("a pattern has 1 to {PATTERN_MAX} bytes"));
        }
        let regex = RegexBuilder::new(text).size_limit(COMPILED_MAX).build();
        regex.map(Self).map_err(|error| error.to_string())
    }

    /// Whether it is somewhere in a line. What is no UTF-8 in it is U+FFFD.
    pub fn is_in(&self, line: &[u8]) -> bool {
        self.0.is_match(&String::from_utf8_lossy(line))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_and_bad_patterns_are_named() {
        let found = |pattern: &str, line: &[u8]| Pattern::parse(pattern).unwrap().is_in(line);
        assert!(found("^ready in [0-9.]+s$", b"ready in 1.5s"));
        assert!(found("listening", b"10:00 INFO listening on :80"));
        assert!(!found("^listening", b"10:00 INFO listening on :80"));
        assert!(found("a.b", b"a\xffb") && found("(?i)READY", b"ready"));
        for bad in ["", "(", "[a", "x{1000}{1000}", &"x".repeat(PATTERN_MAX + 1)] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
