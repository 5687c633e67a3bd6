//! Writes a revision: whole, at every instant it is there or it is not.
//!
//! The files are written beside the other revisions and reach the disk before one rename gives them their number. This
//! is a process of its own because a disk may take its time, and the supervisor has none. The supervisor sees the
//! rename and takes the revision up; should it die before, the next one finds it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use berth_units::revision::{Lock, Meta};
use berth_units::wire::control::check_place;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, statvfs, syncfs};
use serde::{Deserialize, Serialize};

/// Where revisions are, below the data partition.
pub const REVISIONS: &str = "revisions";
/// One that is being written.
const BESIDE: &str = ".new";
/// Held while that is touched.
const LOCK: &str = ".lock";
/// A file takes a block, and its folder's entry some more, bytes.
const FILE_COST: u64 = 8192;
/// Left free for others, bytes.
const RESERVE: u64 = 1 << 20;

/// What is to be written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Texts by place.
    pub files: BTreeMap<String, String>,
    /// lock.toml.
    pub lock: Lock,
    /// meta.toml.
    pub meta: Meta,
    /// The number is greater than this one.
    pub after: u64,
}

/// Writes it below `data`, and returns its number.
///
/// # Errors
/// A system call failed, and nothing was changed; unless it was the last one, after the rename.
pub fn store(data: &Path, revision: &Revision) -> io::Result<u64> {
    let base = data.join(REVISIONS);
    private(&base)?;
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(base.join(LOCK))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let beside = base.join(BESIDE);
    remove(&beside)?;
    check_space(&base, revision)?;
    let written = write(&beside, revision).and_then(|()| Ok(syncfs(File::open(&beside)?)?));
    if let Err(error) = written {
        // What is left of it is taken away by the next one.
        drop(remove(&beside));
        return Err(error);
    }
    let newest = numbers(&base)?.into_iter().max().unwrap_or_default().max(revision.after);
    let number = newest.saturating_add(1);
    renameat_with(CWD, &beside, CWD, base.join(number.to_string()), RenameFlags::NOREPLACE)?;
    File::open(&base)?.sync_all()?;
    Ok(number)
}

/// Numbers of the revisions in a folder.
///
/// # Errors
/// It cannot be read.
pub fn numbers(base: &Path) -> io::Result<Vec<u64>> {
    let names = fs::read_dir(base)?.map(|entry| entry.map(|entry| entry.file_name()));
    let number = |name: io::Result<std::ffi::OsString>| match name {
        Ok(name) => name.to_str().and_then(|name| name.parse().ok()).map(Ok),
        Err(error) => Some(Err(error)),
    };
    names.filter_map(number).collect()
}

fn check_space(base: &Path, revision: &Revision) -> io::Result<()> {
    let bytes: u64 = revision.files.values().map(|text| text.len() as u64 + FILE_COST).sum();
    let needed = bytes + RESERVE;
    let disk = statvfs(base)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let missing = berth_units::human::size(needed - free);
    Err(io::Error::new(
        io::ErrorKind::StorageFull,
        format!("{missing} more are needed on the data partition"),
    ))
}

fn private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write(folder: &Path, revision: &Revision) -> io::Result<()> {
    let units = folder.join("units");
    private(&units)?;
    for (place, text) in &revision.files {
        check_place(place).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let path = units.join(place);
        path.parent().map_or(Ok(()), private)?;
        write_file(&path, text)?;
    }
    let printed = |text: Result<String, _>| text.map_err(io::Error::other);
    write_file(&folder.join("lock.toml"), &printed(revision.lock.print())?)?;
    write_file(&folder.join("meta.toml"), &printed(revision.meta.print())?)
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// A folder that is not there is removed already.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(files: &[(&str, &str)], after: u64) -> Revision {
        let files = files.iter().map(|(place, text)| ((*place).to_owned(), (*text).to_owned())).collect();
        let meta = Meta { from: "apply".into(), ..Meta::default() };
        Revision { files, lock: Lock::default(), meta, after }
    }

    #[test]
    fn a_revision_is_there_whole_or_not_at_all() {
        let data = std::env::temp_dir().join(format!("berth-store-{}", std::process::id()));
        fs::create_dir_all(&data).unwrap();
        let base = data.join(REVISIONS);
        assert_eq!(store(&data, &revision(&[("web.toml", "1"), ("web.d/10.toml", "2")], 0)).unwrap(), 1);
        assert_eq!(fs::read_to_string(base.join("1/units/web.d/10.toml")).unwrap(), "2");
        assert!(fs::read_to_string(base.join("1/meta.toml")).unwrap().contains("from = \"apply\""));
        // One that died in the middle has left something.
        fs::create_dir_all(base.join(BESIDE)).unwrap();
        fs::write(base.join(BESIDE).join("old.toml"), "").unwrap();
        // Numbers that were given once are not given again.
        assert_eq!(store(&data, &revision(&[("db.toml", "3")], 6)).unwrap(), 7);
        let names: Vec<_> =
            fs::read_dir(base.join("7/units")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["db.toml"]);
        assert!(!base.join(BESIDE).exists());
        // What cannot be written changes nothing.
        assert!(store(&data, &revision(&[("a.toml", ""), ("no/../../x", "")], 0)).is_err());
        let mut numbers = numbers(&base).unwrap();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 7]);
        assert!(!base.join(BESIDE).exists());
        fs::remove_dir_all(data).unwrap();
    }
}
