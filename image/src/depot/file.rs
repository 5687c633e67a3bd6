//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::{DepotError, cannot};

/// A file under a temporary name; gone when it is dropped before [`Self::persist`].
#[derive(Debug)]
pub struct Fresh {
    file: File,
    path: PathBuf,
    persisted: bool,
}

impl Fresh {
    /// An empty one in `dir`.
    pub fn create(dir: &Path) -> Result<Self, DepotError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::create_at(dir.join(format!("{}-{count}", std::process::id())))
    }

    /// An empty one in a folder that is not ours.
    pub fn create_hidden(dir: &Path) -> Result<Self, DepotError> {
        Self::create_at(dir.join(format!(".berth-{}", std::process::id())))
    }

    fn create_at(path: PathBuf) -> Result<Self, DepotError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o644);
        let file = match options.open(&path) {
            // Left by one that was killed, or a link that somebody else has put there: never written to.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove(&path)?;
                options.open(&path)
            }
            file => file,
        };
        let file = file.map_err(cannot("make", &path))?;
        Ok(Self { file, path, persisted: false })
    }

    /// To write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, in place of a file that has it, when its bytes are on the disk.
    pub fn persist(mut self, to: &Path) -> Result<(), DepotError> {
        publish(&self.file, &self.path, to)?;
        self.persisted = true;
        Ok(())
    }

    /// A whole file at once.
    pub fn write(dir: &Path, bytes: &[u8], to: &Path) -> Result<(), DepotError> {
        let mut fresh = Self::create(dir)?;
        fresh.file.write_all(bytes).map_err(cannot("write", to))?;
        fresh.persist(to)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.persisted {
            // Whoever writes next sweeps what stays.
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

/// Makes names of a directory last.
pub fn sync_parent(path: &Path) -> Result<(), DepotError> {
    // A name alone has an empty parent, which cannot be opened.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(cannot("sync", parent))
}

/// Removes a file, which may not be there.
pub fn remove(path: &Path) -> Result<(), DepotError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a complete file last and gives it its name.
pub fn publish(file: &File, from: &Path, to: &Path) -> Result<(), DepotError> {
    file.sync_all().map_err(cannot("write", from))?;
    fs::rename(from, to).map_err(cannot("write", to))?;
    sync_parent(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_there_is_not_written_to() {
        let dir = std::env::temp_dir().join(format!("berth-fresh-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (victim, trap, out) = (dir.join("victim"), dir.join("trap"), dir.join("out"));
        fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, &trap).unwrap();
        let fresh = Fresh::create_at(trap).unwrap();
        fresh.file().write_all(b"new").unwrap();
        fresh.persist(&out).unwrap();
        assert_eq!(
            (fs::read(&victim).unwrap(), fs::read(&out).unwrap()),
            (b"mine".to_vec(), b"new".to_vec())
        );
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_name_alone_is_in_the_working_directory() {
        assert!(sync_parent(Path::new("out.tar")).is_ok());
        assert!(sync_parent(Path::new("/nowhere/out.tar")).is_err());
    }
}
