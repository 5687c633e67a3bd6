//! What is changed behind berth's back is put right.

use berth_qemu_tests::vm::{Options, Vm};
use berth_qemu_tests::{Outcome, client, ensure, ensure_eq};
use berth_units::Name;
use berth_units::wire::net::{bridge_ifname, host_ifname};

use crate::lab::Lab;

/// All rights over the node's network.
const KEEPER: &str = "[network]\nmode = \"host\"\n[security]\nprofile = \"privileged\"\n\
    [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n";

pub fn network_is_put_right(lab: &mut Lab) -> Outcome {
    let port = client::free_port()?;
    let appliance = lab.appliance()?;
    let published = format!("[ports.echo]\nhost = {port}\ncontainer = 7000\n");
    appliance.probe("echo", &["serve", "7000"], &published)?;
    appliance.probe("keeper", &["sleep"], KEEPER)?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["echo", "keeper"])?;
    let pid = vm.pid("echo")?;
    let (echo, default) = (Name::parse("echo")?, Name::parse("default")?);
    let (veth, bridge) = (host_ifname(&echo, &default), bridge_ifname(&default));
    answers(port, "before")?;
    for harm in [["delete-link", &veth], ["delete-link", &bridge], ["delete-table", "berth"]] {
        vm.probe("keeper", &harm)?;
        answers(port, &harm.join(" "))?;
    }
    // A netd that was not there when it happened finds it, too.
    kill_netd(&mut vm)?;
    vm.probe("keeper", &["delete-link", &veth])?;
    answers(port, "a veth, by a new netd")?;
    ensure_eq!(vm.pid("echo")?, pid);
    ensure!(vm.console().contains("putting it back"), "the console does not say it");
    vm.power_off()
}

fn answers(port: u16, after: &str) -> Outcome {
    client::patiently(|| client::echo(&mut client::connect(port)?, "here"))
        .map_err(|error| format!("after {after}: {error}").into())
}

fn kill_netd(vm: &mut Vm) -> Outcome {
    vm.probe("keeper", &["write", "/cgroup/system/netd/cgroup.kill", "1"])?;
    vm.wait_for("another netd", berth_qemu_tests::vm::SOON, |vm| {
        Ok(vm.status()?.node.restarts.get("netd").is_some_and(|count| *count >= 1).then_some(()))
    })
}
