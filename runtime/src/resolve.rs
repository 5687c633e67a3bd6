//! Paths inside a root that somebody else filled.
//!
//! Everything goes through openat2(2) with RESOLVE_IN_ROOT: a symbolic link of the image, absolute or not, ends up
//! inside the root. Results are O_PATH descriptors, and what is mounted is mounted on the descriptor, so that nothing
//! can be swapped between the look and the mount. Nothing here allocates: the child calls it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat, unlinkat};
use rustix::io::Errno;

const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// How often a look-up is tried that a rename or a mount elsewhere on the node has disturbed.
const TRIES: u32 = 128;

/// An absolute path without `.`, `..` and empty components, cut up in advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    path: CString,
    links: Vec<Link>,
}

/// One component.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    /// The path up to and with it.
    path: CString,
    /// It alone.
    name: CString,
}

/// What a target has to be when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0644.
    File,
}

impl Target {
    /// Cuts up `path`; `None` where it is not such a path. `/` is one, without components.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut so_far = String::new();
        let mut links = Vec::new();
        for name in path.strip_prefix('/')?.split('/').filter(|name| !name.is_empty()) {
            if matches!(name, "." | "..") {
                return None;
            }
            so_far.push('/');
            so_far.push_str(name);
            links.push(Link { path: CString::new(so_far.as_str()).ok()?, name: CString::new(name).ok()? });
        }
        Some(Self { path: CString::new(path).ok()?, links })
    }

    /// As it was written.
    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }

    /// How many components.
    pub(crate) fn depth(&self) -> usize {
        self.links.len()
    }

    /// Whether it is `dir` or below.
    pub(crate) fn is_below(&self, dir: &str) -> bool {
        self.links.first().is_some_and(|link| link.path.to_bytes() == dir.as_bytes())
    }
}

/// Opens a path that cannot leave `root`. The kernel cannot be sure where `..`, also that of a link, has led when
/// anything at all was renamed or mounted meanwhile, and says EAGAIN (openat2(2)): that is tried again.
pub(crate) fn open_below(
    root: impl AsFd,
    path: &CStr,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let open = || openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
    settled(TRIES, open)
}

/// The first answer that is not EAGAIN, or the last one.
fn settled<T>(tries: u32, mut ask: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..tries {
        match ask() {
            Err(Errno::AGAIN) => {}
            answer => return answer,
        }
    }
    ask()
}

/// Opens an existing path of a root, O_PATH.
pub(crate) fn open(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    open_below(root, path, OFlags::PATH, IN_ROOT)
}

/// Opens a regular file of a root for reading. Nothing blocks, whatever is there instead.
pub(crate) fn open_file(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let file = open_below(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, IN_ROOT)?;
    let mode = rustix::fs::fstat(&file)?.st_mode;
    if FileType::from_raw_mode(mode) == FileType::RegularFile { Ok(file) } else { Err(Errno::INVAL) }
}

/// Opens a directory that is exactly there, not behind a link, and makes it when absent: /proc, /dev and /sys are
/// never followed to where an image points them (CVE-2019-19921, CVE-2026-41579).
pub(crate) fn ensure_plain_dir(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    open_below(parent, name, OFlags::PATH | OFlags::DIRECTORY, IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

/// Opens a target of a root, O_PATH, and makes what is missing of it.
pub(crate) fn ensure(root: BorrowedFd<'_>, target: &Target, kind: Kind) -> Result<OwnedFd, Errno> {
    let existing = if target.depth() == 0 { c"." } else { target.path() };
    match open(root, existing) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let mut parent = open(root, c".")?;
    for (n, link) in target.links.iter().enumerate() {
        let kind = if n + 1 == target.depth() { kind } else { Kind::Directory };
        parent = match open(root, &link.path) {
            Err(Errno::NOENT) => {
                make(parent.as_fd(), &link.name, kind)?;
                open(root, &link.path)?
            }
            result => result?,
        };
    }
    Ok(parent)
}

/// As [`ensure`] for a file, but a link in its place is replaced instead of followed. Only for a root that is all
/// ours: images ship /etc/resolv.conf as a link into a /run that is not there.
pub(crate) fn ensure_own_file(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    let (parent, name) = ensure_parent(root, target)?;
    match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            unlinkat(&parent, name, AtFlags::empty())?;
            make(parent.as_fd(), name, Kind::File)?;
        }
        Ok(_) => {}
        Err(Errno::NOENT) => make(parent.as_fd(), name, Kind::File)?,
        Err(errno) => return Err(errno),
    }
    open(root, target.path())
}

/// Opens the directory that a target lies in, O_PATH, making what is missing of it; and the target's name there.
pub(crate) fn ensure_parent<'t>(
    root: BorrowedFd<'_>,
    target: &'t Target,
) -> Result<(OwnedFd, &'t CStr), Errno> {
    let Some((last, parents)) = target.links.split_last() else { return Err(Errno::ISDIR) };
    let mut parent = open(root, c".")?;
    for link in parents {
        parent = match open(root, &link.path) {
            Err(Errno::NOENT) => {
                make(parent.as_fd(), &link.name, Kind::Directory)?;
                open(root, &link.path)?
            }
            result => result?,
        };
    }
    Ok((parent, &last.name))
}

fn make(parent: BorrowedFd<'_>, name: &CStr, kind: Kind) -> Result<(), Errno> {
    match kind {
        Kind::Directory => mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_cut_up_or_refused() {
        let target = Target::parse("/var//lib/x/").unwrap();
        assert_eq!(target.depth(), 3);
        assert_eq!(target.links[2].path.as_c_str(), c"/var/lib/x");
        assert_eq!(target.links[1].name.as_c_str(), c"lib");
        assert_eq!(Target::parse("/").unwrap().depth(), 0);
        for bad in ["", "x", "../x", "/a/../b", "/./a", "/a\0b"] {
            assert_eq!(Target::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_look_up_that_was_disturbed_is_tried_again_and_not_for_ever() {
        let asked = |answers: &[Result<u8, Errno>]| {
            let mut answers = answers.iter();
            (settled(3, || *answers.next().unwrap()), answers.len())
        };
        let (again, gone) = (Err(Errno::AGAIN), Err(Errno::NOENT));
        assert_eq!(asked(&[again, Ok(7), Ok(8)]), (Ok(7), 1));
        assert_eq!(asked(&[again, gone, Ok(8)]), (gone, 1));
        assert_eq!(asked(&[again, again, again, Ok(8)]), (again, 1));
    }

    #[test]
    fn below_means_below() {
        assert!(Target::parse("/proc/x").unwrap().is_below("/proc"));
        assert!(Target::parse("//proc").unwrap().is_below("/proc"));
        assert!(!Target::parse("/process").unwrap().is_below("/proc"));
        assert!(!Target::parse("/").unwrap().is_below("/proc"));
    }
}
