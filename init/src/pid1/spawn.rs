//! How the supervisor's process is made: its channel at descriptor 3, its words to the kernel's log.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use berth_runtime::{Cgroup, Daemon, Running};

use super::cgroup;
use crate::channel::Channel;
use crate::kmsg::Chain;
use crate::warning;

/// The descriptor at which one of our processes finds its channel.
pub const CHANNEL_FD: u8 = 3;

/// What to start as the supervisor.
#[derive(Clone, Debug)]
pub struct Program {
    /// Absolute path.
    pub path: PathBuf,
    /// On a node of its own: born in its cgroup, spared by the OOM killer, writing to the kernel's log. Otherwise
    /// it shares PID 1's cgroup and standard error.
    pub on_node: bool,
}

/// Starts it; returns the process and PID 1's end of its channel.
pub(super) fn spawn(program: &Program) -> io::Result<(Running, Channel)> {
    let (ours, theirs) = Channel::pair()?;
    let words = open_words(program.on_node)?;
    let name = program.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let group = if program.on_node { own_group() } else { None };
    let daemon = Daemon {
        path: &program.path,
        argv: &[name],
        env: &["PATH=/bin".to_owned()],
        fds: &[(words.as_fd(), 1), (words.as_fd(), 2), (theirs.as_fd(), CHANNEL_FD)],
        cgroup: group.as_ref().map(Cgroup::path),
        clone_parent: false,
        oom_score_adj: if program.on_node { -1000 } else { 0 },
    };
    let running = daemon.spawn().map_err(|error| io::Error::other(Chain(&error).to_string()))?;
    Ok((running, ours))
}

/// A new group for it, see [`Cgroup::renew`]. Where there can be none it shares PID 1's: that is worth a line in the
/// log, not a node without a supervisor.
fn own_group() -> Option<Cgroup> {
    let group = Cgroup::renew(Path::new(cgroup::ROOT).join("system/supervise"));
    group.inspect_err(|error| warning!("supervisor: {}, going on", Chain(error))).ok()
}

fn open_words(on_node: bool) -> io::Result<OwnedFd> {
    let kmsg = OpenOptions::new().write(true).open("/dev/kmsg");
    match kmsg {
        Ok(kmsg) if on_node => Ok(kmsg.into()),
        _ => rustix::stdio::stderr().try_clone_to_owned(),
    }
}
