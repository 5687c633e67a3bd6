//! berth-netd as the supervisor and the containers see it, on the kernel of this machine, in namespaces of its own.

#[cfg(test)]
mod harness;

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use berth_units::spec::UplinkMode;
use berth_units::wire::net::{Attached, Request, host_ifname};
use harness::{
    Monitor, Node, PATIENCE, Process, SILENCE, Space, lookup, lookup_tcp, name, net, network, port, run,
};

const A: u16 = 1;
const AAAA: u16 = 28;

/// One network "apps" with two containers that serve, web with a published port, and an uplink.
#[cfg(test)]
fn node_with_two() -> (Node, Space, Space) {
    let mut node = Node::boot();
    node.static_uplink();
    node.state.networks.insert(name("apps"), network(0));
    let names = [
        ("web".to_owned(), vec![Ipv4Addr::new(10, 88, 0, 2)]),
        ("db".to_owned(), vec![Ipv4Addr::new(10, 88, 0, 3)]),
    ];
    node.state.names.insert(name("apps"), names.into());
    node.state.ports.push(port(8080, "10.88.0.2", 80));
    node.declare();
    let web = node.container("web", "apps", "10.88.0.2");
    let db = node.container("db", "apps", "10.88.0.3");
    for space in [&web, &db] {
        space.serve(80);
    }
    (node, web, db)
}

#[test]
fn neighbours_talk_under_their_own_addresses() {
    let (_node, _web, db) = node_with_two();
    let mut conversation = db.dial("10.88.0.2:80").unwrap();
    conversation.check("hello");
    assert_eq!(conversation.seen_as, Ipv4Addr::new(10, 88, 0, 3));
    db.within(|| run("ping -c1 -W5 10.88.0.1"));
    let inside = db.within(|| run("ip -br addr"));
    assert!(!inside.contains("fe80"), "{inside}");
}

#[test]
fn a_published_port_answers_from_everywhere() {
    let (mut node, web, db) = node_with_two();
    let outside = node.outside.dial("192.0.2.1:8080").unwrap();
    assert_eq!(outside.seen_as, Ipv4Addr::new(192, 0, 2, 2), "the client's address is kept");
    for (what, to) in [("loopback", "127.0.0.1:8080"), ("own address", "192.0.2.1:8080")] {
        harness::Conversation::open(to, PATIENCE).unwrap_or_else(|e| panic!("{what}: {e}")).check("node");
    }
    for (what, space) in [("itself", &web), ("its neighbour", &db)] {
        for to in ["10.88.0.1:8080", "192.0.2.1:8080"] {
            space.dial(to).unwrap_or_else(|e| panic!("hairpin from {what} to {to}: {e}")).check("pin");
        }
    }
    assert!(!node.outside.reaches("192.0.2.1:8081"));

    node.state.ports[0].host_ip = Some(Ipv4Addr::LOCALHOST);
    node.declare();
    harness::Conversation::open("127.0.0.1:8080", PATIENCE).unwrap().check("only here");
    assert!(!node.outside.reaches("192.0.2.1:8080"));
}

#[test]
fn networks_are_apart() {
    let (mut node, _web, _db) = node_with_two();
    node.state.networks.insert(name("other"), network(1));
    node.state.networks.insert(name("closed"), berth_units::spec::Network { internal: true, ..network(2) });
    node.state.ports.push(port(9090, "10.88.2.2", 80));
    let (_, error) = node.try_declare();
    assert!(error.unwrap().contains("cannot publish port 9090"));
    let other = node.container("other", "other", "10.88.1.2");
    let closed = node.container("closed", "closed", "10.88.2.2");
    let friend = node.container("friend", "closed", "10.88.2.3");
    node.outside.serve(7);
    closed.serve(80);
    friend.dial("10.88.2.2:80").unwrap().check("among friends");
    other.dial("192.0.2.1:8080").unwrap().check("published is for everybody");
    other.dial("192.0.2.2:7").unwrap().check("out");
    for (what, space, to) in [
        ("bridge to bridge", &other, "10.88.0.2:80"),
        ("into internal", &other, "10.88.2.2:80"),
        ("internal to bridge", &closed, "10.88.0.2:80"),
        ("internal to the outside", &closed, "192.0.2.2:7"),
        ("internal to published", &closed, "192.0.2.1:8080"),
        ("outside to internal", &node.outside, "192.0.2.1:9090"),
    ] {
        assert!(!space.reaches(to), "{what}");
    }
    // Even with a route, what is not published is not reachable.
    node.outside.within(|| run("ip route add 10.88.0.0/16 via 192.0.2.1"));
    assert!(!node.outside.reaches("10.88.0.2:80"));
}

#[test]
fn containers_go_out_as_the_node_and_see_nothing_of_it() {
    let (node, web, _db) = node_with_two();
    node.outside.serve(7);
    assert_eq!(web.dial("192.0.2.2:7").unwrap().seen_as, Ipv4Addr::new(192, 0, 2, 1));
    let _service = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9999)).unwrap();
    for to in ["10.88.0.1:9999", "192.0.2.1:9999"] {
        assert!(
            !web.within(|| std::net::TcpStream::connect_timeout(&to.parse().unwrap(), SILENCE).is_ok()),
            "{to}"
        );
    }
    assert!(node.outside.within(|| std::net::TcpStream::connect("192.0.2.1:9999").is_ok()));
    // 127/8 of the node through the bridge, which route_localnet lets pass.
    send_loopback_to(&web, "10.88.0.1");
    assert!(!web.within(|| {
        std::net::TcpStream::connect_timeout(&"127.0.0.1:9999".parse().unwrap(), SILENCE).is_ok()
    }));
}

/// Sends 127/8 to the node instead of to oneself, as whoever may write raw packets can.
#[cfg(test)]
fn send_loopback_to(space: &Space, gateway: &str) {
    space.within(|| {
        run("ip addr flush dev lo");
        run(&format!("ip route add 127.0.0.0/8 via {gateway}"));
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
        let route = run("ip route get 127.0.0.1");
        assert!(route.contains(gateway), "{route}");
    });
}

#[test]
fn what_is_published_on_loopback_is_for_the_node_alone() {
    let (mut node, _web, _db) = node_with_two();
    node.state.networks.insert(name("other"), network(1));
    node.state.ports[0].host_ip = Some(Ipv4Addr::LOCALHOST);
    node.state.ports.push(port(9090, "10.88.0.2", 80));
    node.declare();
    let other = node.container("other", "other", "10.88.1.2");
    harness::Conversation::open("127.0.0.1:8080", PATIENCE).unwrap().check("the node");
    send_loopback_to(&node.outside, "192.0.2.1");
    send_loopback_to(&other, "10.88.1.1");
    for to in ["127.0.0.1:8080", "127.0.0.1:9090"] {
        assert!(!node.outside.reaches(to), "the uplink's neighbour reaches {to}");
        assert!(!other.reaches(to), "a container of another network reaches {to}");
    }
}

#[test]
fn names_are_not_answered_to_the_uplink() {
    let (node, web, _db) = node_with_two();
    node.outside.within(|| run("ip route add 10.88.0.0/24 via 192.0.2.1"));
    let asks = || {
        let address = "10.88.0.1:53".parse().unwrap();
        std::net::TcpStream::connect_timeout(&address, SILENCE).is_ok()
    };
    assert!(web.within(asks));
    assert!(!node.outside.within(asks), "the uplink's neighbour is served");
    node.outside.within(|| run("ping -c1 -W5 192.0.2.1"));
}

#[test]
fn names_are_answered_and_others_forwarded() {
    let (mut node, web, _db) = node_with_two();
    let serve =
        ["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", "--port=53"];
    let args = ["--address=/example.org/198.51.100.7", "--bind-interfaces", "--interface=out0"];
    let _dnsmasq =
        node.outside.within(|| Process(Command::new("dnsmasq").args(serve).args(args).spawn().unwrap()));
    node.outside.within(|| {
        while std::net::TcpStream::connect("192.0.2.2:53").is_err() {
            std::thread::yield_now();
        }
    });
    web.within(|| {
        let db = vec![Ipv4Addr::new(10, 88, 0, 3)];
        assert_eq!(lookup("10.88.0.1", "db", A), (0, db.clone()));
        assert_eq!(lookup("10.88.0.1", "DB.apps.internal", A), (0, db.clone()));
        assert_eq!(lookup_tcp("10.88.0.1", "db"), (0, db));
        assert_eq!(lookup("10.88.0.1", "db", AAAA), (0, vec![]));
        assert_eq!(lookup("10.88.0.1", "nobody", A), (3, vec![]));
        let outside = vec![Ipv4Addr::new(198, 51, 100, 7)];
        assert_eq!(lookup("10.88.0.1", "example.org", A), (0, outside.clone()));
        assert_eq!(lookup_tcp("10.88.0.1", "example.org"), (0, outside));
    });
    node.state.uplink.mode = UplinkMode::None;
    node.declare();
    assert_eq!(web.within(|| lookup("10.88.0.1", "example.org", A)), (2, vec![]), "at once without upstream");
}

#[test]
fn a_killed_netd_is_not_missed() {
    let (mut node, web, _db) = node_with_two();
    let mut published = node.outside.dial("192.0.2.1:8080").unwrap();
    node.outside.serve(7);
    let mut out = web.dial("192.0.2.2:7").unwrap();
    let tables = run("nft -a list ruleset");
    let monitor = Monitor::start();
    for round in 0..50 {
        node.kill_and_restart();
        published.check("in");
        out.check("out");
        if round % 2 == 0 {
            node.declare();
        }
        published.check("still in");
    }
    let took = node.declare();
    eprintln!("restart: declared in {took:?}");
    assert_eq!(monitor.finish(), Vec::<String>::new());
    assert_eq!(run("nft -a list ruleset"), tables);
    web.within(|| assert_eq!(lookup("10.88.0.1", "db", A).0, 0));
}

#[test]
fn a_changed_declaration_changes_only_that() {
    let (mut node, web, _db) = node_with_two();
    let mut published = node.outside.dial("192.0.2.1:8080").unwrap();
    node.state.ports.push(port(8081, "10.88.0.3", 80));
    node.state.networks.insert(name("other"), network(1));
    node.declare();
    published.check("goes on");
    node.outside.dial("192.0.2.1:8081").unwrap().check("new");
    node.state.networks.remove(&name("other"));
    node.state.ports.remove(1);
    node.declare();
    published.check("goes on");
    assert!(!node.outside.reaches("192.0.2.1:8081"));
    assert!(!run("ip -br link").contains("br-other"));
    node.state = berth_units::wire::net::NetState::default();
    node.state.uplink.mode = UplinkMode::None;
    node.declare();
    assert!(!run("ip -br link").contains("br-") && run("nft list tables").is_empty());
    drop(web);
}

#[test]
fn what_is_changed_behind_its_back_is_put_right() {
    let (node, _web, db) = node_with_two();
    for harm in [
        "ip link del br-apps",
        "ip link set br-apps down",
        "ip addr del 10.88.0.1/24 dev br-apps",
        "ip addr del 192.0.2.1/24 dev up0",
        "ip route del default",
        "nft delete table inet berth",
        "nft flush chain inet berth prerouting",
        "nft delete element inet berth published { tcp . 8080 }",
        "nft insert rule inet berth forward drop",
    ] {
        run(harm);
        let end = std::time::Instant::now() + PATIENCE;
        while !(node.outside.reaches("192.0.2.1:8080") && run("ip route").contains("default via 192.0.2.2")) {
            assert!(std::time::Instant::now() < end, "{harm}");
        }
        db.dial("10.88.0.2:80").unwrap_or_else(|e| panic!("{harm}: {e}")).check("well");
        assert_eq!(db.within(|| lookup("10.88.0.1", "web", A).1.len()), 1, "{harm}");
    }
}

#[test]
fn an_interface_that_is_gone_is_told_and_can_be_put_back() {
    let (mut node, web, _db) = node_with_two();
    let link = host_ifname(&name("web"), &name("apps"));
    let interface = node.interface("web", "apps", "10.88.0.2");
    run(&format!("ip link del {link}"));
    node.wait_detached("web");
    assert!(!node.outside.reaches("192.0.2.1:8080"));
    node.try_attach(&web, "web", vec![interface.clone()]).unwrap();
    node.outside.dial("192.0.2.1:8080").unwrap().check("back");

    // A netd that has just started is told who is attached: by the time it hears of web that one may have lost it.
    node.kill_and_restart();
    node.declare();
    run(&format!("ip link del {link}"));
    let attached = Attached { run: 1, links: vec![link.clone()] };
    node.send(&Request::Attached { units: [(name("web"), attached)].into() }, None);
    node.wait_detached("web");
    node.try_attach(&web, "web", vec![interface]).unwrap();
    run(&format!("ip link set {link} down"));
    let end = std::time::Instant::now() + PATIENCE;
    while !node.outside.reaches("192.0.2.1:8080") {
        assert!(std::time::Instant::now() < end, "it stays down");
    }
    assert_eq!(node.detached, []);
    let short = node.container("short", "apps", "10.88.0.9");
    drop(short);
    node.wait_detached("short");
}

#[test]
fn attaching_replaces_what_an_earlier_run_left() {
    let (mut node, _web, _db) = node_with_two();
    let mut again = node.container("web", "apps", "10.88.0.2");
    for _ in 0..3 {
        again = node.container("web", "apps", "10.88.0.2");
    }
    again.serve(80);
    node.outside.dial("192.0.2.1:8080").unwrap().check("the new one");
    let space = Space::new();
    let mut interface = node.interface("late", "apps", "10.88.0.9");
    interface.network = name("nowhere");
    let error = node.try_attach(&space, "late", vec![interface]).unwrap_err();
    assert_eq!(error, "the network 'nowhere' is not up");
}

#[test]
fn two_networks_are_two_interfaces() {
    let (mut node, web, _db) = node_with_two();
    node.state.networks.insert(name("a-network-with-a-long-name"), network(1));
    node.declare();
    let space = Space::new();
    let first = node.interface("both", "apps", "10.88.0.9");
    let mut second = node.interface("both", "a-network-with-a-long-name", "10.88.1.9");
    (second.ifname, second.gateway) = ("eth1".into(), None);
    let start = std::time::Instant::now();
    node.try_attach(&space, "both", vec![first, second]).unwrap();
    eprintln!("two interfaces attached in {:?}", start.elapsed());
    space.dial("10.88.0.2:80").unwrap().check("by eth0");
    space.within(|| run("ping -c1 -W5 -I eth1 10.88.1.1"));
    drop(web);
}

#[test]
fn an_address_by_dhcp_is_kept_over_a_restart() {
    let mut node = Node::boot();
    let serve = [
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--interface=out0",
        "--pid-file=",
        "--leasefile-ro",
        "--no-ping",
    ];
    let args =
        ["--dhcp-range=192.0.2.50,192.0.2.60,120", "--dhcp-option=3,192.0.2.2", "--dhcp-option=6,192.0.2.9"];
    let _dnsmasq =
        node.outside.within(|| Process(Command::new("dnsmasq").args(serve).args(args).spawn().unwrap()));
    node.state.uplink.interface = Some("up0".into());
    node.state.networks.insert(name("apps"), network(0));
    let took = node.declare();
    eprintln!("first start: declared in {took:?}");
    node.wait_uplink(|state| !state.addresses.is_empty());
    let state = node.uplinks.last().unwrap().clone();
    assert_eq!(state.gateway, Some(Ipv4Addr::new(192, 0, 2, 2)));
    assert_eq!(state.dns, [Ipv4Addr::new(192, 0, 2, 9)]);
    assert_eq!(state.interface.as_deref(), Some("up0"));

    let monitor = Monitor::start();
    node.kill_and_restart();
    node.uplinks.clear();
    node.declare();
    node.wait_uplink(|state| !state.dns.is_empty());
    assert_eq!(node.uplinks.first().unwrap().addresses, state.addresses, "known before the server answers");
    let seen = monitor.finish();
    assert!(seen.iter().all(|line| line.contains("inet ") && !line.contains("Deleted")), "{seen:?}");

    node.state.uplink.mode = UplinkMode::Static { address: net("192.0.2.1/24"), gateway: None, dns: vec![] };
    node.declare();
    node.wait_uplink(|state| state.addresses == [net("192.0.2.1/24")] && state.gateway.is_none());
}

#[test]
fn without_a_supervisor_it_goes() {
    let mut node = Node::boot();
    node.declare();
    assert_eq!(node.hang_up(), Some(0));
}

#[test]
fn started_by_hand_it_says_what_is_missing() {
    let output = Command::new(env!("CARGO_BIN_EXE_berth-netd")).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("descriptor 3 is not the supervisor's SOCK_SEQPACKET socket"), "{text}");
}
