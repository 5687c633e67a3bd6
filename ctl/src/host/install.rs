//! The disk of `berth run --firmware`: disk.raw written to a larger disk, as an operator does it; and again when the OS
//! has been built anew, with the data left as it is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use berth_units::gpt::{GptError, SECTOR, START_SECTORS, Table};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, fcntl_lock};

use crate::failure::{Cannot, Failure};

/// Bytes of a new disk beyond those of disk.raw.
const MORE: u64 = 1 << 30;
const PIECE: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("'{}' is not a disk that berth has made", .0.display())]
    NotOurs(PathBuf, #[source] GptError),
    #[error("the OS does not fit the partitions of '{}'", .0.display())]
    Layout(PathBuf),
}

/// Makes the disk of this image when it is absent; else replaces all but the data, if `image` is not what it was made of.
pub fn ensure_disk(image: &Path, disk: &Path) -> Result<(), Failure> {
    let cannot = |error| Failure::action(Cannot::at("write", disk)(error));
    if !disk.exists() {
        let mut new = disk.as_os_str().to_owned();
        new.push(format!(".new-{}", std::process::id()));
        let new = PathBuf::from(new);
        let made = make(image, &new).and_then(|()| fs::rename(&new, disk));
        if made.is_err() {
            fs::remove_file(&new).unwrap_or_default();
        }
        return made.and_then(|()| remember(image, disk)).map_err(cannot);
    }
    if fs::read_to_string(stamp(disk)).is_ok_and(|known| known == identity(image)) {
        return Ok(());
    }
    let [new, old] = [read_table(image)?, read_table(disk)?];
    // Before the last partition, which has grown on one of them.
    let parts = system_parts(&new);
    if parts.is_empty() || parts != system_parts(&old) || last_start(&new) != last_start(&old) {
        return Err(Failure::action(InstallError::Layout(disk.to_owned())).hint(
            "without that file a new disk is made, and what is on its data partition is gone; --data names another",
        ));
    }
    let replace = || {
        let (from, to) = (File::open(image)?, OpenOptions::new().write(true).open(disk)?);
        // QEMU locks what a machine runs from (fcntl_locking(2)).
        fcntl_lock(&to, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("a machine is running from it"))?;
        fs::remove_file(stamp(disk)).unwrap_or_default();
        parts.iter().try_for_each(|part| copy(&from, &to, part.start * SECTOR..part.end * SECTOR))
    };
    replace().and_then(|()| remember(image, disk)).map_err(cannot)
}

fn make(image: &Path, disk: &Path) -> io::Result<()> {
    let (from, to) = (File::open(image)?, File::create_new(disk)?);
    let size = from.metadata()?.len();
    to.set_len(size + MORE)?;
    copy(&from, &to, 0..size)
}

/// Copies a part; zeros become a hole.
fn copy(from: &File, to: &File, part: Range<u64>) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    for at in part.clone().step_by(PIECE) {
        let len = (PIECE as u64).min(part.end - at);
        let bytes = piece.get_mut(..len as usize).unwrap_or_default();
        from.read_exact_at(bytes, at)?;
        if bytes.iter().any(|byte| *byte != 0) {
            to.write_all_at(bytes, at)?;
        } else {
            fallocate(to, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, len)?;
        }
    }
    Ok(())
}

fn read_table(disk: &Path) -> Result<Table, Failure> {
    let mut start = vec![0; (START_SECTORS * SECTOR) as usize];
    File::open(disk)
        .and_then(|file| file.read_exact_at(&mut start, 0))
        .map_err(|error| Failure::action(Cannot::at("read", disk)(error)))?;
    Table::parse(&start).map_err(|error| Failure::usage(InstallError::NotOurs(disk.to_owned(), error)))
}

fn system_parts(table: &Table) -> Vec<Range<u64>> {
    let mut parts: Vec<_> =
        table.partitions.iter().flatten().map(|partition| partition.sectors.clone()).collect();
    parts.sort_by_key(|part| part.start);
    parts.pop();
    parts
}

fn last_start(table: &Table) -> Option<u64> {
    table.partitions.iter().flatten().map(|partition| partition.sectors.start).max()
}

/// Beside the disk: what it was made of.
fn stamp(disk: &Path) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    name.push(".made-of");
    name.into()
}

fn remember(image: &Path, disk: &Path) -> io::Result<()> {
    fs::write(stamp(disk), identity(image))
}

/// Changes with every build.
fn identity(image: &Path) -> String {
    let modified = fs::metadata(image).and_then(|metadata| metadata.modified());
    format!("{} {modified:?}\n", image.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_units::gpt::{ALIGNMENT, KIND_LINUX, Partition};

    const MIB: u64 = 1 << 20;

    fn image(path: &Path, fill: u8, system: Range<u64>) {
        let partition = |sectors: Range<u64>| {
            let sectors = sectors.start * ALIGNMENT..sectors.end * ALIGNMENT;
            Some(Partition { kind: KIND_LINUX, id: [1; 16], sectors, attributes: 0, name: String::new() })
        };
        let data = partition(system.end..system.end + 1);
        let table = Table {
            id: [fill; 16],
            sectors: 8 * ALIGNMENT,
            partitions: vec![partition(system.clone()), data],
        };
        let file = File::create(path).unwrap();
        file.set_len(8 * MIB).unwrap();
        file.write_all_at(&table.start(), 0).unwrap();
        file.write_all_at(&[fill; 9], system.start * MIB).unwrap();
        file.write_all_at(&[fill; 9], system.end * MIB).unwrap();
    }

    #[test]
    fn a_new_os_leaves_the_data() {
        let dir = std::env::temp_dir().join(format!("berth-install-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (first, second, disk) = (dir.join("1"), dir.join("2"), dir.join("disk"));
        image(&first, 1, 1..3);
        image(&second, 2, 1..3);
        ensure_disk(&first, &disk).unwrap();
        assert_eq!(fs::metadata(&disk).unwrap().len(), 8 * MIB + MORE);
        let at = |mib: u64| {
            let mut byte = [0];
            File::open(&disk).unwrap().read_exact_at(&mut byte, mib * MIB).unwrap();
            byte[0]
        };
        assert_eq!((at(1), at(3)), (1, 1));
        let own = OpenOptions::new().write(true).open(&disk).unwrap();
        own.write_all_at(&[77], MIB).unwrap();
        ensure_disk(&first, &disk).unwrap();
        assert_eq!(at(1), 77);
        ensure_disk(&second, &disk).unwrap();
        assert_eq!((at(1), at(3)), (2, 1));
        image(&second, 3, 1..4);
        fs::remove_file(stamp(&disk)).unwrap();
        assert!(ensure_disk(&second, &disk).is_err());
        assert_eq!((at(1), at(3)), (2, 1));
        own.write_all_at(&[0; 512], 512).unwrap();
        assert!(ensure_disk(&second, &disk).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
