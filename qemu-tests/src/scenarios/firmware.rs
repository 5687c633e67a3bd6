//! A disk as `berth build` makes it, booted through UEFI firmware.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use berth_qemu_tests::appliance::Appliance;
use berth_qemu_tests::client::{http_get, mqtt_connect, patiently, redis};
use berth_qemu_tests::control::berth;
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};

use crate::lab::Lab;

const UNITS: [&str; 3] = ["broker", "cache", "web"];
const GIB: u64 = 1 << 30;

/// The data partition has most of its disk of that many GiB.
fn wait_for_room(vm: &mut Vm, disk_gib: u64) -> Outcome {
    vm.wait_for(&format!("a data partition of nearly {disk_gib} GiB"), SOON, |vm| {
        let node = vm.status()?.node;
        ensure_eq!(node.storage, "data");
        let nearly = disk_gib * GIB - GIB / 2..disk_gib * GIB;
        Ok(nearly.contains(&node.storage_total).then_some(()))
    })
}

fn cache_answers(command: &str, answer: &str) -> Outcome {
    patiently(|| {
        ensure_eq!(redis(6379, command)?, answer);
        Ok(())
    })
}

pub fn disk_boots_through_firmware_and_grows(lab: &mut Lab) -> Outcome {
    let dir = lab.own_dir()?;
    let out = dir.join("out");
    berth(&["build", "examples/edge-gateway", "-o", &out.display().to_string()], b"")?.ok()?;
    // What an operator does: onto a larger disk, as it is.
    let disk = dir.join("disk.data");
    fs::copy(out.join("disk.raw"), &disk)?;
    OpenOptions::new().write(true).open(&disk)?.set_len(4 * GIB)?;
    let options = Options { firmware: true, append: Some("berth.test=a,b"), ..Options::default() };
    let mut vm = lab.boot(&Appliance::example("edge-gateway"), &options)?;
    vm.wait_ready(&UNITS)?;
    wait_for_room(&mut vm, 4)?;
    let table = vm.berth(&["status"], b"")?.ok()?;
    ensure!(
        table.contains("data ") && table.contains(" of 3."),
        "no room of the data partition in:\n{table}"
    );
    let page = patiently(|| http_get(8080, "/"))?;
    ensure!(page.contains("It runs under berth"), "nginx said {page:?}");
    patiently(|| mqtt_connect(1883))?;
    // Written and synced: this answer comes after fsync(2).
    cache_answers("CONFIG SET appendfsync always", "+OK")?;
    cache_answers("SET harbour safe", "+OK")?;
    vm.cut_power()?;
    vm.start_again()?;
    vm.wait_ready(&UNITS)?;
    cache_answers("GET harbour", "$4")?;
    wait_for_room(&mut vm, 4)?;
    vm.power_off()?;
    // A disk can become larger again, with data on it.
    let file = OpenOptions::new().write(true).open(&disk)?;
    file.set_len(6 * GIB)?;
    vm.start_again()?;
    vm.wait_ready(&UNITS)?;
    wait_for_room(&mut vm, 6)?;
    cache_answers("GET harbour", "$4")?;
    vm.power_off()?;
    // The first table, torn as by a power cut in the middle of writing it: entries that its header does not fit. The
    // sector of the first four entries, a byte of the third one's name.
    file.write_all_at(b"?", 2 * 512 + 2 * 128 + 56)?;
    vm.start_again()?;
    vm.wait_ready(&UNITS)?;
    wait_for_room(&mut vm, 6)?;
    cache_answers("GET harbour", "$4")?;
    vm.power_off()
}
