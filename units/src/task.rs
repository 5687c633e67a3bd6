//! What is done beside the process of a running unit, or around its runs: a hook, a reload. One thing at a time; the record says which, so
//! that the next supervisor goes on from there.

use serde::{Deserialize, Serialize};

use crate::observed::{Moment, Record};
use crate::spec::{OnError, Unit};

/// Something that is done once, beside the unit's process or while it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// `hooks.pre_start`: before each start, while there is no process.
    PreStart,
    /// `hooks.post_start`: after its program was executed, before it is ready.
    PostStart,
    /// `hooks.pre_stop`: before its stop signal.
    PreStop,
    /// `hooks.post_stop`: after each end, while there is no process.
    PostStop,
    /// `[reload]`, as `berth reload` asks.
    Reload,
}

impl Task {
    /// Its word in unit files and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::PreStart => "hook pre_start",
            Self::PostStart => "hook post_start",
            Self::PreStop => "hook pre_stop",
            Self::PostStop => "hook post_stop",
            Self::Reload => "reload",
        }
    }

    /// Whether it is done while the unit has no process.
    pub fn is_around(self) -> bool {
        matches!(self, Self::PreStart | Self::PostStop)
    }
}

/// A task under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doing {
    /// Which.
    pub task: Task,
    /// Its process; none before there is one, and of a reload that is awaited by the unit's own word.
    pub pid: Option<i32>,
    /// After it the task has failed.
    pub deadline: Moment,
}

/// How the last reload of a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// When.
    pub at: Moment,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// Takes the end of the task under way in; why the run has failed over it, if it has.
pub fn end_task(
    unit: Option<&Unit>,
    record: &mut Record,
    result: Result<(), String>,
    now: Moment,
) -> Option<String> {
    let run = record.run.as_mut()?;
    let Doing { task, .. } = run.doing.take()?;
    if task == Task::Reload {
        run.talk.reloading = false;
        run.reloaded = Some(Reloaded { at: now, failed: result.err() });
        return None;
    }
    run.done.insert(task);
    let hook = unit.and_then(|unit| unit.hooks.get(&task));
    let counts = hook.is_some_and(|hook| hook.on_error == OnError::Fail);
    // Whatever comes of it, who is to stop is stopped.
    result.err().filter(|_| counts && task != Task::PreStop)
}

/// Notes a hook that begins while there is no process.
pub fn begin_around(record: &mut Record, doing: Doing, process: u64) {
    if doing.task == Task::PreStart {
        record.prepared = Some(process);
    }
    record.around = Some(doing);
}

/// Takes the end of a hook in that ran while there was no process; why the start has failed over it, if it has.
pub fn end_around(unit: Option<&Unit>, record: &mut Record, result: Result<(), String>) -> Option<String> {
    let Doing { task, .. } = record.around.take()?;
    if task == Task::PostStop {
        record.unswept = false;
        return None;
    }
    let hook = unit.and_then(|unit| unit.hooks.get(&task));
    let failed = result.err().filter(|_| hook.is_some_and(|hook| hook.on_error == OnError::Fail));
    if failed.is_some() {
        record.prepared = None;
    }
    failed
}

/// Forgets that a hook has begun which runs while there is no process: it has not, or is called off.
pub fn forget_around(record: &mut Record) {
    if record.around.take().is_some_and(|doing| doing.task == Task::PreStart) {
        record.prepared = None;
    }
}

/// Whether the next start needs its hook first; `process` is the unit's present identity.
pub fn needs_preparation(unit: &Unit, record: &Record, process: Option<u64>) -> bool {
    unit.hooks.contains_key(&Task::PreStart) && record.prepared != process
}

/// Whether the hook after its last end is still to run.
pub fn owes_post_stop(unit: Option<&Unit>, record: &Record) -> bool {
    record.unswept && unit.is_some_and(|unit| unit.hooks.contains_key(&Task::PostStop))
}

/// Whether the hook has run, or there is none.
pub fn is_done(unit: &Unit, record: &Record, task: Task) -> bool {
    !unit.hooks.contains_key(&task) || record.run.as_ref().is_some_and(|run| run.done.contains(&task))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Run;
    use crate::spec::Hook;
    use crate::{Name, Reference};

    fn unit(task: Task, on_error: OnError) -> Unit {
        let mut unit = Unit::new(Name::parse("web").unwrap(), Reference::parse("probe").unwrap());
        unit.hooks.insert(task, Hook { on_error, ..Hook::default() });
        unit
    }

    fn doing(task: Task) -> Record {
        let doing = Some(Doing { task, pid: Some(7), deadline: Moment(9) });
        Record { run: Some(Run { doing, ..Run::default() }), ..Record::default() }
    }

    #[test]
    fn a_hook_is_done_once_and_only_some_failures_count() {
        let rows = [
            (Task::PostStart, OnError::Fail, Some("exit code 3")),
            (Task::PostStart, OnError::Ignore, None),
            (Task::PreStop, OnError::Fail, None),
        ];
        for (task, on_error, expect) in rows {
            let (unit, mut record) = (unit(task, on_error), doing(task));
            assert!(!is_done(&unit, &record, task));
            let failed = end_task(Some(&unit), &mut record, Err("exit code 3".into()), Moment(1));
            assert_eq!(failed.as_deref(), expect, "{task:?} {on_error:?}");
            assert!(is_done(&unit, &record, task));
            assert_eq!(end_task(Some(&unit), &mut record, Err("late".into()), Moment(2)), None, "it is over");
            assert_eq!(end_task(Some(&unit), &mut doing(task), Ok(()), Moment(1)), None);
        }
    }

    #[test]
    fn a_hook_without_a_process_runs_once_for_each_start_and_each_end() {
        let begun = |task, unswept| {
            let mut record = Record { unswept, ..Record::default() };
            begin_around(&mut record, Doing { task, pid: None, deadline: Moment(9) }, 7);
            record
        };
        let failed = || Err("exit code 3".to_owned());
        let rows = [
            (OnError::Fail, Ok(()), None, false),
            (OnError::Fail, failed(), Some("exit code 3"), true),
            (OnError::Ignore, failed(), None, false),
        ];
        for (on_error, result, expect, again) in rows {
            let (unit, mut record) = (unit(Task::PreStart, on_error), begun(Task::PreStart, false));
            assert_eq!(end_around(Some(&unit), &mut record, result.clone()).as_deref(), expect);
            assert_eq!(needs_preparation(&unit, &record, Some(7)), again, "{on_error:?} {result:?}");
            assert!(needs_preparation(&unit, &record, Some(8)), "it is another unit now");
            assert_eq!(end_around(Some(&unit), &mut record, failed()), None, "it is over");
        }
        let (unit, mut record) = (unit(Task::PostStop, OnError::Fail), begun(Task::PostStop, true));
        assert!(owes_post_stop(Some(&unit), &record) && !owes_post_stop(None, &record));
        let mut lost = record.clone();
        assert_eq!(end_around(Some(&unit), &mut record, failed()), None);
        assert!(!owes_post_stop(Some(&unit), &record));
        forget_around(&mut lost);
        assert!(owes_post_stop(Some(&unit), &lost) && lost.around.is_none(), "it is begun again");
        let mut lost = begun(Task::PreStart, false);
        forget_around(&mut lost);
        assert!(lost.prepared.is_none());
    }

    #[test]
    fn a_reload_leaves_its_end_and_may_come_again() {
        let (unit, mut record) = (unit(Task::PostStart, OnError::Fail), doing(Task::Reload));
        record.run.as_mut().unwrap().talk.reloading = true;
        assert_eq!(end_task(Some(&unit), &mut record, Err("no".into()), Moment(3)), None);
        let run = record.run.as_ref().unwrap();
        assert_eq!(run.reloaded, Some(Reloaded { at: Moment(3), failed: Some("no".into()) }));
        assert!(run.doing.is_none() && run.done.is_empty() && !run.talk.reloading);
    }
}
