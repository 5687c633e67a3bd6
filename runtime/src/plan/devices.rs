//! Devices of the node: what is at a path now is what the container gets.

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fstat, openat};

use super::{DevicePlan, c_string, invalid, open};
use crate::resolve::Target;
use crate::spawn::SpawnError;
use crate::spec::{Device, Spec};

pub(super) fn plan(spec: &Spec) -> Result<Vec<DevicePlan>, SpawnError> {
    if spec.privileged && !spec.devices.is_empty() {
        // Its /dev is the node's: what is made there would be the node's.
        return Err(invalid("devices", spec.devices.len(), "a privileged container has those of the node"));
    }
    spec.devices.iter().map(device).collect()
}

fn device(wanted: &Device) -> Result<DevicePlan, SpawnError> {
    let place = wanted.target.strip_prefix("/dev").and_then(Target::parse).filter(|place| place.depth() > 0);
    let place =
        place.ok_or_else(|| invalid("device", &wanted.target, "it is below /dev, without '.' and '..'"))?;
    if wanted.mode.is_some_and(|mode| mode > 0o7777) {
        return Err(invalid("mode", format!("{:o}", wanted.mode.unwrap_or_default()), "it is at most 7777"));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened =
        openat(CWD, &wanted.source, flags, Mode::empty()).map_err(open("find device", &wanted.source))?;
    let found = fstat(&opened).map_err(open("examine device", &wanted.source))?;
    let kind = FileType::from_raw_mode(found.st_mode);
    if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        return Err(invalid("device", wanted.source.display(), "it is a character or block device"));
    }
    Ok(DevicePlan {
        target: c_string("device", &wanted.target)?,
        place,
        kind,
        number: found.st_rdev,
        mode: wanted.mode.map_or(Mode::from_raw_mode(found.st_mode), Mode::from_raw_mode),
        uid: Uid::from_raw(wanted.uid),
        gid: Gid::from_raw(wanted.gid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, target: &str, expect: &str) {
        let uid_gid = (0, 0);
        let (uid, gid) = uid_gid;
        let wanted = Device { source: source.into(), target: target.to_owned(), mode: None, uid, gid };
        let said = device(&wanted).map(|plan| format!("{:?} {:o}", plan.kind, plan.mode.bits()));
        assert_eq!(said.unwrap_or_else(|error| error.to_string()), expect);
    }

    #[test]
    fn only_devices_are_given_and_only_below_dev() {
        check("/dev/null", "/dev/nothing", "CharacterDevice 666");
        let below =
            |target: &str| format!("device '{target}' cannot be: it is below /dev, without '.' and '..'");
        for target in ["/dev", "/dev/", "/etc/x", "/dev/../x", "/device"] {
            check("/dev/null", target, &below(target));
        }
        check("/dev/shm", "/dev/x", "device '/dev/shm' cannot be: it is a character or block device");
        check("/dev/nosuch", "/dev/x", "cannot find device '/dev/nosuch'");
    }
}
