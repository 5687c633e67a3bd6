//! Runs of jobs: carries out what the planner says of them, and keeps their ledgers.
//!
//! A ledger lies on the data partition and is part of the unit's record in RAM, too. The record is the newer one as
//! long as the node is up; after a boot there is no record, and the ledger tells what was run and what was not.

use std::collections::BTreeSet;
use std::path::Path;

use berth_units::Name;
use berth_units::job::{self, JobEnd, JobRun, Ledger};
use berth_units::life::Rest;
use berth_units::observed::Moment;
use berth_units::schedule::Planned;
use berth_units::spec::{Declared, Type, Unit};
use berth_units::wire::control::{ExitReason, LastExit, RunStatus};

use super::{Supervisor, clock, records};
use crate::kmsg::Chain;
use crate::{error, notice};

/// Where ledgers lie.
const JOBS_DIR: &str = "/data/jobs";

impl Supervisor {
    /// The times of its schedule count from now on.
    pub(super) fn begin_schedule(&mut self, name: &Name) {
        let facts = &self.observed.facts;
        if let Some(seen) = self.observed.units.get_mut(name) {
            job::begin_schedule(&mut seen.record.job, facts, clock::now());
        }
        self.save_ledger(name);
        self.save(name);
    }

    /// A run is due. In RAM only: until its process is let go, a run that is lost with the node is due again.
    pub(super) fn begin_run(&mut self, name: &Name, planned: Planned) {
        let unit = self.set.declared.units.get(name);
        let Some((unit, seen)) = unit.zip(self.observed.units.get_mut(name)) else {
            return;
        };
        job::begin_run(unit, &mut seen.record, planned, (&self.observed.facts, clock::now()));
        self.save(name);
    }

    /// Somebody wants a run of it now.
    pub(super) fn ask_run(&mut self, name: &Name) {
        let is_job = self.set.declared.units.get(name).is_some_and(|unit| unit.kind == Type::Job);
        if let Some(seen) = self.observed.units.get_mut(name).filter(|_| is_job) {
            job::ask_run(&mut seen.record, &self.observed.facts, clock::now());
        }
    }

    /// The last thing before its process is told to go.
    pub(super) fn note_let_go(&mut self, name: &Name) {
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        if seen.record.job.current.is_some_and(|current| !current.let_go) {
            job::let_go(&mut seen.record, &self.observed.facts, clock::now());
            self.save_ledger(name);
            self.save(name);
        }
    }

    /// A try of a run has ended. Its record is written down by the caller: who dies in between ends it once more, and
    /// writes the same ledger.
    pub(super) fn end_try(&mut self, name: &Name, rest: Rest, end: JobEnd) {
        self.change_run(name, |unit, record, clock| job::end_try(unit, record, (rest, end), clock));
    }

    /// What is under way has no process, and is given up.
    pub(super) fn end_run(&mut self, name: &Name, reason: ExitReason, detail: &str) {
        let end = JobEnd::without_process(reason, detail);
        self.change_run(name, |unit, record, clock| job::end_run(unit, record, end, clock));
    }

    fn change_run(
        &mut self,
        name: &Name,
        change: impl FnOnce(&Unit, &mut berth_units::observed::Record, (&berth_units::observed::Facts, Moment)),
    ) {
        let unit = self.set.declared.units.get(name);
        let Some((unit, seen)) = unit.zip(self.observed.units.get_mut(name)) else {
            return;
        };
        if seen.record.job.current.is_some() {
            change(unit, &mut seen.record, (&self.observed.facts, clock::now()));
            self.save_ledger(name);
        }
    }

    fn save_ledger(&self, name: &Name) {
        let Some(seen) = self.observed.units.get(name) else {
            return;
        };
        let written = records::write(Path::new(JOBS_DIR), name.as_str(), &seen.record.job, self.lasting);
        if let Err(error) = written {
            error!("{}; after a power cut '{name}' may run again", Chain(&error));
        }
    }

    /// Takes over what the last boot knew of jobs that this one has no record of.
    pub(super) fn resume_jobs(&mut self, declared: &Declared) {
        let jobs = declared.units.values().filter(|unit| unit.kind == Type::Job);
        let names = self.observed.units.keys().cloned().collect::<BTreeSet<_>>();
        for unit in jobs.filter(|unit| !names.contains(&unit.name)) {
            let Some(mut ledger) = records::read::<Ledger>(Path::new(JOBS_DIR), unit.name.as_str()) else {
                continue;
            };
            if ledger.current.is_some() {
                notice!("{}: its last run was interrupted", unit.name);
            }
            job::resume(unit, &mut ledger);
            self.observed.units.entry(unit.name.clone()).or_default().record.job = ledger;
            // The record alone: if the node goes down before the next run has begun, all this is found once more.
            self.save(&unit.name);
        }
    }

    /// It is no longer declared.
    pub(super) fn forget_job(&self, name: &Name) {
        records::remove(Path::new(JOBS_DIR), name.as_str());
    }

    /// When it runs next.
    pub(super) fn next_run(&self, unit: &Unit, ledger: &Ledger) -> Option<String> {
        let (facts, now) = (&self.observed.facts, clock::now());
        let next = job::next_run(unit, ledger, facts, now).filter(|next| next.due > now)?;
        Some(facts.wall(next.due).text())
    }
}

/// How a process of a job ended.
pub(super) fn end_of(unit: Option<&Unit>, exit: &LastExit) -> JobEnd {
    let end = (exit.reason, exit.code);
    JobEnd {
        success: unit.is_some_and(|unit| berth_units::restart::is_success(&unit.restart, end)),
        reason: exit.reason,
        code: exit.code,
        signal: exit.signal,
        detail: exit.detail.clone(),
    }
}

/// Runs that have ended, for Status.
pub(super) fn runs(ledger: &Ledger) -> Vec<RunStatus> {
    let status = |run: &JobRun| RunStatus {
        number: run.number,
        cause: run.cause,
        planned: run.planned.map(|at| at.text()),
        began: run.began.text(),
        ended: run.ended.map(|at| at.text()),
        seconds: run.took.map(|took| std::time::Duration::from_micros(took).as_secs_f64()),
        tries: run.tries,
        success: run.end.success,
        reason: run.end.reason,
        code: run.end.code,
        signal: run.end.signal,
        detail: run.end.detail.clone(),
    };
    ledger.runs.iter().map(status).collect()
}
