//! One unit or two, step by step: starts, stops, deadlines, wishes by hand.

use super::*;

#[test]
fn nobody_is_let_go_before_somebody_listens() {
    let (mut declared, mut observed) = world(&[], 1);
    declared.units.get_mut("u0").unwrap().ready = Ready::Log("up".to_owned());
    settle(&declared, &mut observed, Moment(0));
    assert_eq!(observed.units["u0"].record.life, Life::Held);
    let declared = identified(&declared);
    let seen = observed.units.get_mut("u0").unwrap();
    seen.listened = seen.record.run.as_ref().map(|run| run.number - 1);
    assert_eq!(plan(&declared, &observed, Moment(0)), [], "it listens to another run");
    let seen = observed.units.get_mut("u0").unwrap();
    seen.listened = seen.record.run.as_ref().map(|run| run.number);
    assert_eq!(plan(&declared, &observed, Moment(0)), [Action::Release(name("u0"))]);
}

#[test]
fn nothing_starts_before_its_network() {
    let (declared, mut observed) = world(&[], 1);
    observed.networks.clear();
    assert_eq!(plan(&declared, &observed, Moment(0)), []);
    let unit = &declared.units[&name("u0")];
    assert_eq!(waits_for(&declared, &observed, unit).unwrap(), "waits for network 'net'");
}

#[test]
fn a_dead_unit_waits_for_its_backoff() {
    let (declared, mut observed) = world(&[], 1);
    settle(&declared, &mut observed, Moment(0));
    exit(&declared, &mut observed, &name("u0"), Moment(1_000_000));
    assert_eq!(plan(&declared, &observed, Moment(1_000_000)), []);
    assert_eq!(next_wake(&declared, &observed), Some(Moment(1_500_000)));
    settle(&declared, &mut observed, Moment(1_500_000));
    assert_eq!(ready(&observed), 1);
}

#[test]
fn a_stop_by_hand_holds_until_a_start() {
    let (declared, mut observed) = world(&[], 1);
    settle(&declared, &mut observed, Moment(0));
    observed.units.get_mut("u0").unwrap().record.wanted = Wanted::Stopped;
    settle(&declared, &mut observed, Moment(1));
    assert_eq!(observed.units["u0"].record.life, Life::Stopped);
    let record = &mut observed.units.get_mut("u0").unwrap().record;
    record.wanted = Wanted::Started;
    assert!(record.step(Event::StartAsked, Moment(2)));
    settle(&declared, &mut observed, Moment(2));
    assert_eq!(ready(&observed), 1);
}

#[test]
fn a_changed_unit_is_made_again_and_others_are_left_alone() {
    let (mut declared, mut observed) = world(&[], 3);
    settle(&declared, &mut observed, Moment(0));
    declared.units.get_mut("u1").unwrap().env.insert("A".into(), "b".into());
    let actions = settle(&declared, &mut observed, Moment(1));
    let touched: Vec<_> = actions.iter().map(ToString::to_string).collect();
    assert_eq!(touched, ["stop u1", "start u1", "attach u1 to its networks", "let u1 go"]);
    assert_eq!(observed.units["u1"].record.runs, 2);
}

#[test]
fn an_undeclared_unit_is_stopped_and_forgotten() {
    let (mut declared, mut observed) = world(&[], 2);
    settle(&declared, &mut observed, Moment(0));
    declared.units.remove("u0");
    let actions = settle(&declared, &mut observed, Moment(1));
    assert_eq!(actions, [Action::Stop(name("u0")), Action::Forget(name("u0"))]);
}

#[test]
fn deadlines_are_kept() {
    let (declared, mut observed) = world(&[], 1);
    let start = Action::Start(name("u0"));
    apply(&declared, &mut observed, &start, Moment(0));
    observed.units.get_mut("u0").unwrap().attach = Attach::Asked;
    assert_eq!(next_wake(&declared, &observed), Some(Moment(60_000_000)));
    assert_eq!(plan(&declared, &observed, Moment(59_999_999)), []);
    let kill = Action::Kill(name("u0"), KillReason::StartTimeout);
    assert_eq!(plan(&declared, &observed, Moment(60_000_000)), [kill]);

    let seen = observed.units.get_mut("u0").unwrap();
    seen.record.life = Life::Stopping;
    let run = seen.record.run.as_mut().unwrap();
    (run.signalled, run.stop_deadline) = (true, Some(Moment(70_000_000)));
    let kill = Action::Kill(name("u0"), KillReason::StopTimeout);
    assert_eq!(plan(&declared, &observed, Moment(70_000_000)), [kill]);
}

#[test]
fn a_start_is_not_put_off_for_ever_and_a_run_is() {
    let (mut declared, mut observed) = world(&[], 1);
    let unit = declared.units.get_mut("u0").unwrap();
    let seen = observed.units.get_mut("u0").unwrap();
    (unit.start_timeout, unit.runtime_max) = (Duration::from_secs(5), Duration::from_secs(5));
    let ends = |seen: &Seen| (start_deadline(unit, seen), runtime_deadline(unit, seen));
    seen.record.run = Some(Run::default());
    let first = Moment(5_000_000);
    assert_eq!(ends(seen), (Some(first), Some(first)));
    let far = first.after(EXTENSION_MAX * 3);
    seen.record.run.as_mut().unwrap().talk.extended = Some(far);
    assert_eq!(ends(seen), (Some(first.after(EXTENSION_MAX)), Some(far)));
}

#[test]
fn hooks_run_in_their_order_and_once() {
    let (mut declared, mut observed) = world(&[(1, 0)], 2);
    let hooks = &mut declared.units.get_mut("u0").unwrap().hooks;
    hooks.insert(Task::PostStart, Hook::default());
    hooks.insert(Task::PreStop, Hook::default());
    let started = settle(&declared, &mut observed, Moment(0));
    let hook = position(&started, &Action::Hook(name("u0"), Task::PostStart));
    assert!(hook < position(&started, &Action::Start(name("u1"))), "it is ready after its hook");
    observed.draining = true;
    let stopped: Vec<_> =
        settle(&declared, &mut observed, Moment(1)).iter().map(ToString::to_string).collect();
    assert_eq!(stopped, ["stop u1", "stop u0", "run hook pre_stop of u0", "signal u0 to stop"]);
}

#[test]
fn a_task_ends_at_its_deadline_whatever_became_of_the_unit() {
    let (mut declared, mut observed) = world(&[], 1);
    settle(&declared, &mut observed, Moment(0));
    let record = &mut observed.units.get_mut("u0").unwrap().record;
    let doing = Doing { task: Task::PreStop, pid: None, deadline: Moment(5_000_000) };
    record.run.as_mut().unwrap().doing = Some(doing);
    assert_eq!(next_wake(&declared, &observed), Some(Moment(5_000_000)));
    assert_eq!(plan(&declared, &observed, Moment(5_000_000)), [Action::EndTask(name("u0"))]);
    observed.units.get_mut("u0").unwrap().record.step(Event::StopSent, Moment(1));
    declared.units.clear();
    assert_eq!(next_wake(&declared, &observed), Some(Moment(5_000_000)));
    assert_eq!(plan(&declared, &observed, Moment(4_999_999)), []);
    assert_eq!(plan(&declared, &observed, Moment(5_000_000)), [Action::EndTask(name("u0"))]);
    observed.units.get_mut("u0").unwrap().record.run.as_mut().unwrap().doing = None;
    assert_eq!(plan(&declared, &observed, Moment(5_000_000)), [Action::Signal(name("u0"))]);
}

#[test]
fn what_is_left_of_a_unit_goes_before_it_starts_again() {
    let (declared, mut observed) = world(&[], 1);
    observed.units.get_mut("u0").unwrap().populated = true;
    assert_eq!(plan(&declared, &observed, Moment(0)), [Action::Kill(name("u0"), KillReason::LeftOver)]);
    observed.units.get_mut("u0").unwrap().killed = true;
    assert_eq!(plan(&declared, &observed, Moment(0)), []);
}

#[test]
fn a_manual_unit_rests() {
    let (mut declared, mut observed) = world(&[], 2);
    declared.units.get_mut("u0").unwrap().start = Start::Manual;
    declared.units.get_mut("u1").unwrap().enabled = false;
    assert_eq!(settle(&declared, &mut observed, Moment(0)), []);
}

#[test]
fn a_completed_unit_satisfies_its_dependants() {
    let (mut declared, mut observed) = world(&[(1, 0)], 2);
    let unit = declared.units.get_mut("u0").unwrap();
    unit.restart.policy = Policy::OnFailure;
    unit.remain_after_exit = Some(true);
    observed.units.get_mut("u0").unwrap().record = Record { life: Life::Completed, ..Record::default() };
    settle(&declared, &mut observed, Moment(0));
    assert_eq!(observed.units["u1"].record.life, Life::Ready);
}

proptest! {
    #[test]
    fn converges_in_dependency_order_and_stops_in_reverse(
        edges in prop::collection::vec((0usize..12, 0usize..12), 0..30), count in 1usize..12,
    ) {
        let (declared, mut observed) = world(&edges, count);
        let started = settle(&declared, &mut observed, Moment(0));
        prop_assert_eq!(ready(&observed), count);
        observed.draining = true;
        let stopped = settle(&declared, &mut observed, Moment(Duration::from_secs(1).as_micros() as u64));
        prop_assert!(is_drained(&observed));
        for unit in declared.units.values() {
            for on in unit.depends.keys() {
                let go = |name: &Name| position(&started, &Action::Release(name.clone()));
                prop_assert!(go(on) < position(&started, &Action::Start(unit.name.clone())));
                let stop = |name: &Name| position(&stopped, &Action::Stop(name.clone()));
                prop_assert!(stop(&unit.name) < stop(on));
            }
        }
    }

    #[test]
    fn converges_from_any_deaths(deaths in prop::collection::vec(0usize..6, 0..20)) {
        let (declared, mut observed) = world(&[(1, 0), (2, 1), (5, 3)], 6);
        let mut now = Moment(0);
        for at in deaths {
            settle(&declared, &mut observed, now);
            let victim = name(&format!("u{at}"));
            if observed.units[&victim].record.life.has_process() {
                exit(&declared, &mut observed, &victim, now);
            }
            now = now.after(Duration::from_millis(700));
        }
        settle(&declared, &mut observed, now);
        while let Some(wake) = next_wake(&declared, &observed) {
            now = now.max(wake);
            settle(&declared, &mut observed, now);
        }
        prop_assert_eq!(ready(&observed), 6);
        prop_assert_eq!(plan(&declared, &observed, now), vec![]);
    }
}

/// A wake in the past with nothing to do then is a supervisor that never sleeps.
#[test]
fn no_moment_passes_without_an_action() {
    let (declared, observed) = world(&[(1, 0)], 2);
    let run = |unit: &str| {
        let fingerprint = fingerprint(&declared.units[unit]);
        Run { number: 1, pid: 1, fingerprint, ..Run::default() }
    };
    let seen = |life, run| Seen { record: Record { life, run, ..Record::default() }, ..Seen::default() };
    let late = Moment(u64::MAX / 2);
    // Its time has come, and something of its last run still dies.
    let mut dying = observed.clone();
    let mut backoff = seen(Life::Backoff, None);
    (backoff.populated, backoff.killed, backoff.record.next_try) = (true, true, Some(Moment(1)));
    dying.units.insert(name("u0"), backoff);
    // Not ready in time, but it is stopped as soon as the other one is gone.
    let mut draining = observed;
    draining.draining = true;
    draining.units.insert(name("u0"), seen(Life::Running, Some(run("u0"))));
    draining.units.insert(name("u1"), seen(Life::Killing, Some(run("u1"))));
    for observed in [dying, draining] {
        assert_eq!(plan(&declared, &observed, late), []);
        assert!(next_wake(&declared, &observed).is_none_or(|wake| wake > late));
    }
}
