//! What a scenario works with: its own directory, and nodes that several scenarios share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_qemu_tests::appliance::{Appliance, probe_unit_with};
use berth_qemu_tests::vm::{Options, Vm};
use berth_qemu_tests::{Outcome, artefacts, client};

/// The place of all scenarios of one run.
pub struct Lab {
    long: bool,
    scenario: &'static str,
    /// Directories of nodes that the running scenario has used.
    used: Vec<PathBuf>,
    shared: BTreeMap<&'static str, Shared>,
}

/// A node that goes on after a scenario.
struct Shared {
    vm: Vm,
    /// Where the service of `echo` is published on this machine.
    echo_port: u16,
}

impl Lab {
    /// An empty one; `long` for the soak variants.
    pub fn new(long: bool) -> Self {
        Self { long, scenario: "", used: Vec::new(), shared: BTreeMap::new() }
    }

    /// Another scenario starts.
    pub fn begin(&mut self, scenario: &'static str) {
        self.scenario = scenario;
        self.used.clear();
    }

    /// How often something is done: the second number in a soak.
    pub fn times(&self, usual: u32, soak: u32) -> u32 {
        if self.long { soak } else { usual }
    }

    /// An appliance of the probe in the scenario's own, empty directory.
    pub fn appliance(&mut self) -> Outcome<Appliance> {
        Appliance::new(&self.own_dir()?)
    }

    /// The scenario's own, empty directory.
    pub fn own_dir(&mut self) -> Outcome<PathBuf> {
        Ok(artefacts::ensure_empty(self.scenario)?)
    }

    /// A node of the scenario's own.
    pub fn boot(&mut self, appliance: &Appliance, options: &Options) -> Outcome<Vm> {
        // One that nobody uses at the moment would take processors from it.
        self.shared.clear();
        let dir = PathBuf::from(artefacts::WORK).join(self.scenario);
        std::fs::create_dir_all(&dir)?;
        self.used.push(dir.clone());
        Vm::start(&dir, appliance, options)
    }

    /// The example appliance, with its three units ready.
    pub fn edge(&mut self) -> Outcome<&mut Vm> {
        let boot = |dir: &Path| {
            let mut vm = Vm::start(dir, &Appliance::example("edge-gateway"), &Options::default())?;
            vm.wait_ready(&["broker", "cache", "web"])?;
            Ok(Shared { vm, echo_port: 0 })
        };
        Ok(&mut self.share("edge", boot)?.vm)
    }

    /// The smallest example in 128 MB, ready: the only node with a shell in a container.
    pub fn hello(&mut self) -> Outcome<&mut Vm> {
        let boot = |dir: &Path| {
            let options = Options { memory: "128M", ..Options::default() };
            let mut vm = Vm::start(dir, &Appliance::example("hello"), &options)?;
            vm.wait_ready(&["web"])?;
            Ok(Shared { vm, echo_port: 0 })
        };
        Ok(&mut self.share("hello", boot)?.vm)
    }

    /// A node full of probes, see [`write_probes`], with those that start at boot ready.
    pub fn probes(&mut self) -> Outcome<&mut Vm> {
        Ok(&mut self.share("probes", boot_probes)?.vm)
    }

    /// Where `echo` of [`Lab::probes`] is published on this machine.
    pub fn echo_port(&mut self) -> Outcome<u16> {
        Ok(self.share("probes", boot_probes)?.echo_port)
    }

    /// A node that the scenarios of one file share: its units as `write` has them, those of `ready` ready.
    pub fn node(
        &mut self,
        name: &'static str,
        write: fn(&Appliance) -> Outcome,
        ready: &[&str],
    ) -> Outcome<&mut Vm> {
        let boot = |dir: &Path| {
            let appliance = Appliance::new(dir)?;
            write(&appliance)?;
            let mut vm = Vm::start(dir, &appliance, &Options::default())?;
            vm.wait_ready(ready)?;
            Ok(Shared { vm, echo_port: 0 })
        };
        Ok(&mut self.share(name, boot)?.vm)
    }

    fn share(
        &mut self,
        name: &'static str,
        boot: impl FnOnce(&Path) -> Outcome<Shared>,
    ) -> Outcome<&mut Shared> {
        let dir = PathBuf::from(artefacts::WORK).join(name);
        if !self.used.contains(&dir) {
            self.used.push(dir.clone());
        }
        if !self.shared.contains_key(name) {
            self.shared.clear();
            artefacts::ensure_empty(name)?;
            let node = boot(&dir)?;
            self.shared.insert(name, node);
        }
        Ok(self.shared.get_mut(name).ok_or("just inserted")?)
    }

    /// After a failure: keeps what the nodes left, prints the end of their consoles, and trusts none of them further.
    pub fn keep_artefacts(&mut self) {
        self.shared.clear();
        for dir in &self.used {
            match artefacts::keep(self.scenario, dir) {
                Ok(console) => println!("        {} said last:\n{console}\n", dir.display()),
                Err(error) => println!("        cannot keep what '{}' left: {error}", dir.display()),
            }
        }
        println!("        kept in {}/{}", artefacts::KEPT, self.scenario);
    }
}

fn boot_probes(dir: &Path) -> Outcome<Shared> {
    let echo_port = client::free_port()?;
    let appliance = Appliance::new(dir)?;
    write_probes(&appliance, echo_port)?;
    let mut vm = Vm::start(dir, &appliance, &Options::default())?;
    vm.wait_ready(&["echo", "inside", "keeper"])?;
    Ok(Shared { vm, echo_port })
}

/// Checks of each kind and role; files in its /tmp decide how the HTTP ones end.
const CLINIC: &str = r#"
[restart]
delay = "100ms"

[health.listens]
tcp = 8080
role = "startup"

[health.live]
http = "http://:8080/not/ill"
interval = "300ms"

[health.open]
http = "http://:8080/is/open"
role = "ready"
interval = "300ms"
start_interval = "300ms"

[health.self]
exec = ["/probe", "status", "Pid"]
timeout = "10s"
"#;

/// `inside` looks around, `echo` serves, `keeper` may do anything to the node; the rest starts when a scenario asks.
fn write_probes(appliance: &Appliance, echo_port: u16) -> Outcome {
    const MANUAL: &str = "start = \"manual\"\n";
    const ONCE: &str = "[restart]\npolicy = \"never\"\n";
    appliance.probe(
        "inside",
        &["sleep"],
        "[env]\nCOLOUR = \"green\"\n[mounts.data]\nvolume = \"inside\"\ntarget = \"/data\"\n",
    )?;
    appliance.probe(
        "echo",
        &["serve", "7000"],
        &format!("[ports.echo]\nhost = {echo_port}\ncontainer = 7000\n"),
    )?;
    appliance.probe(
        "keeper",
        &["sleep"],
        "[security]\nprofile = \"privileged\"\n\
         [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n\
         [mounts.proc]\nbind = \"/proc\"\ntarget = \"/node-proc\"\nread_only = false\n",
    )?;
    let manual =
        |name: &str, words: &[&str], keys: &str| appliance.unit(name, &probe_unit_with(MANUAL, words, keys));
    manual("hog", &["eat-memory", "512"], &format!("[memory]\nmax = \"16M\"\n{ONCE}"))?;
    manual("bomb", &["fork-bomb"], &format!("[pids]\nmax = 24\n[memory]\nmax = \"32M\"\n{ONCE}"))?;
    manual("half", &["sleep"], "[cpu]\nmax = \"0.5\"\n")?;
    manual("crasher", &["exit", "3"], "[restart]\ndelay = \"500ms\"\n")?;
    manual("spew", &["spew", "1000"], ONCE)?;
    manual("herald", &["ready-fd", "3"], "[ready]\nwhen = \"fd:3\"\n")?;
    manual(
        "ticker",
        &["spew-on", "1000000", "50"],
        "[health.self]\nexec = [\"/probe\", \"status\", \"Pid\"]\ninterval = \"300ms\"\ntimeout = \"5s\"\n\
         [log]\nmax_size = \"4M\"\n",
    )?;
    manual(
        "scribe",
        &["sleep"],
        "[rootfs]\nread_only = false\n[mounts.tmp]\ntmpfs = true\ntarget = \"/tmp\"\n",
    )?;
    manual("clinic", &["http", "8080"], CLINIC)?;
    manual("visitor", &["sleep"], "[depends.clinic]\nuntil = \"ready\"\n")?;
    let hasty = format!("{MANUAL}start_timeout = \"2s\"\n");
    let never = format!("[ready]\nwhen = \"fd:3\"\n{ONCE}");
    Ok(appliance.unit("mute", &probe_unit_with(&hasty, &["sleep"], &never))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_units::{SourceFile, parse_set};

    #[test]
    fn the_shared_probes_are_without_fault() {
        artefacts::enter_workspace().unwrap();
        let dir = artefacts::ensure_empty("unit-test-of-lab").unwrap();
        std::fs::create_dir_all(dir.join("units")).unwrap();
        let appliance = Appliance::at(&dir);
        write_probes(&appliance, 4000).unwrap();
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            SourceFile { path: name, text: std::fs::read_to_string(&path).unwrap() }
        };
        let mut set: Vec<_> = std::fs::read_dir(dir.join("units")).unwrap().map(read).collect();
        let node = "schema = 1\nkind = \"node\"\nhostname = \"n\"\n".to_owned();
        set.push(SourceFile { path: "node.toml".to_owned(), text: node });
        let diagnostics = parse_set(&set).diagnostics;
        assert!(diagnostics.is_empty(), "{diagnostics:#?}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
