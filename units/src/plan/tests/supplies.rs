//! What a unit is given: waited for, and followed.

use super::*;
use crate::spec::{Delivery, OnChange, Secret, SecretSource, SecretUse};
use crate::supplies::Source;

/// The unit has this secret of the node as a variable.
fn give_secret(declared: &mut Declared, unit: &Name, key: &str) {
    let secret = Secret { source: SecretSource::Node, version: 1, allow: None, labels: [].into() };
    declared.secrets.insert(name(key), secret);
    let used = SecretUse { source: name(key), delivery: Delivery::Env(key.to_uppercase()) };
    unit_mut(declared, unit).supplies.secrets.insert(key.into(), used);
}

#[test]
fn what_a_unit_is_given_is_waited_for_and_another_value_restarts_it() {
    let (mut declared, mut observed) = world(&[], 2);
    let (u0, key) = (name("u0"), Source::Node(name("key")));
    give_secret(&mut declared, &u0, "key");
    let now = Moment(1);
    assert_eq!(plan(&declared, &observed, now), [Action::Start(name("u1"))]);
    let why = waits_for(&declared, &observed, &declared.units[&u0]);
    assert_eq!(why.as_deref(), Some("waits for secret 'key': set it with 'berth secret set key'"));
    observed.facts.supplies.insert(key.clone(), 1);
    assert_eq!(plan(&declared, &observed, now)[0], Action::Start(u0.clone()));
    // It runs with that.
    let with = versions(&declared, &declared.units[&u0], &observed.facts);
    let seen = observed.units.get_mut(&u0).unwrap();
    seen.record.life = Life::Ready;
    seen.populated = true;
    seen.record.run = Some(Run { supplies: with, ..begun(&declared, &u0, now) });
    let renews = |declared: &Declared, observed: &Observed| {
        let actions = plan(declared, observed, now);
        actions.iter().any(|action| matches!(action, Action::RenewAt(name, Some(_)) if *name == u0))
    };
    assert!(!renews(&declared, &observed));
    observed.facts.supplies.clear();
    assert!(!renews(&declared, &observed));
    observed.facts.supplies.insert(key, 2);
    assert!(renews(&declared, &observed));
    unit_mut(&mut declared, &u0).supplies.on_change = OnChange::None;
    assert!(!renews(&declared, &observed));
    unit_mut(&mut declared, &u0).supplies.on_change = OnChange::Restart;
    unit_mut(&mut declared, &u0).kind = Type::Job;
    assert!(!renews(&declared, &observed));
}

#[test]
fn a_change_is_followed_within_its_splay_and_not_when_it_is_taken_back() {
    let (mut declared, mut observed) = world(&[], 1);
    let (u0, key) = (name("u0"), Source::Node(name("key")));
    give_secret(&mut declared, &u0, "key");
    let supplies = &mut unit_mut(&mut declared, &u0).supplies;
    supplies.splay = Duration::from_secs(60);
    observed.facts.supplies.insert(key.clone(), 1);
    settle(&declared, &mut observed, Moment(0));
    let mut shares = BTreeSet::new();
    for round in 1..40 {
        let now = Moment(round * 1_000_000);
        observed.facts.supplies.insert(key.clone(), 2);
        let [Action::RenewAt(_, Some(at))] = settle(&declared, &mut observed, now)[..] else { panic!() };
        assert!(at >= now && at <= now.after(Duration::from_secs(60)), "{at:?}");
        shares.insert(at.since(now));
        assert_eq!(next_wake(&identified(&declared), &observed), Some(at));
        observed.facts.supplies.insert(key.clone(), 1);
        assert_eq!(settle(&declared, &mut observed, now), [Action::RenewAt(u0.clone(), None)]);
        assert_eq!(next_wake(&identified(&declared), &observed), None);
    }
    assert!(shares.len() > 20, "not all at once");
    observed.facts.supplies.insert(key, 2);
    settle(&declared, &mut observed, Moment(0));
    let due = observed.units[&u0].record.run.as_ref().unwrap().renew_at.unwrap();
    let actions = settle(&declared, &mut observed, due);
    assert_eq!(actions[0], Action::Renew(u0.clone(), "secret 'key'".into()));
    assert_eq!(observed.units[&u0].record.run.as_ref().unwrap().renew_at, None, "it has the new one");
}

#[test]
fn what_could_not_start_again_goes_on_with_what_it_has() {
    let (mut declared, mut observed) = world(&[], 1);
    let u0 = name("u0");
    for key in ["one", "other"] {
        give_secret(&mut declared, &u0, key);
        observed.facts.supplies.insert(Source::Node(name(key)), 1);
    }
    settle(&declared, &mut observed, Moment(0));
    observed.facts.supplies.remove(&Source::Node(name("one")));
    observed.facts.supplies.insert(Source::Node(name("other")), 2);
    assert_eq!(settle(&declared, &mut observed, Moment(1)), []);
    assert_eq!(next_wake(&identified(&declared), &observed), None);
    observed.facts.supplies.insert(Source::Node(name("one")), 1);
    assert!(matches!(settle(&declared, &mut observed, Moment(2))[..], [Action::RenewAt(..), ..]));
}

#[test]
fn a_unit_that_reloads_goes_on_and_waits_for_what_is_done_beside_it() {
    let (mut declared, mut observed) = world(&[], 1);
    let (u0, key) = (name("u0"), Source::Node(name("key")));
    give_secret(&mut declared, &u0, "key");
    let supplies = &mut unit_mut(&mut declared, &u0).supplies;
    supplies.on_change = OnChange::Reload;
    supplies.splay = Duration::ZERO;
    observed.facts.supplies.insert(key.clone(), 1);
    settle(&declared, &mut observed, Moment(0));
    observed.facts.supplies.insert(key, 2);
    let run = |observed: &mut Observed| observed.units.get_mut("u0").unwrap().record.run.clone().unwrap();
    let doing = Doing { task: Task::Reload, pid: None, deadline: Moment(9_000_000) };
    observed.units.get_mut("u0").unwrap().record.run.as_mut().unwrap().doing = Some(doing);
    assert_eq!(settle(&declared, &mut observed, Moment(1)), [Action::RenewAt(u0.clone(), Some(Moment(1)))]);
    assert_eq!(next_wake(&identified(&declared), &observed), Some(Moment(9_000_000)), "no turn without end");
    observed.units.get_mut("u0").unwrap().record.run.as_mut().unwrap().doing = None;
    let before = run(&mut observed);
    assert_eq!(settle(&declared, &mut observed, Moment(2)), [Action::Resupply(u0, "secret 'key'".into())]);
    let after = run(&mut observed);
    assert_eq!((after.number, after.renew_at), (before.number, None));
    assert_ne!(after.supplies, before.supplies);
}

#[test]
fn what_a_new_set_gives_in_another_way_is_told_before() {
    use crate::plan::changes;
    use crate::spec::{Config, ConfigSource, ConfigUse, Content, Placed};
    use crate::wire::control::Deed;
    let (mut declared, mut observed) = world(&[], 2);
    let text =
        |text: &str| Config { content: Content::Text(text.into()), template: false, labels: [].into() };
    declared.configs.insert(name("motd"), text("one"));
    let place = Placed { target: "/m".into(), mode: 0o444, uid: None, gid: None };
    let used = ConfigUse { source: ConfigSource::Unit(name("motd")), place };
    unit_mut(&mut declared, &name("u0")).supplies.configs.insert("motd".into(), used);
    settle(&declared, &mut observed, Moment(0));
    let told = |new: &Declared| {
        let changes = changes(&identified(&declared), &identified(new), &observed);
        let told = changes.iter().filter(|change| change.deed != Deed::None);
        told.map(|change| format!("{} {} {:?} {:?}", change.kind, change.unit, change.deed, change.why))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&declared), [""; 0]);
    let mut new = declared.clone();
    new.configs.insert(name("motd"), text("two"));
    let recreate = "container u0 Recreate Some(\"config 'motd' changes\")";
    assert_eq!(told(&new), [recreate, "config motd Update None"]);
    unit_mut(&mut new, &name("u0")).supplies.on_change = OnChange::None;
    assert_eq!(told(&new), ["container u0 Update None", "config motd Update None"]);
    unit_mut(&mut new, &name("u0")).supplies.on_change = OnChange::Reload;
    let reload = "container u0 Update Some(\"config 'motd' changes\")";
    assert_eq!(told(&new), [reload, "config motd Update None"]);
    let secret = Secret { source: SecretSource::Node, version: 1, allow: None, labels: [].into() };
    let mut new = declared.clone();
    new.secrets.insert(name("key"), secret);
    assert_eq!(told(&new), ["secret key Create None"]);
    std::mem::swap(&mut declared, &mut new);
    let changes = changes(&identified(&declared), &identified(&new), &observed);
    let gone = changes.iter().find(|change| change.kind == "secret").unwrap();
    assert_eq!(gone.why.as_deref(), Some("no longer declared; a value that was set stays"));
}

fn unit_mut<'d>(declared: &'d mut Declared, name: &Name) -> &'d mut Unit {
    declared.units.get_mut(name).unwrap()
}
