//! Where the unit set comes from: a revision on the data partition, or the factory's.
//!
//! A set is taken whole or not at all.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use berth_units::diagnostic::{Diagnostic, Severity};
use berth_units::parse::FILES_MAX;
use berth_units::spec::Declared;
use berth_units::wire::control::set_hash;
use berth_units::{SourceFile, parse_set};
use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;

use super::head::{REVISIONS_DIR, folder};

/// Where an operator may put units: they become a revision.
pub const DATA_UNITS: &str = "/data/units";
/// The units that were built into the image.
pub const FACTORY_UNITS: &str = "/etc/berth/units";
/// The node's own settings.
pub const NODE_FILE: &str = "/etc/berth/node.toml";

/// What is laid over it.
const NODE_DROP_INS: &str = "/etc/berth/node.d";

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// So often a set is read anew that is replaced while it is read; then it is a fault of its own.
const READS_MAX: u32 = 8;

/// Over this no file is read: units::parse_set refuses it by its length.
const FILE_MAX: u64 = 1 << 20;

/// A set that is in force.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// Its number; 0 is the factory's.
    pub revision: u64,
    /// What it means.
    pub declared: Declared,
    /// `data` or `factory`.
    pub origin: &'static str,
    /// Tells it from other sets on the data partition; empty for the factory's.
    pub hash: String,
    /// Why a better one is not in force.
    pub fault: Option<String>,
}

impl Set {
    /// Where not even the factory's can be read.
    pub fn none() -> Self {
        Self { origin: "none", ..Self::default() }
    }
}

/// A set of files that means something.
pub struct Found {
    /// Texts by their places below the folder.
    pub files: BTreeMap<String, String>,
    /// What they mean.
    pub declared: Declared,
    /// Tells them from others.
    pub hash: String,
}

/// A revision from the disk; why it cannot be one where it cannot.
pub fn read_revision(revision: u64) -> Result<Set, String> {
    if revision == 0 {
        let (_, found) = read_and_parse(FACTORY_UNITS)?;
        return Ok(Set { declared: found?.declared, origin: "factory", ..Set::default() });
    }
    let dir = folder(Path::new(REVISIONS_DIR), revision).join("units");
    // A folder that is not there would be an empty set.
    fs::metadata(&dir).map_err(|error| format!("cannot read '{}': {error}", dir.display()))?;
    let (hash, found) = read_and_parse(&dir.display().to_string())?;
    Ok(Set { revision, declared: found?.declared, origin: "data", hash, fault: None })
}

/// The set that somebody has put on the data partition, and what tells it from others; none where there is none.
pub fn read_by_hand() -> Option<(String, Result<Found, String>)> {
    if !Path::new(DATA_UNITS).is_dir() {
        return None;
    }
    Some(read_and_parse(DATA_UNITS).unwrap_or_else(|why| (String::new(), Err(why))))
}

/// All faults in one line, the first ones whole.
fn describe(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|one| one.severity == Severity::Error).collect();
    let first: Vec<_> = errors.iter().take(3).map(ToString::to_string).collect();
    let rest = errors.len().saturating_sub(first.len());
    let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    format!("{}{more}", first.join("; "))
}

fn read_and_parse(dir: &str) -> Result<(String, Result<Found, String>), String> {
    let sources = read_files(Path::new(dir)).map_err(|error| format!("cannot read '{dir}': {error}"))?;
    let checked = parse_set(&sources);
    let own = sources.into_iter().filter_map(|file| {
        let place = file.path.strip_prefix(dir)?.trim_start_matches('/').to_owned();
        Some((place, file.text))
    });
    let files: BTreeMap<_, _> = own.collect();
    let hash = set_hash(files.iter().map(|(place, text)| (place.as_str(), text.as_str())));
    let found = match checked.declared {
        Some(declared) => Ok(Found { files, declared, hash: hash.clone() }),
        None => Err(describe(&checked.diagnostics)),
    };
    Ok((hash, found))
}

/// The node's own settings, which come with the OS image.
pub fn read_node() -> std::io::Result<Vec<SourceFile>> {
    let mut files = vec![SourceFile { path: NODE_FILE.to_owned(), text: read_text(File::open(NODE_FILE)?)? }];
    read_tree(Path::new(NODE_DROP_INS), &mut files)?;
    Ok(files)
}

fn read_files(dir: &Path) -> std::io::Result<Vec<SourceFile>> {
    let mut files = read_node()?;
    read_tree(dir, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The files of a folder with those of the `.d` folders in it; one that is not there has none. All are read from one
/// folder, whatever is renamed to its name meanwhile, and from the one that has the name in the end.
fn read_tree(dir: &Path, files: &mut Vec<SourceFile>) -> std::io::Result<()> {
    let before = files.len();
    for _ in 0..READS_MAX {
        if !dir.is_dir() {
            return Ok(());
        }
        let folder = File::open(dir)?;
        read_all(&folder, dir, files)?;
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        if fs::metadata(dir).map(identity).ok() == Some(identity(folder.metadata()?)) {
            return Ok(());
        }
        files.truncate(before);
    }
    Err(std::io::Error::other("it is replaced again and again"))
}

fn read_all(folder: &File, dir: &Path, files: &mut Vec<SourceFile>) -> std::io::Result<()> {
    for name in with_ending(folder, "d")? {
        match openat(folder, &name, DIRECTORY, Mode::empty()) {
            Ok(drop_ins) => read_folder(&drop_ins, &dir.join(&name), files)?,
            // A file that is called so.
            Err(Errno::NOTDIR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    read_folder(folder, dir, files)
}

/// What of a folder has that ending.
fn with_ending(folder: impl AsFd, ending: &str) -> std::io::Result<Vec<OsString>> {
    let names = Dir::read_from(folder)?
        .map(|entry| entry.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned()));
    let fits = |name: &Result<OsString, Errno>| {
        name.as_ref().map_or(true, |name| Path::new(name).extension().is_some_and(|found| found == ending))
    };
    // One more than a set may have, of which the parser tells.
    Ok(names.filter(fits).take(FILES_MAX + 1).collect::<Result<_, _>>()?)
}

fn read_folder(folder: impl AsFd, path: &Path, files: &mut Vec<SourceFile>) -> std::io::Result<()> {
    let room = (FILES_MAX + 1).saturating_sub(files.len());
    for name in with_ending(&folder, "toml")?.into_iter().take(room) {
        let file: OwnedFd = openat(&folder, &name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        files
            .push(SourceFile { path: path.join(&name).display().to_string(), text: read_text(file.into())? });
    }
    Ok(())
}

fn read_text(file: File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    // What is not UTF-8 becomes a character that no TOML key or name may hold: the parser names the place.
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_is_replaced_while_it_is_read_is_never_half_of_two() {
        let dir = std::env::temp_dir().join(format!("berth-source-{}", std::process::id()));
        let (units, other) = (dir.join("units"), dir.join("other"));
        for (folder, text) in [(&units, "one"), (&other, "two")] {
            fs::create_dir_all(folder.join("a.d")).unwrap();
            for name in ["a.toml", "b.toml", "a.d/x.toml"] {
                fs::write(folder.join(name), text).unwrap();
            }
        }
        fs::write(units.join("c.d"), "a file").unwrap();
        let swap = || {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(rustix::fs::CWD, &units, rustix::fs::CWD, &other, flags).unwrap();
        };
        let texts = |files: Vec<SourceFile>| files.into_iter().map(|file| file.text).collect::<Vec<_>>();
        let mut files = Vec::new();
        read_tree(&units, &mut files).unwrap();
        assert_eq!(texts(files), ["one"; 3]);
        // What was opened is read to the end, whatever has its name by then.
        let folder = File::open(&units).unwrap();
        swap();
        let mut files = Vec::new();
        read_all(&folder, &units, &mut files).unwrap();
        assert_eq!(texts(files), ["one"; 3]);
        // And among ever new renames no set is a mixture.
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    swap();
                }
            });
            for _ in 0..200 {
                let mut files = Vec::new();
                if read_tree(&units, &mut files).is_ok() {
                    let texts = texts(files);
                    assert!(texts == ["one"; 3] || texts == ["two"; 3], "{texts:?}");
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        fs::remove_dir_all(dir).unwrap();
    }
}
