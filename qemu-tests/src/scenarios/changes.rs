//! Unit sets that change under a node.

use std::fs;
use std::path::Path;
use std::process::Command;

use berth_qemu_tests::appliance::probe_unit;
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};

use super::power::keeper_of_data;
use crate::lab::Lab;

/// Keys of the unit that may write to the data disk.
const KEEPER: &str = "[security]\nprofile = \"privileged\"\n\
    [mounts.data]\nbind = \"/data\"\ntarget = \"/node-data\"\nread_only = false\n";

pub fn changed_set_is_taken_whole_or_not_at_all(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    appliance.probe("keeper", &["sleep"], KEEPER)?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["keeper"])?;
    let keeper = vm.pid("keeper")?;
    put_set(&vm, 1, &probe_unit(&["sleep"], ""))?;
    vm.wait_ready(&["extra"])?;
    ensure_eq!(vm.status()?.node.source, "data");
    let extra = vm.pid("extra")?;

    put_set(&vm, 2, &probe_unit(&["sleep"], "[memroy]\nmax = \"8M\"\n"))?;
    vm.wait_for("the fault in the status", SOON, |vm| {
        let fault = vm.status()?.node.fault.unwrap_or_default();
        Ok(fault.contains("memroy").then_some(()))
    })?;
    ensure_eq!([vm.pid("keeper")?, vm.pid("extra")?], [keeper, extra]);

    put_set(&vm, 3, &probe_unit(&["sleep"], "[memory]\nmax = \"8M\"\n"))?;
    vm.wait_unit("extra", "limited", SOON, |unit| unit.memory_max == Some(8 << 20))?;
    ensure_eq!(vm.status()?.node.fault, None);
    ensure_eq!(vm.pid("keeper")?, keeper);
    vm.power_off()
}

/// A whole set takes the place of the one on the data disk: `keeper` as it is, and this `extra`.
fn put_set(vm: &Vm, number: u32, extra: &str) -> Outcome {
    let new = format!("/node-data/set-{number}");
    vm.probe("keeper", &["make-dir", &new])?;
    vm.probe("keeper", &["write", &format!("{new}/keeper.toml"), &probe_unit(&["sleep"], KEEPER)])?;
    vm.probe("keeper", &["write", &format!("{new}/extra.toml"), extra])?;
    let verb = if number == 1 { "rename" } else { "exchange" };
    vm.probe("keeper", &[verb, &new, "/node-data/units"]).map(drop)
}

pub fn faulty_set_on_the_disk_falls_back(lab: &mut Lab) -> Outcome {
    let mut vm = keeper_of_data(lab)?;
    vm.power_off()?;
    put_unit_on_disk(
        &vm.data(),
        "schema = 1\n[image]\nref = \"berth-tests/probe:1\"\n[memroy]\nmax = \"8M\"\n",
    )?;
    vm.start_again()?;
    vm.wait_ready(&["keeper"])?;
    let node = vm.status()?.node;
    ensure_eq!(node.source, "factory");
    let fault = node.fault.unwrap_or_default();
    ensure!(fault.contains("memroy"), "the fault is said as {fault:?}");
    ensure!(vm.console().contains("memroy"), "the console does not say it");
    vm.power_off()
}

/// Writes /data/units/bad.toml into the file system of a node that is off.
fn put_unit_on_disk(disk: &Path, toml: &str) -> Outcome {
    let file = disk.with_extension("toml");
    fs::write(&file, toml)?;
    let script = disk.with_extension("debugfs");
    fs::write(&script, format!("mkdir units\ncd units\nwrite {} bad.toml\n", file.display()))?;
    let output = Command::new("/usr/sbin/debugfs").arg("-w").arg("-f").arg(&script).arg(disk).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // It always exits with 0; its first line names its version.
    ensure!(output.status.success() && said.lines().count() <= 1, "debugfs: {said}");
    Ok(())
}
