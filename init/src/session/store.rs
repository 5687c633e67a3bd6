//! Puts a unit set in the place of the one on the data partition: whole, at every instant the old one or the new one.
//!
//! The files are written beside it and reach the disk before one rename makes them the set. This is a process of its
//! own because a disk may take its time, and the supervisor has none. The supervisor sees the rename and takes the
//! set; should it die before, the next one finds it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use berth_units::wire::control::check_place;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with, syncfs};

/// The set in force.
const UNITS: &str = "units";
/// A set that is being written, or the one before until it is gone.
const BESIDE: &str = ".units.new";
/// Held while that is touched.
const LOCK: &str = ".units.lock";

/// Makes `files` the set below `data`.
///
/// # Errors
/// A system call failed, and nothing was changed; unless it was the last one, after the rename.
pub fn store(data: &Path, files: &BTreeMap<String, String>) -> io::Result<()> {
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(data.join(LOCK))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let (set, beside) = (data.join(UNITS), data.join(BESIDE));
    remove(&beside)?;
    let written = write(&beside, files).and_then(|()| Ok(syncfs(File::open(&beside)?)?));
    if let Err(error) = written {
        // What is left of it is taken away by the next one.
        drop(remove(&beside));
        return Err(error);
    }
    let flags = if set.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    renameat_with(CWD, &beside, CWD, &set, flags)?;
    File::open(data)?.sync_all()?;
    remove(&beside)
}

fn write(folder: &Path, files: &BTreeMap<String, String>) -> io::Result<()> {
    let private = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    private(folder)?;
    for (place, text) in files {
        check_place(place).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let path = folder.join(place);
        path.parent().map_or(Ok(()), private)?;
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
    }
    Ok(())
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

    fn set(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(place, text)| ((*place).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_set_takes_the_place_of_another_whole() {
        let data = std::env::temp_dir().join(format!("berth-store-{}", std::process::id()));
        fs::create_dir_all(&data).unwrap();
        store(&data, &set(&[("web.toml", "1"), ("web.d/10.toml", "2")])).unwrap();
        assert_eq!(fs::read_to_string(data.join("units/web.d/10.toml")).unwrap(), "2");
        // One that died in the middle has left something.
        fs::create_dir_all(data.join(BESIDE)).unwrap();
        fs::write(data.join(BESIDE).join("old.toml"), "").unwrap();
        store(&data, &set(&[("db.toml", "3")])).unwrap();
        let names: Vec<_> = fs::read_dir(data.join(UNITS)).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["db.toml"]);
        assert!(!data.join(BESIDE).exists());
        // What cannot be written changes nothing.
        assert!(store(&data, &set(&[("a.toml", ""), ("no/../../x", "")])).is_err());
        assert_eq!(fs::read_to_string(data.join("units/db.toml")).unwrap(), "3");
        fs::remove_dir_all(data).unwrap();
    }
}
