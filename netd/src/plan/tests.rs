use super::*;
use berth_units::spec::Network;

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
    let cases: [(Drift, Op); 9] = [
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
                let veth = Link { index: 9, name: "v1".into(), kind: Some("veth".into()), ..Link::default() };
                seen.links.push(Link { group: OUR_GROUP, alias: "apps".into(), ..veth });
            },
            Op::Enslave("v1".into(), br()),
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
