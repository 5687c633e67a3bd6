//! What inotify(7) tells us: changes of cgroups and of the unit set.
//!
//! The kernel counts instances and watches by user, and every container whose user is root counts as ours: there may
//! be none left. A supervisor without them is slower to notice; it does not fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_runtime::cgroup::Limits;
use berth_units::Name;
use berth_units::observed::Moment;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use crate::{error, warning};

/// Whoever has written to files of a unit's cgroup more often than this within a [`WINDOW`] is not heard before its end.
/// A container may see its cgroup and open files of it as often as it likes.
const WINDOW_MAX: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Changes of cgroups, one descriptor for all units: of cgroup.events (cgroup-v2.rst, "cgroup.events"), and of the
/// limits. A write of somebody is seen when the file is closed: the kernel's own notices, which a unit at its limits
/// causes in great number, only modify files.
#[derive(Debug)]
pub struct CgroupEvents {
    inotify: Option<OwnedFd>,
    watched: BTreeMap<Name, Watched>,
    units: BTreeMap<i32, Name>,
}

#[derive(Debug)]
struct Watched {
    cgroup: PathBuf,
    /// The watch of cgroup.events, which the kernel writes, and not often.
    events: i32,
    /// None before the end of the window in which there was too much of it.
    limits: Option<i32>,
    /// When its present window began.
    began: Moment,
    /// Writes in it.
    count: u32,
    /// That there are too many was said.
    warned: bool,
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
        let limits = watch_limits(inotify, cgroup).inspect_err(|_| {
            let _gone = inotify::remove_watch(inotify, events);
        })?;
        let watched = Watched {
            cgroup: cgroup.to_owned(),
            events,
            limits: Some(limits),
            began: Moment::default(),
            count: 0,
            warned: false,
        };
        self.watched.insert(unit.clone(), watched);
        self.units.extend([(events, unit.clone()), (limits, unit.clone())]);
        Ok(())
    }

    /// Watches nothing of a unit.
    pub fn forget(&mut self, unit: &Name) {
        if let (Some(watched), Some(inotify)) = (self.watched.remove(unit), &self.inotify) {
            for watch in watched.limits.into_iter().chain([watched.events]) {
                self.units.remove(&watch);
                // A kernel that removes it by itself has done so.
                let _gone = inotify::remove_watch(inotify, watch);
            }
        }
    }

    /// When limits are watched again that were written too often.
    pub fn next_wake(&self) -> Option<Moment> {
        let closed = self.watched.values().filter(|watched| watched.limits.is_none());
        closed.map(|watched| watched.began.after(WINDOW)).min()
    }

    /// Watches limits again whose time has come: of which units, for nobody knows what has become of them meanwhile.
    pub fn reopen(&mut self, now: Moment) -> Vec<Name> {
        let Some(inotify) = &self.inotify else {
            return Vec::new();
        };
        let mut again = Vec::new();
        for (unit, watched) in &mut self.watched {
            if watched.limits.is_some() || now.since(watched.began) < WINDOW {
                continue;
            }
            (watched.began, watched.count) = (now, 0);
            // Without its cgroup there is nothing to watch; the next run has another one.
            if let Ok(limits) = watch_limits(inotify, &watched.cgroup) {
                watched.limits = Some(limits);
                self.units.insert(limits, unit.clone());
                again.push(unit.clone());
            }
        }
        again
    }

    /// To wait for; none where the kernel has none left.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Reads a part of what waits, so that nobody who causes much of it keeps us: the rest wakes us again. What has
    /// become of it is read from its source.
    pub fn changed(&mut self, now: Moment) -> Changed {
        let mut changed = Changed::default();
        let mut written = Vec::new();
        let Some(inotify) = &self.inotify else {
            return changed;
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let unit = self.units.get(&event.wd()).cloned();
            changed.anything |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            match event.file_name().map(|file| file.to_str().is_ok_and(Limits::is_knob)) {
                None => changed.members.extend(unit),
                Some(is_limit) => {
                    changed.limits.extend(unit.clone().filter(|_| is_limit));
                    written.extend(unit);
                }
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        for unit in written {
            self.count(&unit, now);
        }
        changed
    }

    /// Counts a write to a file of a unit's cgroup. After too many the limits are not watched for a while; of
    /// cgroup.events everything is heard.
    fn count(&mut self, unit: &Name, now: Moment) {
        let (Some(watched), Some(inotify)) = (self.watched.get_mut(unit), &self.inotify) else {
            return;
        };
        if now.since(watched.began) >= WINDOW {
            (watched.began, watched.count) = (now, 0);
        }
        watched.count = watched.count.saturating_add(1);
        let Some(limits) = watched.limits.take_if(|_| watched.count > WINDOW_MAX) else {
            return;
        };
        self.units.remove(&limits);
        let _gone = inotify::remove_watch(inotify, limits);
        if !watched.warned {
            watched.warned = true;
            warning!("{unit}: files of its cgroup are written too often; looking once a second");
        }
    }
}

impl UnitFiles {
    /// Watches directories for folders that are moved in: a set comes by rename, whole, never file by file.
    pub fn watch(directories: &[&str]) -> Self {
        let inotify = open("unit files");
        for directory in directories {
            let added =
                inotify.as_ref().map(|inotify| inotify::add_watch(inotify, *directory, WatchFlags::MOVED_TO));
            if let Some(Err(errno)) = added {
                error!("cannot watch '{directory}': {errno}; ignoring");
            }
        }
        Self(inotify)
    }

    /// As [`CgroupEvents::fd`].
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Names of what was moved in since the last look.
    pub fn moved_in(&self) -> Vec<String> {
        let Some(inotify) = &self.0 else {
            return Vec::new();
        };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let mut found = Vec::new();
        while let Ok(event) = reader.next() {
            found.extend(event.file_name().and_then(|name| Some(name.to_str().ok()?.to_owned())));
        }
        found
    }
}

/// An inotify instance, where there is one left.
pub(super) fn open(what: &str) -> Option<OwnedFd> {
    let opened = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
    opened.inspect_err(|errno| error!("cannot watch {what}: {errno}; changes may be noticed late")).ok()
}

fn watch_limits(inotify: &OwnedFd, cgroup: &Path) -> rustix::io::Result<i32> {
    inotify::add_watch(
        inotify,
        cgroup,
        WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR | WatchFlags::DELETE_SELF,
    )
}

/// Reads a part of what waits: the rest wakes us again.
pub(super) fn drain(inotify: Option<BorrowedFd<'_>>) {
    let mut buffer = [0; 4096];
    let _nothing = inotify.map(|fd| rustix::io::read(fd, &mut buffer));
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
        let changed = events.changed(Moment(1));
        assert_eq!(changed.limits, [web].into());
        assert_eq!(changed.members, [db].into());
        assert_eq!(events.changed(Moment(1)), Changed::default());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_flood_of_writes_closes_the_watch_of_limits_alone() {
        let base = std::env::temp_dir().join(format!("berth-flood-{}", std::process::id()));
        let unit = Name::parse("web").unwrap();
        fs::create_dir_all(&base).unwrap();
        fs::write(base.join("cgroup.events"), "").unwrap();
        let mut events = CgroupEvents::new();
        events.watch(&unit, &base).unwrap();
        let now = Moment(5_000_000);
        // Events that are alike and follow each other are one.
        let flood = || (0..300).for_each(|n| fs::write(base.join(["memory.max", "x"][n % 2]), "").unwrap());
        flood();
        assert_eq!(events.changed(now).limits, [unit.clone()].into());
        assert_eq!(events.next_wake(), Some(now.after(WINDOW)));
        flood();
        fs::write(base.join("cgroup.events"), "populated 0").unwrap();
        let mut turns = (0..20).map(|_| events.changed(now));
        assert!(turns.any(|changed| changed.members.contains(&unit)), "what ends is heard of");
        while events.changed(now) != Changed::default() {}
        assert_eq!(events.reopen(now.after(WINDOW / 2)), []);
        assert_eq!(events.reopen(now.after(WINDOW)), std::slice::from_ref(&unit));
        assert_eq!(events.next_wake(), None);
        fs::write(base.join("memory.max"), "").unwrap();
        assert_eq!(events.changed(now.after(WINDOW)).limits, [unit].into());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn only_a_set_that_is_moved_in_counts() {
        let base = std::env::temp_dir().join(format!("berth-unit-files-{}", std::process::id()));
        fs::create_dir_all(base.join("new")).unwrap();
        let files = UnitFiles::watch(&[base.to_str().unwrap()]);
        fs::write(base.join("other.tmp"), "").unwrap();
        fs::rename(base.join("other.tmp"), base.join("other")).unwrap();
        assert_eq!(files.moved_in(), ["other"]);
        fs::rename(base.join("new"), base.join("units")).unwrap();
        assert_eq!(files.moved_in(), ["units"]);
        // Neither what leaves nor what is made in place.
        let left = base.with_extension("left");
        fs::rename(base.join("units"), &left).unwrap();
        fs::create_dir(base.join("units")).unwrap();
        assert_eq!(files.moved_in(), [""; 0]);
        fs::remove_dir_all(left).unwrap();
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_is_not_there_is_no_failure() {
        assert_eq!(UnitFiles::watch(&["/nonexistent"]).moved_in(), [""; 0]);
        let mut events = CgroupEvents { inotify: None, watched: BTreeMap::new(), units: BTreeMap::new() };
        events.watch(&Name::parse("web").unwrap(), Path::new("/")).unwrap();
        assert_eq!(events.changed(Moment(1)), Changed::default());
    }
}
