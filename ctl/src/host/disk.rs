//! The data disk: a sparse file with an ext4 that the node recognises by its label; and the file system of a data
//! partition that has yet to grow.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use berth_units::wire::image::DATA_LABEL;

use crate::failure::{Cannot, Failure};

/// Bytes of a new disk; the file takes only what is written.
const SIZE: u64 = 1 << 30;

/// Why there is no data disk.
#[derive(Debug, thiserror::Error)]
enum DiskError {
    #[error("cannot start 'mkfs.ext4'")]
    NoMkfs(#[source] io::Error),
    #[error("mkfs.ext4 could not make a file system in '{path}': {said}")]
    Mkfs { path: String, said: String },
    #[error("'{0}' is neither a file nor a block device")]
    NotADisk(String),
}

/// Makes the disk when it is absent; a whole one or none.
pub fn ensure_data(path: &Path) -> Result<(), Failure> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(Failure::usage(DiskError::NotADisk(path.display().to_string())));
        }
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::action(Cannot::at("open", path)(error))),
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".new-{}", std::process::id()));
    let new = PathBuf::from(new);
    let made = make(&new).and_then(|()| {
        fs::rename(&new, path).map_err(|error| Failure::action(Cannot::at("make", path)(error)))
    });
    if made.is_err() {
        fs::remove_file(&new).unwrap_or_default();
    }
    made
}

fn make(path: &Path) -> Result<(), Failure> {
    let words = ["-O", "verity,quota,project"];
    format(path, SIZE, &words)
}

/// The file system of disk.raw's data partition, in a file that goes with this value.
pub struct NewData(PathBuf);

/// Bytes of it: little to write, and the node gives it the rest of the disk.
const NEW_SIZE: u64 = 128 << 20;
/// All features by name and all that is random or of the time fixed: every mkfs.ext4 makes the same bytes of it.
/// Blocks, inodes and journal are those of a large disk.
const NEW_WORDS: [&str; 14] = [
    "-O",
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,\
     huge_file,dir_nlink,extra_isize,metadata_csum,verity,quota,project",
    "-b",
    "4096",
    "-I",
    "256",
    "-i",
    "16384",
    "-J",
    "size=16",
    "-U",
    "62657274-6800-8000-8000-000000000001",
    "-E",
    "hash_seed=62657274-6800-8000-8000-000000000002,root_owner=0:0,nodiscard,lazy_itable_init=1",
];

impl NewData {
    /// Makes it in that directory, which is made, too.
    pub fn make(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(format!(".data.{}", std::process::id()));
        fs::create_dir_all(dir).map_err(|error| Failure::action(Cannot::at("make", dir)(error)))?;
        // Left by one that was killed, under the same process id.
        fs::remove_file(&path).unwrap_or_default();
        let made = Self(path);
        format(&made.0, NEW_SIZE, &NEW_WORDS)?;
        Ok(made)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for NewData {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap_or_default();
    }
}

fn format(path: &Path, size: u64, words: &[&str]) -> Result<(), Failure> {
    let cannot = |error| Failure::action(Cannot::at("make", path)(error));
    // In a directory like /tmp somebody else may have put a link there, to a file of ours.
    File::create_new(path).and_then(|file| file.set_len(size)).map_err(cannot)?;
    let output = mkfs()
        .args(["-q", "-F", "-m", "0", "-L", DATA_LABEL])
        .args(words)
        .arg(path)
        // The first day of FAT: the time in a superblock is not needed for anything.
        .env("E2FSPROGS_FAKE_TIME", "315532800")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::action(DiskError::NoMkfs(error))
                .hint("it is part of Debian's e2fsprogs; try 'make setup'")
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).lines().collect::<Vec<_>>().join("; ");
    Err(Failure::action(DiskError::Mkfs { path: path.display().to_string(), said }))
}

/// mkfs.ext4, which is in /sbin: not everybody's PATH has that.
fn mkfs() -> Command {
    let at = ["/sbin", "/usr/sbin"].map(|dir| Path::new(dir).join("mkfs.ext4"));
    Command::new(at.into_iter().find(|path| path.exists()).unwrap_or_else(|| "mkfs.ext4".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_system_is_the_same_each_time_and_leaves_nothing() {
        let dir = std::env::temp_dir().join(format!("berth-new-data-{}", std::process::id()));
        let read = || fs::read(NewData::make(&dir).unwrap().path()).unwrap();
        assert!(read() == read());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_disk_is_made_once_and_kept() {
        let dir = std::env::temp_dir().join(format!("berth-disk-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("data.raw");
        let (trap, precious) =
            (dir.join(format!("data.raw.new-{}", std::process::id())), dir.join("precious"));
        fs::write(&precious, "kept").unwrap();
        std::os::unix::fs::symlink(&precious, &trap).unwrap();
        assert!(ensure_data(&path).is_err());
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
        fs::remove_file(&precious).unwrap();
        ensure_data(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE);
        // The label is at offset 120 of the superblock, which begins at 1024 (kernel doc, ext4/super.rst).
        let bytes = fs::read(&path).map(|bytes| bytes[1024 + 120..][..10].to_vec()).unwrap();
        assert_eq!(bytes, b"berth-data");
        fs::write(&path, "kept").unwrap();
        ensure_data(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"kept");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert!(ensure_data(&dir).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
