//! Trials step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::life::Life;
use crate::observed::{Moment, Run as Process, Seen, Wanted};
use crate::reference::Reference;
use crate::spec::{OnFailedUpdate, Start, Type, Unit};
use crate::wire::control::{ExitReason, LastExit};

const fn at(seconds: u64) -> Moment {
    Moment(seconds * 1_000_000)
}

fn gates(all: &[(&str, Standing)]) -> BTreeMap<Name, Gate> {
    let gate = |standing: &Standing| Gate {
        healthy_for: Duration::from_secs(30),
        deadline: Duration::from_secs(100),
        standing: standing.clone(),
    };
    all.iter().map(|(unit, standing)| (name(unit), gate(standing))).collect()
}

fn waits() -> Standing {
    Standing::Waits("check 'up'".into())
}

#[test]
fn it_is_good_when_every_gate_has_been_well_long_enough_together() {
    let mut progress = Progress { began: at(10), ..Progress::default() };
    let mut step = |db, web, now| trial_step(&mut progress, &gates(&[("db", db), ("web", web)]), at(now));
    assert_eq!(step(Standing::Well, waits(), 10), Step::Wait(at(40)));
    assert_eq!(step(Standing::Well, Standing::Well, 30), Step::Wait(at(40)));
    // One of them is through, the other one starts anew.
    assert_eq!(step(Standing::Well, waits(), 41), Step::Wait(at(110)));
    assert_eq!(step(Standing::Well, Standing::Well, 50), Step::Wait(at(80)));
    assert_eq!(step(Standing::Well, Standing::Well, 79), Step::Wait(at(80)));
    assert_eq!(step(Standing::Well, Standing::Well, 80), Step::Commit);
}

#[test]
fn what_is_not_well_in_time_or_has_failed_ends_it() {
    let mut progress = Progress { began: at(10), ..Progress::default() };
    let all = |web| gates(&[("db", Standing::Well), ("web", web)]);
    assert_eq!(trial_step(&mut progress, &all(waits()), at(109)), Step::Wait(at(110)));
    let late = Step::Fail(Reason::Deadline(name("web"), "check 'up'".into()));
    assert_eq!(trial_step(&mut progress, &all(waits()), at(110)), late);
    let failed = trial_step(&mut progress, &all(Standing::Failed("exit code 3".into())), at(20));
    assert_eq!(failed, Step::Fail(Reason::Health(name("web"), "exit code 3".into())));
    assert_eq!(Reason::Health(name("web"), "exit code 3".into()).to_string(), "health web: exit code 3");
    // Well only just now: it has not shown that it stays so.
    progress.healthy.clear();
    let text = "healthy, and not yet for 30s".to_owned();
    let late = Step::Fail(Reason::Deadline(name("db"), text));
    assert_eq!(trial_step(&mut progress, &all(Standing::Well), at(110)), late);
}

#[test]
fn time_of_earlier_boots_counts_and_without_gates_nothing_is_waited_for() {
    let mut progress = Progress { spent: Duration::from_secs(95), ..Progress::default() };
    assert_eq!(trial_step(&mut progress, &gates(&[("web", waits())]), at(1)), Step::Wait(at(5)));
    assert!(matches!(trial_step(&mut progress, &gates(&[("web", waits())]), at(5)), Step::Fail(_)));
    assert_eq!(trial_step(&mut progress, &BTreeMap::new(), at(5)), Step::Commit);
}

fn unit() -> Unit {
    Unit::new(name("web"), Reference::parse("probe").unwrap())
}

fn seen(life: Life) -> Seen {
    let mut seen = Seen::default();
    seen.record.life = life;
    seen.record.runs = 3;
    seen.record.run = life.has_process().then(|| Process { fingerprint: 7, ..Process::default() });
    seen
}

fn exit(reason: ExitReason, detail: Option<&str>) -> LastExit {
    let detail = detail.map(str::to_owned);
    LastExit { reason, code: Some(3), signal: None, at: String::new(), detail }
}

#[test]
fn a_unit_stands_as_its_life_says() {
    let say = |life| standing(&unit(), &seen(life), Some(7), 2).unwrap();
    for life in [Life::Ready, Life::Completed, Life::Skipped] {
        assert_eq!(say(life), Standing::Well, "{life:?}");
    }
    for life in
        [Life::Idle, Life::Held, Life::SetUp, Life::Running, Life::Stopping, Life::Killing, Life::Backoff]
    {
        assert!(matches!(say(life), Standing::Waits(_)), "{life:?}");
    }
    assert_eq!(say(Life::Failed), Standing::Failed("failed".into()));
    // The process of the revision before it proves nothing.
    let old = standing(&unit(), &seen(Life::Ready), Some(8), 2);
    assert_eq!(old, Some(Standing::Waits("it is to be replaced".into())));
}

#[test]
fn a_check_that_fails_in_the_trial_ends_it_and_one_before_it_does_not() {
    let mut now = seen(Life::Backoff);
    now.record.last_exit = Some(exit(ExitReason::Unhealthy, Some("check 'live' failed 3 times")));
    let failed = Some(Standing::Failed("check 'live' failed 3 times".into()));
    assert_eq!(standing(&unit(), &now, Some(7), 2), failed);
    assert!(matches!(standing(&unit(), &now, Some(7), 3), Some(Standing::Waits(_))));
    now.record.last_exit = Some(exit(ExitReason::Exit, None));
    let waits = Some(Standing::Waits("its next try: exit code 3".into()));
    assert_eq!(standing(&unit(), &now, Some(7), 2), waits);
}

#[test]
fn who_does_not_run_by_itself_has_no_say() {
    let mut held = unit();
    held.update.on_failure = OnFailedUpdate::Hold;
    let mut manual = unit();
    manual.start = Start::Manual;
    let mut job = unit();
    job.kind = Type::Job;
    for unit in [&held, &manual, &job] {
        assert_eq!(standing(unit, &seen(Life::Failed), Some(7), 0), None);
    }
    let mut stopped = seen(Life::Stopped);
    stopped.record.wanted = Wanted::Stopped;
    assert_eq!(standing(&unit(), &stopped, Some(7), 0), None);
}

#[test]
fn who_was_failing_before_is_excused() {
    for life in [Life::Failed, Life::Backoff] {
        assert!(is_excused(&unit(), &seen(life)), "{life:?}");
    }
    for life in [Life::Ready, Life::Running, Life::Idle, Life::Completed, Life::Stopped] {
        assert!(!is_excused(&unit(), &seen(life)), "{life:?}");
    }
    // Between two tries of a crash loop.
    let mut looping = seen(Life::SetUp);
    looping.record.restarts = 4;
    assert!(is_excused(&unit(), &looping));
}
