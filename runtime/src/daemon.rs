//! Our own programs: PID 1 starts the supervisor, the supervisor starts the rest. No namespaces, no root.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::spawn::{Running, SpawnError};

/// A program of the node's image and what it inherits: these descriptors and nothing else.
#[derive(Clone, Debug)]
pub struct Daemon<'a> {
    /// Absolute path of the program.
    pub path: &'a Path,
    /// Its arguments, the name first.
    pub argv: &'a [String],
    /// Its whole environment, `KEY=value`.
    pub env: &'a [String],
    /// Each at its number; 0, 1 and 2 are /dev/null where not named.
    pub fds: &'a [(BorrowedFd<'a>, u8)],
    /// An existing cgroup v2 directory to be born in; the caller's own otherwise.
    pub cgroup: Option<&'a Path>,
    /// It becomes the child of the caller's parent, who then reaps it.
    pub clone_parent: bool,
    /// -1000 to 1000.
    pub oom_score_adj: i16,
}

impl Daemon<'_> {
    /// Starts it.
    ///
    /// # Errors
    /// The cgroup or a descriptor is not usable, or clone3 failed. What the child could not do (a program that is
    /// not there) arrives at [`Running::status`].
    pub fn spawn(&self) -> Result<Running, SpawnError> {
        Err(SpawnError::System { doing: "start a daemon", source: std::io::ErrorKind::Unsupported.into() })
    }
}
