//! What a container can see and reach.

use berth_probe::Mount;
use berth_qemu_tests::{Outcome, ensure, ensure_eq};

use crate::lab::Lab;

pub fn container_sees_only_itself(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    let report = vm.report("inside")?;
    ensure_eq!(vm.probe("inside", &["read", "/proc/1/cmdline"])?, "/probe\0sleep\0");
    // Its first process and the one that reports.
    ensure_eq!(report.pids, [1, report.pid]);
    ensure_eq!(report.hostname, "inside");
    ensure_eq!(report.env.get("COLOUR").map(String::as_str), Some("green"));
    ensure_eq!(report.interfaces, ["lo", "eth0"]);
    let own = vm.unit("inside")?.addresses;
    ensure!(
        own.len() == 1 && report.addresses.iter().all(|a| a == "127.0.0.1" || own.contains(a)),
        "its addresses are {:?}, its status says {own:?}",
        report.addresses
    );
    for foreign in ["init", "factory", "lib", "bin"] {
        ensure!(!report.root.iter().any(|name| name == foreign), "'/{foreign}' of the node is visible");
    }
    for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
        ensure_eq!(report.status.get(set).map(String::as_str), Some("0000000000000000"));
    }
    ensure_eq!(report.status.get("NoNewPrivs").map(String::as_str), Some("1"));
    // Standard streams, and the directory that is being read for the report.
    ensure!(report.fds.len() <= 4, "open descriptors: {:?}", report.fds);
    only_own_mounts(&report.mounts)
}

fn only_own_mounts(mounts: &[Mount]) -> Outcome {
    const OWN: [&str; 8] = ["/data", "/dev", "/proc", "/sys", "/tmp", "/run", "/var/tmp", "/etc"];
    for mount in mounts {
        let below = |own: &&str| mount.target == **own || mount.target.starts_with(&format!("{own}/"));
        ensure!(mount.target == "/" || OWN.iter().any(below), "mounted in the container: {mount:?}");
        let read_only = mount.options.split(',').any(|option| option == "ro");
        ensure!(mount.target != "/" || read_only, "the root is writable: {mount:?}");
    }
    Ok(())
}

pub fn container_cannot_touch_the_node(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    for path in [
        "/init",
        "/factory/index.json",
        "/run/berth/control.sock",
        "/etc/berth/node.toml",
        "/proc/kcore",
        "/dev/vda",
        "/proc/1/root/../init",
    ] {
        let said = vm.exec("inside", &["/probe", "read", path])?;
        // What is masked is empty.
        ensure!(said.code != 0 || said.stdout.is_empty(), "'{path}' can be read");
    }
    for path in [
        "/written",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sysrq-trigger",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/power/state",
    ] {
        let said = vm.exec("inside", &["/probe", "write", path, "0"])?;
        ensure!(said.code != 0, "'{path}' can be written");
    }
    // What it may write is its volume.
    vm.probe("inside", &["write", "/data/own", "mine"])?;
    ensure_eq!(vm.probe("inside", &["read", "/data/own"])?, "mine");
    ensure!(vm.exec("echo", &["/probe", "read", "/data/own"])?.code != 0, "another unit sees the volume");
    Ok(())
}

pub fn names_of_units_resolve(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    let address = vm.unit("echo")?.addresses.first().cloned().unwrap_or_default();
    ensure_eq!(vm.probe("inside", &["resolve", "echo"])?.trim(), address);
    ensure_eq!(vm.probe("inside", &["connect", "echo", "7000", "ahoy"])?, "ahoy\n");
    Ok(())
}
