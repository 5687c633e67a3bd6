//! A trial under way: what the units say, and what follows.

use std::collections::BTreeMap;
use std::path::Path;

use berth_units::Name;
use berth_units::life::Life;
use berth_units::plan::View;
use berth_units::revision::{Gate, Progress, Standing, Step, standing, trial_step};
use berth_units::wire::control::{FailedStatus, TrialStatus};

use super::records::RUN_DIR;
use super::revisions::now_text;
use super::{Supervisor, clock, records, volumes};
use crate::kmsg::Chain;
use crate::{error, notice};

const PROGRESS: &str = "trial";

impl Supervisor {
    /// Looks at the trial, if there is one. `true`: something else is to be planned from now on.
    pub(super) fn judge(&mut self) -> bool {
        self.next_look = None;
        let trying = self.head.trying.filter(|trying| *trying == self.set.revision);
        let Some(revision) = trying.filter(|_| !self.observed.draining) else {
            return false;
        };
        let before = self.progress_of(revision);
        let mut progress = before.clone();
        let step = trial_step(&mut progress, &self.gates(&before), clock::now());
        if progress != before || self.progress.is_none() {
            self.keep_progress(progress);
        }
        match step {
            Step::Wait(moment) => {
                self.next_look = Some(moment);
                false
            }
            Step::Commit => {
                self.commit(revision);
                true
            }
            Step::Fail(reason) => {
                error!("revision {revision} has failed: {reason}; back to revision {}", self.head.good);
                self.head.fail(&reason, &now_text());
                self.write_head();
                self.take_good();
                true
            }
        }
    }

    fn commit(&mut self, revision: u64) {
        self.head.commit();
        let is_written = self.write_head();
        notice!("revision {revision} is good");
        self.forget_progress();
        // Nothing that the revision before it needs was deleted until now; nor is it while the disk calls that one good.
        let is_final = is_written && self.set.fault.is_none();
        self.observed.volumes = if is_final { volumes::all() } else { BTreeMap::new() };
        if is_written {
            self.remove_old();
        }
    }

    /// How far the trial is: as this supervisor knows, as the one before wrote down, or from the beginning of the boot.
    fn progress_of(&self, revision: u64) -> Progress {
        let is_this = |progress: &Progress| progress.revision == revision;
        let noted = || records::read(Path::new(RUN_DIR), PROGRESS);
        let spent = self.head.trial.as_ref().map_or(0, |note| note.spent);
        self.progress.clone().or_else(noted).filter(is_this).unwrap_or_else(|| Progress {
            revision,
            began: clock::now(),
            spent: std::time::Duration::from_secs(spent),
            ..Progress::default()
        })
    }

    /// The trial is over.
    pub(super) fn forget_progress(&mut self) {
        records::remove(Path::new(RUN_DIR), PROGRESS);
        self.progress = None;
    }

    pub(super) fn keep_progress(&mut self, progress: Progress) {
        if let Err(error) = records::write(Path::new(RUN_DIR), PROGRESS, &progress, false) {
            error!("{}; the trial may take longer", Chain(&error));
        }
        self.progress = Some(progress);
    }

    fn gates(&self, progress: &Progress) -> BTreeMap<Name, Gate> {
        let view = View::new(&self.set.declared, &self.observed);
        let excused = self.head.trial.as_ref().map(|note| note.excused.as_slice()).unwrap_or_default();
        let units = self.set.declared.units.values();
        let asked = units.filter(|unit| !excused.iter().any(|name| name == unit.name.as_str()));
        let gate = |unit: &berth_units::spec::Unit| {
            let seen = self.observed.units.get(&unit.name)?;
            let process = self.set.declared.identity(&unit.name).map(|identity| identity.process);
            let runs = progress.runs.get(&unit.name).copied().unwrap_or_default();
            let mut standing = standing(unit, seen, process, runs)?;
            if let (Standing::Waits(what), Life::Idle) = (&mut standing, seen.record.life)
                && let Some(why) = view.waits_for(unit)
            {
                *what = why;
            }
            let (healthy_for, deadline) = (unit.update.healthy_for, unit.update.deadline);
            Some((unit.name.clone(), Gate { healthy_for, deadline, standing }))
        };
        asked.filter_map(gate).collect()
    }

    /// For Status.
    pub(super) fn trial_status(&self) -> Option<TrialStatus> {
        let revision = self.head.trying.filter(|trying| *trying == self.set.revision)?;
        let progress = self.progress_of(revision);
        let gates = self.gates(&progress);
        let taken = progress.taken(clock::now());
        let left = gates.values().map(|gate| gate.deadline.saturating_sub(taken)).min().unwrap_or_default();
        let waits = gates.iter().filter_map(|(name, gate)| match &gate.standing {
            Standing::Well => None,
            Standing::Waits(what) | Standing::Failed(what) => Some(format!("{name}: {what}")),
        });
        let waits: Vec<_> = waits.collect();
        Some(TrialStatus {
            good: self.head.good,
            left_seconds: left.as_secs_f64(),
            gates: gates.len(),
            healthy: gates.len() - waits.len(),
            waits,
            boots: self.head.trial.as_ref().map_or(0, |note| note.boots),
        })
    }

    /// The one whose failure has brought the revision in force back.
    pub(super) fn failed_status(&self) -> Option<FailedStatus> {
        let last = self.head.bad.last().filter(|bad| bad.returned_to == self.set.revision)?;
        Some(FailedStatus {
            revision: last.revision,
            reason: last.reason.clone(),
            returned_to: last.returned_to,
        })
    }
}
