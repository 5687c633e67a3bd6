//! The runs of a job: which one is under way, how the last ones ended, and up to when its schedule is settled.
//!
//! A [`Ledger`] lasts: it is written to the data partition before a run's process is let go, and again when the run
//! has ended. So a power cut finds either a run that has not begun, and is still due, or one that is noted as begun
//! and never ended: that one was interrupted, and is made up for once.

use serde::{Deserialize, Serialize};

use crate::life::{Event, Life, Rest};
use crate::observed::{Facts, Moment, Record, Wall};
use crate::schedule::{CatchUp, Overlap, Planned};
use crate::spec::Unit;
use crate::wire::control::ExitReason;

/// What is written down of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// From when on `schedule.every` counts.
    #[serde(default)]
    pub anchor: Option<Wall>,
    /// Planned times up to this one are settled.
    #[serde(default)]
    pub settled: Option<Wall>,
    /// The same as long as the clock was not set in this boot.
    #[serde(default)]
    pub settled_in_boot: Option<Moment>,
    /// The run of `schedule.on_boot` is settled in this boot.
    #[serde(default)]
    pub boot_settled: bool,
    /// Runs ever: numbers them.
    #[serde(default)]
    pub count: u64,
    /// The run under way, tries and waits between them included.
    #[serde(default)]
    pub current: Option<Current>,
    /// The last ones, the newest last.
    #[serde(default)]
    pub runs: Vec<JobRun>,
}

/// Why a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// `schedule.cron` or `schedule.every`.
    Schedule,
    /// `schedule.on_boot`.
    Boot,
    /// Somebody asked for it: by hand, or a unit that names it in `on_success` or `on_failure`.
    Asked,
    /// A unit that depends on it waits.
    Needed,
}

/// A run under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// From [`Ledger::count`].
    pub number: u64,
    /// Why it is.
    pub cause: Cause,
    /// The time of the schedule.
    pub planned: Option<Wall>,
    /// When it began.
    pub began: Wall,
    /// The same, to measure by.
    pub began_at: Moment,
    /// Tries that have ended.
    pub tries: u32,
    /// A process of it may have been let go: it counts, however it ends.
    pub let_go: bool,
    /// It makes up for one that was interrupted, and is not made up for itself.
    pub second: bool,
    /// It ends for this one, which is due.
    pub next: Option<Planned>,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRun {
    /// Its number.
    pub number: u64,
    /// Why it was.
    pub cause: Cause,
    /// The time of the schedule.
    pub planned: Option<Wall>,
    /// When it began.
    pub began: Wall,
    /// When it ended, as far as that is known.
    pub ended: Option<Wall>,
    /// How long it took, microseconds.
    pub took: Option<u64>,
    /// Tries.
    pub tries: u32,
    /// How its last try ended.
    pub end: JobEnd,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEnd {
    /// Whether that is a success.
    pub success: bool,
    /// Which kind of end.
    pub reason: ExitReason,
    /// Exit code, when it exited.
    pub code: Option<i32>,
    /// Signal, when it was killed.
    pub signal: Option<i32>,
    /// What else there is to say.
    pub detail: Option<String>,
}

impl JobEnd {
    /// One that was no end of a process.
    pub fn without_process(reason: ExitReason, detail: &str) -> Self {
        let detail = Some(detail).filter(|detail| !detail.is_empty()).map(str::to_owned);
        Self { success: false, reason, code: None, signal: None, detail }
    }
}

/// From now on the times of its schedule count.
pub fn begin_schedule(ledger: &mut Ledger, facts: &Facts, now: Moment) {
    ledger.anchor = Some(facts.wall(now));
    ledger.settled = ledger.anchor;
}

/// A run is due. One that is under way ends for it, or has ended and would be tried again.
pub fn begin_run(unit: &Unit, record: &mut Record, planned: Planned, (facts, now): (&Facts, Moment)) {
    let ledger = &mut record.job;
    match planned.cause {
        Cause::Boot => ledger.boot_settled = true,
        Cause::Schedule if facts.clock_set => ledger.settled = Some(facts.wall(now)),
        Cause::Schedule => ledger.settled_in_boot = Some(now),
        Cause::Asked | Cause::Needed => {}
    }
    if record.life.has_process() {
        record.again = true;
        if let Some(current) = &mut ledger.current {
            current.next = Some(planned);
        }
        return;
    }
    end_run(unit, record, replaced(), (facts, now));
    enter(record, planned.cause, Some(planned.at), (facts, now));
}

/// Somebody wants a run now; the one that is under way will do.
pub fn ask_run(record: &mut Record, facts: &Facts, now: Moment) {
    if record.job.current.is_none() {
        enter(record, Cause::Asked, None, (facts, now));
    }
}

/// The run that is under way, if there is one, has come to its end, and the one that waits for that begins.
pub fn end_run(unit: &Unit, record: &mut Record, end: JobEnd, (facts, now): (&Facts, Moment)) {
    let ledger = &mut record.job;
    let Some(current) = ledger.current.take() else {
        return;
    };
    let ended = JobRun {
        number: current.number,
        cause: current.cause,
        planned: current.planned,
        began: current.began,
        ended: Some(facts.wall(now)),
        took: u64::try_from(now.since(current.began_at).as_micros()).ok(),
        tries: current.tries,
        end: if current.next.is_some() && end.reason == ExitReason::Stopped { replaced() } else { end },
    };
    remember(ledger, ended, unit.job.keep);
    if let Some(next) = current.next {
        return enter(record, next.cause, Some(next.at), (facts, now));
    }
    // What was due meanwhile is left out.
    let missed = next_run(unit, ledger, facts, now)
        .is_some_and(|next| next.due <= now && next.cause == Cause::Schedule);
    match facts.clock_set {
        true if missed => ledger.settled = Some(facts.wall(now)),
        false if missed => ledger.settled_in_boot = Some(now),
        _ => {}
    }
}

/// Its process is about to be told to go: from here on the run has begun, whatever happens to the node.
pub fn let_go(record: &mut Record, facts: &Facts, now: Moment) {
    let Some(current) = record.job.current.as_mut().filter(|current| !current.let_go) else {
        return;
    };
    *current = Current { let_go: true, began: facts.wall(now), began_at: now, ..*current };
}

/// The node has booted since this was written. A run that was under way then was interrupted.
pub fn resume(unit: &Unit, ledger: &mut Ledger) {
    ledger.settled_in_boot = None;
    ledger.boot_settled = false;
    let Some(current) = ledger.current.take() else {
        return;
    };
    let end = JobEnd::without_process(ExitReason::Interrupted, "the node went down while it ran");
    let Current { number, cause, planned, began, tries, .. } = current;
    let interrupted = JobRun { number, cause, planned, began, ended: None, took: None, tries, end };
    remember(ledger, interrupted, unit.job.keep);
    let wants = unit.schedule.as_ref().is_some_and(|schedule| schedule.catch_up == CatchUp::Once);
    if wants && cause == Cause::Schedule && !current.second {
        ledger.count += 1;
        let number = ledger.count;
        ledger.current =
            Some(Current { number, second: true, tries: 0, let_go: false, next: None, ..current });
    }
}

/// Whether a run whose try has just failed is tried again.
pub fn has_tries_left(unit: &Unit, ledger: &Ledger) -> bool {
    ledger.current.is_some_and(|current| current.next.is_none() && current.tries < unit.job.retries)
}

/// Takes in how a try has ended and what follows from that.
pub fn end_try(unit: &Unit, record: &mut Record, (rest, end): (Rest, JobEnd), clock: (&Facts, Moment)) {
    // At once again: by hand, or nobody's fault.
    let goes_on = |current: &Current| rest == Rest::Idle && current.next.is_none();
    let Some(current) = record.job.current.as_mut().filter(|current| !goes_on(current)) else {
        return;
    };
    current.tries = current.tries.saturating_add(1);
    if rest != Rest::Backoff {
        end_run(unit, record, end, clock);
    }
}

/// Whether a run that is due may begin, the others of the set apart.
pub fn may_begin(unit: &Unit, record: &Record) -> bool {
    let overlap = unit.schedule.as_ref().map(|schedule| schedule.overlap).unwrap_or_default();
    match (&record.job.current, record.life) {
        (None, life) => matches!(life, Life::Idle | Life::Completed | Life::Failed | Life::Skipped),
        (Some(current), life) => {
            let goes = life.is_up() || matches!(life, Life::Held | Life::SetUp | Life::Backoff);
            overlap == Overlap::Replace && current.next.is_none() && goes
        }
    }
}

fn replaced() -> JobEnd {
    JobEnd::without_process(ExitReason::Stopped, "the next run was due")
}

fn enter(record: &mut Record, cause: Cause, planned: Option<Wall>, (facts, now): (&Facts, Moment)) {
    let ledger = &mut record.job;
    ledger.count += 1;
    ledger.current = Some(Current {
        number: ledger.count,
        cause,
        planned,
        began: facts.wall(now),
        began_at: now,
        tries: 0,
        let_go: false,
        second: false,
        next: None,
    });
    record.failures = 0;
    record.recent.clear();
    record.step(Event::RunDue, now);
}

fn remember(ledger: &mut Ledger, run: JobRun, keep: u32) {
    ledger.runs.push(run);
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    ledger.runs.drain(..ledger.runs.len().saturating_sub(keep));
}

/// The next run of a job's schedule, as far as that is known.
pub fn next_run(unit: &Unit, ledger: &Ledger, facts: &Facts, now: Moment) -> Option<Planned> {
    unit.schedule.as_ref()?.next(&unit.name, ledger, facts, now)
}
