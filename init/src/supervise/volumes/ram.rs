//! Volumes in RAM: a tmpfs each, mounted on the node, so that units share it and it outlives them, and a supervisor too.
//!
//! What is noted of one is an attribute of its root, as with those on the disk. It is put together while it is mounted
//! nowhere: either it is there whole or it is not.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_units::Name;
use berth_units::spec::Volume;
use berth_units::volumes::{Kept, RAM_VOLUMES_DIR};
use rustix::fs::{CWD, Mode, OFlags, openat, statvfs};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_reconfigure, fsconfig_set_string, fsmount, fsopen, fspick, move_mount, unmount,
};

use super::note::{mark_unseeded, read_note, write_note};
use super::{Error, system};
use crate::error;

/// Of a volume without a size: what the kernel takes, too.
const HALF: &str = "50%";

pub(super) fn path_of(name: &Name) -> PathBuf {
    Path::new(RAM_VOLUMES_DIR).join(name.as_str())
}

/// Whether the volume is there: something is mounted on its directory.
pub(super) fn is_there(name: &Name) -> bool {
    let path = path_of(name);
    let device = |path: &Path| fs::symlink_metadata(path).ok().map(|found| found.dev());
    device(&path).is_some_and(|own| device(Path::new(RAM_VOLUMES_DIR)) != Some(own))
}

/// The directory of a volume, with its limit in force.
pub(super) fn ensure(name: &Name, volume: &Volume) -> Result<PathBuf, Error> {
    let path = path_of(name);
    if is_there(name) {
        note_down(&path, name, volume)?;
        resize(&path, name, volume)?;
        return Ok(path);
    }
    fs::create_dir_all(&path).map_err(system("make", name))?;
    let mount = make(volume).map_err(system("make", name))?;
    let root = openat(&mount, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = File::from(root.map_err(system("open", name))?);
    write_note(&root, &kept(volume)).map_err(system("note down", name))?;
    mark_unseeded(&root).map_err(system("note down", name))?;
    move_mount(&mount, c"", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(system("mount", name))?;
    Ok(path)
}

fn kept(volume: &Volume) -> Kept {
    Kept { project: 0, retain: volume.retain }
}

fn make(volume: &Volume) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let options = [
        (c"size", size(volume)),
        (c"mode", format!("{:o}", volume.mode)),
        (c"uid", volume.uid.to_string()),
        (c"gid", volume.gid.to_string()),
    ];
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn size(volume: &Volume) -> String {
    volume.size.map_or_else(|| HALF.to_owned(), |bytes| bytes.to_string())
}

fn note_down(path: &Path, name: &Name, volume: &Volume) -> Result<(), Error> {
    let root = File::open(path).map_err(system("open", name))?;
    if read_note(&root).map_err(system("read the note of", name))? != Some(kept(volume)) {
        write_note(&root, &kept(volume)).map_err(system("note down", name))?;
    }
    Ok(())
}

/// The kernel refuses a size below what is there: then the old one stays.
fn resize(path: &Path, name: &Name, volume: &Volume) -> Result<(), Error> {
    let wanted = size(volume);
    let set = || {
        let context = fspick(CWD, path, FsPickFlags::FSPICK_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), c"size", wanted.as_str())?;
        fsconfig_reconfigure(context.as_fd())
    };
    match set() {
        Err(Errno::INVAL) => {
            error!("volume '{name}': it holds more than its new size {wanted}; its old size stays");
            Ok(())
        }
        result => result.map_err(system("limit the size of", name)),
    }
}

/// Bytes that a volume may hold and holds, and its files.
pub(super) fn count(name: &Name) -> Option<(u64, u64, u64)> {
    let found = statvfs(path_of(name)).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let files = found.f_files.saturating_sub(found.f_ffree);
    Some((bytes(found.f_blocks), bytes(found.f_blocks.saturating_sub(found.f_bfree)), files))
}

/// Whoever still has it mounted keeps it until he ends.
pub(super) fn remove(name: &Name) -> Result<(), Error> {
    let path = path_of(name);
    let text = CString::new(path.as_os_str().as_encoded_bytes());
    let text = text.map_err(|error| system("unmount", name)(std::io::Error::from(error)))?;
    unmount(text.as_c_str(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .map_err(system("unmount", name))?;
    fs::remove_dir(&path).map_err(system("remove", name))
}
