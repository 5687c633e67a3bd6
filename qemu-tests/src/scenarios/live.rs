//! Changes of units that run: in place where that can be, and put right when somebody else makes them.

use std::time::{Duration, Instant};

use berth_qemu_tests::appliance::{Appliance, probe_unit};
use berth_qemu_tests::control::Said;
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
    vm.wait_for("stray in its cgroup", SOON, |vm| {
        let gone = vm.logs("stray")?.contains("the cgroup is gone");
        let place = vm.probe("keeper", &["read", &format!("/node-proc/{pid}/cgroup")])?;
        Ok((gone && place.trim().ends_with("/stray")).then_some(()))
    })?;
    ensure_eq!(knob(vm, "stray", "pids.max")?, "4096");
    vm.wait_unit("stray", "ready", SOON, |unit| unit.state == State::Ready && unit.pid == Some(pid)).map(drop)
}

/// A set that bears a number in two of its units, so that a mixture would show.
fn numbered(number: u32, colour: &str) -> Vec<(&'static str, String)> {
    let soon = "[update]\nhealthy_for = \"1s\"\n";
    let web = format!("{soon}[memory]\nmax = \"{}M\"\n[env]\nCOLOUR = \"{colour}\"\n", 16 + number);
    let other = format!("{soon}[pids]\nmax = {}\n", 100 + number);
    vec![
        ("keeper", probe_unit(&["sleep"], &format!("{soon}{KEEPER}"))),
        ("web", probe_unit(&["sleep"], &web)),
        ("other", probe_unit(&["sleep"], &other)),
    ]
}

/// The number of the set in force, once both units agree on it.
fn number(vm: &Vm) -> Outcome<Option<u64>> {
    let memory = vm.unit("web")?.memory_max.unwrap_or_default() >> 20;
    let pids: u64 = knob(vm, "other", "pids.max")?.parse()?;
    Ok((memory.checked_sub(16) == pids.checked_sub(100)).then_some(memory - 16))
}

/// Runs `berth` with a set in a directory of its own.
fn with_set(vm: &Vm, words: &[&str], units: &[(&'static str, String)]) -> Outcome<Said> {
    let dir = vm.dir().join("set");
    drop(std::fs::remove_dir_all(&dir));
    let set = Appliance::new(&dir)?;
    write_units(&set, units)?;
    let path = set.dir().display().to_string();
    vm.berth(&[words, &[&path]].concat(), b"")
}

pub fn sets_are_applied_whole(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    write_units(&appliance, &numbered(0, "red"))?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["keeper", "web", "other"])?;
    let pids = |vm: &Vm| -> Outcome<[i32; 3]> { Ok([vm.pid("keeper")?, vm.pid("web")?, vm.pid("other")?]) };
    let before = pids(&vm)?;

    let said = with_set(&vm, &["diff"], &numbered(8, "red"))?.ok()?;
    ensure!(said.contains("memory.max 16M -> 24M") && said.contains("2 would change"), "diff: {said}");
    ensure_eq!((vm.status()?.node.source.as_str(), number(&vm)?), ("factory", Some(0)));

    let said = with_set(&vm, &["apply"], &numbered(8, "red"))?.ok()?;
    ensure!(said.contains("in place") && said.ends_with("good     revision 1\n"), "apply: {said}");
    vm.wait_for("both limits", SOON, |vm| Ok((number(vm)? == Some(8)).then_some(())))?;
    ensure_eq!((vm.status()?.node.source.as_str(), pids(&vm)?), ("data", before));
    ensure!(
        with_set(&vm, &["apply"], &numbered(8, "red"))?.ok()?.contains("nothing changes"),
        "not the same"
    );

    refusals_change_nothing(&vm)?;
    ensure_eq!((number(&vm)?, pids(&vm)?), (Some(8), before));

    let said = with_set(&vm, &["apply"], &numbered(8, "blue"))?.ok()?;
    ensure!(said.contains("recreate  env.COLOUR") && !said.contains("blue"), "apply: {said}");
    let after = pids(&vm)?;
    ensure_eq!([after[0], after[2]], [before[0], before[2]]);
    ensure!(after[1] != before[1], "web has its old process");

    killed_in_the_middle(&mut vm, lab.times(4, 50))?;
    ensure_eq!(vm.pid("keeper")?, before[0]);
    vm.power_off()
}

/// Every fault is told; one that only the node can find looks like the others.
fn refusals_change_nothing(vm: &Vm) -> Outcome {
    let faults = [("web", "[memroy]\nmax = 1\n"), ("other", "[cpuu]\nmax = 1\n")];
    let with_fault = |(name, text): (&'static str, String)| {
        let fault = faults.iter().find(|(unit, _)| *unit == name).map_or("", |(_, fault)| fault);
        (name, text + fault)
    };
    let faulty: Vec<_> = numbered(9, "red").into_iter().map(with_fault).collect();
    let said = with_set(vm, &["apply"], &faulty)?;
    ensure!(said.code == 1 && said.stderr.contains("memroy") && said.stderr.contains("cpuu"), "{said:?}");
    let without_image = |(name, text): (&'static str, String)| match name {
        "web" => (name, text.replace("berth-tests/probe:1", "berth-tests/absent:1")),
        _ => (name, text),
    };
    let absent: Vec<_> = numbered(9, "red").into_iter().map(without_image).collect();
    let said = with_set(vm, &["apply"], &absent)?;
    let place = "units/web.toml:4:7: error[BU0504]";
    ensure!(said.code == 1 && said.stderr.contains(place), "{said:?}");
    Ok(())
}

/// The supervisor, or the process that stores the set, is killed while a set is applied: a little later each time.
fn killed_in_the_middle(vm: &mut Vm, times: u32) -> Outcome {
    for round in 1..=times {
        let old = vm.wait_for("a set", SOON, number)?;
        let new = if old == u64::from(100 + round) { 8 } else { 100 + round };
        let victim = if round % 3 == 0 { "session" } else { "supervise" };
        let node: &Vm = vm;
        std::thread::scope(|scope| {
            let applying =
                scope.spawn(|| with_set(node, &["apply", "--no-wait"], &numbered(new, "blue")).is_ok());
            std::thread::sleep(Duration::from_millis(u64::from(round * 37 % 600)));
            let kill = format!("/cgroup/system/{victim}/cgroup.kill");
            // The command itself goes through those that die.
            drop(node.probe("keeper", &["write", &kill, "1"]));
            applying.join().is_ok()
        });
        let found = vm.wait_for("one set or the other", SOON, |vm| {
            let status = vm.status()?;
            ensure!(status.node.fault.is_none(), "the set is refused: {:?}", status.node.fault);
            number(vm)
        })?;
        ensure!(found == old || found == u64::from(new), "set {found}, neither {old} nor {new}");
    }
    Ok(())
}
