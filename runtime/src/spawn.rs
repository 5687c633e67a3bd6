//! A new container: from a [`Spec`] to a process that waits for the go-ahead, and then runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::child;
use crate::plan::container::open_cgroup;
use crate::plan::{Role, plan, system};
use crate::spec::{Network, Spec};
use crate::sys::clone::{Birth, Namespaces, clone3};
use crate::sys::namespace::network_of;

/// Descriptors that a process starts with; they stay the caller's.
#[derive(Clone, Debug)]
pub struct Stdio<'a> {
    /// Descriptor 0.
    pub stdin: BorrowedFd<'a>,
    /// Descriptor 1.
    pub stdout: BorrowedFd<'a>,
    /// Descriptor 2.
    pub stderr: BorrowedFd<'a>,
    /// More, each at its number (3 or above).
    pub extra: Vec<(BorrowedFd<'a>, u8)>,
}

/// Why no process was made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The spec says something that cannot be.
    #[error("{what} '{value}' cannot be: {reason}")]
    Invalid {
        /// Which field.
        what: &'static str,
        /// What it says.
        value: String,
        /// What it has to be.
        reason: &'static str,
    },
    /// Something that the spec names cannot be opened or set up.
    #[error("cannot {doing} '{path}'")]
    Open {
        /// What was to be done.
        doing: &'static str,
        /// With what.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A system call failed.
    #[error("cannot {doing}")]
    System {
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// A process that has been made and waits; dropping this ends it.
#[derive(Debug)]
pub struct Held {
    /// Its id in the caller's PID namespace.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// Its network namespace when it has its own (and has not ended already).
    pub netns: Option<OwnedFd>,
    /// The file system that its supplies are in, to be kept for [`crate::resupply`].
    pub scratch: Option<OwnedFd>,
    /// As [`Running::status`]: a failure may be known before the release.
    pub status: OwnedFd,
    go: OwnedFd,
}

impl Held {
    /// Lets it go on to execve. The caller ignores SIGPIPE, as every Rust program does from its start.
    ///
    /// # Errors
    /// write(2); a child that has ended meanwhile is no error here, its status pipe tells why.
    pub fn release(self) -> io::Result<Running> {
        let Self { pid, pidfd, status, go, .. } = self;
        match rustix::io::retry_on_intr(|| rustix::io::write(&go, b"g")) {
            Ok(_) | Err(Errno::PIPE) => Ok(Running { pid, pidfd, status }),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A process on its way through execve and beyond.
#[derive(Debug)]
pub struct Running {
    /// Its id in the caller's PID namespace.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// Readable once execve succeeded or a step failed; non-blocking. See [`crate::read_status`].
    pub status: OwnedFd,
}

/// Makes the process of `spec` and leaves it waiting.
///
/// # Errors
/// What the caller's side could not do. What the child could not do arrives at [`Held::status`].
pub fn spawn(spec: &Spec, stdio: &Stdio<'_>) -> Result<Held, SpawnError> {
    let cgroup = open_cgroup(&spec.cgroup)?;
    let (plan, mut work, ends) = plan(Role::Container(spec), &spec.process, stdio)?;
    let namespaces = match spec.network {
        Network::Private => Namespaces::ContainerAndNetwork,
        Network::Host | Network::Join(_) => Namespaces::Container,
    };
    let scratch = plan.root.as_ref().filter(|root| !root.supplies.is_empty());
    let scratch = scratch.map(|root| root.scratch.try_clone()).transpose();
    let scratch = scratch.map_err(system("copy a descriptor"))?;
    let birth = Birth { namespaces, clone_parent: spec.clone_parent, cgroup: Some(cgroup.as_fd()) };
    let (pid, pidfd) =
        clone3(&birth, || child::run(&plan, &mut work)).map_err(system("clone a container"))?;
    let netns = match spec.network {
        Network::Private => match network_of(pidfd.as_fd()) {
            // It has ended already; the status pipe tells why.
            Err(Errno::SRCH) => None,
            result => Some(result.map_err(system("open the network namespace"))?),
        },
        Network::Host | Network::Join(_) => None,
    };
    let go = ends.go.ok_or_else(|| system("make a pipe")(io::Error::from(io::ErrorKind::BrokenPipe)))?;
    Ok(Held { pid, pidfd, netns, scratch, status: ends.status, go })
}
