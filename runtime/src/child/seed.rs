//! The first use of a volume: what the image has at the place where it will be mounted is copied into it.
//!
//! It is done here, by the container's own process and within its limits, because it may take long and only here is
//! the image's root put together. A mark on the volume says that it is not whole yet; it goes when all is on the disk,
//! so that a start that is cut off is begun anew. Units that share a volume wait for each other.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, UTIME_OMIT, chownat,
    fchmod, fchown, fgetxattr, flock, fremovexattr, fstat, futimens, mkdirat, mknodat, openat,
    readlinkat_raw, statat, symlinkat, syncfs,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::clear::remove_contents;
use super::root::write_all;
use super::{Child, Outcome, RootRef, about, need};
use crate::plan::{SeedPlan, SeedPlanFrom};
use crate::resolve;
use crate::spec::UNSEEDED;

/// Directories in each other, at most: each takes two descriptors and some stack.
const DEPTH_MAX: u32 = 64;
/// Room for directory entries, bytes; one of the longest name takes 280.
const ENTRIES: usize = 2048;
/// Bytes copied at once.
const PIECE: usize = 16 << 10;
/// PATH_MAX.
const LINK_MAX: usize = 4096;

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl<'p> Child<'p> {
    pub(super) fn seed_volumes(&self, root: RootRef<'p>) -> Outcome<'p> {
        if root.seeds.is_empty() {
            return Ok(());
        }
        // Whoever has this capability is not held to the size of a volume.
        let ours = capabilities(None)?;
        let mut held = ours;
        held.effective.remove(CapabilitySet::SYS_RESOURCE);
        set_capabilities(None, held)?;
        for (index, seed) in root.seeds.iter().enumerate() {
            self.seed(seed).map_err(about(index, &seed.name))?;
        }
        Ok(set_capabilities(None, ours)?)
    }

    fn seed(&self, plan: &SeedPlan) -> Result<(), Errno> {
        let volume = plan.volume.as_fd();
        rustix::io::retry_on_intr(|| flock(volume, FlockOperation::LockExclusive))?;
        let filled = self.fill(plan);
        // A second mount of the same volume has its turn.
        flock(volume, FlockOperation::Unlock)?;
        filled
    }

    fn fill(&self, plan: &SeedPlan) -> Result<(), Errno> {
        let volume = plan.volume.as_fd();
        let mut value = [0; 1];
        match fgetxattr(volume, UNSEEDED, &mut value) {
            // Another unit has done it meanwhile.
            Err(Errno::NODATA) => return Ok(()),
            Ok(_) | Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno),
        }
        // What a start that was cut off has left.
        remove_contents(volume)?;
        match self.source(plan) {
            Ok(Some(from)) => {
                copy_all(from.as_fd(), volume, 0)?;
                if plan.own {
                    settle(volume, &fstat(&from)?)?;
                }
            }
            // The image has no such directory.
            Ok(None) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno),
        }
        syncfs(volume)?;
        fremovexattr(volume, UNSEEDED)
    }

    fn source(&self, plan: &SeedPlan) -> Result<Option<OwnedFd>, Errno> {
        let found = match &plan.from {
            SeedPlanFrom::Nothing => return Ok(None),
            SeedPlanFrom::Root(target) => resolve::open(need(self.root.as_ref())?.as_fd(), target.path())?,
            SeedPlanFrom::Image(image) => self.put_together(image)?,
        };
        openat(&found, c".", DIR, Mode::empty()).map(Some)
    }
}

/// Copies what is in `place`, its owner and its mode into a file system that is mounted nowhere yet.
pub(super) fn fill_from(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let (from, to) = (openat(place, c".", DIR, Mode::empty())?, openat(mount, c".", DIR, Mode::empty())?);
    copy_all(from.as_fd(), to.as_fd(), 0)?;
    settle(to.as_fd(), &fstat(&from)?)
}

/// Copies what is in a directory of the image; sockets and devices are left out.
fn copy_all(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let mut buffer = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let below = openat(from, name, DIR, Mode::empty())?;
                mkdirat(to, name, Mode::RWXU)?;
                let made = openat(to, name, DIR, Mode::empty())?;
                copy_all(below.as_fd(), made.as_fd(), depth + 1)?;
                settle(made.as_fd(), &stat)?;
            }
            FileType::RegularFile => copy_file(from, to, name)?,
            FileType::Symlink => copy_link(from, to, name, &stat)?,
            FileType::Fifo => {
                mknodat(to, name, FileType::Fifo, Mode::from_raw_mode(stat.st_mode), 0)?;
                chown_link(to, name, &stat)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = openat(from, name, flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made: OwnedFd = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut piece = [0; PIECE];
    loop {
        let len = rustix::io::retry_on_intr(|| rustix::io::read(&source, &mut piece))?;
        if len == 0 {
            return settle(made.as_fd(), &fstat(&source)?);
        }
        write_all(made.as_fd(), piece.get(..len).unwrap_or_default())?;
    }
}

fn copy_link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let mut room = [0_u8; LINK_MAX];
    // A byte is left for the NUL.
    let len = readlinkat_raw_len(from, name, &mut room)?;
    let target =
        room.get(..=len).and_then(|text| CStr::from_bytes_with_nul(text).ok()).ok_or(Errno::NAMETOOLONG)?;
    symlinkat(target, to, name)?;
    chown_link(to, name, stat)
}

fn readlinkat_raw_len(dir: BorrowedFd<'_>, name: &CStr, room: &mut [u8; LINK_MAX]) -> Result<usize, Errno> {
    readlinkat_raw(dir, name, &mut room[..])
}

fn chown_link(dir: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

/// Owner, mode and time as in the image; the owner first, because a change of it takes away set-id bits.
fn settle(made: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    fchown(made, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(made, Mode::from_raw_mode(stat.st_mode))?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0),
        },
    };
    futimens(made, &times)
}
