//! Health of a running unit: what its checks have found, and when each runs again.
//!
//! [`Progress`] is the state of one check as a value: the checker feeds it results and asks it when to look again.
//! [`Health`] is what the supervisor writes down of all checks of a run. What follows from it is decided by
//! [`crate::plan`]; how a check is carried out is known to the checker alone.

pub mod image;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observed::Moment;
use crate::spec::{Check, Role, Unit};

/// Results that are kept of one check.
pub const RESULTS_MAX: usize = 5;
/// The longest text of a result, bytes.
pub const TEXT_MAX: usize = 500;

/// What is written down about the health of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The condition of `ready.when` has been met, whatever the checks say.
    pub said_ready: bool,
    /// It has been ready in this run: `start_timeout` is over and done with.
    pub was_ready: bool,
    /// By name of the check.
    pub checks: BTreeMap<String, CheckSeen>,
}

impl Health {
    /// Of a run that begins.
    pub fn begin(unit: &Unit, now: Moment) -> Self {
        let check = |name: &String| (name.clone(), CheckSeen { since: now, ..CheckSeen::default() });
        Self { checks: unit.health.keys().map(check).collect(), ..Self::default() }
    }

    /// Of a run whose unit has other checks from now on: what is known of those that stay is kept.
    pub fn adapt(&mut self, unit: &Unit, now: Moment) {
        let mut new = Self::begin(unit, now).checks;
        for (name, check) in &mut new {
            if let Some(known) = self.checks.remove(name) {
                *check = known;
            }
        }
        self.checks = new;
    }
}

/// What one check has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSeen {
    /// What counts.
    pub verdict: Verdict,
    /// Since when.
    pub since: Moment,
    /// Results like the last one in a row.
    pub row: u32,
    /// The last [`RESULTS_MAX`] that were told, the newest last.
    pub results: Vec<CheckResult>,
}

/// What counts of a check, after its results were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Neither passed nor failed often enough yet.
    #[default]
    Unknown,
    /// Passed `successes` times in a row.
    Passing,
    /// Failed `failures` times in a row.
    Failing,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Passing => "passing",
            Self::Failing => "failing",
        })
    }
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// When it was there.
    pub at: Moment,
    /// Whether it is what was hoped for.
    pub passed: bool,
    /// What was found, at most [`TEXT_MAX`] bytes: `HTTP 500`.
    pub text: String,
}

/// A check on its way: results in, verdict and next date out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    seen: CheckSeen,
    /// It has passed once in this run: the start period is over.
    passed_once: bool,
    due: Moment,
}

impl Progress {
    /// Of a run that began at `started`, going on from what is written down (of a run that has just begun, nothing).
    pub fn resume(check: &Check, seen: CheckSeen, started: Moment, now: Moment) -> Self {
        let passed_once = seen.verdict != Verdict::Unknown || seen.results.iter().any(|result| result.passed);
        let mut progress = Self { seen, passed_once, due: now };
        // A program that was executed just now cannot answer: only somebody who waits for it asks that early.
        if check.role == Role::Live && !passed_once {
            progress.due = now.after(progress.wait(check, started, now));
        }
        progress
    }

    /// What it has come to.
    pub fn seen(&self) -> &CheckSeen {
        &self.seen
    }

    /// When it runs next; `None` when never again: a start happens once.
    pub fn due(&self, check: &Check) -> Option<Moment> {
        (check.role != Role::Startup || self.seen.verdict != Verdict::Passing).then_some(self.due)
    }

    /// Takes the result of a run that began at `began`. `true` when it is worth telling: the verdict changed, or the
    /// result is unlike the one before it.
    pub fn take(&mut self, check: &Check, result: CheckResult, began: Moment, started: Moment) -> bool {
        let (now, passed) = (result.at, result.passed);
        let same = self.seen.results.last().is_some_and(|last| last.passed == passed);
        let counts = passed || self.passed_once || now.since(started) >= check.start_period;
        self.passed_once |= passed;
        self.seen.row = match (counts, same) {
            (false, _) => 0,
            (true, true) => self.seen.row.saturating_add(1),
            (true, false) => 1,
        };
        self.seen.results.push(result);
        let surplus = self.seen.results.len().saturating_sub(RESULTS_MAX);
        self.seen.results.drain(..surplus);
        let verdict = match passed {
            true if self.seen.row >= check.successes => Verdict::Passing,
            false if self.seen.row >= check.failures => Verdict::Failing,
            _ => self.seen.verdict,
        };
        let changed = verdict != self.seen.verdict;
        if changed {
            self.seen.verdict = verdict;
            self.seen.since = now;
        }
        // Never faster than it answers, and without drift where it does.
        self.due = began.after(self.wait(check, started, now)).max(now);
        changed || !same
    }

    /// The time between two runs: short as long as somebody waits for the first success.
    fn wait(&self, check: &Check, started: Moment, now: Moment) -> Duration {
        let is_starting = check.role == Role::Ready || now.since(started) < check.start_period;
        match is_starting && !self.passed_once {
            true => check.start_interval.min(check.interval),
            false => check.interval,
        }
    }
}

/// Why the unit is not as it should be: the first check that says so.
pub fn complaint(unit: &Unit, health: &Health) -> Option<String> {
    let failing = |(name, seen): (&String, &CheckSeen)| {
        (seen.verdict == Verdict::Failing && unit.health.contains_key(name)).then(|| blame(name, seen))
    };
    health.checks.iter().find_map(failing)
}

/// What an unready unit waits for, in words.
pub fn waits_for(unit: &Unit, health: &Health) -> Option<String> {
    let open = |role: Role| {
        let mut names = unit.health.iter().filter(move |(_, check)| check.role == role).map(|(name, _)| name);
        names.find(|name| !passes(health, name)).map(|name| match health.checks.get(name) {
            Some(seen) if seen.results.last().is_some_and(|last| !last.passed) => blame(name, seen),
            _ => format!("waits for check '{name}' to pass"),
        })
    };
    open(Role::Startup).or_else(|| open(Role::Ready))
}

/// Whether a check has passed often enough, and has not failed often enough since.
pub fn passes(health: &Health, check: &str) -> bool {
    health.checks.get(check).is_some_and(|seen| seen.verdict == Verdict::Passing)
}

/// `check 'live' failed 3 times: HTTP 500`.
pub fn blame(name: &str, seen: &CheckSeen) -> String {
    let times = match seen.row {
        0 | 1 => String::new(),
        row => format!(" {row} times"),
    };
    let found = seen.results.last().map_or("", |last| last.text.as_str());
    format!("check '{name}' failed{times}: {found}")
}

/// A text of at most [`TEXT_MAX`] bytes, cut between characters.
pub fn clip(text: &str) -> &str {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    fn check(role: Role) -> Check {
        Check { role, ..Check::default() }
    }

    fn result(seconds: u64, passed: bool) -> CheckResult {
        CheckResult { at: at(seconds), passed, text: String::new() }
    }

    fn fresh(check: &Check) -> Progress {
        Progress::resume(check, CheckSeen::default(), at(0), at(0))
    }

    /// Feeds `+` and `-`, one a second, and writes down what counts after each: `?`, `p`, `f`.
    fn verdicts(check: &Check, results: &str) -> String {
        let mut progress = fresh(check);
        let after = results.bytes().enumerate().map(|(second, byte)| {
            let second = second as u64;
            progress.take(check, result(second, byte == b'+'), at(second), at(0));
            match progress.seen().verdict {
                Verdict::Unknown => '?',
                Verdict::Passing => 'p',
                Verdict::Failing => 'f',
            }
        });
        after.collect()
    }

    #[test]
    fn only_results_in_a_row_count() {
        let mut check = check(Role::Live);
        assert_eq!(verdicts(&check, "---+--+---+"), "??fppppppfp");
        check.successes = 2;
        assert_eq!(verdicts(&check, "+-++--+---"), "???ppppppf");
        check.failures = 1;
        assert_eq!(verdicts(&check, "-+++"), "ffpp");
    }

    #[test]
    fn failures_of_the_start_period_do_not_count_until_it_passes_once() {
        let check = Check { start_period: Duration::from_secs(5), ..check(Role::Live) };
        assert_eq!(verdicts(&check, "--------"), "???????f");
        assert_eq!(verdicts(&check, "-+---"), "?pppf");
    }

    #[test]
    fn the_next_run_is_an_interval_after_the_last_began() {
        let live = check(Role::Live);
        let mut progress = fresh(&live);
        assert_eq!(progress.due(&live), Some(at(10)));
        progress.take(&live, result(12, false), at(10), at(0));
        assert_eq!(progress.due(&live), Some(at(20)));
        progress.take(&live, result(33, false), at(20), at(0));
        assert_eq!(progress.due(&live), Some(at(33)));
        let ready = check(Role::Ready);
        let mut progress = fresh(&ready);
        assert_eq!(progress.due(&ready), Some(at(0)));
        progress.take(&ready, result(0, false), at(0), at(0));
        assert_eq!(progress.due(&ready), Some(at(1)));
        progress.take(&ready, result(1, true), at(1), at(0));
        assert_eq!(progress.due(&ready), Some(at(11)));
        let startup = check(Role::Startup);
        let mut progress = fresh(&startup);
        progress.take(&startup, result(0, true), at(0), at(0));
        assert_eq!(progress.due(&startup), None);
    }

    #[test]
    fn what_is_new_is_told_and_the_rest_is_not() {
        let check = check(Role::Live);
        let mut progress = fresh(&check);
        let told: Vec<_> = "++-----+"
            .bytes()
            .zip(0..)
            .map(|(byte, second)| progress.take(&check, result(second, byte == b'+'), at(second), at(0)))
            .collect();
        assert_eq!(told, [true, false, true, false, true, false, false, true]);
        assert_eq!(progress.seen().results.len(), RESULTS_MAX);
    }

    #[test]
    fn the_next_checker_goes_on_where_the_last_ended() {
        let check = Check { start_period: Duration::from_secs(100), ..check(Role::Live) };
        let mut progress = fresh(&check);
        progress.take(&check, result(1, true), at(1), at(0));
        let mut next = Progress::resume(&check, progress.seen().clone(), at(0), at(2));
        assert_eq!(next.due(&check), Some(at(2)));
        for second in 2..5 {
            next.take(&check, result(second, false), at(second), at(0));
        }
        assert_eq!(next.seen().verdict, Verdict::Failing);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long = "ä".repeat(TEXT_MAX);
        assert_eq!(clip(&long).len(), TEXT_MAX);
        assert_eq!(clip(&format!("x{long}")).len(), TEXT_MAX - 1);
        let seen = CheckSeen {
            row: 3,
            results: vec![CheckResult { text: "HTTP 500".into(), ..result(1, false) }],
            ..CheckSeen::default()
        };
        assert_eq!(blame("live", &seen), "check 'live' failed 3 times: HTTP 500");
    }
}
