//! From declared and observed to planned: pure, total, deterministic.
//!
//! A plan leaves the executor no choice; planning again after it was carried out gives nothing. Time comes in as
//! an argument, and [`next_wake`] says when to plan again if nothing happens before.

use std::fmt;

use crate::Name;
use crate::life::Life;
use crate::observed::{Attach, Moment, NetworkSeen, Observed, Seen, Wanted};
use crate::spec::{Declared, NetworkMode, Start, Unit, Until};
use crate::wire::net::fnv;

/// One thing to do. Display is the line that users see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The wait of a backoff is over.
    TryAgain(Name),
    /// Make its process, held.
    Start(Name),
    /// Ask netd for its interfaces.
    Attach(Name),
    /// Tell its process to go.
    Release(Name),
    /// Send its stop signal.
    Stop(Name),
    /// cgroup.kill.
    Kill(Name, KillReason),
    /// Forget a unit that is no longer declared and has no process.
    Forget(Name),
}

/// Why something is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// It did not end within `stop.timeout`.
    StopTimeout,
    /// It was not ready within `start_timeout`.
    StartTimeout,
    /// Its main process is gone and others are left.
    LeftOver,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TryAgain(unit) => write!(f, "try {unit} again"),
            Self::Start(unit) => write!(f, "start {unit}"),
            Self::Attach(unit) => write!(f, "attach {unit} to its networks"),
            Self::Release(unit) => write!(f, "let {unit} go"),
            Self::Stop(unit) => write!(f, "stop {unit}"),
            Self::Kill(unit, KillReason::StopTimeout) => write!(f, "kill {unit}: it did not stop in time"),
            Self::Kill(unit, KillReason::StartTimeout) => write!(f, "kill {unit}: it was not ready in time"),
            Self::Kill(unit, KillReason::LeftOver) => write!(f, "kill what is left of {unit}"),
            Self::Forget(unit) => write!(f, "forget {unit}"),
        }
    }
}

/// What to do now, in an order that may be carried out as it stands.
pub fn plan(declared: &Declared, observed: &Observed, now: Moment) -> Vec<Action> {
    observed
        .units
        .iter()
        .filter_map(|(name, seen)| plan_unit(declared, observed, (name, seen), now))
        .collect()
}

fn plan_unit(
    declared: &Declared,
    observed: &Observed,
    (name, seen): (&Name, &Seen),
    now: Moment,
) -> Option<Action> {
    let unit = declared.units.get(name);
    let record = &seen.record;
    let due = |deadline: Option<Moment>| deadline.is_some_and(|deadline| deadline <= now);
    if record.life.has_process() && must_stop(declared, observed, name, seen) {
        return plan_stop(declared, observed, name, seen);
    }
    match record.life {
        Life::Stopping if due(record.run.as_ref().and_then(|run| run.stop_deadline)) => {
            Some(Action::Kill(name.clone(), KillReason::StopTimeout))
        }
        Life::Held | Life::SetUp | Life::Running if due(start_deadline(unit?, seen)) => {
            Some(Action::Kill(name.clone(), KillReason::StartTimeout))
        }
        Life::Held => match seen.attach {
            Attach::Unasked => Some(Action::Attach(name.clone())),
            Attach::Asked => None,
            Attach::Done => Some(Action::Release(name.clone())),
        },
        life if !life.has_process() && seen.populated => {
            (!seen.killed).then(|| Action::Kill(name.clone(), KillReason::LeftOver))
        }
        life if !life.has_process() && unit.is_none() => Some(Action::Forget(name.clone())),
        Life::Backoff if !observed.draining && due(record.next_try) => Some(Action::TryAgain(name.clone())),
        Life::Idle if may_start(declared, observed, unit?, seen) => Some(Action::Start(name.clone())),
        _ => None,
    }
}

/// Whether its process has to go: undeclared, no longer wanted, made from another version of its file, or the node
/// is shutting down.
fn must_stop(declared: &Declared, observed: &Observed, name: &Name, seen: &Seen) -> bool {
    if matches!(seen.record.life, Life::Stopping | Life::Killing) {
        return false;
    }
    let Some(unit) = declared.units.get(name) else {
        return true;
    };
    let changed = seen.record.run.as_ref().is_some_and(|run| run.fingerprint != fingerprint(unit));
    observed.draining || changed || seen.record.again || !is_wanted(unit, seen)
}

/// A held process has nothing to save and is killed; others are signalled once nothing that depends on them runs.
fn plan_stop(declared: &Declared, observed: &Observed, name: &Name, seen: &Seen) -> Option<Action> {
    if matches!(seen.record.life, Life::Held | Life::SetUp) {
        return Some(Action::Kill(name.clone(), KillReason::StopTimeout));
    }
    let has_dependant = observed.draining
        && declared.units.values().any(|other| {
            other.depends.contains_key(name)
                && observed.units.get(&other.name).is_some_and(|other| other.record.life.has_process())
        });
    (!has_dependant).then(|| Action::Stop(name.clone()))
}

/// Whether the unit should run, apart from what it waits for.
pub fn is_wanted(unit: &Unit, seen: &Seen) -> bool {
    match seen.record.wanted {
        Wanted::Auto => unit.enabled && unit.start == Start::Boot,
        Wanted::Started => true,
        Wanted::Stopped => false,
    }
}

fn may_start(declared: &Declared, observed: &Observed, unit: &Unit, seen: &Seen) -> bool {
    !observed.draining && is_wanted(unit, seen) && waits_for(declared, observed, unit).is_none()
}

/// What an idle unit waits for, in words, or `None` when nothing holds it back.
pub fn waits_for(declared: &Declared, observed: &Observed, unit: &Unit) -> Option<String> {
    for (name, depends) in &unit.depends {
        let life = observed.units.get(name).map(|seen| seen.record.life).unwrap_or_default();
        let (holds, what) = match depends.until {
            Until::Started => (life.is_up() || life == Life::Completed, "started"),
            Until::Ready => (matches!(life, Life::Ready | Life::Completed), "ready"),
        };
        // A unit that is not declared at all was refused when the set was parsed.
        if !holds && declared.units.contains_key(name) {
            return Some(format!("waits for '{name}' to be {what}"));
        }
    }
    if unit.network != NetworkMode::Bridge {
        return None;
    }
    unit.networks.keys().find_map(|network| match observed.networks.get(network) {
        Some(NetworkSeen::Up) => None,
        Some(NetworkSeen::Failed(why)) => Some(format!("waits for network '{network}': {why}")),
        None => Some(format!("waits for network '{network}'")),
    })
}

fn start_deadline(unit: &Unit, seen: &Seen) -> Option<Moment> {
    let run = seen.record.run.as_ref()?;
    (!unit.start_timeout.is_zero()).then(|| run.started.after(unit.start_timeout))
}

/// The moment by which to plan again when nothing happens before.
pub fn next_wake(declared: &Declared, observed: &Observed) -> Option<Moment> {
    // Only what plan_unit would act on then: a moment that passes without an action would be due for ever.
    let deadlines = observed.units.iter().filter_map(|(name, seen)| match seen.record.life {
        Life::Backoff if !observed.draining && !seen.populated => seen.record.next_try,
        Life::Stopping => seen.record.run.as_ref()?.stop_deadline,
        Life::Held | Life::SetUp | Life::Running if !must_stop(declared, observed, name, seen) => {
            start_deadline(declared.units.get(name)?, seen)
        }
        _ => None,
    });
    deadlines.min()
}

/// Tells two versions of a unit apart.
pub fn fingerprint(unit: &Unit) -> u64 {
    fnv(&[&format!("{unit:?}")])
}

/// A hash that spreads names and hides nothing.
pub fn hash(text: &str) -> u64 {
    fnv(&[text])
}

/// Whether a shutdown has nothing left to stop.
pub fn is_drained(observed: &Observed) -> bool {
    observed.units.values().all(|seen| !seen.record.life.has_process() && !seen.populated)
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
