//! The unit's mounts: what is of the node is opened and copied here, while it is mounted nowhere.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use berth_units::spec::Propagation;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, fstat, openat, statx,
};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree,
};

use super::container::{layers, mount_target, target};
use super::{ImagePlan, Lifted, MountPlan, Source, c_string, invalid, open};
use crate::resolve::{self, Kind, Target};
use crate::spawn::SpawnError;
use crate::spec::{Mount, MountSource};
use crate::sys::mount::{Reach, set_attributes, set_propagation};

pub(super) fn plan(mounts: &[Mount], lifted: &mut Lifted) -> Result<Vec<MountPlan>, SpawnError> {
    let mut planned = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        let source = match &mount.source {
            MountSource::Bind { path, subpath } => bind(mount, path, subpath.as_deref(), lifted)?,
            MountSource::Tmpfs { size, mode } => tmpfs(*size, *mode, mount.manner.filled)?,
            MountSource::Image { layers, subpath } => {
                let below = |path: &String| target("subpath", &format!("/{path}"));
                let subpath = subpath.as_ref().map(below).transpose()?;
                Source::Image(image(layers, &format!("images/m{number}"))?, subpath)
            }
        };
        let target = mount_target(&mount.target)?;
        planned.push(MountPlan { target, source, attributes: attributes(mount), own: mount.manner.own });
    }
    planned.sort_by_key(|mount| mount.target.depth());
    Ok(planned)
}

/// Another image, which is put together on that directory of the scratch tmpfs.
pub(super) fn image(paths: &[PathBuf], place: &str) -> Result<ImagePlan, SpawnError> {
    Ok(ImagePlan { layers: layers(paths)?, place: c_string("place", place)? })
}

fn tmpfs(size: u64, mode: u32, filled: bool) -> Result<Source, SpawnError> {
    if mode > 0o7777 {
        return Err(invalid("mode", format!("{mode:o}"), "it is at most 7777"));
    }
    let (size, mode) = (c_string("size", size.to_string())?, c_string("mode", format!("{mode:o}"))?);
    Ok(Source::Tmpfs { size, mode, filled })
}

fn attributes(mount: &Mount) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, mount.read_only);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !mount.exec);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOATIME, mount.manner.no_atime);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW, mount.manner.no_symfollow);
    attributes
}

/// Copies the tree and sets its attributes while it is mounted nowhere: there is no moment when it is writable.
fn bind(
    mount: &Mount,
    path: &Path,
    subpath: Option<&str>,
    lifted: &mut Lifted,
) -> Result<Source, SpawnError> {
    if !path.is_absolute() {
        return Err(invalid("mount source", path.display(), "it is absolute"));
    }
    let mut source = open_source(path)?;
    if let Some(subpath) = subpath {
        source = open_subpath(&source, subpath).map_err(open("open mount source", &path.join(subpath)))?;
    }
    let propagation = match mount.manner.propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        other => {
            source = share(source, path)?;
            if other == Propagation::Slave {
                MountPropagationFlags::DOWNSTREAM
            } else {
                MountPropagationFlags::SHARED
            }
        }
    };
    let mode = fstat(&source).map_err(open("examine mount source", path))?.st_mode;
    let kind =
        if FileType::from_raw_mode(mode) == FileType::Directory { Kind::Directory } else { Kind::File };
    let tree = copy(&source, mount.manner.alone).map_err(open("copy mount source", path))?;
    set_attributes(tree.as_fd(), attributes(mount), Reach::Tree).map_err(open("set attributes of", path))?;
    set_propagation(tree.as_fd(), propagation, Reach::Tree).map_err(open("set propagation of", path))?;
    Ok(Source::Tree(lifted.lift(tree)?, kind))
}

fn open_source(path: &Path) -> Result<OwnedFd, SpawnError> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(open("open mount source", path))
}

fn copy(source: &OwnedFd, alone: bool) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, !alone);
    open_tree(source, c"", flags)
}

/// Makes a mount of a path of the node, if it is none, that hands on what is mounted below it. It stays: other units
/// may share it, and a second time there is nothing to do.
fn share(source: OwnedFd, path: &Path) -> Result<OwnedFd, SpawnError> {
    let is_mount = |fd: &OwnedFd| {
        let found = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
        Ok::<_, Errno>(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    };
    let mount_on_itself = || {
        let copied = copy(&source, false)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&copied, c"", &source, c"", flags)
    };
    if !is_mount(&source).map_err(open("examine mount source", path))? {
        mount_on_itself().map_err(open("share mount source", path))?;
    }
    let source = open_source(path)?;
    set_propagation(source.as_fd(), MountPropagationFlags::SHARED, Reach::One)
        .map_err(open("share mount source", path))?;
    Ok(source)
}

/// Below a volume, where a container may have put any link: never outside of it.
fn open_subpath(volume: &OwnedFd, subpath: &str) -> Result<OwnedFd, Errno> {
    let target = Target::parse(&format!("/{subpath}")).ok_or(Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = resolve::open_below(volume, c".", flags, ResolveFlags::IN_ROOT)?;
    resolve::ensure(root.as_fd(), &target, Kind::Directory)
}
