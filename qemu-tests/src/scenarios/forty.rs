//! Forty units that need each other, and a supervisor that is killed while they start and stop.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_qemu_tests::appliance::Appliance;
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::{State, UnitStatus};

use crate::lab::Lab;

const UNITS: usize = 40;
/// A round of all forty under TCG.
const ROUND: Duration = SOON.saturating_mul(4);

/// Those that a unit needs: two of the units before it, so that the graph is wide and six levels deep.
fn needs(unit: usize) -> impl Iterator<Item = usize> {
    let parents = if unit == 0 { [None, None] } else { [Some((unit - 1) / 2), Some(unit / 3)] };
    let [first, second] = parents;
    first.into_iter().chain(second.filter(|second| Some(*second) != first))
}

fn name(unit: usize) -> String {
    format!("n{unit:02}")
}

fn write_units(appliance: &Appliance) -> Outcome {
    const LEAN: &str = "[network]\nmode = \"none\"\n[restart]\ndelay = \"100ms\"\n[memory]\nmax = \"8M\"\n";
    for unit in 0..UNITS {
        let depends: String = needs(unit).map(|on| format!("[depends.{}]\n", name(on))).collect();
        appliance.probe(&name(unit), &["sleep"], &format!("{LEAN}{depends}"))?;
    }
    let keeper = "[network]\nmode = \"none\"\n[security]\nprofile = \"privileged\"\n\
                  [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n";
    Ok(appliance.probe("keeper", &["sleep"], keeper)?)
}

/// Waits until all forty are ready.
fn all_ready(vm: &mut Vm) -> Outcome<BTreeMap<String, UnitStatus>> {
    vm.wait_for("forty ready units", ROUND, |vm| {
        let status = vm.status()?;
        let forty =
            status.units.into_iter().filter(|unit| unit.name.starts_with('n') && unit.kind == "container");
        let forty: BTreeMap<_, _> = forty.map(|unit| (unit.name.clone(), unit)).collect();
        let open: Vec<_> =
            forty.values().filter(|unit| unit.state != State::Ready).map(|unit| &unit.name).collect();
        match open.is_empty() && forty.len() == UNITS {
            true => Ok(Some(forty)),
            false => Err(format!("not ready: {open:?}").into()),
        }
    })
}

/// Nobody became ready before somebody that it needs.
fn in_order(units: &BTreeMap<String, UnitStatus>) -> Outcome {
    let since =
        |unit: usize| units.get(&name(unit)).map(|unit| unit.since_seconds).ok_or("a unit is missing");
    for unit in 0..UNITS {
        for on in needs(unit) {
            let (own, other) = (since(unit)?, since(on)?);
            // One clock, read once: the age of both is measured at the same moment, give or take the reading.
            ensure!(own <= other + 0.01, "{} is ready for {own} s, {} for {other} s", name(unit), name(on));
        }
    }
    Ok(())
}

pub fn forty_units_converge_whatever_kills_the_supervisor(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    write_units(&appliance)?;
    let mut vm = lab.boot(&appliance, &Options { memory: "384M", ..Options::default() })?;
    let mut units = all_ready(&mut vm)?;
    in_order(&units)?;
    vm.wait_ready(&["keeper"])?;
    for round in 0..lab.times(3, 20) {
        let asked = vm.berth(&["restart", "--no-wait", &name(0)], b"")?;
        ensure!(asked.code == 0, "{}", asked.stderr);
        // Somewhere between the first stop and the last start: no two rounds at the same place.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 397 % 2600));
        drop(vm.probe("keeper", &["write", "/cgroup/system/supervise/cgroup.kill", "1"]));
        vm.wait_for("another supervisor", SOON, |vm| {
            let restarts = vm.status()?.node.restarts;
            Ok((restarts.get("supervise") > Some(&u64::from(round))).then_some(()))
        })?;
        let next = all_ready(&mut vm)?;
        in_order(&next).map_err(|error| format!("round {round}: {error}"))?;
        let kept: Vec<_> = next
            .values()
            .filter(|unit| units.get(&unit.name).is_some_and(|old| old.pid == unit.pid))
            .collect();
        ensure!(kept.is_empty(), "round {round}: {} units were not restarted", kept.len());
        let failed: Vec<_> = next.values().filter(|unit| unit.restarts > 0).map(|unit| &unit.name).collect();
        ensure!(failed.is_empty(), "round {round}: {failed:?} were restarted for a fault");
        units = next;
    }
    stops_in_reverse(&mut vm)
}

fn stops_in_reverse(vm: &mut Vm) -> Outcome {
    let before = vm.console().len();
    vm.power_off()?;
    let console = vm.console();
    let lines: Vec<&str> = console.get(before..).unwrap_or_default().lines().map(str::trim_end).collect();
    let at = |unit: usize| lines.iter().position(|line| line.ends_with(&format!(" {} stopped", name(unit))));
    for unit in 0..UNITS {
        let own = at(unit).ok_or_else(|| format!("the console does not say that {} stopped", name(unit)))?;
        for on in needs(unit) {
            ensure!(at(on).is_some_and(|other| own < other), "{} stopped before {}", name(on), name(unit));
        }
    }
    ensure_eq!(lines.iter().filter(|line| line.ends_with(" stopped") && line.contains(" n")).count(), UNITS);
    Ok(())
}
