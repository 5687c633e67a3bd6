use proptest::prelude::*;

use super::*;
use crate::Reference;
use crate::spec::{Attachment, Ipv4Net, Unit};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// One network of that prefix length with the units as members, some with a fixed last byte.
fn set(prefix: u8, units: &BTreeMap<String, Option<u8>>) -> Declared {
    let subnet = Ipv4Net { address: Ipv4Addr::new(10, 89, 0, 0), prefix };
    let network = Network { subnet, gateway: subnet.first_host(), nat: true, internal: false, mtu: 1500 };
    let mut declared = Declared::default();
    declared.networks.insert(name("apps"), network);
    for (unit, fixed) in units {
        let mut unit = Unit::new(name(unit), Reference::parse("a").unwrap());
        let ipv4 = fixed.map(|last| Ipv4Addr::new(10, 89, 0, last));
        unit.networks.insert(name("apps"), Attachment { ipv4, aliases: Vec::new() });
        declared.units.insert(unit.name.clone(), unit);
    }
    declared
}

fn units(names: &[(&str, Option<u8>)]) -> BTreeMap<String, Option<u8>> {
    names.iter().map(|(name, fixed)| ((*name).to_owned(), *fixed)).collect()
}

fn of(leases: &Leases, unit: &str) -> Option<Ipv4Addr> {
    leases.get(&name("apps"), &name(unit))
}

#[test]
fn fixed_then_leased_then_new() {
    let old = assign(&set(24, &units(&[("a", None), ("b", None)])), &Leases::default()).0;
    let last = of(&old, "a").unwrap().octets()[3];
    // c takes a's address for itself: a has to move, b stays.
    let (new, exhausted) = assign(&set(24, &units(&[("a", None), ("b", None), ("c", Some(last))])), &old);
    assert_eq!((of(&new, "c"), of(&new, "b")), (of(&old, "a"), of(&old, "b")));
    assert!(of(&new, "a").is_some() && of(&new, "a") != of(&old, "a"));
    assert_eq!(exhausted, []);
}

#[test]
fn an_exhausted_network_names_who_got_nothing() {
    // A /30 has two hosts, one of them the gateway.
    let (leases, exhausted) = assign(&set(30, &units(&[("a", None), ("b", None)])), &Leases::default());
    assert_eq!(of(&leases, "a"), Some(Ipv4Addr::new(10, 89, 0, 2)));
    assert_eq!(exhausted, [Exhausted { network: name("apps"), unit: name("b") }]);
    assert_eq!(exhausted[0].to_string(), "network 'apps' has no free address for unit 'b'");
}

#[test]
fn leases_outside_the_subnet_or_gone_are_dropped() {
    let old: Leases =
        serde_json::from_str(r#"{"apps":{"a":"10.90.0.7","gone":"10.89.0.9"},"old":{}}"#).unwrap();
    let (new, _) = assign(&set(24, &units(&[("a", None)])), &old);
    assert!(of(&new, "a").unwrap().octets()[2] == 0);
    assert_eq!((of(&new, "gone"), new.0.len()), (None, 1));
}

proptest! {
    #[test]
    fn no_two_units_share_an_address_and_old_ones_keep_theirs(
        prefix in 24_u8..=29,
        first in prop::collection::btree_map("[a-z]{1,3}", Just(None), 0..30),
        more in prop::collection::btree_map("[a-z]{1,3}", prop::option::weighted(0.2, 2_u8..254), 0..30),
    ) {
        let (old, _) = assign(&set(prefix, &first), &Leases::default());
        let mut all = first.clone();
        all.extend(more.into_iter().filter(|(unit, _)| !first.contains_key(unit)));
        let declared = set(prefix, &all);
        let (new, exhausted) = assign(&declared, &old);

        let given = &new.0[&name("apps")];
        let network = &declared.networks[&name("apps")];
        let distinct: BTreeSet<_> = given.values().collect();
        prop_assert_eq!(distinct.len(), given.len());
        prop_assert!(given.values().all(|address| network.subnet.is_host(*address) && *address != network.gateway));
        prop_assert_eq!(given.len() + exhausted.len(), all.len());
        let room = network.subnet.hosts() as usize - 1;
        prop_assert!(exhausted.is_empty() || given.len() == room);
        let fixed: BTreeSet<_> = all.values().flatten().map(|last| Ipv4Addr::new(10, 89, 0, *last)).collect();
        for (unit, address) in &old.0[&name("apps")] {
            prop_assert!(given.get(unit) == Some(address) || fixed.contains(address));
        }
        // Assigning twice changes nothing the second time.
        prop_assert_eq!(assign(&declared, &new).0, new);
    }
}
