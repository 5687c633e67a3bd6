//! The data partition takes the room that its disk has, while it is in use.
//!
//! disk.raw is small, and disks become larger. Each step can be done again, and each leaves a disk that boots:
//!
//! ```text
//! copy of the table at the new end -> flush -> first table -> flush -> the kernel's partition -> file system
//!      the old table still holds        a torn one: the kernel's word `gpt` finds the copy     done again at the next boot
//! ```
//!
//! A partition that another one follows stays as it is. Nothing is ever formatted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use berth_runtime::disk::{resize_ext4, resize_partition};
use berth_units::gpt::{GptError, SECTOR, START_SECTORS, Table};
use rustix::fs::{FlockOperation, flock, ioctl_blksszget, statvfs};

use crate::info;

/// Why a file system is smaller than its disk.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// /sys or the disk cannot be read or written.
    #[error("cannot use '{}'", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// A table of another kind.
    #[error("'{}'", .0.display())]
    Table(PathBuf, #[source] GptError),
    /// The kernel refused.
    #[error("cannot make {0} larger")]
    Kernel(&'static str, #[source] rustix::io::Errno),
}

/// A block device as /sys/class/block has it.
struct Device {
    /// `vda3`.
    name: String,
    sys: PathBuf,
}

impl Device {
    fn named(name: &str) -> Result<Self, GrowError> {
        let link = Path::new("/sys/class/block").join(name);
        let sys = fs::canonicalize(&link).map_err(|error| GrowError::Io(link, error))?;
        Ok(Self { name: name.to_owned(), sys })
    }

    /// A number of /sys; sizes and starts are in units of 512 bytes there, whatever the disk's sectors are.
    fn number(&self, file: &str) -> Result<u64, GrowError> {
        let path = self.sys.join(file);
        let text = fs::read_to_string(&path).map_err(|error| GrowError::Io(path.clone(), error))?;
        text.trim().parse().map_err(|_| GrowError::Io(path, ErrorKind::InvalidData.into()))
    }

    fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// The disk that it is a partition of.
    fn disk(&self) -> Option<Result<Self, GrowError>> {
        let name = self.sys.parent()?.file_name()?.to_str()?;
        self.sys.join("partition").exists().then(|| Self::named(name))
    }
}

/// Grows what is mounted there, if it is an ext4 of a disk or partition.
pub fn grow(mount_point: &Path) -> Result<(), GrowError> {
    let Some(name) = mounted_device(mount_point)? else { return Ok(()) };
    let device = Device::named(&name)?;
    // Whatever is wrong with the table: what the partition has already is used.
    let table = device.disk().map_or(Ok(()), |disk| grow_partition(&disk?, &device));
    grow_file_system(mount_point, device.number("size")? * 512)?;
    table
}

/// `vda3` of a line of /proc/self/mounts that has an ext4 there.
fn mounted_device(mount_point: &Path) -> Result<Option<String>, GrowError> {
    let path = Path::new("/proc/self/mounts");
    let table = fs::read_to_string(path).map_err(|error| GrowError::Io(path.to_owned(), error))?;
    let find = |line: &str| {
        let mut words = line.split(' ');
        let (device, at, kind) = (words.next()?, words.next()?, words.next()?);
        (Path::new(at) == mount_point && kind == "ext4")
            .then(|| device.strip_prefix("/dev/").map(str::to_owned))?
    };
    Ok(table.lines().filter_map(find).next_back())
}

fn grow_partition(disk: &Device, partition: &Device) -> Result<(), GrowError> {
    let (path, sectors, first) = (disk.path(), disk.number("size")?, partition.number("start")?);
    let io = |error| GrowError::Io(path.clone(), error);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io)?;
    // Another one that does the same, of a supervisor that is no more, ends by itself.
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| io(errno.into()))?;
    if ioctl_blksszget(&file).map_err(|errno| io(errno.into()))? != SECTOR as u32 {
        return Ok(());
    }
    let mut start = vec![0; (START_SECTORS * SECTOR) as usize];
    file.read_exact_at(&mut start, 0).map_err(io)?;
    let table = match Table::parse(&start) {
        Ok(table) => table,
        // Another kind of table: nothing for us to change.
        Err(GptError::Absent) => return Ok(()),
        Err(error) => return Err(GrowError::Table(path.clone(), error)),
    };
    let Some(grown) = table.grown(sectors, first) else { return Ok(()) };
    write_table(&file, &grown).map_err(io)?;
    let number = partition.number("partition")?;
    let entry =
        usize::try_from(number).ok().and_then(|number| grown.partitions.get(number.checked_sub(1)?)?.clone());
    let Some(entry) = entry.filter(|entry| entry.sectors.start == first) else { return Ok(()) };
    let length = (entry.sectors.end - first) * SECTOR;
    resize_partition(&file, number as i32, first * SECTOR, length)
        .map_err(|errno| GrowError::Kernel("the partition", errno))?;
    info!("{} has {} MiB now", partition.name, length >> 20);
    Ok(())
}

/// The copy first: while it is written the old table holds. Of the first sector only the size in a protective MBR
/// changes: a loader may be in it, and partitions of a hybrid one.
fn write_table(disk: &File, table: &Table) -> io::Result<()> {
    let (mut start, end) = (table.start(), table.end());
    keep_first_sector(disk, &mut start)?;
    disk.write_all_at(&end, table.sectors * SECTOR - end.len() as u64)?;
    disk.sync_data()?;
    disk.write_all_at(&start, 0)?;
    disk.sync_data()
}

fn keep_first_sector(disk: &File, start: &mut [u8]) -> io::Result<()> {
    let mut first = [0; SECTOR as usize];
    disk.read_exact_at(&mut first, 0)?;
    let is_protective = first.get(450) == Some(&0xEE) && first.get(462..510).is_some_and(is_zero);
    if let (true, Some(size), Some(new)) = (is_protective, first.get_mut(458..462), start.get(458..462)) {
        size.copy_from_slice(new);
    }
    if let Some(kept) = start.get_mut(..first.len()) {
        kept.copy_from_slice(&first);
    }
    Ok(())
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn grow_file_system(mount_point: &Path, size: u64) -> Result<(), GrowError> {
    let io = |error| GrowError::Io(mount_point.to_owned(), error);
    let before = statvfs(mount_point).map_err(|errno| io(errno.into()))?;
    if before.f_bsize == 0 {
        return Ok(());
    }
    let directory = File::open(mount_point).map_err(io)?;
    resize_ext4(&directory, size / before.f_bsize)
        .map_err(|errno| GrowError::Kernel("the file system of the data partition", errno))?;
    let after = statvfs(mount_point).map_err(|errno| io(errno.into()))?;
    if after.f_blocks > before.f_blocks {
        info!("the data partition has room for {} MiB now", (after.f_blocks * after.f_frsize) >> 20);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_and_a_hybrid_table_in_the_first_sector_stay() {
        let path = std::env::temp_dir().join(format!("berth-grow-{}", std::process::id()));
        let new = [9; SECTOR as usize];
        for (other, size) in [(0, [9; 4]), (7, [1; 4])] {
            let mut first = [0; SECTOR as usize];
            first[..440].fill(3);
            (first[450], first[470]) = (0xEE, other);
            first[458..462].fill(1);
            fs::write(&path, first).unwrap();
            let mut start = new.to_vec();
            keep_first_sector(&File::open(&path).unwrap(), &mut start).unwrap();
            first[458..462].copy_from_slice(&size);
            assert_eq!(start, first, "{other}");
        }
        fs::remove_file(&path).unwrap();
    }
}
