//! What we write, read back by the stock nft program: in a namespace of the test's own, as root.

use std::net::Ipv4Addr;
use std::process::Command;

use berth_units::Name;
use berth_units::spec::{Ipv4Net, Network, Protocol};
use berth_units::wire::net::PublishedPort;
use nix::sched::{CloneFlags, unshare};

use super::*;

fn network(n: u8, internal: bool) -> Network {
    let subnet = Ipv4Net { address: Ipv4Addr::new(10, 88, n, 0), prefix: 24 };
    Network { subnet, gateway: Ipv4Addr::new(10, 88, n, 1), nat: true, internal, mtu: 1500 }
}

fn port(host: u16, host_ip: Option<Ipv4Addr>, protocol: Protocol) -> PublishedPort {
    let unit = Name::parse("web").unwrap();
    PublishedPort { unit, protocol, host_ip, host, address: Ipv4Addr::new(10, 88, 0, 2), container: 80 }
}

fn state() -> NetState {
    let name = |text| Name::parse(text).unwrap();
    NetState {
        networks: [(name("apps"), network(0, false)), (name("closed"), network(1, true))].into(),
        ports: vec![
            port(8080, None, Protocol::Tcp),
            port(53, None, Protocol::Udp),
            port(81, Some(Ipv4Addr::LOCALHOST), Protocol::Tcp),
        ],
        ..NetState::default()
    }
}

fn nft(words: &[&str]) -> String {
    let output = Command::new("nft").args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fresh() -> Firewall {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    Firewall::open().unwrap()
}

const EXPECTED: &str = r#"
table inet berth {
	set bridges {
		type ifname
		elements = { "br-apps",
			     "br-closed" }
	}
	set internal {
		type ifname
		elements = { "br-closed" }
	}
	set gateways {
		type ifname . ipv4_addr
		elements = { "br-apps" . 10.88.0.1,
			     "br-closed" . 10.88.1.1 }
	}
	map published {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { tcp . 8080 : 10.88.0.2 . 80,
			     udp . 53 : 10.88.0.2 . 80 }
	}
	map published_on {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 127.0.0.1 . tcp . 81 : 10.88.0.2 . 80 }
	}
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr != 127.0.0.0/8 fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @published_on
		ip daddr != 127.0.0.0/8 fib daddr type local dnat ip to meta l4proto . th dport map @published
	}
	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @published_on
		meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @published
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 127.0.0.0/8 oifname @bridges masquerade
		ip saddr 10.88.0.0/24 ct status dnat oifname "br-apps" masquerade
		ip saddr 10.88.0.0/24 oifname != "br-apps" masquerade
		ip saddr 10.88.1.0/24 ct status dnat oifname "br-closed" masquerade
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname @internal drop
		oifname @internal drop
		ct status dnat accept
		oifname @bridges drop
		iifname @bridges accept
	}
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established,related accept
		udp dport 53 iifname . ip daddr @gateways accept
		tcp dport 53 iifname . ip daddr @gateways accept
		meta l4proto icmp iifname @bridges accept
		iifname @bridges drop
		ip daddr 10.88.0.1 iifname != "lo" drop
		ip daddr 10.88.1.1 iifname != "lo" drop
	}
}
"#;

#[test]
fn the_stock_program_reads_what_is_meant() {
    let mut firewall = fresh();
    assert!(firewall.ensure(&state()).unwrap().changed);
    let listed = nft(&["list", "ruleset"]);
    let lines = |text: &str| -> Vec<String> {
        let parts =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("comment"));
        let mut lines: Vec<String> =
            parts.map(|line| line.trim_start_matches("elements = ").to_owned()).collect();
        // The order within a set is the kernel's choice.
        let mut within = false;
        let mut set = Vec::new();
        lines.retain(|line| {
            within |= line.starts_with('{');
            if within {
                set.extend(line.split(',').map(|part| part.trim_matches(['{', '}', ' ']).to_owned()));
                within = !line.ends_with('}');
                return false;
            }
            true
        });
        set.sort();
        lines.extend(set.into_iter().filter(|part| !part.is_empty()));
        lines
    };
    assert_eq!(lines(&listed), lines(EXPECTED), "{listed}");
}

#[test]
fn a_table_that_is_right_is_not_touched() {
    let mut firewall = fresh();
    firewall.ensure(&state()).unwrap();
    let before = nft(&["-a", "list", "ruleset"]);
    assert!(!firewall.ensure(&state()).unwrap().changed);
    assert!(!Firewall::open().unwrap().ensure(&state()).unwrap().changed, "a new netd knows it again");
    assert_eq!(nft(&["-a", "list", "ruleset"]), before);
}

#[test]
fn what_others_change_is_seen() {
    for harm in [
        &["flush", "chain", "inet", "berth", "input"][..],
        &["delete", "element", "inet", "berth", "bridges", "{ br-apps }"],
        &["add", "rule", "inet", "berth", "forward", "accept"],
        &["delete", "table", "inet", "berth"],
    ] {
        for same in [true, false] {
            let mut firewall = fresh();
            firewall.ensure(&state()).unwrap();
            nft(harm);
            let mut again = if same { firewall } else { Firewall::open().unwrap() };
            assert!(again.ensure(&state()).unwrap().changed, "{harm:?}, by the same netd: {same}");
            assert!(!again.ensure(&state()).unwrap().changed);
        }
    }
    // Only the netd that made it sees what leaves the numbers equal.
    let mut firewall = fresh();
    firewall.ensure(&state()).unwrap();
    nft(&["chain", "inet", "berth", "forward", "{ policy accept; }"]);
    assert!(firewall.ensure(&state()).unwrap().changed);
}

#[test]
fn thousands_of_ports_are_one_commit() {
    let mut firewall = fresh();
    let mut state = state();
    state.ports = (1..=5000).map(|host| port(host, None, Protocol::Tcp)).collect();
    let start = std::time::Instant::now();
    firewall.ensure(&state).unwrap();
    let made = start.elapsed();
    assert!(!firewall.ensure(&state).unwrap().changed);
    eprintln!("5000 ports: made in {made:?}, found right in {:?}", start.elapsed() - made);
    assert!(nft(&["list", "map", "inet", "berth", "published"]).contains("tcp . 5000 : 10.88.0.2 . 80"));
}

#[test]
fn without_networks_there_is_no_table() {
    let mut firewall = fresh();
    firewall.ensure(&state()).unwrap();
    assert!(firewall.ensure(&NetState::default()).unwrap().changed);
    assert_eq!(nft(&["list", "ruleset"]), "");
    assert!(!firewall.ensure(&NetState::default()).unwrap().changed);
}

#[test]
fn a_port_into_an_internal_network_is_refused() {
    let mut state = state();
    state.ports.push(PublishedPort { address: Ipv4Addr::new(10, 88, 1, 2), ..port(99, None, Protocol::Tcp) });
    let ruleset = ruleset(&state);
    assert_eq!(ruleset.refused, ["cannot publish port 99 of 'web': its network is internal"]);
    assert_eq!(ruleset.elements, 2 + 1 + 2 + 2 + 1);
}

#[test]
fn a_refused_batch_names_its_cause_and_changes_nothing() {
    let mut firewall = fresh();
    firewall.ensure(&state()).unwrap();
    let before = nft(&["-a", "list", "ruleset"]);
    let bad = vec![nft::delete_table(), nft::new_table(None), nft::new_rule("nowhere", &[])];
    let error = firewall.commit(&Ruleset::default(), bad).unwrap_err();
    assert!(crate::chain(&error).contains("No such file"), "{}", crate::chain(&error));
    assert_eq!(nft(&["-a", "list", "ruleset"]), before);
}
