//! Diagnostics as text: the first line as docs/contract.md has it, the source line drawn below.

use std::collections::BTreeSet;
use std::fmt::Write;

use berth_units::diagnostic::{Diagnostic, Severity};
use berth_units::spec::Declared;
use berth_units::{SourceFile, parse_set};

use crate::appliance::Appliance;
use crate::failure::{Failure, Kind};
use crate::output::{Colour, Look, note, printable};

/// Characters of a source line that are drawn; a longer line is cut around the place that is meant.
const DRAWN_MAX: usize = 120;

/// Parses an appliance for a command that goes on with it: diagnostics go to standard error.
pub fn check_or_fail(appliance: &Appliance) -> Result<Declared, Failure> {
    let sources = appliance.sources();
    let checked = parse_set(&sources);
    let look = Look { colour: false, width: None };
    for diagnostic in &checked.diagnostics {
        note(&draw(diagnostic, &sources, look));
    }
    checked.declared.ok_or_else(|| {
        note(&format!("{}\n", summary(&checked.diagnostics, appliance)));
        Failure::said(Kind::Input)
    })
}

/// How many are errors.
pub fn errors(diagnostics: &[Diagnostic]) -> usize {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
}

/// The last line: what was found, and that nothing was done about it.
pub fn summary(diagnostics: &[Diagnostic], appliance: &Appliance) -> String {
    let errors = errors(diagnostics);
    let warnings = diagnostics.len() - errors;
    let warned = if warnings > 0 { format!(", {}", count(warnings, "warning")) } else { String::new() };
    let drop_ins = appliance.drop_ins();
    let units = appliance.units.len() - drop_ins;
    if errors == 0 {
        return format!("{}: no errors{warned}", count(units, "unit"));
    }
    let faulty: BTreeSet<&str> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|diagnostic| diagnostic.path.as_str())
        .collect();
    let of_node = appliance.node.as_ref().is_some_and(|node| faulty.contains(node.path.as_str()));
    let (total, noun) = match of_node || drop_ins > 0 {
        true => (appliance.sources().len(), "file"),
        false => (units, "unit"),
    };
    let place = format!("{} of {}", faulty.len(), count(total, noun));
    format!("{}{warned} in {place}; nothing was changed", count(errors, "error"))
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A diagnostic with its source line, if the file is among `sources`.
pub fn draw(diagnostic: &Diagnostic, sources: &[SourceFile], look: Look) -> String {
    let colour = match diagnostic.severity {
        Severity::Error => Colour::Red,
        Severity::Warning => Colour::Yellow,
    };
    let first = diagnostic.to_string();
    // The contract's form stays in one piece; only the message behind it is set off.
    let mut text = match first.split_once("]: ") {
        Some((place, message)) => {
            format!("{}]: {}\n", printable(place), look.paint(Colour::Bold, printable(message)))
        }
        None => format!("{}\n", printable(&first)),
    };
    let gutter = " ".repeat(diagnostic.line.to_string().len());
    let source = sources.iter().find(|source| source.path == diagnostic.path);
    if let Some(line) = source.and_then(|source| source.text.lines().nth(diagnostic.line.saturating_sub(1))) {
        let (shown, skipped) = window(line, diagnostic.column);
        let at = diagnostic.column.saturating_sub(1 + skipped);
        let room = shown.chars().count().saturating_sub(at).max(1);
        let marks = marked(diagnostic, source).clamp(1, room);
        let label = diagnostic.label.as_deref().map(printable).unwrap_or_default();
        let mark = format!("{} {label}", "^".repeat(marks));
        let pointer = look.paint(colour, mark.trim_end());
        let line = diagnostic.line;
        // Writing to a String cannot fail.
        write!(text, "{gutter} |\n{line} | {shown}\n{gutter} | {}{pointer}\n", " ".repeat(at))
            .unwrap_or_default();
    }
    for related in &diagnostic.related {
        let place = format!("{}:{}:{}", related.path, related.line, related.column);
        writeln!(text, "{gutter} = {}: {}", printable(&place), printable(&related.text)).unwrap_or_default();
    }
    if let Some(help) = &diagnostic.help {
        writeln!(text, "{gutter} = help: {}", printable(help)).unwrap_or_default();
    }
    text
}

/// Characters of the span that are on its first line.
fn marked(diagnostic: &Diagnostic, source: Option<&SourceFile>) -> usize {
    let text = source.and_then(|source| source.text.get(diagnostic.span.clone())).unwrap_or("");
    text.lines().next().map_or(0, |line| line.chars().count())
}

/// The part of a line around a column, and the number of characters before it. Tabs are one character wide, so
/// that the marks below are in step.
fn window(line: &str, column: usize) -> (String, usize) {
    let skipped = if line.chars().count() > DRAWN_MAX { column.saturating_sub(1 + DRAWN_MAX / 3) } else { 0 };
    let shown: String = line.replace('\t', " ").chars().skip(skipped).take(DRAWN_MAX).collect();
    (printable(&shown), skipped)
}

#[cfg(test)]
mod tests {
    use berth_units::diagnostic::{Code, Related};

    use super::*;

    fn diagnostic(text: &str, meant: &str) -> Diagnostic {
        let start = text.find(meant).unwrap();
        let (line, column) = berth_units::diagnostic::line_column(text, start);
        Diagnostic {
            code: Code(101),
            severity: Severity::Error,
            path: "units/web.toml".to_owned(),
            span: start..start + meant.len(),
            line,
            column,
            message: "unknown key 'memroy'".to_owned(),
            label: Some("did you mean 'memory'?".to_owned()),
            related: Vec::new(),
            help: None,
        }
    }

    fn source(text: &str) -> Vec<SourceFile> {
        vec![SourceFile { path: "units/web.toml".to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn a_files_name_does_not_draw_on_the_terminal() {
        let mut fault = diagnostic("memroy = 1", "memroy");
        fault.path = "units/\x1b[2J.toml".to_owned();
        fault.related.push(Related {
            path: "\x1b.toml".to_owned(),
            line: 1,
            column: 1,
            text: "too".to_owned(),
        });
        let text = draw(&fault, &[], Look::PLAIN);
        assert!(!text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn the_line_is_drawn_with_its_place_marked() {
        let text = "schema = 1\n\n[memroy]\nmax = 1\n";
        let mut fault = diagnostic(text, "memroy");
        fault.help = Some("see docs/units.md".to_owned());
        fault.related.push(Related {
            path: "units/admin.toml".to_owned(),
            line: 9,
            column: 8,
            text: "has it too".to_owned(),
        });
        assert_eq!(
            draw(&fault, &source(text), Look::PLAIN),
            "units/web.toml:3:2: error[BU0101]: unknown key 'memroy'\n\
             \x20 |\n\
             3 | [memroy]\n\
             \x20 |  ^^^^^^ did you mean 'memory'?\n\
             \x20 = units/admin.toml:9:8: has it too\n\
             \x20 = help: see docs/units.md\n"
        );
    }

    #[test]
    fn strange_places_are_survived() {
        let text = format!("{}x = \u{1b}[31m\n", "ä".repeat(500));
        let fault = diagnostic(&text, "x =");
        let drawn = draw(&fault, &source(&text), Look::PLAIN);
        assert!(drawn.contains("x = \u{fffd}[31m") && drawn.lines().all(|line| line.chars().count() < 200));
        let mut fault = diagnostic("a\n", "a");
        (fault.line, fault.column, fault.span) = (99, 99, 70..80);
        assert_eq!(draw(&fault, &source("a\n"), Look::PLAIN).lines().count(), 1);
        (fault.line, fault.column) = (1, 99);
        assert_eq!(draw(&fault, &source("a\n"), Look::PLAIN).lines().count(), 4);
    }

    #[test]
    fn summaries() {
        let appliance =
            Appliance { node: None, units: vec![("units/web.toml".to_owned(), source("").remove(0)); 5] };
        assert_eq!(summary(&[], &appliance), "5 units: no errors");
        let fault = diagnostic("memroy", "memroy");
        let faults = [fault.clone(), Diagnostic { path: "units/b.toml".to_owned(), ..fault.clone() }, fault];
        assert_eq!(summary(&faults, &appliance), "3 errors in 2 of 5 units; nothing was changed");
    }
}
