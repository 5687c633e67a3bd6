//! Units that share a network, what runs around a unit's process, and what its start and its stop wait for.

use berth_qemu_tests::appliance::{Appliance, probe_unit_with};
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, client, ensure, ensure_eq};
use berth_units::wire::control::{ExitReason, State, UnitStatus};

use crate::lab::Lab;

const TRACE: &str = "[mounts.trace]\nvolume = \"trace\"\ntarget = \"/trace\"\n";

/// All hooks, each with a line.
const HOOKS: &str = r#"
[hooks.pre_start]
exec = ["/probe", "append", "/trace/log", "pre_start"]
[hooks.post_start]
exec = ["/probe", "append", "/trace/log", "post_start"]
where = "image"
[hooks.pre_stop]
exec = ["/probe", "append", "/trace/log", "pre_stop"]
[hooks.post_stop]
exec = ["/probe", "append", "/trace/log", "post_stop"]
"#;

fn write_units(appliance: &Appliance, pod_port: u16, drain_port: u16) -> Outcome {
    appliance.probe(
        "keeper",
        &["sleep"],
        &format!(
            "{TRACE}[security]\nprofile = \"privileged\"\n\
             [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n"
        ),
    )?;
    let manual = |name: &str, words: &[&str], tables: &str| {
        appliance.unit(name, &probe_unit_with("start = \"manual\"\n", words, tables))
    };
    let port = |host: u16, port: u16| format!("[ports.it]\nhost = {host}\ncontainer = {port}\n");
    appliance.unit(
        "shop",
        &format!("schema = 1\nkind = \"pod\"\nhostname = \"till\"\n{}", port(pod_port, 8002)),
    )?;
    for (name, port) in [("front", "8001"), ("back", "8002")] {
        appliance.unit(
            name,
            &probe_unit_with("pod = \"shop\"\n", &["serve", port], "[restart]\ndelay = \"100ms\"\n"),
        )?;
    }
    appliance.probe("owner", &["serve", "9000"], "[restart]\ndelay = \"100ms\"\n")?;
    appliance.probe("guest", &["sleep"], "[network]\nmode = \"unit:owner\"\n")?;
    manual("hooked", &["exit-after", "60", "3"], &format!("{TRACE}{HOOKS}[restart]\ndelay = \"300ms\"\n"))?;
    manual(
        "picky",
        &["sleep"],
        "[hooks.pre_start]\nexec = [\"/probe\", \"exit\", \"7\"]\n[restart]\npolicy = \"never\"\n",
    )?;
    manual("tardy", &["sleep"], "[hooks.pre_start]\nexec = [\"/probe\", \"exit-after\", \"8\", \"0\"]\n")?;
    manual("late", &["serve", "9100"], "")?;
    manual("patient", &["sleep"], "[wait_for]\ntcp = [\"late:9100\", \"owner:9000\"]\n")?;
    manual(
        "nester",
        &["sleep"],
        "[memory]\nmax = \"32M\"\n[cgroup]\ndelegate = true\nmax_descendants = 2\n",
    )?;
    let words = "[ready]\nwhen = \"log:^line 12$\"\n[restart]\npolicy = \"never\"\n";
    manual("talker", &["spew-on", "14", "1"], words)?;
    let drain = format!("{}[stop]\ndelay = \"8s\"\n", port(drain_port, 9001));
    Ok(appliance.probe("drain", &["serve", "9001"], &drain)?)
}

pub fn units_share_a_network_and_are_prepared_and_drained(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    let (pod_port, drain_port) = (client::free_port()?, client::free_port()?);
    write_units(&appliance, pod_port, drain_port)?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["keeper", "shop", "front", "back", "owner", "guest", "drain"])?;
    pod_shares(&mut vm, pod_port)?;
    owner_takes_guest_along(&mut vm)?;
    hooks_run_in_order(&mut vm)?;
    hooks_live_through_a_new_supervisor(&mut vm)?;
    hooks_are_whole_whenever_it_dies(&mut vm)?;
    servers_are_waited_for(&mut vm)?;
    line_makes_ready(&mut vm)?;
    groups_are_made_inside(&mut vm)?;
    connections_are_drained(&mut vm, drain_port)
}

/// Kills the supervisor and waits for the next one.
fn replace_supervisor(vm: &mut Vm) -> Outcome {
    let count =
        |vm: &Vm| -> Outcome<u64> { Ok(vm.status()?.node.restarts.get("supervise").copied().unwrap_or(0)) };
    let before = count(vm)?;
    // The command itself may lose its connection.
    drop(vm.exec("keeper", &["/probe", "write", "/cgroup/system/supervise/cgroup.kill", "1"]));
    vm.wait_for("another supervisor", SOON, |vm| Ok((count(vm)? > before).then_some(())))
}

/// Waits until a unit is ready in another process than that.
fn wait_anew(vm: &mut Vm, name: &str, old: i32) -> Outcome<UnitStatus> {
    vm.wait_unit(name, "ready anew", SOON, |unit| {
        unit.state == State::Ready && unit.pid.is_some_and(|pid| pid != old)
    })
}

/// Two of a pod reach each other by 127.0.0.1 and have one host name; what happens to one is nothing to the other.
fn pod_shares(vm: &mut Vm, port: u16) -> Outcome {
    ensure_eq!(vm.unit("shop")?.kind, "pod");
    for (from, to) in [("front", "8002"), ("back", "8001")] {
        ensure_eq!(vm.probe(from, &["connect", "127.0.0.1", to])?, "hello\n");
        ensure_eq!(vm.report(from)?.hostname, "till");
    }
    let (shop, front, back) = (vm.pid("shop")?, vm.pid("front")?, vm.pid("back")?);
    let mut held = client::patiently(|| {
        let mut stream = client::connect(port)?;
        client::echo(&mut stream, "before")?;
        Ok(stream)
    })?;
    vm.berth(&["restart", "front"], b"")?.ok()?;
    let front = wait_anew(vm, "front", front)?.pid.unwrap_or_default();
    replace_supervisor(vm)?;
    client::echo(&mut held, "after")?;
    ensure_eq!((vm.pid("shop")?, vm.pid("back")?), (shop, back));
    // The pod itself ends: all of it begins anew.
    vm.probe("keeper", &["write", "/cgroup/units/shop/cgroup.kill", "1"])?;
    wait_anew(vm, "shop", shop)?;
    wait_anew(vm, "front", front)?;
    wait_anew(vm, "back", back)?;
    ensure_eq!(vm.probe("front", &["connect", "127.0.0.1", "8002"])?, "hello\n");
    client::patiently(|| client::echo(&mut client::connect(port)?, "again"))
}

/// `guest` lives in the network of `owner`, and as long as that one does.
fn owner_takes_guest_along(vm: &mut Vm) -> Outcome {
    ensure_eq!(vm.probe("guest", &["connect", "127.0.0.1", "9000"])?, "hello\n");
    let (owner, guest) = (vm.pid("owner")?, vm.pid("guest")?);
    vm.berth(&["restart", "owner"], b"")?.ok()?;
    let owner = wait_anew(vm, "owner", owner)?.pid.unwrap_or_default();
    let guest = wait_anew(vm, "guest", guest)?.pid.unwrap_or_default();
    ensure_eq!(vm.probe("guest", &["connect", "127.0.0.1", "9000"])?, "hello\n");
    vm.probe("keeper", &["write", "/cgroup/units/owner/cgroup.kill", "1"])?;
    wait_anew(vm, "owner", owner)?;
    let after = wait_anew(vm, "guest", guest)?;
    ensure_eq!(after.restarts, 0);
    ensure_eq!(vm.probe("guest", &["connect", "127.0.0.1", "9000"])?, "hello\n");
    vm.berth(&["stop", "owner"], b"")?.ok()?;
    let guest = vm.unit("guest")?;
    ensure_eq!((guest.state, guest.pid), (State::Waiting, None));
    vm.berth(&["start", "owner"], b"")?.ok()?;
    vm.wait_ready(&["owner", "guest"])
}

fn trace(vm: &Vm) -> Outcome<Vec<String>> {
    Ok(vm.probe("keeper", &["read", "/trace/log"])?.lines().map(str::to_owned).collect())
}

/// Around a crash, a start and a stop; a preparation that fails is a start that has failed.
fn hooks_run_in_order(vm: &mut Vm) -> Outcome {
    vm.berth(&["start", "hooked"], b"")?.ok()?;
    vm.wait_ready(&["hooked"])?;
    ensure_eq!(trace(vm)?, ["pre_start", "post_start"]);
    let old = vm.pid("hooked")?;
    vm.probe("keeper", &["write", "/cgroup/units/hooked/cgroup.kill", "1"])?;
    wait_anew(vm, "hooked", old)?;
    ensure_eq!(trace(vm)?.split_off(2), ["post_stop", "pre_start", "post_start"]);
    vm.berth(&["stop", "hooked"], b"")?.ok()?;
    vm.wait_for("the last hook", SOON, |vm| {
        let lines = trace(vm)?;
        Ok((lines.get(5..) == Some(&["pre_stop".to_owned(), "post_stop".to_owned()])).then_some(()))
    })?;
    vm.berth(&["start", "--no-wait", "picky"], b"")?.ok()?;
    let picky = vm.wait_unit("picky", "failed", SOON, |unit| unit.state == State::Failed)?;
    let exit = picky.last_exit.ok_or("no exit is known")?;
    ensure_eq!(exit.reason, ExitReason::StartFailed);
    ensure_eq!(exit.detail.as_deref(), Some("hook pre_start failed: exit code 7"));
    Ok(())
}

/// The hook of `tardy` goes on under the next supervisor, which starts the unit after it; once more it is called off.
fn hooks_live_through_a_new_supervisor(vm: &mut Vm) -> Outcome {
    let runs = |unit: &UnitStatus| unit.why.as_deref().is_some_and(|why| why.contains("hook pre_start"));
    vm.berth(&["start", "--no-wait", "tardy"], b"")?.ok()?;
    vm.wait_unit("tardy", "prepared", SOON, runs)?;
    replace_supervisor(vm)?;
    let tardy = vm.unit("tardy")?;
    ensure!(runs(&tardy), "'tardy' is {}: {:?}", tardy.state, tardy.why);
    vm.wait_ready(&["tardy"])?;
    let tardy = vm.unit("tardy")?;
    ensure!(tardy.last_exit.is_none() && tardy.restarts == 0, "'tardy': {:?}", tardy.last_exit);
    vm.berth(&["stop", "tardy"], b"")?.ok()?;
    vm.berth(&["start", "--no-wait", "tardy"], b"")?.ok()?;
    vm.wait_unit("tardy", "prepared", SOON, runs)?;
    vm.berth(&["stop", "tardy"], b"")?.ok()?;
    vm.wait_unit("tardy", "called off", SOON, |unit| unit.state == State::Stopped && !runs(unit)).map(drop)
}

/// The supervisor is killed as soon as it has heard of a start, then of a stop.
fn hooks_are_whole_whenever_it_dies(vm: &mut Vm) -> Outcome {
    vm.berth(&["start", "--no-wait", "hooked"], b"")?.ok()?;
    replace_supervisor(vm)?;
    vm.wait_ready(&["hooked"])?;
    vm.berth(&["stop", "--no-wait", "hooked"], b"")?.ok()?;
    replace_supervisor(vm)?;
    vm.wait_unit("hooked", "stopped", SOON, |unit| unit.state == State::Stopped && unit.pid.is_none())?;
    vm.wait_for("the hook after it", SOON, |vm| {
        let lines = trace(vm)?;
        let last: Vec<_> = lines.iter().rev().take(4).map(String::as_str).collect();
        Ok((last == ["post_stop", "pre_stop", "post_start", "pre_start"]).then_some(()))
    })
}

/// `patient` starts when `late` accepts connections, whoever waits for it by then.
fn servers_are_waited_for(vm: &mut Vm) -> Outcome {
    vm.berth(&["start", "--no-wait", "patient"], b"")?.ok()?;
    let waits = |unit: &UnitStatus| unit.why.as_deref().is_some_and(|why| why.contains("'late:9100'"));
    vm.wait_unit("patient", "waiting", SOON, waits)?;
    replace_supervisor(vm)?;
    let patient = vm.unit("patient")?;
    ensure!(waits(&patient) && patient.pid.is_none(), "'patient': {} {:?}", patient.state, patient.why);
    vm.berth(&["start", "late"], b"")?.ok()?;
    vm.wait_ready(&["late", "patient"])
}

/// `talker` is ready with its twelfth line, though supervisor and log process are others by then; once more so is the
/// next run, of which lines of the first are none.
fn line_makes_ready(vm: &mut Vm) -> Outcome {
    for lines in 1..=2 {
        vm.berth(&["start", "--no-wait", "talker"], b"")?.ok()?;
        vm.wait_unit("talker", "running", SOON, |unit| unit.pid.is_some())?;
        replace_supervisor(vm)?;
        vm.probe("keeper", &["write", "/cgroup/system/log/cgroup.kill", "1"])?;
        ensure_eq!(vm.unit("talker")?.state, State::Starting);
        vm.wait_ready(&["talker"])?;
        ensure_eq!(vm.logs("talker")?.matches("line 12\n").count(), lines);
        vm.berth(&["stop", "talker"], b"")?.ok()?;
    }
    Ok(())
}

/// `nester` makes groups and hands controllers down to them, within its limits, and is looked after all the same.
fn groups_are_made_inside(vm: &mut Vm) -> Outcome {
    const OWN: &str = "/sys/fs/cgroup";
    vm.berth(&["start", "nester"], b"")?.ok()?;
    vm.wait_ready(&["nester"])?;
    let write =
        |vm: &Vm, file: &str, text: &str| vm.probe("nester", &["write", &format!("{OWN}/{file}"), text]);
    vm.probe("nester", &["make-dir", &format!("{OWN}/leaf")])?;
    write(vm, "leaf/cgroup.procs", "1")?;
    // Whoever is added to it comes where its first process is, else the controllers could not be handed down.
    write(vm, "cgroup.subtree_control", "+memory")?;
    write(vm, "leaf/memory.max", "8388608")?;
    ensure_eq!(vm.probe("keeper", &["read", "/cgroup/units/nester/leaf/memory.max"])?.trim(), "8388608");
    ensure!(write(vm, "memory.max", "max").is_err(), "its own limit was changed from inside");
    vm.probe("nester", &["make-dir", &format!("{OWN}/other")])?;
    let third = vm.probe("nester", &["make-dir", &format!("{OWN}/third")]);
    ensure!(third.is_err(), "there are more groups than may be");
    let front = vm.probe("front", &["make-dir", &format!("{OWN}/leaf")]);
    ensure!(front.is_err(), "'front' makes groups without leave");
    let old = vm.pid("nester")?;
    vm.berth(&["restart", "nester"], b"")?.ok()?;
    wait_anew(vm, "nester", old)?;
    let left = vm.probe("keeper", &["list", "/cgroup/units/nester"])?;
    ensure!(!left.lines().any(|name| name == "leaf"), "a group outlives its run: {left}");
    vm.berth(&["stop", "nester"], b"")?.ok().map(drop)
}

/// A connection that is there goes on while no new one comes; then the unit stops, and its port comes back with it.
fn connections_are_drained(vm: &mut Vm, port: u16) -> Outcome {
    let mut held = client::patiently(|| {
        let mut stream = client::connect(port)?;
        client::echo(&mut stream, "before")?;
        Ok(stream)
    })?;
    let pid = vm.pid("drain")?;
    vm.berth(&["stop", "--no-wait", "drain"], b"")?.ok()?;
    let late = || client::connect(port).and_then(|mut stream| client::echo(&mut stream, "late"));
    vm.wait_for("a closed port", SOON, |_| Ok(late().is_err().then_some(())))?;
    client::echo(&mut held, "still")?;
    let drain = vm.unit("drain")?;
    ensure_eq!((drain.state, drain.pid), (State::Stopping, Some(pid)));
    vm.wait_unit("drain", "stopped", SOON, |unit| unit.state == State::Stopped)?;
    vm.berth(&["start", "drain"], b"")?.ok()?;
    client::patiently(|| client::echo(&mut client::connect(port)?, "again"))
}
