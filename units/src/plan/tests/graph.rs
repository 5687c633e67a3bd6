//! Units among each other: strengths, facts, conditions, and graphs of them at random.

use super::*;
use crate::spec::{Arch, OnLimit, OnRestart, OnStop, OnUnmet, Strength, Until};

const SECOND: u64 = 1_000_000;

/// `a` and `b`, where `b` depends on `a` in that way.
fn pair(depends: Depends) -> (Declared, Observed) {
    let mut declared = Declared::default();
    for text in ["a", "b"] {
        let mut unit = unit(text);
        unit.network = crate::spec::NetworkMode::None;
        unit.restart.jitter_milli = 0;
        declared.units.insert(unit.name.clone(), unit);
    }
    declared.units.get_mut("b").unwrap().depends.insert(name("a"), depends);
    let units = declared.units.keys().map(|name| (name.clone(), Seen::default())).collect();
    (declared, Observed { units, ..Observed::default() })
}

pub(super) fn change(declared: &mut Declared, text: &str, change: impl FnOnce(&mut Unit)) {
    change(declared.units.get_mut(text).unwrap());
}

fn life(observed: &Observed, text: &str) -> Life {
    observed.units[text].record.life
}

pub(super) fn lines(actions: &[Action]) -> Vec<String> {
    actions.iter().map(ToString::to_string).collect()
}

/// What `berth stop` and `berth start` do.
pub(super) fn ask(observed: &mut Observed, text: &str, wanted: Wanted, now: Moment) {
    let record = &mut observed.units.get_mut(text).unwrap().record;
    record.wanted = wanted;
    let event = if wanted == Wanted::Stopped { Event::StopAsked } else { Event::StartAsked };
    record.step(event, now);
}

/// What `berth restart` does.
fn ask_again(observed: &mut Observed, text: &str) {
    observed.units.get_mut(text).unwrap().record.again = true;
}

const BOTH_STARTED: [&str; 6] =
    ["start a", "attach a to its networks", "let a go", "start b", "attach b to its networks", "let b go"];

#[test]
fn a_need_is_bound_for_life() {
    let (declared, mut observed) = pair(Depends::default());
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(0))), BOTH_STARTED);
    ask(&mut observed, "a", Wanted::Stopped, Moment(1));
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), ["stop b", "stop a"]);
    let unit = &declared.units["b"];
    assert_eq!(waits_for(&declared, &observed, unit).unwrap(), "waits for 'a' to be ready, which is stopped");
    assert_eq!(life(&observed, "b"), Life::Idle);
    ask(&mut observed, "a", Wanted::Started, Moment(2));
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(2))), BOTH_STARTED);
}

#[test]
fn a_need_that_fails_for_good_takes_its_dependants_along() {
    let (mut declared, mut observed) = pair(Depends::default());
    change(&mut declared, "a", |unit| unit.restart.policy = Policy::Never);
    settle(&declared, &mut observed, Moment(0));
    exit(&declared, &mut observed, &name("a"), Moment(1));
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), ["stop b"]);
    assert_eq!((life(&observed, "a"), life(&observed, "b")), (Life::Failed, Life::Idle));
}

#[test]
fn a_need_that_comes_back_by_itself_disturbs_nobody_unless_it_says_so() {
    for (propagate, expect) in [(false, vec![]), (true, vec!["stop b"])] {
        let (mut declared, mut observed) = pair(Depends::default());
        change(&mut declared, "a", |unit| unit.restart.propagate = propagate);
        settle(&declared, &mut observed, Moment(0));
        exit(&declared, &mut observed, &name("a"), Moment(1));
        assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), expect);
        settle(&declared, &mut observed, Moment(SECOND));
        assert_eq!(ready(&observed), 2);
    }
}

#[test]
fn a_restart_by_hand_goes_round_the_dependants() {
    for (on_restart, expect) in [
        (OnRestart::Restart, [&["stop b", "stop a"], &BOTH_STARTED[..]].concat()),
        (OnRestart::Ignore, vec!["stop a", "start a", "attach a to its networks", "let a go"]),
    ] {
        let (declared, mut observed) = pair(Depends { on_restart, ..Depends::default() });
        settle(&declared, &mut observed, Moment(0));
        ask_again(&mut observed, "a");
        assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), expect);
    }
}

#[test]
fn who_ignores_a_stop_goes_on() {
    let (declared, mut observed) = pair(Depends { on_stop: OnStop::Ignore, ..Depends::default() });
    settle(&declared, &mut observed, Moment(0));
    ask(&mut observed, "a", Wanted::Stopped, Moment(1));
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), ["stop a"]);
    assert_eq!(life(&observed, "b"), Life::Ready);
}

/// `a`, `b` that needs it, `c` that needs `b`.
fn chain(b_on_a: Depends, c_on_b: Depends) -> (Declared, Observed) {
    let (mut declared, mut observed) = pair(b_on_a);
    let mut third = declared.units["b"].clone();
    third.name = name("c");
    third.depends = [(name("b"), c_on_b)].into();
    declared.units.insert(name("c"), third);
    observed.units.insert(name("c"), Seen::default());
    settle(&declared, &mut observed, Moment(0));
    (declared, observed)
}

const DEAF: Depends = Depends {
    until: Until::Started,
    strength: Strength::Need,
    on_stop: OnStop::Ignore,
    on_restart: OnRestart::Ignore,
};

#[test]
fn a_stop_is_no_crash_that_propagates() {
    let (mut declared, mut observed) = chain(
        Depends { until: Until::Started, ..Depends::default() },
        Depends { on_restart: OnRestart::Restart, ..DEAF },
    );
    change(&mut declared, "b", |unit| unit.restart.propagate = true);
    settle(&declared, &mut observed, Moment(1));
    ask(&mut observed, "a", Wanted::Stopped, Moment(2));
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(2))), ["stop b", "stop a"]);
    assert_eq!(life(&observed, "c"), Life::Ready);
}

#[test]
fn a_restart_without_a_second_half_is_a_stop() {
    let (declared, mut observed) =
        chain(DEAF, Depends { on_restart: OnRestart::Ignore, ..Depends::default() });
    ask(&mut observed, "a", Wanted::Stopped, Moment(1));
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), ["stop a"]);
    ask_again(&mut observed, "b");
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(2))), ["stop c", "stop b"]);
}

#[test]
fn a_milestone_matters_once() {
    let (mut declared, mut observed) = pair(Depends { strength: Strength::Milestone, ..Depends::default() });
    change(&mut declared, "a", |unit| unit.start = Start::Manual);
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(0))), [""; 0]);
    ask(&mut observed, "a", Wanted::Started, Moment(1));
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), BOTH_STARTED);
    ask(&mut observed, "a", Wanted::Stopped, Moment(2));
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(2))), ["stop a"]);
    ask_again(&mut observed, "b");
    settle(&declared, &mut observed, Moment(3));
    assert_eq!(life(&observed, "b"), Life::Ready);
}

#[test]
fn what_is_wanted_may_fail_or_be_absent() {
    let wants = Depends { strength: Strength::Wants, ..Depends::default() };
    let (declared, mut observed) = pair(wants);
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(0))), BOTH_STARTED);
    for set in [
        |unit: &mut Unit| unit.enabled = false,
        |unit: &mut Unit| unit.start = Start::Manual,
        |unit: &mut Unit| {
            unit.depends.insert(name("nobody"), Depends::default());
        },
    ] {
        let (mut declared, mut observed) = pair(wants);
        change(&mut declared, "a", set);
        settle(&declared, &mut observed, Moment(0));
        assert_eq!((life(&observed, "a"), life(&observed, "b")), (Life::Idle, Life::Ready));
    }
    for state in [Life::Failed, Life::Stopped, Life::Backoff] {
        let (declared, mut observed) = pair(wants);
        observed.units.get_mut("a").unwrap().record.life = state;
        settle(&declared, &mut observed, Moment(0));
        assert_eq!(life(&observed, "b"), Life::Ready, "{state:?}");
    }
    let (mut declared, mut observed) = pair(wants);
    declared.units.remove("a");
    observed.units.remove("a");
    settle(&declared, &mut observed, Moment(0));
    assert_eq!(life(&observed, "b"), Life::Ready);
}

#[test]
fn each_condition_asks_for_its_state() {
    use Life::{Completed, Failed, Ready, Running, SetUp, Skipped, Stopping};
    let rows: [(Until, &[Life]); 4] = [
        (Until::Started, &[Running, Ready, Completed, Skipped]),
        (Until::Ready, &[Ready, Completed, Skipped]),
        (Until::Healthy, &[Ready, Completed, Skipped]),
        (Until::Completed, &[Completed, Skipped]),
    ];
    for (until, expect) in rows {
        for state in [SetUp, Running, Ready, Completed, Skipped, Failed, Stopping] {
            let (mut declared, mut observed) = pair(Depends { until, ..Depends::default() });
            change(&mut declared, "a", |unit| unit.kind = Type::Oneshot);
            let run = Run { fingerprint: fingerprint(&declared.units["a"]), ..Run::default() };
            observed.units.get_mut("a").unwrap().record =
                Record { life: state, run: state.has_process().then_some(run), ..Record::default() };
            let starts = plan(&declared, &observed, Moment(0)).contains(&Action::Start(name("b")));
            assert_eq!(starts, expect.contains(&state), "{until:?} {state:?}");
        }
    }
}

#[test]
fn a_oneshot_comes_before_its_service() {
    let (mut declared, mut observed) = pair(Depends { until: Until::Completed, ..Depends::default() });
    change(&mut declared, "a", |unit| unit.kind = Type::Oneshot);
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(0))), BOTH_STARTED);
    assert_eq!((life(&observed, "a"), life(&observed, "b")), (Life::Completed, Life::Ready));
    // Whoever needs it ready has it as long as it remains.
    change(&mut declared, "b", |unit| {
        unit.depends.insert(name("a"), Depends::default());
    });
    settle(&declared, &mut observed, Moment(1));
    assert_eq!(life(&observed, "b"), Life::Ready);
    change(&mut declared, "a", |unit| unit.remain_after_exit = Some(false));
    settle(&declared, &mut observed, Moment(2));
    assert_eq!(life(&observed, "b"), Life::Idle);
}

#[test]
fn after_and_before_only_order() {
    for turn in [false, true] {
        let (mut declared, mut observed) = pair(Depends::default());
        change(&mut declared, "b", |unit| unit.depends.clear());
        match turn {
            false => change(&mut declared, "b", |unit| unit.after.push(name("a"))),
            true => change(&mut declared, "a", |unit| unit.before.push(name("b"))),
        }
        assert_eq!(lines(&settle(&declared, &mut observed, Moment(0))), BOTH_STARTED);
        ask(&mut observed, "a", Wanted::Stopped, Moment(1));
        assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), ["stop a"]);
        ask(&mut observed, "a", Wanted::Started, Moment(2));
        settle(&declared, &mut observed, Moment(2));
        observed.draining = true;
        assert_eq!(lines(&settle(&declared, &mut observed, Moment(3))), ["stop b", "stop a"]);
    }
}

#[test]
fn those_who_conflict_never_run_together() {
    let (mut declared, mut observed) = pair(Depends::default());
    change(&mut declared, "b", |unit| {
        unit.depends.clear();
        unit.conflicts.push(name("a"));
        unit.start = Start::Manual;
    });
    settle(&declared, &mut observed, Moment(0));
    ask(&mut observed, "b", Wanted::Started, Moment(1));
    assert_eq!(plan(&declared, &observed, Moment(1)), []);
    let why = waits_for(&declared, &observed, &declared.units["b"]).unwrap();
    assert_eq!(why, "waits for 'a' to be gone: the two conflict");
    ask(&mut observed, "a", Wanted::Stopped, Moment(2));
    settle(&declared, &mut observed, Moment(2));
    assert_eq!((life(&observed, "a"), life(&observed, "b")), (Life::Stopped, Life::Ready));
}

#[test]
fn units_that_were_removed_stop_in_reverse_too() {
    let (mut declared, mut observed) = pair(Depends::default());
    settle(&declared, &mut observed, Moment(0));
    declared.units.clear();
    let expect = ["stop b", "forget b", "stop a", "forget a"];
    let mut all = lines(&settle(&declared, &mut observed, Moment(1)));
    all.sort_by_key(|line| expect.iter().position(|expected| expected == line));
    assert_eq!(all, expect);
}

#[test]
fn a_removed_unit_stops_before_those_that_stay_and_restart() {
    let (mut declared, mut observed) = pair(Depends::default());
    settle(&declared, &mut observed, Moment(0));
    declared.units.remove("b");
    change(&mut declared, "a", |unit| drop(unit.env.insert("A".into(), "b".into())));
    let all = settle(&declared, &mut observed, Moment(1));
    assert!(position(&all, &Action::Stop(name("b"))) < position(&all, &Action::Stop(name("a"))));
}

#[test]
fn facts_are_waited_for_and_time_runs_out() {
    let (mut declared, mut observed) = pair(Depends::default());
    change(&mut declared, "b", |unit| {
        unit.wait_for.paths = vec!["/data/x".into()];
        unit.wait_for.timeout = Duration::from_secs(5);
        unit.restart.policy = Policy::Never;
    });
    let all = lines(&settle(&declared, &mut observed, Moment(SECOND)));
    assert_eq!(all, [&BOTH_STARTED[..3], &["let b wait"]].concat());
    assert_eq!(waits_for(&declared, &observed, &declared.units["b"]).unwrap(), "waits for '/data/x'");
    assert_eq!(next_wake(&declared, &observed), Some(Moment(6 * SECOND)));
    let mut late = observed.clone();
    settle(&declared, &mut late, Moment(6 * SECOND));
    assert_eq!((life(&late, "b"), next_wake(&declared, &late)), (Life::Failed, None));
    // While its dependency is away its time does not count, and nobody wakes up for it.
    let mut alone = observed.clone();
    ask(&mut alone, "a", Wanted::Stopped, Moment(2 * SECOND));
    settle(&declared, &mut alone, Moment(7 * SECOND));
    assert_eq!((life(&alone, "b"), next_wake(&declared, &alone)), (Life::Idle, None));
    observed.facts.paths.insert("/data/x".into());
    settle(&declared, &mut observed, Moment(5 * SECOND));
    assert_eq!(life(&observed, "b"), Life::Ready);
}

#[test]
fn an_unmet_condition_skips_or_fails() {
    let (mut declared, mut observed) = pair(Depends::default());
    observed.facts.arch = "x86_64".into();
    change(&mut declared, "a", |unit| unit.conditions.arch = Some(Arch::Arm));
    let mut skipped = observed.clone();
    settle(&declared, &mut skipped, Moment(0));
    // Nobody misses what is not meant for this node.
    assert_eq!((life(&skipped, "a"), life(&skipped, "b")), (Life::Skipped, Life::Ready));
    assert_eq!(skipped.units["a"].record.note.as_deref(), Some("the node is x86_64, not aarch64"));
    change(&mut declared, "a", |unit| unit.conditions.on_unmet = OnUnmet::Fail);
    settle(&declared, &mut observed, Moment(0));
    assert_eq!((life(&observed, "a"), life(&observed, "b")), (Life::Failed, Life::Idle));
}

#[test]
fn a_unit_that_has_run_for_its_time_ends() {
    let (mut declared, mut observed) = pair(Depends::default());
    change(&mut declared, "b", |unit| unit.runtime_max = Duration::from_secs(3));
    settle(&declared, &mut observed, Moment(0));
    assert_eq!(next_wake(&declared, &observed), Some(Moment(3 * SECOND)));
    assert_eq!(plan(&declared, &observed, Moment(3 * SECOND)), [Action::Expire(name("b"))]);
    settle(&declared, &mut observed, Moment(3 * SECOND));
    assert_eq!(life(&observed, "b"), Life::Backoff);
}

#[test]
fn the_limit_ends_a_crash_loop() {
    let (mut declared, mut observed) = pair(Depends::default());
    change(&mut declared, "a", |unit| {
        unit.restart.burst = 2;
        unit.restart.on_limit = OnLimit::Fail;
    });
    let mut now = Moment(0);
    for _ in 0..3 {
        settle(&declared, &mut observed, now);
        exit(&declared, &mut observed, &name("a"), now);
        now = next_wake(&declared, &observed).unwrap_or(now);
    }
    settle(&declared, &mut observed, now);
    assert_eq!((life(&observed, "a"), life(&observed, "b")), (Life::Failed, Life::Idle));
}

#[test]
fn a_chain_of_a_thousand_is_planned_soon() {
    let edges: Vec<_> = (1..1000).map(|at| (at, at - 1)).collect();
    let (declared, mut observed) = world(&edges, 1000);
    let first = plan(&declared, &observed, Moment(0));
    assert_eq!(first, [Action::Start(name("u0"))]);
    for seen in observed.units.values_mut() {
        seen.record.life = Life::Stopped;
    }
    assert_eq!(plan(&declared, &observed, Moment(0)), []);
}
