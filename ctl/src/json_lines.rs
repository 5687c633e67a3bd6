//! Lines of JSON from the node, shown for people.

use crate::pending::Pending;
use crate::session::Filter;

/// Holds the line that is not whole yet; the node sends none longer than a frame.
pub struct JsonLines {
    rest: Vec<u8>,
    show: fn(&[u8]) -> Option<String>,
}

impl JsonLines {
    /// Shows each line as `show` has it, or not at all.
    pub fn new(show: fn(&[u8]) -> Option<String>) -> Self {
        Self { rest: Vec::new(), show }
    }
}

impl Filter for JsonLines {
    fn take(&mut self, bytes: &[u8], out: &mut Pending) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let shown = (self.show)(&self.rest).unwrap_or_default();
                out.push(shown.as_bytes());
                self.rest.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_once_it_is_whole_however_it_arrives() {
        let show =
            |line: &[u8]| Some(String::from_utf8_lossy(line).to_uppercase()).filter(|text| text != "NO\n");
        for at in 0..8 {
            let (mut lines, mut out) = (JsonLines::new(show), Pending::default());
            let (first, second) = b"a\nno\nbc\nrest".split_at(at);
            lines.take(first, &mut out);
            lines.take(second, &mut out);
            assert_eq!(String::from_utf8_lossy(&out.to_vec()), "A\nBC\n", "{at}");
        }
    }
}
