//! What a unit is given: waited for, and followed.

use super::*;
use crate::spec::{Delivery, OnChange, Secret, SecretSource, SecretUse};
use crate::supplies::Source;

#[test]
fn what_a_unit_is_given_is_waited_for_and_another_value_restarts_it() {
    let (mut declared, mut observed) = world(&[], 2);
    let (u0, key) = (name("u0"), Source::Node(name("key")));
    let secret = Secret { source: SecretSource::Node, version: 1, allow: None, labels: [].into() };
    declared.secrets.insert(name("key"), secret);
    let used = SecretUse { source: name("key"), delivery: Delivery::Env("KEY".into()) };
    declared.units.get_mut(&u0).unwrap().supplies.secrets.insert("key".into(), used);
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
        plan(declared, observed, now).contains(&Action::Renew(u0.clone(), "secret 'key'".into()))
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

fn unit_mut<'d>(declared: &'d mut Declared, name: &Name) -> &'d mut Unit {
    declared.units.get_mut(name).unwrap()
}
