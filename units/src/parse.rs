//! From the text of a unit set to [`Declared`], with every fault named.
//!
//! Files are sorted by their names; a unit is its own file with drop-ins laid over it, or an instance of a
//! template. What comes out is read along the key table, whatever faults it has; then the whole set is resolved
//! and checked. A file that is not even TOML still counts as a name, so that it does not make others wrong.

mod assemble;
mod layer;
mod sort;
mod template;
mod text;

use toml::de::{DeTable, DeValue};

use crate::check;
use crate::codes::{KIND, NO_NODE, SCHEMA, TOO_MANY_FILES};
use crate::diagnostic::{Diagnostic, Severity};
use crate::fault::{Fault, Layout, Place, clip, show};
use crate::keys;
use crate::nearest::nearest;
use crate::resolve::resolve;
use crate::spec::Declared;

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As shown to the user. Its end counts: `node.toml` is the node, `NAME.toml` the unit NAME, `NAME.d/X.toml` a
    /// drop-in of it.
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

/// The longest file, bytes; also of a unit with all that is laid over it.
pub const FILE_MAX: usize = 256 << 10;
/// The largest set, files; also units.
pub const FILES_MAX: usize = 1024;
/// Words of `kind` in a unit's file.
const UNIT_KINDS: [&str; 7] = ["config", "container", "network", "pod", "secret", "service", "volume"];
/// Name of the node's own file.
pub const NODE_FILE: &str = "node.toml";

/// Parses and checks a whole set; valid together or not at all.
pub fn parse_set(files: &[SourceFile]) -> Checked {
    let mut faults = Vec::new();
    let layout = Layout::new(files);
    let (known, beyond) = files.split_at(files.len().min(FILES_MAX));
    if !beyond.is_empty() {
        let message = format!("a set has at most {FILES_MAX} files, and this is number {}", FILES_MAX + 1);
        faults.push(Fault::error(TOO_MANY_FILES, layout.file(FILES_MAX), message));
    }
    let parsed = assemble::assemble(known, &layout, &mut faults);
    if parsed.node_origin.is_none() {
        let message = "there is no node.toml; the node is called 'berth' and gets its address by DHCP";
        faults.push(Fault::warning(NO_NODE, Place::NOWHERE, message));
    }
    let declared = resolve(&parsed, &mut faults);
    check::whole_set(&declared, &parsed, &mut faults);
    let diagnostics = show(faults, files, &layout);
    let valid = diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error);
    Checked { declared: valid.then_some(declared), diagnostics }
}

/// Checks `schema` and `kind`; the kind, if the file can be read on.
fn parse_header(table: &DeTable<'_>, default: &'static str, faults: &mut Vec<Fault>) -> Option<&'static str> {
    if !check_schema(table, faults) {
        return None;
    }
    let Some(kind) = table.get("kind") else { return Some(default) };
    let word = match kind.get_ref() {
        DeValue::String(word) => word.as_ref(),
        _ => {
            faults.push(Fault::error(KIND, Place(kind.span()), "'kind' takes a string"));
            return None;
        }
    };
    let kinds: &[&'static str] = if default == "node" { &["node"] } else { &UNIT_KINDS };
    if let Some(known) = kinds.iter().find(|known| **known == word) {
        return Some(known);
    }
    if let Some(planned) = keys::planned_kinds().find(|planned| *planned == word && default != "node") {
        faults.push(Fault::error(KIND, Place(kind.span()), format!("kind '{word}' is not supported yet")));
        return Some(planned);
    }
    let fault = if word == "node" {
        Fault::error(KIND, Place(kind.span()), "kind 'node' belongs in node.toml")
    } else {
        let fault = Fault::error(KIND, Place(kind.span()), format!("unknown kind '{}'", clip(word)));
        match nearest(word, kinds.iter().copied()) {
            Some(near) => fault.label(format!("did you mean '{near}'?")),
            None => fault.help(format!("write one of {}", kinds.join(", "))),
        }
    };
    faults.push(fault);
    None
}

/// Whether a file follows rules that this version knows.
fn check_schema(table: &DeTable<'_>, faults: &mut Vec<Fault>) -> bool {
    let Some(schema) = table.get("schema") else { return true };
    let known = schema.get_ref().as_integer().is_some_and(|n| n.radix() == 10 && n.as_str() == "1");
    if !known {
        let place = Place(schema.span());
        let fault = Fault::error(SCHEMA, place, "unknown schema; this version of berth knows 1");
        faults.push(fault.help("write `schema = 1`"));
    }
    known
}

#[cfg(test)]
mod tests;
