//! The file systems that the supervisor mounts: the factory store, and the data partition or RAM in its place.
//!
//! Disks are told apart by the label in their superblock. A disk is hostile input: a few bytes at fixed places are
//! compared, nothing of it is parsed; the kernel checks the rest when it mounts.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use berth_units::wire::image::{DATA_LABEL, FACTORY_LABEL};
use rustix::mount::{MountFlags, mount};

/// Where the factory store is mounted.
pub const FACTORY_DIR: &str = "/factory";
/// Where all that lasts is mounted.
pub const DATA_DIR: &str = "/data";

/// linux/magic.h.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// What a disk is to berth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// EROFS with the factory store's label.
    Factory,
    /// ext4 with the data partition's label.
    Data,
}

/// Why a file system is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// mount(2) refused.
    #[error("cannot mount '{device}' on '{target}'")]
    Mount {
        /// Block device or file system type.
        device: String,
        /// Directory.
        target: &'static str,
        /// Why.
        #[source]
        source: rustix::io::Errno,
    },
    /// The kernel's tables could not be read.
    #[error("cannot read '{0}'")]
    Read(&'static str, #[source] std::io::Error),
}

/// Tells a disk by its first 4 KiB.
///
/// EROFS: magic at 1024, volume name of 16 bytes at 1024 + 64 (fs/erofs/erofs_fs.h). ext4: magic at 1024 + 56,
/// volume name of 16 bytes at 1024 + 120 (Documentation/filesystems/ext4/super.rst).
pub fn identify(start: &[u8]) -> Option<Disk> {
    let at = |offset: usize, bytes: &[u8]| start.get(offset..offset + bytes.len()) == Some(bytes);
    let label = |offset: usize, label: &str| {
        at(offset, label.as_bytes()) && (label.len() == 16 || at(offset + label.len(), &[0]))
    };
    if at(1024, &0xE0F5_E1E2_u32.to_le_bytes()) && label(1024 + 64, FACTORY_LABEL) {
        return Some(Disk::Factory);
    }
    (at(1024 + 56, &0xEF53_u16.to_le_bytes()) && label(1024 + 120, DATA_LABEL)).then_some(Disk::Data)
}

/// Finds a disk of that kind among the kernel's block devices: the first by name, those that can be taken out last.
pub fn find(wanted: Disk) -> Result<Option<PathBuf>, Error> {
    let class = "/sys/class/block";
    let entries = fs::read_dir(class).map_err(|error| Error::Read(class, error))?;
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort_by_cached_key(|name| (is_removable(&Path::new(class).join(name)), name.clone()));
    let devices = names.into_iter().map(|name| Path::new("/dev").join(name));
    Ok(devices
        .into_iter()
        .find(|device| read_start(device).and_then(|start| identify(&start)) == Some(wanted)))
}

/// sysfs-block(5), "removable"; a partition has its disk's.
fn is_removable(entry: &Path) -> bool {
    ["removable", "../removable"].iter().any(|file| {
        let path = fs::canonicalize(entry).map(|entry| entry.join(file));
        path.and_then(fs::read_to_string).is_ok_and(|text| text.trim() == "1")
    })
}

/// A device without a medium, or one that cannot be read, is not ours.
fn read_start(device: &Path) -> Option<[u8; 4096]> {
    let mut start = [0; 4096];
    File::open(device).ok()?.read_exact(&mut start).ok()?;
    Some(start)
}

/// Whether something is mounted on a directory.
pub fn is_mounted(target: &str) -> Result<bool, Error> {
    let table = "/proc/self/mountinfo";
    let text = fs::read_to_string(table).map_err(|error| Error::Read(table, error))?;
    Ok(text.lines().any(|line| line.split(' ').nth(4) == Some(target)))
}

/// Mounts the factory store; `false` while no disk has it.
pub fn ensure_factory() -> Result<bool, Error> {
    if is_mounted(FACTORY_DIR)? {
        return Ok(true);
    }
    let Some(device) = find(Disk::Factory)? else {
        return Ok(false);
    };
    mount_on(
        &device.to_string_lossy(),
        FACTORY_DIR,
        ("erofs", MountFlags::RDONLY | MountFlags::NODEV, None),
    )?;
    Ok(true)
}

/// Mounts the data partition, or a file system in RAM where there is none; `true` when it lasts.
pub fn ensure_data() -> Result<bool, Error> {
    if !is_mounted(DATA_DIR)? {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        match find(Disk::Data)? {
            // Images live elsewhere: nothing on it needs set-user-ID or devices.
            Some(device) => {
                let device = device.to_string_lossy();
                // Without the option a partition with project quota counts, but does not limit; one without it is
                // used all the same, and volumes with a size say what is missing.
                mount_on(&device, DATA_DIR, ("ext4", flags, Some(c"prjquota")))
                    .or_else(|_| mount_on(&device, DATA_DIR, ("ext4", flags, None)))?;
            }
            None => mount_on("tmpfs", DATA_DIR, ("tmpfs", flags, Some(c"size=50%,mode=755")))?,
        }
    }
    Ok(is_lasting())
}

/// Bytes of the data partition, or of RAM in its place: all and free.
pub fn data_room() -> (u64, u64) {
    let stat = rustix::fs::statvfs(DATA_DIR);
    stat.map_or((0, 0), |stat| (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

fn is_lasting() -> bool {
    rustix::fs::statfs(DATA_DIR).is_ok_and(|stat| stat.f_type != TMPFS_MAGIC)
}

fn mount_on(
    device: &str,
    target: &'static str,
    (fstype, flags, options): (&str, MountFlags, Option<&std::ffi::CStr>),
) -> Result<(), Error> {
    mount(device, target, fstype, flags, options).map_err(|source| Error::Mount {
        device: device.to_owned(),
        target,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(magic: (usize, &[u8]), label: (usize, &str)) -> Vec<u8> {
        let mut start = vec![0; 4096];
        start[magic.0..magic.0 + magic.1.len()].copy_from_slice(magic.1);
        start[label.0..label.0 + label.1.len()].copy_from_slice(label.1.as_bytes());
        start
    }

    #[test]
    fn disks_are_told_by_magic_and_label() {
        let erofs = (1024, &[0xE2, 0xE1, 0xF5, 0xE0][..]);
        let ext4 = (1080, &[0x53, 0xEF][..]);
        assert_eq!(identify(&disk(erofs, (1088, "berth-factory"))), Some(Disk::Factory));
        assert_eq!(identify(&disk(ext4, (1144, "berth-data"))), Some(Disk::Data));
        assert_eq!(identify(&disk(ext4, (1144, "berth-data2"))), None);
        assert_eq!(identify(&disk(ext4, (1088, "berth-factory"))), None);
        assert_eq!(identify(&[]), None);
    }
}
