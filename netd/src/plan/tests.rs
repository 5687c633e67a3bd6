use super::*;
use berth_units::spec::Network;
use proptest::prelude::*;

const GATEWAY: Ipv4Net = Ipv4Net { address: Ipv4Addr::new(10, 88, 0, 1), prefix: 24 };

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn state() -> NetState {
    let network = Network {
        subnet: Ipv4Net { address: Ipv4Addr::new(10, 88, 0, 0), prefix: 24 },
        gateway: GATEWAY.address,
        nat: true,
        internal: false,
        mtu: 1500,
    };
    NetState { networks: [(name("apps"), network)].into(), ..NetState::default() }
}

fn bridge(index: u32, ifname: &str) -> Link {
    Link {
        index,
        name: ifname.into(),
        kind: Some("bridge".into()),
        ethernet: true,
        group: OUR_GROUP,
        mtu: 1500,
        up: true,
        mac: bridge_mac(&name("apps")),
        ..Link::default()
    }
}

/// The kernel as it is after the plan for [`state`].
fn settled() -> Seen {
    let right = |path: &String| {
        let node = NODE_SYSCTLS.iter().find(|(key, _)| key == path).map(|(_, value)| *value);
        let value =
            node.or_else(|| bridge_sysctls("br-apps").find(|(key, _)| key == path).map(|(_, value)| value));
        (path.clone(), value.unwrap().to_owned())
    };
    Seen {
        links: vec![bridge(3, "br-apps")],
        addresses: vec![Address { link: 3, net: GATEWAY, ours: true }],
        routes: vec![],
        sysctls: sysctls(&state()).iter().map(right).collect(),
    }
}

#[track_caller]
fn check(seen: &Seen, uplink: Option<&WantedUplink>, expect: &[Op]) {
    let ops: Vec<Op> = plan(&state(), uplink, seen).ops.into_iter().map(|(_, op)| op).collect();
    assert_eq!(ops, expect);
}

#[test]
fn nothing_is_done_twice() {
    check(&settled(), None, &[]);
}

#[test]
fn a_new_network_is_made_in_order() {
    let ops: Vec<Op> = plan(&state(), None, &Seen::default()).ops.into_iter().map(|(_, op)| op).collect();
    assert_eq!(ops.first(), Some(&Op::CreateBridge("br-apps".into(), bridge_mac(&name("apps")), 1500)));
    assert!(ops.contains(&Op::Sysctl("net/ipv4/conf/br-apps/route_localnet".into(), "1".into())));
    assert_eq!(
        ops[ops.len() - 2..],
        [Op::AddAddress("br-apps".into(), GATEWAY, None), Op::Up("br-apps".into())]
    );
}

#[test]
fn every_drift_has_its_repair() {
    let other = Ipv4Net { address: Ipv4Addr::new(10, 9, 9, 9), prefix: 8 };
    let br = || "br-apps".to_owned();
    type Drift = fn(&mut Seen);
    let cases: [(Drift, Op); 10] = [
        (|seen| seen.links[0].group = 0, Op::Mark(br())),
        (|seen| seen.links[0].mtu = 9000, Op::SetMtu(br(), 1500)),
        (|seen| seen.links[0].mac = [2; 6], Op::SetMac(br(), bridge_mac(&name("apps")))),
        (|seen| seen.links[0].up = false, Op::Up(br())),
        (|seen| seen.addresses.clear(), Op::AddAddress(br(), GATEWAY, None)),
        (
            |seen| {
                let net = Ipv4Net { address: Ipv4Addr::new(10, 9, 9, 9), prefix: 8 };
                seen.addresses.push(Address { link: 3, net, ours: false });
            },
            Op::DeleteAddress(br(), other),
        ),
        (
            |seen| *seen.sysctls.get_mut("net/ipv4/ip_forward").unwrap() = "0".into(),
            Op::Sysctl("net/ipv4/ip_forward".into(), "1".into()),
        ),
        (
            |seen| *seen.sysctls.get_mut("net/ipv4/conf/br-apps/rp_filter").unwrap() = "0".into(),
            Op::Sysctl("net/ipv4/conf/br-apps/rp_filter".into(), "1".into()),
        ),
        (
            |seen| {
                let veth = Link {
                    index: 9,
                    up: true,
                    name: "v1".into(),
                    kind: Some("veth".into()),
                    ..Link::default()
                };
                seen.links.push(Link { group: OUR_GROUP, alias: "apps".into(), ..veth });
            },
            Op::Enslave("v1".into(), br()),
        ),
        (
            |seen| {
                let kind = Some("veth".into());
                let veth = Link {
                    index: 9,
                    master: seen.links[0].index,
                    name: "v1".into(),
                    kind,
                    ..Link::default()
                };
                seen.links.push(Link { group: OUR_GROUP, alias: "apps".into(), ..veth });
            },
            Op::Up("v1".into()),
        ),
    ];
    for (drift, repair) in cases {
        let mut seen = settled();
        drift(&mut seen);
        check(&seen, None, &[repair]);
    }
}

#[test]
fn only_what_is_ours_is_removed() {
    let mut seen = settled();
    seen.links.push(bridge(7, "br-old"));
    seen.links.push(Link { group: 0, ..bridge(8, "br-foreign") });
    check(&seen, None, &[Op::DeleteLink("br-old".into())]);
}

#[test]
fn a_link_in_the_way_fails_its_network_only() {
    let mut seen = settled();
    seen.links[0].kind = Some("dummy".into());
    let plan = plan(&state(), None, &seen);
    assert_eq!((plan.ops.len(), plan.failed.keys().next()), (0, Some(&name("apps"))));
}

#[test]
fn the_uplink_keeps_what_it_has_until_it_is_told() {
    let mut seen = settled();
    let old = Ipv4Net { address: Ipv4Addr::new(10, 0, 2, 15), prefix: 24 };
    let new = Ipv4Net { address: Ipv4Addr::new(10, 0, 2, 16), prefix: 24 };
    let gateway = Ipv4Addr::new(10, 0, 2, 2);
    seen.links.push(Link { index: 2, name: "eth0".into(), ethernet: true, up: true, ..Link::default() });
    seen.addresses.push(Address { link: 2, net: old, ours: true });
    seen.routes.push(DefaultRoute { link: 2, gateway, ours: true });
    let uplink = |config| WantedUplink { ifname: "eth0".into(), config };
    check(&seen, Some(&uplink(None)), &[]);

    let same =
        UplinkConfig { address: Some(old), gateway: Some(gateway), lifetime: Some(60), renewed: false };
    check(&seen, Some(&uplink(Some(same.clone()))), &[]);

    let moved = UplinkConfig { address: Some(new), ..same };
    check(
        &seen,
        Some(&uplink(Some(moved))),
        &[Op::DeleteAddress("eth0".into(), old), Op::AddAddress("eth0".into(), new, Some(60))],
    );

    check(
        &seen,
        Some(&uplink(Some(UplinkConfig::default()))),
        &[Op::DeleteAddress("eth0".into(), old), Op::DeleteRoute(2, gateway)],
    );
}

#[test]
fn a_gateway_outside_the_subnet_is_onlink() {
    let mut seen = settled();
    seen.links.push(Link { index: 2, name: "eth0".into(), up: true, ..Link::default() });
    let net = Ipv4Net { address: Ipv4Addr::new(192, 0, 2, 7), prefix: 32 };
    let gateway = Ipv4Addr::new(198, 51, 100, 1);
    let config = UplinkConfig { address: Some(net), gateway: Some(gateway), lifetime: None, renewed: false };
    check(
        &seen,
        Some(&WantedUplink { ifname: "eth0".into(), config: Some(config) }),
        &[Op::AddAddress("eth0".into(), net, None), Op::SetRoute("eth0".into(), gateway, true)],
    );
}

/// What the kernel shows after the changes: a model of it, as far as the planner looks.
fn apply(seen: &mut Seen, ops: &[(Option<Name>, Op)]) {
    for (_, op) in ops {
        let index = |seen: &Seen, name: &str| seen.links.iter().find(|link| link.name == name).unwrap().index;
        let edit = |seen: &mut Seen, name: &str, change: &dyn Fn(&mut Link)| {
            change(seen.links.iter_mut().find(|link| link.name == name).unwrap());
        };
        match op {
            Op::DeleteLink(name) => {
                let gone = index(seen, name);
                seen.links.retain(|link| link.index != gone);
                seen.addresses.retain(|address| address.link != gone);
                seen.links.iter_mut().filter(|link| link.master == gone).for_each(|link| link.master = 0);
            }
            Op::CreateBridge(name, mac, mtu) => {
                let index = seen.links.iter().map(|link| link.index).max().unwrap_or(0) + 1;
                seen.links.push(Link { mac: *mac, mtu: *mtu, up: false, ..bridge(index, name) });
            }
            Op::Mark(name) => edit(seen, name, &|link| link.group = OUR_GROUP),
            Op::SetMac(name, mac) => edit(seen, name, &|link| link.mac = *mac),
            Op::SetMtu(name, mtu) => edit(seen, name, &|link| link.mtu = *mtu),
            Op::Up(name) => edit(seen, name, &|link| link.up = true),
            Op::Sysctl(path, value) => drop(seen.sysctls.insert(path.clone(), value.clone())),
            Op::AddAddress(name, net, _) => {
                let link = index(seen, name);
                seen.addresses.push(Address { link, net: *net, ours: true });
            }
            Op::DeleteAddress(name, net) => {
                let link = index(seen, name);
                seen.addresses.retain(|address| (address.link, address.net) != (link, *net));
            }
            Op::Enslave(name, bridge) => {
                let master = index(seen, bridge);
                edit(seen, name, &|link| link.master = master);
            }
            Op::SetRoute(name, gateway, _) => {
                let link = index(seen, name);
                // The same destination and metric: it is replaced.
                seen.routes = vec![DefaultRoute { link, gateway: *gateway, ours: true }];
            }
            Op::DeleteRoute(link, gateway) => {
                seen.routes.retain(|route| (route.link, route.gateway) != (*link, *gateway));
            }
        }
    }
}

fn any_net() -> impl Strategy<Value = Ipv4Net> {
    (0..4_u8, 8..=32_u8).prop_map(|(n, prefix)| Ipv4Net { address: Ipv4Addr::new(10, 88, 0, n), prefix })
}

fn any_seen() -> impl Strategy<Value = Seen> {
    let names = ["br-apps", "br-old", "eth0", "eth1", "v1"];
    let kinds = prop::sample::select(vec![None, Some("bridge"), Some("veth")]);
    let groups = prop::sample::select(vec![0, OUR_GROUP]);
    let link =
        (kinds, groups, any::<(bool, bool, bool)>(), 0..6_u32).prop_map(|(kind, group, flags, master)| {
            Link {
                kind: kind.map(String::from),
                group,
                master,
                up: flags.0,
                alias: if flags.1 { "apps".into() } else { String::new() },
                mtu: if flags.2 { 1500 } else { 9000 },
                ethernet: true,
                ..Link::default()
            }
        });
    let links = prop::collection::vec(prop::option::of(link), names.len()).prop_map(move |links| {
        let named = links.into_iter().zip(names).zip(1..);
        let real = |link: Link, name: &str| match name {
            // A link with a driver is never of our making.
            "eth0" | "eth1" => Link { kind: None, group: 0, ..link },
            _ => link,
        };
        named
            .filter_map(|((link, name), index)| Some(Link { name: name.into(), index, ..real(link?, name) }))
            .collect::<Vec<_>>()
    });
    let address =
        (1..6_u32, any_net(), any::<bool>()).prop_map(|(link, net, ours)| Address { link, net, ours });
    let route = (1..6_u32, any_net(), any::<bool>());
    let route = route.prop_map(|(link, net, ours)| DefaultRoute { link, gateway: net.address, ours });
    let sysctls =
        prop::collection::vec(prop::option::of(0..2_u8), sysctls(&state()).len()).prop_map(|values| {
            let pairs = sysctls(&state()).into_iter().zip(values);
            pairs.filter_map(|(path, value)| Some((path, value?.to_string()))).collect()
        });
    (links, prop::collection::vec(address, 0..5), prop::option::of(route), sysctls).prop_map(
        |(links, addresses, route, sysctls)| {
            let there = |index| links.iter().any(|link: &Link| link.index == index);
            let mut addresses: Vec<_> = addresses.into_iter().filter(|address| there(address.link)).collect();
            addresses.dedup_by_key(|address| (address.link, address.net));
            let routes = route.into_iter().filter(|route| there(route.link)).collect();
            Seen { addresses, routes, sysctls, links }
        },
    )
}

fn any_uplink() -> impl Strategy<Value = Option<WantedUplink>> {
    let config = (prop::option::of(any_net()), prop::option::of(any_net())).prop_map(|(address, gateway)| {
        UplinkConfig {
            address,
            gateway: gateway.map(|net| net.address).filter(|_| address.is_some()),
            ..UplinkConfig::default()
        }
    });
    let uplink = prop::option::of(config).prop_map(|config| WantedUplink { ifname: "eth0".into(), config });
    prop::option::of(uplink)
}

proptest! {
    #[test]
    fn a_plan_that_was_executed_leaves_nothing_to_do(mut seen in any_seen(), uplink in any_uplink()) {
        let first = plan(&state(), uplink.as_ref(), &seen);
        apply(&mut seen, &first.ops);
        let second = plan(&state(), uplink.as_ref(), &seen);
        prop_assert_eq!(second.ops, vec![]);
        prop_assert_eq!(second.failed, first.failed);
    }

    #[test]
    fn foreign_links_are_left_alone(seen in any_seen()) {
        for (_, op) in plan(&state(), None, &seen).ops {
            if let Op::DeleteLink(name) = op {
                prop_assert!(seen.links.iter().any(|link| link.name == name && link.group == OUR_GROUP));
            }
        }
    }
}
