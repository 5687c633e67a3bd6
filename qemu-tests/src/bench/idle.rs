//! Who wakes up on a node where nothing happens: fifty containers that sleep.

use std::time::Duration;

use berth_qemu_tests::vm::{Options, Vm};
use berth_qemu_tests::{Outcome, artefacts, ensure};
use berth_units::wire::control::State;

use super::{idle_appliance, row};

const CONTAINERS: usize = 50;
/// How long is looked. Whatever repeats itself more often than that is seen.
const SECONDS: u32 = 60;
const ALL_UP: Duration = Duration::from_secs(300);

/// Measures and prints.
pub fn run() -> Outcome {
    let dir = artefacts::ensure_empty("bench-wake-ups")?;
    let appliance = idle_appliance(&dir, CONTAINERS)?;
    let mut vm = Vm::start(&dir, &appliance, &Options { memory: "512M", ..Options::default() })?;
    vm.wait_for("all containers ready", ALL_UP, |vm| {
        let ready = vm.status()?.units.iter().filter(|unit| unit.state == State::Ready).count();
        if ready > CONTAINERS { Ok(Some(())) } else { Err(format!("{ready} are ready").into()) }
    })?;
    // The kernel tells of the last links only after a while (linkwatch, once a second): that is no idling.
    drop(vm.probe("keeper", &["wake-ups", "/node-proc", "berth", "15"])?);
    let seconds = SECONDS.to_string();
    let text = vm.probe("keeper", &["wake-ups", "/node-proc", "berth", &seconds])?;
    let counts: Vec<(u64, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(n, name)| Some((n.parse().ok()?, name)))
        .collect();
    ensure!(counts.iter().any(|(_, name)| *name == "berth-supervise"), "not seen: {text}");
    let total: u64 = counts.iter().map(|(count, _)| count).sum();
    row(&format!("wake-ups in {SECONDS} s, {CONTAINERS} idle containers"), &total.to_string(), "0", "");
    for (count, name) in counts {
        row(&format!("  {name}"), &count.to_string(), "", "");
    }
    vm.power_off()
}
