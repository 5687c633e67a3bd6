//! Ends and beginnings of the whole machine.

use berth_qemu_tests::vm::{BOOT, Options, Vm};
use berth_qemu_tests::{Outcome, ensure_eq};

use crate::lab::Lab;

/// A node with one unit that has a volume.
pub(super) fn keeper_of_data(lab: &mut Lab) -> Outcome<Vm> {
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
