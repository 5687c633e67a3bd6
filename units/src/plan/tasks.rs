//! What is to be done beside the process of a unit, and the way to its stop signal.

use super::{Action, Name};
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
    (task == Task::PreStop).then(|| Action::Signal(name.clone()))
}

/// When the task under way has to be over.
pub(super) fn task_deadline(seen: &Seen) -> Option<Moment> {
    seen.record.run.as_ref()?.doing.as_ref().map(|doing| doing.deadline)
}
