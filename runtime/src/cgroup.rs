//! A directory of the cgroup v2 tree: limits in, events and figures out.
//!
//! Names are the kernel's (Documentation/admin-guide/cgroup-v2.rst). What a limit should be is not decided here.
//! Files are read bounded and written in one write(2), as the kernel wants it.

mod beside;
mod drift;
mod limits;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use beside::Writer;
pub use drift::Setting;
use limits::PARTITION;
pub use limits::{HugePages, IoMax, Limits, Partition};

/// Processors that a group may take away from others.
const EXCLUSIVE: &str = "cpuset.cpus.exclusive";
/// Longest interface file that is read, bytes.
const READ_MAX: u64 = 1 << 20;

/// Why a cgroup could not be made, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A directory operation failed.
    #[error("cannot {doing} cgroup '{path}'")]
    Directory {
        /// What was to be done.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A knob is not there: its controller is not enabled in the parent, or the kernel has none, or not this part.
    #[error(
        "cgroup '{path}' has no '{knob}': the kernel was built without it, or the parent cgroup lacks controller \
         '{controller}'"
    )]
    Absent {
        /// The directory.
        path: PathBuf,
        /// The interface file.
        knob: String,
        /// Its controller.
        controller: String,
    },
    /// The kernel refused a value.
    #[error("cannot write '{value}' to '{knob}' of cgroup '{path}'")]
    Write {
        /// The directory.
        path: PathBuf,
        /// The interface file.
        knob: String,
        /// What was written.
        value: String,
        /// Why not.
        source: io::Error,
    },
    /// The processors cannot be the group's alone.
    #[error("cgroup '{path}' is '{found}' where it should be '{wanted}': cpuset.cpus.partition")]
    Partition {
        /// The directory.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What the kernel made of it, and why.
        found: String,
    },
    /// An interface file cannot be read.
    #[error("cannot read '{knob}' of cgroup '{path}'")]
    Read {
        /// The directory.
        path: PathBuf,
        /// The interface file.
        knob: String,
        /// Why not.
        source: io::Error,
    },
}

/// memory.events, since the group was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Times that memory.high throttled.
    pub high: u64,
    /// Times that memory.max was about to be exceeded.
    pub max: u64,
    /// Times that the limit was reached and an allocation was about to fail.
    pub oom: u64,
    /// Processes killed by the OOM killer.
    pub oom_kill: u64,
    /// Times that the whole group was killed.
    pub oom_group_kill: u64,
}

/// Figures for people; `None` where the controller is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// memory.current, bytes.
    pub memory_current: Option<u64>,
    /// memory.max, bytes; `None` also for `max`.
    pub memory_max: Option<u64>,
    /// usage_usec of cpu.stat.
    pub cpu_usage_usec: Option<u64>,
    /// pids.current.
    pub pids_current: Option<u64>,
}

/// A cgroup v2 directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The group of an existing directory; nothing is checked.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Makes the directory, where it is absent, in a parent that exists.
    ///
    /// # Errors
    /// mkdir(2).
    pub fn ensure(path: impl Into<PathBuf>) -> Result<Self, CgroupError> {
        let path = path.into();
        match std::fs::create_dir(&path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(CgroupError::Directory { doing: "make", path, source })
            }
            _ => Ok(Self { path }),
        }
    }

    /// A group that is new: one that is there is removed first, so that its counters begin at zero.
    ///
    /// Kernel quirk, seen on 6.12.95: fork compares the parent's group's count of `cgroup.kill` with that of the group
    /// that CLONE_INTO_CGROUP names (`kill_seq`, kernel/cgroup/cgroup.c). A group that was ever killed kills all who are
    /// born into it from outside; only a new one takes them.
    ///
    /// # Errors
    /// It has processes (EBUSY), or cannot be made.
    pub fn renew(path: impl Into<PathBuf>) -> Result<Self, CgroupError> {
        let old = Self::at(path);
        if old.path.exists() {
            old.remove()?;
        }
        Self::ensure(old.path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Enables those controllers for the children, of those that this group has; the rest stay off, so that a knob
    /// that needs one is reported by [`Self::set`].
    ///
    /// # Errors
    /// cgroup.controllers cannot be read, or the kernel refuses (EBUSY: the group has processes of its own).
    pub fn enable(&self, controllers: &[&str]) -> Result<(), CgroupError> {
        let has = self.read("cgroup.controllers")?;
        let wanted = has.split_ascii_whitespace().filter(|name| controllers.contains(name));
        let words: Vec<_> = wanted.map(|name| format!("+{name}")).collect();
        if words.is_empty() { Ok(()) } else { self.write("cgroup.subtree_control", &words.join(" ")) }
    }

    /// Writes the limits, stopping at the first that fails.
    ///
    /// # Errors
    /// A knob is absent or refuses its value.
    pub fn set(&self, limits: &Limits) -> Result<(), CgroupError> {
        for (knob, value) in limits.plan_writes() {
            match self.write(&knob, &value) {
                // No swap accounting means no swap to limit.
                Err(CgroupError::Absent { .. }) if knob == "memory.swap.max" && self.has("memory.max") => {}
                result => result?,
            }
            if knob == PARTITION {
                self.check_partition(&value)?;
            }
        }
        Ok(())
    }

    /// The kernel takes the word and says afterwards that it cannot be ("root invalid (...)").
    fn check_partition(&self, wanted: &str) -> Result<(), CgroupError> {
        let found = self.read(PARTITION)?.trim().to_owned();
        if found == wanted {
            return Ok(());
        }
        Err(CgroupError::Partition { path: self.path.clone(), wanted: wanted.to_owned(), found })
    }

    /// Has this group, a parent, hand down what limits of a child need, beyond what it hands down anyway: a
    /// controller that nobody asks for would cost every process of every child something. `cpus` are all processors
    /// of the node; those of a partition are its alone only if every group above it may give them away.
    ///
    /// # Errors
    /// As [`Self::enable`]. A controller that this group does not have is told by [`Self::set`].
    pub fn hand_down(&self, limits: &Limits, cpus: &str) -> Result<(), CgroupError> {
        let wanted = limits.controllers();
        let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
        self.enable(&wanted)?;
        if limits.cpuset_partition.is_some() && self.has(EXCLUSIVE) {
            self.write(EXCLUSIVE, cpus)?;
        }
        Ok(())
    }

    /// Kills every process in the group and below, forks included; cgroup.kill.
    ///
    /// # Errors
    /// The group is gone.
    pub fn kill(&self) -> Result<(), CgroupError> {
        self.write("cgroup.kill", "1")
    }

    /// Freezes every process in the group and below, or lets them run again; cgroup.freeze. A kill ends frozen ones.
    ///
    /// # Errors
    /// The group is gone.
    pub fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })
    }

    /// Whether it is to be frozen; a group that is gone is not.
    pub fn is_frozen(&self) -> bool {
        self.read("cgroup.freeze").is_ok_and(|text| text.trim() == "1")
    }

    /// Whether a process lives in it or below.
    ///
    /// # Errors
    /// The group is gone.
    pub fn populated(&self) -> Result<bool, CgroupError> {
        Ok(self.read_flat("cgroup.events")?.get("populated") == Some(&1))
    }

    /// cgroup.events, to be polled for POLLPRI after a first read; populated changes wake it.
    ///
    /// # Errors
    /// The group is gone.
    pub fn open_events(&self) -> Result<OwnedFd, CgroupError> {
        self.open_read("cgroup.events").map(OwnedFd::from)
    }

    /// A trigger on `RESOURCE.pressure`: the descriptor has priority data (EPOLLPRI) once for each window in which
    /// processes waited longer, until it is closed; accounting/psi.rst. `full` counts only when all of them wait.
    ///
    /// # Errors
    /// The kernel counts no pressure (CONFIG_PSI, `psi=1`), or refuses the times.
    pub fn pressure_trigger(
        &self,
        resource: &str,
        full: bool,
        (threshold, window): (Duration, Duration),
    ) -> Result<OwnedFd, CgroupError> {
        let knob = format!("{resource}.pressure");
        let kind = if full { "full" } else { "some" };
        let value = format!("{kind} {} {}", threshold.as_micros(), window.as_micros());
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        let open = || {
            let mut file =
                OpenOptions::new().read(true).write(true).custom_flags(flags).open(self.path.join(&knob))?;
            file.write_all(value.as_bytes())?;
            Ok(OwnedFd::from(file))
        };
        open().map_err(|source| {
            self.explain(&knob, source, |path, knob, source| CgroupError::Write {
                path,
                knob,
                value: value.clone(),
                source,
            })
        })
    }

    /// memory.events.
    ///
    /// # Errors
    /// The memory controller is absent.
    pub fn memory_events(&self) -> Result<MemoryEvents, CgroupError> {
        let flat = self.read_flat("memory.events")?;
        let of = |key| flat.get(key).copied().unwrap_or(0);
        Ok(MemoryEvents {
            high: of("high"),
            max: of("max"),
            oom: of("oom"),
            oom_kill: of("oom_kill"),
            oom_group_kill: of("oom_group_kill"),
        })
    }

    /// What it uses now.
    pub fn stats(&self) -> Stats {
        let number = |knob| self.read(knob).ok()?.trim().parse().ok();
        Stats {
            memory_current: number("memory.current"),
            memory_max: number("memory.max"),
            cpu_usage_usec: self.read_flat("cpu.stat").ok().and_then(|flat| flat.get("usage_usec").copied()),
            pids_current: number("pids.current"),
        }
    }

    /// Bytes read from and written to all block devices since the group was made, of io.stat.
    pub fn io_bytes(&self) -> Option<(u64, u64)> {
        Some(io_bytes(&self.read("io.stat").ok()?))
    }

    /// Percent of the last ten seconds in which some process waited: `some avg10` of `cpu`, `memory` or `io`. None
    /// where the kernel does not count it.
    pub fn pressure(&self, what: &str) -> Option<f64> {
        let text = self.read(&format!("{what}.pressure")).ok()?;
        let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
        some.split_ascii_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
    }

    /// Processes directly in it.
    ///
    /// # Errors
    /// The group is gone.
    pub fn procs(&self) -> Result<Vec<i32>, CgroupError> {
        Ok(self.read("cgroup.procs")?.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Its processes and those of all groups below it.
    ///
    /// # Errors
    /// It cannot be read; what ends meanwhile is left out.
    pub fn all_procs(&self) -> Result<Vec<i32>, CgroupError> {
        let mut found = self.procs()?;
        let mut groups = self.children()?;
        while let Some(group) = groups.pop() {
            found.extend(group.procs().unwrap_or_default());
            groups.extend(group.children().unwrap_or_default());
        }
        Ok(found)
    }

    /// Moves a process into it; 0 is the caller.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attach(&self, pid: i32) -> Result<(), CgroupError> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Groups directly below it.
    ///
    /// # Errors
    /// The group is gone.
    pub fn children(&self) -> Result<Vec<Self>, CgroupError> {
        let fail = |source| CgroupError::Directory { doing: "list", path: self.path.clone(), source };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_dir() {
                found.push(Self { path: entry.path() });
            }
        }
        Ok(found)
    }

    /// Removes it and everything below. One that is gone already is success.
    ///
    /// # Errors
    /// EBUSY while a process lives in it: wait for [`Self::populated`] to become false.
    pub fn remove(&self) -> Result<(), CgroupError> {
        // Deepest first, without recursion: [`Limits::descendants`] bounds what a container adds.
        let mut order = vec![self.clone()];
        let mut next = 0;
        while let Some(group) = order.get(next).cloned() {
            order.extend(group.children().unwrap_or_default());
            next += 1;
        }
        for group in order.into_iter().rev() {
            match std::fs::remove_dir(&group.path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(CgroupError::Directory { doing: "remove", path: group.path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it has that interface file.
    pub fn has(&self, knob: &str) -> bool {
        self.path.join(knob).exists()
    }

    /// Writes an interface file.
    ///
    /// # Errors
    /// It is absent, or the kernel refuses the value.
    pub fn write(&self, knob: &str, value: &str) -> Result<(), CgroupError> {
        let write = || {
            let mut file =
                OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(self.path.join(knob))?;
            file.write_all(value.as_bytes())
        };
        write().map_err(|source| {
            self.explain(knob, source, |path, knob, source| CgroupError::Write {
                path,
                knob,
                value: value.to_owned(),
                source,
            })
        })
    }

    /// Reads an interface file.
    ///
    /// # Errors
    /// It is absent or not text.
    pub fn read(&self, knob: &str) -> Result<String, CgroupError> {
        let mut text = String::new();
        self.open_read(knob)?
            .take(READ_MAX)
            .read_to_string(&mut text)
            .map_err(|source| CgroupError::Read { path: self.path.clone(), knob: knob.to_owned(), source })?;
        Ok(text)
    }

    fn open_read(&self, knob: &str) -> Result<File, CgroupError> {
        let read = |path, knob, source| CgroupError::Read { path, knob, source };
        File::open(self.path.join(knob)).map_err(|source| self.explain(knob, source, read))
    }

    /// A "flat keyed" file.
    fn read_flat(&self, knob: &str) -> Result<BTreeMap<String, u64>, CgroupError> {
        let text = self.read(knob)?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?))).collect())
    }

    /// An absent knob in an existing group means an absent controller.
    fn explain(
        &self,
        knob: &str,
        source: io::Error,
        other: impl FnOnce(PathBuf, String, io::Error) -> CgroupError,
    ) -> CgroupError {
        let controller = knob.split('.').next().unwrap_or(knob);
        let absent = source.kind() == io::ErrorKind::NotFound && controller != "cgroup" && self.path.is_dir();
        if absent {
            let (knob, controller) = (knob.to_owned(), controller.to_owned());
            return CgroupError::Absent { path: self.path.clone(), knob, controller };
        }
        other(self.path.clone(), knob.to_owned(), source)
    }
}

fn io_bytes(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let words = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key));
        words.filter_map(|bytes| bytes.parse::<u64>().ok()).fold(0, u64::saturating_add)
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_devices_are_added() {
        let text = "8:0 rbytes=10 wbytes=1 rios=1 wios=1 dbytes=0 dios=0\n254:16 rbytes=5 wbytes=2 rios=0\n";
        assert_eq!(io_bytes(text), (15, 3));
        assert_eq!(io_bytes(""), (0, 0));
    }

    #[test]
    fn an_absent_knob_names_its_controller() {
        let group = Cgroup::at("/");
        let error = group.set(&Limits { pids_max: Some(1), ..Limits::default() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cgroup '/' has no 'pids.max': the kernel was built without it, or the parent cgroup lacks \
             controller 'pids'"
        );
        assert!(matches!(Cgroup::at("/nowhere").populated(), Err(CgroupError::Read { .. })));
    }
}
