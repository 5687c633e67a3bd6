//! Volumes: a directory of the data partition each, with a project of its own that the kernel counts and limits.
//!
//! What is known of a volume is in an extended attribute of its directory, which no container can change, and comes
//! and goes with it. A volume is made under another name and renamed when it is whole. Its limit is set whenever a
//! set is taken and whenever a unit that uses it starts: it changes under running programs. Those in RAM have no project:
//! each is a tmpfs of its own.

mod calls;
mod note;
mod ram;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use berth_runtime::project::{set_limit, set_project, usage};
use berth_units::Name;
use berth_units::spec::{Declared, Volume, VolumeSource};
use berth_units::volumes::{
    Fit, GONE, Kept, RAM_VOLUMES_DIR, VOLUMES_DIR, fit, gone_name, making_name, part_name, staging_name,
};

use crate::kmsg::Chain;
use crate::{error, notice};
pub use calls::remove_rubbish;
use note::{counts, new_project, read_note, write_note};

/// Why a volume is not there as it was declared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A size cannot be kept.
    #[error("volume '{0}' has a size, and the data partition has no project quota")]
    NoQuota(Name),
    /// What is in it is not counted.
    #[error(
        "volume '{0}' has a size, and holds files from before sizes were counted: move them to a new one"
    )]
    Uncounted(Name),
    /// It is in RAM, where nothing lasts that was imported.
    #[error("volume '{0}' is in RAM, and nothing is imported there")]
    InRam(Name),
    /// Somebody imports it.
    #[error("volume '{0}' is being replaced by an import")]
    Replaced(Name),
    /// Four thousand millions of them.
    #[error("no project is left for volume '{0}'")]
    NoProject(Name),
    /// A system call.
    #[error("cannot {doing} volume '{volume}'")]
    System {
        /// What was to be done.
        doing: &'static str,
        /// With which.
        volume: Name,
        /// Why not.
        source: io::Error,
    },
}

fn system<E: Into<io::Error>>(doing: &'static str, volume: &Name) -> impl Fn(E) -> Error {
    move |source| Error::System { doing, volume: volume.clone(), source: source.into() }
}

fn path_of(name: &Name) -> PathBuf {
    Path::new(VOLUMES_DIR).join(name.as_str())
}

/// The directory of a volume, with its limit in force. Owner and mode are set when it is made; later the unit's own
/// changes stand.
pub fn ensure(name: &Name, volume: &Volume) -> Result<PathBuf, Error> {
    if volume.source == VolumeSource::Tmpfs {
        return ram::ensure(name, volume);
    }
    // What it was before it was declared to be on the disk.
    if ram::is_there(name) {
        ram::remove(name)?;
    }
    check_import(name)?;
    let path = path_of(name);
    if path.is_dir() {
        let directory = File::open(&path).map_err(system("open", name))?;
        let kept = keep(&directory, name, volume)?;
        limit(&directory, name, volume, &kept)?;
        return Ok(path);
    }
    let making = path.with_file_name(making_name(name));
    make(&making, name, volume)?;
    File::open(&making).and_then(|made| note::mark_unseeded(&made)).map_err(system("note down", name))?;
    // Whole or not at all: a power cut leaves no volume with the wrong owner.
    fs::rename(&making, &path).map_err(system("make", name))?;
    Ok(path)
}

/// Whether a volume has not been used yet.
pub fn is_unseeded(name: &Name, path: &Path) -> Result<bool, Error> {
    note::is_unseeded(path).map_err(system("read the note of", name))
}

/// A part of a volume that is mounted by itself: the one for this path of an image. Units see the parts, never the
/// directory that they are in.
pub fn ensure_part(name: &Name, volume: &Path, path: &str) -> Result<PathBuf, Error> {
    let part =
        part_name(path).ok_or(io::ErrorKind::InvalidFilename).map_err(system("make a part of", name))?;
    let (made, making) = (volume.join(&part), volume.join(format!(".{part}.new")));
    // A link would lead anywhere on the node: what an import brings is not trusted.
    let is_there = fs::symlink_metadata(&made).map(|found| found.is_dir());
    if is_there.as_ref().is_ok_and(|is_directory| !is_directory) {
        return Err(system("use a part of", name)(io::ErrorKind::NotADirectory));
    }
    if is_there.is_err() {
        fs::create_dir_all(&making).map_err(system("make a part of", name))?;
        File::open(&making).and_then(|made| note::mark_unseeded(&made)).map_err(system("note down", name))?;
        fs::rename(&making, &made).map_err(system("make a part of", name))?;
    }
    Ok(made)
}

/// Limits of the volumes that are there already.
pub fn settle(declared: &Declared) {
    for (name, volume) in &declared.volumes {
        let is_there = match volume.source {
            VolumeSource::Dir => path_of(name).is_dir(),
            VolumeSource::Tmpfs => ram::is_there(name),
        };
        if is_there && let Err(error) = ensure(name, volume) {
            error!("{}", Chain(&error));
        }
    }
}

/// Refuses a volume that an import is about to replace. Whoever fills the directory beside it has it locked; without
/// a lock it is what a process left that was ended.
fn check_import(name: &Name) -> Result<(), Error> {
    let staged = path_of(name).with_file_name(staging_name(name));
    let Ok(directory) = File::open(&staged) else { return Ok(()) };
    match directory.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Replaced(name.clone())),
        Err(TryLockError::Error(source)) => Err(system("look for an import of", name)(source)),
        Ok(()) => put_away(name, &staged),
    }
}

/// Renames what is left of a volume; it is removed by a process of its own.
fn put_away(name: &Name, from: &Path) -> Result<(), Error> {
    let free = (0..u32::MAX).map(|number| from.with_file_name(gone_name(name, number)));
    let to = free.into_iter().find(|to| !to.exists()).unwrap_or_default();
    fs::rename(from, to).map_err(system("put away", name))
}

/// Every volume that is on the disk, and what is noted of it.
pub fn all() -> BTreeMap<Name, Kept> {
    let names = |dir: &str| {
        let entries = fs::read_dir(dir).into_iter().flatten();
        entries.filter_map(|entry| Name::parse(entry.ok()?.file_name().to_str()?).ok())
    };
    let noted = |path: PathBuf| File::open(path).ok().and_then(|dir| read_note(&dir).ok().flatten());
    let lasting = names(VOLUMES_DIR).map(|name| (name.clone(), noted(path_of(&name)).unwrap_or_default()));
    let in_ram = names(RAM_VOLUMES_DIR).filter(ram::is_there);
    let in_ram = in_ram.map(|name| (name.clone(), noted(ram::path_of(&name)).unwrap_or_default()));
    lasting.chain(in_ram).collect()
}

/// Puts every volume away, before any unit has one.
pub fn put_all_away() {
    for name in all().into_keys() {
        match put_away(&name, &path_of(&name)) {
            Ok(()) => notice!("volume '{name}' is removed"),
            Err(error) => error!("{}", Chain(&error)),
        }
    }
}

/// Whether something is left of volumes that are gone.
pub fn has_rubbish() -> bool {
    let entries = fs::read_dir(VOLUMES_DIR).into_iter().flatten();
    entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().ends_with(GONE.as_bytes()))
}

/// A new directory with all that makes it a volume, under a name that is not yet its own.
fn make(path: &Path, name: &Name, volume: &Volume) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(system("make", name))?;
    let directory = File::open(path).map_err(system("make", name))?;
    fchown(&directory, Some(volume.uid), Some(volume.gid)).map_err(system("give away", name))?;
    directory
        .set_permissions(Permissions::from_mode(volume.mode))
        .map_err(system("set the mode of", name))?;
    let kept = keep(&directory, name, volume)?;
    limit(&directory, name, volume, &kept)
}

/// Reads the note of a volume, and brings note and directory to what they should be.
fn keep(directory: &File, name: &Name, volume: &Volume) -> Result<Kept, Error> {
    let noted = read_note(directory).map_err(system("read the note of", name))?;
    let project = match &noted {
        Some(kept) if kept.project > 0 => kept.project,
        _ => new_project(directory, name)?,
    };
    let kept = Kept { project, retain: volume.retain };
    if noted.as_ref() != Some(&kept) {
        write_note(directory, &kept).map_err(system("note down", name))?;
    }
    if project > 0 {
        set_project(directory, project).map_err(system("set the project of", name))?;
    }
    Ok(kept)
}

/// Sets the limit of a volume, unless it is less than what is there.
fn limit(directory: &File, name: &Name, volume: &Volume, kept: &Kept) -> Result<(), Error> {
    if kept.project == 0 {
        return match volume.size {
            None => Ok(()),
            Some(_) if counts(directory) => Err(Error::Uncounted(name.clone())),
            Some(_) => Err(Error::NoQuota(name.clone())),
        };
    }
    let now = usage(directory, kept.project).map_err(system("count what is in", name))?;
    match fit(volume.size, now.limit, now.used) {
        Fit::Keep => Ok(()),
        Fit::Set(limit) => {
            set_limit(directory, kept.project, limit).map_err(system("limit the size of", name))
        }
        Fit::Refuse(why) => {
            error!("volume '{name}': {why}; its old size stays");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_no_part_of_a_volume() {
        let volume = std::env::temp_dir().join(format!("berth-parts-{}", std::process::id()));
        fs::create_dir_all(&volume).unwrap();
        let name = Name::parse("app").unwrap();
        let part = part_name("/srv/data").unwrap();
        std::os::unix::fs::symlink("/", volume.join(&part)).unwrap();
        assert!(ensure_part(&name, &volume, "/srv/data").is_err());
        fs::remove_dir_all(&volume).unwrap();
    }
}
