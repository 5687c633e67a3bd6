//! Ends and beginnings of the whole machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use berth_qemu_tests::vm::{BOOT, Options, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};

use crate::lab::Lab;

/// A node with one unit that has a volume.
fn keeper_of_data(lab: &mut Lab) -> Outcome<Vm> {
    let appliance = lab.appliance()?;
    appliance.probe("keeper", &["sleep"], "[mounts.data]\nvolume = \"kept\"\ntarget = \"/data\"\n")?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["keeper"])?;
    ensure_eq!(vm.status()?.node.storage, "data");
    Ok(vm)
}

pub fn power_cut_keeps_what_was_synced(lab: &mut Lab) -> Outcome {
    let mut vm = keeper_of_data(lab)?;
    let mut expect = String::new();
    for round in 1..=lab.times(2, 20) {
        vm.probe("keeper", &["append", "/data/lines", &format!("round {round}")])?;
        expect.push_str(&format!("round {round}\n"));
        vm.cut_power()?;
        vm.start_again()?;
        vm.wait_ready(&["keeper"])?;
        ensure_eq!(vm.probe("keeper", &["read", "/data/lines"])?, expect);
    }
    vm.power_off()
}

pub fn reboot_comes_back(lab: &mut Lab) -> Outcome {
    let mut vm = keeper_of_data(lab)?;
    vm.probe("keeper", &["write", "/data/note", "before"])?;
    let boot_id = |vm: &Vm| vm.probe("keeper", &["read", "/proc/sys/kernel/random/boot_id"]);
    let before = boot_id(&vm)?;
    vm.berth(&["reboot"], b"")?.ok()?;
    vm.wait_for("another boot", BOOT, |vm| Ok((boot_id(vm)? != before).then_some(())))?;
    vm.wait_ready(&["keeper"])?;
    ensure_eq!(vm.probe("keeper", &["read", "/data/note"])?, "before");
    vm.power_off()
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
