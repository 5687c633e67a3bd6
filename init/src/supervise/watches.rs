//! What inotify(7) tells us: changes of cgroups and of the unit set.
//!
//! The kernel counts instances and watches by user, and every container whose user is root counts as ours: there may
//! be none left. A supervisor without them is slower to notice; it does not fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use berth_runtime::cgroup::Limits;
use berth_units::Name;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::error;

/// Changes of cgroups, one descriptor for all units: of cgroup.events (cgroup-v2.rst, "cgroup.events"), and of the
/// limits. A write of somebody is seen when the file is closed: the kernel's own notices, which a unit at its limits
/// causes in great number, only modify files.
#[derive(Debug)]
pub struct CgroupEvents {
    inotify: Option<OwnedFd>,
    watched: BTreeMap<Name, [i32; 2]>,
    units: BTreeMap<i32, Name>,
}

/// Which cgroups have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Something of the unit ended, began, or was moved.
    pub members: BTreeSet<Name>,
    /// Somebody has written a limit.
    pub limits: BTreeSet<Name>,
    /// So much has happened that the kernel has lost count.
    pub anything: bool,
}

/// Changes of the unit set on the data partition.
#[derive(Debug, Default)]
pub struct UnitFiles(Option<OwnedFd>);

impl CgroupEvents {
    /// Watches nothing yet.
    pub fn new() -> Self {
        Self { inotify: open("cgroups"), watched: BTreeMap::new(), units: BTreeMap::new() }
    }

    /// Watches a unit's cgroup instead of the one that was watched for it before: removing a cgroup does not remove
    /// the watches, which would be left over from every run.
    pub fn watch(&mut self, unit: &Name, cgroup: &Path) -> io::Result<()> {
        self.forget(unit);
        let Some(inotify) = &self.inotify else {
            return Ok(());
        };
        let events = inotify::add_watch(inotify, cgroup.join("cgroup.events"), WatchFlags::MODIFY)?;
        let flags = WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR | WatchFlags::DELETE_SELF;
        let limits = inotify::add_watch(inotify, cgroup, flags).inspect_err(|_| {
            let _gone = inotify::remove_watch(inotify, events);
        })?;
        self.watched.insert(unit.clone(), [events, limits]);
        self.units.extend([(events, unit.clone()), (limits, unit.clone())]);
        Ok(())
    }

    /// Watches nothing of a unit.
    pub fn forget(&mut self, unit: &Name) {
        if let (Some(watches), Some(inotify)) = (self.watched.remove(unit), &self.inotify) {
            for watch in watches {
                self.units.remove(&watch);
                // A kernel that removes it by itself has done so.
                let _gone = inotify::remove_watch(inotify, watch);
            }
        }
    }

    /// To wait for; none where the kernel has none left.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Reads everything that waits. What has become of it is read from its source.
    pub fn changed(&self) -> Changed {
        let mut changed = Changed::default();
        let Some(inotify) = &self.inotify else {
            return changed;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let unit = self.units.get(&event.wd()).cloned();
            changed.anything |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            match event.file_name().map(std::ffi::CStr::to_str) {
                None => changed.members.extend(unit),
                Some(Ok(file)) if Limits::is_knob(file) => changed.limits.extend(unit),
                Some(_) => {}
            }
        }
        changed
    }
}

impl UnitFiles {
    /// Watches a directory for a `units` folder that is moved in: a set changes by rename, whole, never file by file.
    pub fn watch(directory: &str) -> Self {
        let inotify = open("unit files").filter(|inotify| {
            let added = inotify::add_watch(inotify, directory, WatchFlags::MOVED_TO);
            added.inspect_err(|errno| error!("cannot watch '{directory}': {errno}; ignoring")).is_ok()
        });
        Self(inotify)
    }

    /// As [`CgroupEvents::fd`].
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Whether a folder of that name was moved in since the last look.
    pub fn has_new(&self, name: &str) -> bool {
        let Some(inotify) = &self.0 else {
            return false;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let mut found = false;
        while let Ok(event) = reader.next() {
            found |= event.file_name().is_some_and(|moved| moved.to_bytes() == name.as_bytes());
        }
        found
    }
}

/// An inotify instance, where there is one left.
pub(super) fn open(what: &str) -> Option<OwnedFd> {
    let opened = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
    opened.inspect_err(|errno| error!("cannot watch {what}: {errno}; changes may be noticed late")).ok()
}

/// Reads everything that waits.
pub(super) fn drain(inotify: Option<BorrowedFd<'_>>) {
    let mut buffer = [0; 4096];
    while inotify.is_some_and(|fd| rustix::io::read(fd, &mut buffer).is_ok_and(|len| len > 0)) {}
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_unit_has_one_watch_however_often_it_runs() {
        let base = std::env::temp_dir().join(format!("berth-watches-{}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        let mut events = CgroupEvents::new();
        let fd = events.fd().unwrap().as_raw_fd();
        let count = || {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
            info.lines().filter(|line| line.starts_with("inotify ")).count()
        };
        let unit = Name::parse("web").unwrap();
        for run in 0..10 {
            let path = base.join(run.to_string());
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("cgroup.events"), "").unwrap();
            events.watch(&unit, &path).unwrap();
        }
        assert_eq!(count(), 2);
        events.forget(&unit);
        assert_eq!(count(), 0);
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_changed_is_told_by_unit() {
        let base = std::env::temp_dir().join(format!("berth-changed-{}", std::process::id()));
        let mut events = CgroupEvents::new();
        let [web, db] = ["web", "db"].map(|name| Name::parse(name).unwrap());
        for unit in [&web, &db] {
            fs::create_dir_all(base.join(unit.as_str())).unwrap();
            fs::write(base.join(unit.as_str()).join("cgroup.events"), "").unwrap();
            events.watch(unit, &base.join(unit.as_str())).unwrap();
        }
        fs::write(base.join("web/memory.max"), "1").unwrap();
        fs::write(base.join("web/cgroup.procs"), "1").unwrap();
        fs::write(base.join("db/cgroup.events"), "populated 0").unwrap();
        let changed = events.changed();
        assert_eq!(changed.limits, [web].into());
        assert_eq!(changed.members, [db].into());
        assert_eq!(events.changed(), Changed::default());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn only_a_set_that_is_moved_in_counts() {
        let base = std::env::temp_dir().join(format!("berth-unit-files-{}", std::process::id()));
        fs::create_dir_all(base.join("new")).unwrap();
        let files = UnitFiles::watch(base.to_str().unwrap());
        fs::write(base.join("other.tmp"), "").unwrap();
        fs::rename(base.join("other.tmp"), base.join("other")).unwrap();
        assert!(!files.has_new("units"));
        fs::rename(base.join("new"), base.join("units")).unwrap();
        assert!(files.has_new("units"));
        fs::rename(base.join("units"), base.join("away")).unwrap();
        assert!(!files.has_new("units"));
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_is_not_there_is_no_failure() {
        assert!(UnitFiles::watch("/nonexistent").fd().is_none());
        let mut events = CgroupEvents { inotify: None, watched: BTreeMap::new(), units: BTreeMap::new() };
        events.watch(&Name::parse("web").unwrap(), Path::new("/")).unwrap();
        assert_eq!(events.changed(), Changed::default());
    }
}
