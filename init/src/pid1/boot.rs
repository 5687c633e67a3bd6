//! From the kernel's entry to the supervisor's start: phases with names, in order.
//!
//! A phase that fails is logged and boot goes on: a node without a clock or without one module is worth more than
//! none. What needs a file of the unit set (host name, network, data partition) is the supervisor's.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_move, mount_remount};
use rustix::process::{Resource, Rlimit, chdir, chroot, setrlimit};
use rustix::time::{ClockId, Timespec, clock_settime};

use super::{cgroup, loopback};
use crate::modules::load_list;
use crate::{error, info, kmsg, warning};

/// What a phase could not do: it says so, and boot goes on.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct BootError {
    what: String,
    source: io::Error,
}

impl BootError {
    /// For `map_err`: `what` completes "cannot …".
    pub(super) fn of<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self { what, source: source.into() }
    }
}

type Phase = (&'static str, fn() -> Result<(), BootError>);

/// Before /dev/kmsg can be written.
const EARLY: &[Phase] = &[("root", ensure_own_root), ("mounts", mount_all), ("console", open_console)];

const LATE: &[Phase] = &[
    ("sysctl", set_sysctls),
    ("seal", seal_root),
    ("limits", set_limits),
    ("cgroups", cgroup::set_up),
    ("clock", set_clock_floor),
    ("hostname", set_hostname),
    ("loopback", loopback::bring_up),
    ("modules", load_modules),
    ("console level", raise_console_level),
];

/// Runs every phase.
pub fn boot() {
    let early: Vec<_> = EARLY.iter().map(run).collect();
    kmsg::speak_to_kernel("berth");
    early.into_iter().for_each(report);
    for phase in LATE {
        report(run(phase));
    }
}

type Outcome = (&'static str, Duration, Result<(), BootError>);

fn run(&(name, phase): &Phase) -> Outcome {
    let start = Instant::now();
    let result = phase();
    (name, start.elapsed(), result)
}

fn report((name, took, result): Outcome) {
    match result {
        Ok(()) => info!("boot: {name} ({} ms)", took.as_millis()),
        Err(error) => error!("boot: {name}: {}, going on", kmsg::Chain(&error)),
    }
}

/// Root file systems that live in RAM: an unpacked initramfs (ramfs or tmpfs).
fn root_is_ram() -> bool {
    const RAMFS_MAGIC: u64 = 0x8584_58f6;
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    rustix::fs::statfs("/").is_ok_and(|found| {
        let magic = u64::try_from(found.f_type).unwrap_or(0);
        magic == RAMFS_MAGIC || magic == TMPFS_MAGIC
    })
}

/// Puts a mount of the root over the root.
///
/// pivot_root(2) refuses while the root is the initramfs' own mount (kernel doc ramfs-rootfs-initramfs); containers
/// need it. A bind mount of it, moved over it, is an ordinary mount.
fn ensure_own_root() -> Result<(), BootError> {
    if !root_is_ram() {
        return Ok(());
    }
    let step = |what: &str| format!("{what} the root");
    ensure_dir("/.root")?;
    mount_bind("/", "/.root").map_err(BootError::of(step("bind")))?;
    chdir("/.root").map_err(BootError::of(step("enter")))?;
    mount_move(".", "/").map_err(BootError::of(step("move")))?;
    chroot(".").map_err(BootError::of(step("change")))?;
    chdir("/").map_err(BootError::of(step("enter")))?;
    fs::remove_dir("/.root").map_err(BootError::of("remove '/.root'"))
}

struct Mount {
    source: &'static CStr,
    target: &'static str,
    kind: &'static CStr,
    flags: MountFlags,
    data: &'static CStr,
}

const NOTHING_RUNS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

const MOUNTS: &[Mount] = &[
    Mount { source: c"proc", target: "/proc", kind: c"proc", flags: NOTHING_RUNS, data: c"" },
    Mount { source: c"sysfs", target: "/sys", kind: c"sysfs", flags: NOTHING_RUNS, data: c"" },
    Mount {
        source: c"devtmpfs",
        target: "/dev",
        kind: c"devtmpfs",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        data: c"mode=755",
    },
    Mount {
        source: c"devpts",
        target: "/dev/pts",
        kind: c"devpts",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        data: c"gid=5,mode=620,ptmxmode=666",
    },
    Mount {
        source: c"tmpfs",
        target: "/dev/shm",
        kind: c"tmpfs",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
        data: c"mode=1777,size=10%",
    },
    // Container roots with a writable layer in RAM live below, so programs must run from it. Secrets lie there, too.
    Mount {
        source: c"tmpfs",
        target: "/run",
        kind: c"tmpfs",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
        data: c"mode=755,size=25%,noswap",
    },
    Mount {
        source: c"cgroup2",
        target: cgroup::ROOT,
        kind: c"cgroup2",
        flags: NOTHING_RUNS,
        data: c"nsdelegate,memory_recursiveprot",
    },
];

/// Directories that others mount onto: the root is read-only by then.
const MOUNT_POINTS: &[&str] = &["/data", "/factory", "/tmp"];

fn mount_all() -> Result<(), BootError> {
    let points = MOUNT_POINTS.iter().map(|point| ensure_dir(point));
    try_all(points.chain(MOUNTS.iter().map(mount_one)))
}

fn mount_one(wanted: &Mount) -> Result<(), BootError> {
    ensure_dir(wanted.target)?;
    match mount(wanted.source, wanted.target, wanted.kind, wanted.flags, wanted.data) {
        // Mounted already, by the kernel (devtmpfs.mount=1) or whoever started us.
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => Err(BootError::of(format!("mount '{}'", wanted.target))(error)),
    }
}

fn ensure_dir(path: &str) -> Result<(), BootError> {
    if Path::new(path).is_dir() {
        return Ok(());
    }
    fs::create_dir(path).map_err(BootError::of(format!("make '{path}'")))
}

/// Standard input, output and error on the console, whatever the kernel could open before /dev was there.
fn open_console() -> Result<(), BootError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let console = rustix::fs::open("/dev/console", flags, Mode::empty())
        .or_else(|_| rustix::fs::open("/dev/null", flags, Mode::empty()))
        .map_err(BootError::of("open '/dev/console'"))?;
    for dup in [rustix::stdio::dup2_stdin, rustix::stdio::dup2_stdout, rustix::stdio::dup2_stderr] {
        dup(&console).map_err(BootError::of("put standard input and output on the console"))?;
    }
    Ok(())
}

/// Lines of this severity and worse reach the console: from notices on. A kernel line of `quiet` hides the kernel's own
/// words about devices, not what the node does then.
const CONSOLE_LOGLEVEL: u32 = 6;

/// Raises the console's log level; one that was asked for and is higher stays.
fn raise_console_level() -> Result<(), BootError> {
    let path = "/proc/sys/kernel/printk";
    let levels = fs::read_to_string(path).map_err(BootError::of("read the console's log level"))?;
    let level = levels.split_whitespace().next().and_then(|level| level.parse::<u32>().ok());
    if level.is_some_and(|level| level >= CONSOLE_LOGLEVEL) {
        return Ok(());
    }
    fs::write(path, CONSOLE_LOGLEVEL.to_string()).map_err(BootError::of("set the console's log level"))
}

fn set_sysctls() -> Result<(), BootError> {
    const SYSCTLS: &[(&str, &str)] = &[
        // A kernel that has gone wrong must not go on writing to the data partition; panic= says what follows.
        ("kernel/panic_on_oops", "1"),
        // The default drops lines of ours as soon as there are ten in five seconds. The kernel compares with the line
        // break (devkmsg_sysctl_set_loglvl of kernel/printk/printk.c).
        ("kernel/printk_devkmsg", "on\n"),
    ];
    let write = |&(name, value): &(&str, &str)| {
        let path = format!("/proc/sys/{name}");
        fs::write(&path, value).map_err(BootError::of(format!("write '{path}'")))
    };
    try_all(SYSCTLS.iter().map(write))
}

/// The first failure, once everything has been tried.
fn try_all(results: impl Iterator<Item = Result<(), BootError>>) -> Result<(), BootError> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}

/// The root is read-only from here on; a root on a disk is left as it is.
fn seal_root() -> Result<(), BootError> {
    if !root_is_ram() {
        return Ok(());
    }
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, c"")
        .map_err(BootError::of("remount '/' read-only"))
}

/// Descriptors for the kept ones and for many containers; killed for memory last of all: never.
fn set_limits() -> Result<(), BootError> {
    let files = Rlimit { current: Some(65_536), maximum: Some(65_536) };
    setrlimit(Resource::Nofile, files).map_err(BootError::of("raise the limit of open files"))?;
    fs::write("/proc/self/oom_score_adj", "-1000").map_err(BootError::of("write '/proc/self/oom_score_adj'"))
}

/// The time at which the image was built, as seconds since 1970, is the earliest that it can be now: without a
/// clock in the machine certificates would not be valid yet.
fn set_clock_floor() -> Result<(), BootError> {
    let Ok(text) = fs::read_to_string("/etc/berth/built") else { return Ok(()) };
    let Ok(built) = text.trim().parse::<u32>() else {
        warning!("boot: '/etc/berth/built' is not a number of seconds, ignoring it");
        return Ok(());
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if now >= Duration::from_secs(built.into()) {
        return Ok(());
    }
    warning!("boot: the clock is before the image was made: set to that");
    clock_settime(ClockId::Realtime, Timespec { tv_sec: built.into(), tv_nsec: 0 })
        .map_err(BootError::of("set the clock"))
}

/// A name until the supervisor has read the node's.
fn set_hostname() -> Result<(), BootError> {
    let name = fs::read_to_string("/etc/berth/hostname").unwrap_or_default();
    let name = if name.trim().is_empty() { "berth" } else { name.trim() };
    rustix::system::sethostname(name.as_bytes()).map_err(BootError::of("set the host name"))
}

/// Loads what the builder has listed, dependencies before dependents. What this machine's own devices need beyond
/// it is the supervisor's to find.
fn load_modules() -> Result<(), BootError> {
    load_list("berth.load").map_err(BootError::of("read the list of modules"))
}
