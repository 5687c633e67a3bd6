//! Sets whose files are each fine alone.

use crate::{SourceFile, parse_set};

/// Each file is `NAME: lines`, separated by `;`; containers get an image, and node.toml is there.
#[track_caller]
fn check(files: &[&str], expected: &[&str]) {
    let mut sources = vec![];
    for file in files {
        let (name, lines) = file.split_once(':').unwrap();
        let image = if lines.contains("kind =") || name == "node" { "" } else { "image.ref = \"a\"\n" };
        let text = format!("schema = 1\n{image}{}", lines.replace(';', "\n"));
        sources.push(SourceFile { path: format!("{name}.toml"), text });
    }
    if !files.iter().any(|file| file.starts_with("node:")) {
        sources.push(SourceFile { path: "node.toml".into(), text: "schema = 1".into() });
    }
    let checked = parse_set(&sources);
    let found: Vec<_> = checked
        .diagnostics
        .iter()
        .map(|d| format!("{}:{} {} {}", d.path.trim_end_matches(".toml"), d.line, d.code, d.message))
        .collect();
    assert_eq!(found, expected);
}

const APPS: &str = "apps:kind = 'network';ipv4.subnet = '10.9.0.0/29'";

#[test]
fn networks_of_others() {
    const POD: &str = "pod:kind = 'pod'";
    check(&["a:network.mode = 'unit:b'", "b:"], &[]);
    check(&["a:pod = 'pod'", "b:pod = 'pod'", POD], &[]);
    check(&["a:pod = 'b'", "b:"], &["a:3 BU0202 'b' is a container, not a pod"]);
    check(&["a:pod = 'apps'", APPS], &["a:3 BU0202 a unit cannot depend on 'apps', which is a network"]);
    check(&["a:pod = 'nope'"], &["a:3 BU0201 unit 'nope' does not exist"]);
    check(&["a:network.mode = 'unit:a'"], &["a:3 BU0203 unit 'a' depends on itself"]);
    check(
        &["a:network.mode = 'unit:b'", "b:network.mode = 'host'"],
        &["a:3 BU0313 'b' has no network of its own: it has that of the node"],
    );
    check(
        &["a:network.mode = 'unit:b'", "b:pod = 'pod'", POD],
        &["a:3 BU0313 'b' has no network of its own: it has that of 'pod'"],
    );
    check(
        &["a:network.mode = 'unit:b'", "b:network.mode = 'unit:a'"],
        &[
            "a:3 BU0204 dependency cycle: a -> b -> a",
            "a:3 BU0313 'b' has no network of its own: it has that of 'a'",
            "b:3 BU0313 'a' has no network of its own: it has that of 'b'",
        ],
    );
    check(
        &["a:network.mode = 'unit:b'", "b:type = 'oneshot'"],
        &["a:3 BU0313 'b' has no network to share: it ends by itself"],
    );
    check(&["a:network.mode = 'unit:b';depends.b = {}", "b:"], &[]);
    check(
        &["a:network.mode = 'unit:b';depends.b.strength = 'wants'", "b:"],
        &["a:4 BU0313 'strength' cannot be: it shares the network of 'b', and so its life"],
    );
    check(
        &["a:network.mode = 'unit:b';depends.b.until = 'completed'", "b:"],
        &["a:4 BU0313 'until' cannot be: it shares the network of 'b', and so its life"],
    );
    check(
        &["a:network.mode = 'unit:b';ports.x = {host = 80, container = 80}", "b:"],
        &["a:4 BU0305 port 'x' cannot be published with network.mode \"unit:b\""],
    );
    check(
        &["a:pod = 'pod';network.hostname = 'x'", POD],
        &["a:4 BU0110 'network.hostname' has no effect on 'a': it is that of its pod"],
    );
    check(
        &["a:pod = 'pod';security.sysctl.\"kernel.shmmax\" = 1", POD],
        &["a:4 BU0403 sysctl 'kernel.shmmax' would change 'pod' with pod \"pod\""],
    );
}

#[test]
fn servers_that_are_waited_for() {
    check(&["a:wait_for.tcp = ['b:80', '10.0.0.1:80']", "b:"], &[]);
    check(&["a:wait_for.tcp = ['a:80']"], &["a:3 BU0203 unit 'a' names itself"]);
    check(&["a:wait_for.tcp = ['c:80']"], &["a:3 BU0201 unit 'c' does not exist"]);
    check(&["a:wait_for.tcp = ['b:80']", "b:depends.a = {}"], &["a:3 BU0204 dependency cycle: a -> b -> a"]);
    check(
        &["a:wait_for.tcp = ['b:80']", "b:network.mode = 'none'"],
        &["a:3 BU0431 'b' has no network in which somebody could reach it"],
    );
    check(
        &["a:wait_for.tcp = ['b:80']", "b:start = 'manual'"],
        &["a:3 BU0206 unit 'a' waits for 'b', which is only started by hand"],
    );
}

#[test]
fn dependencies() {
    check(&["a:depends.b = {}", "b:"], &[]);
    check(&["a:depends.bb = {}", "b:"], &["a:3 BU0201 unit 'bb' does not exist"]);
    check(&["a:depends.apps = {}", APPS], &["a:3 BU0202 a unit cannot depend on 'apps', which is a network"]);
    check(&["a:depends.a = {}"], &["a:3 BU0203 unit 'a' depends on itself"]);
    check(&["a:depends.b = {}", "b:depends.a = {}"], &["a:3 BU0204 dependency cycle: a -> b -> a"]);
    check(
        &["x:depends.c = {}", "c:depends.b = {};depends.d = {}", "b:depends.c = {}", "d:depends.c = {}"],
        &["b:3 BU0204 dependency cycle: b -> c -> b", "c:4 BU0204 dependency cycle: c -> d -> c"],
    );
    check(
        &["a:depends.b = {}", "b:enabled = false"],
        &["a:3 BU0206 unit 'a' waits for 'b', which is disabled"],
    );
    // One that is only wanted may be absent, which is still worth a word.
    check(&["a:depends.bb.strength = 'wants'", "b:"], &["a:3 BU0201 unit 'bb' does not exist"]);
    check(&["a:depends.b.strength = 'wants'", "b:enabled = false"], &[]);
    check(&["a:after = ['b']", "b:before = ['a']"], &[]);
    check(&["a:after = ['b']", "b:after = ['a']"], &["a:3 BU0204 dependency cycle: a -> b -> a"]);
    check(
        &["a:depends.b = {}", "b:;after = ['c']", "c:after = ['a']"],
        &["a:3 BU0204 dependency cycle: a -> b -> c -> a"],
    );
    check(&["a:before = ['b']", "b:before = ['a']"], &["b:3 BU0204 dependency cycle: a -> b -> a"]);
    check(&["a:on_failure = ['b']", "b:"], &[]);
    check(&["a:on_failure = ['c']", "b:"], &["a:3 BU0201 unit 'c' does not exist"]);
    check(
        &["a:on_failure = ['b']", "b:on_success = ['a']"],
        &["a:3 BU0208 units that start each other without end: a -> b -> a"],
    );
    check(&["a:on_failure = ['a']"], &["a:3 BU0203 unit 'a' names itself"]);
    check(&["a:conflicts = ['b']", "b:"], &["a:3 BU0207 units 'a' and 'b' conflict, and both start at boot"]);
    check(&["a:conflicts = ['b']", "b:start = 'manual'"], &[]);
    check(
        &["a:conflicts = ['b'];depends.b = {}", "b:"],
        &["a:3 BU0209 units 'a' and 'b' conflict, and one waits for the other"],
    );
    check(&["a:wait_for.paths = ['/sys/x']"], &["a:3 BU0430 nobody tells when '/sys/x' appears"]);
    // A broken file makes no one else wrong.
    check(&["a:depends.b = {};networks.b = {}", "b:x = ="], &["b:3 BU0001 extra `=`, expected nothing"]);
}

#[test]
fn a_long_chain_is_lawful() {
    let link = |n| if n < 999 { format!("depends.u{} = {{}}", n + 1) } else { String::new() };
    let files: Vec<_> = (0..1000).map(|n| format!("u{n}:network.mode = 'none';{}", link(n))).collect();
    check(&files.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
}

#[test]
fn networks() {
    check(&["a:networks.app = {}", APPS], &["a:3 BU0205 network 'app' does not exist"]);
    check(&["a:networks.default = {}"], &[]);
    check(&["a:networks.b = {}", "b:"], &["a:3 BU0202 a unit cannot join 'b', which is a container"]);
    check(
        &[APPS, "wide:kind = 'network';ipv4.subnet = '10.9.0.0/16'"],
        &["apps:3 BU0301 the subnets of 'apps' and 'wide' overlap: 10.9.0.0/29 and 10.9.0.0/16"],
    );
    for (address, fault) in [
        ("10.9.0.2", None),
        ("10.9.0.8", Some("10.9.0.8 is outside network 'apps', 10.9.0.0/29")),
        ("10.9.0.1", Some("10.9.0.1 is the gateway of network 'apps'")),
        ("10.9.0.0", Some("10.9.0.0 is an end of network 'apps', 10.9.0.0/29, and no host's")),
        ("10.9.0.7", Some("10.9.0.7 is an end of network 'apps', 10.9.0.0/29, and no host's")),
    ] {
        let expected: Vec<_> = fault.iter().map(|text| format!("a:3 BU0302 {text}")).collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check(&[&format!("a:networks.apps.ipv4 = '{address}'"), APPS], &expected);
    }
    check(
        &["a:networks.apps.ipv4 = '10.9.0.3'", "b:networks.apps.ipv4 = '10.9.0.3'", APPS],
        &["b:3 BU0304 address 10.9.0.3 of network 'apps' is also that of unit 'a'"],
    );
    check(
        &["a:networks.apps.aliases = ['b', 'x']", "b:networks.apps.aliases = ['x']", APPS],
        &[
            "a:3 BU0307 on network 'apps' the alias 'b' also leads to unit 'b'",
            "b:3 BU0307 on network 'apps' the alias 'x' also leads to unit 'a'",
        ],
    );
    check(
        &["w@:instances = ['a']", "w-a:"],
        &["w@:1 BU0307 on network 'default' the name 'w-a' also leads to unit 'w-a'"],
    );
    let tiny = "tiny:kind = 'network';ipv4.subnet = '10.9.0.0/30'";
    check(
        &["a:networks.tiny = {}", "b:networks.tiny = {}", tiny],
        &["tiny:3 BU0310 network 'tiny' has 1 addresses for 2 units"],
    );
    check(
        &["a:networks.all = {}", "all:kind = 'network'", "x:kind = 'network';ipv4.subnet = '10.88.0.0/13'"],
        &["all:1 BU0308 no /24 is left for network 'all'"],
    );
    check(
        &[APPS, "node:uplink = {mode = 'static', address = '10.9.0.5/24'}"],
        &["node:2 BU0503 the node's subnet 10.9.0.5/24 overlaps network 'apps', 10.9.0.0/29"],
    );
}

#[test]
fn ports() {
    let port = |rest: &str| format!("ports.p = {{ host = 80, container = 80{rest} }}");
    let pair = |a: &str, b: &str| [format!("a:{}", port(a)), format!("b:{}", port(b))];
    for (a, b, clash) in [
        ("", "", true),
        ("", ", protocol = 'udp'", false),
        (", host_ip = '10.0.0.1'", ", host_ip = '10.0.0.2'", false),
        (", host_ip = '10.0.0.1'", ", host_ip = '10.0.0.1'", true),
        (", host_ip = '10.0.0.1'", "", true),
        ("", ", host_ip = '10.0.0.1'", true),
        (", host_ip = '0.0.0.0'", ", host_ip = '10.0.0.1'", true),
    ] {
        let files = pair(a, b);
        let expected: &[&str] =
            if clash { &["b:3 BU0303 host port 80 is also published by unit 'a'"] } else { &[] };
        check(&[&files[0], &files[1]], expected);
    }
    check(
        &["a:ports.x = {host = 1, container = 1};ports.y = {host = 1, container = 2}"],
        &["a:4 BU0303 host port 1 is published twice by this unit"],
    );
    check(
        &[&format!(
            "a:network.mode = 'host';networks.default = {{}};security.sysctl.'net.a' = 1;{}",
            port("")
        )],
        &[
            "a:4 BU0306 network 'default' cannot be joined with network.mode \"host\"",
            "a:5 BU0403 sysctl 'net.a' would change the node with network.mode \"host\"",
            "a:6 BU0305 port 'p' cannot be published with network.mode \"host\"",
        ],
    );
    check(
        &[&format!("a:networks.i = {{}};{}", port("")), "i:kind = 'network';internal = true"],
        &["a:4 BU0311 port 'p' leads to network 'i', which is internal"],
    );
}

#[test]
fn promises_and_host_names() {
    check(&["a:memory.min = '50%'", "b:memory.min = '50%'"], &[]);
    check(
        &["a:memory.min = '50%'", "b:memory.min = '51%'", "c:memory.min = '9%'"],
        &["b:3 BU0411 with unit 'b' memory.min comes to more than all of the node's memory"],
    );
    check(&["a:memory.min = '90%'", "b:memory.min = '90%';start = 'manual'"], &[]);
    let named = "network.hostname = 'shop'";
    check(
        &[&format!("a:{named}"), &format!("b:{named}")],
        &["b:3 BU0312 unit 'a' has the host name 'shop', too"],
    );
    check(
        &[&format!("w@:{named};instances = ['a', 'b']")],
        &["w@:3 BU0312 unit 'w@a' has the host name 'shop', too"],
    );
}

#[test]
fn one_unit_against_itself() {
    check(
        &["a:security = {cap_add = ['KILL'], cap_drop = ['KILL']}"],
        &["a:3 BU0401 capability KILL is in cap_add and in cap_drop"],
    );
    check(&["a:rootfs.upper = 'disk'"], &["a:3 BU0402 'rootfs.upper' has no effect: the root is read-only"]);
    check(
        &["a:mounts.x = {volume = 'v', target = '/a/'};mounts.y = {bind = '/b', target = '//a'}"],
        &["a:4 BU0405 mount 'x' and mount 'y' have the same target '/a'"],
    );
    check(
        &["a:mounts.x = {bind = '/data/volumes/v/sub', target = '/a'}"],
        &["a:3 BU0408 mount 'x' binds '/data/volumes/v/sub', which a unit can change"],
    );
    check(&["a:mounts.x = {bind = '/data/volumes', target = '/a'}"], &[]);
    check(
        &["a:rootfs = {read_only = false, persist = true}"],
        &["a:3 BU0110 'rootfs.persist' has no effect: what is written stays in RAM"],
    );
    check(
        &["a:rootfs = {read_only = false, upper = 'none'}"],
        &["a:3 BU0452 the root is writable, and there is nothing to write to"],
    );
    check(&["a:rootfs.upper = 'none'"], &[]);
    for (options, what) in [
        ("options = ['ro'], read_only = false", "\"ro\" and read_only = false"),
        ("options = ['rrw'], read_only = true", "\"rw\" and read_only = true"),
        ("options = ['noatime', 'rrelatime']", "\"noatime\" and \"relatime\""),
        ("options = ['rnoexec'], exec = true", "\"noexec\" and exec = true"),
    ] {
        check(
            &[&format!("a:mounts.x = {{volume = 'v', target = '/a', {options}}}")],
            &[&format!("a:3 BU0450 {what} contradict each other on mount 'x'")],
        );
    }
    check(
        &["a:mounts.x = {image = 'i', target = '/a', read_only = false}"],
        &["a:3 BU0450 mount 'x' is an image, which nobody can write to"],
    );
    check(
        &["a:mounts.x = {volume = 'v', target = '/a', propagation = 'slave'}"],
        &["a:3 BU0110 'propagation' has no effect on mount 'x'"],
    );
}

#[test]
fn directories_that_berth_makes() {
    check(
        &["a:state_dir = '/a';mounts.x = {volume = 'v', target = '/a'}"],
        &["a:3 BU0405 mount 'x' and 'state_dir' have the same target '/a'"],
    );
    check(
        &["a:runtime_dir = '/a';quota = '1M'"],
        &["a:4 BU0110 'quota' has no effect: the unit has neither state_dir nor cache_dir"],
    );
    check(
        &["w-a:state_dir = '/s';network.mode = 'none'", "w@:state_dir = '/s';instances = ['a']"],
        &["w@:3 BU0451 unit 'w-a' has the volume 'w-a@state' for itself, too"],
    );
    let name = "x".repeat(58);
    check(
        &[&format!("{name}:cache_dir = '/c'")],
        &[&format!("{name}:3 BU0451 the name '{name}' is too long for a volume of its own")],
    );
}

#[test]
fn one_unit_against_the_node() {
    check(&["a:memory = {low = '2M', max = '1M'}"], &["a:3 BU0406 memory.low is above memory.max"]);
    check(
        &["a:stop.timeout = '1m'"],
        &["a:3 BU0407 stop.timeout 1m is longer than the node waits at a shutdown, 30s"],
    );
    check(&["a:security = {profile = 'privileged', no_new_privileges = true}"], &[]);
}

#[test]
fn what_a_unit_is_given_of_the_node() {
    check(
        &["a:cgroup.raw = {\"memory.max\" = '1G'}"],
        &["a:3 BU0440 'memory.max' is written by a key of its own"],
    );
    check(
        &["a:cgroup.raw = {\"hugetlb.2MB.max\" = 0}"],
        &["a:3 BU0440 'hugetlb.2MB.max' is written by a key of its own"],
    );
    check(&["a:cgroup.raw = {\"memory.peak\" = 0}"], &[]);
    check(
        &["a:cpuset.partition = 'root'"],
        &["a:3 BU0441 a partition has no processors without cpuset.cpus"],
    );
    check(&["a:cpuset = {partition = 'root', cpus = '1'}"], &[]);
    check(&["a:process.scheduler = {policy = 'fifo'}"], &["a:3 BU0442 this policy has no default priority"]);
    check(
        &["a:process.scheduler = {policy = 'deadline', runtime = '5ms', deadline = '2ms'}"],
        &["a:3 BU0442 the times of deadline are in the wrong order"],
    );
    check(
        &["a:process = {nice = 3, scheduler.policy = 'rr', scheduler.priority = 1}"],
        &["a:3 BU0110 'process.nice' has no effect with this process.scheduler.policy"],
    );
    check(&["a:process = {nice = 3, scheduler.policy = 'batch'}"], &[]);
    check(
        &["a:pressure.p = {resource = 'cpu', threshold = '2s'}"],
        &["a:3 BU0445 nobody can wait 2s within a window of 1s"],
    );
    check(&["a:devices.d = {uid = 1}"], &["a:3 BU0443 device 'd' has no source"]);
    check(
        &["a:devices.d = {source = '/dev/ttyS0', target = '/dev/pts/0'}"],
        &["a:3 BU0444 every container has a '/dev/pts/0' of its own"],
    );
    check(
        &["a:devices.d.source = '/dev/ttyS0';devices.e = {source = '/dev/ttyS1', target = '/dev/ttyS0'}"],
        &["a:4 BU0444 devices 'd' and 'e' have the same target '/dev/ttyS0'"],
    );
    check(
        &["a:security.profile = 'privileged';devices.d.source = '/dev/ttyS0'"],
        &["a:4 BU0110 a privileged unit has all devices of the node"],
    );
}

#[test]
fn processor_time_that_the_kernel_takes() {
    check(
        &["a:cpu = {max = 0.01, period = '50ms'}"],
        &["a:3 BU0409 cpu.max of a cpu.period is less than 1 ms"],
    );
    check(&["a:cpu.max = 0.01"], &[]);
    check(
        &["a:cpu = {max = 0.5, burst = '51ms'}"],
        &["a:3 BU0409 cpu.burst is above cpu.max of a cpu.period"],
    );
    check(&["a:cpu = {max = 0.5, burst = '50ms'}", "b:cpu.burst = '1s'"], &[]);
}

#[test]
fn the_uplink() {
    check(&["node:uplink.mode = 'static'"], &["node:2 BU0502 mode \"static\" needs an address"]);
    check(
        &["node:uplink.dns = ['9.9.9.9']"],
        &["node:2 BU0502 'uplink.dns' belongs to uplink.mode \"static\""],
    );
}

#[test]
fn sockets_have_one_owner() {
    let socket = |unit: &str, listen: &str| format!("{unit}:sockets.s.listen = '{listen}'");
    let has = |line: &str| vec![format!("b:3 BU0303 {line} of unit 'a' has this already")];
    for (one, other, expected) in [
        ("tcp:0.0.0.0:80", "tcp:10.0.0.1:80", has("socket 's'")),
        ("tcp:[::]:80", "tcp:0.0.0.0:80", has("socket 's'")),
        ("tcp:10.0.0.2:80", "tcp:10.0.0.1:80", vec![]),
        ("tcp:0.0.0.0:80", "udp:0.0.0.0:80", vec![]),
        ("unix:/run/x", "unix:/run/x", has("socket 's'")),
        ("unix:/run/x", "unix:/run/y", vec![]),
    ] {
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check(&[&socket("a", one), &socket("b", other)], &expected);
    }
    let ports = "a:ports.p.host = 80;ports.p.container = 8080";
    check(&[ports, &socket("b", "tcp:127.0.0.1:80")], &["b:3 BU0303 port 'p' of unit 'a' has this already"]);
    check(&[ports, &socket("b", "udp:127.0.0.1:80")], &[]);
}
