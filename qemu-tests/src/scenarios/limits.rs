//! cgroup limits, and what the node owes to processes without a parent.

use berth_probe::Burnt;
use berth_qemu_tests::vm::{SOON, Vm};
use berth_qemu_tests::{Outcome, client, ensure, ensure_eq};
use berth_units::wire::control::{ExitReason, State};

use crate::lab::Lab;

/// A neighbour that must not notice: its process and that it answers.
struct Neighbour {
    pid: i32,
    port: u16,
}

impl Neighbour {
    fn of(lab: &mut Lab) -> Outcome<Self> {
        let port = lab.echo_port()?;
        Ok(Self { pid: lab.probes()?.pid("echo")?, port })
    }

    fn goes_on(&self, vm: &Vm) -> Outcome {
        ensure_eq!(vm.pid("echo")?, self.pid);
        client::echo(&mut client::connect(self.port)?, "still there")
    }
}

pub fn memory_limit_kills_the_offender(lab: &mut Lab) -> Outcome {
    let neighbour = Neighbour::of(lab)?;
    let vm = lab.probes()?;
    vm.berth(&["start", "hog"], b"")?.ok()?;
    let unit = vm.wait_unit("hog", "killed", SOON, |unit| unit.last_exit.is_some())?;
    ensure_eq!(unit.last_exit.map(|exit| exit.reason), Some(ExitReason::Oom));
    ensure_eq!(unit.memory_max, Some(16 << 20));
    ensure!(vm.logs("hog")?.contains("holding 8 MiB"), "it did not come to half of its limit");
    neighbour.goes_on(vm)
}

pub fn pids_limit_stops_a_fork_bomb(lab: &mut Lab) -> Outcome {
    let neighbour = Neighbour::of(lab)?;
    let vm = lab.probes()?;
    vm.berth(&["start", "bomb"], b"")?.ok()?;
    vm.wait_for("the bomb at its limit", SOON, |vm| {
        Ok(vm.logs("bomb")?.contains("cannot fork").then_some(()))
    })?;
    let unit = vm.unit("bomb")?;
    ensure!(unit.pids.is_some_and(|pids| (2..=24).contains(&pids)), "pids: {:?}", unit.pids);
    neighbour.goes_on(vm)?;
    vm.berth(&["stop", "bomb"], b"")?.ok()?;
    let unit = vm.wait_unit("bomb", "stopped", SOON, |unit| unit.state == State::Stopped)?;
    ensure!(unit.pids.unwrap_or(0) == 0, "processes are left: {:?}", unit.pids);
    neighbour.goes_on(vm)
}

pub fn cpu_limit_holds(lab: &mut Lab) -> Outcome {
    let neighbour = Neighbour::of(lab)?;
    let vm = lab.probes()?;
    vm.berth(&["start", "half"], b"")?.ok()?;
    vm.wait_ready(&["half"])?;
    let burnt: Burnt = serde_json::from_str(&vm.probe("half", &["burn-cpu", "5", "2"])?)?;
    let share = burnt.cpu / burnt.wall;
    ensure!((share - 0.5).abs() <= 0.5 * 0.15, "{share:.3} processors where 0.5 are allowed");
    neighbour.goes_on(vm)?;
    vm.berth(&["stop", "half"], b"")?.ok().map(drop)
}

pub fn orphans_are_reaped(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    let before = init_memory(vm)?;
    vm.probe("inside", &["orphans", "10000"])?;
    let left = vm.wait_for("no process too many in the container", SOON, |vm| {
        let pids = vm.report("inside")?.pids.len();
        if pids == 2 { Ok(Some(pids)) } else { Err(format!("{pids} processes").into()) }
    })?;
    ensure_eq!(left, 2);
    // Processes of the node itself: every exec is one more that PID 1 has to reap.
    for _ in 0..20 {
        vm.probe("inside", &["exit", "0"])?;
    }
    let after = init_memory(vm)?;
    ensure!(after <= before + 64, "PID 1 grew from {before} KiB to {after} KiB");
    Ok(())
}

/// VmRSS of PID 1 in KiB, read by the unit that may look at the node's /proc.
fn init_memory(vm: &Vm) -> Outcome<u64> {
    let status = vm.probe("keeper", &["read", "/node-proc/1/status"])?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS of PID 1")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
