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

fn change(declared: &mut Declared, text: &str, change: impl FnOnce(&mut Unit)) {
    change(declared.units.get_mut(text).unwrap());
}

fn life(observed: &Observed, text: &str) -> Life {
    observed.units[text].record.life
}

fn lines(actions: &[Action]) -> Vec<String> {
    actions.iter().map(ToString::to_string).collect()
}

/// What `berth stop` and `berth start` do.
fn ask(observed: &mut Observed, text: &str, wanted: Wanted, now: Moment) {
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

/// Any way to depend on a service.
fn any_depends() -> impl Strategy<Value = Depends> {
    let until = prop::sample::select(vec![Until::Started, Until::Ready, Until::Healthy]);
    let strength = prop::sample::select(vec![Strength::Need, Strength::Milestone, Strength::Wants]);
    (until, strength, any::<bool>(), any::<bool>()).prop_map(|(until, strength, stops, restarts)| Depends {
        until,
        strength,
        on_stop: if stops { OnStop::Stop } else { OnStop::Ignore },
        on_restart: if restarts { OnRestart::Restart } else { OnRestart::Ignore },
    })
}

const UNITS: usize = 12;

/// Services `u0` to `u11` that depend on those before them; every third propagates its restarts.
fn any_world() -> impl Strategy<Value = (Declared, Observed)> {
    let edge = (0..UNITS, 0..UNITS, any_depends(), any::<bool>());
    prop::collection::vec(edge, 0..30).prop_map(|edges| {
        let (mut declared, observed) = world(&[], UNITS);
        for (from, to, depends, full) in edges.into_iter().filter(|(from, to, ..)| to < from) {
            let (from, to) = (format!("u{from}"), name(&format!("u{to}")));
            let unit = declared.units.get_mut(from.as_str()).unwrap();
            match full {
                true => drop(unit.depends.insert(to, depends)),
                false => unit.after.push(to),
            }
        }
        for (at, unit) in declared.units.values_mut().enumerate() {
            unit.restart.propagate = at % 3 == 0;
        }
        (declared, observed)
    })
}

/// What may happen to a unit.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Dies,
    StopAsked,
    StartAsked,
    RestartAsked,
    Changes,
}

fn any_story() -> impl Strategy<Value = Vec<(usize, Happens)>> {
    use Happens::{Changes, Dies, RestartAsked, StartAsked, StopAsked};
    let what = prop::sample::select(vec![Dies, Dies, Dies, StopAsked, StartAsked, RestartAsked, Changes]);
    prop::collection::vec((0..UNITS, what), 0..25)
}

/// Lets it happen, and says whether anything did.
fn happen(declared: &mut Declared, observed: &mut Observed, at: usize, what: Happens, now: Moment) {
    let text = format!("u{at}");
    let record = &mut observed.units.get_mut(text.as_str()).unwrap().record;
    let runs = record.life.has_process();
    match what {
        Happens::Dies if runs => exit(declared, observed, &name(&text), now),
        Happens::Dies => {}
        Happens::StopAsked => ask(observed, &text, Wanted::Stopped, now),
        Happens::StartAsked => ask(observed, &text, Wanted::Started, now),
        Happens::RestartAsked => record.again = runs,
        Happens::Changes => change(declared, &text, |unit| {
            let count = unit.env.len();
            unit.env.insert(format!("V{count}"), String::new());
        }),
    }
}

/// Lets time pass until nothing is to be expected any more.
fn settle_for_good(declared: &Declared, observed: &mut Observed, mut now: Moment) -> Moment {
    settle(declared, observed, now);
    while let Some(wake) = next_wake(declared, observed) {
        assert!(wake > now, "a wake-up at {wake:?} for nothing");
        now = wake;
        settle(declared, observed, now);
    }
    now
}

/// At rest: who is wanted is ready or can say what it waits for, and nobody runs without what it is bound to.
fn check_rest(declared: &Declared, observed: &Observed) {
    for (name, unit) in &declared.units {
        let seen = &observed.units[name];
        let life = seen.record.life;
        let waits = waits_for(declared, observed, unit);
        match is_wanted(unit, seen) {
            true => assert!(life == Life::Ready || life == Life::Idle && waits.is_some(), "{name} {life:?}"),
            false => assert!(!life.has_process(), "{name} {life:?}"),
        }
        for (on, depends) in &unit.depends {
            let bound = depends.strength == Strength::Need && depends.on_stop == OnStop::Stop;
            let there = observed.units[on].record.life == Life::Ready;
            assert!(life != Life::Ready || !bound || there, "{name} is up without {on}");
        }
    }
}

/// Nobody is stopped before somebody who comes after it and is stopped in the same breath.
fn check_stops(declared: &Declared, actions: &[Action]) {
    let stop = |name: &Name| {
        let stop = Action::Stop(name.clone());
        actions.iter().position(|action| *action == stop)
    };
    for unit in declared.units.values() {
        for on in comes_after(declared, unit) {
            if let (Some(first), Some(second)) = (stop(&unit.name), stop(&on)) {
                assert!(first < second, "{on} was stopped before {}: {:?}", unit.name, lines(actions));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_graphs_converge_whatever_happens((mut declared, mut observed) in any_world(), story in any_story()) {
        let mut now = settle_for_good(&declared, &mut observed, Moment(0));
        prop_assert_eq!(ready(&observed), UNITS);
        for (at, what) in story {
            now = now.after(Duration::from_millis(300));
            happen(&mut declared, &mut observed, at, what, now);
            // Sometimes the next blow falls before the last one is over.
            let actions = settle(&declared, &mut observed, now);
            check_stops(&declared, &actions);
        }
        now = settle_for_good(&declared, &mut observed, now);
        check_rest(&declared, &observed);
        prop_assert_eq!(plan(&declared, &observed, now), vec![]);
        observed.draining = true;
        let actions = settle(&declared, &mut observed, now);
        check_stops(&declared, &actions);
        prop_assert!(is_drained(&observed));
    }

    #[test]
    fn a_change_touches_only_who_is_bound_to_it((mut declared, mut observed) in any_world(), at in 0..UNITS) {
        settle(&declared, &mut observed, Moment(0));
        happen(&mut declared, &mut observed, at, Happens::Changes, Moment(1));
        let mut bound: BTreeSet<Name> = [name(&format!("u{at}"))].into();
        for _ in 0..UNITS {
            for unit in declared.units.values() {
                let tied = |(on, depends): (&Name, &Depends)| {
                    depends.strength == Strength::Need
                        && (depends.on_stop == OnStop::Stop || depends.on_restart == OnRestart::Restart)
                        && bound.contains(on)
                };
                if unit.depends.iter().any(tied) {
                    bound.insert(unit.name.clone());
                }
            }
        }
        for action in settle(&declared, &mut observed, Moment(1)) {
            prop_assert!(bound.contains(named(&action)), "{} was not named", action);
        }
        prop_assert_eq!(ready(&observed), UNITS);
    }

    #[test]
    fn the_next_supervisor_goes_on_where_the_last_one_ended((declared, mut observed) in any_world(), cut in 0..20usize) {
        // Only the record and what the kernel says survive; a process that was held is gone.
        let mut done = 0;
        'outer: loop {
            let actions = plan(&declared, &observed, Moment(0));
            if actions.is_empty() { break; }
            for action in actions {
                if done == cut { break 'outer; }
                apply(&declared, &mut observed, &action, Moment(0));
                done += 1;
            }
        }
        let names: Vec<_> = observed.units.keys().cloned().collect();
        for name in names {
            let seen = observed.units.get_mut(&name).unwrap();
            let text = serde_json::to_string(&seen.record).unwrap();
            seen.record = serde_json::from_str(&text).unwrap();
            if seen.record.life == Life::Held {
                exit(&declared, &mut observed, &name, Moment(0));
            }
        }
        settle(&declared, &mut observed, Moment(1));
        prop_assert_eq!(ready(&observed), UNITS);
        observed.draining = true;
        let actions = settle(&declared, &mut observed, Moment(2));
        check_stops(&declared, &actions);
        prop_assert!(is_drained(&observed));
    }
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
