//! The steps that mount the kernel's own file systems: /proc, /dev and below, /sys, the cgroup tree.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chownat, fstat, makedev, mknodat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::api::{NOTHING, READ_ONLY, attach, new_mount};
use super::root::is_null;
use super::{Child, Outcome, RootRef, about, need};
use crate::resolve::{ensure_parent, ensure_plain_dir, open};
use crate::sys::child::place;

/// Name, major and minor number; Documentation/admin-guide/devices.txt.
const NODES: [(&CStr, u32, u32); 6] = [
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];

/// Name and where it leads.
const LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];

const NOSUID_NOEXEC: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

impl<'p> Child<'p> {
    pub(super) fn mount_proc(&mut self) -> Outcome<'p> {
        let mount = || {
            let mount = new_mount(c"proc", &[], NOTHING)?;
            let target = ensure_plain_dir(need(self.root.as_ref())?.as_fd(), c"proc")?;
            attach(mount.as_fd(), target.as_fd())?;
            Ok(mount)
        };
        self.proc = Some(mount().map_err(about(0, c"/proc"))?);
        Ok(())
    }

    pub(super) fn mount_dev(&mut self, root: RootRef<'p>) -> Outcome<'p> {
        let options = [(c"size", c"64k"), (c"mode", c"0755")];
        let (kind, options) =
            if root.privileged { (c"devtmpfs", &options[..0]) } else { (c"tmpfs", &options[..]) };
        let mount = || {
            let dev = new_mount(kind, options, NOSUID_NOEXEC)?;
            let target = ensure_plain_dir(need(self.root.as_ref())?.as_fd(), c"dev")?;
            attach(dev.as_fd(), target.as_fd())?;
            Ok(dev)
        };
        let dev = mount().map_err(about(0, c"/dev"))?;
        for (index, (name, major, minor)) in NODES.into_iter().enumerate() {
            let mode = Mode::from_raw_mode(0o666);
            let made = mknodat(&dev, name, FileType::CharacterDevice, mode, makedev(major, minor));
            unless_there(made).map_err(about(index, name))?;
        }
        for (index, (name, target)) in LINKS.into_iter().enumerate() {
            unless_there(symlinkat(target, &dev, name)).map_err(about(index, name))?;
        }
        self.dev = Some(dev);
        Ok(self.reopen_null()?)
    }

    /// Standard descriptors that are the node's /dev/null become the container's: no descriptor of the container
    /// lies in a mount of the node.
    fn reopen_null(&self) -> Result<(), Errno> {
        for (fd, number) in self.plan.placed.iter().filter(|(_, number)| *number <= 2) {
            if is_null(&fstat(fd)?) {
                let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let null = openat(need(self.dev.as_ref())?, c"null", flags, Mode::empty())?;
                place(null.as_fd(), *number)?;
            }
        }
        Ok(())
    }

    pub(super) fn mount_devpts(&self) -> Outcome<'p> {
        let options = [(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")];
        self.mount_below_dev(c"devpts", c"pts", &options, NOSUID_NOEXEC).map_err(about(0, c"/dev/pts"))
    }

    pub(super) fn mount_shm(&self, root: RootRef<'p>) -> Outcome<'p> {
        let options = [(c"size", root.shm_size.as_c_str()), (c"mode", c"1777")];
        self.mount_below_dev(c"tmpfs", c"shm", &options, NOTHING).map_err(about(0, c"/dev/shm"))
    }

    pub(super) fn mount_mqueue(&self) -> Outcome<'p> {
        match self.mount_below_dev(c"mqueue", c"mqueue", &[], NOTHING) {
            // A kernel without POSIX message queues has none to offer.
            Err(Errno::NODEV) => Ok(()),
            result => result.map_err(about(0, c"/dev/mqueue")),
        }
    }

    fn mount_below_dev(
        &self,
        kind: &CStr,
        name: &CStr,
        options: &[(&CStr, &CStr)],
        attributes: MountAttrFlags,
    ) -> Result<(), Errno> {
        let mount = new_mount(kind, options, attributes)?;
        let target = ensure_plain_dir(need(self.dev.as_ref())?.as_fd(), name)?;
        attach(mount.as_fd(), target.as_fd())
    }

    /// Below the container's own /dev, where nothing of the image is on the way. That something is there already is a
    /// fault: a device never takes the place of another.
    pub(super) fn make_devices(&self, root: RootRef<'p>) -> Outcome<'p> {
        let dev = need(self.dev.as_ref())?;
        for (index, device) in root.devices.iter().enumerate() {
            let make = || {
                let (parent, name) = ensure_parent(dev.as_fd(), &device.place)?;
                mknodat(&parent, name, device.kind, device.mode, device.number)?;
                chownat(&parent, name, Some(device.uid), Some(device.gid), AtFlags::SYMLINK_NOFOLLOW)
            };
            make().map_err(about(index, &device.target))?;
        }
        Ok(())
    }

    pub(super) fn mount_sys(&self, root: RootRef<'p>) -> Outcome<'p> {
        let mount = || {
            let mount = new_mount(c"sysfs", &[], system_attributes(root))?;
            let target = ensure_plain_dir(need(self.root.as_ref())?.as_fd(), c"sys")?;
            attach(mount.as_fd(), target.as_fd())
        };
        mount().map_err(about(0, c"/sys"))
    }

    pub(super) fn mount_cgroup(&self, root: RootRef<'p>) -> Outcome<'p> {
        let mount = || {
            let attributes = if root.delegate { NOTHING } else { system_attributes(root) };
            let mount = new_mount(c"cgroup2", &[], attributes)?;
            // In the sysfs just mounted on a plain directory: nothing of the image is on the way.
            let target = open(need(self.root.as_ref())?.as_fd(), c"/sys/fs/cgroup")?;
            attach(mount.as_fd(), target.as_fd())
        };
        mount().map_err(about(0, c"/sys/fs/cgroup"))
    }
}

impl<'p> Child<'p> {
    /// What a user has to own who has a cgroup of his own (/sys/kernel/cgroup/delegate, cgroups(7)). Its limits stay
    /// ours: from inside of a cgroup namespace the kernel takes none for its root (nsdelegate).
    pub(super) fn hand_over_cgroup(&self, root: RootRef<'p>) -> Outcome<'p> {
        const OWNED: [&CStr; 4] = [
            c"/sys/fs/cgroup",
            c"/sys/fs/cgroup/cgroup.procs",
            c"/sys/fs/cgroup/cgroup.subtree_control",
            c"/sys/fs/cgroup/cgroup.threads",
        ];
        let (uid, gid) = (self.work.identity.uid, self.work.identity.gid);
        for (index, path) in OWNED.into_iter().enumerate().filter(|_| root.delegate) {
            chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(about(index, path))?;
        }
        Ok(())
    }
}

fn system_attributes(root: RootRef<'_>) -> MountAttrFlags {
    if root.privileged { NOTHING } else { NOTHING | READ_ONLY }
}

/// The node's own devtmpfs has most of them.
fn unless_there(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}
