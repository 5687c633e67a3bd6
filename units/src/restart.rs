//! What follows the end of a process: left alone, or tried again, and when.

use std::time::Duration;

use crate::Name;
use crate::job::has_tries_left;
use crate::life::{Life, Rest};
use crate::observed::{Moment, Record};
use crate::spec::{OnLimit, OnOom, Policy, Restart, Type, Unit};
use crate::wire::control::ExitReason;
use crate::wire::net::fnv;

/// What is written down after an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The state.
    pub rest: Rest,
    /// For [`Record::failures`].
    pub failures: u32,
    /// For [`Record::recent`].
    pub recent: Vec<Moment>,
    /// In backoff: the next try.
    pub next_try: Option<Moment>,
    /// It ended once too often, and the node restarts over it.
    pub reboot: bool,
}

/// How a process ended: why, and its exit code if it has one.
pub type End = (ExitReason, Option<i32>);

/// What follows an end. A unit that is no longer declared just rests.
pub fn after_exit(unit: Option<&Unit>, record: &Record, end: End, now: Moment) -> After {
    let ends = |rest| After { rest, failures: 0, recent: Vec::new(), next_try: None, reboot: false };
    if was_asked(record) {
        return ends(if record.again { Rest::Idle } else { Rest::Stopped });
    }
    let Some(unit) = unit else {
        return ends(Rest::Stopped);
    };
    // A held process that just ends has lost its supervisor.
    if record.life == Life::Held && end.0 != ExitReason::StartFailed {
        return After { failures: record.failures, recent: record.recent.clone(), ..ends(Rest::Idle) };
    }
    match (is_tried_again(unit, record, end), is_success(&unit.restart, end)) {
        (true, _) => try_again(unit, record, now),
        (false, true) => ends(Rest::Completed),
        (false, false) => After { failures: record.failures, ..ends(Rest::Failed) },
    }
}

/// Whether somebody wanted it to end: then its policy is not asked.
fn was_asked(record: &Record) -> bool {
    let own_fault = |run: &crate::observed::Run| run.timed_out || run.expired || run.unhealthy.is_some();
    matches!(record.life, Life::Stopping | Life::Killing) && !record.run.as_ref().is_some_and(own_fault)
}

/// Whether an end is a success.
pub fn is_success(restart: &Restart, (reason, code): End) -> bool {
    let listed = |code: i32| u8::try_from(code).is_ok_and(|code| restart.success_codes.contains(&code));
    reason == ExitReason::Exit && code.is_some_and(|code| code == 0 || listed(code))
}

fn is_tried_again(unit: &Unit, record: &Record, end: End) -> bool {
    let restart = &unit.restart;
    if unit.kind == Type::Job && !has_tries_left(unit, &record.job) {
        return false;
    }
    let code = end.1.and_then(|code| u8::try_from(code).ok()).filter(|_| end.0 == ExitReason::Exit);
    if code.is_some_and(|code| restart.force_codes.contains(&code)) {
        return true;
    }
    if code.is_some_and(|code| restart.no_restart_codes.contains(&code)) {
        return false;
    }
    if end.0 == ExitReason::Oom && unit.memory.on_oom == OnOom::Stop {
        return false;
    }
    match restart.policy {
        _ if unit.kind == Type::Job => !is_success(restart, end),
        Policy::Always => unit.kind == Type::Service || !is_success(restart, end),
        Policy::OnFailure => !is_success(restart, end),
        Policy::Never => false,
    }
}

fn try_again(unit: &Unit, record: &Record, now: Moment) -> After {
    let restart = &unit.restart;
    let ran = record.run.as_ref().map(|run| now.since(run.started)).unwrap_or_default();
    let failures = if ran >= restart.reset_after { 1 } else { record.failures.saturating_add(1) };
    let mut recent = record.recent.clone();
    recent.retain(|at| now.since(*at) <= restart.window);
    recent.push(now);
    let over = recent.len() > usize::try_from(restart.burst).unwrap_or(usize::MAX);
    // What is older can no longer make a difference.
    let keep = usize::try_from(restart.burst).unwrap_or(usize::MAX).saturating_add(1);
    recent.drain(..recent.len().saturating_sub(keep));
    if over && restart.on_limit != OnLimit::Slow {
        let reboot = restart.on_limit == OnLimit::Reboot;
        return After { rest: Rest::Failed, failures, recent: Vec::new(), next_try: None, reboot };
    }
    let wait = if over { restart.max_delay } else { backoff(restart, failures) };
    let next_try = Some(now.after(jitter(wait, restart.jitter_milli, &unit.name, failures)));
    After { rest: Rest::Backoff, failures, recent, next_try, reboot: false }
}

/// The wait before try number `failures` (1 is the first), without its jitter: delay x factor^(failures - 1), at
/// most max_delay.
pub fn backoff(restart: &Restart, failures: u32) -> Duration {
    let mut wait = restart.delay;
    for _ in 1..failures.min(64) {
        wait = wait.saturating_mul(restart.factor_milli) / 1000;
        if wait >= restart.max_delay {
            break;
        }
    }
    wait.min(restart.max_delay)
}

/// A wait made shorter by up to `milli` thousandths: by how much follows from the unit and the try, so that a plan
/// stays a pure function and units still do not come back in step.
fn jitter(wait: Duration, milli: u32, unit: &Name, failures: u32) -> Duration {
    let spread = fnv(&["jitter", unit.as_str(), &failures.to_string()]) >> 32;
    let most = wait.saturating_mul(milli) / 1000;
    let part = u32::try_from(spread % 1001).unwrap_or(0);
    wait.saturating_sub(most.saturating_mul(part) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;
    use crate::observed::Run;
    use Life::*;

    const OK: End = (ExitReason::Exit, Some(0));
    const BAD: End = (ExitReason::Signal, None);
    const NOW: Moment = Moment(1_000_000_000);

    fn unit(policy: Policy) -> Unit {
        let mut unit = Unit::new(Name::parse("web").unwrap(), Reference::parse("probe").unwrap());
        unit.restart = Restart { policy, jitter_milli: 0, ..Restart::default() };
        unit
    }

    /// Three failures already, and so many seconds in this run.
    fn record(life: Life, ran: u64) -> Record {
        let started = Moment(NOW.0 - ran * 1_000_000);
        let run = Run { started, ..Run::default() };
        Record { life, failures: 3, run: Some(run), ..Record::default() }
    }

    #[track_caller]
    fn ends(policy: Policy, life: Life, end: End, ran: u64, expect: (Rest, u32)) {
        let after = after_exit(Some(&unit(policy)), &record(life, ran), end, NOW);
        assert_eq!((after.rest, after.failures), expect);
    }

    #[test]
    fn what_follows_an_end() {
        ends(Policy::Always, Ready, OK, 1, (Rest::Backoff, 4));
        ends(Policy::Always, Ready, BAD, 61, (Rest::Backoff, 1));
        ends(Policy::OnFailure, Ready, OK, 1, (Rest::Completed, 0));
        ends(Policy::OnFailure, Running, BAD, 1, (Rest::Backoff, 4));
        ends(Policy::Never, Ready, BAD, 1, (Rest::Failed, 3));
        ends(Policy::Never, Ready, (ExitReason::Exit, Some(1)), 1, (Rest::Failed, 3));
        ends(Policy::Always, Stopping, BAD, 1, (Rest::Stopped, 0));
        ends(Policy::Always, Killing, BAD, 1, (Rest::Stopped, 0));
        ends(Policy::Always, Held, BAD, 0, (Rest::Idle, 3));
        ends(Policy::Always, Held, (ExitReason::StartFailed, None), 0, (Rest::Backoff, 4));
        ends(Policy::Never, Idle, (ExitReason::StartFailed, None), 0, (Rest::Failed, 3));
    }

    #[test]
    fn an_end_for_its_own_fault_is_not_asked_for() {
        let mut expired = record(Stopping, 10);
        expired.run.as_mut().unwrap().expired = true;
        assert_eq!(after_exit(Some(&unit(Policy::Always)), &expired, BAD, NOW).rest, Rest::Backoff);
        assert_eq!(after_exit(Some(&unit(Policy::Never)), &expired, BAD, NOW).rest, Rest::Failed);
        assert_eq!(after_exit(None, &expired, BAD, NOW).rest, Rest::Stopped);
    }

    #[test]
    fn out_of_memory_may_be_the_end() {
        let mut unit = unit(Policy::Always);
        let rest = |unit: &Unit, reason| after_exit(Some(unit), &record(Ready, 1), (reason, None), NOW).rest;
        assert_eq!(rest(&unit, ExitReason::Oom), Rest::Backoff);
        unit.memory.on_oom = OnOom::Stop;
        assert_eq!(rest(&unit, ExitReason::Oom), Rest::Failed);
        assert_eq!(rest(&unit, ExitReason::Signal), Rest::Backoff);
    }

    #[test]
    fn a_oneshot_that_succeeded_is_done() {
        let mut unit = unit(Policy::Always);
        unit.kind = Type::Oneshot;
        let rest = |end| after_exit(Some(&unit), &record(Running, 1), end, NOW).rest;
        assert_eq!(rest(OK), Rest::Completed);
        assert_eq!(rest((ExitReason::Exit, Some(2))), Rest::Backoff);
    }

    #[test]
    fn codes_stand_over_the_policy() {
        let rows = [
            (Policy::Always, 7, Rest::Backoff),
            (Policy::OnFailure, 7, Rest::Completed),
            (Policy::Always, 8, Rest::Failed),
            (Policy::Never, 9, Rest::Backoff),
            (Policy::OnFailure, 10, Rest::Backoff),
        ];
        for (policy, code, expect) in rows {
            let mut unit = unit(policy);
            unit.restart.success_codes = vec![7];
            unit.restart.no_restart_codes = vec![8];
            unit.restart.force_codes = vec![9];
            let end = (ExitReason::Exit, Some(code));
            assert_eq!(
                after_exit(Some(&unit), &record(Ready, 1), end, NOW).rest,
                expect,
                "{policy:?} {code}"
            );
        }
    }

    /// Ends every second, as often as asked; what the last one led to.
    fn again_and_again(unit: &Unit, times: u64) -> After {
        let mut record = Record { life: Ready, ..Record::default() };
        let mut last = None;
        for second in 0..times {
            let after = after_exit(Some(unit), &record, BAD, Moment(second * 1_000_000));
            record.failures = after.failures;
            record.recent = after.recent.clone();
            last = Some(after);
        }
        last.unwrap()
    }

    #[test]
    fn too_many_restarts_reach_the_limit() {
        let mut unit = unit(Policy::Always);
        unit.restart.burst = 3;
        unit.restart.factor_milli = 1000;
        assert_eq!(again_and_again(&unit, 3).next_try, Some(Moment(2_500_000)));
        assert_eq!(again_and_again(&unit, 4).next_try, Some(Moment(63_000_000)), "slow");
        assert!(again_and_again(&unit, 100).recent.len() <= 4);
        unit.restart.on_limit = OnLimit::Fail;
        assert_eq!(again_and_again(&unit, 3).rest, Rest::Backoff);
        let last = again_and_again(&unit, 4);
        assert_eq!((last.rest, last.reboot), (Rest::Failed, false));
        unit.restart.on_limit = OnLimit::Reboot;
        assert!(again_and_again(&unit, 4).reboot);
        unit.restart.window = Duration::from_secs(1);
        assert_eq!(again_and_again(&unit, 100).rest, Rest::Backoff, "never so many within a second");
    }

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let restart = Restart::default();
        let waits: Vec<_> = (1..=9).map(|n| backoff(&restart, n).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff(&restart, u32::MAX), restart.max_delay);
    }

    #[test]
    fn jitter_spreads_and_stays_in_bounds() {
        let wait = Duration::from_secs(10);
        let waits: Vec<_> =
            (0..100).map(|n| jitter(wait, 100, &Name::parse(&format!("u{n}")).unwrap(), 1)).collect();
        assert!(waits.iter().all(|got| (Duration::from_secs(9)..=wait).contains(got)));
        let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
        assert!(distinct.len() > 50, "{}", distinct.len());
        assert_eq!(jitter(wait, 0, &Name::parse("a").unwrap(), 1), wait);
    }
}
