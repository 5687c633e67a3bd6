//! From bytes of a stream to lines of a log file. Pure.

/// The longest text of one line, bytes. What is longer becomes several lines, each but the last marked.
pub const LINE_MAX: usize = 16 << 10;

/// Lines are made up to this many bytes at a time: a flood of empty lines grows thirtyfold by its prefixes.
pub const STEP_MAX: usize = 64 << 10;

/// After a piece of a line that goes on in the next.
const CUT_MARK: &[u8] = b" [cut]";

/// Appends every whole line of `bytes`, with `prefix` in front, to `out`; returns how many bytes they took.
///
/// What has no end yet stays, unless it is over [`LINE_MAX`] or the stream `is_ended`; so does what comes after
/// `out` has grown to [`STEP_MAX`].
pub fn format_lines(prefix: &[u8], bytes: &[u8], is_ended: bool, out: &mut Vec<u8>) -> usize {
    let mut rest = bytes;
    while out.len() < STEP_MAX
        && let Some((text, mark, used)) = next_line(rest, is_ended)
    {
        for part in [prefix, text, mark, b"\n"] {
            out.extend_from_slice(part);
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    bytes.len() - rest.len()
}

/// Text and mark of the first line, and the bytes that it takes.
fn next_line(rest: &[u8], is_ended: bool) -> Option<(&[u8], &[u8], usize)> {
    let window = rest.get(..=LINE_MAX).unwrap_or(rest);
    let mut pieces = window.splitn(2, |byte| *byte == b'\n');
    let text = pieces.next().unwrap_or_default();
    if pieces.next().is_some() {
        return Some((text, b"", text.len() + 1));
    }
    if rest.len() > LINE_MAX {
        return Some((rest.get(..LINE_MAX)?, CUT_MARK, LINE_MAX));
    }
    (is_ended && !rest.is_empty()).then_some((rest, b"", rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], is_ended: bool, expect: &str, used: usize) {
        let mut out = Vec::new();
        assert_eq!(format_lines(b"> ", bytes, is_ended, &mut out), used);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn only_whole_lines_are_taken() {
        check(b"", false, "", 0);
        check(b"", true, "", 0);
        check(b"a\nb\n", false, "> a\n> b\n", 4);
        check(b"a\nb", false, "> a\n", 2);
        check(b"a\nb", true, "> a\n> b\n", 3);
        check(b"\n\n", false, "> \n> \n", 2);
    }

    #[test]
    fn a_flood_of_empty_lines_comes_in_steps() {
        let mut out = Vec::new();
        let used = format_lines(&[b'>'; 35], &[b'\n'; 100_000], false, &mut out);
        assert_eq!((used, out.len()), (STEP_MAX / 36 + 1, (STEP_MAX / 36 + 1) * 36));
    }

    #[test]
    fn long_lines_are_cut_and_marked() {
        let long = "x".repeat(LINE_MAX);
        check(long.as_bytes(), false, "", 0);
        check(format!("{long}\n").as_bytes(), false, &format!("> {long}\n"), LINE_MAX + 1);
        check(format!("{long}y").as_bytes(), false, &format!("> {long} [cut]\n"), LINE_MAX);
        check(format!("{long}y\n").as_bytes(), false, &format!("> {long} [cut]\n> y\n"), LINE_MAX + 2);
    }
}
