//! From a tree to a tar stream, while programs may still change it.
//!
//! Nothing is followed: every name is looked at and opened as what it is, below a directory that is open already.
//! What goes away on the way is left out, and a file that changes its length has the one that it had when it was
//! opened. Hard links stay links as long as their first names are remembered.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, fstat, fstatfs, openat, readlinkat,
    statat,
};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use crate::tarball::is_kept;
use crate::{ArchiveError, DEPTH_MAX, PATH_MAX, shown, whole};

/// First names of files with several that are remembered; further ones are written as files of their own.
const LINKS_MAX: usize = 100_000;
/// Paths that were left out are told up to here.
const SKIPPED_MAX: usize = 1000;
/// The kernel's limit for a value and for a list of names, bytes.
const XATTR_MAX: usize = 64 << 10;

/// Types of file systems that hold no files: proc, sysfs, cgroup2 (linux/magic.h).
const KERNEL: [i64; 3] = [0x9fa0, 0x6265_6572, 0x6367_7270];

/// What no tar can hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// The first ones.
    pub paths: Vec<String>,
    /// How many there were beside them.
    pub more: u64,
}

impl Skipped {
    fn note(&mut self, path: &Path) {
        if self.paths.len() < SKIPPED_MAX {
            self.paths.push(shown_path(path));
        } else {
            self.more += 1;
        }
    }
}

/// Writes one file under this name.
pub(crate) fn write_file(file: OwnedFd, name: &Path, out: impl Write) -> Result<(), ArchiveError> {
    let mut export = Export::new(out);
    let stat = fstat(&file).map_err(whole("read the file"))?;
    export.file(file, name, &stat)?;
    export.finish().map(drop)
}

/// Writes the tree. What no tar can hold (sockets, devices) and what is no tree (/proc, /sys) is left out, and returned.
///
/// # Errors
/// Something cannot be read, is too deep, or `out` takes no more.
pub fn write(top: OwnedFd, out: impl Write) -> Result<Skipped, ArchiveError> {
    let mut export = Export::new(out);
    let stat = fstat(&top).map_err(whole("read the directory"))?;
    export.directory(&top, Path::new("./"), &stat)?;
    let mut open = vec![Level::new(top, PathBuf::new())?];
    while let Some(level) = open.last_mut() {
        let Some(name) = level.next()? else {
            open.pop();
            continue;
        };
        let path = level.path.join(OsStr::from_bytes(name.as_bytes()));
        if path.as_os_str().len() > PATH_MAX {
            return Err(ArchiveError::Long(shown_path(&path)));
        }
        match export.entry(&level.fd, &name, &path) {
            Ok(Some(_)) if open.len() > DEPTH_MAX => return Err(ArchiveError::Deep(shown_path(&path))),
            Ok(Some(below)) => open.push(Level::new(below, path)?),
            Ok(None) => {}
            Err(error) => return Err(error),
        }
    }
    export.finish()
}

/// A directory that is being read.
struct Level {
    fd: OwnedFd,
    names: Dir,
    path: PathBuf,
}

impl Level {
    fn new(fd: OwnedFd, path: PathBuf) -> Result<Self, ArchiveError> {
        let names = Dir::read_from(&fd).map_err(whole("read the directory"))?;
        Ok(Self { fd, names, path })
    }

    fn next(&mut self) -> Result<Option<CString>, ArchiveError> {
        loop {
            match self.names.read() {
                None => return Ok(None),
                Some(entry) => {
                    let name = entry.map_err(whole("read the directory"))?.file_name().to_owned();
                    if !matches!(name.as_bytes(), b"." | b"..") {
                        return Ok(Some(name));
                    }
                }
            }
        }
    }
}

struct Export<W: Write> {
    tar: Builder<W>,
    links: BTreeMap<(u64, u64), PathBuf>,
    skipped: Skipped,
    room: Vec<u8>,
}

impl<W: Write> Export<W> {
    fn new(out: W) -> Self {
        let (links, skipped) = (BTreeMap::new(), Skipped::default());
        Self { tar: Builder::new(out), links, skipped, room: vec![0; XATTR_MAX] }
    }

    fn finish(self) -> Result<Skipped, ArchiveError> {
        self.tar.into_inner().and_then(|mut out| out.flush()).map_err(whole("send the tar stream"))?;
        Ok(self.skipped)
    }

    /// Writes what `name` is; the directory, when it is one.
    fn entry(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        path: &Path,
    ) -> Result<Option<OwnedFd>, ArchiveError> {
        let cannot = |doing| {
            move |error: Errno| ArchiveError::File { doing, path: shown_path(path), source: error.into() }
        };
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.map_err(cannot("read"))?,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && self.linked(path, &stat)? {
            return Ok(None);
        }
        match kind {
            FileType::Directory | FileType::RegularFile => {
                let opened = match openat(parent, name, flags, Mode::empty()) {
                    // Gone, or something else by now.
                    Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
                    result => result.map_err(cannot("open"))?,
                };
                let stat = fstat(&opened).map_err(cannot("read"))?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory if is_of_the_kernel(&opened) => {
                        self.skipped.note(path);
                        Ok(None)
                    }
                    FileType::Directory => self.directory(&opened, path, &stat).map(|()| Some(opened)),
                    FileType::RegularFile => {
                        self.file(opened, path, &stat)?;
                        self.remember(path, &stat)
                    }
                    _ => Ok(None),
                }
            }
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new()).map_err(cannot("read"))?;
                self.symlink(target.as_bytes(), path, &stat)?;
                self.remember(path, &stat)
            }
            FileType::Fifo => {
                self.append(&stat, EntryType::Fifo, path)?;
                self.remember(path, &stat)
            }
            _ => {
                self.skipped.note(path);
                Ok(None)
            }
        }
    }

    /// Writes a link where the file has been written under another name.
    fn linked(&mut self, path: &Path, stat: &Stat) -> Result<bool, ArchiveError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let inode = (stat.st_dev, stat.st_ino);
        let Some(first) = self.links.get(&inode) else { return Ok(false) };
        let mut header = header(stat, EntryType::Link, 0);
        self.tar.append_link(&mut header, path, first).map_err(whole("send the tar stream"))?;
        Ok(true)
    }

    /// Now that it is in the stream, further names of it can lead there.
    fn remember(&mut self, path: &Path, stat: &Stat) -> Result<Option<OwnedFd>, ArchiveError> {
        if stat.st_nlink > 1 && self.links.len() < LINKS_MAX {
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        Ok(None)
    }

    /// The target as it is: it may be anything.
    fn symlink(&mut self, target: &[u8], path: &Path, stat: &Stat) -> Result<(), ArchiveError> {
        let mut header = header(stat, EntryType::Symlink, 0);
        if header.set_link_name_literal(target).is_err() {
            self.tar.append_pax_extensions([("linkpath", target)]).map_err(whole("send the tar stream"))?;
        }
        self.tar.append_data(&mut header, path, io::empty()).map_err(whole("send the tar stream"))
    }

    fn directory(&mut self, opened: &OwnedFd, path: &Path, stat: &Stat) -> Result<(), ArchiveError> {
        self.attributes(opened)?;
        self.append(stat, EntryType::Directory, path)
    }

    fn append(&mut self, stat: &Stat, kind: EntryType, path: &Path) -> Result<(), ArchiveError> {
        self.tar
            .append_data(&mut header(stat, kind, 0), path, io::empty())
            .map_err(whole("send the tar stream"))
    }

    fn file(&mut self, opened: OwnedFd, path: &Path, stat: &Stat) -> Result<(), ArchiveError> {
        self.attributes(&opened)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut header = header(stat, EntryType::Regular, size);
        // What has been cut off meanwhile reads as zeros.
        let data = File::from(opened).chain(io::repeat(0)).take(size);
        self.tar.append_data(&mut header, path, data).map_err(whole("send the tar stream"))
    }

    /// Extended attributes, as PAX records before the entry.
    fn attributes(&mut self, opened: &OwnedFd) -> Result<(), ArchiveError> {
        let len = match flistxattr(opened.as_fd(), &mut *self.room) {
            Err(Errno::NOTSUP) => 0,
            result => result.map_err(whole("read the directory"))?,
        };
        let list = self.room.get(..len).unwrap_or_default().to_vec();
        let mut found = Vec::new();
        for name in list.split(|byte| *byte == 0).filter(|name| is_kept(name)) {
            // Gone meanwhile.
            let Ok(len) = fgetxattr(opened, name, &mut *self.room) else { continue };
            let key = format!("SCHILY.xattr.{}", String::from_utf8_lossy(name));
            found.push((key, self.room.get(..len).unwrap_or_default().to_vec()));
        }
        let records = found.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(records).map_err(whole("send the tar stream"))
    }
}

/// A window into the kernel is no tree: its files have no lengths, and some no end.
pub(crate) fn is_of_the_kernel(directory: &OwnedFd) -> bool {
    fstatfs(directory).is_ok_and(|system| KERNEL.contains(&system.f_type))
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(size);
    header
}

fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_bytes())
}
