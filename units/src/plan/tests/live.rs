//! Changes in place, drift, and units that rest and become others.

use super::*;
use crate::quantity::Amount;
use crate::spec::{Check, Conditions};
use crate::wire::control::Deed;

/// What the supervisor does for each of them.
pub(super) fn apply(declared: &Declared, seen: &mut Seen, action: &Action, now: Moment) {
    let name = named(action);
    let identity = declared.identity(name).unwrap();
    let record = &mut seen.record;
    match action {
        Action::Update(_) => {
            seen.drifted = false;
            record.run.as_mut().unwrap().limits = Some(identity.limits);
        }
        Action::Recheck(_) => {
            record.run.as_mut().unwrap().checks = Some(identity.checks);
            record.health.adapt(&declared.units[name], now);
        }
        Action::Gather(_) => seen.strayed = false,
        Action::Reconsider(_) => assert!(record.step(Event::StartAsked, now)),
        _ => unreachable!("{action}"),
    }
}

/// Changes one unit of three that run; what is done then, in words.
fn after(change: impl FnOnce(&mut Unit)) -> Vec<String> {
    let (mut declared, mut observed) = world(&[(2, 1)], 3);
    settle(&declared, &mut observed, Moment(0));
    change(declared.units.get_mut("u1").unwrap());
    let actions = settle(&declared, &mut observed, Moment(1));
    assert_eq!(ready(&observed), 3);
    assert_eq!(plan(&declared, &observed, Moment(1)), []);
    actions.iter().map(ToString::to_string).collect()
}

#[test]
fn what_can_change_in_place_touches_no_process_and_no_other_unit() {
    assert_eq!(after(|unit| unit.memory.max = Some(Amount::Bytes(1 << 20))), ["write the limits of u1"]);
    assert_eq!(after(|unit| unit.restart.burst = 3), [""; 0]);
    assert_eq!(after(|unit| unit.stop.timeout = Duration::ZERO), [""; 0]);
    assert_eq!(after(|unit| unit.description = "x".into()), [""; 0]);
    assert_eq!(after(|unit| unit.log.keep = 1), [""; 0]);
    let check = |unit: &mut Unit| drop(unit.health.insert("live".into(), Check::default()));
    assert_eq!(after(check), ["check u1 anew"]);
}

#[test]
fn another_process_takes_those_that_depend_on_it_along() {
    let actions = after(|unit| drop(unit.env.insert("A".into(), "b".into())));
    let stops: Vec<_> = actions.iter().filter(|action| action.starts_with("stop")).collect();
    assert_eq!(stops, ["stop u2", "stop u1"]);
    assert!(!actions.iter().any(|action| action.contains("u0")), "{actions:?}");
}

#[test]
fn drift_is_put_right_once() {
    let (declared, mut observed) = world(&[], 2);
    settle(&declared, &mut observed, Moment(0));
    observed.units.get_mut("u0").unwrap().drifted = true;
    assert_eq!(settle(&declared, &mut observed, Moment(1)), [Action::Update(name("u0"))]);
    observed.units.get_mut("u1").unwrap().strayed = true;
    assert_eq!(settle(&declared, &mut observed, Moment(1)), [Action::Gather(name("u1"))]);
    // What is killed has to be in its cgroup for that; its limits do not matter any more.
    let seen = observed.units.get_mut("u0").unwrap();
    (seen.record.life, seen.strayed, seen.drifted) = (Life::Killing, true, true);
    assert_eq!(settle(&declared, &mut observed, Moment(1)), [Action::Gather(name("u0"))]);
}

#[test]
fn a_unit_that_failed_is_tried_again_when_it_has_changed() {
    let (mut declared, mut observed) = world(&[], 2);
    declared.units.get_mut("u0").unwrap().restart.policy = Policy::Never;
    settle(&declared, &mut observed, Moment(0));
    exit(&declared, &mut observed, &name("u0"), Moment(1));
    assert_eq!(observed.units["u0"].record.life, Life::Failed);
    assert_eq!(plan(&declared, &observed, Moment(1)), []);
    declared.units.get_mut("u0").unwrap().description = "says nothing".into();
    assert_eq!(plan(&declared, &observed, Moment(1)), []);
    declared.units.get_mut("u0").unwrap().restart.delay = Duration::from_secs(1);
    assert_eq!(plan(&declared, &observed, Moment(1)), [Action::Reconsider(name("u0"))]);
    settle(&declared, &mut observed, Moment(1));
    assert_eq!(ready(&observed), 2);
}

#[test]
fn what_was_done_well_is_done_again_only_by_another_process() {
    let (mut declared, mut observed) = world(&[], 1);
    let unit = declared.units.get_mut("u0").unwrap();
    (unit.kind, unit.restart.policy) = (Type::Oneshot, Policy::OnFailure);
    settle(&declared, &mut observed, Moment(0));
    assert_eq!(observed.units["u0"].record.life, Life::Completed);
    declared.units.get_mut("u0").unwrap().memory.max = Some(Amount::Max);
    assert_eq!(settle(&declared, &mut observed, Moment(1)), []);
    declared.units.get_mut("u0").unwrap().env.insert("A".into(), "b".into());
    assert_eq!(settle(&declared, &mut observed, Moment(1))[0], Action::Reconsider(name("u0")));
    assert_eq!(observed.units["u0"].record.runs, 2);
    assert_eq!(plan(&declared, &observed, Moment(1)), []);
}

#[test]
fn a_skipped_unit_is_looked_at_again_when_it_has_changed() {
    let (mut declared, mut observed) = world(&[], 1);
    let conditions = Conditions { first_boot: Some(true), ..Conditions::default() };
    declared.units.get_mut("u0").unwrap().conditions = conditions;
    settle(&declared, &mut observed, Moment(0));
    assert_eq!(observed.units["u0"].record.life, Life::Skipped);
    declared.units.get_mut("u0").unwrap().conditions = Conditions::default();
    settle(&declared, &mut observed, Moment(1));
    assert_eq!(ready(&observed), 1);
}

proptest! {
    /// Whatever changes in place, in whatever order it is looked at: only units that changed are named, none loses
    /// its process, and nothing is left to do.
    #[test]
    fn changes_in_place_name_changed_units_alone(
        edges in prop::collection::vec((0usize..8, 0usize..8), 0..20),
        changes in prop::collection::vec((0usize..8, 0u8..5), 0..8),
    ) {
        let (mut declared, mut observed) = world(&edges, 8);
        settle(&declared, &mut observed, Moment(0));
        let before = declared.clone();
        for (at, what) in changes {
            let unit = declared.units.get_mut(name(&format!("u{at}")).as_str()).unwrap();
            match what {
                0 => unit.memory.max = Some(Amount::Bytes(1 << 20)),
                1 => drop(unit.health.insert("live".into(), Check::default())),
                2 => unit.restart.burst += 1,
                3 => unit.stop.timeout = Duration::ZERO,
                _ => unit.description.push('x'),
            }
        }
        let actions = settle(&declared, &mut observed, Moment(1));
        for action in &actions {
            prop_assert!(matches!(action, Action::Update(_) | Action::Recheck(_)), "{}", action);
            prop_assert_ne!(&before.units[named(action)], &declared.units[named(action)]);
        }
        prop_assert!(observed.units.values().all(|seen| seen.record.runs == 1));
        prop_assert_eq!(plan(&declared, &observed, Moment(1)), vec![]);
    }

    /// An identity that was computed once says the same as one that is computed when it is asked for.
    #[test]
    fn a_computed_identity_plans_the_same(changed in prop::collection::vec(0usize..6, 0..6)) {
        let (mut declared, mut observed) = world(&[(1, 0), (3, 2)], 6);
        settle(&declared, &mut observed, Moment(0));
        for at in changed {
            declared.units.get_mut(name(&format!("u{at}")).as_str()).unwrap().pids.max = 7;
        }
        let asked = plan(&declared, &observed, Moment(1));
        prop_assert_eq!(plan(&identified(&declared), &observed, Moment(1)), asked);
    }
}

/// What a change of the set would do, each unit in a word, with why.
fn told(change: impl FnOnce(&mut Declared)) -> Vec<String> {
    let (declared, mut observed) = world(&[(2, 1)], 3);
    settle(&declared, &mut observed, Moment(0));
    let mut new = declared.clone();
    change(&mut new);
    let changes = changes(&identified(&declared), &identified(&new), &observed);
    let deeds = changes.iter().filter(|change| change.kind == "container");
    let words = deeds.map(|change| {
        let keys: Vec<_> = change.keys.iter().map(ToString::to_string).chain(change.why.clone()).collect();
        format!("{} {:?} {}", change.unit, change.deed, keys.join(", ")).trim_end().to_owned()
    });
    words.collect()
}

#[test]
fn what_a_set_would_change_is_told_unit_by_unit() {
    let unit = |set: fn(&mut Unit)| move |new: &mut Declared| set(new.units.get_mut("u1").unwrap());
    assert_eq!(told(|_| ()), ["u0 None", "u1 None", "u2 None"]);
    assert_eq!(told(unit(|u| u.pids.max = 7)), ["u0 None", "u1 Update pids.max 4096 -> 7", "u2 None"]);
    let env = unit(|u| drop(u.env.insert("A".into(), "secret".into())));
    assert_eq!(told(env), ["u0 None", "u1 Recreate env.A", "u2 Recreate follows 'u1'"]);
    let off = unit(|u| u.enabled = false);
    assert_eq!(
        told(off),
        ["u0 None", "u1 Stop enabled true -> false, not enabled any more", "u2 Stop needs 'u1', which goes"]
    );
    let gone = |new: &mut Declared| drop(new.units.remove("u0"));
    assert_eq!(told(gone), ["u0 Stop no longer declared", "u1 None", "u2 None"]);
    let more = |new: &mut Declared| {
        new.units.insert(name("u3"), Unit { start: Start::Manual, ..super::unit("u3") });
    };
    assert_eq!(told(more)[3], "u3 Create not started by itself");
}

proptest! {
    /// What is said is what is done: whoever is left alone in the table is not named by the plan, and the other way
    /// round.
    #[test]
    fn what_is_told_is_what_is_done(
        edges in prop::collection::vec((0usize..8, 0usize..8), 0..20),
        changed in prop::collection::vec((0usize..8, any::<bool>()), 0..5),
    ) {
        let (declared, mut observed) = world(&edges, 8);
        settle(&declared, &mut observed, Moment(0));
        let mut new = declared.clone();
        for (at, process) in changed {
            let unit = new.units.get_mut(name(&format!("u{at}")).as_str()).unwrap();
            match process {
                true => drop(unit.env.insert("A".into(), "b".into())),
                false => unit.pids.max = 7,
            }
        }
        let told = changes(&identified(&declared), &identified(&new), &observed);
        let done: BTreeSet<String> =
            settle(&new, &mut observed, Moment(1)).iter().map(|action| named(action).to_string()).collect();
        let said = told.iter().filter(|change| change.kind == "container" && change.deed != Deed::None);
        prop_assert_eq!(said.map(|change| change.unit.clone()).collect::<BTreeSet<_>>(), done);
    }
}
