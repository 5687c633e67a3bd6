//! The steps that assemble the root: layers, files, the unit's mounts, what is hidden, pivot_root(2).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dev, FileType, FsWord, Mode, OFlags, PROC_SUPER_MAGIC, chmodat, chownat, fstat, fstatfs,
    major, minor, mkdirat, openat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsOpenFlags, MountAttrFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags, fsconfig_set_flag,
    fsconfig_set_string, fsopen, mount_change, unmount,
};

use super::api::{NOSUID_NODEV, READ_ONLY, attach, attach_over_root, copy_tree, mount_context, new_mount};
use super::clear::remove_all;
use super::{Child, Fault, Outcome, RootRef, about, need};
use crate::plan::{FilePlan, MountPlan, Source, SupplyPlan, Upper};
use crate::resolve::{self, Kind, Target, ensure, ensure_own_file};
use crate::sys::mount::{Reach, set_attributes};

const SYSFS_MAGIC: FsWord = 0x6265_6572;
const DIR: Mode = Mode::from_raw_mode(0o755);

impl<'p> Child<'p> {
    pub(super) fn make_mounts_private(&self) -> Outcome<'p> {
        // Also what pivot_root asks for: neither the old root nor the new one's parent may be shared.
        Ok(mount_change(c"/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?)
    }

    pub(super) fn empty_upper(&self, root: RootRef<'p>) -> Outcome<'p> {
        let Upper::Disk { dir, .. } = &root.upper else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(CWD, dir.as_c_str(), flags, Mode::empty()).map_err(about(0, dir))?;
        for (index, name) in [c"upper", c"work"].into_iter().enumerate() {
            remove_all(opened.as_fd(), name).map_err(about(index, dir))?;
            mkdirat(&opened, name, DIR).map_err(about(index, dir))?;
        }
        Ok(())
    }

    pub(super) fn mount_scratch(&mut self, root: RootRef<'p>) -> Outcome<'p> {
        let scratch = &root.scratch;
        attach_over_root(scratch.as_fd())?;
        for name in [c"upper", c"work", c"empty", c"files", c"supplies"] {
            mkdirat(scratch, name, DIR)?;
        }
        self.scratch = Some(scratch.as_fd());
        Ok(())
    }

    pub(super) fn mount_overlay(&mut self, root: RootRef<'p>) -> Outcome<'p> {
        let overlay = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let context = overlay.as_fd();
        fsconfig_set_string(context, c"source", c"overlay")?;
        for (index, layer) in root.layers.iter().enumerate() {
            fsconfig_set_string(context, c"lowerdir+", layer.as_c_str()).map_err(about(index, layer))?;
        }
        match &root.upper {
            Upper::Scratch => {
                // Relative, because the scratch tmpfs has no path: it lies over the root.
                rustix::process::fchdir(need(self.scratch.as_ref())?)?;
                fsconfig_set_string(context, c"upperdir", c"upper")?;
                fsconfig_set_string(context, c"workdir", c"work")?;
            }
            Upper::Disk { upper, work, .. } => {
                fsconfig_set_string(context, c"upperdir", upper.as_c_str()).map_err(about(0, upper))?;
                fsconfig_set_string(context, c"workdir", work.as_c_str()).map_err(about(0, work))?;
                // What is written is thrown away at the next start, so nobody needs it to survive a power cut.
                fsconfig_set_flag(context, c"volatile")?;
            }
        }
        // Devices that an image brings are not the container's: it has those of /dev.
        let nodev = if root.privileged { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NODEV };
        let mount = mount_context(context, nodev)?;
        attach_over_root(mount.as_fd())?;
        self.root = Some(mount);
        Ok(())
    }

    /// Puts a file into the scratch tmpfs and gives it out as a mount that is nowhere yet.
    fn scratch_file(&self, file: &FilePlan, mode: Mode) -> Result<OwnedFd, Errno> {
        let scratch = need(self.scratch.as_ref())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let opened = openat(scratch, file.name.as_c_str(), flags, mode)?;
        write_all(opened.as_fd(), &file.contents)?;
        let mount = copy_tree(scratch.as_fd(), &file.name, OpenTreeFlags::empty())?;
        set_attributes(mount.as_fd(), NOSUID_NODEV | READ_ONLY, Reach::One)?;
        Ok(mount)
    }

    /// They are root's alone until the process' user is known: see `own_supplies`.
    pub(super) fn lay_supplies(&self, root: RootRef<'p>) -> Outcome<'p> {
        for (index, SupplyPlan { file, .. }) in root.supplies.iter().enumerate() {
            let lay = || {
                let mount = self.scratch_file(file, Mode::RUSR)?;
                let place = self.mount_place(&file.target, Kind::File)?;
                attach(mount.as_fd(), place.as_fd())
            };
            lay().map_err(about(index, file.target.path()))?;
        }
        Ok(())
    }

    /// By way of the scratch tmpfs, where they can be written to.
    pub(super) fn own_supplies(&self) -> Outcome<'p> {
        let Some(root) = &self.plan.root else { return Ok(()) };
        for (index, SupplyPlan { file, mode, uid, gid }) in root.supplies.iter().enumerate() {
            let own = || {
                let scratch = need(self.scratch.as_ref())?;
                let (uid, gid) =
                    (uid.unwrap_or(self.work.identity.uid), gid.unwrap_or(self.work.identity.gid));
                chownat(scratch, &file.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                chmodat(scratch, &file.name, *mode, AtFlags::empty())
            };
            own().map_err(about(index, file.target.path()))?;
        }
        Ok(())
    }

    pub(super) fn lay_files(&self, root: RootRef<'p>) -> Outcome<'p> {
        let top = need(self.root.as_ref())?;
        for (index, file) in root.files.iter().enumerate() {
            let lay = || {
                let mount = self.scratch_file(file, Mode::from_raw_mode(0o644))?;
                let target = ensure_own_file(top.as_fd(), &file.target)?;
                attach(mount.as_fd(), target.as_fd())
            };
            lay().map_err(about(index, file.target.path()))?;
        }
        Ok(())
    }

    pub(super) fn mount_user_mounts(&self, root: RootRef<'p>) -> Outcome<'p> {
        for (index, mount) in root.mounts.iter().enumerate() {
            self.mount_user_mount(mount).map_err(about(index, mount.target.path()))?;
        }
        Ok(())
    }

    /// Where something can be mounted, made when it is not there.
    fn mount_place(&self, target: &Target, kind: Kind) -> Result<OwnedFd, Errno> {
        let top = need(self.root.as_ref())?;
        let place = ensure(top.as_fd(), target, kind)?;
        // A link of the image must not lead a mount over the kernel's own files (CVE-2019-16884).
        if matches!(fstatfs(&place)?.f_type, PROC_SUPER_MAGIC | SYSFS_MAGIC) {
            return Err(Errno::LOOP);
        }
        // The kernel would only say EINVAL.
        match (FileType::from_raw_mode(fstat(&place)?.st_mode) == FileType::Directory, kind) {
            (true, Kind::File) => Err(Errno::ISDIR),
            (false, Kind::Directory) => Err(Errno::NOTDIR),
            _ => Ok(place),
        }
    }

    fn mount_user_mount(&self, plan: &MountPlan) -> Result<(), Errno> {
        let target = self.mount_place(&plan.target, plan.kind)?;
        match &plan.source {
            Source::Tree(tree) => attach(tree.as_fd(), target.as_fd()),
            Source::Tmpfs { size, mode } => {
                let mut attributes = NOSUID_NODEV;
                attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !plan.exec);
                attributes.set(READ_ONLY, plan.read_only);
                let mount = new_mount(
                    c"tmpfs",
                    &[(c"size", size.as_c_str()), (c"mode", mode.as_c_str())],
                    attributes,
                )?;
                attach(mount.as_fd(), target.as_fd())
            }
        }
    }

    pub(super) fn make_workdir(&self, root: RootRef<'p>) -> Outcome<'p> {
        let top = need(self.root.as_ref())?;
        let made = ensure(top.as_fd(), &root.workdir, Kind::Directory);
        made.map(drop).map_err(about(0, root.workdir.path()))
    }

    pub(super) fn make_paths_read_only(&self, root: RootRef<'p>) -> Outcome<'p> {
        let top = need(self.root.as_ref())?;
        for (index, path) in root.readonly_paths.iter().enumerate() {
            let make = || {
                let target = resolve::open(top.as_fd(), path)?;
                let mount = copy_tree(target.as_fd(), c"", OpenTreeFlags::AT_RECURSIVE)?;
                set_attributes(mount.as_fd(), READ_ONLY, Reach::Tree)?;
                attach(mount.as_fd(), target.as_fd())
            };
            unless_absent(make()).map_err(about(index, path))?;
        }
        Ok(())
    }

    pub(super) fn mask_paths(&self, root: RootRef<'p>) -> Outcome<'p> {
        let (top, scratch, dev) =
            (need(self.root.as_ref())?, need(self.scratch.as_ref())?, need(self.dev.as_ref())?);
        for (index, path) in root.masked_paths.iter().enumerate() {
            let mask = || {
                let target = resolve::open(top.as_fd(), path)?;
                let mode = fstat(&target)?.st_mode;
                let mount = if FileType::from_raw_mode(mode) == FileType::Directory {
                    copy_tree(scratch.as_fd(), c"empty", OpenTreeFlags::empty())?
                } else {
                    let null = copy_tree(dev.as_fd(), c"null", OpenTreeFlags::AT_SYMLINK_NOFOLLOW)?;
                    // Anything else in its place would be shown instead of hidden (CVE-2025-31133).
                    if !is_null(&fstat(&null)?) {
                        return Err(Errno::NODEV);
                    }
                    null
                };
                set_attributes(mount.as_fd(), READ_ONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC, Reach::One)?;
                attach(mount.as_fd(), target.as_fd())
            };
            unless_absent(mask()).map_err(about(index, path))?;
        }
        Ok(())
    }

    pub(super) fn make_root_read_only(&self, root: RootRef<'p>) -> Outcome<'p> {
        if !root.read_only {
            return Ok(());
        }
        Ok(set_attributes(need(self.root.as_ref())?.as_fd(), READ_ONLY, Reach::One)?)
    }

    pub(super) fn pivot(&self) -> Outcome<'p> {
        rustix::process::fchdir(need(self.root.as_ref())?)?;
        // With both the same the old root ends up on top of the new one; pivot_root(2), "pivot_root(".", ".")".
        rustix::process::pivot_root(c".", c".")?;
        // An unmount takes what is uppermost: first the scratch tmpfs, which lies over the old root, then that.
        unmount(c".", UnmountFlags::DETACH)?;
        unmount(c".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir(c"/")?)
    }
}

/// Whether it is the null device: character device 1:3.
pub(super) fn is_null(stat: &rustix::fs::Stat) -> bool {
    let device: Dev = stat.st_rdev;
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(device), minor(device)) == (1, 3)
}

/// What is not there needs no hiding.
fn unless_absent(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        result => result,
    }
}

/// Writes everything or says why not.
pub(super) fn write_all(fd: std::os::fd::BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::write(fd, bytes)?;
        bytes = bytes.get(written..).filter(|_| written > 0).ok_or(Errno::IO)?;
    }
    Ok(())
}

impl<'p> Child<'p> {
    pub(super) fn bring_up_loopback(&self, root: RootRef<'p>) -> Outcome<'p> {
        if root.loopback { crate::sys::namespace::loopback_up().map_err(Fault::from) } else { Ok(()) }
    }

    pub(super) fn set_hostname(&self, root: RootRef<'p>) -> Outcome<'p> {
        match &root.hostname {
            Some(name) => rustix::system::sethostname(name.to_bytes()).map_err(about(0, name)),
            None => Ok(()),
        }
    }

    pub(super) fn set_sysctls(&self, root: RootRef<'p>) -> Outcome<'p> {
        let proc = need(self.proc.as_ref())?;
        for (index, sysctl) in root.sysctl.iter().enumerate() {
            let set = || {
                let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(proc, sysctl.path.as_c_str(), flags, Mode::empty())?;
                // One write: the kernel takes what arrives in one as the whole value.
                rustix::io::write(&file, sysctl.value.to_bytes()).map(drop)
            };
            set().map_err(about(index, &sysctl.name))?;
        }
        Ok(())
    }
}
