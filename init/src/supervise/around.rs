//! Hooks in a container of their own, of the unit's image: those that run while the unit has no process, and others
//! that say so.
//!
//! Each is made held, noted and let go then, so that nothing of it runs that no record knows of: one whose supervisor
//! dies in between ends by itself, and the next supervisor begins it anew. Its status pipe is kept by PID 1.

use std::os::fd::AsFd;

use berth_runtime::spec::{Network, Spec, User, Writable};
use berth_runtime::{Cgroup, Held, Status as StepStatus, Stdio, cgroup_of, read_status, spawn};
use berth_units::Name;
use berth_units::life::Life;
use berth_units::spec::{Hook, NetworkMode, Place, Unit};
use berth_units::task::{Doing, Task, begin_around, end_around, forget_around};
use berth_units::wire::control::ExitReason;
use berth_units::wire::init::ExitStatus;

use super::container::{self, Context, Error, cgroup_dir};
use super::link::fd_name;
use super::starting::is_abandoned;
use super::tasks::result_of;
use super::{Supervisor, clock, limits};
use crate::kmsg::Chain;
use crate::{notice, warning};

/// Its writes go to RAM, wherever the unit's go.
const UPPER_SIZE: u64 = 256 << 20;

/// How the process of a hook ended.
pub(super) enum End {
    /// It was never let go.
    Never,
    /// It ran, or could not.
    Ended(Result<(), String>),
}

impl Supervisor {
    /// Begins a hook in a container of its own.
    pub(super) fn run_apart(&mut self, name: &Name, task: Task, hook: &Hook) {
        self.note_apart(name, Doing { task, pid: None, deadline: clock::now().after(hook.timeout) });
        let begun = self.hold_hook(name, task, hook).and_then(|held| {
            let released = |error| Error::System("let it go", error);
            self.note_pid(name, held.pid);
            held.release().map_err(released)
        });
        if let Err(error) = begun {
            self.hook_ended(name, Err(Chain(&error).to_string()));
        }
    }

    fn note_apart(&mut self, name: &Name, doing: Doing) {
        let process = self.set.declared.identity(name).unwrap_or_default().process;
        if let Some(seen) = self.observed.units.get_mut(name) {
            match seen.record.run.as_mut() {
                Some(run) if !doing.task.is_around() => run.doing = Some(doing),
                _ => begin_around(&mut seen.record, doing, process),
            }
        }
        self.save(name);
    }

    fn note_pid(&mut self, name: &Name, pid: i32) {
        if let Some(seen) = self.observed.units.get_mut(name) {
            seen.populated = true;
            seen.killed = false;
            let beside = seen.record.run.as_mut().and_then(|run| run.doing.as_mut());
            if let Some(doing) = seen.record.around.as_mut().or(beside) {
                doing.pid = Some(pid);
            }
        }
        self.save(name);
    }

    fn hold_hook(&mut self, name: &Name, task: Task, hook: &Hook) -> Result<Held, Error> {
        let system = |doing| move |error: std::io::Error| Error::System(doing, error);
        let unit = self.set.declared.units.get(name).cloned();
        let unit = unit.ok_or_else(|| system("find the unit")(std::io::ErrorKind::NotFound.into()))?;
        if task.is_around() {
            let cgroup = Cgroup::renew(cgroup_dir(name))?;
            limits::apply(&cgroup, &limits::limits(&unit, self.node_memory)?)?;
            self.watch_cgroup(name);
            self.drift.renew(name);
        }
        let spec = self.hook_spec(&unit, task, hook)?;
        let (stdout, stderr) = self.log_pipes(&unit)?;
        let null = std::fs::File::open("/dev/null").map_err(system("open '/dev/null'"))?;
        let stdio =
            Stdio { stdin: null.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd(), extra: Vec::new() };
        let held = spawn(&spec, &stdio)?;
        let status = held.status.try_clone().map_err(system("keep a status pipe"))?;
        self.link.keep(&fd_name("hook", name), status).map_err(system("keep a status pipe"))?;
        Ok(held)
    }

    /// The unit's container with another program. It has the network of the unit where there is one to be in, else
    /// loopback alone: addresses belong to the unit's own process.
    fn hook_spec(&mut self, unit: &Unit, task: Task, hook: &Hook) -> Result<Spec, Error> {
        let base = container::base(&self.images.images, unit)?;
        // What is to be cleared up is cleared up, whatever has gone meanwhile.
        let is_end = matches!(task, Task::PreStop | Task::PostStop);
        let (launch, supplies) = match is_end {
            true => self.supply_what_is_there(unit, &base.config)?,
            false => self.supply(unit, &base.config)?,
        };
        let peer = match self.owner_of(unit) {
            Err(Error::NoOwner) if task == Task::PostStop => None,
            owner => owner?.map(|(peer, _)| peer),
        };
        let is_alone = peer.is_none() && unit.network.owner().is_some();
        let context =
            Context { declared: &self.set.declared, images: &self.images.images, leases: &self.leases, peer };
        let alone = is_alone.then(|| Unit { network: NetworkMode::None, ..unit.clone() });
        let unit = alone.as_ref().unwrap_or(unit);
        let mut spec = Spec { supplies, ..container::hook_spec(&context, unit, base, &launch)? };
        let own = self.observed.units.get(&unit.name).and_then(|seen| seen.record.run.as_ref());
        if let Some(run) = own.filter(|_| !task.is_around()) {
            spec.cgroup = cgroup_of(run.pid, &spec.cgroup);
        }
        let has_own = matches!(unit.network, NetworkMode::Bridge | NetworkMode::None);
        if let Some(run) = own.filter(|_| has_own && !task.is_around()) {
            spec.network = Network::Join(container::peer(&unit.name, run.pid, false)?);
            spec.sysctl.clear();
        }
        spec.process.argv.clone_from(&hook.exec);
        if let Some(user) = &hook.user {
            spec.process.user = User { user: user.clone(), groups: Vec::new() };
            // Its directories stay those of the unit's user, which may be using them.
            spec.mounts.iter_mut().for_each(|mount| mount.manner.own = false);
        }
        if matches!(spec.root.writable, Writable::Disk { .. }) {
            spec.root.writable = Writable::Tmpfs { size: UPPER_SIZE };
        }
        Ok(spec)
    }

    /// How a hook ended that ran apart; `None` when this one did not.
    pub(super) fn end_of_hook(&mut self, name: &Name, status: ExitStatus) -> Option<End> {
        let kept = fd_name("hook", name);
        Some(match read_status(self.link.kept(&kept)?).ok() {
            Some(StepStatus::Failed(step)) if is_abandoned(&step) => End::Never,
            step => End::Ended(result_of(step, status)),
        })
    }

    /// A hook that ran while there was no process is over.
    pub(super) fn around_ended(&mut self, name: &Name, result: Result<(), String>) {
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        let Some(word) = seen.record.around.as_ref().map(|doing| doing.task.word()) else {
            return;
        };
        match &result {
            Ok(()) => notice!("{name}: {word} done"),
            Err(why) => warning!("{name}: {word} failed: {why}"),
        }
        let failed = end_around(self.set.declared.units.get(name), &mut seen.record, result);
        match failed.filter(|_| seen.record.life == Life::Idle) {
            Some(why) => {
                self.ended(name, (ExitReason::StartFailed, None, None), Some(format!("{word} failed: {why}")))
            }
            None => self.save(name),
        }
        self.forget_hook(name);
    }

    /// It was never let go, or is not wanted any more: as if it had not begun.
    pub(super) fn call_off(&mut self, name: &Name) {
        self.kill_task(name);
        if let Some(seen) = self.observed.units.get_mut(name) {
            forget_around(&mut seen.record);
        }
        self.save(name);
        self.forget_hook(name);
    }

    /// What a hook leaves of its container ends as well.
    fn forget_hook(&mut self, name: &Name) {
        drop(self.link.forget(&fd_name("hook", name)));
        self.look_at_cgroup(name);
    }

    /// Hooks that the supervisor before this one noted and never let go begin anew. One that runs in the unit's own
    /// container is not held before it is noted: it may have run.
    pub(super) fn forget_lost_hooks(&mut self) {
        let is_lost = |doing: &Doing| doing.pid.is_none();
        let units = &self.set.declared.units;
        let is_apart = |(name, doing): (&Name, &Doing)| {
            let hook = units.get(name).and_then(|unit| unit.hooks.get(&doing.task));
            hook.is_some_and(|hook| hook.place == Place::Image)
        };
        let mut around = Vec::new();
        let mut beside = Vec::new();
        for (name, seen) in &self.observed.units {
            let own = seen.record.run.as_ref().and_then(|run| run.doing.as_ref());
            if seen.record.around.as_ref().is_some_and(is_lost) {
                around.push(name.clone());
            } else if own.is_some_and(|doing| is_lost(doing) && is_apart((name, doing))) {
                beside.push(name.clone());
            }
        }
        around.iter().for_each(|name| self.call_off(name));
        for name in beside {
            if let Some(run) = self.observed.units.get_mut(&name).and_then(|seen| seen.record.run.as_mut()) {
                run.doing = None;
            }
            self.save(&name);
            self.forget_hook(&name);
        }
    }
}
