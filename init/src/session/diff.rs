//! `berth diff-fs`: what a container has changed against its image.
//!
//! Two trees are walked side by side: the root that the container sees, through `/proc/PID/root`, and its image's
//! layers, mounted for this process alone and nowhere attached. The kernel puts both together the same way, so that
//! whiteouts and opaque directories need no knowledge of ours. A name is opened as what it is, never followed, and
//! never over a mount: volumes, /proc and the like are not the image's. What the container changes meanwhile is seen
//! or not.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use berth_units::wire::session::Kind;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};
use serde::{Deserialize, Serialize};

use super::SessionError;
use super::client::Client;
use super::root::RootSpec;

/// Directories in each other, at most.
const DEPTH_MAX: usize = 256;
/// Names in one directory, at most.
const NAMES_MAX: usize = 200_000;
/// Changes that are told, at most: whoever made more has changed everything.
const CHANGES_MAX: usize = 1_000_000;

/// Which container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffSpec {
    /// Its root.
    pub root: RootSpec,
    /// The layers of its image, the uppermost first.
    pub layers: Vec<PathBuf>,
}

/// Sends a line of JSON for each change.
pub fn run(client: &mut Client, spec: &DiffSpec) -> Result<(), SessionError> {
    let system = SessionError::system::<io::Error>;
    let new = spec.root.open().map_err(system("open the container's root"))?;
    let old = image_root(&spec.layers).map_err(|error| system("mount its image")(error.into()))?;
    let mut told = 0;
    compare(new.as_fd(), old.as_fd(), &mut |change| {
        told += 1;
        if told > CHANGES_MAX {
            return Err(SessionError::System(
                "tell more than a million changes",
                io::ErrorKind::FileTooLarge.into(),
            ));
        }
        let mut line = serde_json::to_vec(&change).unwrap_or_default();
        line.push(b'\n');
        client.push(Kind::Stdout, &line);
        if client.has_room() { Ok(()) } else { client.flush_all().map_err(SessionError::ClientGone) }
    })
}

/// One layer is its own directory; the kernel makes no overlay of one.
fn image_root(layers: &[PathBuf]) -> Result<OwnedFd, Errno> {
    if let [layer] = layers {
        return openat(CWD, layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    }
    let overlay = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers {
        fsconfig_set_string(overlay.as_fd(), c"lowerdir+", layer.as_path())?;
    }
    fsconfig_create(overlay.as_fd())?;
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(overlay.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, read_only)
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    change: What,
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Added,
    Changed,
    Deleted,
}

/// Tells every difference of two directories, in the order of their names.
fn compare(
    new: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
    tell: &mut dyn FnMut(Change) -> Result<(), SessionError>,
) -> Result<(), SessionError> {
    let path = Path::new("/");
    Walk { tell }.directory(new, Some(old), path, 0).map_err(|error| match error {
        Fault::Session(error) => error,
        Fault::Look(error) => SessionError::System("look at its files", error),
    })
}

enum Fault {
    Look(io::Error),
    Session(SessionError),
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        Self::Look(error.into())
    }
}

struct Walk<'t> {
    tell: &'t mut dyn FnMut(Change) -> Result<(), SessionError>,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        new: BorrowedFd<'_>,
        old: Option<BorrowedFd<'_>>,
        path: &Path,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        let before = old.map(names).transpose()?.unwrap_or_default();
        let all: BTreeSet<CString> = names(new)?.into_iter().chain(before.iter().cloned()).collect();
        for name in all {
            let below = path.join(name.to_string_lossy().as_ref());
            let was =
                old.filter(|_| before.contains(&name)).map(|old| look(old, &name)).transpose()?.flatten();
            let is = match look(new, &name) {
                // Another file system is mounted there.
                Err(Errno::XDEV) => continue,
                result => result?,
            };
            self.entry(is, was, &below, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, is: Option<Seen>, was: Option<Seen>, path: &Path, depth: usize) -> Result<(), Fault> {
        match (is, was) {
            (None, None) => Ok(()),
            (None, Some(_)) => self.say(What::Deleted, path),
            (Some(is), None) => {
                self.say(What::Added, path)?;
                self.below(&is, None, path, depth)
            }
            (Some(is), Some(was)) => {
                if differs(&is, &was)? {
                    self.say(What::Changed, path)?;
                }
                self.below(&is, Some(&was), path, depth)
            }
        }
    }

    /// Goes into a directory; what was none before has nothing to compare with.
    fn below(&mut self, is: &Seen, was: Option<&Seen>, path: &Path, depth: usize) -> Result<(), Fault> {
        if is.kind() != FileType::Directory {
            return Ok(());
        }
        let was = was.filter(|was| was.kind() == FileType::Directory);
        self.directory(is.fd.as_fd(), was.map(|was| was.fd.as_fd()), path, depth + 1)
    }

    fn say(&mut self, change: What, path: &Path) -> Result<(), Fault> {
        let path = path.to_string_lossy().into_owned();
        (self.tell)(Change { change, path }).map_err(Fault::Session)
    }
}

/// A name, opened as what it is.
struct Seen {
    fd: OwnedFd,
    stat: Stat,
}

impl Seen {
    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// None where it is gone by now.
fn look(parent: BorrowedFd<'_>, name: &CString) -> Result<Option<Seen>, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(parent, name, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(Seen { stat: fstat(&fd)?, fd })),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn names(directory: BorrowedFd<'_>) -> Result<BTreeSet<CString>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut found = BTreeSet::new();
    let mut dir = match openat(directory, c".", flags, Mode::empty()) {
        // Removed meanwhile.
        Err(Errno::NOENT) => return Ok(found),
        opened => Dir::new(opened?)?,
    };
    while let Some(entry) = dir.read() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.insert(entry.file_name().to_owned());
        }
        if found.len() > NAMES_MAX {
            return Err(Errno::TOOBIG);
        }
    }
    Ok(found)
}

/// A directory is what it is called and who may do what in it; what is in it is told by itself.
fn differs(is: &Seen, was: &Seen) -> Result<bool, Errno> {
    let of = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
    if of(&is.stat) != of(&was.stat) {
        return Ok(true);
    }
    let contents = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_rdev);
    match is.kind() {
        FileType::Directory => Ok(false),
        FileType::Symlink => {
            Ok(readlinkat(&is.fd, c"", Vec::new())? != readlinkat(&was.fd, c"", Vec::new())?)
        }
        _ => Ok(contents(&is.stat) != contents(&was.stat)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tree(dir: &Path) {
        for folder in ["etc/app", "var"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        for file in ["etc/app/conf", "etc/passwd", "var/old", "same"] {
            fs::write(dir.join(file), file).unwrap();
            let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
            fs::File::options().write(true).open(dir.join(file)).unwrap().set_modified(long_ago).unwrap();
        }
        symlink("conf", dir.join("etc/link")).unwrap();
        symlink("same", dir.join("other")).unwrap();
    }

    fn changes(new: &Path, old: &Path) -> Vec<String> {
        let (new, old) = (fs::File::open(new).unwrap(), fs::File::open(old).unwrap());
        let mut found = Vec::new();
        let told = compare(new.as_fd(), old.as_fd(), &mut |change| {
            found.push(format!("{:?} {}", change.change, change.path));
            Ok(())
        });
        told.unwrap();
        found
    }

    #[test]
    fn every_kind_of_change_is_told_and_no_link_is_followed() {
        let top = std::env::temp_dir().join(format!("berth-diff-{}", std::process::id()));
        let (new, old) = (top.join("new"), top.join("old"));
        tree(&new);
        tree(&old);
        assert_eq!(changes(&new, &old), [] as [&str; 0]);
        fs::write(new.join("etc/app/conf"), "longer than before").unwrap();
        fs::remove_dir_all(new.join("var")).unwrap();
        fs::set_permissions(new.join("same"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(new.join("etc/link")).unwrap();
        symlink("/", new.join("etc/link")).unwrap();
        // A directory in place of a file, and a link that leads out in place of a directory.
        fs::remove_file(new.join("etc/passwd")).unwrap();
        fs::create_dir(new.join("etc/passwd")).unwrap();
        fs::write(new.join("etc/passwd/inside"), "").unwrap();
        symlink("/proc", new.join("var")).unwrap();
        fs::create_dir(new.join("new")).unwrap();
        fs::write(new.join("new/file"), "").unwrap();
        assert_eq!(
            changes(&new, &old),
            [
                "Changed /etc/app/conf",
                "Changed /etc/link",
                "Changed /etc/passwd",
                "Added /etc/passwd/inside",
                "Added /new",
                "Added /new/file",
                "Changed /same",
                "Changed /var",
            ]
        );
        fs::remove_file(new.join("var")).unwrap();
        assert!(changes(&new, &old).contains(&"Deleted /var".to_owned()));
        fs::remove_dir_all(&top).unwrap();
    }
}
