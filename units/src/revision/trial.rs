//! How a trial goes: what the units say, and what follows from it.
//!
//! Time is counted by [`Moment`], which no setting of a clock moves; over boots what earlier ones have taken is added.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Reason;
use crate::Name;
use crate::health::waits_for;
use crate::life::Life;
use crate::observed::{Moment, Seen};
use crate::plan::{is_healthy, is_wanted};
use crate::spec::{OnFailedUpdate, Type, Unit};
use crate::wire::control::ExitReason;

/// What a unit has to show before a revision is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// It has to be healthy for this long without a break.
    pub healthy_for: Duration,
    /// By then, from the beginning of the trial on.
    pub deadline: Duration,
    /// How it is.
    pub standing: Standing,
}

/// How a unit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it should be.
    Well,
    /// Not yet, and what it waits for.
    Waits(String),
    /// It has shown that it will not be.
    Failed(String),
}

/// What is known of the trial in this boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which revision.
    pub revision: u64,
    /// Since when it has been on trial in this boot.
    pub began: Moment,
    /// Time that it took before.
    pub spent: Duration,
    /// Runs that each unit had had then.
    pub runs: BTreeMap<Name, u64>,
    /// Since when each is healthy.
    pub healthy: BTreeMap<Name, Moment>,
}

impl Progress {
    /// Time that the trial has taken in all.
    pub fn taken(&self, now: Moment) -> Duration {
        self.spent.saturating_add(now.since(self.began))
    }
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet; it is to be looked at again at that moment, whatever happens before.
    Wait(Moment),
    /// It is good.
    Commit,
    /// It is bad.
    Fail(Reason),
}

/// Takes in how the units are now, and says what follows.
pub fn trial_step(progress: &mut Progress, gates: &BTreeMap<Name, Gate>, now: Moment) -> Step {
    let is_well = |name: &Name| gates.get(name).is_some_and(|gate| gate.standing == Standing::Well);
    progress.healthy.retain(|name, _| is_well(name));
    for (name, gate) in gates {
        match &gate.standing {
            Standing::Well => drop(progress.healthy.entry(name.clone()).or_insert(now)),
            Standing::Failed(why) => return Step::Fail(Reason::Health(name.clone(), why.clone())),
            Standing::Waits(_) => {}
        }
    }
    let healthy =
        |name: &Name, gate: &Gate| progress.healthy.get(name).map(|since| since.after(gate.healthy_for));
    let left = |gate: &Gate| gate.deadline.saturating_sub(progress.taken(now));
    let open = || gates.iter().filter(|(name, gate)| healthy(name, gate).is_none_or(|done| done > now));
    // Whoever is not well is to blame before those that have become well too late.
    let late = open()
        .filter(|(_, gate)| left(gate).is_zero())
        .min_by_key(|(_, gate)| gate.standing == Standing::Well);
    if let Some((name, gate)) = late {
        return Step::Fail(Reason::Deadline(name.clone(), waits_text(gate)));
    }
    let due = |(name, gate): (&Name, &Gate)| {
        let due = now.after(left(gate));
        healthy(name, gate).map_or(due, |done| done.min(due))
    };
    open().map(due).min().map_or(Step::Commit, Step::Wait)
}

fn waits_text(gate: &Gate) -> String {
    match &gate.standing {
        Standing::Waits(what) => what.clone(),
        Standing::Well | Standing::Failed(_) => {
            format!("healthy, and not yet for {}", crate::human::duration(gate.healthy_for))
        }
    }
}

/// How a unit of a revision on trial is; none of one that has no say. `process` is what a process of this revision
/// was made from ([`crate::change::Identity::process`]), `runs` those that it had had when the trial began.
pub fn standing(unit: &Unit, seen: &Seen, process: Option<u64>, runs: u64) -> Option<Standing> {
    if unit.update.on_failure == OnFailedUpdate::Hold || !is_wanted(unit, seen) || unit.kind == Type::Job {
        return None;
    }
    let record = &seen.record;
    let exit = record.last_exit.as_ref().filter(|_| record.runs > runs);
    if let Some(exit) = exit.filter(|exit| exit.reason == ExitReason::Unhealthy) {
        return Some(Standing::Failed(exit.detail.clone().unwrap_or_else(|| exit.to_string())));
    }
    let is_this = record.run.as_ref().is_some_and(|run| Some(run.fingerprint) == process);
    Some(match record.life {
        Life::Failed => Standing::Failed(last_words(seen, "failed")),
        Life::Completed | Life::Skipped => Standing::Well,
        Life::Ready if is_this && is_healthy(seen) && !seen.is_paused() => Standing::Well,
        Life::Ready if !is_this => Standing::Waits("it is to be replaced".to_owned()),
        Life::Ready | Life::Running => {
            let check = waits_for(unit, &record.health).unwrap_or_else(|| "its readiness".to_owned());
            Standing::Waits(check)
        }
        Life::Backoff => Standing::Waits(last_words(seen, "its next try")),
        Life::Held | Life::SetUp => Standing::Waits("its start".to_owned()),
        Life::Stopping | Life::Killing => Standing::Waits("its end".to_owned()),
        Life::Idle | Life::Stopped => {
            Standing::Waits(record.note.clone().unwrap_or_else(|| "its dependencies".to_owned()))
        }
    })
}

fn last_words(seen: &Seen, state: &str) -> String {
    let exit = seen.record.last_exit.as_ref();
    exit.map_or_else(|| state.to_owned(), |exit| format!("{state}: {exit}"))
}

/// Whether a unit was failing before the trial already: that it goes on so says nothing of the revision.
pub fn is_excused(unit: &Unit, seen: &Seen) -> bool {
    let record = &seen.record;
    let tried = record.runs > 0 || matches!(record.life, Life::Failed | Life::Backoff);
    let fails =
        matches!(record.life, Life::Failed | Life::Backoff) || record.restarts > 0 && !record.life.is_up();
    tried && fails && is_wanted(unit, seen)
}
