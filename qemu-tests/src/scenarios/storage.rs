//! What files units have: directories of their own, writable layers, other images, volumes of images and in RAM.

use berth_qemu_tests::appliance::{PROBE, probe_unit, probe_unit_with};
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::Volumes;

use crate::lab::Lab;

const VOLUMES_IMAGE: &str = "target/images/probe-volumes.tar";
/// Its reference.
const OTHER: &str = "berth-tests/volumes:1";
const MIB: u64 = 1 << 20;
/// EDQUOT, and ENOSPC.
const OVER_QUOTA: &str = "122";
const FULL: &str = "28";

/// Files of the set.
fn set() -> Vec<(&'static str, String)> {
    let keeper = "[security]\nprofile = \"privileged\"\n\
                  [mounts.data]\nbind = \"/data\"\ntarget = \"/node-data\"\nread_only = false\n";
    let own = "state_dir = \"/var/lib/app\"\ncache_dir = \"/var/cache/app\"\nruntime_dir = \"/run/app\"\nquota = \"8M\"\n";
    let disk = "[rootfs]\nread_only = false\nupper = \"disk\"\nsize = \"8M\"\npersist = true\n";
    let ram = "[rootfs]\nread_only = false\nsize = \"8M\"\n\
               [mounts.scratch]\nvolume = \"scratch\"\ntarget = \"/scratch\"\noptions = [\"noatime\", \"rnosymfollow\"]\n";
    let image = |path: &str| {
        format!("[mounts.{path}]\nimage = \"{OTHER}\"\nsubpath = \"srv/{path}\"\ntarget = \"/{path}\"\n")
    };
    let other = probe_unit(&["sleep"], "").replace(PROBE, OTHER);
    vec![
        ("keeper", probe_unit(&["sleep"], keeper)),
        ("app", probe_unit_with(own, &["sleep"], "user = \"1000:1000\"\n")),
        ("disk", probe_unit(&["sleep"], disk)),
        ("ram", probe_unit(&["sleep"], ram)),
        (
            "guest",
            probe_unit(
                &["sleep"],
                &format!(
                    "{}{}[mounts.scratch]\nvolume = \"scratch\"\ntarget = \"/scratch\"\n\
                     [mounts.filled]\nvolume = \"filled\"\ntarget = \"/filled\"\n",
                    image("top"),
                    image("up")
                ),
            ),
        ),
        ("image-disk", other.replace("[image]\n", "[image]\nvolumes = \"volume\"\n")),
        ("image-ram", other),
        ("scratch", "schema = 1\nkind = \"volume\"\nsource = \"tmpfs\"\nsize = \"1M\"\n".to_owned()),
        ("filled", format!("schema = 1\nkind = \"volume\"\nseed_image = \"{OTHER}\"\n")),
    ]
}

/// Writes until it fails: MiB that went in, and the errno.
fn fill(vm: &Vm, unit: &str, file: &str) -> Outcome<(u64, String)> {
    let said = vm.probe(unit, &["fill", file])?;
    let (written, errno) = said.trim().split_once(' ').ok_or("two numbers")?;
    Ok((written.parse::<u64>()?.div_ceil(MIB), errno.to_owned()))
}

/// Names of the volumes that there are.
fn volumes(vm: &Vm) -> Outcome<Vec<String>> {
    let all: Volumes = serde_json::from_str(&vm.berth(&["volume", "ls", "--json"], b"")?.ok()?)?;
    Ok(all.volumes.iter().filter(|volume| volume.exists).map(|volume| volume.name.to_string()).collect())
}

/// The options of the mount on a path, as the unit sees them.
fn options(vm: &Vm, unit: &str, target: &str) -> Outcome<String> {
    let found = vm.report(unit)?.mounts.into_iter().find(|mount| mount.target == target);
    Ok(found.ok_or_else(|| format!("nothing is mounted on {target}"))?.options)
}

fn restart(vm: &mut Vm, units: &[&str]) -> Outcome {
    for unit in units {
        vm.berth(&["restart", unit], b"")?.ok()?;
    }
    vm.wait_ready(units)
}

pub fn files_of_units_are_theirs(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    appliance.image(VOLUMES_IMAGE)?;
    for (name, text) in set() {
        appliance.unit(name, &text)?;
    }
    let mut vm = lab.boot(&appliance, &Options::default())?;
    let all = ["keeper", "app", "disk", "ram", "guest", "image-ram", "image-disk"];
    vm.wait_ready(&all)?;

    directories(&mut vm)?;
    layers(&mut vm)?;
    images(&vm)?;
    in_ram(&mut vm)?;

    vm.cut_power()?;
    vm.start_again()?;
    vm.wait_ready(&all)?;
    ensure_eq!(vm.probe("app", &["read", "/var/lib/app/note"])?, "kept\n");
    ensure_eq!(vm.probe("app", &["list", "/run/app"])?, "");
    ensure_eq!(vm.probe("disk", &["read", "/note"])?, "kept\n");
    ensure_eq!(vm.probe("image-disk", &["read", "/srv/data/own"])?, "kept\n");
    ensure_eq!(vm.probe("ram", &["list", "/scratch"])?, "");
    gone(&mut vm)?;
    vm.power_off()
}

/// state_dir, cache_dir, runtime_dir, quota.
fn directories(vm: &mut Vm) -> Outcome {
    let env = vm.report("app")?.env;
    for (name, path) in [
        ("STATE_DIRECTORY", "/var/lib/app"),
        ("CACHE_DIRECTORY", "/var/cache/app"),
        ("RUNTIME_DIRECTORY", "/run/app"),
    ] {
        ensure_eq!(env.get(name).map(String::as_str), Some(path));
        vm.probe("app", &["append", &format!("{path}/note"), "kept"])?;
        ensure!(options(vm, "app", path)?.contains("nosuid,nodev,noexec"), "{path} may do too much");
    }
    ensure_eq!(fill(vm, "app", "/var/lib/app/rest")?, (8, OVER_QUOTA.to_owned()));
    ensure_eq!(fill(vm, "app", "/run/app/rest")?, (64, FULL.to_owned()));
    // The others have what is theirs.
    vm.probe("app", &["append", "/var/cache/app/note", "more"])?;
    vm.probe("disk", &["append", "/note", "kept"])?;
    restart(vm, &["app"])?;
    for path in ["/var/lib/app/note", "/run/app/note"] {
        ensure_eq!(vm.probe("app", &["read", path])?, "kept\n");
    }
    ensure_eq!(vm.probe("app", &["read", "/var/cache/app/note"])?, "kept\nmore\n");
    Ok(())
}

/// rootfs.upper, size, persist.
fn layers(vm: &mut Vm) -> Outcome {
    ensure_eq!(fill(vm, "disk", "/rest")?, (8, OVER_QUOTA.to_owned()));
    ensure_eq!(fill(vm, "ram", "/rest")?, (8, FULL.to_owned()));
    ensure_eq!(fill(vm, "app", "/var/cache/app/rest")?, (8, OVER_QUOTA.to_owned()));
    restart(vm, &["disk", "ram"])?;
    ensure_eq!(vm.probe("disk", &["read", "/note"])?, "kept\n");
    ensure!(!vm.probe("ram", &["list", "/"])?.contains("rest"), "a layer in RAM outlived its container");
    Ok(())
}

/// Other images, their VOLUMEs, and links that lead out of them.
fn images(vm: &Vm) -> Outcome {
    for path in ["/top", "/up"] {
        ensure_eq!(vm.probe("guest", &["read", &format!("{path}/whose")])?, "of the image\n");
        ensure!(!vm.probe("guest", &["list", path])?.contains("data\n"), "{path} is the node's root");
        ensure!(options(vm, "guest", path)?.starts_with("ro,"), "{path} is writable");
    }
    ensure_eq!(vm.probe("guest", &["read", "/filled/whose"])?, "of the image\n");
    vm.probe("guest", &["append", "/filled/whose", "and ours"])?;
    for unit in ["image-ram", "image-disk"] {
        ensure_eq!(vm.probe(unit, &["read", "/srv/data/there"])?, "from the image\n");
        vm.probe(unit, &["append", "/srv/data/own", "kept"])?;
        vm.probe(unit, &["append", "/srv/cache/own", "kept"])?;
    }
    ensure_eq!(vm.probe("image-disk", &["list", "/srv/cache"])?, "own\n");
    Ok(())
}

/// A volume in RAM is one for all who mount it, and outlives them.
fn in_ram(vm: &mut Vm) -> Outcome {
    ensure_eq!(options(vm, "ram", "/scratch")?, "rw,nosuid,nodev,noexec,noatime,nosymfollow");
    vm.probe("ram", &["append", "/scratch/note", "kept"])?;
    restart(vm, &["ram", "image-ram", "image-disk"])?;
    ensure_eq!(vm.probe("guest", &["read", "/scratch/note"])?, "kept\n");
    ensure_eq!(fill(vm, "guest", "/scratch/rest")?, (1, FULL.to_owned()));
    ensure_eq!(vm.probe("image-ram", &["list", "/srv/data"])?, "there\n");
    ensure_eq!(vm.probe("image-disk", &["read", "/srv/data/own"])?, "kept\n");
    Ok(())
}

/// What was the unit's alone goes with it, but for its state.
fn gone(vm: &mut Vm) -> Outcome {
    let before = volumes(vm)?;
    for name in ["app@cache", "app@runtime", "app@state", "disk@root", "image-disk@image", "scratch"] {
        ensure!(before.iter().any(|volume| volume == name), "no volume {name} among {before:?}");
    }
    vm.probe("keeper", &["make-dir", "/node-data/set"])?;
    for (name, text) in set().into_iter().filter(|(name, _)| *name == "keeper") {
        vm.probe("keeper", &["write", &format!("/node-data/set/{name}.toml"), &text])?;
    }
    vm.probe("keeper", &["rename", "/node-data/set", "/node-data/units"])?;
    vm.wait_for("the end of what was theirs alone", SOON, |vm| {
        let left = volumes(vm)?;
        let goes = |name: &String| ["app@cache", "app@runtime", "disk@root"].contains(&name.as_str());
        Ok((!left.iter().any(goes)).then_some(()))
    })?;
    let left = volumes(vm)?;
    ensure!(left.iter().any(|name| name == "app@state"), "the state went with the unit: {left:?}");
    Ok(())
}
