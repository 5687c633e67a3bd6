//! The steps between clone3 and execve, their order, and how a failed one is reported.
//!
//! The order is the security of the runtime, so it is data: [`CONTAINER`] and [`JOIN`] are all there is, and the
//! child walks them from the first to the last. A step that has nothing to do for a spec does nothing. A failure
//! travels through the status pipe as one fixed record; a pipe that closes without one means that execve
//! succeeded, because its write end is close-on-exec.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;

/// One step of the child, named by what it sets up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Close every descriptor that the child does not need, before anything else can use one.
    CloseInherited = 1,
    /// PR_SET_DUMPABLE 0: nobody traces or opens us while descriptors of the node are open (CVE-2016-9962).
    Dumpable,
    /// Default dispositions, empty mask.
    Signals,
    /// setsid(2).
    Session,
    /// A session keyring of its own.
    Keyring,
    /// Enter the namespaces of a running container: all of them, or those that a new one shares with it.
    Join,
    /// Place of the user namespace: identity maps would be awaited here.
    UserNamespace,
    /// Standard input, output, error and extra descriptors at their numbers; the controlling terminal.
    Stdio,
    /// No mount of ours reaches the node, none of the node's reaches us.
    PrivateMounts,
    /// Remove what the last run wrote.
    EmptyUpper,
    /// A tmpfs for the upper layer, the files and an empty directory.
    Scratch,
    /// Image layers under the upper layer.
    Overlay,
    /// What volumes hold at their first use, from the image.
    Seed,
    /// /proc.
    Proc,
    /// /dev and what is in it.
    Dev,
    /// /dev/pts.
    DevPts,
    /// /dev/shm.
    Shm,
    /// /dev/mqueue.
    Mqueue,
    /// Devices of the node, in a /dev that is complete otherwise.
    Devices,
    /// /sys.
    Sys,
    /// /sys/fs/cgroup.
    CgroupMount,
    /// Files laid over the image.
    Files,
    /// The unit's mounts.
    Mounts,
    /// Secrets and configuration, over the mounts.
    Supplies,
    /// Make the working directory.
    Workdir,
    /// Loopback up.
    Loopback,
    /// Host name.
    Hostname,
    /// Sysctls, through the fresh procfs before parts of it are read-only.
    Sysctl,
    /// Paths mounted read-only over themselves.
    ReadOnlyPaths,
    /// Paths hidden.
    MaskedPaths,
    /// The root itself read-only.
    ReadOnlyRoot,
    /// pivot_root(2); the node's root is gone from here on.
    Pivot,
    /// oom_score_adj, through a procfs that nobody else can reach.
    OomScore,
    /// File mode creation mask.
    Umask,
    /// Look the user up in the root.
    User,
    /// Hand the cgroup over to that user.
    Delegate,
    /// Working directory, and proof that it is inside the root.
    Cwd,
    /// Resource limits, when nothing of ours needs more than they allow.
    Rlimits,
    /// Scheduler and nice value, when setting up is over.
    Scheduler,
    /// Priority of disk requests.
    IoPriority,
    /// Wait for the go-ahead; the end of the supervisor is the end of the child.
    Wait,
    /// Bounding set, groups, ids, capabilities.
    Credentials,
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivileges,
    /// Place of the seccomp filter: last, so that it has to allow as little as possible.
    Seccomp,
    /// Everything but the process' own descriptors is close-on-exec, whatever was opened on the way.
    CloseRest,
    /// execve(2).
    Exec,
}

/// Steps of a new container.
pub const CONTAINER: &[Step] = &[
    Step::CloseInherited,
    Step::Dumpable,
    Step::Signals,
    Step::Session,
    Step::Keyring,
    Step::Join,
    Step::UserNamespace,
    Step::Stdio,
    Step::PrivateMounts,
    Step::EmptyUpper,
    Step::Scratch,
    Step::Overlay,
    Step::Seed,
    Step::Proc,
    Step::Dev,
    Step::DevPts,
    Step::Shm,
    Step::Mqueue,
    Step::Devices,
    Step::Sys,
    Step::CgroupMount,
    Step::Files,
    Step::Mounts,
    Step::Supplies,
    Step::Workdir,
    Step::Loopback,
    Step::Hostname,
    Step::Sysctl,
    Step::ReadOnlyPaths,
    Step::MaskedPaths,
    Step::ReadOnlyRoot,
    Step::OomScore,
    Step::Pivot,
    Step::Umask,
    Step::User,
    Step::Delegate,
    Step::Cwd,
    Step::Rlimits,
    Step::Scheduler,
    Step::IoPriority,
    Step::Wait,
    Step::Credentials,
    Step::NoNewPrivileges,
    Step::Seccomp,
    Step::CloseRest,
    Step::Exec,
];

/// Steps of a process that joins a running container.
pub const JOIN: &[Step] = &[
    Step::CloseInherited,
    Step::Dumpable,
    Step::Signals,
    Step::Session,
    Step::Keyring,
    Step::Join,
    Step::Stdio,
    Step::OomScore,
    Step::Umask,
    Step::User,
    Step::Cwd,
    Step::Rlimits,
    Step::Scheduler,
    Step::IoPriority,
    Step::Wait,
    Step::Credentials,
    Step::NoNewPrivileges,
    Step::Seccomp,
    Step::CloseRest,
    Step::Exec,
];

/// Steps of a program of our own.
pub const DAEMON: &[Step] = &[
    Step::CloseInherited,
    Step::Signals,
    Step::Session,
    Step::Stdio,
    Step::OomScore,
    Step::Umask,
    Step::CloseRest,
    Step::Exec,
];

impl Step {
    fn from_byte(byte: u8) -> Option<Self> {
        CONTAINER.iter().chain(JOIN).copied().find(|step| *step as u8 == byte)
    }

    /// What cannot be done when it fails, as the words after "cannot".
    fn words(self) -> &'static str {
        match self {
            Self::CloseInherited => "close inherited descriptors",
            Self::Dumpable => "become undumpable",
            Self::Signals => "reset signals",
            Self::Session => "start a session",
            Self::Keyring => "join a new session keyring",
            Self::Join => "join the container",
            Self::UserNamespace => "set up the user namespace",
            Self::Stdio => "place descriptor",
            Self::PrivateMounts => "make mounts private",
            Self::EmptyUpper => "empty the upper layer",
            Self::Scratch => "set up the scratch tmpfs",
            Self::Overlay => "assemble the root from layers",
            Self::Seed => "fill volume",
            Self::Proc
            | Self::Dev
            | Self::DevPts
            | Self::Shm
            | Self::Mqueue
            | Self::Sys
            | Self::CgroupMount => "mount",
            Self::Devices => "make device",
            Self::Files => "lay file over",
            Self::Mounts => "mount",
            Self::Supplies => "lay file over",
            Self::Workdir => "make working directory",
            Self::Loopback => "bring up loopback",
            Self::Hostname => "set host name",
            Self::Sysctl => "set sysctl",
            Self::ReadOnlyPaths => "make read-only",
            Self::MaskedPaths => "mask",
            Self::ReadOnlyRoot => "make the root read-only",
            Self::Pivot => "pivot into the root",
            Self::OomScore => "set oom_score_adj",
            Self::Rlimits => "set resource limit",
            Self::Umask => "set umask",
            Self::User => "look up user or group",
            Self::Delegate => "hand over",
            Self::Cwd => "enter working directory",
            Self::Scheduler => "set the scheduler",
            Self::IoPriority => "set the priority of disk requests",
            Self::Wait => "wait for the go-ahead",
            Self::Credentials => "set credentials",
            Self::NoNewPrivileges => "set no_new_privs",
            Self::Seccomp => "install the seccomp filter",
            Self::CloseRest => "mark descriptors close-on-exec",
            Self::Exec => "execute",
        }
    }
}

/// Bytes of a record; below PIPE_BUF, so that it arrives whole.
pub(crate) const RECORD_LEN: usize = 256;
const SUBJECT_AT: usize = 8;

/// The record of a failed step: step, index, errno, subject padded with zeros. The subject is cut, never the rest.
pub(crate) fn encode(step: Step, index: u16, errno: i32, subject: &[u8]) -> [u8; RECORD_LEN] {
    let mut record = [0; RECORD_LEN];
    let [index_low, index_high] = index.to_le_bytes();
    let [e0, e1, e2, e3] = errno.to_le_bytes();
    let head = [step as u8, 0, index_low, index_high, e0, e1, e2, e3];
    for (to, from) in record.iter_mut().zip(head.iter().chain(subject.iter().take(RECORD_LEN - SUBJECT_AT))) {
        *to = *from;
    }
    record
}

fn decode(record: &[u8; RECORD_LEN]) -> Option<StepError> {
    let (&[step, _, i0, i1, e0, e1, e2, e3], subject) = record.split_first_chunk::<SUBJECT_AT>()?;
    let end = subject.iter().position(|byte| *byte == 0).unwrap_or(subject.len());
    Some(StepError {
        step: Step::from_byte(step)?,
        index: u16::from_le_bytes([i0, i1]),
        errno: i32::from_le_bytes([e0, e1, e2, e3]),
        subject: String::from_utf8_lossy(subject.get(..end)?).into_owned(),
    })
}

/// A step that failed; the child has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError {
    /// Which step.
    pub step: Step,
    /// Which one of several, from 0.
    pub index: u16,
    /// Why; errno(3).
    pub errno: i32,
    /// Path or name that the step was about, maybe empty.
    pub subject: String,
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.step.words())?;
        if !self.subject.is_empty() {
            write!(f, " '{}'", self.subject.escape_debug())?;
        }
        if (self.step, Errno::from_raw(self.errno)) == (Step::User, Errno::ENOENT) {
            return write!(f, ": the image's /etc/passwd or /etc/group has none of that name");
        }
        let reason = io::Error::from_raw_os_error(self.errno).to_string();
        let reason = reason.split(" (os error").next().unwrap_or(&reason);
        write!(f, ": {reason}")
    }
}

impl std::error::Error for StepError {}

/// What a status pipe says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing yet.
    Pending,
    /// execve succeeded (or the child was killed before: its exit status tells).
    Executed,
    /// A step failed; the child has ended or is about to.
    Failed(StepError),
}

/// Reads a status pipe once, without blocking; [`crate::Running::status`] is readable when it is worth it.
///
/// # Errors
/// read(2), or a record that is none.
pub fn read_status(status: impl AsFd) -> io::Result<Status> {
    let mut record = [0; RECORD_LEN];
    match rustix::io::read(status, &mut record) {
        Ok(0) => Ok(Status::Executed),
        Ok(RECORD_LEN) => {
            decode(&record).map(Status::Failed).ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Status::Pending),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_long_subjects_are_cut() {
        let long = "x".repeat(400);
        for (subject, expect) in [("/proc", "/proc"), ("", ""), (long.as_str(), &long[..248])] {
            let error = decode(&encode(Step::Proc, 3, 13, subject.as_bytes())).unwrap();
            assert_eq!(
                error,
                StepError { step: Step::Proc, index: 3, errno: 13, subject: expect.to_owned() }
            );
        }
        assert_eq!(decode(&[0; RECORD_LEN]), None);
        assert_eq!(decode(&[0xff; RECORD_LEN]), None);
    }

    #[test]
    fn errors_name_step_subject_and_reason() {
        let say = |step, errno, subject: &str| {
            StepError { step, index: 0, errno, subject: subject.to_owned() }.to_string()
        };
        assert_eq!(say(Step::Proc, 1, "/proc"), "cannot mount '/proc': Operation not permitted");
        assert_eq!(say(Step::Exec, 2, "sh"), "cannot execute 'sh': No such file or directory");
        assert_eq!(say(Step::Pivot, 22, ""), "cannot pivot into the root: Invalid argument");
    }

    #[test]
    fn every_order_keeps_the_rules() {
        for order in [CONTAINER, JOIN, DAEMON] {
            let at = |step| order.iter().position(|s| *s == step);
            assert_eq!(at(Step::CloseInherited), Some(0));
            assert_eq!(at(Step::Exec), Some(order.len() - 1));
            for (n, step) in order.iter().enumerate() {
                assert!(!order[..n].contains(step), "{step:?} twice");
            }
        }
        let before = |a, b| {
            let at = |step| CONTAINER.iter().position(|s| *s == step).unwrap();
            assert!(at(a) < at(b), "{a:?} must come before {b:?}");
        };
        // What is mounted shows the network and the IPC of whoever mounts it.
        before(Step::Join, Step::Mqueue);
        before(Step::Join, Step::Sys);
        before(Step::PrivateMounts, Step::Scratch);
        before(Step::Dev, Step::Devices);
        before(Step::Devices, Step::Mounts);
        before(Step::Mounts, Step::MaskedPaths);
        before(Step::Seed, Step::Mounts);
        before(Step::Sysctl, Step::ReadOnlyPaths);
        before(Step::MaskedPaths, Step::Pivot);
        before(Step::Workdir, Step::ReadOnlyRoot);
        // They take rights that the process may not have.
        before(Step::Scheduler, Step::Credentials);
        before(Step::IoPriority, Step::Credentials);
        before(Step::User, Step::Delegate);
        before(Step::Delegate, Step::Credentials);
        before(Step::Credentials, Step::NoNewPrivileges);
        before(Step::NoNewPrivileges, Step::Seccomp);
        before(Step::Seccomp, Step::Exec);
    }
}
