//! Faults while they are being found: places are bytes of the whole set; they become [`Diagnostic`]s with files,
//! lines and columns at the end, once.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::codes::MORE_FAULTS;
use crate::diagnostic::{Code, Diagnostic, Related, Severity, line_column};
use crate::parse::{NODE_FILE, SourceFile};

/// Faults of one file after which nobody looks for more.
pub(crate) const FAULTS_MAX: usize = 1000;

/// Faults of one file that are shown.
const SHOWN: usize = 100;

/// A place in the set: bytes of all its files, laid one behind the other.
///
/// A unit may be put together from several files; so one number says which file and where in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place(pub Range<usize>);

impl Place {
    /// In a node.toml that does not exist.
    pub const NOWHERE: Self = Self(usize::MAX..usize::MAX);
}

/// Where in the set each of its files begins.
pub(crate) struct Layout(Vec<usize>);

impl Layout {
    pub fn new(files: &[SourceFile]) -> Self {
        let begin = |next: &mut usize, file: &SourceFile| {
            let here = *next;
            // The end of a file is a place of its own.
            *next += file.text.len() + 1;
            Some(here)
        };
        Self(files.iter().scan(0, begin).collect())
    }

    /// The first byte of a file.
    pub fn start(&self, file: usize) -> usize {
        self.0.get(file).copied().unwrap_or(usize::MAX)
    }

    /// A file as a whole.
    pub fn file(&self, file: usize) -> Place {
        let start = self.start(file);
        Place(start..start)
    }

    /// Index of the file that has the place, or none, and the bytes of that file.
    fn find(&self, place: &Place) -> (Option<usize>, Range<usize>) {
        let Place(span) = place;
        let file = self.0.partition_point(|start| *start <= span.start).checked_sub(1);
        match file {
            Some(file) if *place != Place::NOWHERE => {
                let start = self.start(file);
                (Some(file), span.start - start..span.end.saturating_sub(start))
            }
            _ => (None, 0..0),
        }
    }
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

    fn show(self, files: &Files<'_>) -> Diagnostic {
        let (path, line, column, span) = files.locate(&self.place);
        let related = self.related.into_iter().map(|(place, text)| {
            let (path, line, column, _) = files.locate(&place);
            Related { path, line, column, text }
        });
        Diagnostic {
            code: self.code,
            severity: self.severity,
            path,
            span,
            line,
            column,
            message: self.message,
            label: self.label,
            related: related.collect(),
            help: self.help,
        }
    }
}

/// The files with where they begin.
struct Files<'f> {
    files: &'f [SourceFile],
    layout: &'f Layout,
}

impl Files<'_> {
    fn index(&self, fault: &Fault) -> Option<usize> {
        self.layout.find(&fault.place).0
    }

    fn path(&self, fault: &Fault) -> &str {
        self.index(fault).and_then(|file| self.files.get(file)).map_or(NODE_FILE, |file| file.path.as_str())
    }

    fn locate(&self, place: &Place) -> (String, usize, usize, Range<usize>) {
        let (file, span) = self.layout.find(place);
        match file.and_then(|file| self.files.get(file)) {
            Some(file) => {
                let (line, column) = line_column(&file.text, span.start);
                (file.path.clone(), line, column, span)
            }
            None => (NODE_FILE.to_owned(), 1, 1, 0..0),
        }
    }
}

/// Diagnostics of all faults, by path and place; of each file the first hundred.
pub(crate) fn show(mut faults: Vec<Fault>, files: &[SourceFile], layout: &Layout) -> Vec<Diagnostic> {
    let files = Files { files, layout };
    // What stands in a file of several units is looked at for each of them, and said once.
    let mut said = BTreeSet::new();
    faults.retain(|fault| said.insert((fault.code, fault.place.0.start, fault.message.clone())));
    faults.sort_by(|a, b| {
        let key = |f: &Fault| (f.place.0.start, f.code);
        files.path(a).cmp(files.path(b)).then_with(|| key(a).cmp(&key(b)))
    });
    let mut shown = Vec::new();
    for group in faults.chunk_by(|a, b| files.index(a) == files.index(b)) {
        // Errors come before warnings when not all have room.
        let mut kept: Vec<&Fault> = group.iter().collect();
        if group.len() > SHOWN {
            kept.sort_by_key(|fault| fault.severity);
            kept.truncate(SHOWN);
            kept.sort_by_key(|fault| (fault.place.0.start, fault.code));
        }
        shown.extend(kept.into_iter().cloned().map(|fault| fault.show(&files)));
        if let (Some(last), true) = (group.last(), group.len() > SHOWN) {
            let at_least = if group.len() < FAULTS_MAX { "" } else { "at least " };
            let message = format!("{at_least}{} more faults of this file are not shown", group.len() - SHOWN);
            shown.push(Fault::error(MORE_FAULTS, last.place.clone(), message).show(&files));
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
