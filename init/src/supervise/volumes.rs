//! Volumes: a directory of the data partition each, with a project of its own that the kernel counts and limits.
//!
//! What is known of a volume is in an extended attribute of its directory, which no container can change, and comes
//! and goes with it. A volume is made under another name and renamed when it is whole. Its limit is set whenever a
//! set is taken and whenever a unit that uses it starts: it changes under running programs.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use berth_runtime::project::{project_of, set_limit, set_project, usage};
use berth_units::Name;
use berth_units::spec::{Declared, Volume};
use berth_units::volumes::{Fit, Kept, VOLUMES_DIR, fit, free_project};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;

use crate::error;
use crate::kmsg::Chain;

/// The note of a volume, JSON. Only whoever has CAP_SYS_ADMIN on the node sees and changes it.
const NOTE: &str = "trusted.berth.volume";
/// The longest note, bytes.
const NOTE_MAX: usize = 1024;

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

/// The directory of a volume, with its limit in force. Owner and mode are set when it is made; later the unit's own
/// changes stand.
pub fn ensure(name: &Name, volume: &Volume) -> Result<PathBuf, Error> {
    let path = Path::new(VOLUMES_DIR).join(name.as_str());
    if path.is_dir() {
        let directory = File::open(&path).map_err(system("open", name))?;
        let kept = keep(&directory, name, volume)?;
        limit(&directory, name, volume, &kept)?;
        return Ok(path);
    }
    let making = path.with_file_name(format!(".{name}.new"));
    make(&making, name, volume)?;
    // Whole or not at all: a power cut leaves no volume with the wrong owner.
    fs::rename(&making, &path).map_err(system("make", name))?;
    Ok(path)
}

/// Limits of the volumes that are there already.
pub fn settle(declared: &Declared) {
    for (name, volume) in &declared.volumes {
        if Path::new(VOLUMES_DIR).join(name.as_str()).is_dir()
            && let Err(error) = ensure(name, volume)
        {
            error!("{}", Chain(&error));
        }
    }
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
        let text = serde_json::to_vec(&kept).map_err(system("note down", name))?;
        fsetxattr(directory, NOTE, &text, XattrFlags::empty()).map_err(system("note down", name))?;
    }
    if project > 0 {
        set_project(directory, project).map_err(system("set the project of", name))?;
    }
    Ok(kept)
}

/// A project for a directory without one; 0 where the file system has none, or where files are there that it would
/// not count.
fn new_project(directory: &File, name: &Name) -> Result<u32, Error> {
    if !counts(directory) || !is_empty(directory, name)? {
        return Ok(0);
    }
    free_project(&taken()).ok_or_else(|| Error::NoProject(name.clone()))
}

/// Whether the file system has project quota.
fn counts(directory: &File) -> bool {
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
fn read_note(directory: &File) -> io::Result<Option<Kept>> {
    let mut text = [0; NOTE_MAX];
    match fgetxattr(directory, NOTE, &mut text) {
        Ok(len) => Ok(serde_json::from_slice(text.get(..len).unwrap_or_default()).ok()),
        Err(Errno::NODATA | Errno::RANGE) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
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
