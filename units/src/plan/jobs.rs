//! When jobs run: what their schedule, the others of the set and a run that is under way say to that.

use super::{Action, View, is_wanted};
use crate::job::{Cause, may_begin, next_run};
use crate::life::Life;
use crate::observed::{Moment, Seen};
use crate::schedule::Planned;
use crate::spec::{Type, Unit};

impl View<'_> {
    /// Begins a run that is due, or notes from when on the schedule counts.
    pub(super) fn plan_job(&self, unit: &Unit, seen: &Seen, now: Moment) -> Option<Action> {
        if !self.may_run(unit, seen) {
            return None;
        }
        let facts = &self.observed.facts;
        let (name, ledger) = (unit.name.clone(), &seen.record.job);
        if unit.schedule.as_ref().is_some_and(|schedule| schedule.has_to_begin(ledger, facts, now)) {
            return Some(Action::BeginSchedule(name));
        }
        if !may_begin(unit, &seen.record) || self.waits_for_unit(unit).is_some() {
            return None;
        }
        if self.is_needed(unit, seen) {
            let planned = Planned { at: facts.wall(now), due: now, cause: Cause::Needed };
            return Some(Action::BeginRun(name, planned));
        }
        let next = next_run(unit, ledger, facts, now).filter(|next| next.due <= now)?;
        Some(Action::BeginRun(name, next))
    }

    /// Whether its schedule counts at present, and nothing of an earlier process is left.
    fn may_run(&self, unit: &Unit, seen: &Seen) -> bool {
        let is_clean = seen.record.life.has_process() || !seen.populated;
        unit.kind == Type::Job && is_clean && !self.observed.draining && is_wanted(unit, seen)
    }

    /// Whether a job without a schedule is what another unit waits for, and has not run since the boot.
    fn is_needed(&self, unit: &Unit, seen: &Seen) -> bool {
        let waits = |other: &&Unit| {
            let theirs = self.observed.units.get(&other.name);
            let is_idle = theirs.is_some_and(|theirs| {
                theirs.record.life == Life::Idle && is_wanted(other, theirs) && is_coming(other, theirs)
            });
            is_idle && other.depends.contains_key(&unit.name)
        };
        let behind = self.behind(&unit.name).iter().filter_map(|name| self.declared.units.get(*name));
        unit.schedule.is_none()
            && seen.record.life == Life::Idle
            && behind.into_iter().any(|other| waits(&other))
    }

    /// Whether a job runs for those that depend on it: it has no time of its own.
    pub(super) fn is_called(&self, unit: &Unit) -> bool {
        let behind = self.behind(&unit.name).iter().filter_map(|name| self.declared.units.get(*name));
        unit.schedule.is_none() && behind.into_iter().any(|other| other.depends.contains_key(&unit.name))
    }

    /// When time alone lets a run begin.
    pub(super) fn run_deadline(&self, unit: &Unit, seen: &Seen) -> Option<Moment> {
        let waits = !self.may_run(unit, seen) || self.waits_for_unit(unit).is_some();
        let next = || next_run(unit, &seen.record.job, &self.observed.facts, self.observed.facts.looked);
        (!waits && may_begin(unit, &seen.record)).then(next).flatten().map(|next| next.due)
    }

    /// Whether a run of its schedule, made up for one that was interrupted, still has no clock to go by.
    pub(super) fn waits_for_clock(&self, unit: &Unit, seen: &Seen) -> bool {
        let planned = seen.record.job.current.is_some_and(|current| current.cause == Cause::Schedule);
        let schedule = unit.schedule.as_ref().filter(|_| planned);
        schedule.is_some_and(|schedule| schedule.waits_for_clock(&self.observed.facts))
    }

    /// What a job without a run under way waits for, in words.
    pub(super) fn waits_for_run(&self, unit: &Unit, seen: &Seen) -> Option<String> {
        let facts = &self.observed.facts;
        let Some(schedule) = &unit.schedule else {
            return Some("runs when it is asked for".to_owned());
        };
        if schedule.waits_for_clock(facts) {
            return Some("waits for the clock to be set".to_owned());
        }
        let next = next_run(unit, &seen.record.job, facts, facts.looked);
        match next {
            Some(next) if next.due <= facts.looked => self.waits_for_unit(unit),
            Some(next) => Some(format!("waits for its next run at {}", facts.wall(next.due).text())),
            None => Some("has no run to come before the next boot".to_owned()),
        }
    }
}

/// Whether a unit that has no process is about to have one: a job only when a run has begun.
pub(super) fn is_coming(unit: &Unit, seen: &Seen) -> bool {
    unit.kind != Type::Job || seen.record.job.current.is_some()
}
