//! Figures of a node on this machine, beside the limits that are kept and what peers took on a quiet one.
//!
//! Under TCG everything is slow, and other work on the machine makes it slower: compare figures of one run.

mod idle;
mod scale;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth_qemu_tests::appliance::Appliance;
use berth_qemu_tests::control::berth;
use berth_qemu_tests::vm::{BOOT, Options, Vm};
use berth_qemu_tests::{Outcome, artefacts, ensure};
use berth_units::wire::control::{State, Status};

const BOOTS: usize = 3;
const STARTS: usize = 12;
const IDLE: usize = 20;

/// Measures and prints; with the word `boot` only boots and sizes, with `scale` only what needs many units, with `idle`
/// only who wakes up.
pub fn run(words: &[&str]) -> Outcome {
    if words.contains(&"scale") {
        return scale::run();
    }
    if words.contains(&"boot") {
        return boots();
    }
    if words.contains(&"idle") {
        return idle::run();
    }
    boots()?;
    let (pss, starts) = with_idle_containers()?;
    print_memory(&pss);
    print_starts(starts);
    idle::run()?;
    scale::run()
}

fn boots() -> Outcome {
    row("", "here", "limit", "peers, quiet machine");
    let direct = boot_times("bench-boot", false)?;
    print_boot(&direct);
    print_firmware(&direct, &boot_times("bench-firmware", true)?);
    print_sizes()
}

fn row(what: &str, figure: &str, limit: &str, peers: &str) {
    println!("{what:<48} {figure:>12}   {limit:<12} {peers}");
}

/// Seconds to all units ready, one for each boot: from the kernel's start, or from the firmware's handing over to the
/// loader.
fn boot_times(name: &str, firmware: bool) -> Outcome<Vec<f64>> {
    let dir = artefacts::ensure_empty(name)?;
    let options = Options { firmware, ..Options::default() };
    let mut vm = Vm::start(&dir, &Appliance::example("edge-gateway"), &options)?;
    let mut times = Vec::new();
    loop {
        let handed_over = if firmware { Some(firmware_end(&mut vm)?) } else { None };
        vm.wait_ready(&["broker", "cache", "web"])?;
        let status = vm.status()?;
        let ready = all_ready_at(&status);
        times.push(
            handed_over.map_or(ready, |start| start.elapsed().as_secs_f64() - status.node.uptime + ready),
        );
        vm.power_off()?;
        if times.len() == BOOTS {
            return Ok(times);
        }
        vm.start_again()?;
    }
}

/// When the firmware's last line was seen.
fn firmware_end(vm: &mut Vm) -> Outcome<Instant> {
    vm.wait_for_console("BdsDxe: starting", BOOT)?;
    Ok(Instant::now())
}

/// When the last container became ready, in seconds after the kernel started.
fn all_ready_at(status: &Status) -> f64 {
    let ready = status.units.iter().filter(|unit| unit.kind == "container" && unit.state == State::Ready);
    ready.map(|unit| status.node.uptime - unit.since_seconds).fold(0.0, f64::max)
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print_firmware(direct: &[f64], times: &[f64]) {
    row(
        "the same from disk.raw, from where firmware ends",
        &format!("{:.1} s", median(times)),
        &format!("{:.1} s", median(direct) + 1.5),
        "",
    );
}

fn print_boot(times: &[f64]) {
    row(
        "kernel start to three containers ready, 192 MB",
        &format!("{:.1} s", median(times)),
        "6 s",
        "Debian with systemd to multi-user, no container: 14 s",
    );
}

fn print_sizes() -> Outcome {
    let out = PathBuf::from(artefacts::WORK).join("bench-build");
    let built = berth(&["build", "examples/edge-gateway", "-o", &out.display().to_string()], b"")?;
    ensure!(built.code == 0, "{}", built.stderr);
    let size = |name: &str| fs::metadata(out.join(name)).map(|metadata| metadata.len());
    let (kernel, initrd, factory) = (size("kernel")?, size("initrd")?, size("factory.erofs")?);
    row("kernel + initrd", &mib(kernel + initrd), "26 MB", "");
    row("  kernel", &mib(kernel), "", "");
    row("  initrd", &mib(initrd), "", "");
    row("factory store of the three images", &mib(factory), "", "");
    row("os.efi", &mib(size("os.efi")?), "28 MB", "");
    row("disk.raw, as it is on a disk", &mib(fs::metadata(out.join("disk.raw"))?.blocks() * 512), "", "");
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

/// KiB of memory and the name of a process.
type Pss = (String, u64);

/// Memory of our processes, and how long starts took, on a node with idle containers.
fn with_idle_containers() -> Outcome<(Vec<Pss>, Vec<Duration>)> {
    let dir = artefacts::ensure_empty("bench-idle")?;
    let appliance = idle_appliance(&dir, IDLE)?;
    let mut vm = Vm::start(&dir, &appliance, &Options { memory: "256M", ..Options::default() })?;
    let names: Vec<String> = (1..=IDLE).map(|number| format!("idle-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    vm.wait_ready(&names)?;
    vm.wait_ready(&["keeper"])?;
    let pss = vm.probe("keeper", &["pss", "/node-proc", "berth"])?;
    let parse = |line: &str| {
        let (kib, name) = line.split_once(' ')?;
        Some((name.to_owned(), kib.parse().ok()?))
    };
    let pss = pss.lines().filter_map(parse).collect();
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        vm.berth(&["stop", "idle-1"], b"")?.ok()?;
        vm.wait_unit("idle-1", "stopped", Duration::from_secs(30), |unit| unit.state == State::Stopped)?;
        let before = Instant::now();
        vm.berth(&["start", "idle-1"], b"")?.ok()?;
        vm.wait_unit("idle-1", "ready", Duration::from_secs(30), |unit| unit.state == State::Ready)?;
        starts.push(before.elapsed());
    }
    vm.power_off()?;
    Ok((pss, starts))
}

/// That many containers that sleep, and one that sees the processes of the node.
fn idle_appliance(dir: &Path, containers: usize) -> Outcome<Appliance> {
    let appliance = Appliance::new(dir)?;
    for number in 1..=containers {
        appliance.probe(&format!("idle-{number}"), &["sleep"], "[memory]\nmax = \"8M\"\n")?;
    }
    appliance.probe(
        "keeper",
        &["sleep"],
        "[security]\nprofile = \"privileged\"\n[mounts.proc]\nbind = \"/proc\"\ntarget = \"/node-proc\"\n",
    )?;
    Ok(appliance)
}

fn print_memory(pss: &[Pss]) {
    let total: u64 = pss.iter().map(|(_, kib)| kib).sum();
    row(
        &format!("PSS of all our processes, {IDLE} idle containers"),
        &mib(total * 1024),
        "16 MB",
        "dockerd, containerd and shims 290 MB; systemd itself 18 MB; conmon 7 MB",
    );
    for (name, kib) in pss {
        row(&format!("  {name}"), &mib(kib * 1024), "", "");
    }
}

fn print_starts(mut starts: Vec<Duration>) {
    starts.sort();
    let median = starts.get(starts.len() / 2).copied().unwrap_or_default();
    row(
        "berth start to ready, on a bridge, asked from outside",
        &format!("{} ms", median.as_millis()),
        "",
        "crun without network 71 ms, podman on a bridge 1775 ms, docker run 2980 ms",
    );
}
