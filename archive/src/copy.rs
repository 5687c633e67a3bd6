//! One file or directory, from and to a place that somebody named: what `cp -r` would take, and where it would put it.

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, statat,
};
use rustix::io::Errno;

use crate::pack::{Skipped, is_of_the_kernel, write_file};
use crate::tarball::{Entry, TarError, Tarball, What};
use crate::unpack::{DIR, Keep, Unpack};
use crate::{ArchiveError, shown, whole, write};

/// Where paths begin, and how they are followed.
#[derive(Debug)]
pub struct Base {
    top: OwnedFd,
    resolve: ResolveFlags,
}

/// How often a look-up is tried that a rename has disturbed (openat2(2), EAGAIN).
const TRIES: usize = 16;

impl Base {
    /// The caller's own working directory and file system: every link is followed.
    ///
    /// # Errors
    /// There is no working directory.
    pub fn here() -> Result<Self, ArchiveError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(CWD, ".", flags, Mode::empty()).map_err(whole("open the working directory"))?;
        Ok(Self { top, resolve: ResolveFlags::empty() })
    }

    /// A root that nothing leads out of: `/`, `..` and links are taken as those who live in it see them.
    pub fn within(root: OwnedFd) -> Self {
        Self { top: root, resolve: ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS }
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut tries = 0;
        loop {
            tries += 1;
            match openat2(&self.top, path, flags | OFlags::CLOEXEC, Mode::empty(), self.resolve) {
                Err(Errno::AGAIN) if tries < TRIES => {}
                result => return result,
            }
        }
    }

    fn open_directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// The folder of a path, and the name in it.
    fn folder_of(&self, path: &str) -> Result<(OwnedFd, CString), ArchiveError> {
        let trimmed = path.trim_end_matches('/');
        let (folder, name) = match trimmed.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some(split) => split,
            None => (".", trimmed),
        };
        if matches!(name, "" | "." | "..") {
            return Err(refused(path, "ends in no name"));
        }
        let folder = self.open_directory(folder).map_err(at(path, "open the folder of"))?;
        Ok((folder, c_string(path, name)?))
    }

    /// The directory that takes what comes, and whether it was made for it.
    fn directory_for(&self, path: &str, name: Option<&str>) -> Result<(OwnedFd, bool), ArchiveError> {
        let (folder, name) = match (self.open_directory(path), name) {
            (Ok(found), None) => return Ok((found, false)),
            (Ok(found), Some(name)) => (found, c_string(path, name)?),
            (Err(Errno::NOENT), _) => self.folder_of(path)?,
            (Err(Errno::NOTDIR), _) => return Err(refused(path, "is no directory")),
            (Err(error), _) => return Err(at(path, "open")(error)),
        };
        let is_new = match mkdirat(&folder, &name, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(at(path, "make a directory in")(error)),
        };
        // One that somebody could lead elsewhere is no place to unpack in.
        match openat(&folder, &name, DIR, Mode::empty()) {
            Ok(directory) => Ok((directory, is_new)),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                Err(refused(&below(path, &name), "is there already and is no directory"))
            }
            Err(error) => Err(at(&below(path, &name), "open")(error)),
        }
    }

    /// The folder and the name that a file gets.
    fn place_for(&self, path: &str, name: &str) -> Result<(OwnedFd, CString), ArchiveError> {
        let (folder, name) = match self.open_directory(path) {
            Ok(found) => (found, c_string(path, name)?),
            Err(Errno::NOENT | Errno::NOTDIR) if path.ends_with('/') => {
                return Err(refused(path, "is no directory"));
            }
            Err(Errno::NOENT | Errno::NOTDIR) => self.folder_of(path)?,
            Err(error) => return Err(at(path, "open")(error)),
        };
        match statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok((folder, name)),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Ok((folder, name)),
            Ok(_) => Err(refused(&below(path, &name), "is there already and is no ordinary file")),
            Err(error) => Err(at(&below(path, &name), "look at")(error)),
        }
    }
}

/// Writes the file or directory of this path as a tar stream: the file under its name, the directory as `./`. The path
/// itself is followed; a link below it stays a link. Returns what was left out, see [`write`].
///
/// # Errors
/// It is neither file nor directory, or cannot be read.
pub fn pack(base: &Base, path: &str, out: impl Write) -> Result<Skipped, ArchiveError> {
    let found = base.open(path, OFlags::PATH).map_err(at(path, "open"))?;
    let kind = FileType::from_raw_mode(fstat(&found).map_err(at(path, "look at"))?.st_mode);
    if is_of_the_kernel(&found) {
        return Err(refused(path, "is a view of the kernel's, not a file"));
    }
    match kind {
        FileType::Directory => {
            let directory = openat(&found, ".", DIR, Mode::empty()).map_err(at(path, "open"))?;
            write(directory, out)
        }
        FileType::RegularFile => {
            let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
            // The very file that was looked at, whatever has its name by now.
            let again = format!("/proc/self/fd/{}", found.as_raw_fd());
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(CWD, again, flags, Mode::empty()).map_err(at(path, "open"))?;
            write_file(file, Path::new(name), out).map(|()| Skipped::default())
        }
        _ => Err(refused(path, "is neither file nor directory")),
    }
}

/// Takes a stream to this path. With a name it is one of [`pack`]: it gets the name in a directory that is there, and
/// otherwise the path's own. Without, its entries are put into the directory of this path, made where it is missing.
///
/// # Errors
/// It does not fit the place, or as [`crate::read`].
pub fn receive(
    base: &Base,
    path: &str,
    name: Option<&str>,
    source: impl Read,
    keep: Keep,
) -> Result<(), ArchiveError> {
    let mut tarball = Tarball::new(source);
    let first = tarball.next()?.ok_or(TarError::Damaged("it is empty"))?;
    match (name, &first.what) {
        (Some(name), What::File(_)) => {
            let (folder, name) = base.place_for(path, name)?;
            let whole = Unpack { top: &folder, keep, made_top: false };
            let first = Entry { path: below(path, &name).into_bytes(), ..first };
            whole.file((&folder, &name), &first, &mut tarball)?;
            Ok(tarball.drain()?)
        }
        _ => {
            let (top, made_top) = base.directory_for(path, name)?;
            Unpack { top: &top, keep, made_top }.all(Some(first), &mut tarball)
        }
    }
}

fn at(path: &str, doing: &'static str) -> impl FnOnce(Errno) -> ArchiveError {
    move |error| ArchiveError::File { doing, path: shown(path.as_bytes()), source: error.into() }
}

fn refused(path: &str, what: &'static str) -> ArchiveError {
    ArchiveError::Place { path: shown(path.as_bytes()), what }
}

fn c_string(path: &str, name: &str) -> Result<CString, ArchiveError> {
    CString::new(name).map_err(|_| refused(path, "holds a NUL"))
}

/// For messages: the path of a name where the path may be its folder or already end in it.
fn below(path: &str, name: &CString) -> String {
    let (trimmed, name) = (path.trim_end_matches('/'), name.to_string_lossy());
    if trimmed.rsplit('/').next() == Some(&*name) { path.to_owned() } else { format!("{trimmed}/{name}") }
}
