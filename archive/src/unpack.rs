//! From a tar stream to files below one directory, and never beyond it.
//!
//! Every parent is opened beneath the directory without following any link, so that a link of the stream leads
//! nowhere; whatever is there under the name of a file is replaced when the new one is whole, not written through.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, chownat,
    fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, openat2, renameat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::tarball::{Entry, TarError, Tarball, What};
use crate::{ArchiveError, DEPTH_MAX, PATH_MAX, shown};

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
pub(crate) const DIR: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Directories whose times and modes are remembered until nothing is made in them any more.
const DIRECTORIES_MAX: usize = 10_000;
/// Bytes copied at once.
const PIECE: usize = 64 << 10;

/// What of an entry's attributes is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All: owners, set-id bits, extended attributes; also for directories that are there already.
    All,
    /// Permissions and times of what is made; it belongs to this user and group, or to whoever unpacks.
    Plain(Option<(u32, u32)>),
}

/// Fills a directory from a stream, to the end of the stream.
///
/// # Errors
/// The stream is damaged or hostile, or something cannot be made. What was made before stays; no file is half there.
pub fn read(top: &OwnedFd, source: impl Read, keep: Keep) -> Result<(), ArchiveError> {
    Unpack { top, keep, made_top: keep == Keep::All }.all(None, &mut Tarball::new(source))
}

/// Where to, and what of it.
pub(crate) struct Unpack<'t> {
    pub top: &'t OwnedFd,
    pub keep: Keep,
    /// The directory itself gets the attributes of its entry.
    pub made_top: bool,
}

/// A directory that was made, and what it gets when nothing is made in it any more.
struct Made {
    names: Vec<CString>,
    mode: u32,
    mtime: i64,
}

impl Unpack<'_> {
    /// Takes `first`, which was read already, and what follows it.
    pub fn all(&self, first: Option<Entry>, tarball: &mut Tarball<impl Read>) -> Result<(), ArchiveError> {
        // Modes are meant as they are written.
        let usual = rustix::process::umask(Mode::empty());
        let read = self.entries(first, tarball);
        rustix::process::umask(usual);
        read
    }

    fn entries(&self, first: Option<Entry>, tarball: &mut Tarball<impl Read>) -> Result<(), ArchiveError> {
        let mut directories = Vec::new();
        let mut next = if first.is_some() { first } else { tarball.next()? };
        while let Some(entry) = next {
            let names = names(&entry.path, &entry.path)?;
            let made = match names.split_last() {
                None if self.made_top => {
                    self.settle(self.top.as_fd(), &entry).map_err(at(&entry, "set up"))?;
                    true
                }
                None => false,
                Some((name, parents)) => {
                    let parent = parent(self.top, parents).map_err(at(&entry, "open the folder of"))?;
                    self.place((&parent, name), &entry, tarball)?
                }
            };
            if entry.what == What::Directory && made {
                if directories.len() >= DIRECTORIES_MAX {
                    // Of a stream that goes through one directory after the other only these are not done.
                    let is_open = |made: &Made| names.starts_with(&made.names);
                    let (open, done): (Vec<_>, Vec<_>) = directories.into_iter().partition(is_open);
                    self.finish(&done);
                    directories = open;
                }
                directories.push(Made { names, mode: entry.mode, mtime: entry.mtime });
            }
            next = tarball.next()?;
        }
        self.finish(&directories);
        Ok(tarball.drain()?)
    }

    /// Now that nothing is made in them any more: times, and modes that might have forbidden it.
    fn finish(&self, directories: &[Made]) {
        for made in directories.iter().rev() {
            // What has been replaced by a later entry has that one's.
            if let Ok(directory) = open_below(self.top, &made.names) {
                if let Keep::Plain(_) = self.keep {
                    let _it_is_made_by_us = fchmod(&directory, Mode::from_raw_mode(made.mode & PLAIN));
                }
                let _a_time_only = futimens(&directory, &times(made.mtime));
            }
        }
    }

    /// Makes what the entry is; false for a directory that is there already and stays as it is.
    fn place(
        &self,
        (parent, name): (&OwnedFd, &CString),
        entry: &Entry,
        tarball: &mut Tarball<impl Read>,
    ) -> Result<bool, ArchiveError> {
        if !matches!(entry.what, What::Directory | What::File(_)) {
            match unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(at(entry, "replace")(error)),
            }
        }
        match &entry.what {
            What::Directory => return self.directory(parent, name, entry),
            What::File(_) => self.file((parent, name), entry, tarball)?,
            What::Symlink(target) => {
                symlinkat(OsStr::from_bytes(target), parent, name).map_err(at(entry, "make"))?;
                self.settle_link(parent, name, entry).map_err(at(entry, "set up"))?;
            }
            What::Fifo => {
                let mode = Mode::from_raw_mode(entry.mode & self.bits());
                mknodat(parent, name, FileType::Fifo, mode, 0).map_err(at(entry, "make"))?;
                self.settle_link(parent, name, entry).map_err(at(entry, "set up"))?;
            }
            What::HardLink(target) => {
                let names = names(target, &entry.path)?;
                let (old, parents) = names.split_last().ok_or(Errno::ISDIR).map_err(at(entry, "make"))?;
                let from = open_below(self.top, parents).map_err(at(entry, "find the file of"))?;
                linkat(&from, old, parent, name, AtFlags::empty()).map_err(at(entry, "find the file of"))?;
            }
        }
        Ok(true)
    }

    fn directory(&self, parent: &OwnedFd, name: &CString, entry: &Entry) -> Result<bool, ArchiveError> {
        let is_new = match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => self.keep == Keep::All,
            Err(error) => return Err(at(entry, "make")(error)),
        };
        let made = openat(parent, name, DIR, Mode::empty()).map_err(at(entry, "make"))?;
        if is_new {
            self.settle(made.as_fd(), entry).map_err(at(entry, "set up"))?;
        }
        Ok(is_new)
    }

    /// Under a name of its own until it is whole.
    pub fn file(
        &self,
        (parent, name): (&OwnedFd, &CString),
        entry: &Entry,
        tarball: &mut Tarball<impl Read>,
    ) -> Result<(), ArchiveError> {
        let unfinished = unfinished();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(parent, &unfinished, flags, Mode::RUSR | Mode::WUSR).map_err(at(entry, "make"))?;
        let filled = self
            .fill(File::from(made), entry, tarball)
            .and_then(|()| renameat(parent, &unfinished, parent, name).map_err(at(entry, "replace")));
        if filled.is_err() {
            let _or_it_is_gone = unlinkat(parent, &unfinished, AtFlags::empty());
        }
        filled
    }

    fn fill(
        &self,
        mut file: File,
        entry: &Entry,
        tarball: &mut Tarball<impl Read>,
    ) -> Result<(), ArchiveError> {
        copy(tarball, &mut file, entry)?;
        self.settle(file.as_fd(), entry).map_err(at(entry, "set up"))?;
        futimens(&file, &times(entry.mtime)).map_err(at(entry, "set up"))
    }

    /// Owner first: a change of it takes away set-id bits and capabilities.
    fn settle(&self, file: BorrowedFd<'_>, entry: &Entry) -> Result<(), Errno> {
        if let Some((uid, gid)) = self.owner(entry) {
            fchown(file, Some(uid), Some(gid))?;
        }
        if self.keep != Keep::All && entry.what == What::Directory {
            // Something is to be made in it yet.
            return Ok(());
        }
        fchmod(file, Mode::from_raw_mode(entry.mode & self.bits()))?;
        if self.keep == Keep::All {
            for (name, value) in &entry.xattrs {
                fsetxattr(file, name.as_slice(), value, XattrFlags::empty())?;
            }
        }
        Ok(())
    }

    /// The same for what cannot be opened.
    fn settle_link(&self, parent: &OwnedFd, name: &CString, entry: &Entry) -> Result<(), Errno> {
        if let Some((uid, gid)) = self.owner(entry) {
            chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The highest number means "as it is" to the kernel, and is nobody's.
    fn owner(&self, entry: &Entry) -> Option<(Uid, Gid)> {
        let id = |id: u32| if id == u32::MAX { 0 } else { id };
        let (uid, gid) = match self.keep {
            Keep::All => entry.owner,
            Keep::Plain(owner) => owner?,
        };
        Some((Uid::from_raw(id(uid)), Gid::from_raw(id(gid))))
    }

    fn bits(&self) -> u32 {
        if self.keep == Keep::All { 0o7777 } else { PLAIN }
    }
}

/// Permissions, without set-id and sticky bits.
const PLAIN: u32 = 0o777;

fn at(entry: &Entry, doing: &'static str) -> impl FnOnce(Errno) -> ArchiveError {
    move |error| ArchiveError::File { doing, path: shown(&entry.path), source: error.into() }
}

/// The name of a file that is not whole yet; whoever is killed leaves it.
fn unfinished() -> String {
    format!(".berth-unfinished-{}", std::process::id())
}

/// The components of a path of `entry`, which must not lead upwards.
fn names(path: &[u8], entry: &[u8]) -> Result<Vec<CString>, ArchiveError> {
    let refused = |what| ArchiveError::Tar(TarError::Refused { path: shown(entry), what });
    if path.len() > PATH_MAX {
        return Err(ArchiveError::Long(shown(entry)));
    }
    if path.starts_with(b"/") {
        return Err(refused("has a path from the root"));
    }
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let names: Vec<_> =
        parts.map(CString::new).collect::<Result<_, _>>().map_err(|_| refused("has a NUL"))?;
    if names.iter().any(|name| name.as_bytes() == b"..") {
        return Err(refused("has a path that leads upwards"));
    }
    if names.len() > DEPTH_MAX { Err(ArchiveError::Deep(shown(entry))) } else { Ok(names) }
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

fn copy(tarball: &mut Tarball<impl Read>, file: &mut File, entry: &Entry) -> Result<(), ArchiveError> {
    let cannot = |source: io::Error| ArchiveError::File { doing: "write", path: shown(&entry.path), source };
    let mut piece = vec![0; PIECE];
    loop {
        let len = tarball.read(&mut piece)?;
        if len == 0 {
            return Ok(());
        }
        file.write_all(piece.get(..len).unwrap_or_default()).map_err(cannot)?;
    }
}

fn times(mtime: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime, tv_nsec: 0 },
    }
}
