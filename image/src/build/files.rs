//! The appliance's own part of the OS image: the files of its `root/`, and the programs of services among them.
//!
//! They are added to what the node is made of and never replace it. Only the owner's right to execute counts of a
//! mode, so that neither umask nor file system of whoever builds changes the bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use berth_units::spec::Unit;

use super::initrd::Initrd;
use super::{Build, BuildError};

/// The folder of an appliance.
const FOLDER: &str = "root";
/// What is mounted over, or is berth's own.
const TAKEN: [&str; 9] = ["data", "dev", "etc/berth", "factory", "lib/modules", "proc", "run", "sys", "tmp"];
/// Deeper than any file system tree needs to be.
const DEPTH_MAX: usize = 32;
/// All files together, bytes: they take the node's memory.
const SIZE_MAX: u64 = 1 << 30;

/// Adds the files of an appliance's `root/`, if it has one.
pub fn add(appliance: &Path, root: &mut Initrd) -> Result<(), BuildError> {
    let folder = appliance.join(FOLDER);
    if !folder.is_dir() {
        return Ok(());
    }
    let mut files = Files { root, left: SIZE_MAX };
    files.directory(&folder, "", 0)
}

struct Files<'r> {
    root: &'r mut Initrd,
    /// Bytes that may still come.
    left: u64,
}

impl Files<'_> {
    fn directory(&mut self, from: &Path, below: &str, depth: usize) -> Result<(), BuildError> {
        if depth == DEPTH_MAX {
            return Err(refuse(from, "it lies too deep"));
        }
        let read = |error| BuildError::Read(from.to_owned(), error);
        for entry in fs::read_dir(from).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| refuse(&path, "its name is not UTF-8"))?;
            let place = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            self.entry(&path, &place, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, place: &str, depth: usize) -> Result<(), BuildError> {
        let read = |error| BuildError::Read(path.to_owned(), error);
        let found = fs::symlink_metadata(path).map_err(read)?;
        if TAKEN.contains(&place) {
            return Err(refuse(path, "nothing of an appliance lies there"));
        }
        if found.is_dir() {
            if self.root.has(place) && !self.root.has_directory(place) {
                return Err(refuse(path, "the node has a file of that name"));
            }
            self.root.directory(place);
            return self.directory(path, place, depth + 1);
        }
        if self.root.has(place) {
            return Err(refuse(path, "the node has one of that name"));
        }
        if found.is_symlink() {
            let to = fs::read_link(path).map_err(read)?;
            let to = to.to_str().ok_or_else(|| refuse(path, "its target is not UTF-8"))?;
            self.root.link(place, to);
        } else if found.is_file() {
            self.left =
                self.left.checked_sub(found.len()).ok_or_else(|| refuse(path, "all have 1 GiB at most"))?;
            let mode = if found.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
            self.root.file(place, mode, fs::read(path).map_err(read)?);
        } else {
            return Err(refuse(path, "it is neither a file nor a folder nor a link"));
        }
        Ok(())
    }
}

/// Whether services find their programs: in the root, or in a mount of their own.
pub fn check_programs(build: &Build<'_>, root: &Initrd) -> Result<(), BuildError> {
    for unit in build.declared.units.values().filter(|unit| unit.image.is_none()) {
        let program = unit.process.entrypoint.iter().flatten().next().map_or("", String::as_str);
        if !is_there(unit, program, root) {
            return Err(BuildError::MissingProgram {
                unit: unit.name.to_string(),
                program: program.to_owned(),
                root: build.appliance.join(FOLDER),
            });
        }
    }
    Ok(())
}

fn is_there(unit: &Unit, program: &str, root: &Initrd) -> bool {
    let path = program.trim_start_matches('/');
    // Behind a link it may be: where a link leads to is the node's to find out.
    let above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
    let mut linked = above.filter(|folder| root.has(folder) && !root.has_directory(folder));
    root.has(path) && !root.has_directory(path)
        || linked.next().is_some()
        || unit.mounts.values().any(|mount| Path::new(program).starts_with(&mount.target))
}

fn refuse(path: &Path, why: &'static str) -> BuildError {
    BuildError::File { path: PathBuf::from(path), why }
}
