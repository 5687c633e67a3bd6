//! Facts outside of the set that units wait for or ask about: paths, the clock, the uplink, the node itself.
//!
//! Whoever waits is woken by an event (inotify, a timer on the clock on the wall, netd), never by looking again and
//! again. Paths below /proc and /sys send no such events, nor does a mount.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_units::life::Life;
use berth_units::observed::{Facts, Moment};
use berth_units::plan::{asked_paths, awaited_paths, is_wanted};
use berth_units::supplies::{self as given, sources};
use berth_units::wire::net::UplinkState;
use rustix::fs::inotify::{self, WatchFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::boots::boot_id;
use super::poll::{Interest, Source};
use super::records::RUN_DIR;
use super::{Supervisor, clock, records, supplies, watches};
use crate::error;
use crate::kmsg::Chain;

/// An earlier time than that of this release (2026-11-20) cannot be: seconds since 1970.
const RELEASED: u64 = 1_795_132_800;

/// Later than the node lives: seconds since 1970.
const NEVER: u64 = 1 << 33;

/// What netd said last of the uplink: it does not say so again to the next supervisor.
const UPLINK: &str = "uplink";
/// Notes of the node that last.
const NODE_DIR: &str = "/data/node";
/// Which boot was the first with this data partition.
const FIRST_BOOT: &str = "first-boot";

/// Tells when a path may have come into being.
#[derive(Debug)]
pub struct PathWatch {
    /// None where the kernel has no instance left.
    inotify: Option<OwnedFd>,
    /// Directories that are watched.
    dirs: BTreeMap<PathBuf, i32>,
    /// When its present window began.
    began: Moment,
    /// Wake-ups in it.
    count: u32,
    /// It is not awaited before the end of its window.
    rests: bool,
}

/// Whoever fills a directory that is watched wakes us not more often than this within a [`WINDOW`].
const WINDOW_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

impl PathWatch {
    /// Watches nothing yet.
    pub fn new() -> Self {
        let (began, count, rests) = (Moment::default(), 0, false);
        Self { inotify: watches::open("paths"), dirs: BTreeMap::new(), began, count, rests }
    }

    /// To wait for.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Watches for these paths and no others, and for other contents of these files: each by the nearest directory
    /// above it that exists.
    fn watch(&mut self, paths: &BTreeSet<&String>, files: &BTreeSet<String>) {
        let mut dirs = BTreeMap::new();
        let Some(inotify) = &self.inotify else {
            return;
        };
        let paths = paths.iter().map(|path| (path.as_str(), COMES));
        // The masks of one directory add up.
        let written = COMES.union(WatchFlags::CLOSE_WRITE).union(WatchFlags::MASK_ADD);
        for (path, mask) in paths.chain(files.iter().map(|path| (path.as_str(), written))) {
            if let Err(error) = watch_one(inotify, Path::new(path), mask, &mut dirs) {
                error!("cannot watch for '{path}': {error}; ignoring");
            }
        }
        for (_, old) in self.dirs.iter().filter(|(dir, _)| !dirs.contains_key(*dir)) {
            // It is gone already where the directory is.
            let _gone = inotify::remove_watch(inotify, *old);
        }
        self.dirs = dirs;
    }

    /// Reads a part of what waits; what changed is looked at when it is planned.
    fn drain(&self) {
        watches::drain(self.fd());
    }

    /// Counts a wake-up; `true` when it is time for a rest.
    fn count(&mut self, now: Moment) -> bool {
        if now.since(self.began) >= WINDOW {
            (self.began, self.count) = (now, 0);
        }
        self.count += 1;
        self.rests = self.count > WINDOW_MAX;
        self.rests
    }

    /// When the rest is over.
    pub fn next_wake(&self) -> Option<Moment> {
        self.rests.then(|| self.began.after(WINDOW))
    }
}

/// Something may have come into a directory.
const COMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

fn watch_one(
    inotify: &OwnedFd,
    path: &Path,
    mask: WatchFlags,
    dirs: &mut BTreeMap<PathBuf, i32>,
) -> rustix::io::Result<()> {
    let nearest = || path.ancestors().skip(1).find(|dir| dir.is_dir());
    let mut watched = None;
    // What is made between the look and the watch is seen by the second look.
    while let Some(dir) = nearest().filter(|dir| watched != Some(*dir)) {
        let number = inotify::add_watch(inotify, dir, mask)?;
        dirs.insert(dir.to_owned(), number);
        watched = Some(dir);
    }
    Ok(())
}

/// Tells when the clock is set, or has come to a time that can be (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).
#[derive(Debug)]
pub struct ClockWatch(OwnedFd);

impl ClockWatch {
    /// Armed.
    pub fn new() -> std::io::Result<Self> {
        let watch =
            Self(timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?);
        watch.arm()?;
        Ok(watch)
    }

    fn arm(&self) -> std::io::Result<()> {
        let expires = if clock::wall() < RELEASED { RELEASED } else { NEVER };
        let expires = Timespec { tv_sec: i64::try_from(expires).unwrap_or(i64::MAX), tv_nsec: 0 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: expires };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&self.0, flags, &once) {
            // Set once more since the last look; the timer runs nevertheless (fs/timerfd.c, do_timerfd_settime).
            Ok(_) | Err(rustix::io::Errno::CANCELED) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for ClockWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Features that every processor of /proc/cpuinfo has: `flags` on x86, `Features` on ARM.
fn cpu_features(text: &str) -> BTreeSet<String> {
    let lists = text.lines().filter_map(|line| {
        let (key, words) = line.split_once(':')?;
        matches!(key.trim(), "flags" | "Features").then(|| words.split_whitespace().collect::<BTreeSet<_>>())
    });
    let common = lists.reduce(|all, one| all.intersection(&one).copied().collect()).unwrap_or_default();
    common.into_iter().map(str::to_owned).collect()
}

impl Supervisor {
    /// What does not change while this supervisor runs, and what the one before it was told.
    pub(super) fn find_facts(&mut self) {
        let words = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        self.uplink = records::read(Path::new(RUN_DIR), UPLINK).unwrap_or_default();
        self.observed.facts = Facts {
            arch: rustix::system::uname().machine().to_string_lossy().into_owned(),
            memory: self.node_memory,
            kernel_cmdline: words.split_whitespace().map(str::to_owned).collect(),
            cpu_features: cpu_features(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            first_boot: self.is_first_boot(),
            ..Facts::default()
        };
        self.refresh_clock();
    }

    /// The first boot notes itself on the data partition, so that it stays the first one for a later supervisor.
    fn is_first_boot(&self) -> bool {
        let this = boot_id();
        let dir = Path::new(NODE_DIR);
        let noted = self.lasting.then(|| records::read::<String>(dir, FIRST_BOOT)).flatten();
        if let Some(first) = noted {
            return first == this;
        }
        if self.lasting
            && let Err(error) = records::write(dir, FIRST_BOOT, &this, true)
        {
            error!("{}; the next boot will count as the first, too", Chain(&error));
        }
        true
    }

    /// netd said how the uplink is.
    pub(super) fn uplink_changed(&mut self, uplink: UplinkState) {
        if let Err(error) = records::write(Path::new(RUN_DIR), UPLINK, &uplink, false) {
            error!("{}; ignoring", Chain(&error));
        }
        self.uplink = uplink;
    }

    /// Brings the facts up to date, as far as somebody who could start asks for them.
    pub(super) fn refresh_facts(&mut self) {
        let idle = self.set.declared.units.values().filter(|unit| {
            let seen = self.observed.units.get(&unit.name);
            seen.is_some_and(|seen| seen.record.life == Life::Idle && is_wanted(unit, seen))
        });
        let mut awaited = BTreeSet::new();
        let mut asked = BTreeSet::new();
        for unit in idle {
            awaited.extend(awaited_paths(unit));
            asked.extend(asked_paths(unit));
        }
        // First the watch, then the look: nothing falls between them.
        let file = |source: &given::Source| source.file().map(str::to_owned);
        let sources = sources(&self.set.declared);
        let files = sources.iter().filter_map(file).collect();
        self.path_watch.watch(&awaited, &files);
        let exists = |path: &&&String| Path::new(path).exists();
        let paths = awaited.union(&asked).filter(exists).map(|path| (*path).clone()).collect();
        let facts = &mut self.observed.facts;
        facts.paths = paths;
        facts.supplies = supplies::look(sources);
        facts.online = !self.uplink.addresses.is_empty();
        self.refresh_clock();
    }

    /// Where the clock on the wall stands.
    pub(super) fn refresh_clock(&mut self) {
        let facts = &mut self.observed.facts;
        facts.clock_set = clock::wall() >= RELEASED;
        (facts.looked, facts.wall_ahead) = clock::ahead();
    }

    pub(super) fn paths_changed(&mut self) {
        self.path_watch.drain();
        if self.path_watch.count(clock::now())
            && let Some(fd) = self.path_watch.fd()
        {
            self.poll.remove(fd, &Source::Paths);
        }
    }

    /// Awaits paths again after a rest. What has come meanwhile is seen by the look that follows.
    pub(super) fn await_paths(&mut self) {
        if self.path_watch.next_wake().is_none_or(|end| end > clock::now()) {
            return;
        }
        self.path_watch.rests = false;
        let added = self.path_watch.fd().map(|fd| self.poll.add(fd, Source::Paths, Interest::Read));
        if let Some(Err(error)) = added {
            error!("cannot watch for paths: {error}; ignoring");
        }
    }

    pub(super) fn clock_changed(&self) {
        // ECANCELED: the clock was set.
        let mut expirations = [0; 8];
        let _either = rustix::io::read(&self.clock_watch, &mut expirations);
        if let Err(error) = self.clock_watch.arm() {
            error!("cannot watch the clock: {error}; ignoring");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn features_are_those_of_every_processor() {
        let words = |text: &str| cpu_features(text).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(
            words("processor\t: 0\nflags\t\t: fpu sse2 avx\nbugs: x\n\nflags : sse2 fpu\n"),
            "fpu sse2"
        );
        assert_eq!(words("Features\t: fp asimd\nCPU part : 0xd08\n"), "asimd fp");
        assert_eq!(words(""), "");
    }

    /// Whether an event waits.
    fn is_told(watch: &PathWatch) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(watch.fd().unwrap(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn who_fills_a_directory_wakes_us_only_so_often() {
        let mut watch = PathWatch::new();
        let now = Moment(5_000_000);
        let woken = (0..100).take_while(|_| !watch.count(now)).count();
        assert_eq!((woken, watch.next_wake()), (10, Some(now.after(WINDOW))));
        assert!(!watch.count(now.after(WINDOW)));
        assert_eq!(watch.next_wake(), None);
    }

    #[test]
    fn a_path_is_heard_of_through_all_its_directories() {
        let dir = std::env::temp_dir().join(format!("berth-facts-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("a/b/file");
        let wanted = path.display().to_string();
        let mut watch = PathWatch::new();
        for step in ["a", "a/b", "a/b/file"] {
            watch.watch(&[&wanted].into(), &BTreeSet::new());
            // A watch that is no longer needed says good-bye.
            watch.drain();
            match step {
                "a/b/file" => fs::write(&path, "").unwrap(),
                _ => fs::create_dir(dir.join(step)).unwrap(),
            }
            assert!(is_told(&watch), "{step}");
            watch.drain();
        }
        // A directory that was removed and made again is watched again.
        fs::remove_dir_all(dir.join("a")).unwrap();
        watch.watch(&[&wanted].into(), &BTreeSet::new());
        watch.drain();
        fs::create_dir(dir.join("a")).unwrap();
        assert!(is_told(&watch));
        watch.drain();
        // Nobody waits any more.
        watch.watch(&BTreeSet::new(), &BTreeSet::new());
        watch.drain();
        fs::create_dir(dir.join("a/b")).unwrap();
        fs::write(dir.join("other"), "").unwrap();
        assert!(!is_told(&watch));
        // Of a file that counts, each new content is told; of its directory, beside one that is awaited, too.
        let [file, other] = ["other", "awaited"].map(|name| dir.join(name).display().to_string());
        watch.watch(&[&other].into(), &[file.clone()].into());
        watch.drain();
        fs::write(&file, "new").unwrap();
        assert!(is_told(&watch));
        watch.drain();
        fs::remove_dir_all(&dir).unwrap();
    }
}
