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
        client::patiently(|| client::echo(&mut client::connect(self.port)?, "still there"))
    }
}

pub fn memory_limit_kills_the_offender(lab: &mut Lab) -> Outcome {
    let neighbour = Neighbour::of(lab)?;
    let vm = lab.probes()?;
    vm.berth(&["start", "hog"], b"")?.ok()?;
    let unit = vm.wait_unit("hog", "killed", SOON, |unit| unit.last_exit.is_some())?;
    ensure_eq!(unit.last_exit.map(|exit| exit.reason), Some(ExitReason::Oom));
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

/// Processes whose parent is gone, made in one go.
const ORPHANS: u64 = 10_000;

pub fn orphans_in_a_container_are_reaped(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    vm.probe("inside", &["orphans", &ORPHANS.to_string()])?;
    vm.wait_for("no process too many in the container", SOON, |vm| {
        let pids = vm.report("inside")?.pids.len();
        if pids == 2 { Ok(Some(())) } else { Err(format!("{pids} processes").into()) }
    })
}

/// The kernel starts the handler of core dumps outside of all containers: there the probe makes its orphans.
pub fn orphans_of_the_node_are_reaped(lab: &mut Lab) -> Outcome {
    const PATTERN: &str = "/node-proc/sys/kernel/core_pattern";
    let vm = lab.probes()?;
    let before = (init_memory(vm)?, forks(vm)?, processes(vm)?);
    let handler = format!("|/proc/{}/root/probe orphans {ORPHANS}", vm.pid("keeper")?);
    vm.probe("keeper", &["write", PATTERN, &handler])?;
    let said = vm.exec("keeper", &["/probe", "abort"])?;
    ensure_eq!(said.code, 128 + 6);
    vm.probe("keeper", &["write", PATTERN, "core"])?;
    vm.wait_for("all orphans made and reaped", SOON * 5, |vm| {
        let (made, alive) = (forks(vm)? - before.1, processes(vm)?);
        // A process that looks is one more; kernel threads come and go.
        let done = made >= ORPHANS && alive <= before.2 + 10;
        if done { Ok(Some(())) } else { Err(format!("{made} made, {alive} processes").into()) }
    })?;
    let after = init_memory(vm)?;
    ensure!(after <= before.0 + 64, "PID 1 grew from {} KiB to {after} KiB", before.0);
    Ok(())
}

/// Processes started since boot: `processes` of /proc/stat.
fn forks(vm: &Vm) -> Outcome<u64> {
    let stat = vm.probe("keeper", &["read", "/node-proc/stat"])?;
    let line = stat.lines().find_map(|line| line.strip_prefix("processes ")).ok_or("no line 'processes'")?;
    Ok(line.trim().parse()?)
}

/// Processes on the node, zombies among them.
fn processes(vm: &Vm) -> Outcome<usize> {
    let names = vm.probe("keeper", &["list", "/node-proc"])?;
    Ok(names.lines().filter(|name| name.parse::<u32>().is_ok()).count())
}

/// VmRSS of PID 1 in KiB, read by the unit that may look at the node's /proc.
fn init_memory(vm: &Vm) -> Outcome<u64> {
    let status = vm.probe("keeper", &["read", "/node-proc/1/status"])?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS of PID 1")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
