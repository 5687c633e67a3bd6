//! What a unit's devices say about themselves.

use std::collections::BTreeMap;

use crate::codes::{DEVICE_SOURCE, DEVICE_TARGET, KEY_WITHOUT_EFFECT};
use crate::fault::Fault;
use crate::keys::DeviceDraft;
use crate::path::is_within;
use crate::resolve::Origin;
use crate::spec::{Device, Profile, Unit};

/// What every container has below /dev.
const TAKEN: [&str; 14] = [
    "/dev/fd",
    "/dev/full",
    "/dev/mqueue",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

/// Devices without a flaw.
pub(super) fn finish(
    drafts: &BTreeMap<String, DeviceDraft>,
    unit: &Unit,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Device> {
    if unit.security.profile == Profile::Privileged && !drafts.is_empty() {
        let message = "a privileged unit has all devices of the node";
        faults.push(
            Fault::error(KEY_WITHOUT_EFFECT, origin.key("devices"), message).help("take out one of both"),
        );
    }
    let mut targets = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (name, draft) in drafts {
        let Some(device) = device(name, draft, origin, faults) else { continue };
        let key = if draft.target.is_some() { "target" } else { "source" };
        let place = origin.value(&format!("devices.{name}.{key}"));
        let target = &device.target;
        if TAKEN.iter().any(|taken| is_within(target, taken)) {
            let message = format!("every container has a '{target}' of its own");
            faults.push(Fault::error(DEVICE_TARGET, place.clone(), message));
        }
        if let Some((first, other)) = targets.insert(target.clone(), (name, place.clone())) {
            let message = format!("devices '{first}' and '{name}' have the same target '{target}'");
            faults.push(Fault::error(DEVICE_TARGET, place, message).related(other, "the other one"));
        }
        found.insert(name.clone(), device);
    }
    found
}

fn device(name: &str, draft: &DeviceDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Option<Device> {
    let Some(source) = &draft.source else {
        // One with a flaw of its own has been reported, and `match` is planned.
        let is_said =
            ["source", "match"].iter().any(|key| origin.spans.has(&format!("devices.{name}.{key}")));
        if !is_said {
            let message = format!("device '{name}' has no source");
            let fault = Fault::error(DEVICE_SOURCE, origin.key(&format!("devices.{name}")), message);
            faults.push(fault.help("set source = \"/dev/...\""));
        }
        return None;
    };
    Some(Device {
        source: source.clone(),
        target: draft.target.clone().unwrap_or_else(|| source.clone()),
        mode: draft.mode,
        uid: draft.uid,
        gid: draft.gid,
        required: draft.required.unwrap_or(true),
    })
}
