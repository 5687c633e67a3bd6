//! The way from a unit to a running program: its cgroup, pipes and held process, its network, the word to go, and
//! what it says of its own start.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use berth_runtime::spec::{Peer, Spec};
use berth_runtime::{Cgroup, Status as StepStatus, Stdio, Step, StepError, read_status, spawn};
use berth_units::Name;
use berth_units::health::Health;
use berth_units::life::Event;
use berth_units::observed::{Attach, Run};
use berth_units::plan::comes_after;
use berth_units::spec::{LogSink, NetworkMode, OnChange, Ready, Stdin, Unit};
use berth_units::supplies::versions;
use berth_units::volumes::mounted_by;
use berth_units::wire::control::ExitReason;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::container::{self, Context, Error, cgroup_dir};
use super::link::fd_name;
use super::poll::{Interest, Source};
use super::{Supervisor, clock, limits, network};
use crate::error;
use crate::kmsg::Chain;

impl Supervisor {
    pub(super) fn start(&mut self, name: &Name) {
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
        let base = container::base(&self.images.images, unit)?;
        let (launch, supplies) = self.supply(unit, &base.config)?;
        let cgroup = Cgroup::renew(cgroup_dir(&unit.name))?;
        limits::apply(&cgroup, &limits::limits(unit, self.node_memory)?)?;
        self.watch_cgroup(&unit.name);
        self.drift.renew(&unit.name);
        self.arm_pressure(&unit.name)?;
        let (peer, joined) = self.owner_of(unit)?.unzip();
        let context =
            Context { declared: &self.set.declared, images: &self.images.images, leases: &self.leases, peer };
        let spec = Spec { supplies, ..container::spec(&context, unit, base, &launch)? };
        let (stdin, stdout, stderr) = self.streams(unit)?;
        let ready = self.ready_pipe(unit)?;
        self.open_notify(unit)?;
        let sockets = self.open_sockets(unit)?;
        let system = |doing| move |error: std::io::Error| Error::System(doing, error);
        let extra = ready.iter().chain(&sockets).map(|(fd, number)| (fd.as_fd(), *number)).collect();
        let stdio = Stdio { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd(), extra };
        let mut held = spawn(&spec, &stdio)?;
        let scratch = held.scratch.take().filter(|_| unit.supplies.on_change == OnChange::Reload);
        if let Some(scratch) = scratch {
            self.link.keep(&fd_name("supplies", &unit.name), scratch).map_err(system("keep its supplies"))?;
        }
        // Kept before the process is noted: the next supervisor needs it for every process that it finds noted.
        let status = held.status.try_clone().map_err(system("keep a status pipe"))?;
        self.link.keep(&fd_name("status", &unit.name), status).map_err(system("keep a status pipe"))?;
        let identity = self.set.declared.identity(&unit.name).unwrap_or_default();
        let Some(seen) = self.observed.units.get_mut(&unit.name) else {
            return Ok(());
        };
        seen.record.runs += 1;
        seen.record.ran_as = Some(identity.process);
        seen.record.run = Some(Run {
            number: seen.record.runs,
            pid: held.pid,
            started: clock::now(),
            fingerprint: identity.process,
            limits: Some(identity.limits),
            checks: Some(identity.checks),
            after: comes_after(&self.set.declared, unit),
            joined,
            volumes: mounted_by(unit),
            // Looked at before the values were read: one that changed in between is a change.
            supplies: versions(&self.set.declared, unit, &self.observed.facts),
            ..Run::default()
        });
        seen.record.health = Health::begin(unit, clock::now());
        seen.populated = true;
        seen.killed = false;
        seen.frozen = false;
        seen.attach = Attach::Unasked;
        seen.drifted = false;
        seen.strayed = false;
        seen.listened = None;
        self.step(&unit.name, Event::Spawned);
        if matches!(unit.ready, Ready::Log(_)) {
            self.tell_log(&unit.name);
        }
        self.held.insert(unit.name.clone(), held);
        Ok(())
    }

    /// Standard input, output and error of a unit's program.
    fn streams(&mut self, unit: &Unit) -> Result<(OwnedFd, OwnedFd, OwnedFd), Error> {
        let system = |doing| move |error: std::io::Error| Error::System(doing, error);
        if let Some(path) = &unit.process.console {
            let fault = |source| Error::Path { doing: "open terminal", path: path.clone(), source };
            let console = open_terminal(path).map_err(fault)?;
            let copy = || console.try_clone().map_err(system("copy a descriptor"));
            return Ok((copy()?, copy()?, console));
        }
        let stdin = match unit.process.stdin {
            Stdin::Null => std::fs::File::open("/dev/null").map(OwnedFd::from),
            // Open at both ends: nothing comes, and no end of it either.
            Stdin::Open => log_pipe(),
        };
        let (stdout, stderr) = self.log_pipes(unit)?;
        Ok((stdin.map_err(system("make its standard input"))?, stdout, stderr))
    }

    /// The process whose network a unit shares, and the number of its run.
    pub(super) fn owner_of(&self, unit: &Unit) -> Result<Option<(Peer, u64)>, Error> {
        let Some(owner) = unit.network.owner() else {
            return Ok(None);
        };
        let run = self.observed.units.get(owner).and_then(|seen| seen.record.run.as_ref());
        let run = run.ok_or(Error::NoOwner)?;
        let peer = container::peer(owner, run.pid, matches!(unit.network, NetworkMode::Pod(_)))?;
        Ok(Some((peer, run.number)))
    }

    /// Nothing is left of a start that did not come to a process.
    fn drop_start(&mut self, name: &Name) {
        self.held.remove(name);
        if let Some(seen) = self.observed.units.get_mut(name) {
            // The next try is a start of its own.
            seen.record.prepared = None;
        }
        drop(Cgroup::at(cgroup_dir(name)).remove());
    }

    /// The write ends of a unit's log pipes. The pipes live as long as the unit is declared: what a dead process
    /// wrote last is still read, and a restart writes to the same ones.
    pub(super) fn log_pipes(&mut self, unit: &Unit) -> Result<(OwnedFd, OwnedFd), Error> {
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

    pub(super) fn attach(&mut self, name: &Name) {
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

    pub(super) fn release(&mut self, name: &Name) {
        let Some(held) = self.held.remove(name) else {
            return self.set_attach(name, Attach::Asked);
        };
        self.note_let_go(name);
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
}

/// Whether a process ended for want of the supervisor that held it: nobody's fault, and no failure of the unit.
pub(super) fn is_abandoned(failed: &StepError) -> bool {
    failed.step == Step::Wait && Errno::from_raw_os_error(failed.errno) == Errno::CANCELED
}

/// A pipe open at both ends through one descriptor: its reader never sees an end, whoever else writes or not.
fn log_pipe() -> std::io::Result<OwnedFd> {
    let (reader, _writer) = pipe_with(PipeFlags::CLOEXEC)?;
    reopen(reader, true)
}

/// A terminal of the node, without waiting for whoever is to answer at its other end.
fn open_terminal(path: &str) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(path, flags, Mode::empty())?;
    if !rustix::termios::isatty(&terminal) {
        return Err(std::io::Error::other("it is no terminal"));
    }
    // Programs expect to wait for input.
    rustix::fs::fcntl_setfl(&terminal, OFlags::RDWR)?;
    Ok(terminal)
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
