//! Bytes that nobody is to see: not in a log, not in a message, not in memory that is given back.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A secret, or something that may hold one. It cannot be shown, and is overwritten when it is dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Private(Vec<u8>);

impl Private {
    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes without a line break at the end, as text: what a variable or a template takes of them.
    pub fn line(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        (!text.contains('\0')).then_some(text)
    }
}

/// On its way through the control interface: two hexadecimal digits a byte.
impl Serialize for Private {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
        serializer.serialize_str(&digits.collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Private {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Self::from(String::deserialize(deserializer)?);
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = text.0.as_chunks::<2>();
        let byte = |[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
        let bytes = pairs.iter().map(byte).collect::<Option<Vec<_>>>();
        bytes.filter(|_| rest.is_empty()).map(Self).ok_or_else(|| D::Error::custom("not hexadecimal digits"))
    }
}

impl From<Vec<u8>> for Private {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for Private {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Private({} bytes)", self.0.len())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.0.fill(0);
        // Whoever may look at it keeps the compiler from leaving the line above out.
        std::hint::black_box(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_travels_in_hexadecimal_digits() {
        let private = Private::from(vec![0, 0x1f, 0xff]);
        let text = serde_json::to_string(&private).unwrap();
        assert_eq!(text, "\"001fff\"");
        assert_eq!(serde_json::from_str::<Private>(&text).unwrap(), private);
        for wrong in ["\"0\"", "\"0g\"", "\"\u{e9}\"", "[1]"] {
            let error = serde_json::from_str::<Private>(wrong).unwrap_err().to_string();
            assert!(!error.contains('g') || !wrong.contains('g') || error.contains("digits"), "{error}");
        }
    }

    #[test]
    fn it_is_not_shown_and_a_line_of_it_is_text() {
        let shown = format!("{:?}", Some(Private::from("hunter2".to_owned())));
        assert_eq!(shown, "Some(Private(7 bytes))");
        for (bytes, line) in [
            (&b"x\n"[..], Some("x")),
            (b"x\n\n", Some("x\n")),
            (b"", Some("")),
            (b"a\0b", None),
            (b"\xff", None),
        ] {
            assert_eq!(Private::from(bytes.to_vec()).line(), line, "{bytes:?}");
        }
    }
}
