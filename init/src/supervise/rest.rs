//! Units that do not start, or whose end has consequences for others.

use berth_units::Name;
use berth_units::life::{Event, Life, Rest};
use berth_units::observed::Wanted;
use berth_units::time::rfc3339;
use berth_units::wire::control::{ExitReason, LastExit};
use berth_units::wire::init::ToInit;

use super::{Supervisor, clock};
use crate::{error, notice, warning};

impl Supervisor {
    /// From now on it waits for facts alone.
    pub(super) fn wait(&mut self, name: &Name) {
        if let Some(seen) = self.observed.units.get_mut(name) {
            seen.record.waits_since = Some(clock::now());
        }
        self.save(name);
    }

    /// Its start has failed before there was a process.
    pub(super) fn give_up(&mut self, name: &Name, why: &str) {
        self.ended(name, (ExitReason::StartFailed, None, None), Some(why.to_owned()));
    }

    /// It is left out.
    pub(super) fn skip(&mut self, name: &Name, why: &str) {
        notice!("{name} skipped: {why}");
        let identity = self.set.declared.identity(name);
        if let Some(seen) = self.observed.units.get_mut(name)
            && seen.record.step(Event::Skipped, clock::now())
        {
            seen.record.rests_as = identity.map(|identity| identity.whole);
            seen.record.note = Some(why.to_owned());
        }
        self.end_run(name, ExitReason::Skipped, why);
        self.save(name);
    }

    /// It has failed, whatever its policy: no further try would find another node.
    pub(super) fn refuse(&mut self, name: &Name, why: &str) {
        notice!("{name}: could not be started: {why}");
        let at = rfc3339(clock::wall());
        let detail = Some(why.to_owned());
        let identity = self.set.declared.identity(name);
        if let Some(seen) = self.observed.units.get_mut(name) {
            seen.record.last_exit =
                Some(LastExit { reason: ExitReason::StartFailed, code: None, signal: None, at, detail });
            seen.record.step(Event::Exited(Rest::Failed), clock::now());
            seen.record.rests_as = identity.map(|identity| identity.whole);
        }
        self.end_run(name, ExitReason::StartFailed, why);
        self.chain(name, Rest::Failed);
        self.save(name);
    }

    /// It has run for its time.
    pub(super) fn expire(&mut self, name: &Name) {
        notice!("{name}: has run for runtime_max; stopping it");
        if let Some(run) = self.observed.units.get_mut(name).and_then(|seen| seen.record.run.as_mut()) {
            run.expired = true;
        }
        self.stop(name);
    }

    /// Starts those that follow an end. What was stopped by hand stays stopped, what is about to run is left alone.
    pub(super) fn chain(&mut self, name: &Name, rest: Rest) {
        let next = match (self.set.declared.units.get(name), rest) {
            (Some(unit), Rest::Failed) => unit.on_failure.clone(),
            (Some(unit), Rest::Completed) => unit.on_success.clone(),
            _ => return,
        };
        let rests = |life| matches!(life, Life::Idle | Life::Completed | Life::Failed | Life::Skipped);
        for other in next {
            let seen = self.observed.units.get(&other);
            let startable =
                seen.is_some_and(|seen| seen.record.wanted != Wanted::Stopped && rests(seen.record.life));
            if startable && !self.observed.draining {
                notice!(
                    "{name} has {}; starting {other}",
                    if rest == Rest::Failed { "failed" } else { "completed" }
                );
                self.want(&other, false);
            }
        }
    }

    /// It ended once too often, and its file wants the node to restart over that.
    pub(super) fn reboot_over(&self, name: &Name) {
        warning!("{name} ended once too often; restarting the node");
        if let Err(error) = self.link.say(ToInit::Shutdown { reboot: true }) {
            error!("cannot ask for a reboot: {error}; ignoring");
        }
    }
}
