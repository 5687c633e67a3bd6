//! When a job runs: the times of `[schedule]`, as a pure function of what was run last, of the clock on the wall and
//! of the boot.
//!
//! A *planned* time is one of the schedule's own; a run is *due* at it, or later by the jitter of that time. What was
//! planned up to some time is *settled*: it ran, or it was left out for good. So there is no list of missed runs: the
//! next run is that of the first planned time that is not settled and not too late, wherever the clock stands.

mod cron;
mod zone;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::job::{Cause, Ledger};
use crate::observed::{Facts, Moment, Wall};
use crate::wire::net::fnv;
pub use cron::Cron;
pub use zone::Zone;

/// A clock that was set back by more than this showed a wrong time before, and what it settled counts no more.
const STEP_MAX: Duration = Duration::from_secs(86_400);
/// With `catch_up = "skip"`: a run that could not begin within this time was missed.
const SKIP_AFTER: Duration = Duration::from_secs(60);

/// `[schedule]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Schedule {
    /// Times of the calendar.
    pub cron: Option<Cron>,
    /// From one run to the next, counted from when the unit was first seen. Zero: not so.
    pub every: Duration,
    /// Once, that long after the kernel started.
    pub on_boot: Option<Duration>,
    /// Where `cron` is meant.
    pub timezone: Zone,
    /// A run is due up to so much later than it is planned.
    pub jitter: Duration,
    /// What becomes of runs that were missed.
    pub catch_up: CatchUp,
    /// How late a run may begin, beside its jitter. Zero: as late as it gets.
    pub deadline: Duration,
    /// What becomes of a run that is due while the one before it goes on.
    pub overlap: Overlap,
    /// It counts from the boot on as long as the clock is not set.
    pub without_clock: bool,
}

/// `schedule.catch_up`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum CatchUp {
    /// One run makes up for all that were missed.
    #[default]
    Once,
    /// Nothing.
    Skip,
}

/// `schedule.overlap`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Overlap {
    /// The new run is left out.
    #[default]
    Forbid,
    /// The old run is stopped for the new one.
    Replace,
}

/// A run to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The time of the schedule.
    pub at: Wall,
    /// When it may begin: that time and its jitter.
    pub due: Moment,
    /// Which part of the schedule says so.
    pub cause: Cause,
}

impl Schedule {
    /// The next run, due now or later. `None`: there is none, or the clock has to be set first, or it has not been
    /// noted yet from when on it counts ([`Self::has_to_begin`]).
    pub fn next(&self, unit: &Name, ledger: &Ledger, facts: &Facts, now: Moment) -> Option<Planned> {
        if self.waits_for_clock(facts) {
            return None;
        }
        let boot = self.next_of_boot(unit, ledger, facts, now);
        let timed = match facts.clock_set {
            true => self.next_of_clock(ledger, facts, now).map(|at| self.due(unit, at, facts)),
            false => self.next_since_boot(unit, ledger, facts, now),
        };
        boot.into_iter().chain(timed).min_by_key(|planned| planned.due)
    }

    /// Whether nothing is planned before the clock is set.
    pub fn waits_for_clock(&self, facts: &Facts) -> bool {
        !facts.clock_set && !self.without_clock
    }

    /// Whether it has to be noted that its times count from now on: the unit is new, or what is noted is of a clock
    /// that was wrong.
    pub fn has_to_begin(&self, ledger: &Ledger, facts: &Facts, now: Moment) -> bool {
        let is_timed = self.cron.is_some() || !self.every.is_zero();
        let latest = facts.wall(now).after(STEP_MAX);
        is_timed && facts.clock_set && ledger.settled.is_none_or(|settled| settled > latest)
    }

    /// How late a run may begin; `None`: as late as it gets.
    fn patience(&self) -> Option<Duration> {
        let limit = Some(self.deadline).filter(|deadline| !deadline.is_zero());
        let limit = limit.or((self.catch_up == CatchUp::Skip).then_some(SKIP_AFTER));
        limit.map(|limit| limit.saturating_add(self.jitter))
    }

    fn is_late(&self, planned: Moment, now: Moment) -> bool {
        self.patience().is_some_and(|patience| planned.after(patience) < now)
    }

    fn next_of_boot(&self, unit: &Name, ledger: &Ledger, facts: &Facts, now: Moment) -> Option<Planned> {
        let at = Moment(0).after(self.on_boot.filter(|_| !ledger.boot_settled)?);
        let due = at.after(self.jitter_of(unit, "boot"));
        (!self.is_late(at, now)).then(|| Planned { at: facts.wall(at), due, cause: Cause::Boot })
    }

    /// The first time of `cron` and `every` that is neither settled nor too late.
    fn next_of_clock(&self, ledger: &Ledger, facts: &Facts, now: Moment) -> Option<Wall> {
        let settled = ledger.settled.filter(|_| !self.has_to_begin(ledger, facts, now))?;
        let in_boot = ledger.settled_in_boot.map(|settled| facts.wall(settled));
        // One microsecond less: a run that is exactly as late as it may be still begins.
        let late = self.patience().map(|patience| Wall(facts.wall(now).before(patience).0 - 1));
        let after = [Some(settled), in_boot, late].into_iter().flatten().max()?;
        let every = || {
            let (anchor, every) = (ledger.anchor.unwrap_or(settled).0, micros(self.every));
            (every > 0).then(|| Wall(anchor + ((after.0 - anchor).div_euclid(every) + 1) * every))
        };
        let cron = self.cron.as_ref().and_then(|cron| cron.next(&self.timezone, after.0.div_euclid(SECOND)));
        cron.map(|second| Wall(second * SECOND)).into_iter().chain(every()).min()
    }

    /// The same by the clock that counts from the boot, as long as the other one is not set.
    fn next_since_boot(&self, unit: &Name, ledger: &Ledger, facts: &Facts, now: Moment) -> Option<Planned> {
        let late = self.patience().map(|patience| now.since(Moment(0).after(patience)));
        let late = late.map(|late| Moment(0).after(late));
        let after = [ledger.settled_in_boot, late].into_iter().flatten().max().unwrap_or_default();
        let every = u64::try_from(micros(self.every)).ok().filter(|every| *every > 0)?;
        let at = Moment((after.0 / every + 1) * every);
        let due = at.after(self.jitter_of(unit, &at.0.to_string()));
        Some(Planned { at: facts.wall(at), due, cause: Cause::Schedule })
    }

    fn due(&self, unit: &Name, at: Wall, facts: &Facts) -> Planned {
        let due = facts.moment(at).after(self.jitter_of(unit, &at.0.to_string()));
        Planned { at, due, cause: Cause::Schedule }
    }

    /// Follows from the unit and the planned time, so that a plan stays a pure function and nodes do not act in step.
    fn jitter_of(&self, unit: &Name, planned: &str) -> Duration {
        let part = u32::try_from((fnv(&["schedule", unit.as_str(), planned]) >> 32) % 1001).unwrap_or(0);
        self.jitter.saturating_mul(part) / 1000
    }
}

/// Microseconds of one second.
const SECOND: i64 = 1_000_000;

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "schedule/tests.rs"]
mod tests;
