//! Graphs at random: whatever happens, the plan comes to rest where it should.

use super::graph::{ask, change, lines};
use super::*;
use crate::spec::{NetworkMode, OnRestart, OnStop, Strength, Until};

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

/// Who comes after whom: as a dependency, or (`None`) only in order. Short, so that a failing case can be read.
type Edges = Vec<(usize, usize, Option<Depends>)>;

fn any_edges() -> impl Strategy<Value = Edges> {
    prop::collection::vec((0..UNITS, 0..UNITS, prop::option::of(any_depends())), 0..30)
}

/// Services `u0` to `u11` that depend on those before them; every third propagates its restarts, every
/// fourth has hooks, every fifth is in the network of one before it.
fn graph(edges: &Edges) -> (Declared, Observed) {
    let (mut declared, observed) = world(&[], UNITS);
    for (from, to, depends) in edges.iter().filter(|(from, to, _)| to < from) {
        let (from, to) = (format!("u{from}"), name(&format!("u{to}")));
        let unit = declared.units.get_mut(from.as_str()).unwrap();
        match depends {
            Some(depends) => drop(unit.depends.insert(to, *depends)),
            None => unit.after.push(to),
        }
    }
    for (at, unit) in declared.units.values_mut().enumerate() {
        let own: usize = unit.name.as_str()[1..].parse().unwrap();
        let before = own.checked_sub(1).map(|before| name(&format!("u{before}")));
        unit.restart.propagate = at % 3 == 0;
        if at % 4 == 1 {
            for task in [Task::PreStart, Task::PostStart, Task::PreStop, Task::PostStop] {
                unit.hooks.insert(task, Hook::default());
            }
        }
        // By name u2 and u7 are the fifth and the tenth, so that u1 and u6 have networks of their own.
        if let Some(owner) = before.filter(|_| at % 5 == 4) {
            unit.depends.insert(owner.clone(), Depends { until: Until::Started, ..Depends::default() });
            unit.network = NetworkMode::Unit(owner);
        }
    }
    (declared, observed)
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
        if let (Some(owner), Some(run)) = (unit.network.owner(), &seen.record.run) {
            let there = observed.units[owner].record.run.as_ref().map(|run| run.number);
            assert_eq!(run.joined, there, "{name} is in a network of {owner} that is gone");
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
    fn random_graphs_converge_whatever_happens(edges in any_edges(), story in any_story()) {
        let (mut declared, mut observed) = graph(&edges);
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
    fn a_change_touches_only_who_is_bound_to_it(edges in any_edges(), at in 0..UNITS) {
        let (mut declared, mut observed) = graph(&edges);
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
    fn the_next_supervisor_goes_on_where_the_last_one_ended(edges in any_edges(), cut in 0..20usize) {
        let (declared, mut observed) = graph(&edges);
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
