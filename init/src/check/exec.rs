//! A program in the unit, in its cgroup and with its rights, the beginning of its output, and its exit code.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use berth_runtime::{ExecSpec, Running, SpawnError, Status, Stdio, exec, read_status};
use berth_units::health::TEXT_MAX;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_send_signal, waitpid};

use super::attempt::Outcome;
use crate::kmsg::Chain;

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It could not be made.
    #[error("cannot run it")]
    Spawn(#[from] SpawnError),
    /// Its streams could not be made.
    #[error("cannot make its streams")]
    Streams(#[source] io::Error),
}

/// A program under way. Dropped before its end, it is killed with its process group.
pub struct Program {
    running: Running,
    /// Our end of its output, until it has ended.
    output: Option<OwnedFd>,
    /// What is shown of it.
    text: Vec<u8>,
    reaped: bool,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// The unit has just ended, or the kernel refuses. What fails later comes out of [`Program::advance`].
    pub fn start(spec: &ExecSpec) -> Result<Self, ExecError> {
        let null = File::open("/dev/null").map_err(ExecError::Streams)?;
        let (ours, theirs) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| ExecError::Streams(error.into()))?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(|error| ExecError::Streams(error.into()))?;
        let (out, err) = (theirs.as_fd(), theirs.as_fd());
        let stdio = Stdio { stdin: null.as_fd(), stdout: out, stderr: err, extra: Vec::new() };
        let running = exec(spec, &stdio)?;
        Ok(Self { running, output: Some(ours), text: Vec::new(), reaped: false })
    }

    /// Reads what it writes; how it ended, once it has.
    pub fn advance(&mut self) -> Option<Outcome> {
        self.read();
        let pid = Pid::from_raw(self.running.pid)?;
        let status = match rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::NOHANG)) {
            Ok(Some((_, status))) => status,
            Ok(None) => return None,
            Err(error) => return Some(Outcome::failed(format!("cannot learn how it ended: {error}"))),
        };
        self.reaped = true;
        self.read();
        Some(self.outcome(status))
    }

    fn outcome(&self, status: WaitStatus) -> Outcome {
        if let Ok(Status::Failed(step)) = read_status(&self.running.status) {
            return Outcome::failed(Chain(&step).to_string());
        }
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        let said = String::from_utf8_lossy(&self.text);
        let said = said.trim().replace(|c: char| c.is_control(), " ");
        let text = if said.is_empty() { how } else { format!("{how}: {said}") };
        Outcome { passed: status.exit_status() == Some(0), text }
    }

    /// Reads everything that is there: only its beginning is kept, and the program never waits for us.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut buffer) {
                Ok(0) => self.output = None,
                Ok(len) => {
                    let room = TEXT_MAX.saturating_sub(self.text.len());
                    self.text.extend_from_slice(buffer.get(..len.min(room)).unwrap_or_default());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.output = None,
            }
        }
    }

    /// Its end, and its output.
    pub fn fds(&self) -> Vec<PollFd<'_>> {
        let output = self.output.iter().map(|output| PollFd::new(output, PollFlags::IN));
        [PollFd::new(&self.running.pidfd, PollFlags::IN)].into_iter().chain(output).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // It is not reaped yet, so the number is its own.
        let pid = Pid::from_raw(self.running.pid);
        let _ended = pidfd_send_signal(&self.running.pidfd, Signal::KILL);
        if let Some(pid) = pid {
            let _no_group = kill_process_group(pid, Signal::KILL);
        }
        let _reaped = rustix::io::retry_on_intr(|| waitpid(pid, WaitOptions::empty()));
    }
}
