//! From a tar stream to files below one directory, and never beyond it.
//!
//! Every parent is opened beneath the directory without following any link, so that a link of the stream leads
//! nowhere; whatever is there under the name of a file is replaced, not written through.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, chownat,
    fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, openat2, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::tarball::{Entry, TarError, Tarball, What};
use super::{DEPTH_MAX, VolumeError, shown};

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);
const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Bytes copied at once.
const PIECE: usize = 64 << 10;

/// Fills an empty directory from a stream.
pub fn read(top: &OwnedFd, source: impl Read) -> Result<(), VolumeError> {
    // Modes are meant as they are written.
    let usual = rustix::process::umask(Mode::empty());
    let read = read_all(top, &mut Tarball::new(source));
    rustix::process::umask(usual);
    read
}

fn read_all(top: &OwnedFd, tarball: &mut Tarball<impl Read>) -> Result<(), VolumeError> {
    let mut directories = Vec::new();
    while let Some(entry) = tarball.next()? {
        let names = names(&entry.path, &entry.path)?;
        let file =
            |doing, error: Errno| VolumeError::File { doing, path: shown(&entry.path), source: error.into() };
        match names.split_last() {
            None => settle(top.as_fd(), &entry).map_err(|error| file("set up", error))?,
            Some((name, parents)) => {
                let parent = parent(top, parents).map_err(|error| file("open the folder of", error))?;
                place(top, (&parent, name), &entry, tarball)?;
            }
        }
        if entry.what == What::Directory {
            directories.push((names, entry.mtime));
        }
    }
    // Now that nothing is made in them any more.
    for (names, mtime) in directories.iter().rev() {
        // What has been replaced by a later entry has that one's time.
        if let Ok(directory) = open_below(top, names) {
            let _a_time_only = futimens(&directory, &times(*mtime));
        }
    }
    Ok(tarball.drain()?)
}

/// The components of a path of `entry`, which must not lead upwards.
fn names(path: &[u8], entry: &[u8]) -> Result<Vec<CString>, VolumeError> {
    let refused = |what| VolumeError::Tar(TarError::Refused { path: shown(entry), what });
    if path.starts_with(b"/") {
        return Err(refused("has a path from the root"));
    }
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let names: Vec<_> =
        parts.map(CString::new).collect::<Result<_, _>>().map_err(|_| refused("has a NUL"))?;
    if names.iter().any(|name| name.as_bytes() == b"..") {
        return Err(refused("has a path that leads upwards"));
    }
    if names.len() > DEPTH_MAX { Err(VolumeError::Deep(shown(entry))) } else { Ok(names) }
}

fn open_below(top: &OwnedFd, names: &[CString]) -> Result<OwnedFd, Errno> {
    let mut path = vec![b'.'];
    for name in names {
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    openat2(top, OsStr::from_bytes(&path), DIR, Mode::empty(), BENEATH)
}

/// The directory of these names, made where it is missing.
fn parent(top: &OwnedFd, names: &[CString]) -> Result<OwnedFd, Errno> {
    match open_below(top, names) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let mut at = openat(top, c".", DIR, Mode::empty())?;
    for name in names {
        match mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        at = openat(&at, name, DIR, Mode::empty())?;
    }
    Ok(at)
}

fn place(
    top: &OwnedFd,
    (parent, name): (&OwnedFd, &CString),
    entry: &Entry,
    tarball: &mut Tarball<impl Read>,
) -> Result<(), VolumeError> {
    let cannot = |doing| {
        move |error: Errno| VolumeError::File { doing, path: shown(&entry.path), source: error.into() }
    };
    if entry.what != What::Directory {
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(cannot("replace")(error)),
        }
    }
    let make = cannot("make");
    match &entry.what {
        What::Directory => match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {
                let made = openat(parent, name, DIR, Mode::empty()).map_err(make)?;
                settle(made.as_fd(), entry).map_err(cannot("set up"))
            }
            Err(error) => Err(make(error)),
        },
        What::File(_) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(make)?;
            let mut file = File::from(made);
            copy(tarball, &mut file, entry)?;
            settle(file.as_fd(), entry).map_err(cannot("set up"))?;
            futimens(&file, &times(entry.mtime)).map_err(cannot("set up"))
        }
        What::Symlink(target) => {
            symlinkat(OsStr::from_bytes(target), parent, name).map_err(make)?;
            settle_link(parent, name, entry).map_err(cannot("set up"))
        }
        What::Fifo => {
            mknodat(parent, name, FileType::Fifo, Mode::from_raw_mode(entry.mode), 0).map_err(make)?;
            settle_link(parent, name, entry).map_err(cannot("set up"))
        }
        What::HardLink(target) => {
            let names = names(target, &entry.path)?;
            let (old, parents) = names.split_last().ok_or(Errno::ISDIR).map_err(cannot("make"))?;
            let from = open_below(top, parents).map_err(cannot("find the file of"))?;
            linkat(&from, old, parent, name, AtFlags::empty()).map_err(cannot("find the file of"))
        }
    }
}

fn copy(tarball: &mut Tarball<impl Read>, file: &mut File, entry: &Entry) -> Result<(), VolumeError> {
    let cannot = |source: io::Error| VolumeError::File { doing: "write", path: shown(&entry.path), source };
    let mut piece = vec![0; PIECE];
    loop {
        let len = tarball.read(&mut piece)?;
        if len == 0 {
            return Ok(());
        }
        file.write_all(piece.get(..len).unwrap_or_default()).map_err(cannot)?;
    }
}

/// Owner first: a change of it takes away set-id bits and capabilities.
fn settle(file: std::os::fd::BorrowedFd<'_>, entry: &Entry) -> Result<(), Errno> {
    let (uid, gid) = owner(entry);
    fchown(file, uid, gid)?;
    fchmod(file, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.xattrs {
        fsetxattr(file, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(())
}

/// The same for what cannot be opened.
fn settle_link(parent: &OwnedFd, name: &CString, entry: &Entry) -> Result<(), Errno> {
    let (uid, gid) = owner(entry);
    chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
}

/// The highest number means "as it is" to the kernel, and is nobody's.
fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    let id = |id: u32| if id == u32::MAX { 0 } else { id };
    (Some(Uid::from_raw(id(entry.owner.0))), Some(Gid::from_raw(id(entry.owner.1))))
}

fn times(mtime: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime, tv_nsec: 0 },
    }
}
