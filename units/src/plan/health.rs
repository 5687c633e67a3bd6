//! What follows from the health of a unit: whether it is ready, and whether its process has to go.

use super::{Action, Name};
use crate::health::{Verdict, blame, passes};
use crate::human;
use crate::life::{Event, Life};
use crate::observed::{Moment, Seen};
use crate::spec::{OnFailure, Ready, Role, Unit};
use crate::task::{Task, is_done};

/// Whether the unit is ready and each of its checks passes.
pub fn is_healthy(seen: &Seen) -> bool {
    let mut checks = seen.record.health.checks.values();
    seen.record.life == Life::Ready && checks.all(|check| check.verdict == Verdict::Passing)
}

/// The moment by which a running unit has to say that it lives.
pub fn watchdog_deadline(unit: &Unit, seen: &Seen) -> Option<Moment> {
    let talk = &seen.record.run.as_ref().filter(|_| seen.record.life.is_up())?.talk;
    let limit = talk.watchdog.or(unit.watchdog).filter(|_| unit.watchdog.is_some())?;
    let fed = talk.fed?;
    Some(if talk.failed { fed } else { fed.after(limit) })
}

/// Ends a unit that has not said in time that it lives.
pub(super) fn plan_watchdog(unit: &Unit, name: &Name, seen: &Seen, now: Moment) -> Option<Action> {
    watchdog_deadline(unit, seen).filter(|deadline| *deadline <= now)?;
    let talk = &seen.record.run.as_ref()?.talk;
    let why = match talk.failed {
        true => "watchdog: it said WATCHDOG=trigger".to_owned(),
        false => {
            let limit = talk.watchdog.or(unit.watchdog).unwrap_or_default();
            format!("watchdog: no WATCHDOG=1 for {}", human::duration(limit))
        }
    };
    Some(Action::Replace { unit: name.clone(), kill: false, why })
}

/// Ends a unit whose live or startup check has failed, where that is what its file wants.
pub(super) fn plan_health(unit: &Unit, name: &Name, seen: &Seen) -> Option<Action> {
    if !seen.record.life.is_up() {
        return None;
    }
    let failed = unit.health.iter().find_map(|(name, check)| {
        let found = seen.record.health.checks.get(name)?;
        let counts = found.verdict == Verdict::Failing && check.role != Role::Ready;
        (counts && check.on_failure != OnFailure::None).then(|| (check.on_failure, blame(name, found)))
    });
    let (what, why) = failed?;
    Some(Action::Replace { unit: name.clone(), kill: what == OnFailure::Kill, why })
}

/// The step by which the life of a unit follows its readiness.
pub fn readiness(unit: &Unit, seen: &Seen) -> Option<Event> {
    // What ready is for a service is done for a oneshot.
    if unit.kind.ends() {
        return None;
    }
    match (seen.record.life, is_ready(unit, seen)) {
        (Life::Running, true) => Some(Event::BecameReady),
        (Life::Ready, false) => Some(Event::BecameUnready),
        _ => None,
    }
}

/// Its condition has been met, and every check that speaks of readiness passes.
fn is_ready(unit: &Unit, seen: &Seen) -> bool {
    let health = &seen.record.health;
    let said = match &unit.ready {
        // Of a live check the first success counts: when it fails later, more happens than losing readiness.
        Ready::Check(name) => health.was_ready || passes(health, name),
        _ => health.said_ready,
    };
    let gates = unit.health.iter().filter(|(_, check)| check.role != Role::Live);
    said && is_done(unit, &seen.record, Task::PostStart)
        && gates.map(|(name, _)| name).all(|name| passes(health, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;
    use crate::health::{CheckResult, CheckSeen};
    use crate::observed::{Moment, Record};
    use crate::spec::Check;

    /// A unit with one check of each role, and its record in that state with these verdicts.
    fn world(life: Life, live: Verdict, ready: Verdict, startup: Verdict) -> (Unit, Seen) {
        let mut unit = Unit::new(Name::parse("web").unwrap(), Reference::parse("probe").unwrap());
        let mut seen = Seen { record: Record { life, ..Record::default() }, ..Seen::default() };
        for (name, role, verdict) in
            [("live", Role::Live, live), ("ready", Role::Ready, ready), ("up", Role::Startup, startup)]
        {
            unit.health.insert(name.to_owned(), Check { role, ..Check::default() });
            let results = vec![CheckResult { at: Moment(0), passed: false, text: "HTTP 500".into() }];
            let check = CheckSeen { verdict, row: 3, results, ..CheckSeen::default() };
            seen.record.health.checks.insert(name.to_owned(), check);
        }
        seen.record.health.said_ready = true;
        (unit, seen)
    }

    #[test]
    fn readiness_follows_the_condition_and_the_checks() {
        use Verdict::{Failing, Passing, Unknown};
        let rows = [
            (Life::Running, Unknown, Passing, Passing, Some(Event::BecameReady)),
            (Life::Running, Passing, Unknown, Passing, None),
            (Life::Running, Passing, Passing, Unknown, None),
            (Life::Ready, Passing, Failing, Passing, Some(Event::BecameUnready)),
            (Life::Ready, Failing, Passing, Passing, None),
            (Life::Stopping, Passing, Failing, Passing, None),
        ];
        for (life, live, ready, startup, expect) in rows {
            let (unit, mut seen) = world(life, live, ready, startup);
            assert_eq!(readiness(&unit, &seen), expect, "{life:?} {live:?} {ready:?} {startup:?}");
            seen.record.health.said_ready = false;
            assert_ne!(readiness(&unit, &seen), Some(Event::BecameReady));
        }
        let (mut unit, mut seen) = world(Life::Running, Unknown, Passing, Passing);
        unit.ready = Ready::Check("live".to_owned());
        assert_eq!(readiness(&unit, &seen), None);
        seen.record.health.checks.get_mut("live").unwrap().verdict = Passing;
        assert_eq!(readiness(&unit, &seen), Some(Event::BecameReady));
    }

    #[test]
    fn healthy_is_ready_with_every_check_passing() {
        use Verdict::{Passing, Unknown};
        assert!(is_healthy(&world(Life::Ready, Passing, Passing, Passing).1));
        assert!(!is_healthy(&world(Life::Ready, Unknown, Passing, Passing).1));
        assert!(!is_healthy(&world(Life::Running, Passing, Passing, Passing).1));
    }

    #[test]
    fn a_failed_live_or_startup_check_replaces_the_process() {
        use Verdict::{Failing, Passing};
        let action = |kill| {
            let why = "check 'live' failed 3 times: HTTP 500".to_owned();
            Some(Action::Replace { unit: Name::parse("web").unwrap(), kill, why })
        };
        let (mut unit, seen) = world(Life::Ready, Failing, Passing, Passing);
        assert_eq!(plan_health(&unit, &unit.name, &seen), action(false));
        unit.health.get_mut("live").unwrap().on_failure = OnFailure::Kill;
        assert_eq!(plan_health(&unit, &unit.name, &seen), action(true));
        unit.health.get_mut("live").unwrap().on_failure = OnFailure::None;
        assert_eq!(plan_health(&unit, &unit.name, &seen), None);
        let (unit, seen) = world(Life::Ready, Passing, Failing, Passing);
        assert_eq!(plan_health(&unit, &unit.name, &seen), None);
        let (unit, seen) = world(Life::Running, Passing, Passing, Failing);
        assert!(plan_health(&unit, &unit.name, &seen).is_some());
        let (unit, seen) = world(Life::Stopping, Failing, Passing, Failing);
        assert_eq!(plan_health(&unit, &unit.name, &seen), None);
    }

    #[test]
    fn a_watchdog_bites_who_is_ready_and_silent() {
        use crate::observed::Run;
        let at = |seconds: u64| Moment(seconds * 1_000_000);
        let (mut unit, mut seen) = world(Life::Running, Verdict::Passing, Verdict::Passing, Verdict::Passing);
        seen.record.run = Some(Run::default());
        unit.watchdog = Some(std::time::Duration::from_secs(30));
        assert_eq!(watchdog_deadline(&unit, &seen), None, "start_timeout is for that");
        assert!(seen.record.step(Event::BecameReady, at(5)));
        assert_eq!(watchdog_deadline(&unit, &seen), Some(at(35)));
        assert_eq!(plan_watchdog(&unit, &unit.name, &seen, at(34)), None);
        let why = |seen: &Seen, now| match plan_watchdog(&unit, &unit.name, seen, now) {
            Some(Action::Replace { kill: false, why, .. }) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why(&seen, at(35)), "watchdog: no WATCHDOG=1 for 30s");
        let talk = |seen: &mut Seen, change: fn(&mut crate::notify::Talk)| {
            change(&mut seen.record.run.as_mut().unwrap().talk);
        };
        talk(&mut seen, |talk| talk.fed = Some(Moment(20_000_000)));
        assert_eq!(watchdog_deadline(&unit, &seen), Some(at(50)));
        talk(&mut seen, |talk| talk.watchdog = Some(std::time::Duration::from_secs(2)));
        assert_eq!(why(&seen, at(22)), "watchdog: no WATCHDOG=1 for 2s");
        talk(&mut seen, |talk| talk.failed = true);
        assert_eq!(why(&seen, at(20)), "watchdog: it said WATCHDOG=trigger");
        // Losing readiness is no excuse; being stopped is.
        assert!(seen.record.step(Event::BecameUnready, at(21)));
        assert!(watchdog_deadline(&unit, &seen).is_some());
        assert!(seen.record.step(Event::StopSent, at(21)));
        assert_eq!(watchdog_deadline(&unit, &seen), None);
        assert_eq!(watchdog_deadline(&Unit { watchdog: None, ..unit.clone() }, &seen), None);
    }
}
