//! The steps that assemble the root: layers, files, the unit's mounts, what is hidden, pivot_root(2).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dev, FileType, FsWord, Mode, OFlags, PROC_SUPER_MAGIC, XattrFlags, chmodat, chownat,
    fgetxattr, fremovexattr, fsetxattr, fstat, fstatfs, major, minor, mkdirat, openat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsOpenFlags, MountAttrFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags, fsconfig_set_flag,
    fsconfig_set_string, fsopen, mount_change, unmount,
};

use super::api::{NOSUID_NODEV, READ_ONLY, attach, attach_over_root, copy_tree, mount_context, new_mount};
use super::clear::remove_all;
use super::seed::fill_from;
use super::{Child, Fault, Outcome, RootRef, about, need};
use crate::plan::{FilePlan, ImagePlan, MountPlan, Source, SupplyPlan, Upper};
use crate::resolve::{self, Kind, Target, ensure, ensure_own_file};
use crate::spec::LAYER_OF;
use crate::sys::mount::{Reach, set_attributes};

const SYSFS_MAGIC: FsWord = 0x6265_6572;
const DIR: Mode = Mode::from_raw_mode(0o755);
/// Of what stands in [`LAYER_OF`], bytes.
const IMAGE_NAME_MAX: usize = 256;

impl<'p> Child<'p> {
    pub(super) fn make_mounts_private(&self) -> Outcome<'p> {
        // Also what pivot_root asks for: neither the old root nor the new one's parent may be shared.
        Ok(mount_change(c"/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?)
    }

    pub(super) fn empty_upper(&self, root: RootRef<'p>) -> Outcome<'p> {
        let Upper::Disk { dir, keep, .. } = &root.upper else { return Ok(()) };
        let empty = || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = openat(CWD, dir.as_c_str(), flags, Mode::empty())?;
            let is_kept = match keep {
                Some(image) => is_layer_of(opened.as_fd(), image)?,
                None => false,
            };
            remove_all(opened.as_fd(), c"work")?;
            mkdirat(&opened, c"work", DIR)?;
            if is_kept {
                return Ok(());
            }
            // In this order: what is half removed is never taken for a layer of that image.
            match fremovexattr(&opened, LAYER_OF) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(errno) => return Err(errno),
            }
            remove_all(opened.as_fd(), c"upper")?;
            mkdirat(&opened, c"upper", DIR)?;
            match keep {
                Some(image) => fsetxattr(&opened, LAYER_OF, image.to_bytes(), XattrFlags::CREATE),
                None => Ok(()),
            }
        };
        empty().map_err(about(0, dir))
    }

    pub(super) fn mount_scratch(&mut self, root: RootRef<'p>) -> Outcome<'p> {
        let scratch = &root.scratch;
        attach_over_root(scratch.as_fd())?;
        for name in [c"upper", c"work", c"empty", c"files", c"supplies", c"images"] {
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
            Upper::Disk { upper, work, keep, .. } => {
                fsconfig_set_string(context, c"upperdir", upper.as_c_str()).map_err(about(0, upper))?;
                fsconfig_set_string(context, c"workdir", work.as_c_str()).map_err(about(0, work))?;
                // What is thrown away at the next start does not have to survive a power cut.
                if keep.is_none() {
                    fsconfig_set_flag(context, c"volatile")?;
                }
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
        match &plan.source {
            Source::Tree(tree, kind) => attach(tree.as_fd(), self.mount_place(&plan.target, *kind)?.as_fd()),
            Source::Tmpfs { size, mode, filled } => {
                let target = self.mount_place(&plan.target, Kind::Directory)?;
                let options = [(c"size", size.as_c_str()), (c"mode", mode.as_c_str())];
                let mount = new_mount(c"tmpfs", &options, plan.attributes)?;
                if *filled {
                    fill_from(mount.as_fd(), target.as_fd())?;
                }
                attach(mount.as_fd(), target.as_fd())
            }
            Source::Image(image, subpath) => {
                let top = self.put_together(image)?;
                let found = match subpath {
                    Some(subpath) => resolve::open(top.as_fd(), subpath.path())?,
                    None => top,
                };
                let mode = FileType::from_raw_mode(fstat(&found)?.st_mode);
                let kind = if mode == FileType::Directory { Kind::Directory } else { Kind::File };
                let mount = copy_tree(found.as_fd(), c"", OpenTreeFlags::empty())?;
                set_attributes(mount.as_fd(), plan.attributes | READ_ONLY, Reach::One)?;
                attach(mount.as_fd(), self.mount_place(&plan.target, kind)?.as_fd())
            }
        }
    }

    /// Mounts another image on its place in the scratch tmpfs, which goes away with all that is below it.
    pub(super) fn put_together(&self, image: &ImagePlan) -> Result<OwnedFd, Errno> {
        let scratch = need(self.scratch.as_ref())?;
        let mount = match image.layers.as_slice() {
            // Overlay takes two layers or more.
            [one] => copy_tree(CWD, one, OpenTreeFlags::empty())?,
            layers => {
                let overlay = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
                for layer in layers {
                    fsconfig_set_string(overlay.as_fd(), c"lowerdir+", layer.as_c_str())?;
                }
                mount_context(overlay.as_fd(), NOSUID_NODEV | READ_ONLY)?
            }
        };
        mkdirat(scratch, image.place.as_c_str(), DIR)?;
        let place = openat(scratch, image.place.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        attach(mount.as_fd(), place.as_fd())?;
        Ok(mount)
    }

    /// Directories that are the unit's own, once its user is known.
    pub(super) fn own_mounts(&self) -> Outcome<'p> {
        let Some(root) = &self.plan.root else { return Ok(()) };
        for (index, mount) in root.mounts.iter().enumerate() {
            if let (Source::Tree(tree, Kind::Directory), true) = (&mount.source, mount.own) {
                self.own(tree).map_err(about(index, mount.target.path()))?;
            }
        }
        Ok(())
    }

    fn own(&self, tree: &OwnedFd) -> Result<(), Errno> {
        let (uid, gid) = (self.work.identity.uid, self.work.identity.gid);
        let stat = fstat(tree)?;
        if (stat.st_uid, stat.st_gid) == (uid.as_raw(), gid.as_raw()) {
            return Ok(());
        }
        chownat(tree, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
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
        rustix::process::chdir(c"/")?;
        if self.plan.root.as_ref().is_some_and(|root| root.shared) {
            mount_change(c"/", MountPropagationFlags::REC | MountPropagationFlags::SHARED)?;
        }
        Ok(())
    }
}

/// Whether a layer was written over that image.
fn is_layer_of(dir: BorrowedFd<'_>, image: &CStr) -> Result<bool, Errno> {
    let mut found = [0; IMAGE_NAME_MAX];
    match fgetxattr(dir, LAYER_OF, &mut found) {
        Ok(len) => Ok(found.get(..len) == Some(image.to_bytes())),
        Err(Errno::NODATA | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
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
pub(super) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
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
