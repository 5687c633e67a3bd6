//! From the text of a unit set to [`Declared`], with every fault named.

use crate::diagnostic::Diagnostic;
use crate::spec::Declared;

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As shown to the user. The file name counts: `node.toml` is the node, `NAME.toml` the unit NAME.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// What became of a set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// The set, when no error was found.
    pub declared: Option<Declared>,
    /// Errors and warnings, sorted by path and line.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses and checks a whole set; valid together or not at all.
pub fn parse_set(files: &[SourceFile]) -> Checked {
    let _ = files;
    Checked::default()
}
