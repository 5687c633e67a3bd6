//! The supervisor's process: started, and started again for ever.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use berth_units::wire::init::ExitStatus;
use rustix::process::{Pid, Signal, pidfd_send_signal};

use super::backoff::Backoff;
use super::link::Link;
use super::spawn::{Program, spawn};
use crate::{error, notice, warning};

/// A start that fails at once must not become a loop without a wait.
const FAILED_START_WAIT: Duration = Duration::from_millis(100);

/// The supervisor as PID 1 sees it.
pub struct Supervisor {
    program: Program,
    backoff: Backoff,
    state: State,
    /// Starts so far.
    starts: u32,
}

enum State {
    Up(Life),
    Down { until: Instant },
}

struct Life {
    pid: Pid,
    link: Link,
    since: Instant,
    pidfd: OwnedFd,
    /// It was sent SIGKILL: nothing more is expected of it but its end.
    is_killed: bool,
    /// Says why, when its program could not be executed.
    status: OwnedFd,
}

impl Supervisor {
    /// Not started yet, and due.
    pub fn new(program: Program) -> Self {
        let state = State::Down { until: Instant::now() };
        Self { program, backoff: Backoff::default(), state, starts: 0 }
    }

    /// Its process, while there is one.
    pub fn pid(&self) -> Option<Pid> {
        match &self.state {
            State::Up(life) => Some(life.pid),
            State::Down { .. } => None,
        }
    }

    /// The channel to it, while it lives.
    pub fn link(&self) -> Option<&Link> {
        match &self.state {
            State::Up(life) => Some(&life.link),
            State::Down { .. } => None,
        }
    }

    /// The channel to it, while there is a point in waiting for it.
    pub fn awaited_link(&self) -> Option<&Link> {
        match &self.state {
            State::Up(life) => Some(&life.link).filter(|_| !life.is_killed),
            State::Down { .. } => None,
        }
    }

    /// The same, to talk.
    pub fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Up(life) => Some(&mut life.link),
            State::Down { .. } => None,
        }
    }

    /// When it is to be started, while it does not live.
    pub fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Up(_) => None,
            State::Down { until } => Some(*until),
        }
    }

    /// Starts of the supervisor before the present one.
    pub fn restarts(&self) -> u32 {
        self.starts.saturating_sub(1)
    }

    /// Does not wait any longer: the node goes down, and somebody has to stop the units.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Down { until } = &mut self.state {
            *until = now;
        }
    }

    /// Starts it if that is due; `true` when it was started. A start that fails counts as a very short life.
    pub fn start_if_due(&mut self, now: Instant) -> bool {
        if self.due().is_none_or(|due| due > now) {
            return false;
        }
        self.starts = self.starts.saturating_add(1);
        match self.start(now) {
            Ok(life) => {
                notice!("supervisor: start {}, process {}", self.starts, life.pid.as_raw_nonzero());
                self.state = State::Up(life);
                true
            }
            Err(source) => {
                let wait = self.backoff.after(Duration::ZERO).max(FAILED_START_WAIT);
                error!("supervisor: cannot start: {source}, next try in {} ms", wait.as_millis());
                self.state = State::Down { until: now + wait };
                false
            }
        }
    }

    fn start(&self, since: Instant) -> std::io::Result<Life> {
        let (running, channel) = spawn(&self.program)?;
        let pid = Pid::from_raw(running.pid).ok_or(std::io::ErrorKind::InvalidData)?;
        let (link, pidfd, status) = (Link::new(channel), running.pidfd, running.status);
        Ok(Life { pid, link, since, pidfd, is_killed: false, status })
    }

    /// Its process has ended.
    pub fn ended(&mut self, status: ExitStatus, now: Instant) {
        let State::Up(life) = &self.state else { return };
        let wait = self.backoff.after(now.duration_since(life.since));
        if let Ok(berth_runtime::Status::Failed(step)) = berth_runtime::read_status(&life.status) {
            error!("supervisor: {}", crate::kmsg::Chain(&step));
        }
        warning!("supervisor: ended ({status:?}), starting it again in {} ms", wait.as_millis());
        self.state = State::Down { until: now + wait };
    }

    /// It cannot be talked to any more: it is killed, and its end arrives as any other.
    pub fn kill(&mut self) {
        if let State::Up(life) = &mut self.state {
            life.is_killed = true;
            // Fails only when it has just ended; by descriptor, so never for somebody who got its number since.
            let _ended = pidfd_send_signal(&life.pidfd, Signal::KILL);
        }
    }
}
