//! From declared and observed to planned: pure, total, deterministic.
//!
//! A plan leaves the executor no choice; planning again after it was carried out gives nothing. Time comes in as
//! an argument, and [`next_wake`] says when to plan again if nothing happens before.

mod changes;
mod facts;
mod health;
mod jobs;
mod live;
mod supplies;
mod tasks;
mod view;

use std::collections::BTreeSet;
use std::fmt;

use crate::Name;
use crate::life::Life;
use crate::notify::EXTENSION_MAX;
use crate::observed::{Attach, Moment, Observed, Run, Seen, Wanted};
use crate::schedule::Planned;
use crate::spec::{Declared, OnUnmet, Ready, Start, Unit};
use crate::task::{Task, needs_preparation, owes_post_stop};
use crate::volumes::leftover;
use crate::wire::net::fnv;
pub use changes::changes;
pub use facts::{asked_paths, awaited_paths, awaited_servers};
pub use health::{is_healthy, readiness, watchdog_deadline};
pub use view::View;

/// One thing to do. Display is the line that users see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The wait of a backoff is over.
    TryAgain(Name),
    /// Note that from now on it waits for nothing but the facts of `wait_for`.
    Wait(Name),
    /// Its start has failed before there was a process, and why; what follows is what `restart` says.
    GiveUp(Name, String),
    /// Leave it out, because a condition does not hold: which.
    Skip(Name, String),
    /// It has failed, because a condition does not hold: which.
    Refuse(Name, String),
    /// Note that from now on the times of its schedule count.
    BeginSchedule(Name),
    /// A run of a job is due; one that goes on ends for it.
    BeginRun(Name, Planned),
    /// Make its process, held.
    Start(Name),
    /// Ask netd for its interfaces.
    Attach(Name),
    /// Tell its process to go.
    Release(Name),
    /// Send its stop signal.
    Stop(Name),
    /// The same because it has run for `runtime_max`; what follows is what `restart` says.
    Expire(Name),
    /// Run a hook beside its process, or while it has none.
    Hook(Name, Task),
    /// End the hook before its start: it does not start.
    CallOff(Name),
    /// The hook or reload under way has taken too long.
    EndTask(Name),
    /// It is stopping, and its hook has run: send the stop signal.
    Signal(Name),
    /// cgroup.kill.
    Kill(Name, KillReason),
    /// End its process because a check failed; what follows is what `restart` says.
    Replace {
        /// Which.
        unit: Name,
        /// By cgroup.kill, without asking.
        kill: bool,
        /// Which check, and what it found.
        why: String,
    },
    /// cgroup.freeze: nothing of it runs until it is thawed.
    Freeze(Name),
    /// Let it run again.
    Thaw(Name),
    /// Write the limits of its cgroup, in place.
    Update(Name),
    /// Have other checks carried out than before, in place.
    Recheck(Name),
    /// Bring its processes back into its cgroup.
    Gather(Name),
    /// Start it as if it had never ended: it is another one now.
    Reconsider(Name),
    /// Note when it is to be started anew because of something that it was given; none: it need not be any more.
    RenewAt(Name, Option<Moment>),
    /// Start it anew, because of something that it was given: what.
    Renew(Name, String),
    /// Give it that anew, and have it reload.
    Resupply(Name, String),
    /// Forget a unit that is no longer declared and has no process.
    Forget(Name),
    /// Delete a volume that is no longer declared.
    Discard(Name),
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
            Self::Wait(unit) => write!(f, "let {unit} wait"),
            Self::GiveUp(unit, why) => write!(f, "give {unit} up: {why}"),
            Self::Skip(unit, why) => write!(f, "skip {unit}: {why}"),
            Self::Refuse(unit, why) => write!(f, "refuse {unit}: {why}"),
            Self::BeginSchedule(unit) => write!(f, "begin the schedule of {unit}"),
            Self::BeginRun(unit, planned) => write!(f, "begin the run of {unit} for {}", planned.at.text()),
            Self::Start(unit) => write!(f, "start {unit}"),
            Self::Attach(unit) => write!(f, "attach {unit} to its networks"),
            Self::Release(unit) => write!(f, "let {unit} go"),
            Self::Stop(unit) => write!(f, "stop {unit}"),
            Self::Hook(unit, task) => write!(f, "run {} of {unit}", task.word()),
            Self::CallOff(unit) => write!(f, "call off the hook of {unit} that runs without its process"),
            Self::EndTask(unit) => write!(f, "end what {unit} is doing beside: it takes too long"),
            Self::Signal(unit) => write!(f, "signal {unit} to stop"),
            Self::Expire(unit) => write!(f, "stop {unit}: it has run for its time"),
            Self::Kill(unit, KillReason::StopTimeout) => write!(f, "kill {unit}: it did not stop in time"),
            Self::Kill(unit, KillReason::StartTimeout) => write!(f, "kill {unit}: it was not ready in time"),
            Self::Kill(unit, KillReason::LeftOver) => write!(f, "kill what is left of {unit}"),
            Self::Replace { unit, kill: false, why } => write!(f, "restart {unit}: {why}"),
            Self::Replace { unit, kill: true, why } => write!(f, "kill {unit}: {why}"),
            Self::Freeze(unit) => write!(f, "freeze {unit}"),
            Self::Thaw(unit) => write!(f, "thaw {unit}"),
            Self::Update(unit) => write!(f, "write the limits of {unit}"),
            Self::Recheck(unit) => write!(f, "check {unit} anew"),
            Self::Gather(unit) => write!(f, "bring {unit} back into its cgroup"),
            Self::Reconsider(unit) => write!(f, "give {unit} another try: it has changed"),
            Self::RenewAt(unit, Some(_)) => write!(f, "restart {unit} soon: what it was given has changed"),
            Self::RenewAt(unit, None) => write!(f, "leave {unit} as it is: what it was given is as it was"),
            Self::Resupply(unit, what) => write!(f, "reload {unit}: {what} has changed"),
            Self::Renew(unit, what) => write!(f, "restart {unit}: {what} has changed"),
            Self::Forget(unit) => write!(f, "forget {unit}"),
            Self::Discard(volume) => write!(f, "delete volume {volume}"),
        }
    }
}

/// What to do now, in an order that may be carried out as it stands.
pub fn plan(declared: &Declared, observed: &Observed, now: Moment) -> Vec<Action> {
    View::new(declared, observed).plan(now)
}

/// The moment by which to plan again when nothing happens before.
pub fn next_wake(declared: &Declared, observed: &Observed) -> Option<Moment> {
    View::new(declared, observed).next_wake()
}

impl View<'_> {
    /// What to do now, in an order that may be carried out as it stands.
    pub fn plan(&self, now: Moment) -> Vec<Action> {
        let units = self.observed.units.iter().filter_map(|(name, seen)| self.plan_unit(name, seen, now));
        let volumes = leftover(self.declared, self.observed).map(|name| Action::Discard(name.clone()));
        units.chain(volumes).collect()
    }

    fn plan_unit(&self, name: &Name, seen: &Seen, now: Moment) -> Option<Action> {
        let unit = self.declared.units.get(name);
        let record = &seen.record;
        let due = |deadline: Option<Moment>| deadline.is_some_and(|deadline| deadline <= now);
        if seen.strayed && record.life.has_process() {
            return Some(Action::Gather(name.clone()));
        }
        // One that has to go is thawed first: it could not hear its stop signal.
        let paused = seen.is_paused() && !self.must_stop(name, seen);
        if paused != seen.frozen {
            return Some(if paused { Action::Freeze(name.clone()) } else { Action::Thaw(name.clone()) });
        }
        if paused {
            return None;
        }
        if self.must_stop(name, seen) {
            return self.plan_stop(name, seen);
        }
        if let Some(action) = self.plan_live(name, seen) {
            return Some(action);
        }
        let unhealthy = |unit| {
            health::plan_health(unit, name, seen).or_else(|| health::plan_watchdog(unit, name, seen, now))
        };
        if let Some(action) = unit.and_then(unhealthy) {
            return Some(action);
        }
        if let Some(action) = unit.and_then(|unit| self.plan_job(unit, seen, now)) {
            return Some(action);
        }
        match record.life {
            Life::Running | Life::Ready | Life::Stopping
                if let Some(action) = tasks::plan_task(unit, name, seen, now) =>
            {
                Some(action)
            }
            Life::Stopping if due(record.run.as_ref().and_then(|run| run.stop_deadline)) => {
                Some(Action::Kill(name.clone(), KillReason::StopTimeout))
            }
            Life::Held | Life::SetUp | Life::Running if due(start_deadline(unit?, seen)) => {
                Some(Action::Kill(name.clone(), KillReason::StartTimeout))
            }
            Life::Running | Life::Ready if due(runtime_deadline(unit?, seen)) => {
                Some(Action::Expire(name.clone()))
            }
            Life::Held => match seen.attach {
                Attach::Unasked => Some(Action::Attach(name.clone())),
                Attach::Asked => None,
                Attach::Done => is_heard(unit, seen).then(|| Action::Release(name.clone())),
            },
            Life::Running | Life::Ready => self.plan_supplies(unit?, seen, now),
            life if !life.has_process() => self.plan_at_rest(unit, name, seen, now),
            _ => None,
        }
    }

    /// The same for one without a process: what is left of its last run goes first, then its hook runs.
    fn plan_at_rest(&self, unit: Option<&Unit>, name: &Name, seen: &Seen, now: Moment) -> Option<Action> {
        let record = &seen.record;
        if record.around.is_some() {
            return self.plan_around(unit, name, seen, now);
        }
        if seen.populated {
            return (!seen.killed).then(|| Action::Kill(name.clone(), KillReason::LeftOver));
        }
        if owes_post_stop(unit, record) {
            return Some(Action::Hook(name.clone(), Task::PostStop));
        }
        let Some(unit) = unit else {
            return Some(Action::Forget(name.clone()));
        };
        match record.life {
            Life::Backoff if !self.observed.draining && record.next_try.is_some_and(|next| next <= now) => {
                Some(Action::TryAgain(name.clone()))
            }
            Life::Idle => self.plan_start(unit, seen, now),
            _ => None,
        }
    }

    /// A held process has nothing to save and is killed; others are signalled once those that come after them and
    /// have to go as well are gone.
    fn plan_stop(&self, name: &Name, seen: &Seen) -> Option<Action> {
        if matches!(seen.record.life, Life::Held | Life::SetUp) {
            return Some(Action::Kill(name.clone(), KillReason::StopTimeout));
        }
        (!self.is_held_back(name)).then(|| Action::Stop(name.clone()))
    }

    fn plan_start(&self, unit: &Unit, seen: &Seen, now: Moment) -> Option<Action> {
        let stays = self.observed.draining || !is_wanted(unit, seen) || !jobs::is_coming(unit, seen);
        if stays
            || self.waits_for_unit(unit).is_some()
            || self.waits_for_clock(unit, seen)
            || self.waits_for_supply(unit).is_some()
        {
            return None;
        }
        let name = unit.name.clone();
        if let Some(fact) = facts::missing(unit, &self.observed.facts) {
            let late = wait_deadline(unit, seen).is_some_and(|deadline| deadline <= now);
            return match seen.record.waits_since {
                None => Some(Action::Wait(name)),
                Some(_) => late.then(|| Action::GiveUp(name, format!("{fact}, too long"))),
            };
        }
        if let Some(why) = facts::unmet(&unit.conditions, &self.observed.facts) {
            return Some(match unit.conditions.on_unmet {
                OnUnmet::Skip => Action::Skip(name, why),
                OnUnmet::Fail => Action::Refuse(name, why),
            });
        }
        if self.waits_for_room(unit).is_some() {
            return None;
        }
        let process = self.declared.identity(&name).map(|identity| identity.process);
        Some(match needs_preparation(unit, &seen.record, process) {
            true => Action::Hook(name, Task::PreStart),
            false => Action::Start(name),
        })
    }

    /// The moment by which to plan again when nothing happens before.
    pub fn next_wake(&self) -> Option<Moment> {
        self.observed.units.iter().filter_map(|(name, seen)| self.deadline(name, seen)).min()
    }

    /// The next moment at which time alone changes what is planned for a unit.
    fn deadline(&self, name: &Name, seen: &Seen) -> Option<Moment> {
        if self.must_stop(name, seen) || seen.is_paused() {
            return None;
        }
        let unit = self.declared.units.get(name);
        let own = self.own_deadline(unit, seen);
        let run = unit.and_then(|unit| self.run_deadline(unit, seen));
        own.into_iter().chain(run).min()
    }

    /// The same, the times of its schedule apart.
    fn own_deadline(&self, unit: Option<&Unit>, seen: &Seen) -> Option<Moment> {
        let record = &seen.record;
        if let Some(around) = &record.around {
            return Some(around.deadline);
        }
        match record.life {
            // What is left of its last run goes first, and that is told.
            Life::Backoff if !self.observed.draining && !seen.populated => record.next_try,
            Life::Stopping => {
                let stop = record.run.as_ref()?.stop_deadline;
                [stop, tasks::task_deadline(seen)].into_iter().flatten().min()
            }
            Life::Held | Life::SetUp => start_deadline(unit?, seen),
            Life::Running | Life::Ready => {
                let start = start_deadline(unit?, seen).filter(|_| record.life == Life::Running);
                let renewal = supplies::renewal(unit?, seen);
                let others = [runtime_deadline(unit?, seen), watchdog_deadline(unit?, seen), renewal];
                others.into_iter().chain([start, tasks::task_deadline(seen)]).flatten().min()
            }
            Life::Idle => {
                let starts = |unit: &&Unit| is_wanted(unit, seen) && jobs::is_coming(unit, seen);
                let unit = unit.filter(|unit| starts(unit) && !self.observed.draining)?;
                facts::missing(unit, &self.observed.facts)?;
                let only = self.waits_for_unit(unit).is_none() && self.waits_for_supply(unit).is_none();
                only.then(|| wait_deadline(unit, seen)).flatten()
            }
            _ => None,
        }
    }
}

/// Whether the unit should run, apart from what it waits for.
pub fn is_wanted(unit: &Unit, seen: &Seen) -> bool {
    match seen.record.wanted {
        Wanted::Auto => unit.enabled && unit.start == Start::Boot,
        Wanted::Started => true,
        Wanted::Stopped => false,
    }
}

/// Whether a unit without a process has nothing to wait for: it is not wanted, or a job that runs when it is asked.
pub fn rests(unit: &Unit, seen: &Seen) -> bool {
    !is_wanted(unit, seen) || unit.schedule.is_none() && !jobs::is_coming(unit, seen)
}

/// Those that a unit comes after, for [`crate::observed::Run::after`].
pub fn comes_after(declared: &Declared, unit: &Unit) -> BTreeSet<Name> {
    let before_it = declared.units.values().filter(|other| other.before.contains(&unit.name));
    let own = unit.depends.keys().chain(&unit.after);
    own.chain(before_it.map(|other| &other.name)).filter(|name| **name != unit.name).cloned().collect()
}

fn start_deadline(unit: &Unit, seen: &Seen) -> Option<Moment> {
    let run = seen.record.run.as_ref()?;
    let counts = !unit.start_timeout.is_zero() && !seen.record.health.was_ready;
    let deadline = run.started.after(unit.start_timeout);
    // However often it asks: a start that never ends would never fail.
    counts.then(|| put_off(run, deadline).min(deadline.after(EXTENSION_MAX)))
}

fn runtime_deadline(unit: &Unit, seen: &Seen) -> Option<Moment> {
    let run = seen.record.run.as_ref()?;
    (!unit.runtime_max.is_zero()).then(|| put_off(run, run.started.after(unit.runtime_max)))
}

/// Whether no word of readiness can be missed when its program runs from now on.
fn is_heard(unit: Option<&Unit>, seen: &Seen) -> bool {
    let by_line = unit.is_some_and(|unit| matches!(unit.ready, Ready::Log(_)));
    !by_line || seen.listened.is_some() && seen.listened == seen.record.run.as_ref().map(|run| run.number)
}

/// A deadline that the run may have asked for more time for.
fn put_off(run: &Run, deadline: Moment) -> Moment {
    run.talk.extended.map_or(deadline, |extended| deadline.max(extended))
}

fn wait_deadline(unit: &Unit, seen: &Seen) -> Option<Moment> {
    let timeout = unit.wait_for.timeout;
    seen.record.waits_since.filter(|_| !timeout.is_zero()).map(|since| since.after(timeout))
}

/// A hash that spreads names and hides nothing.
pub fn hash(text: &str) -> u64 {
    fnv(&[text])
}

/// Whether a shutdown has nothing left to stop.
pub fn is_drained(observed: &Observed) -> bool {
    let rests =
        |seen: &Seen| !seen.record.life.has_process() && !seen.populated && seen.record.around.is_none();
    observed.units.values().all(rests)
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
