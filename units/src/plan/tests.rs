//! The planner against a model of the executor: every action succeeds, every process answers.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::change::Identity;
use crate::job::{self, JobEnd};
use crate::life::{Event, Rest};
use crate::observed::{NetworkSeen, Record, Run};
use crate::reference::Reference;
use crate::restart::{End, after_exit, is_success};
use crate::spec::{Attachment, Depends, Hook, Policy, Type};
use crate::supplies::versions;
use crate::task::{Doing, begin_around, end_around, is_done};
use crate::volumes::mounted_by;
use crate::wire::control::ExitReason;

fn waits_for(declared: &Declared, observed: &Observed, unit: &Unit) -> Option<String> {
    View::new(declared, observed).waits_for(unit)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn unit(text: &str) -> Unit {
    Unit::new(name(text), Reference::parse("probe").unwrap())
}

fn fingerprint(unit: &Unit) -> u64 {
    Identity::of(unit).process
}

/// Units `u0`, `u1`, …; each may depend on those before it, so there is no cycle.
fn world(edges: &[(usize, usize)], count: usize) -> (Declared, Observed) {
    let mut declared = Declared::default();
    for at in 0..count {
        let mut unit = unit(&format!("u{at}"));
        unit.restart.jitter_milli = 0;
        unit.networks.insert(name("net"), Attachment::default());
        for (_, to) in edges.iter().filter(|(from, to)| *from == at && to < from) {
            unit.depends.insert(name(&format!("u{to}")), Depends::default());
        }
        declared.units.insert(unit.name.clone(), unit);
    }
    let units = declared.units.keys().map(|name| (name.clone(), Seen::default())).collect();
    let networks = [(name("net"), NetworkSeen::Up)].into();
    (declared, Observed { units, networks, ..Observed::default() })
}

/// Whom an action is about.
fn named(action: &Action) -> &Name {
    match action {
        Action::TryAgain(name)
        | Action::Wait(name)
        | Action::GiveUp(name, _)
        | Action::Skip(name, _)
        | Action::Refuse(name, _)
        | Action::BeginSchedule(name)
        | Action::BeginRun(name, _)
        | Action::Start(name)
        | Action::Attach(name)
        | Action::Release(name)
        | Action::Stop(name)
        | Action::Expire(name)
        | Action::Hook(name, _)
        | Action::CallOff(name)
        | Action::EndTask(name)
        | Action::Signal(name)
        | Action::Kill(name, _)
        | Action::Replace { unit: name, .. }
        | Action::Freeze(name)
        | Action::Thaw(name)
        | Action::Update(name)
        | Action::Recheck(name)
        | Action::Gather(name)
        | Action::Reconsider(name)
        | Action::RenewAt(name, _)
        | Action::Renew(name, _)
        | Action::Forget(name)
        | Action::Discard(name) => name,
    }
}

/// Carries out those that leave nothing to look at.
fn forget(observed: &mut Observed, action: &Action) -> bool {
    match action {
        Action::Forget(name) => observed.units.remove(name).is_some(),
        Action::Discard(name) => observed.volumes.remove(name).is_some(),
        _ => false,
    }
}

/// Carries one action out as if everything worked at once; returns what was done, for order checks.
fn apply(declared: &Declared, observed: &mut Observed, action: &Action, now: Moment) {
    if forget(observed, action) {
        return;
    }
    let name = named(action);
    let joined = run_joined(declared, observed, name);
    let seen = observed.units.get_mut(name).unwrap();
    let record = &mut seen.record;
    let done = match action {
        Action::TryAgain(_) => record.step(Event::TryAgain, now),
        Action::Start(_) => {
            record.runs += 1;
            record.run = Some(Run {
                number: record.runs,
                supplies: versions(declared, &declared.units[name], &observed.facts),
                joined,
                ..begun(declared, name, now)
            });
            record.ran_as = record.run.as_ref().map(|run| run.fingerprint);
            seen.populated = true;
            seen.attach = Attach::Unasked;
            record.step(Event::Spawned, now)
        }
        Action::RenewAt(_, at) => std::mem::replace(&mut record.run.as_mut().unwrap().renew_at, *at) != *at,
        Action::Attach(_) => std::mem::replace(&mut seen.attach, Attach::Done) != Attach::Done,
        Action::Release(_) => return release(declared, observed, name, now),
        Action::BeginSchedule(_) | Action::BeginRun(..) => {
            return apply_to_job(declared, observed, action, now);
        }
        Action::Update(_) | Action::Recheck(_) | Action::Gather(_) | Action::Reconsider(_) => {
            return live::apply(declared, seen, action, now);
        }
        Action::Wait(_) | Action::Skip(..) | Action::Refuse(..) | Action::GiveUp(..) => {
            return apply_without_process(declared, observed, action, now);
        }
        _ => return apply_to_process(declared, observed, action, now),
    };
    assert!(done, "{action} came in the wrong state");
}

/// It is executed, and does what its type does at once.
fn release(declared: &Declared, observed: &mut Observed, name: &Name, now: Moment) {
    let record = &mut observed.units.get_mut(name).unwrap().record;
    let done = record.step(Event::Released, now) && record.step(Event::Executed, now);
    assert!(done, "{name} was released in the wrong state");
    match declared.units[name].kind {
        // Its hook comes first.
        Type::Service if !is_done(&declared.units[name], record, Task::PostStart) => {}
        Type::Service => assert!(record.step(Event::BecameReady, now)),
        // Takes as long as the test says.
        Type::Job => job::let_go(record, &observed.facts, now),
        // Its one deed is done at once.
        Type::Oneshot => end(declared, observed, name, (ExitReason::Exit, Some(0)), now),
    }
}

/// The same for the times of a job.
fn apply_to_job(declared: &Declared, observed: &mut Observed, action: &Action, now: Moment) {
    let record = &mut observed.units.get_mut(named(action)).unwrap().record;
    let unit = &declared.units[named(action)];
    match action {
        Action::BeginRun(_, planned) => job::begin_run(unit, record, *planned, (&observed.facts, now)),
        _ => job::begin_schedule(&mut record.job, &observed.facts, now),
    }
}

/// The same set with every identity computed, as the supervisor has it.
fn identified(declared: &Declared) -> Declared {
    let identity = |(name, unit): (&Name, &Unit)| (name.clone(), Identity::of(unit));
    Declared { identities: declared.units.iter().map(identity).collect(), ..declared.clone() }
}

/// A run that begins.
/// The run of the unit in whose network a unit starts.
fn run_joined(declared: &Declared, observed: &Observed, name: &Name) -> Option<u64> {
    let owner = declared.units.get(name)?.network.owner()?;
    observed.units[owner].record.run.as_ref().map(|run| run.number)
}

fn begun(declared: &Declared, name: &Name, now: Moment) -> Run {
    let identity = declared.identity(name).unwrap();
    Run {
        pid: 1,
        started: now,
        fingerprint: identity.process,
        limits: Some(identity.limits),
        checks: Some(identity.checks),
        after: comes_after(declared, &declared.units[name]),
        volumes: mounted_by(&declared.units[name]),
        ..Run::default()
    }
}

/// The same for those that are about a process that runs.
fn apply_to_process(declared: &Declared, observed: &mut Observed, action: &Action, now: Moment) {
    let draining = observed.draining;
    let name = named(action);
    let seen = observed.units.get_mut(name).unwrap();
    let unit = declared.units.get(name);
    let again = unit.is_some_and(|unit| is_wanted(unit, seen)) && !draining;
    match action {
        Action::Hook(_, task) if task.is_around() => {
            let doing = Doing { task: *task, pid: None, deadline: now };
            begin_around(&mut seen.record, doing, declared.identity(name).unwrap().process);
            assert_eq!(end_around(unit, &mut seen.record, Ok(())), None);
        }
        Action::Hook(_, task) => {
            seen.record.run.as_mut().unwrap().done.insert(*task);
            assert!(*task == Task::PreStop || seen.record.step(Event::BecameReady, now));
        }
        Action::Freeze(_) | Action::Thaw(_) => seen.frozen ^= true,
        _ if !seen.record.life.has_process() => {
            assert!(std::mem::take(&mut seen.populated), "{action} for nothing")
        }
        Action::Stop(_) if unit.is_some_and(|unit| !is_done(unit, &seen.record, Task::PreStop)) => {
            seen.record.again = again;
            assert!(seen.record.step(Event::StopSent, now));
        }
        Action::Signal(_) => end(declared, observed, name, (ExitReason::Signal, None), now),
        Action::Expire(_) => {
            seen.record.run.as_mut().unwrap().expired = true;
            seen.record.step(Event::StopSent, now);
            end(declared, observed, name, (ExitReason::RuntimeMax, None), now);
        }
        Action::Stop(_) | Action::Kill(..) | Action::Replace { .. } | Action::Renew(..) => {
            seen.record.again = again;
            seen.record.step(Event::KillSent, now);
            end(declared, observed, name, (ExitReason::Signal, None), now);
        }
        _ => unreachable!("{action}"),
    }
}

/// The same for those that come before there is a process.
fn apply_without_process(declared: &Declared, observed: &mut Observed, action: &Action, now: Moment) {
    let name = named(action);
    let record = &mut observed.units.get_mut(name).unwrap().record;
    match action {
        Action::Wait(_) => record.waits_since = Some(now),
        Action::Skip(_, why) => {
            assert!(record.step(Event::Skipped, now));
            record.rests_as = declared.identity(name).map(|identity| identity.whole);
            record.note = Some(why.clone());
        }
        Action::Refuse(..) => assert!(record.step(Event::Exited(Rest::Failed), now)),
        _ => end(declared, observed, name, (ExitReason::StartFailed, None), now),
    }
}

/// The process of a unit ends by signal 9.
fn exit(declared: &Declared, observed: &mut Observed, name: &Name, now: Moment) {
    end(declared, observed, name, (ExitReason::Signal, None), now);
}

/// What the supervisor does when a process has ended.
fn end(declared: &Declared, observed: &mut Observed, name: &Name, how: End, now: Moment) {
    let seen = observed.units.get_mut(name).unwrap();
    let after = after_exit(declared.units.get(name), &seen.record, how, now);
    seen.populated = false;
    assert!(seen.record.step(Event::Exited(after.rest), now), "{name} ended in {:?}", seen.record.life);
    seen.record.rests_as = declared.identity(name).map(|identity| identity.whole);
    seen.record.failures = after.failures;
    seen.record.recent = after.recent;
    seen.record.next_try = after.next_try;
    if let Some(unit) = declared.units.get(name) {
        let success = is_success(&unit.restart, how);
        let end = JobEnd { success, ..JobEnd::without_process(how.0, "") };
        job::end_try(unit, &mut seen.record, (after.rest, end), (&observed.facts, now));
    }
}

/// Plans and applies until nothing is left to do; the actions in order.
fn settle(declared: &Declared, observed: &mut Observed, now: Moment) -> Vec<Action> {
    let declared = &identified(declared);
    let mut all = Vec::new();
    for _ in 0..200 {
        let actions = plan(declared, observed, now);
        if actions.is_empty() {
            return all;
        }
        for action in actions {
            apply(declared, observed, &action, now);
            all.push(action);
        }
    }
    panic!("no fixed point: {all:?}");
}

fn ready(observed: &Observed) -> usize {
    observed.units.values().filter(|seen| seen.record.life == Life::Ready).count()
}

fn position(actions: &[Action], wanted: &Action) -> usize {
    actions.iter().position(|action| action == wanted).unwrap_or_else(|| panic!("{wanted} is not planned"))
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

#[path = "tests/graph.rs"]
mod graph;
#[path = "tests/hooks.rs"]
mod hooks;
#[path = "tests/jobs.rs"]
mod jobs;
#[path = "tests/joined.rs"]
mod joined;
#[path = "tests/live.rs"]
mod live;
#[path = "tests/pause.rs"]
mod pause;
#[path = "tests/random.rs"]
mod random;
#[path = "tests/supplies.rs"]
mod supplies;
#[path = "tests/volumes.rs"]
mod volumes;
