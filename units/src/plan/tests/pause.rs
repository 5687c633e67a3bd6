//! Units that somebody paused.

use super::*;
use crate::health::{CheckSeen, Verdict};
use crate::spec::Check;

const SECOND: u64 = 1_000_000;

/// Up in every way that a unit can be, and paused a second after its start.
fn paused(life: Life) -> (Declared, Observed) {
    let (declared, mut observed) = world(&[], 1);
    let unit = &declared.units[&name("u0")];
    let run =
        Run { number: 1, fingerprint: fingerprint(unit), paused: Some(Moment(SECOND)), ..Run::default() };
    let seen = observed.units.get_mut(&name("u0")).unwrap();
    seen.record = Record { life, runs: 1, run: Some(run), ..Record::default() };
    seen.populated = true;
    (declared, observed)
}

#[test]
fn it_is_frozen_and_then_left_alone() {
    for life in [Life::Running, Life::Ready] {
        let (mut declared, mut observed) = paused(life);
        let unit = declared.units.get_mut(&name("u0")).unwrap();
        unit.start_timeout = Duration::from_secs(2);
        unit.runtime_max = Duration::from_secs(3);
        unit.health.insert("live".to_owned(), Check::default());
        let seen = observed.units.get_mut(&name("u0")).unwrap();
        seen.record.run.as_mut().unwrap().fingerprint = fingerprint(&declared.units[&name("u0")]);
        let failing = CheckSeen { verdict: Verdict::Failing, ..CheckSeen::default() };
        seen.record.health.checks.insert("live".to_owned(), failing);
        assert_eq!(plan(&declared, &observed, Moment(SECOND)), [Action::Freeze(name("u0"))]);
        observed.units.get_mut(&name("u0")).unwrap().frozen = true;
        // Neither its checks nor its deadlines count meanwhile.
        assert_eq!(plan(&declared, &observed, Moment(9 * SECOND)), []);
        assert_eq!(next_wake(&declared, &observed), None);
    }
}

#[test]
fn whatever_ends_it_thaws_it_first() {
    let thaw = [Action::Thaw(name("u0"))];
    for what in ["stop", "drain", "remove", "resume"] {
        let (mut declared, mut observed) = paused(Life::Ready);
        let seen = observed.units.get_mut(&name("u0")).unwrap();
        seen.frozen = true;
        match what {
            "stop" => seen.record.wanted = Wanted::Stopped,
            "drain" => observed.draining = true,
            "remove" => drop(declared.units.remove(&name("u0"))),
            _ => seen.record.run.as_mut().unwrap().resume(Moment(5 * SECOND)),
        }
        assert_eq!(plan(&declared, &observed, Moment(0)), thaw, "{what}");
        observed.units.get_mut(&name("u0")).unwrap().frozen = false;
        let then = plan(&declared, &observed, Moment(0));
        let expect = if what == "resume" { vec![] } else { vec![Action::Stop(name("u0"))] };
        assert_eq!(then, expect, "{what}");
    }
}

#[test]
fn one_that_was_killed_meanwhile_leaves_no_ice() {
    let (declared, mut observed) = paused(Life::Ready);
    let seen = observed.units.get_mut(&name("u0")).unwrap();
    seen.frozen = true;
    assert!(seen.record.step(Event::Exited(Rest::Failed), Moment(0)));
    assert_eq!(plan(&declared, &observed, Moment(0)), [Action::Thaw(name("u0"))]);
}

#[test]
fn the_time_of_a_pause_counts_for_nothing() {
    let mut run = Run { started: Moment(SECOND), paused: Some(Moment(3 * SECOND)), ..Run::default() };
    run.talk.fed = Some(Moment(2 * SECOND));
    run.resume(Moment(10 * SECOND));
    assert_eq!((run.started, run.talk.fed, run.paused), (Moment(8 * SECOND), Some(Moment(9 * SECOND)), None));
    let before = run.clone();
    run.resume(Moment(20 * SECOND));
    assert_eq!(run, before);
}
