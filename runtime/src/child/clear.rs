//! Removes what an earlier container wrote: a tree of any depth and width, made by somebody hostile.

use std::ffi::CStr;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;

use crate::sys::quota::{self, PROJECT_INHERIT};

/// Directories deeper than this are moved up to the top instead of being walked down into, so that neither the stack
/// nor the number of open files depends on the tree.
const DEPTH_MAX: u32 = 16;

/// Room for directory entries, bytes; one of the longest name takes 280.
const ENTRIES: usize = 2048;

/// Removes `name` below `dir` with everything in it; absent is done.
pub(super) fn remove_all(dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let mut moved = 0;
    loop {
        // Opened anew, because an open directory is read on from where it was.
        let top = open_dir(dir, name)?;
        set_inheritance(top.as_fd(), false)?;
        empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            // Something deep was moved up while the top was being read.
            Err(Errno::NOTEMPTY) => {}
            result => return result,
        }
    }
}

/// Removes everything in a directory.
pub(super) fn remove_contents(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    let inherited = set_inheritance(dir, false)?;
    let mut moved = 0;
    let emptied = loop {
        let (top, before) = (open_dir(dir, c".")?, moved);
        let emptied = empty(top.as_fd(), top.as_fd(), 0, &mut moved);
        if emptied.is_err() || moved == before {
            break emptied;
        }
    };
    if inherited {
        set_inheritance(dir, true)?;
    }
    emptied
}

/// Whether a directory hands its project on to what is made in it. As long as it does, nothing of another project can be
/// moved there (ext4_rename()), and whoever filled the tree may have given any project to a part of it.
fn set_inheritance(top: BorrowedFd<'_>, on: bool) -> Result<bool, Errno> {
    let mut attributes = match quota::attributes(top) {
        // No projects on this file system.
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => return Ok(false),
        result => result?,
    };
    let before = attributes.flags & PROJECT_INHERIT != 0;
    if before != on {
        attributes.flags ^= PROJECT_INHERIT;
        quota::set_attributes(top, &attributes)?;
    }
    Ok(before)
}

fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

fn empty(dir: BorrowedFd<'_>, top: BorrowedFd<'_>, depth: u32, moved: &mut u32) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) if depth < DEPTH_MAX => {
                let below = open_dir(dir, name)?;
                empty(below.as_fd(), top, depth + 1, moved)?;
                unlinkat(dir, name, AtFlags::REMOVEDIR)?;
            }
            Err(Errno::ISDIR | Errno::PERM) => move_up(dir, name, top, moved)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Renames `name` to some number that is free at the top.
fn move_up(dir: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>, moved: &mut u32) -> Result<(), Errno> {
    loop {
        *moved = moved.checked_add(1).ok_or(Errno::OVERFLOW)?;
        let mut text = [0_u8; 16];
        // Ten digits fit.
        let _fits = write!(text.as_mut_slice(), "{moved}");
        let to = CStr::from_bytes_until_nul(&text).map_err(|_| Errno::OVERFLOW)?;
        match renameat_with(dir, name, top, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mkdirat};
    use std::ffi::CString;

    #[test]
    fn deep_and_wide_trees_go_and_links_are_not_followed() {
        let base = std::env::temp_dir().join(format!("berth-clear-{}", std::process::id()));
        std::fs::create_dir_all(base.join("outside")).unwrap();
        std::fs::write(base.join("outside/kept"), "x").unwrap();
        let path = |name: &str| CString::new(base.join(name).to_str().unwrap()).unwrap();
        std::fs::create_dir(base.join("tree")).unwrap();
        std::os::unix::fs::symlink(base.join("outside"), base.join("tree/link")).unwrap();
        for n in 0..300 {
            std::fs::write(base.join(format!("tree/file-{n:0200}")), "").unwrap();
        }
        let mut at = open_dir(CWD, &path("tree")).unwrap();
        for _ in 0..2000 {
            mkdirat(&at, c"1", Mode::RWXU).unwrap();
            at = open_dir(at.as_fd(), c"1").unwrap();
        }
        drop(at);
        let dir = open_dir(CWD, &path("")).unwrap();
        remove_all(dir.as_fd(), c"tree").unwrap();
        remove_all(dir.as_fd(), c"tree").unwrap();
        assert!(!base.join("tree").exists());
        assert!(base.join("outside/kept").exists());
        std::fs::remove_dir_all(base).unwrap();
    }
}
