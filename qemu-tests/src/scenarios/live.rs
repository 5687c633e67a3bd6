//! Changes of units that run: in place where that can be, and put right when somebody else makes them.

use std::time::{Duration, Instant};

use berth_qemu_tests::appliance::{Appliance, probe_unit};
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::State;

use crate::lab::Lab;

/// Keys of the unit that may do anything to the node.
const KEEPER: &str = "[security]\nprofile = \"privileged\"\n\
    [mounts.data]\nbind = \"/data\"\ntarget = \"/node-data\"\nread_only = false\n\
    [mounts.proc]\nbind = \"/proc\"\ntarget = \"/node-proc\"\nread_only = false\n\
    [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n";

/// How soon drift is put right; a look from outside takes some of it under TCG.
const REPAIR: Duration = Duration::from_secs(5);

/// The units of the node by name and text; `limit` is the memory of one of them.
fn units(limit: &str, further: &str) -> Vec<(&'static str, String)> {
    let web = format!("[memory]\nmax = \"{limit}\"\n{further}");
    vec![
        ("keeper", probe_unit(&["sleep"], KEEPER)),
        ("web", probe_unit(&["sleep"], &web)),
        ("other", probe_unit(&["sleep"], "[depends.web]\n")),
        ("stray", probe_unit(&["stray", "stray"], KEEPER)),
    ]
}

fn write_units(appliance: &Appliance, units: &[(&'static str, String)]) -> Outcome {
    units.iter().try_for_each(|(name, text)| Ok(appliance.unit(name, text)?))
}

/// Puts a set in the place of the one on the data disk by hand, without any command of ours.
fn put_by_hand(vm: &Vm, units: &[(&'static str, String)], verb: &str) -> Outcome {
    vm.probe("keeper", &["make-dir", "/node-data/by-hand"])?;
    for (name, text) in units {
        vm.probe("keeper", &["write", &format!("/node-data/by-hand/{name}.toml"), text])?;
    }
    vm.probe("keeper", &[verb, "/node-data/by-hand", "/node-data/units"]).map(drop)
}

fn pids(vm: &Vm) -> Outcome<[i32; 4]> {
    Ok([vm.pid("keeper")?, vm.pid("web")?, vm.pid("other")?, vm.pid("stray")?])
}

fn knob(vm: &Vm, unit: &str, knob: &str) -> Outcome<String> {
    Ok(vm.probe("keeper", &["read", &format!("/cgroup/units/{unit}/{knob}")])?.trim().to_owned())
}

pub fn limits_change_in_place(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    write_units(&appliance, &units("16M", ""))?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["keeper", "web", "other", "stray"])?;
    let before = pids(&vm)?;
    returns_to_its_cgroup(&mut vm, before[3])?;

    put_by_hand(&vm, &units("24M", "[cpu]\nweight = 50\n[restart]\npolicy = \"never\"\n"), "rename")?;
    vm.wait_unit("web", "limited anew", SOON, |unit| unit.memory_max == Some(24 << 20))?;
    ensure_eq!(knob(&vm, "web", "cpu.weight")?, "50");
    ensure_eq!(pids(&vm)?, before);

    drift_is_put_right(&mut vm, "memory.max", "max", &(24 << 20).to_string())?;
    drift_is_put_right(&mut vm, "pids.max", "7", "4096")?;
    // A limit that nobody has asked for is drift as well.
    drift_is_put_right(&mut vm, "cpu.max", "1000 100000", "max 100000")?;
    ensure_eq!(pids(&vm)?, before);
    ensure!(!vm.console().contains("does not settle"), "the plan does not settle");

    drift_without_a_supervisor(&mut vm)?;
    ensure_eq!(pids(&vm)?, before);
    vm.power_off()
}

/// Somebody changes a limit of `web`.
fn drift_is_put_right(vm: &mut Vm, name: &str, wrong: &str, right: &str) -> Outcome {
    vm.probe("keeper", &["write", &format!("/cgroup/units/web/{name}"), wrong])?;
    let start = Instant::now();
    vm.wait_for(&format!("{name} {right}"), SOON, |vm| Ok((knob(vm, "web", name)? == right).then_some(())))?;
    ensure!(start.elapsed() < REPAIR, "{name} was put back after {:?}", start.elapsed());
    Ok(())
}

/// The same while the supervisor cannot see it: the next one looks for itself.
fn drift_without_a_supervisor(vm: &mut Vm) -> Outcome {
    // The command loses its connection: it goes through the supervisor that dies.
    drop(vm.exec("keeper", &["/probe", "unseen", "/cgroup/units/web/memory.max", "max"])?);
    vm.wait_for("memory.max put back", SOON, |vm| {
        let restarts = vm.status()?.node.restarts;
        let is_next = restarts.get("supervise").is_some_and(|count| *count > 0);
        Ok((is_next && knob(vm, "web", "memory.max")? == (24 << 20).to_string()).then_some(()))
    })
}

/// `stray` has left its cgroup and removed it as soon as it ran.
fn returns_to_its_cgroup(vm: &mut Vm, pid: i32) -> Outcome {
    let home = "0::/units/stray";
    vm.wait_for("stray in its cgroup", SOON, |vm| {
        let gone = vm.logs("stray")?.contains("the cgroup is gone");
        let place = vm.probe("keeper", &["read", &format!("/node-proc/{pid}/cgroup")])?;
        Ok((gone && place.trim() == home).then_some(()))
    })?;
    ensure_eq!(knob(vm, "stray", "pids.max")?, "4096");
    vm.wait_unit("stray", "ready", SOON, |unit| unit.state == State::Ready && unit.pid == Some(pid)).map(drop)
}
