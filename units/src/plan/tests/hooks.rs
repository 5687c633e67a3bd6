//! Hooks around the runs of a unit, and the wait before its stop signal.

use super::graph::{ask, change, lines};
use super::*;
use crate::spec::NetworkMode;
use crate::task::{begin_around, end_around};

/// `a` with hooks around its runs.
fn hooked() -> (Declared, Observed) {
    let mut unit = unit("a");
    unit.network = NetworkMode::None;
    unit.restart.jitter_milli = 0;
    for task in [Task::PreStart, Task::PostStop] {
        unit.hooks.insert(task, Hook::default());
    }
    let declared = Declared { units: [(name("a"), unit)].into(), ..Declared::default() };
    let observed = Observed { units: [(name("a"), Seen::default())].into(), ..Observed::default() };
    (declared, observed)
}

const STARTED: [&str; 4] = ["run hook pre_start of a", "start a", "attach a to its networks", "let a go"];

/// The hook has begun, and its process is there.
fn begin(declared: &Declared, observed: &mut Observed, task: Task) {
    let process = identified(declared).identity(&name("a")).unwrap().process;
    let seen = observed.units.get_mut("a").unwrap();
    begin_around(&mut seen.record, Doing { task, pid: Some(7), deadline: Moment(50) }, process);
    seen.populated = true;
}

fn planned(declared: &Declared, observed: &Observed, now: u64) -> Vec<String> {
    lines(&plan(&identified(declared), observed, Moment(now)))
}

#[test]
fn each_run_is_prepared_and_swept_after() {
    let (declared, mut observed) = hooked();
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(0))), STARTED);
    exit(&declared, &mut observed, &name("a"), Moment(1));
    // After a crash, too, and before the wait for the next try.
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), ["run hook post_stop of a"]);
    let again = [&["try a again"], &STARTED[..]].concat();
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(1_000_000))), again);
    ask(&mut observed, "a", Wanted::Stopped, Moment(2_000_000));
    let actions = lines(&settle(&declared, &mut observed, Moment(2_000_000)));
    assert_eq!(actions, ["stop a", "run hook post_stop of a"]);
}

#[test]
fn nothing_else_is_done_while_a_hook_runs() {
    for task in [Task::PreStart, Task::PostStop] {
        let (declared, mut observed) = hooked();
        begin(&declared, &mut observed, task);
        assert_eq!(planned(&declared, &observed, 49), [""; 0]);
        assert_eq!(next_wake(&identified(&declared), &observed), Some(Moment(50)));
        assert!(!is_drained(&observed));
        assert_eq!(planned(&declared, &observed, 50), ["end what a is doing beside: it takes too long"]);
        let view = View::new(&declared, &observed);
        assert_eq!(view.waits_for(&declared.units["a"]).unwrap(), format!("runs {}", task.word()));
    }
}

#[test]
fn a_preparation_that_fails_comes_again() {
    let (declared, mut observed) = hooked();
    begin(&declared, &mut observed, Task::PreStart);
    let seen = observed.units.get_mut("a").unwrap();
    seen.populated = false;
    let failed = end_around(declared.units.get("a"), &mut seen.record, Err("exit code 1".into()));
    assert_eq!(failed.as_deref(), Some("exit code 1"));
    end(&declared, &mut observed, &name("a"), (ExitReason::StartFailed, None), Moment(1));
    assert_eq!(observed.units["a"].record.life, Life::Backoff);
    let again = [&["try a again"], &STARTED[..]].concat();
    assert_eq!(
        lines(&settle(&declared, &mut observed, Moment(1_000_000))),
        again,
        "nothing ran, nothing to sweep"
    );
}

#[test]
fn what_is_no_longer_to_start_is_called_off_and_what_has_to_be_swept_is() {
    let off = ["call off the hook of a that runs without its process"];
    let stop = |observed: &mut Observed| ask(observed, "a", Wanted::Stopped, Moment(1));
    let drain = |observed: &mut Observed| observed.draining = true;
    for change in [stop, drain] {
        let (declared, mut observed) = hooked();
        begin(&declared, &mut observed, Task::PreStart);
        change(&mut observed);
        assert_eq!(planned(&declared, &observed, 2), off);
        let (declared, mut observed) = hooked();
        begin(&declared, &mut observed, Task::PostStop);
        change(&mut observed);
        assert_eq!(planned(&declared, &observed, 2), [""; 0]);
    }
    let (mut declared, mut observed) = hooked();
    begin(&declared, &mut observed, Task::PreStart);
    declared.units.clear();
    assert_eq!(planned(&declared, &observed, 2), off);
    let (mut declared, mut observed) = hooked();
    begin(&declared, &mut observed, Task::PostStop);
    declared.units.clear();
    assert_eq!(planned(&declared, &observed, 2), off, "no hook of what is taken out runs any more");
}

#[test]
fn a_start_that_came_to_no_process_is_prepared_anew() {
    let (declared, mut observed) = hooked();
    begin(&declared, &mut observed, Task::PreStart);
    let seen = observed.units.get_mut("a").unwrap();
    seen.populated = false;
    assert_eq!(end_around(declared.units.get("a"), &mut seen.record, Ok(())), None);
    assert_eq!(planned(&declared, &observed, 1), ["start a"]);
    end(&declared, &mut observed, &name("a"), (ExitReason::StartFailed, None), Moment(1));
    let again = [&["try a again"], &STARTED[..]].concat();
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(1_000_000))), again);
}

#[test]
fn a_rival_waits_until_what_it_never_runs_beside_has_swept() {
    let (mut declared, mut observed) = hooked();
    let mut rival = unit("b");
    rival.network = NetworkMode::None;
    rival.conflicts.push(name("a"));
    declared.units.insert(name("b"), rival);
    observed.units.insert(name("b"), Seen::default());
    ask(&mut observed, "b", Wanted::Stopped, Moment(0));
    settle(&declared, &mut observed, Moment(0));
    ask(&mut observed, "a", Wanted::Stopped, Moment(1));
    ask(&mut observed, "b", Wanted::Started, Moment(1));
    let actions = lines(&settle(&declared, &mut observed, Moment(2)));
    let place = |word: &str| actions.iter().position(|action| action == word);
    assert!(place("run hook post_stop of a").unwrap() < place("start b").unwrap(), "{actions:?}");
}

#[test]
fn another_unit_is_prepared_anew() {
    let (mut declared, mut observed) = hooked();
    begin(&declared, &mut observed, Task::PreStart);
    let seen = observed.units.get_mut("a").unwrap();
    seen.populated = false;
    assert_eq!(end_around(declared.units.get("a"), &mut seen.record, Ok(())), None);
    assert_eq!(planned(&declared, &observed, 1), ["start a"]);
    change(&mut declared, "a", |unit| drop(unit.env.insert("A".into(), "b".into())));
    assert_eq!(planned(&declared, &observed, 1), ["run hook pre_start of a"]);
}

#[test]
fn who_is_needed_stays_until_those_behind_it_have_swept() {
    let (mut declared, mut observed) = hooked();
    let mut needed = unit("b");
    needed.network = NetworkMode::None;
    declared.units.insert(name("b"), needed);
    declared.units.get_mut("a").unwrap().depends.insert(name("b"), Depends::default());
    observed.units.insert(name("b"), Seen::default());
    settle(&declared, &mut observed, Moment(0));
    observed.draining = true;
    let actions = lines(&settle(&declared, &mut observed, Moment(1)));
    assert_eq!(actions, ["stop a", "run hook post_stop of a", "stop b"]);
    assert!(is_drained(&observed));
}

#[test]
fn the_signal_waits_for_connections_to_end() {
    let (declared, mut observed) = hooked();
    settle(&declared, &mut observed, Moment(0));
    let record = &mut observed.units.get_mut("a").unwrap().record;
    record.step(Event::StopSent, Moment(1));
    record.run.as_mut().unwrap().signal_at = Some(Moment(30));
    assert_eq!(planned(&declared, &observed, 29), [""; 0]);
    assert_eq!(next_wake(&identified(&declared), &observed), Some(Moment(30)));
    assert_eq!(planned(&declared, &observed, 30), ["signal a to stop"]);
}
