//! What is written down of a volume, beside its directory, and which project is free.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use berth_runtime::project::{project_of, usage};
use berth_runtime::spec::UNSEEDED;
use berth_units::Name;
use berth_units::volumes::{Kept, VOLUMES_DIR, free_project};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr, getxattr};
use rustix::io::Errno;

use super::{Error, system};

/// The note of a volume, JSON. Only whoever has CAP_SYS_ADMIN on the node sees and changes it.
const NOTE: &str = "trusted.berth.volume";
/// The longest note, bytes.
const NOTE_MAX: usize = 1024;

/// A project for a directory without one; 0 where the file system has none, or where files are there that it would
/// not count.
pub(super) fn new_project(directory: &File, name: &Name) -> Result<u32, Error> {
    if !counts(directory) || !is_empty(directory, name)? {
        return Ok(0);
    }
    free_project(&taken()).ok_or_else(|| Error::NoProject(name.clone()))
}

/// Whether the file system has project quota.
pub(super) fn counts(directory: &File) -> bool {
    usage(directory, 0).is_ok()
}

fn is_empty(directory: &File, name: &Name) -> Result<bool, Error> {
    let entries = rustix::fs::Dir::read_from(directory).map_err(system("read", name))?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_owned()));
    Ok(names.filter(|name| !matches!(name.to_bytes(), b"." | b"..")).count() == 0)
}

/// Projects that something has: by its note or, should that be lost, by its directory.
fn taken() -> BTreeSet<u32> {
    let entries = fs::read_dir(VOLUMES_DIR).into_iter().flatten();
    let directories = entries.filter_map(|entry| File::open(entry.ok()?.path()).ok());
    let both = |directory: File| {
        let noted = read_note(&directory).ok().flatten().map(|kept| kept.project);
        [noted, project_of(&directory).ok()]
    };
    directories.flat_map(both).flatten().collect()
}

/// A note that is not there, or cannot be understood, is none.
pub(super) fn read_note(directory: &File) -> io::Result<Option<Kept>> {
    let mut text = [0; NOTE_MAX];
    match fgetxattr(directory, NOTE, &mut text) {
        Ok(len) => Ok(serde_json::from_slice(text.get(..len).unwrap_or_default()).ok()),
        Err(Errno::NODATA | Errno::RANGE) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Replaces the note of a volume.
pub(super) fn write_note(directory: &File, kept: &Kept) -> io::Result<()> {
    Ok(fsetxattr(directory, NOTE, &serde_json::to_vec(kept)?, XattrFlags::empty())?)
}

/// Notes that a new volume is to be filled at its first use.
pub(super) fn mark_unseeded(directory: &File) -> io::Result<()> {
    Ok(fsetxattr(directory, UNSEEDED, b"", XattrFlags::empty())?)
}

pub(super) fn is_unseeded(path: &Path) -> io::Result<bool> {
    match getxattr(path, UNSEEDED, &mut [0; 1]) {
        Ok(_) | Err(Errno::RANGE) => Ok(true),
        Err(Errno::NODATA) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
