//! Carries actions out, and takes in what came of them. Decides nothing: that is `berth_units::plan`.
//!
//! Each change of a unit is written down before its effect can be seen outside, so that a supervisor killed
//! between any two lines leaves something that the next one can go on from.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use berth_runtime::{Cgroup, Status as StepStatus, Stdio, Step, StepError, read_status, spawn};
use berth_units::Name;
use berth_units::health::Health;
use berth_units::launch::launch;
use berth_units::life::{Event, Life, Rest};
use berth_units::observed::{Attach, Run};
use berth_units::plan::{Action, KillReason, comes_after, fingerprint, is_wanted};
use berth_units::restart::after_exit;
use berth_units::signal::TERM;
use berth_units::spec::{LogSink, Ready, Unit};
use berth_units::time::rfc3339;
use berth_units::wire::control::{ExitReason, LastExit};
use berth_units::wire::init::ExitStatus;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

pub(super) use super::container::cgroup_dir;
use super::container::{self, Context, Error};
use super::link::fd_name;
use super::poll::{Interest, Source};
use super::records::{self, UNITS_DIR};
use super::signal::{Delivery, send};
use super::{Supervisor, clock, network};
use crate::kmsg::Chain;
use crate::{error, notice};

impl Supervisor {
    /// Carries one action out.
    pub(super) fn execute(&mut self, action: &Action) {
        match action {
            Action::TryAgain(name) => self.step(name, Event::TryAgain),
            Action::Wait(name) => self.wait(name),
            Action::GiveUp(name, why) => self.give_up(name, why),
            Action::Skip(name, why) => self.skip(name, why),
            Action::Refuse(name, why) => self.refuse(name, why),
            Action::Start(name) => self.start(name),
            Action::Attach(name) => self.attach(name),
            Action::Release(name) => self.release(name),
            Action::Stop(name) => self.stop(name),
            Action::Expire(name) => self.expire(name),
            Action::Kill(name, reason) => self.kill(name, *reason),
            Action::Replace { unit, kill, why } => self.replace(unit, *kill, why),
            Action::Forget(name) => self.forget(name),
        }
    }

    /// Takes an event in and writes the unit's record down.
    pub(super) fn step(&mut self, name: &Name, event: Event) {
        if let Some(seen) = self.observed.units.get_mut(name) {
            seen.record.step(event, clock::now());
        }
        self.save(name);
    }

    pub(super) fn save(&mut self, name: &Name) {
        let Some(seen) = self.observed.units.get(name) else {
            return;
        };
        if let Err(error) = records::write(Path::new(UNITS_DIR), name.as_str(), &seen.record, false) {
            error!("{}; ignoring", Chain(&error));
        }
    }

    fn start(&mut self, name: &Name) {
        let Some(unit) = self.set.declared.units.get(name).cloned() else {
            return;
        };
        if let Err(error) = self.try_start(&unit) {
            let why = Chain(&error).to_string();
            self.drop_start(name);
            self.ended(name, (ExitReason::StartFailed, None, None), Some(why));
        }
    }

    fn try_start(&mut self, unit: &Unit) -> Result<(), Error> {
        let image = container::find_image(&self.images.images, unit)?.clone();
        let launch = launch(unit, &image.config)?;
        let cgroup = Cgroup::renew(cgroup_dir(&unit.name))?;
        self.watch_cgroup(&unit.name);
        cgroup.set(&container::limits(unit, self.node_memory)?)?;
        let context = Context { declared: &self.set.declared, leases: &self.leases };
        let spec = container::spec(&context, unit, &image, &launch)?;
        let (stdout, stderr) = self.log_pipes(unit)?;
        let ready = self.ready_pipe(unit)?;
        let system = |doing| move |error: std::io::Error| Error::System(doing, error);
        let null = std::fs::File::open("/dev/null").map_err(system("open '/dev/null'"))?;
        let extra = ready.iter().map(|(fd, number)| (fd.as_fd(), *number)).collect();
        let stdio = Stdio { stdin: null.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd(), extra };
        let held = spawn(&spec, &stdio)?;
        // Kept before the process is noted: the next supervisor needs it for every process that it finds noted.
        let status = held.status.try_clone().map_err(system("keep a status pipe"))?;
        self.link.keep(&fd_name("status", &unit.name), status).map_err(system("keep a status pipe"))?;
        let Some(seen) = self.observed.units.get_mut(&unit.name) else {
            return Ok(());
        };
        seen.record.runs += 1;
        seen.record.run = Some(Run {
            number: seen.record.runs,
            pid: held.pid,
            started: clock::now(),
            fingerprint: fingerprint(unit),
            after: comes_after(&self.set.declared, unit),
            ..Run::default()
        });
        seen.record.health = Health::begin(unit, clock::now());
        seen.populated = true;
        seen.killed = false;
        seen.attach = Attach::Unasked;
        self.step(&unit.name, Event::Spawned);
        self.held.insert(unit.name.clone(), held);
        Ok(())
    }

    /// Nothing is left of a start that did not come to a process.
    fn drop_start(&mut self, name: &Name) {
        self.held.remove(name);
        drop(Cgroup::at(cgroup_dir(name)).remove());
    }

    /// The write ends of a unit's log pipes. The pipes live as long as the unit is declared: what a dead process
    /// wrote last is still read, and a restart writes to the same ones.
    fn log_pipes(&mut self, unit: &Unit) -> Result<(OwnedFd, OwnedFd), Error> {
        let system = |error: std::io::Error| Error::System("make its log pipes", error);
        if unit.log.to == LogSink::None {
            let null = || std::fs::File::options().write(true).open("/dev/null").map(OwnedFd::from);
            return Ok((null().map_err(system)?, null().map_err(system)?));
        }
        let mut ends = Vec::new();
        let mut made = false;
        for what in ["stdout", "stderr"] {
            let name = fd_name(what, &unit.name);
            if self.link.kept(&name).is_none() {
                self.link.keep(&name, log_pipe().map_err(system)?).map_err(system)?;
                made = true;
            }
            let reader = self.link.kept(&name).ok_or_else(|| system(std::io::ErrorKind::NotFound.into()))?;
            ends.push(reopen(reader, false).map_err(system)?);
        }
        if made {
            self.tell_log(&unit.name);
        }
        match <[OwnedFd; 2]>::try_from(ends) {
            Ok([stdout, stderr]) => Ok((stdout, stderr)),
            Err(_) => Err(system(std::io::ErrorKind::NotFound.into())),
        }
    }

    /// The write end of the pipe on which a unit says that it is ready, and its number.
    fn ready_pipe(&mut self, unit: &Unit) -> Result<Option<(OwnedFd, u8)>, Error> {
        let Ready::Fd(number) = unit.ready else {
            return Ok(None);
        };
        let system = |error: std::io::Error| Error::System("make its ready pipe", error);
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (reader, writer) = pipe_with(flags).map_err(|error| system(error.into()))?;
        self.poll.add(&reader, Source::ReadyLine(unit.name.clone()), Interest::Read).map_err(system)?;
        self.link.keep(&fd_name("ready", &unit.name), reader).map_err(system)?;
        Ok(Some((writer, number)))
    }

    fn attach(&mut self, name: &Name) {
        let unit = self.set.declared.units.get(name);
        let interfaces =
            unit.map(|unit| network::interfaces(&self.set.declared, &self.leases, unit)).unwrap_or_default();
        if !self.held.contains_key(name) {
            // Not ours to let go: it was made by a supervisor before us, or is on its way out. Its end follows, or
            // the word that it runs.
            return self.set_attach(name, Attach::Asked);
        }
        let Some(interfaces) = interfaces else {
            return self.fail_run(name, "no address is left in one of its networks");
        };
        if interfaces.is_empty() {
            return self.set_attach(name, Attach::Done);
        }
        self.ask_attach(name, interfaces);
        self.set_attach(name, Attach::Asked);
    }

    fn set_attach(&mut self, name: &Name, attach: Attach) {
        if let Some(seen) = self.observed.units.get_mut(name) {
            seen.attach = attach;
        }
    }

    fn release(&mut self, name: &Name) {
        let Some(held) = self.held.remove(name) else {
            return self.set_attach(name, Attach::Asked);
        };
        match held.release() {
            Ok(_running) => {
                self.step(name, Event::Released);
                self.watch_status(name);
            }
            Err(error) => self.fail_run(name, &format!("cannot let it go: {error}")),
        }
    }

    /// Waits for the word of a unit's process on execve.
    pub(super) fn watch_status(&mut self, name: &Name) {
        let Some(status) = self.link.kept(&fd_name("status", name)) else {
            return;
        };
        if let Err(error) = self.poll.add(status, Source::Status(name.clone()), Interest::Read) {
            error!("cannot watch the start of '{name}': {error}; ignoring");
        }
    }

    /// Its process said something of its way to execve.
    pub(super) fn status_changed(&mut self, name: &Name) {
        let Some(status) = self.link.kept(&fd_name("status", name)) else {
            return self.poll.forget(&Source::Status(name.clone()));
        };
        match read_status(status) {
            Ok(StepStatus::Pending) => return,
            Ok(StepStatus::Executed) => self.executed(name),
            Ok(StepStatus::Failed(failed)) if is_abandoned(&failed) => {}
            Ok(StepStatus::Failed(failed)) => self.note_failure(name, failed.to_string()),
            Err(error) => self.note_failure(name, format!("its status cannot be read: {error}")),
        }
        self.close_kept("status", name, &Source::Status(name.clone()));
    }

    fn executed(&mut self, name: &Name) {
        self.step(name, Event::Executed);
        if self.set.declared.units.get(name).is_some_and(|unit| unit.ready == Ready::Exec) {
            self.said_ready(name);
        } else {
            self.settle_readiness(name);
        }
    }

    /// A unit wrote to its ready descriptor, or closed it.
    pub(super) fn ready_line(&mut self, name: &Name) {
        // Its execve comes before its words, whatever order the events have: its status is not awaited before it is
        // let go, and only what runs can become ready.
        self.status_changed(name);
        let Some(pipe) = self.link.kept(&fd_name("ready", name)) else {
            return self.poll.forget(&Source::ReadyLine(name.clone()));
        };
        let mut buffer = [0; 256];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => {}
            Ok(len) if buffer.iter().take(len).any(|byte| *byte == b'\n') => self.said_ready(name),
            Ok(_) | Err(_) => return,
        }
        self.close_kept("ready", name, &Source::ReadyLine(name.clone()));
    }

    fn close_kept(&mut self, what: &str, name: &Name, source: &Source) {
        let kept = fd_name(what, name);
        if let Some(fd) = self.link.kept(&kept) {
            self.poll.remove(fd, source);
        }
        if let Err(error) = self.link.forget(&kept) {
            error!("cannot close a descriptor of '{name}': {error}; ignoring");
        }
    }

    /// Notes why a process will end before it ran; its end follows.
    fn note_failure(&mut self, name: &Name, why: String) {
        if let Some(run) = self.observed.units.get_mut(name).and_then(|seen| seen.record.run.as_mut()) {
            run.failure = Some(why);
        }
        self.save(name);
    }

    /// Ends a process that cannot be let go.
    pub(super) fn fail_run(&mut self, name: &Name, why: &str) {
        self.note_failure(name, why.to_owned());
        self.held.remove(name);
        self.kill_cgroup(name);
    }

    pub(super) fn stop(&mut self, name: &Name) {
        let unit = self.set.declared.units.get(name);
        let timeout = unit.map(|unit| unit.stop.timeout).unwrap_or_default();
        let image = unit.and_then(|unit| self.images.images.get(&unit.image.reference));
        let launch = unit.zip(image).and_then(|(unit, image)| launch(unit, &image.config).ok());
        let signal = launch.map_or(TERM, |launch| launch.stop_signal);
        let wanted = self.is_wanted_again(name);
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        seen.record.again = wanted;
        if let Some(run) = &mut seen.record.run {
            run.stop_deadline = Some(clock::now().after(timeout));
        }
        let pid = seen.record.run.as_ref().map(|run| run.pid);
        self.step(name, Event::StopSent);
        match pid.map(|pid| send(pid, &cgroup_dir(name), signal)) {
            // What the signal would have done to it anywhere else; waiting for the deadline would change nothing.
            Some(Ok(Delivery::Unheard)) => self.kill_cgroup(name),
            Some(Err(error)) => error!("cannot signal '{name}': {error}; it is killed at its deadline"),
            Some(Ok(Delivery::Sent)) | None => {}
        }
    }

    /// Whether a unit that is stopped now starts again afterwards.
    fn is_wanted_again(&self, name: &Name) -> bool {
        let unit = self.set.declared.units.get(name);
        let seen = self.observed.units.get(name);
        !self.observed.draining && unit.zip(seen).is_some_and(|(unit, seen)| is_wanted(unit, seen))
    }

    pub(super) fn kill(&mut self, name: &Name, reason: KillReason) {
        let again = self.is_wanted_again(name);
        if let Some(seen) = self.observed.units.get_mut(name) {
            if let Some(run) = &mut seen.record.run {
                run.timed_out = reason == KillReason::StartTimeout;
            }
            seen.record.again = again;
            // The event of cgroup.events tells when they are gone.
            seen.killed = reason == KillReason::LeftOver;
        }
        self.held.remove(name);
        self.step(name, Event::KillSent);
        self.kill_cgroup(name);
    }

    pub(super) fn kill_cgroup(&mut self, name: &Name) {
        if let Err(error) = Cgroup::at(cgroup_dir(name)).kill() {
            error!("{}; ignoring", Chain(&error));
        }
    }

    fn forget(&mut self, name: &Name) {
        self.untell_log(name);
        for what in ["status", "ready", "stdout", "stderr"] {
            drop(self.link.forget(&fd_name(what, name)));
        }
        drop(Cgroup::at(cgroup_dir(name)).remove());
        self.cgroup_events.forget(name);
        self.observed.units.remove(name);
        // Last: by its record the next supervisor knows that there may be something left to forget.
        records::remove(Path::new(UNITS_DIR), name.as_str());
    }

    /// The process of a unit has ended; `None` when it is no unit's.
    pub(super) fn unit_exited(&mut self, pid: i32, status: ExitStatus) -> Option<()> {
        let is_it =
            |seen: &berth_units::observed::Seen| seen.record.run.as_ref().is_some_and(|run| run.pid == pid);
        let name = self.observed.units.iter().find(|(_, seen)| is_it(seen)).map(|(name, _)| name.clone())?;
        // The status pipe may tell why, and may not have been read yet.
        self.status_changed(&name);
        let oom = Cgroup::at(cgroup_dir(&name)).memory_events().is_ok_and(|events| events.oom_kill > 0);
        let record = &self.observed.units.get(&name)?.record;
        let run = record.run.as_ref()?;
        let (code, signal) = match status {
            ExitStatus::Code(code) => (Some(i32::from(code)), None),
            ExitStatus::Signal(signal) => (None, Some(i32::from(signal))),
        };
        let reason = if run.failure.is_some() {
            ExitReason::StartFailed
        } else if run.unhealthy.is_some() {
            ExitReason::Unhealthy
        } else if run.timed_out {
            ExitReason::StartTimeout
        } else if run.expired {
            ExitReason::RuntimeMax
        } else if matches!(record.life, Life::Stopping | Life::Killing) {
            ExitReason::Stopped
        } else if oom && signal == Some(9) {
            ExitReason::Oom
        } else if signal.is_some() {
            ExitReason::Signal
        } else {
            ExitReason::Exit
        };
        let failure = run.failure.clone().or_else(|| run.unhealthy.clone());
        self.ended(&name, (reason, code, signal), failure);
        Some(())
    }

    /// Writes an end down and what follows from it.
    pub(super) fn ended(
        &mut self,
        name: &Name,
        end: (ExitReason, Option<i32>, Option<i32>),
        detail: Option<String>,
    ) {
        self.held.remove(name);
        self.close_kept("status", name, &Source::Status(name.clone()));
        self.close_kept("ready", name, &Source::ReadyLine(name.clone()));
        let (reason, code, signal) = end;
        let now = clock::now();
        let draining = self.observed.draining;
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        let record = &mut seen.record;
        record.again &= !draining;
        let after = after_exit(self.set.declared.units.get(name), record, (reason, code), now);
        let last = LastExit { reason, code, signal, at: rfc3339(clock::wall()), detail };
        if matches!(after.rest, Rest::Backoff | Rest::Failed) {
            notice!("{name}: {}", describe_exit(&last));
        }
        match after.rest {
            Rest::Completed => notice!("{name} completed"),
            Rest::Stopped | Rest::Idle => notice!("{name} stopped"),
            Rest::Backoff | Rest::Failed => {}
        }
        record.failures = after.failures;
        record.recent = after.recent;
        record.last_exit = Some(last);
        record.step(Event::Exited(after.rest), now);
        record.next_try = after.next_try;
        if after.rest == Rest::Backoff {
            record.restarts += 1;
        }
        // Before the end is written down: who dies in between comes here again.
        self.chain(name, after.rest);
        if after.reboot {
            self.reboot_over(name);
        }
        self.save(name);
        self.tell_log_of_end(name);
        self.look_at_cgroup(name);
    }

    /// Sees whether something of a unit still runs; an empty cgroup is removed, and with it its counters.
    pub(super) fn look_at_cgroup(&mut self, name: &Name) {
        let cgroup = Cgroup::at(cgroup_dir(name));
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        seen.populated = cgroup.populated().unwrap_or(false);
        if !seen.populated && !seen.record.life.has_process() {
            drop(cgroup.remove());
        }
    }
}

/// Whether a process ended for want of the supervisor that held it: nobody's fault, and no failure of the unit.
fn is_abandoned(failed: &StepError) -> bool {
    failed.step == Step::Wait && Errno::from_raw_os_error(failed.errno) == Errno::CANCELED
}

/// How a run ended, for people.
pub(super) fn describe_exit(exit: &LastExit) -> String {
    let how = match (exit.reason, exit.code, exit.signal) {
        (ExitReason::Oom, ..) => "out of memory: over memory.max, killed by the kernel".to_owned(),
        (ExitReason::StartFailed, ..) => "could not be started".to_owned(),
        (ExitReason::RuntimeMax, ..) => "had run for runtime_max, stopped".to_owned(),
        (ExitReason::StartTimeout, ..) => "was not ready in time, killed".to_owned(),
        (ExitReason::Unhealthy, ..) => "unhealthy, ended".to_owned(),
        (_, Some(code), _) => format!("exit code {code}"),
        (_, None, Some(signal)) => format!("killed by signal {signal}"),
        (_, None, None) => "ended".to_owned(),
    };
    exit.detail.as_ref().map_or(how.clone(), |detail| format!("{how}: {detail}"))
}

/// A pipe open at both ends through one descriptor: its reader never sees an end, whoever else writes or not.
fn log_pipe() -> std::io::Result<OwnedFd> {
    let (reader, _writer) = pipe_with(PipeFlags::CLOEXEC)?;
    reopen(reader, true)
}

/// Another end of a pipe, to write and perhaps to read: open(2) of its name in /proc makes one.
fn reopen(pipe: impl AsFd, read: bool) -> std::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", pipe.as_fd().as_raw_fd());
    Ok(std::fs::File::options().read(read).write(true).open(path)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_supervisor_that_is_gone_is_nobodys_fault() {
        let failed = |step, errno: Errno| StepError {
            step,
            index: 0,
            errno: errno.raw_os_error(),
            subject: String::new(),
        };
        assert!(is_abandoned(&failed(Step::Wait, Errno::CANCELED)));
        assert!(!is_abandoned(&failed(Step::Wait, Errno::IO)));
        assert!(!is_abandoned(&failed(Step::Exec, Errno::CANCELED)));
    }
}
