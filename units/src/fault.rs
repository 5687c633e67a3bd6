//! Faults while they are being found: places are bytes of a file of the set; they become
//! [`Diagnostic`]s with lines and columns at the end, once.

use std::ops::Range;

use crate::codes::MORE_FAULTS;
use crate::diagnostic::{Code, Diagnostic, Related, Severity, line_column};
use crate::parse::{NODE_FILE, SourceFile};

/// Faults of one file after which nobody looks for more.
pub(crate) const FAULTS_MAX: usize = 1000;

/// Faults of one file that are shown.
const SHOWN: usize = 100;

/// A place in the set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// Index of the file; beyond the last one is a file that does not exist.
    pub file: usize,
    pub span: Range<usize>,
}

/// A fault with its place.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    code: Code,
    severity: Severity,
    place: Place,
    message: String,
    label: Option<String>,
    help: Option<String>,
    related: Vec<(Place, String)>,
}

impl Fault {
    pub fn error(code: Code, place: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, severity: Severity::Error, place, message, label: None, help: None, related: Vec::new() }
    }

    pub fn warning(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, message) }
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn related(mut self, place: Place, text: impl Into<String>) -> Self {
        self.related.push((place, text.into()));
        self
    }

    fn show(self, files: &[SourceFile]) -> Diagnostic {
        let (path, line, column) = locate(files, &self.place);
        let related = self.related.into_iter().map(|(place, text)| {
            let (path, line, column) = locate(files, &place);
            Related { path, line, column, text }
        });
        Diagnostic {
            code: self.code,
            severity: self.severity,
            path,
            span: self.place.span,
            line,
            column,
            message: self.message,
            label: self.label,
            related: related.collect(),
            help: self.help,
        }
    }
}

fn locate(files: &[SourceFile], place: &Place) -> (String, usize, usize) {
    match files.get(place.file) {
        Some(file) => {
            let (line, column) = line_column(&file.text, place.span.start);
            (file.path.clone(), line, column)
        }
        None => (NODE_FILE.to_owned(), 1, 1),
    }
}

/// Diagnostics of all faults, by path and place; of each file the first hundred.
pub(crate) fn show(mut faults: Vec<Fault>, files: &[SourceFile]) -> Vec<Diagnostic> {
    let path = |fault: &Fault| files.get(fault.place.file).map_or(NODE_FILE, |file| file.path.as_str());
    faults.sort_by(|a, b| {
        let key = |f: &Fault| (f.place.file, f.place.span.start, f.code);
        path(a).cmp(path(b)).then_with(|| key(a).cmp(&key(b)))
    });
    let mut shown = Vec::new();
    for group in faults.chunk_by(|a, b| a.place.file == b.place.file) {
        // Errors come before warnings when not all have room.
        let mut kept: Vec<&Fault> = group.iter().collect();
        if group.len() > SHOWN {
            kept.sort_by_key(|fault| fault.severity);
            kept.truncate(SHOWN);
            kept.sort_by_key(|fault| (fault.place.span.start, fault.code));
        }
        shown.extend(kept.into_iter().cloned().map(|fault| fault.show(files)));
        if let (Some(last), true) = (group.last(), group.len() > SHOWN) {
            let at_least = if group.len() < FAULTS_MAX { "" } else { "at least " };
            let message = format!("{at_least}{} more faults of this file are not shown", group.len() - SHOWN);
            shown.push(Fault::error(MORE_FAULTS, last.place.clone(), message).show(files));
        }
    }
    shown
}

/// A user's text, short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    let mut short: String =
        text.chars().take(64).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(64).is_some() {
        short.push('…');
    }
    short
}
