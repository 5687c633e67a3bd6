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
        | Action::Resupply(name, _)
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
        Action::Resupply(..) => {
            let run = record.run.as_mut().unwrap();
            run.supplies = versions(declared, &declared.units[name], &observed.facts);
            run.renew_at.take().is_some()
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
#[path = "tests/steps.rs"]
mod steps;
#[path = "tests/supplies.rs"]
mod supplies;
#[path = "tests/volumes.rs"]
mod volumes;
