//! One more process in a running container.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FsWord, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::OpenptFlags;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use serde::{Deserialize, Serialize};

use crate::child;
use crate::plan::container::open_cgroup;
use crate::plan::{Role, invalid, open, plan, system};
use crate::resolve::open_below;
use crate::spawn::{Running, SpawnError, Stdio};
use crate::spec::Process;
use crate::sys::clone::{Birth, Namespaces, clone3};

/// Which container, and what to run in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The container's first process, in the caller's PID namespace.
    pub pid: i32,
    /// Its start time ([`start_time`]): a pid that was given to somebody else meanwhile is refused.
    pub start_time: u64,
    /// The unit's cgroup v2 directory.
    pub cgroup: PathBuf,
    /// The process becomes the child of the caller's parent, who then reaps it.
    #[serde(default)]
    pub clone_parent: bool,
    /// What to run. With `terminal`, standard input is a terminal, best one of [`crate::open_pty`].
    pub process: Process,
}

/// Start time of a process in clock ticks since boot: field 22 of /proc/PID/stat (proc(5)).
///
/// # Errors
/// There is no such process, or its stat is not as documented.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the command in parentheses and may hold anything, so count from the last one.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace());
    let field = fields.and_then(|mut fields| fields.nth(19));
    field.and_then(|field| field.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The cgroup of a process if it lies below `unit`, the group of its unit, else that one: who has groups of his own may
/// have left the upper one, which takes no process then (cgroups(7), "no internal processes").
pub fn cgroup_of(pid: i32, unit: &Path) -> PathBuf {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Some(Path::new("/sys/fs/cgroup").join(path))
        .filter(|group| group.starts_with(unit))
        .unwrap_or(unit.to_owned())
}

/// Runs a process in a container. It has been let go already.
///
/// # Errors
/// The container is gone, or the caller's side could not do its part. What the child could not do arrives at
/// [`Running::status`].
pub fn exec(target: &ExecSpec, stdio: &Stdio<'_>) -> Result<Running, SpawnError> {
    let pidfd = open_process(target.pid, target.start_time)?;
    let cgroup = open_cgroup(&cgroup_of(target.pid, &target.cgroup))?;
    let joined = pidfd.try_clone().map_err(system("copy a descriptor"))?;
    let (plan, mut work, ends) = plan(Role::Join(joined), &target.process, stdio)?;
    let birth = Birth {
        namespaces: Namespaces::Shared,
        clone_parent: target.clone_parent,
        cgroup: Some(cgroup.as_fd()),
    };
    let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).map_err(system("open oneself"))?;
    // A process never changes its own PID namespace, only that of children to come: the child is born inside.
    enter_pid_namespace(pidfd.as_fd())?;
    let born = clone3(&birth, || child::run(&plan, &mut work));
    enter_pid_namespace(own.as_fd())?;
    let (pid, pidfd) = born.map_err(system("clone into the container"))?;
    Ok(Running { pid, pidfd, status: ends.status })
}

fn enter_pid_namespace(pidfd: BorrowedFd<'_>) -> Result<(), SpawnError> {
    let kind = ThreadNameSpaceType::PROCESS_ID;
    move_into_thread_name_spaces(pidfd, kind).map_err(system("enter the container's PID namespace"))
}

/// The process of that number and start time, or an error when its pid is somebody else's by now.
pub(crate) fn open_process(number: i32, started: u64) -> Result<OwnedFd, SpawnError> {
    let gone = || invalid("pid", number, "the container is gone");
    let pid = Pid::from_raw(number).filter(|_| number > 0).ok_or_else(gone)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    check_start_time(number, started)?;
    Ok(pidfd)
}

fn check_start_time(pid: i32, started: u64) -> Result<(), SpawnError> {
    match start_time(pid) {
        Ok(time) if time == started => Ok(()),
        _ => Err(invalid("pid", pid, "the container is gone")),
    }
}

/// Both ends of a terminal of the container's own devpts.
#[derive(Debug)]
pub struct Pty {
    /// The end that shows and types.
    pub master: OwnedFd,
    /// The end that is the process' standard input, output and error.
    pub terminal: OwnedFd,
}

/// Makes a terminal in a container's devpts, so that /dev/pts/N and ttyname(3) exist there.
///
/// The container may have put anything at that path, so the master is opened without following links and has to be
/// the multiplexer of a devpts; the other end comes from the master itself, by TIOCGPTPEER, never by a path
/// (CVE-2025-52565).
///
/// # Errors
/// The container is gone, or its /dev/pts is no devpts.
pub fn open_pty(target: &ExecSpec) -> Result<Pty, SpawnError> {
    let root = PathBuf::from(format!("/proc/{}/root", target.pid));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = openat(CWD, &root, flags, Mode::empty()).map_err(open("open", &root))?;
    // After the look-up by pid: what was opened is the container's as long as the pid still is.
    check_start_time(target.pid, target.start_time)?;
    let path = Path::new("/dev/pts/ptmx");
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = open_below(&top, c"/dev/pts/ptmx", OFlags::PATH, resolve)
        .map_err(open("open the container's", path))?;
    if !is_multiplexer(&found).map_err(open("examine the container's", path))? {
        return Err(invalid("terminal", path.display(), "it is the multiplexer of a devpts"));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty())
        .map_err(open("open the container's", path))?;
    rustix::pty::unlockpt(&master).map_err(system("unlock a terminal"))?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(system("open a terminal"))?;
    Ok(Pty { master, terminal })
}

/// Character device 5:2 in a devpts.
fn is_multiplexer(fd: &OwnedFd) -> Result<bool, rustix::io::Errno> {
    const DEVPTS_SUPER_MAGIC: FsWord = 0x1cd1;
    let stat = fstat(fd)?;
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let in_devpts = fstatfs(fd)?.f_type == DEVPTS_SUPER_MAGIC;
    Ok(in_devpts && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && device == (5, 2))
}
