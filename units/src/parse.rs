//! From the text of a unit set to [`Declared`], with every fault named.
//!
//! A file is first read along its key table, whatever faults it has; then the whole set is resolved and checked.
//! A file that is not even TOML still counts as a name, so that it does not make others wrong.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml_parser::lexer::TokenKind;

use crate::Name;
use crate::check;
use crate::codes::{
    DUPLICATE_FILE, FILE_NAME, FILE_TOO_LARGE, KIND, NESTING, NO_NODE, SCHEMA, SYNTAX, TOO_MANY_FILES,
};
use crate::diagnostic::{Diagnostic, Severity};
use crate::fault::{FAULTS_MAX, Fault, Place, clip, show};
use crate::finish;
use crate::keys::{self, ContainerDraft, NetworkDraft, NodeDraft};
use crate::nearest::nearest;
use crate::resolve::{Body, Origin, Parsed, resolve};
use crate::spec::{Declared, Node, Volume};
use crate::walk::{Spans, walk};

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

/// The longest file, bytes.
pub const FILE_MAX: usize = 256 << 10;
/// The largest set, files.
pub const FILES_MAX: usize = 1024;
/// Levels of brackets, and of dots in one key: no key of the table needs more than four.
const NESTING_MAX: usize = 16;
/// Words of `kind` in a unit's file.
const UNIT_KINDS: [&str; 3] = ["container", "network", "volume"];
/// Name of the node's own file.
pub const NODE_FILE: &str = "node.toml";

/// Parses and checks a whole set; valid together or not at all.
pub fn parse_set(files: &[SourceFile]) -> Checked {
    let mut faults = Vec::new();
    let (known, beyond) = files.split_at(files.len().min(FILES_MAX));
    if !beyond.is_empty() {
        let message = format!("a set has at most {FILES_MAX} files, and this is number {}", FILES_MAX + 1);
        faults.push(Fault::error(TOO_MANY_FILES, Place { file: FILES_MAX, span: 0..0 }, message));
    }
    let parsed = parse_files(known, &mut faults);
    let declared = resolve(&parsed, &mut faults);
    check::whole_set(&declared, &parsed, &mut faults);
    let diagnostics = show(faults, files);
    let valid = diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error);
    Checked { declared: valid.then_some(declared), diagnostics }
}

fn parse_files(files: &[SourceFile], faults: &mut Vec<Fault>) -> Parsed {
    let mut parsed = Parsed::default();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, source) in files.iter().enumerate() {
        // A file can hold more faults than anybody reads, and a set many such files.
        let before = faults.len();
        let place = Place { file: index, span: 0..0 };
        let file_name = source.path.rsplit('/').next().unwrap_or("");
        if let Some(first) = seen.insert(file_name, index) {
            let other = Place { file: first, span: 0..0 };
            let message = format!("two files of the set are called '{}'", clip(file_name));
            faults.push(Fault::error(DUPLICATE_FILE, place, message).related(other, "the other one"));
        } else if file_name == NODE_FILE {
            let (origin, node) = parse_node(index, &source.text, faults);
            (parsed.node_origin, parsed.node) = (Some(origin), node);
        } else {
            match file_name.strip_suffix(".toml").map(Name::parse) {
                Some(Ok(name)) => {
                    let unit = parse_unit(index, &name, &source.text, faults);
                    parsed.units.insert(name, unit);
                }
                Some(Err(why)) => faults.push(
                    Fault::error(FILE_NAME, place, format!("'{}' cannot be a unit's file", clip(file_name)))
                        .help(why.to_string()),
                ),
                None => faults.push(
                    Fault::error(FILE_NAME, place, format!("'{}' is not a unit file", clip(file_name)))
                        .help("unit files are called NAME.toml"),
                ),
            }
        }
        faults.truncate(before + FAULTS_MAX);
    }
    if parsed.node_origin.is_none() {
        let place = Place { file: usize::MAX, span: 0..0 };
        let message = "there is no node.toml; the node is called 'berth' and gets its address by DHCP";
        faults.push(Fault::warning(NO_NODE, place, message));
    }
    parsed
}

fn parse_node(index: usize, text: &str, faults: &mut Vec<Fault>) -> (Origin, Node) {
    let mut draft = NodeDraft::default();
    let mut spans = Spans::default();
    if let Some(table) = parse_toml(index, text, faults)
        && let Some("node") = parse_header(index, &table, "node", faults)
    {
        let (found, mut flaws) = walk(&keys::NODE, index, &table, &mut draft);
        spans = found;
        faults.append(&mut flaws);
    }
    let origin = Origin { file: index, spans };
    let node = finish::node(draft, &origin, faults);
    (origin, node)
}

fn parse_unit(index: usize, name: &Name, text: &str, faults: &mut Vec<Fault>) -> (Origin, Body) {
    let broken = || (Origin { file: index, spans: Spans::default() }, Body::Broken);
    let Some(table) = parse_toml(index, text, faults) else { return broken() };
    let (origin, body) = match parse_header(index, &table, "container", faults) {
        Some("container") => {
            let mut draft = ContainerDraft::new(name.clone());
            let (spans, mut flaws) = walk(&keys::CONTAINER, index, &table, &mut draft);
            faults.append(&mut flaws);
            let origin = Origin { file: index, spans };
            let unit = finish::container(draft, &origin, faults);
            (origin, Body::Container(Box::new(unit)))
        }
        Some("network") => {
            let mut draft = NetworkDraft::default();
            let (spans, mut flaws) = walk(&keys::NETWORK, index, &table, &mut draft);
            faults.append(&mut flaws);
            (Origin { file: index, spans }, Body::Network(draft))
        }
        Some("volume") => {
            let mut draft = Volume::default();
            let (spans, mut flaws) = walk(&keys::VOLUME, index, &table, &mut draft);
            faults.append(&mut flaws);
            (Origin { file: index, spans }, Body::Volume(draft))
        }
        Some("service") => {
            let mut draft = ContainerDraft::new(name.clone());
            faults.append(&mut walk(&keys::SERVICE, index, &table, &mut draft).1);
            return broken();
        }
        Some(kind) => {
            if let Some(schema) = keys::PLANNED_KINDS.iter().find(|schema| schema.kind == kind) {
                faults.append(&mut walk(schema, index, &table, &mut ()).1);
            }
            return broken();
        }
        None => return broken(),
    };
    (origin, body)
}

/// The file as TOML, or its faults.
fn parse_toml<'t>(index: usize, text: &'t str, faults: &mut Vec<Fault>) -> Option<DeTable<'t>> {
    if text.len() > FILE_MAX {
        let message = format!("the file has {} bytes; {FILE_MAX} are the most", text.len());
        faults.push(Fault::error(FILE_TOO_LARGE, Place { file: index, span: 0..0 }, message));
        return None;
    }
    if let Some(span) = find_deep_nesting(text) {
        let message = format!("more than {NESTING_MAX} levels of tables, lists or dots");
        faults.push(Fault::error(NESTING, Place { file: index, span }, message));
        return None;
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(table.into_inner());
    }
    let line_starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let mut last_line = None;
    for error in errors.iter().take(FAULTS_MAX) {
        let span = error.span().unwrap_or(0..0);
        // One slip often breaks several rules; what follows it on the same line would only confuse.
        let line = line_starts.partition_point(|start| *start <= span.start);
        if last_line.replace(line) != Some(line) {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            faults.push(Fault::error(SYNTAX, Place { file: index, span }, message));
        }
    }
    None
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

/// Checks `schema` and `kind`; the kind, if the file can be read on.
fn parse_header(
    index: usize,
    table: &DeTable<'_>,
    default: &'static str,
    faults: &mut Vec<Fault>,
) -> Option<&'static str> {
    let place = |span| Place { file: index, span };
    if let Some(schema) = table.get("schema") {
        let known = schema.get_ref().as_integer().is_some_and(|n| n.radix() == 10 && n.as_str() == "1");
        if !known {
            let fault =
                Fault::error(SCHEMA, place(schema.span()), "unknown schema; this version of berth knows 1");
            faults.push(fault.help("write `schema = 1`"));
            return None;
        }
    }
    let Some(kind) = table.get("kind") else { return Some(default) };
    let word = match kind.get_ref() {
        DeValue::String(word) => word.as_ref(),
        _ => {
            faults.push(Fault::error(KIND, place(kind.span()), "'kind' takes a string"));
            return None;
        }
    };
    let kinds: &[&'static str] = if default == "node" { &["node"] } else { &UNIT_KINDS };
    if let Some(known) = kinds.iter().find(|known| **known == word) {
        return Some(known);
    }
    if let Some(planned) = keys::planned_kinds().find(|planned| *planned == word && default != "node") {
        faults.push(Fault::error(KIND, place(kind.span()), format!("kind '{word}' is not supported yet")));
        return Some(planned);
    }
    let fault = if word == "node" {
        Fault::error(KIND, place(kind.span()), "kind 'node' belongs in node.toml")
    } else {
        let fault = Fault::error(KIND, place(kind.span()), format!("unknown kind '{}'", clip(word)));
        match nearest(word, kinds.iter().copied()) {
            Some(near) => fault.label(format!("did you mean '{near}'?")),
            None => fault.help(format!("write one of {}", kinds.join(", "))),
        }
    };
    faults.push(fault);
    None
}

#[cfg(test)]
mod tests;
