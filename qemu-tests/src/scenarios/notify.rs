//! What runs and the supervisor talk to each other: readiness, watchdog, sockets,
//! reload, hooks.

use std::io::{Read as _, Write as _};

use berth_qemu_tests::appliance::{Appliance, probe_unit_with};
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, client, ensure, ensure_eq};
use berth_units::wire::control::{ExitReason, State};

use crate::lab::Lab;

/// Port of the node whose socket is held open.
const DOOR: u16 = 7070;

const ONCE: &str = "[restart]\npolicy = \"never\"\n";
const TRACE: &str = "[mounts.trace]\nvolume = \"trace\"\ntarget = \"/trace\"\n";
const HOOKED: &str = r#"
[mounts.trace]
volume = "trace"
target = "/trace"
[hooks.post_start]
exec = ["/probe", "append", "/trace/log", "started"]
[hooks.pre_stop]
exec = ["/probe", "append", "/trace/log", "stopping"]
"#;

/// A keeper that may do anything to the node, and what talks.
fn write_units(appliance: &Appliance) -> Outcome {
    appliance.probe(
        "keeper",
        &["sleep"],
        &format!(
            "{TRACE}[security]\nprofile = \"privileged\"\n\
         [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n\
         [mounts.proc]\nbind = \"/proc\"\ntarget = \"/node-proc\"\nread_only = false\n"
        ),
    )?;
    // No root, no /run of its own: the socket has to come to it all the same.
    appliance.unit(
        "slow",
        "schema = 1\n[image]\nref = \"berth-tests/probe:1\"\n[process]\nargs = [\"sleep\"]\nuser = \"1234\"\n\
         [rootfs]\ntmpfs = []\n[ready]\nwhen = \"notify\"\n",
    )?;
    appliance.probe("waiter", &["sleep"], "[depends.slow]\n")?;
    let fed = "watchdog = \"2s\"\n";
    let keys = "[ready]\nwhen = \"notify\"\n[restart]\ndelay = \"100ms\"\n";
    let door = format!("[sockets.door]\nlisten = \"tcp:0.0.0.0:{DOOR}\"\n[restart]\ndelay = \"3s\"\n");
    appliance.unit(
        "porter",
        &probe_unit_with("", &["serve-passed"], &format!("{door}[network]\nmode = \"none\"\n")),
    )?;
    let ready = "[ready]\nwhen = \"notify\"\n";
    appliance.probe("reader", &["reloader"], &format!("{ready}[reload]\nsignal = \"SIGHUP\"\n"))?;
    let exec = |code: &str| format!("[reload]\nexec = [\"/probe\", \"exit\", \"{code}\"]\n");
    appliance.probe("stubborn", &["sleep"], &exec("3"))?;
    appliance.probe("hooked", &["sleep"], HOOKED)?;
    appliance.probe(
        "broken",
        &["sleep"],
        &format!("{ONCE}[hooks.post_start]\nexec = [\"/probe\", \"exit\", \"7\"]\n"),
    )?;
    Ok(appliance.unit("fed", &probe_unit_with(fed, &["feed", "500"], keys))?)
}

pub fn units_and_supervisor_talk(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    write_units(&appliance)?;
    let port = client::free_port()?;
    let options = Options { forwards: vec![format!("{port}:{DOOR}")], ..Options::default() };
    let mut vm = lab.boot(&appliance, &options)?;
    vm.wait_ready(&["keeper", "fed"])?;
    readiness_is_said(&mut vm)?;
    silence_is_noticed(&mut vm)?;
    door_stays_open(&mut vm, port)?;
    reloads_come_to_an_end(&mut vm)?;
    hooks_run(&mut vm)
}

/// Kills the supervisor and waits for the next one.
fn replace_supervisor(vm: &mut Vm) -> Outcome {
    let count =
        |vm: &Vm| -> Outcome<u64> { Ok(vm.status()?.node.restarts.get("supervise").copied().unwrap_or(0)) };
    let before = count(vm)?;
    // The command itself may lose its connection.
    drop(vm.exec("keeper", &["/probe", "write", "/cgroup/system/supervise/cgroup.kill", "1"]));
    vm.wait_for("another supervisor", SOON, |vm| {
        let now = count(vm)?;
        if now > before { Ok(Some(())) } else { Err(format!("{now} restarts").into()) }
    })
}

/// `waiter` waits for the word of `slow`, which a stranger cannot say, and which another supervisor hears.
fn readiness_is_said(vm: &mut Vm) -> Outcome {
    vm.wait_unit("slow", "not ready", SOON, |unit| unit.state == State::Starting)?;
    vm.probe("keeper", &["notify-at", "/node-proc/1/root/run/berth/notify/slow", "READY=1", "STATUS=false"])?;
    let slow = vm.unit("slow")?;
    ensure_eq!((slow.state, slow.says), (State::Starting, None));
    vm.probe("slow", &["notify", "STATUS=halfway"])?;
    ensure_eq!(vm.unit("slow")?.says.as_deref(), Some("halfway"));
    replace_supervisor(vm)?;
    let slow = vm.unit("slow")?;
    ensure_eq!((slow.state, slow.says.as_deref()), (State::Starting, Some("halfway")));
    ensure_eq!(vm.unit("waiter")?.state, State::Waiting);
    vm.probe("slow", &["notify", "READY=1", "STATUS=there"])?;
    vm.wait_ready(&["slow", "waiter"])?;
    ensure_eq!(vm.unit("slow")?.pid, slow.pid);
    vm.probe("slow", &["notify", "STOPPING=1"])?;
    let why = vm.unit("slow")?.why.unwrap_or_default();
    ensure!(why.contains("about to end"), "'slow': {why}");
    Ok(())
}

/// `fed` lived through the supervisor's end, and is restarted once it says nothing more.
fn silence_is_noticed(vm: &mut Vm) -> Outcome {
    let before = vm.unit("fed")?;
    ensure_eq!((before.state, before.restarts, before.says.as_deref()), (State::Ready, 0, Some("feeding")));
    vm.probe("fed", &["write", "/tmp/hush", ""])?;
    let after = vm.wait_unit("fed", "started again", SOON, |unit| {
        unit.state == State::Ready && unit.pid != before.pid && unit.pid.is_some()
    })?;
    ensure_eq!(after.restarts, 1);
    let exit = after.last_exit.ok_or("no exit is known")?;
    ensure_eq!(exit.reason, ExitReason::Unhealthy);
    ensure_eq!(exit.detail.as_deref(), Some("watchdog: no WATCHDOG=1 for 2s"));
    Ok(())
}

/// A client that comes while `porter` is dead and the supervisor is being replaced is served by the next `porter`.
fn door_stays_open(vm: &mut Vm, port: u16) -> Outcome {
    vm.wait_ready(&["porter"])?;
    client::patiently(|| client::echo(&mut client::connect(port)?, "before"))?;
    let before = vm.pid("porter")?;
    vm.probe("keeper", &["write", "/cgroup/units/porter/cgroup.kill", "1"])?;
    vm.wait_unit("porter", "dead", SOON, |unit| unit.state == State::Backoff)?;
    let mut early = client::connect(port)?;
    early.write_all(b"early\n")?;
    replace_supervisor(vm)?;
    let mut answer = [0; 6];
    early.read_exact(&mut answer)?;
    ensure_eq!(&answer, b"early\n");
    vm.wait_ready(&["porter"])?;
    ensure!(vm.pid("porter")? != before, "'porter' was not started again");
    // Nobody is going to serve: that is said.
    vm.berth(&["stop", "porter"], b"")?.ok()?;
    let refused = client::echo(&mut client::connect(port)?, "late");
    ensure!(refused.is_err(), "somebody answers for a unit that is stopped");
    vm.berth(&["start", "porter"], b"")?.ok()?;
    client::patiently(|| client::echo(&mut client::connect(port)?, "again"))
}

/// A signal is answered by the unit's word, a program by its exit code; without `[reload]` there is no way.
fn reloads_come_to_an_end(vm: &mut Vm) -> Outcome {
    vm.wait_ready(&["reader", "stubborn"])?;
    let pid = vm.pid("reader")?;
    ensure_eq!(vm.berth(&["reload", "reader"], b"")?.ok()?, "reader  reloaded\n");
    ensure_eq!(vm.pid("reader")?, pid);
    ensure!(vm.logs("reader")?.contains("reloaded"), "'reader' has not reloaded");
    for (unit, why) in [("stubborn", "exit code 3"), ("slow", "has no [reload]")] {
        let said = vm.berth(&["reload", unit], b"")?;
        ensure!(
            said.code == 4 && said.stderr.contains(why),
            "reload of '{unit}': {} {}",
            said.code,
            said.stderr
        );
    }
    Ok(())
}

/// `hooked` is ready after its first hook and stops after its second; `broken` does not start.
fn hooks_run(vm: &mut Vm) -> Outcome {
    vm.wait_ready(&["hooked"])?;
    ensure_eq!(vm.probe("keeper", &["read", "/trace/log"])?, "started\n");
    vm.berth(&["stop", "hooked"], b"")?.ok()?;
    ensure_eq!(vm.probe("keeper", &["read", "/trace/log"])?, "started\nstopping\n");
    let broken = vm.wait_unit("broken", "failed", SOON, |unit| unit.state == State::Failed)?;
    let exit = broken.last_exit.ok_or("no exit is known")?;
    ensure_eq!(exit.reason, ExitReason::StartFailed);
    ensure_eq!(exit.detail.as_deref(), Some("hook post_start failed: exit code 7"));
    Ok(())
}
