//! From a [`Spec`] to what the child needs, in the form in which the kernel wants it.
//!
//! Everything that can be refused is refused here, before there is a process. What is opened here stays open only
//! in the child.

pub(crate) mod container;
mod devices;
mod mounts;
mod process;
mod scheduling;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::{Dev, FileType, Gid, Mode, Uid};
use rustix::mount::MountAttrFlags;
use rustix::process::{Resource, Rlimit};
use rustix::thread::ThreadNameSpaceType;

use crate::exec::open_process;
use crate::resolve::{Kind, Target};
use crate::spawn::{SpawnError, Stdio};
use crate::spec::{Network, Peer, Process, Spec};
use crate::step::{self, Step};
use crate::sys::strings::Strings;
use crate::user::{FILE_MAX, Identity};

/// What the child reads.
pub(crate) struct Plan {
    pub(crate) steps: &'static [Step],
    /// Every descriptor that the child starts with, sorted.
    pub(crate) keep: Vec<RawFd>,
    /// The process' descriptors and the numbers that they get.
    pub(crate) placed: Vec<(OwnedFd, RawFd)>,
    /// Those numbers, sorted.
    pub(crate) numbers: Vec<RawFd>,
    pub(crate) terminal: bool,
    pub(crate) status: OwnedFd,
    /// Where the go-ahead comes from; none where nothing is awaited.
    pub(crate) go: Option<OwnedFd>,
    /// The process whose namespaces are joined, and which of them.
    pub(crate) join: Option<(OwnedFd, ThreadNameSpaceType)>,
    pub(crate) root: Option<RootPlan>,
    /// What becomes the first process in place of the program.
    pub(crate) reaper: Option<ReaperPlan>,
    pub(crate) process: ProcessPlan,
    pub(crate) procfs: Procfs,
    pub(crate) oom_score_adj: CString,
}

/// What the child writes: room made in advance.
pub(crate) struct Work {
    pub(crate) env: Strings,
    pub(crate) passwd: Vec<u8>,
    pub(crate) group: Vec<u8>,
    pub(crate) identity: Identity,
}

/// Which procfs is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Procfs {
    /// The node's /proc.
    Node,
    /// The one that the child has just mounted.
    Container,
    /// One that is made for the occasion.
    Private,
}

/// A new root.
pub(crate) struct RootPlan {
    /// The uppermost first.
    pub(crate) layers: Vec<CString>,
    pub(crate) upper: Upper,
    /// The tmpfs that the container does not see as a whole, mounted nowhere yet.
    pub(crate) scratch: OwnedFd,
    pub(crate) read_only: bool,
    pub(crate) shared: bool,
    pub(crate) privileged: bool,
    pub(crate) delegate: bool,
    pub(crate) shm_size: CString,
    pub(crate) seeds: Vec<SeedPlan>,
    pub(crate) devices: Vec<DevicePlan>,
    pub(crate) files: Vec<FilePlan>,
    pub(crate) supplies: Vec<SupplyPlan>,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) workdir: Target,
    pub(crate) loopback: bool,
    /// None where it has that of another container.
    pub(crate) hostname: Option<CString>,
    pub(crate) sysctl: Vec<SysctlPlan>,
    pub(crate) readonly_paths: Vec<CString>,
    pub(crate) masked_paths: Vec<CString>,
}

/// A program of the node that reaps and passes signals on.
pub(crate) struct ReaperPlan {
    pub(crate) program: OwnedFd,
    pub(crate) argv: Strings,
    /// Nothing.
    pub(crate) env: Strings,
}

/// Where the overlay's writes go.
pub(crate) enum Upper {
    /// The scratch tmpfs.
    Scratch,
    /// Directories of the node.
    Disk { dir: CString, upper: CString, work: CString, keep: Option<CString> },
}

pub(crate) struct SeedPlan {
    pub(crate) volume: OwnedFd,
    /// Path of the volume, for messages.
    pub(crate) name: CString,
    pub(crate) from: SeedPlanFrom,
    pub(crate) own: bool,
}

pub(crate) enum SeedPlanFrom {
    Nothing,
    Root(Target),
    Image(ImagePlan),
}

/// Another image.
pub(crate) struct ImagePlan {
    /// The uppermost first.
    pub(crate) layers: Vec<CString>,
    /// Directory of the scratch tmpfs that it is mounted on.
    pub(crate) place: CString,
}

pub(crate) struct DevicePlan {
    /// As the unit writes it.
    pub(crate) target: CString,
    /// The same below /dev.
    pub(crate) place: Target,
    pub(crate) kind: FileType,
    pub(crate) number: Dev,
    pub(crate) mode: Mode,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

pub(crate) struct FilePlan {
    pub(crate) target: Target,
    /// Path in the scratch tmpfs.
    pub(crate) name: CString,
    pub(crate) contents: Vec<u8>,
}

pub(crate) struct SupplyPlan {
    pub(crate) file: FilePlan,
    pub(crate) mode: Mode,
    pub(crate) uid: Option<Uid>,
    pub(crate) gid: Option<Gid>,
}

pub(crate) struct MountPlan {
    pub(crate) target: Target,
    pub(crate) source: Source,
    pub(crate) attributes: MountAttrFlags,
    /// Its root is given to the process' user.
    pub(crate) own: bool,
}

pub(crate) enum Source {
    /// A detached tree, attributes already set.
    Tree(OwnedFd, Kind),
    Tmpfs {
        size: CString,
        mode: CString,
        /// With what the image has there.
        filled: bool,
    },
    Image(ImagePlan, Option<Target>),
}

pub(crate) struct SysctlPlan {
    /// As the unit writes it.
    pub(crate) name: CString,
    /// Below /proc.
    pub(crate) path: CString,
    pub(crate) value: CString,
}

pub(crate) struct ProcessPlan {
    /// argv[0] as it was given.
    pub(crate) name: CString,
    /// Where the program may be, in order.
    pub(crate) candidates: Vec<CString>,
    pub(crate) argv: Strings,
    pub(crate) umask: Mode,
    pub(crate) rlimits: Vec<RlimitPlan>,
    /// For sched_setattr(2).
    pub(crate) scheduling: libc::sched_attr,
    /// Class and level, ioprio_set(2).
    pub(crate) io_priority: Option<u16>,
    pub(crate) user: CString,
    pub(crate) groups: Vec<CString>,
    pub(crate) cwd: CString,
    pub(crate) capabilities: u64,
    pub(crate) ambient: bool,
    pub(crate) no_new_privileges: bool,
}

pub(crate) struct RlimitPlan {
    pub(crate) name: CString,
    pub(crate) resource: Resource,
    pub(crate) value: Rlimit,
}

/// The caller's ends of a child's pipes.
pub(crate) struct Ends {
    pub(crate) status: OwnedFd,
    pub(crate) go: Option<OwnedFd>,
}

/// Which kind of child.
pub(crate) enum Role<'a> {
    Container(&'a Spec),
    Join(OwnedFd),
    Daemon,
}

/// Everything for a child, and the caller's ends.
pub(crate) fn plan(
    role: Role<'_>,
    process: &Process,
    stdio: &Stdio<'_>,
) -> Result<(Plan, Work, Ends), SpawnError> {
    let mut lifted = Lifted::above(stdio)?;
    let placed = lifted.place(stdio)?;
    let (status_read, status) = pipe()?;
    rustix::fs::fcntl_setfl(&status_read, rustix::fs::OFlags::NONBLOCK)
        .map_err(system("make the status pipe non-blocking"))?;
    let mut numbers: Vec<_> = placed.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    let mut ends = Ends { status: status_read, go: None };
    let mut plan = Plan {
        steps: step::DAEMON,
        keep: Vec::new(),
        placed,
        numbers,
        terminal: process.terminal,
        status: lifted.lift(status)?,
        go: None,
        join: None,
        root: None,
        reaper: None,
        procfs: Procfs::Node,
        oom_score_adj: process::oom_score_adj(process)?,
        process: process::plan(process)?,
    };
    match role {
        Role::Container(spec) => {
            let (go_read, go) = pipe()?;
            plan.go = Some(lifted.lift(go_read)?);
            ends.go = Some(go);
            if let Network::Join(peer) = &spec.network {
                let pidfd = open_process(peer.pid, peer.start_time)?;
                plan.join = Some((lifted.lift(pidfd)?, shared_with(peer)));
            }
            plan.root = Some(container::plan(spec, &mut lifted)?);
            plan.reaper = container::reaper(spec, &mut lifted)?;
            plan.procfs = Procfs::Container;
            plan.steps = step::CONTAINER;
        }
        Role::Join(pidfd) => {
            plan.join = Some((lifted.lift(pidfd)?, CONTAINER_NAMESPACES));
            plan.procfs = Procfs::Private;
            plan.steps = step::JOIN;
        }
        Role::Daemon => {}
    }
    plan.keep = lifted.numbers();
    let work = process::work(process, plan.steps.contains(&Step::User).then_some(FILE_MAX))?;
    Ok((plan, work, ends))
}

/// What a process in a running container shares with it. Not the PID namespace: that is a matter of birth, see
/// [`crate::exec`].
const CONTAINER_NAMESPACES: ThreadNameSpaceType =
    ThreadNameSpaceType::MOUNT.union(POD_NAMESPACES).union(ThreadNameSpaceType::CONTROL_GROUP);

/// What containers of a pod share with each other.
const POD_NAMESPACES: ThreadNameSpaceType = ThreadNameSpaceType::NETWORK
    .union(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
    .union(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME);

fn shared_with(peer: &Peer) -> ThreadNameSpaceType {
    if peer.pod { POD_NAMESPACES } else { ThreadNameSpaceType::NETWORK }
}

/// Descriptors for the child, all above the numbers that it hands out, so that placing one never closes another.
pub(crate) struct Lifted {
    base: RawFd,
    numbers: Vec<RawFd>,
}

impl Lifted {
    fn above(stdio: &Stdio<'_>) -> Result<Self, SpawnError> {
        let mut numbers: Vec<_> = stdio.extra.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        let twice = numbers.windows(2).find(|pair| pair.first() == pair.get(1)).and_then(|pair| pair.first());
        if let Some(number) = numbers.first().filter(|number| **number < 3).or(twice) {
            let reason = "an extra descriptor is 3 or above and given once";
            return Err(SpawnError::Invalid { what: "descriptor", value: number.to_string(), reason });
        }
        let highest = numbers.last().copied().unwrap_or(2);
        Ok(Self { base: RawFd::from(highest) + 1, numbers: Vec::new() })
    }

    fn place(&mut self, stdio: &Stdio<'_>) -> Result<Vec<(OwnedFd, RawFd)>, SpawnError> {
        let standard = [(stdio.stdin, 0), (stdio.stdout, 1), (stdio.stderr, 2)];
        let all = standard.into_iter().chain(stdio.extra.iter().copied());
        all.map(|(fd, number)| Ok((self.lift(fd)?, RawFd::from(number)))).collect()
    }

    pub(crate) fn lift(&mut self, fd: impl AsFd) -> Result<OwnedFd, SpawnError> {
        let fd = rustix::io::fcntl_dupfd_cloexec(fd, self.base).map_err(system("copy a descriptor"))?;
        self.numbers.push(fd.as_raw_fd());
        Ok(fd)
    }

    fn numbers(mut self) -> Vec<RawFd> {
        self.numbers.sort_unstable();
        self.numbers
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), SpawnError> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(system("make a pipe"))
}

/// Names a failed system call.
pub(crate) fn system<E: Into<io::Error>>(doing: &'static str) -> impl Fn(E) -> SpawnError {
    move |error| SpawnError::System { doing, source: error.into() }
}

/// Names what cannot be opened.
pub(crate) fn open<E: Into<io::Error>>(
    doing: &'static str,
    path: &std::path::Path,
) -> impl Fn(E) -> SpawnError {
    move |error| SpawnError::Open { doing, path: path.display().to_string(), source: error.into() }
}

/// A string for the kernel.
pub(crate) fn c_string(what: &'static str, value: impl AsRef<[u8]>) -> Result<CString, SpawnError> {
    let bytes = value.as_ref();
    CString::new(bytes).map_err(|_| {
        let value = String::from_utf8_lossy(bytes).into_owned();
        SpawnError::Invalid { what, value, reason: "it holds a NUL" }
    })
}

/// Refuses a value of the spec.
pub(crate) fn invalid(what: &'static str, value: impl ToString, reason: &'static str) -> SpawnError {
    SpawnError::Invalid { what, value: value.to_string(), reason }
}

#[cfg(test)]
mod tests;
