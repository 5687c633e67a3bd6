//! Carries actions out, and takes in what came of them. Decides nothing: that is `berth_units::plan`.
//!
//! Each change of a unit is written down before its effect can be seen outside, so that a supervisor killed
//! between any two lines leaves something that the next one can go on from.

use std::path::Path;

use berth_runtime::Cgroup;
use berth_units::Name;
use berth_units::life::Event;
use berth_units::observed::Moment;
use berth_units::plan::{Action, KillReason, is_wanted};

use super::container::cgroup_dir;
use super::link::fd_name;
use super::poll::Source;
use super::records::{self, UNITS_DIR};
use super::{Supervisor, clock, notify};
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
            Action::BeginSchedule(name) => self.begin_schedule(name),
            Action::BeginRun(name, planned) => self.begin_run(name, *planned),
            Action::Start(name) => self.start(name),
            Action::Attach(name) => self.attach(name),
            Action::Release(name) => self.release(name),
            Action::Stop(name) => self.stop(name),
            Action::Hook(name, task) => self.run_hook(name, *task),
            Action::CallOff(name) => self.call_off(name),
            Action::EndTask(name) => self.end_late_task(name),
            Action::Signal(name) => self.signal_stop(name),
            Action::Expire(name) => self.expire(name),
            Action::Kill(name, reason) => self.kill(name, *reason),
            Action::Replace { unit, kill, why } => self.replace(unit, *kill, why),
            Action::Freeze(name) => self.freeze(name, true),
            Action::Thaw(name) => self.freeze(name, false),
            Action::Update(name) => self.update(name),
            Action::Recheck(name) => self.recheck(name),
            Action::Gather(name) => self.gather(name),
            Action::Reconsider(name) => self.reconsider(name),
            Action::RenewAt(name, at) => self.note_renewal(name, *at),
            Action::Resupply(name, what) => self.resupply(name, what),
            Action::Renew(name, what) => self.renew(name, what),
            Action::Forget(name) => self.forget(name),
            Action::Discard(volume) => self.discard(volume),
        }
    }

    /// Takes an event in and writes the unit's record down.
    pub(super) fn step(&mut self, name: &Name, event: Event) {
        if let Some(seen) = self.observed.units.get_mut(name) {
            seen.record.step(event, clock::now());
        }
        self.save(name);
    }

    pub(super) fn close_kept(&mut self, what: &str, name: &Name, source: &Source) {
        let kept = fd_name(what, name);
        if let Some(fd) = self.link.kept(&kept) {
            self.poll.remove(fd, source);
        }
        if let Err(error) = self.link.forget(&kept) {
            error!("cannot close a descriptor of '{name}': {error}; ignoring");
        }
    }

    /// Notes why a process will end before it ran; its end follows.
    pub(super) fn note_failure(&mut self, name: &Name, why: String) {
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

    fn note_renewal(&mut self, name: &Name, at: Option<Moment>) {
        if let Some(run) = self.observed.units.get_mut(name).and_then(|seen| seen.record.run.as_mut()) {
            run.renew_at = at;
        }
        self.save(name);
    }

    /// An end that is asked for, after which it starts again.
    pub(super) fn renew(&mut self, name: &Name, what: &str) {
        notice!("{what} of '{name}' has changed; restarting it");
        self.stop(name);
    }

    /// Whether a unit that is stopped now starts again afterwards.
    pub(super) fn is_wanted_again(&self, name: &Name) -> bool {
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
        if let Some(seen) = self.observed.units.get_mut(name) {
            seen.record.forgotten = true;
        }
        self.save(name);
        self.untell_log(name);
        for what in ["status", "ready", "notify", "hook", "stdout", "stderr", "supplies"] {
            drop(self.link.forget(&fd_name(what, name)));
        }
        drop(Cgroup::at(cgroup_dir(name)).remove());
        drop(std::fs::remove_file(notify::socket_path(name)));
        self.cgroup_events.forget(name);
        self.forget_job(name);
        self.observed.units.remove(name);
        self.saved.remove(name);
        // Last: by its record the next supervisor knows that there may be something left to forget.
        records::remove(Path::new(UNITS_DIR), name.as_str());
    }
}
