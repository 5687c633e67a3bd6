//! The child between clone3 and execve: walks the steps of its plan.
//!
//! It is a copy of a process whose other threads are not there, so it allocates nothing, takes no lock and cannot
//! panic: everything that it needs was made before, in the [`Plan`]. It ends by execve, or by a record on the status
//! pipe and _exit.

mod api;
mod clear;
mod process;
mod root;
mod seed;
mod system;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::plan::{Plan, RootPlan, Work};
use crate::step::{self, Step};

/// Why a step failed, and about what.
#[derive(Clone, Copy, Debug)]
struct Fault<'p> {
    errno: Errno,
    index: u16,
    subject: &'p [u8],
}

impl From<Errno> for Fault<'_> {
    fn from(errno: Errno) -> Self {
        Self { errno, index: 0, subject: b"" }
    }
}

/// Says which one of several, and its name.
fn about<'p>(index: usize, subject: &'p CStr) -> impl Fn(Errno) -> Fault<'p> {
    move |errno| Fault { errno, index: u16::try_from(index).unwrap_or(u16::MAX), subject: subject.to_bytes() }
}

/// What the steps hand on to each other.
struct Child<'p> {
    plan: &'p Plan,
    work: &'p mut Work,
    /// The container's root, attached and not yet pivoted into.
    root: Option<OwnedFd>,
    /// The tmpfs that the container does not see as a whole.
    scratch: Option<BorrowedFd<'p>>,
    /// The container's /proc.
    proc: Option<OwnedFd>,
    /// The container's /dev.
    dev: Option<OwnedFd>,
}

/// Walks the steps; comes back only when one failed, after it has been reported.
pub(crate) fn run(plan: &Plan, work: &mut Work) {
    // Modes below are meant as they are written; the process gets its own mask in its own step.
    rustix::process::umask(Mode::empty());
    let mut child = Child { plan, work, root: None, scratch: None, proc: None, dev: None };
    for &step in plan.steps {
        if let Err(fault) = child.take(step) {
            child.report(step, &fault);
            break;
        }
    }
}

impl<'p> Child<'p> {
    fn report(&self, step: Step, fault: &Fault<'_>) {
        let record = step::encode(step, fault.index, fault.errno.raw_os_error(), fault.subject);
        // Nobody is left to be told when even this fails.
        let _ignored = rustix::io::write(&self.plan.status, &record);
    }

    fn take(&mut self, step: Step) -> Result<(), Fault<'p>> {
        match step {
            Step::CloseInherited => self.close_inherited(),
            Step::Dumpable => self.become_undumpable(),
            Step::Signals => self.reset_signals(),
            Step::Session => self.start_session(),
            Step::Keyring => self.join_keyring(),
            Step::Join => self.join_namespaces(),
            Step::UserNamespace | Step::Seccomp => Ok(()),
            Step::Stdio => self.place_descriptors(),
            Step::OomScore => self.set_oom_score(),
            Step::Rlimits => self.set_rlimits(),
            Step::Umask => self.set_umask(),
            Step::User => self.look_up_user(),
            Step::Cwd => self.enter_cwd(),
            Step::Scheduler => self.set_scheduler(),
            Step::IoPriority => self.set_io_priority(),
            Step::Wait => self.wait(),
            Step::Credentials => self.set_credentials(),
            Step::NoNewPrivileges => self.set_no_new_privileges(),
            Step::CloseRest => self.close_rest(),
            Step::Exec => self.execute(),
            _ => self.take_in_root(step),
        }
    }

    /// The steps that only a new root has.
    fn take_in_root(&mut self, step: Step) -> Result<(), Fault<'p>> {
        let plan = self.plan;
        let Some(root) = plan.root.as_ref() else { return Ok(()) };
        match step {
            Step::PrivateMounts => self.make_mounts_private(),
            Step::EmptyUpper => self.empty_upper(root),
            Step::Scratch => self.mount_scratch(root),
            Step::Overlay => self.mount_overlay(root),
            Step::Seed => self.seed_volumes(root),
            Step::Proc => self.mount_proc(),
            Step::Dev => self.mount_dev(root),
            Step::DevPts => self.mount_devpts(),
            Step::Shm => self.mount_shm(root),
            Step::Mqueue => self.mount_mqueue(),
            Step::Devices => self.make_devices(root),
            Step::Sys => self.mount_sys(root),
            Step::CgroupMount => self.mount_cgroup(root),
            Step::Files => self.lay_files(root),
            Step::Mounts => self.mount_user_mounts(root),
            Step::Supplies => self.lay_supplies(root),
            Step::Workdir => self.make_workdir(root),
            Step::Loopback => self.bring_up_loopback(root),
            Step::Hostname => self.set_hostname(root),
            Step::Sysctl => self.set_sysctls(root),
            Step::ReadOnlyPaths => self.make_paths_read_only(root),
            Step::MaskedPaths => self.mask_paths(root),
            Step::ReadOnlyRoot => self.make_root_read_only(root),
            Step::Pivot => self.pivot(),
            Step::Delegate => self.hand_over_cgroup(root),
            _ => Err(Errno::NOSYS.into()),
        }
    }
}

/// The kernel's answer when a step's forerunner has not left what it needs: cannot be while the order holds.
fn need<F>(fd: Option<&F>) -> Result<&F, Errno> {
    fd.ok_or(Errno::BADF)
}

/// Removes `name` below `dir` with everything in it, however deep and wide it is; absent is done.
///
/// # Errors
/// unlinkat(2), openat(2), renameat2(2).
pub fn remove_all(dir: impl AsFd, name: &CStr) -> Result<(), Errno> {
    clear::remove_all(dir.as_fd(), name)
}

type Outcome<'p> = Result<(), Fault<'p>>;
type RootRef<'p> = &'p RootPlan;
