//! Processes that are killed: containers, and our own while traffic flows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use berth_qemu_tests::appliance::Appliance;
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, client, ensure, ensure_eq};
use berth_units::wire::control::{ExitReason, State};

use super::commands::every_line_once;
use crate::lab::Lab;

/// SIGKILL to every process of a cgroup of the node, written by the unit that may.
fn kill_cgroup(vm: &Vm, path: &str) -> Outcome {
    vm.probe("keeper", &["write", &format!("/cgroup/{path}/cgroup.kill"), "1"]).map(drop)
}

pub fn killed_container_comes_back(lab: &mut Lab) -> Outcome {
    let port = lab.echo_port()?;
    let vm = lab.probes()?;
    let before = vm.unit("echo")?;
    kill_cgroup(vm, "units/echo")?;
    let after = vm.wait_unit("echo", "ready with a new process", SOON, |unit| {
        unit.state == State::Ready && unit.pid != before.pid
    })?;
    ensure_eq!(after.restarts, before.restarts + 1);
    let exit = after.last_exit.ok_or("no last exit")?;
    ensure_eq!((exit.reason, exit.signal), (ExitReason::Signal, Some(9)));
    ensure_eq!(after.addresses, before.addresses);
    client::patiently(|| client::echo(&mut client::connect(port)?, "again"))
}

pub fn crash_loop_backs_off(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    let start = Instant::now();
    // It may already have ended again when the command looks.
    drop(vm.berth(&["start", "crasher"], b"")?);
    let unit = vm.wait_unit("crasher", "in backoff for the fourth time", SOON, |unit| {
        unit.state == State::Backoff && unit.restarts >= 4
    })?;
    // 0.5, 1 and 2 s at least were waited by then.
    let waited = start.elapsed();
    ensure!(waited >= Duration::from_millis(3400), "four ends within {waited:?}");
    let exit = unit.last_exit.ok_or("no last exit")?;
    ensure_eq!((exit.reason, exit.code), (ExitReason::Exit, Some(3)));
    ensure!(unit.next_try.is_some(), "no time of the next try");
    vm.berth(&["stop", "crasher"], b"")?.ok()?;
    vm.wait_unit("crasher", "stopped", SOON, |unit| unit.state == State::Stopped).map(drop)
}

/// Lines that the talkative unit writes a second.
const RATE: u32 = 100;

pub fn our_processes_may_die(lab: &mut Lab) -> Outcome {
    let port = client::free_port()?;
    let appliance = lab.appliance()?;
    let (lines, leavers) = (lab.times(4000, 60_000), lab.times(3, 12));
    write_traffic(&appliance, port, lines, leavers)?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["echo", "keeper", "talker"])?;
    let pids = [vm.pid("echo")?, vm.pid("keeper")?, vm.pid("talker")?];
    let times = lab.times(4, 50);
    let stop = AtomicBool::new(false);
    let (killed, talk) = thread::scope(|scope| {
        let talk = scope.spawn(|| keep_talking(port, &stop));
        let killed = kill_ours(&mut vm, times);
        stop.store(true, Ordering::Relaxed);
        (killed, talk.join())
    });
    killed?;
    let exchanged = talk.map_err(|_| "the talking thread panicked")??;
    ensure!(exchanged > 20, "only {exchanged} lines went through the connection");
    ensure_eq!([vm.pid("echo")?, vm.pid("keeper")?, vm.pid("talker")?], pids);
    for number in 1..=leavers {
        let unit =
            vm.wait_unit(&format!("leaver-{number}"), "gone", SOON, |unit| unit.state == State::Failed)?;
        ensure_eq!(unit.last_exit.and_then(|exit| exit.code), i32::try_from(number).ok());
    }
    all_lines_are_there(&mut vm, lines)?;
    client::patiently(|| client::echo(&mut client::connect(port)?, "a new connection"))
}

fn write_traffic(appliance: &Appliance, port: u16, lines: u32, leavers: u32) -> Outcome {
    let published = format!("[ports.echo]\nhost = {port}\ncontainer = 7000\n");
    appliance.probe("echo", &["serve", "7000"], &published)?;
    appliance.probe("talker", &["spew-on", &lines.to_string(), &RATE.to_string()], "")?;
    appliance.probe(
        "keeper",
        &["sleep"],
        "[security]\nprofile = \"privileged\"\n\
         [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n",
    )?;
    // They end while somebody is being killed; nobody may miss how.
    for number in 1..=leavers {
        let words = ["exit-after", &(4 * number).to_string(), &number.to_string()];
        appliance.probe(&format!("leaver-{number}"), &words, "[restart]\npolicy = \"never\"\n")?;
    }
    Ok(())
}

/// Kills the supervisor, netd and the log process in turn, and waits each time until it was replaced.
fn kill_ours(vm: &mut Vm, times: u32) -> Outcome {
    for round in 1..=u64::from(times) {
        for name in ["supervise", "netd", "log"] {
            // The command itself may lose its connection when it is the supervisor that dies.
            drop(kill_cgroup(vm, &format!("system/{name}")));
            vm.wait_for(&format!("restart {round} of {name}"), SOON, |vm| {
                let restarts = vm.status()?.node.restarts;
                let count = restarts.get(name).copied().unwrap_or(0);
                if count >= round { Ok(Some(())) } else { Err(format!("restarts: {restarts:?}").into()) }
            })?;
        }
    }
    Ok(())
}

/// Sends a line and waits for it to come back, over and over on one connection.
fn keep_talking(port: u16, stop: &AtomicBool) -> Outcome<u64> {
    let mut stream = client::connect(port)?;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        client::echo(&mut stream, &format!("line {count}"))
            .map_err(|error| format!("the connection failed after {count} lines: {error}"))?;
        count += 1;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(count)
}

fn all_lines_are_there(vm: &mut Vm, count: u32) -> Outcome {
    let last = format!("line {count}");
    let limit = SOON + Duration::from_secs(u64::from(count / RATE));
    let logs = vm.wait_for("the last log line", limit, |vm| {
        let logs = vm.logs("talker")?;
        Ok(logs.lines().any(|line| line.ends_with(&last)).then_some(logs))
    })?;
    every_line_once(&logs, u64::from(count))
}
