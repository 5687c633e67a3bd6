//! From bytes of a stream to lines of a log file. Pure.

use berth_units::pattern::Pattern;

/// Lines are made up to this many bytes at a time: a flood of empty lines grows thirtyfold by its prefixes.
pub const STEP_MAX: usize = 64 << 10;

/// After a piece of a line that goes on in the next.
const CUT_MARK: &[u8] = b" [cut]";

/// How lines are made of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// In front of each.
    pub prefix: &'a [u8],
    /// The longest text, bytes. What is longer becomes several lines, each but the last marked.
    pub max_line: usize,
    /// Nothing comes after these bytes: what has no end is a line, too.
    pub is_ended: bool,
    /// What somebody waits for.
    pub wanted: Option<&'a Pattern>,
}

/// How many lines may be made, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// So many more.
    pub left: u64,
    /// Lines that were one too many.
    pub over: u64,
    /// One of the lines, made or dropped, has in it what somebody waits for.
    pub found: bool,
}

/// Appends every whole line of `bytes` to `out`, as many as the budget has, and drops the rest; returns how many bytes
/// they took.
///
/// What has no end yet stays, unless it is too long; so does what comes after `out` has grown to [`STEP_MAX`].
pub fn format_lines(form: Form<'_>, bytes: &[u8], budget: &mut Budget, out: &mut Vec<u8>) -> usize {
    let mut rest = bytes;
    while out.len() < STEP_MAX
        && let Some((text, mark, used)) = next_line(rest, form)
    {
        budget.found = budget.found || form.wanted.is_some_and(|wanted| wanted.is_in(text));
        if budget.left > 0 {
            budget.left -= 1;
            for part in [form.prefix, text, mark, b"\n"] {
                out.extend_from_slice(part);
            }
        } else {
            budget.over += 1;
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    bytes.len() - rest.len()
}

/// Text and mark of the first line, and the bytes that it takes.
fn next_line<'b>(rest: &'b [u8], form: Form<'_>) -> Option<(&'b [u8], &'static [u8], usize)> {
    let window = rest.get(..=form.max_line).unwrap_or(rest);
    let mut pieces = window.splitn(2, |byte| *byte == b'\n');
    let text = pieces.next().unwrap_or_default();
    if pieces.next().is_some() {
        return Some((text, b"", text.len() + 1));
    }
    if rest.len() > form.max_line {
        return Some((rest.get(..form.max_line)?, CUT_MARK, form.max_line));
    }
    (form.is_ended && !rest.is_empty()).then_some((rest, b"", rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE_MAX: usize = 1000;

    #[track_caller]
    fn check(bytes: &[u8], is_ended: bool, expect: &str, used: usize) {
        let mut out = Vec::new();
        let form = Form { prefix: b"> ", max_line: LINE_MAX, is_ended, wanted: None };
        assert_eq!(format_lines(form, bytes, &mut Budget { left: 9, ..Budget::default() }, &mut out), used);
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
        let form = Form { prefix: &[b'>'; 35], max_line: LINE_MAX, is_ended: false, wanted: None };
        let used = format_lines(
            form,
            &[b'\n'; 100_000],
            &mut Budget { left: u64::MAX, ..Budget::default() },
            &mut out,
        );
        assert_eq!((used, out.len()), (STEP_MAX / 36 + 1, (STEP_MAX / 36 + 1) * 36));
    }

    #[test]
    fn lines_over_the_budget_are_dropped_and_counted() {
        let (mut out, mut budget) = (Vec::new(), Budget { left: 2, over: 5, found: false });
        let form = Form { prefix: b"", max_line: LINE_MAX, is_ended: false, wanted: None };
        assert_eq!(format_lines(form, b"a\nb\nc\nd\ne", &mut budget, &mut out), 8);
        assert_eq!(
            (out.as_slice(), budget),
            (b"a\nb\n".as_slice(), Budget { left: 0, over: 7, found: false })
        );
    }

    #[test]
    fn a_line_is_found_whether_it_is_kept_or_dropped() {
        let wanted = Pattern::parse("^up$").unwrap();
        let form = Form { prefix: b"", max_line: LINE_MAX, is_ended: false, wanted: Some(&wanted) };
        for (bytes, left, found) in
            [(&b"a\nup\n"[..], 9, true), (b"up\n", 0, true), (b"up", 9, false), (b"ups\n", 9, false)]
        {
            let mut budget = Budget { left, ..Budget::default() };
            format_lines(form, bytes, &mut budget, &mut Vec::new());
            assert_eq!(budget.found, found, "{bytes:?}");
        }
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
