//! How the supervisor starts programs of our own: PID 1's children like the containers, saying what they have to say
//! to the kernel's log.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use berth_runtime::cgroup::CgroupError;
use berth_runtime::{Cgroup, Daemon, Running, SpawnError};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Serialize;

/// Processes that a node needs are the last to be killed for memory.
pub const NEEDED: i16 = -900;
/// Processes that serve one request, or that only help.
pub const ORDINARY: i16 = 0;

/// Starts the program `words[0]` with these descriptors, each at its number from 3 on, in a cgroup or in ours.
pub fn start(
    words: &[&str],
    fds: &[(BorrowedFd<'_>, u8)],
    cgroup: Option<&Path>,
    oom_score_adj: i16,
) -> Result<Running, SpawnError> {
    let argv: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    let stderr = io::stderr();
    let inherited: Vec<_> = [(stderr.as_fd(), 2)].into_iter().chain(fds.iter().copied()).collect();
    let daemon = Daemon {
        path: Path::new(words.first().copied().unwrap_or_default()),
        argv: &argv,
        env: &[],
        fds: &inherited,
        cgroup,
        clone_parent: true,
        oom_score_adj,
    };
    daemon.spawn()
}

/// The group of processes that come and go. An empty one is made anew: one that was ever killed would kill all who are
/// born into it (see [`Cgroup::renew`]).
pub fn shared_group(path: &Path) -> Result<Cgroup, CgroupError> {
    match Cgroup::at(path).populated() {
        Ok(true) => Ok(Cgroup::at(path)),
        _ => Cgroup::renew(path),
    }
}

/// A file in RAM with a value as JSON, read from its start: what a program is to do, of any length.
pub fn memory_file(value: &impl Serialize) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("orders", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(value)?)?;
    file.rewind()?;
    Ok(file.into())
}
