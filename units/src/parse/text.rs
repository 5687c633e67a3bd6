//! From text to TOML tables whose spans are places in the whole set.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::lexer::TokenKind;

use super::FILE_MAX;
use crate::codes::{FILE_TOO_LARGE, NESTING, NOT_TEXT, SYNTAX};
use crate::fault::{FAULTS_MAX, Fault, Place};

/// Levels of brackets, and of dots in one key: no key of the table needs more than four.
const NESTING_MAX: usize = 16;

/// The file that begins at `start` as TOML, or its faults.
pub(super) fn parse<'t>(start: usize, text: &'t str, faults: &mut Vec<Fault>) -> Option<DeTable<'t>> {
    if text.len() > FILE_MAX {
        let message = format!("the file has {} bytes; {FILE_MAX} are the most", text.len());
        faults.push(Fault::error(FILE_TOO_LARGE, Place(start..start), message));
        return None;
    }
    if let Some(at) = text.find(char::REPLACEMENT_CHARACTER) {
        let message = format!("byte {} of the file begins no character of UTF-8", at + 1);
        let place = Place(start + at..start + at + char::REPLACEMENT_CHARACTER.len_utf8());
        faults.push(Fault::error(NOT_TEXT, place, message).help("save the file as UTF-8"));
        return None;
    }
    if let Some(span) = find_deep_nesting(text) {
        let message = format!("more than {NESTING_MAX} levels of tables, lists or dots");
        faults.push(Fault::error(NESTING, Place(move_span(span, start)), message));
        return None;
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(move_table(table.into_inner(), start));
    }
    let line_starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let mut last_line = None;
    for error in errors.iter().take(FAULTS_MAX) {
        let span = error.span().unwrap_or(0..0);
        // One slip often breaks several rules; what follows it on the same line would only confuse.
        let line = line_starts.partition_point(|start| *start <= span.start);
        if last_line.replace(line) != Some(line) {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            faults.push(Fault::error(SYNTAX, Place(move_span(span, start)), message));
        }
    }
    None
}

/// The parts of a dotted key, as TOML writes it.
pub(super) fn parse_key(text: &str) -> Option<Vec<String>> {
    let line = format!("{text}=0");
    let plain = !text.contains(char::is_control) && find_deep_nesting(&line).is_none();
    let table = plain.then(|| DeTable::parse(&line).ok())?.map(Spanned::into_inner)?;
    let mut parts = Vec::new();
    let mut level = &table;
    loop {
        let (key, value) = level.iter().next()?;
        parts.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(below) if below.len() == 1 => level = below,
            // The zero behind it is ours, so nothing but the key stands before it.
            DeValue::Integer(_) if value.span() == (text.len() + 1..line.len()) => return Some(parts),
            _ => return None,
        }
    }
}

/// Where brackets or dotted keys go deeper than [`NESTING_MAX`].
///
/// The parser bounds each of them, but not their product, and a table is built and dropped by recursion: a deep
/// one would overflow the stack.
fn find_deep_nesting(text: &str) -> Option<Range<usize>> {
    let (mut brackets, mut dots) = (0_usize, 0_usize);
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                (brackets, dots) = (brackets + 1, 0)
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                brackets = brackets.saturating_sub(1)
            }
            TokenKind::Dot => dots += 1,
            TokenKind::Equals | TokenKind::Comma | TokenKind::Newline => dots = 0,
            _ => (),
        }
        if brackets > NESTING_MAX || dots > NESTING_MAX {
            return Some(token.span().start()..token.span().end());
        }
    }
    None
}

fn move_span(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn move_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let moved = |(key, value): (Spanned<_>, Spanned<_>)| {
        let key = Spanned::new(move_span(key.span(), by), key.into_inner());
        (key, move_value(value, by))
    };
    table.into_iter().map(moved).collect()
}

fn move_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = move_span(value.span(), by);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(move_table(table, by)),
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(|item| move_value(item, by)).collect()),
        plain => plain,
    };
    Spanned::new(span, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_keys() {
        let parse = |text| parse_key(text).map(|parts| parts.join("|"));
        for (text, expect) in [
            ("env.A", Some("env|A")),
            ("io.limits.\"/dev/vda\"", Some("io|limits|/dev/vda")),
            ("'a=b'", Some("a=b")),
            ("a = 1 #", None),
            ("a=1\nb", None),
            ("a.", None),
            ("", None),
            ("[a]", None),
        ] {
            assert_eq!(parse(text).as_deref(), expect, "{text}");
        }
        assert_eq!(parse_key(&"a.".repeat(100_000)), None);
    }
}
