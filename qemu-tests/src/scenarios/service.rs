//! Programs of the OS image, in the sandbox of a container.

use std::fs;

use berth_qemu_tests::appliance::{Appliance, PROBE_PROGRAM};
use berth_qemu_tests::vm::SOON;
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::State;

use crate::lab::Lab;

/// Where the node has something and a service has nothing.
const EMPTY: [&str; 4] = ["/data", "/run", "/factory", "/etc/berth"];

fn write_node(appliance: &Appliance) -> Outcome {
    let root = appliance.dir().join("root");
    fs::create_dir_all(&root)?;
    fs::copy(PROBE_PROGRAM, root.join("probe"))?;
    let keys = "[memory]\nmax = \"32M\"\n[restart]\ndelay = \"100ms\"\n";
    appliance.unit("agent", &service(&["sleep"], keys))?;
    let keys = "[network]\nmode = \"none\"\n[depends.agent]\n";
    appliance.unit("once", &format!("type = \"oneshot\"\n{}", service(&["exit", "0"], keys)))?;
    let keys = "[network]\nmode = \"none\"\n[security]\nprofile = \"privileged\"\n\
                [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n\
                [mounts.data]\nbind = \"/data\"\ntarget = \"/seen/data\"\n\
                [mounts.run]\nbind = \"/run\"\ntarget = \"/seen/run\"\n";
    Ok(appliance.probe("keeper", &["sleep"], keys)?)
}

/// The text of a service that runs the probe of the OS image.
fn service(words: &[&str], keys: &str) -> String {
    format!("schema = 1\nkind = \"service\"\n[process]\nentrypoint = [\"/probe\"]\nargs = {words:?}\n{keys}")
}

pub fn service_runs_from_the_os_image(lab: &mut Lab) -> Outcome {
    let vm = lab.node("service", write_node, &["agent", "keeper"])?;
    let agent = vm.unit("agent")?;
    ensure_eq!((agent.kind.as_str(), agent.image, agent.memory_max), ("service", None, Some(32 << 20)));
    ensure_eq!(vm.unit("keeper")?.kind, "container");
    vm.wait_unit("once", "completed", SOON, |unit| unit.state == State::Completed)?;

    // The node has them, or their absence would show nothing.
    ensure!(vm.probe("keeper", &["list", "/seen/data"])?.contains("volumes"), "the node has volumes");
    ensure!(vm.probe("keeper", &["list", "/seen/run"])?.contains("berth"), "the node has /run/berth");
    ensure!(vm.probe("keeper", &["list", "/cgroup"])?.contains("units"), "the node has cgroups of units");
    for folder in EMPTY {
        ensure_eq!((folder, vm.probe("agent", &["list", folder])?.as_str()), (folder, ""));
    }
    let groups = vm.probe("agent", &["list", "/sys/fs/cgroup"])?;
    ensure!(!groups.contains("units"), "a service sees the node's cgroups: {groups}");
    ensure!(vm.probe("agent", &["list", "/bin"])?.contains("berth-netd"), "it sees the OS image");
    ensure!(vm.probe("agent", &["write", "/bin/x", "x"]).is_err(), "it writes to the OS image");
    ensure!(vm.probe("agent", &["write", "/tmp/x", "x"]).is_ok(), "it has no /tmp");
    let report = vm.report("agent")?;
    ensure_eq!(report.status.get("CapEff").map(String::as_str), Some("0000000000000000"));

    let pid = vm.pid("agent")?;
    vm.probe("keeper", &["write", "/cgroup/units/agent/cgroup.kill", "1"])?;
    vm.wait_unit("agent", "ready again", SOON, |unit| {
        unit.state == State::Ready && unit.pid.is_some_and(|now| now != pid)
    })?;
    Ok(())
}
