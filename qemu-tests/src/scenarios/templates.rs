//! Units that are put together: instances of a template, drop-ins.

use berth_qemu_tests::appliance::{Appliance, probe_unit_with};
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::State;

use crate::lab::Lab;

const TWIN: &str = "instances = [\"red\", \"blue\"]\n";
const TWIN_KEYS: &str = "[env]\nCOLOUR = \"{instance}\"\nWORD = \"{{instance}}\"\n[memory]\nmax = \"16M\"\n\
                         [mounts.data]\nvolume = \"data-{instance}\"\ntarget = \"/data\"\n\
                         [mounts.a]\ntmpfs = true\nsize = \"1M\"\ntarget = \"/data/scratch\"\n";

fn write_units(appliance: &Appliance) -> Outcome {
    appliance.probe(
        "keeper",
        &["sleep"],
        "[security]\nprofile = \"privileged\"\n[mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\n",
    )?;
    appliance.unit("twin@", &probe_unit_with(TWIN, &["sleep"], TWIN_KEYS))?;
    appliance.unit("twin@blue.d/10-more", "[memory]\nmax = \"32M\"\n[env]\nSITE = \"{name}\"\n")?;
    appliance.unit("twin@.d/10-both", "[env]\nSITE = \"both\"\n")?;
    appliance.unit("_all.d/50-all", "[labels]\nteam = \"twins\"\n[env]\nSITE = \"all\"\nALL = \"yes\"\n")?;
    appliance.probe("odd", &["sleep"], "[conditions]\ncpu_feature = [\"no-such-feature\"]\n")?;
    let asked = "[ready]\nwhen = \"check:serves\"\n[health.serves]\ngrpc = 50051\nrole = \"ready\"\ninterval = \"300ms\"\n\
                 start_interval = \"300ms\"\n";
    appliance.probe("caller", &["grpc", "50051"], asked)?;
    let after = "[conditions]\ncpu_feature = [\"fpu\"]\n[depends.\"twin@red\"]\n[depends.\"twin@blue\"]\nuntil = \"started\"\n";
    Ok(appliance.unit("last", &probe_unit_with("", &["sleep"], after))?)
}

pub fn instances_have_what_is_theirs(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    write_units(&appliance)?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["twin@red", "twin@blue", "last", "keeper"])?;
    for (instance, site, limit) in [("red", "both", 16_u64), ("blue", "twin@blue", 32)] {
        let unit = format!("twin@{instance}");
        let report = vm.report(&unit)?;
        let env = |name: &str| report.env.get(name).map(String::as_str);
        ensure_eq!((env("COLOUR"), env("WORD")), (Some(instance), Some("{instance}")));
        ensure_eq!((env("SITE"), env("ALL")), (Some(site), Some("yes")));
        ensure_eq!((env("BERTH_UNIT"), env("BERTH_INSTANCE")), (Some(unit.as_str()), Some(instance)));
        ensure_eq!(report.hostname, format!("twin-{instance}"));
        let max = vm.probe("keeper", &["read", &format!("/cgroup/units/{unit}/memory.max")])?;
        ensure_eq!(max.trim().parse::<u64>()?, limit << 20);
        // Each has a volume of its own, and a name on the network.
        vm.probe(&unit, &["write", "/data/whose", instance])?;
        // A mount in a mount is seen, whatever their names are.
        let space = vm.probe(&unit, &["space", "/data/scratch"])?;
        ensure!(space.starts_with("1048576 "), "at /data/scratch there are {space}");
        let address = vm.probe("last", &["resolve", &format!("twin-{instance}")])?;
        ensure_eq!(address.trim(), vm.unit(&unit)?.addresses.join(" "));
    }
    ensure_eq!(vm.probe("twin@red", &["read", "/data/whose"])?, "red");
    grpc_is_asked(&mut vm)?;
    let why = vm.unit("odd")?.why.unwrap_or_default();
    ensure!(why.contains("skipped") && why.contains("no-such-feature"), "'odd': {why}");
    // The command line takes their names.
    vm.berth(&["stop", "twin@red"], b"")?.ok()?;
    ensure_eq!(vm.unit("twin@red")?.state, State::Stopped);
    ensure_eq!(vm.unit("twin@blue")?.state, State::Ready);
    Ok(())
}

/// In an image that holds nothing but its server.
fn grpc_is_asked(vm: &mut Vm) -> Outcome {
    vm.wait_ready(&["caller"])?;
    let says = |vm: &Vm, text: &str| -> Outcome<Option<()>> {
        let checks = vm.unit("caller")?.checks;
        let last = checks.first().and_then(|check| check.results.last());
        Ok(last.is_some_and(|result| result.text == text).then_some(()))
    };
    vm.wait_for("the answer", SOON, |vm| says(vm, "serving"))?;
    vm.probe("caller", &["write", "/tmp/ill", "x"])?;
    vm.wait_for("the bad answer", SOON, |vm| says(vm, "not serving"))
}

#[cfg(test)]
mod tests {
    use berth_units::{SourceFile, parse_set};

    use super::*;

    #[test]
    fn the_set_is_without_fault() {
        let dir = std::env::temp_dir().join(format!("berth-templates-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("units")).unwrap();
        write_units(&Appliance::at(&dir)).unwrap();
        let mut files = vec![SourceFile { path: "node.toml".into(), text: "schema = 1".into() }];
        let mut folders = vec![dir.join("units")];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = std::fs::read_to_string(&path).unwrap();
                    files.push(SourceFile { path: path.display().to_string(), text });
                }
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
        let checked = parse_set(&files);
        assert!(checked.diagnostics.is_empty(), "{:#?}", checked.diagnostics);
        assert_eq!(checked.declared.unwrap().units.len(), 6);
    }
}
