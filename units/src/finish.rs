//! From a draft to what it means: what one file says about itself, beyond single values.

mod devices;
mod health;
mod job;
mod mounts;
mod process;
mod resources;
mod sockets;
mod supplies;
mod tasks;

use std::time::Duration;

use crate::codes::{
    CAPABILITY_BOTH, KEY_WITHOUT_EFFECT, NETWORK_WITHOUT_BRIDGE, PORT_WITHOUT_BRIDGE, PROGRAM, SYSCTL_SHARED,
    UPLINK_KEYS, UPLINK_OVERLAP, WAIT_PATH,
};
use crate::fault::{Fault, clip};
use crate::keys::{ContainerDraft, NodeDraft, UplinkWord};
use crate::path::{is_within, parse_absolute};
use crate::resolve::Origin;
use crate::spec::{EnvInfo, Image, LogSink, NetworkMode, Node, OnOom, Unit, UplinkMode};
pub(crate) use health::{parse_http, parse_status};
pub(crate) use supplies::{config, secret};

/// The first process of a pod: a program of the OS image that waits.
const HOLDER: [&str; 2] = ["/bin/berth-modules", "--hold"];

/// A container with its own contradictions reported. Parts with faults are left out.
pub(crate) fn container(draft: ContainerDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Unit {
    let ContainerDraft {
        mut unit,
        image,
        image_volumes,
        mounts,
        devices,
        ports,
        checks,
        sockets,
        hooks,
        reload,
        secrets,
        configs,
    } = draft;
    if let Some(reference) = image {
        unit.image = Some(Image { reference, volumes: image_volumes });
    }
    unit.mounts = mounts::finish(&mounts, origin, faults);
    unit.ports = ports.iter().filter_map(|(name, port)| Some((name.clone(), port.finish()?))).collect();
    unit.health = health::checks(&checks, origin, faults);
    unit.hooks = tasks::hooks(hooks, origin, faults);
    unit.reload = tasks::reload(reload, origin, faults);
    unit.sockets = sockets::sockets(&sockets, origin, faults);
    sockets::check_numbers(&unit, origin, faults);
    supplies::finish(&mut unit, (&secrets, &configs), origin, faults);
    health::check_ready(&unit, &checks, origin, faults);
    mounts::check_targets(&unit, origin, faults);
    mounts::check_directories(&unit, origin, faults);
    supplies::check_targets(&unit, origin, faults);
    supplies::check_reload(&unit, origin, faults);
    mounts::check_rootfs(&mut unit, origin, faults);
    check_oom(&mut unit, origin, faults);
    unit.devices = devices::finish(&devices, &unit, origin, faults);
    resources::check(&unit, origin, faults);
    process::check(&unit, origin, faults);
    check_mode(&unit, origin, faults);
    check_security(&unit, origin, faults);
    check_wait(&unit, origin, faults);
    if unit.name.parts().is_none() && origin.spans.has("instances") {
        let fault =
            Fault::error(KEY_WITHOUT_EFFECT, origin.key("instances"), "'instances' has no effect here");
        faults.push(fault.help(format!("it belongs to a template: call the file {}@.toml", unit.name)));
    }
    check_watchdog(&unit, origin, faults);
    job::check(&mut unit, origin, faults);
    // Nobody knows how long one deed takes.
    if unit.kind.ends() && !origin.spans.has("start_timeout") {
        unit.start_timeout = Duration::ZERO;
    }
    unit
}

/// What goes on after others of it were killed cannot be killed with them.
fn check_oom(unit: &mut Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    if unit.memory.on_oom != OnOom::Continue {
        return;
    }
    if unit.memory.oom_group && origin.spans.has("memory.oom_group") {
        let message = "nothing is left to go on: memory.oom_group kills all of it";
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.value("memory.on_oom"), message);
        faults.push(fault.help("take out memory.oom_group, or on_oom = \"continue\""));
    }
    unit.memory.oom_group = false;
}

/// A service: its root is that of the node, where a program has no other name than its path.
pub(crate) fn service(draft: ContainerDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Unit {
    let unit = Unit { image: None, ..container(draft, origin, faults) };
    let program = unit.process.entrypoint.as_ref().map(|words| words.first().map_or("", String::as_str));
    if let Some(program) = program.filter(|program| parse_absolute(program).as_deref() != Ok(*program)) {
        let message = format!("'{}' is no program of the OS image", clip(program));
        let fault = Fault::error(PROGRAM, origin.value("process.entrypoint"), message);
        faults.push(fault.help("write its path, such as [\"/bin/agent\"]"));
    }
    if unit.supplies.env_info.contains(&EnvInfo::ImageDigest) {
        let message = "'image_digest' has no effect: a service has no image";
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.value("env_info"), message);
        faults.push(fault.help("take it out"));
    }
    unit
}

/// A pod: a service of ours that waits, as nobody, with nothing to say.
pub(crate) fn pod(draft: ContainerDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Unit {
    let mut unit = Unit { image: None, is_pod: true, ..container(draft, origin, faults) };
    unit.process.entrypoint = Some(HOLDER.map(str::to_owned).to_vec());
    unit.process.user = Some("65534:65534".to_owned());
    unit.log.to = LogSink::None;
    unit
}

/// A oneshot is never ready, and a watchdog watches what is.
fn check_watchdog(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    if unit.kind.ends() && unit.watchdog.is_some() {
        let message = "'watchdog' has no effect on a oneshot";
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.key("watchdog"), message);
        faults.push(fault.help("runtime_max bounds a oneshot"));
    }
}

/// What appears below /proc and /sys is told to nobody.
fn check_wait(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    for path in &unit.wait_for.paths {
        if is_within(path, "/proc") || is_within(path, "/sys") {
            let message = format!("nobody tells when '{path}' appears");
            let fault = Fault::error(WAIT_PATH, origin.value("wait_for.paths"), message);
            faults.push(fault.help("use conditions.path_exists, or wait for a device below /dev"));
        }
    }
}

fn check_mode(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    check_pod_keys(unit, origin, faults);
    let own = match &unit.network {
        NetworkMode::Bridge => return,
        NetworkMode::Host => "network.mode \"host\"".to_owned(),
        NetworkMode::None => "network.mode \"none\"".to_owned(),
        NetworkMode::Unit(owner) => format!("network.mode \"unit:{owner}\""),
        NetworkMode::Pod(owner) => format!("pod \"{owner}\""),
    };
    let help = match unit.network.owner() {
        Some(owner) => format!("it belongs to '{owner}', whose network it is"),
        None => "take out network.mode, or this".to_owned(),
    };
    for name in unit.ports.keys() {
        let message = format!("port '{name}' cannot be published with {own}");
        let place = origin.key(&format!("ports.{name}"));
        faults.push(Fault::error(PORT_WITHOUT_BRIDGE, place, message).help(help.clone()));
    }
    for name in unit.networks.keys() {
        let message = format!("network '{name}' cannot be joined with {own}");
        let place = origin.key(&format!("networks.{name}"));
        faults.push(Fault::error(NETWORK_WITHOUT_BRIDGE, place, message).help(help.clone()));
    }
    let is_shared = |name: &str| match unit.network {
        NetworkMode::None | NetworkMode::Bridge => false,
        NetworkMode::Host | NetworkMode::Unit(_) => name.starts_with("net."),
        NetworkMode::Pod(_) => true,
    };
    for name in unit.security.sysctl.keys().filter(|name| is_shared(name)) {
        let message = match unit.network.owner() {
            Some(owner) => format!("sysctl '{name}' would change '{owner}' with {own}"),
            None => format!("sysctl '{name}' would change the node with {own}"),
        };
        let place = origin.key(&format!("security.sysctl.{name}"));
        faults.push(Fault::error(SYSCTL_SHARED, place, message).help(help.clone()));
    }
}

/// A unit of a pod has the pod's network and host name, and none of its own.
fn check_pod_keys(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let keys = ["network.mode", "network.hostname"];
    for key in keys.into_iter().filter(|key| origin.spans.has("pod") && origin.spans.has(key)) {
        let message = format!("'{key}' has no effect on '{}': it is that of its pod", unit.name);
        faults.push(Fault::error(KEY_WITHOUT_EFFECT, origin.key(key), message).help("take it out, or `pod`"));
    }
}

fn check_security(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let security = &unit.security;
    for capability in security.cap_add.iter().filter(|added| security.cap_drop.contains(added)) {
        let message = format!("capability {capability} is in cap_add and in cap_drop");
        let fault = Fault::error(CAPABILITY_BOTH, origin.value("security.cap_add"), message);
        faults
            .push(fault.related(origin.value("security.cap_drop"), "dropped here").help("keep one of them"));
    }
}

/// The node with its uplink put together.
pub(crate) fn node(draft: NodeDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Node {
    let NodeDraft { mut node, mode, address, gateway, dns } = draft;
    if mode != UplinkWord::Static {
        let keys = ["uplink.address", "uplink.gateway", "uplink.dns"];
        for key in keys.into_iter().filter(|key| origin.spans.has(key)) {
            let fault = Fault::error(
                UPLINK_KEYS,
                origin.key(key),
                format!("'{key}' belongs to uplink.mode \"static\""),
            );
            faults.push(fault.help("set mode = \"static\" in [uplink], or take it out"));
        }
    }
    node.uplink.mode = match (mode, address) {
        (UplinkWord::Dhcp, _) => UplinkMode::Dhcp,
        (UplinkWord::None, _) => UplinkMode::None,
        (UplinkWord::Static, Some(address)) => {
            if let Some(gateway) = gateway.filter(|gateway| !address.contains(*gateway)) {
                let message = format!("the gateway {gateway} is not in the node's subnet {address}");
                faults.push(Fault::error(UPLINK_OVERLAP, origin.value("uplink.gateway"), message));
            }
            if address.prefix <= 30 && !address.is_host(address.address) {
                let message = format!("{} is not an address that a host may have", address.address);
                faults.push(Fault::error(UPLINK_OVERLAP, origin.value("uplink.address"), message));
            }
            UplinkMode::Static { address, gateway, dns }
        }
        (UplinkWord::Static, None) => {
            if !origin.spans.has("uplink.address") {
                let fault = Fault::error(
                    UPLINK_KEYS,
                    origin.value("uplink.mode"),
                    "mode \"static\" needs an address",
                );
                faults.push(fault.help("write address = \"192.168.1.10/24\" in [uplink]"));
            }
            UplinkMode::None
        }
    };
    node
}
