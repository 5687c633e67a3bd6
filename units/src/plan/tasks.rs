//! What is to be done beside the process of a unit and around its runs, and the way to its stop signal.

use super::jobs::is_coming;
use super::{Action, Name, View, is_wanted};
use crate::life::Life;
use crate::observed::{Moment, Seen};
use crate::spec::Unit;
use crate::task::{Task, is_done};

/// The next step of hooks, reload and stop signal, if one is due.
pub(super) fn plan_task(unit: Option<&Unit>, name: &Name, seen: &Seen, now: Moment) -> Option<Action> {
    let run = seen.record.run.as_ref()?;
    if let Some(doing) = &run.doing {
        return (doing.deadline <= now).then(|| Action::EndTask(name.clone()));
    }
    let task = match seen.record.life {
        Life::Running | Life::Ready => Task::PostStart,
        Life::Stopping if !run.signalled => Task::PreStop,
        _ => return None,
    };
    if unit.is_some_and(|unit| !is_done(unit, &seen.record, task)) {
        return Some(Action::Hook(name.clone(), task));
    }
    let is_time = run.signal_at.is_none_or(|at| at <= now);
    (task == Task::PreStop && is_time).then(|| Action::Signal(name.clone()))
}

impl View<'_> {
    /// The next step of a hook that runs while there is no process.
    pub(super) fn plan_around(
        &self,
        unit: Option<&Unit>,
        name: &Name,
        seen: &Seen,
        now: Moment,
    ) -> Option<Action> {
        let doing = seen.record.around.as_ref()?;
        let starts = || {
            let unit = unit.filter(|unit| is_wanted(unit, seen) && is_coming(unit, seen));
            let may = unit.is_some_and(|unit| self.waits_for_unit(unit).is_none());
            seen.record.life == Life::Idle && !self.observed.draining && may
        };
        if unit.is_none() || doing.task == Task::PreStart && !starts() {
            return Some(Action::CallOff(name.clone()));
        }
        (doing.deadline <= now).then(|| Action::EndTask(name.clone()))
    }
}

/// When the task under way has to be over; where there is none, when the stop signal is sent that waits.
pub(super) fn task_deadline(seen: &Seen) -> Option<Moment> {
    let run = seen.record.run.as_ref()?;
    let waits = run.signal_at.filter(|_| seen.record.life == Life::Stopping && !run.signalled);
    run.doing.as_ref().map(|doing| doing.deadline).or(waits)
}
