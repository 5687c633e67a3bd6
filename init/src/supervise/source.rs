//! Where the unit set comes from: the data partition, or the factory's when that one cannot be used.
//!
//! A set is taken whole or not at all. At boot a faulty set on the data partition gives way to the factory's; later
//! a faulty change is refused and what runs goes on.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use berth_units::diagnostic::{Diagnostic, Severity};
use berth_units::parse::FILES_MAX;
use berth_units::spec::Declared;
use berth_units::wire::control::set_hash;
use berth_units::{SourceFile, parse_set};

/// The operator's units.
pub const DATA_UNITS: &str = "/data/units";
/// The units that were built into the image.
pub const FACTORY_UNITS: &str = "/etc/berth/units";
/// The node's own settings.
pub const NODE_FILE: &str = "/etc/berth/node.toml";

/// What is laid over it.
const NODE_DROP_INS: &str = "/etc/berth/node.d";

/// Over this no file is read: units::parse_set refuses it by its length.
const FILE_MAX: u64 = 1 << 20;

/// A set that is in force.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// What it means.
    pub declared: Declared,
    /// `data` or `factory`.
    pub origin: &'static str,
    /// Tells it from other sets on the data partition; empty for the factory's.
    pub hash: String,
    /// Why a better one is not in force.
    pub fault: Option<String>,
}

/// The set to run, from disk. `current` is what runs now and stays when the new one is faulty.
pub fn read_set(current: Option<&Set>) -> Set {
    let fault = if Path::new(DATA_UNITS).is_dir() {
        match read_and_parse(DATA_UNITS) {
            Ok((declared, hash)) => return Set { declared, origin: "data", hash, fault: None },
            Err(fault) => Some(fault),
        }
    } else {
        None
    };
    match (current, read_and_parse(FACTORY_UNITS)) {
        (Some(current), _) if fault.is_some() => Set { fault, ..current.clone() },
        (_, Ok((declared, _))) => Set { declared, origin: "factory", hash: String::new(), fault },
        (_, Err(factory)) => {
            let fault =
                fault.map_or(factory.clone(), |fault| format!("{fault}; and the factory's: {factory}"));
            Set { origin: "none", fault: Some(fault), ..Set::default() }
        }
    }
}

/// All faults in one line, the first ones whole.
fn describe(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|one| one.severity == Severity::Error).collect();
    let first: Vec<_> = errors.iter().take(3).map(ToString::to_string).collect();
    let rest = errors.len().saturating_sub(first.len());
    let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    format!("{}{more}", first.join("; "))
}

fn read_and_parse(dir: &str) -> Result<(Declared, String), String> {
    let files = read_files(dir).map_err(|error| format!("cannot read '{dir}': {error}"))?;
    let checked = parse_set(&files);
    let own =
        files.iter().filter_map(|file| Some((file.path.strip_prefix(dir)?.trim_start_matches('/'), file)));
    let hash = set_hash(own.map(|(place, file)| (place, file.text.as_str())));
    let declared = checked.declared.ok_or_else(|| describe(&checked.diagnostics))?;
    Ok((declared, hash))
}

/// The node's own settings, which come with the OS image.
pub fn read_node() -> std::io::Result<Vec<SourceFile>> {
    let mut files = vec![SourceFile { path: NODE_FILE.to_owned(), text: read_text(Path::new(NODE_FILE))? }];
    read_tree(NODE_DROP_INS, &mut files)?;
    Ok(files)
}

fn read_files(dir: &str) -> std::io::Result<Vec<SourceFile>> {
    let mut files = read_node()?;
    read_tree(dir, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The files of a folder with those of the `.d` folders in it; one that is not there has none.
fn read_tree(dir: &str, files: &mut Vec<SourceFile>) -> std::io::Result<()> {
    let folder = Path::new(dir);
    if folder.is_dir() {
        for path in with_ending(folder, "d")?.iter().filter(|path| path.is_dir()) {
            read_folder(path, files)?;
        }
        read_folder(folder, files)?;
    }
    Ok(())
}

/// What of a folder has that ending.
fn with_ending(folder: &Path, ending: &str) -> std::io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let fits = |path: &std::io::Result<PathBuf>| {
        path.as_ref().map_or(true, |path| path.extension().is_some_and(|found| found == ending))
    };
    // One more than a set may have, of which the parser tells.
    paths.filter(fits).take(FILES_MAX + 1).collect()
}

fn read_folder(folder: &Path, files: &mut Vec<SourceFile>) -> std::io::Result<()> {
    let room = (FILES_MAX + 1).saturating_sub(files.len());
    for path in with_ending(folder, "toml")?.into_iter().take(room) {
        files.push(SourceFile { path: path.display().to_string(), text: read_text(&path)? });
    }
    Ok(())
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
    // What is not UTF-8 gets a mark in its place, of which the parser tells.
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
