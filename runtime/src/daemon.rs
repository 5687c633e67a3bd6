//! Our own programs: PID 1 starts the supervisor, the supervisor starts the rest. No namespaces, no root.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::child;
use crate::plan::container::{open_cgroup, open_null};
use crate::plan::{Role, c_string, plan, system};
use crate::spawn::{Running, SpawnError, Stdio};
use crate::spec::Process;
use crate::sys::clone::{Birth, Namespaces, clone3};

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
        let null = open_null()?;
        let standard = |number: u8| {
            let given = self.fds.iter().find(|(_, at)| *at == number);
            given.map_or(null.as_fd(), |(fd, _)| *fd)
        };
        let extra = self.fds.iter().copied().filter(|(_, number)| *number > 2).collect();
        let stdio = Stdio { stdin: standard(0), stdout: standard(1), stderr: standard(2), extra };
        let (mut plan, mut work, ends) = plan(Role::Daemon, &self.process(), &stdio)?;
        let path = c_string("path", self.path.as_os_str().as_bytes())?;
        plan.process.name.clone_from(&path);
        plan.process.candidates = vec![path];
        let cgroup = self.cgroup.map(open_cgroup).transpose()?;
        let cgroup = cgroup.as_ref().map(AsFd::as_fd);
        let birth = Birth { namespaces: Namespaces::Shared, clone_parent: self.clone_parent, cgroup };
        let (pid, pidfd) =
            clone3(&birth, || child::run(&plan, &mut work)).map_err(system("clone a daemon"))?;
        Ok(Running { pid, pidfd, status: ends.status })
    }

    /// The path is where the program is; its name is what argv says.
    fn process(&self) -> Process {
        let mut process = Process::new(self.argv.to_vec());
        process.env = self.env.to_vec();
        process.oom_score_adj = self.oom_score_adj;
        process
    }
}
