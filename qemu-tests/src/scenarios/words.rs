//! Keys that say one small thing, many of them on one node.

use std::time::Instant;

use berth_qemu_tests::appliance::{Appliance, probe_unit, probe_unit_with};
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::{ExitReason, State, Status};

use crate::lab::Lab;

/// Keys of the unit that may do anything to the node.
const KEEPER: &str = "[security]\nprofile = \"privileged\"\n\
    [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n";

/// One that uses 48 MiB.
fn write_eater(appliance: &Appliance, memory: &str) -> Outcome {
    // Its death is what is looked for, and no reason to return to the set before.
    let top = "restart.policy = \"never\"\nupdate.on_failure = \"hold\"\n";
    let memory = format!("[memory]\n{memory}\n");
    Ok(appliance.unit("eater", &probe_unit_with(top, &["eat-memory", "48"], &memory))?)
}

fn apply(vm: &Vm, appliance: &Appliance) -> Outcome<String> {
    let dir = appliance.dir().display().to_string();
    vm.berth(&["apply", "--no-wait", &dir], b"")?.ok()
}

fn knob(vm: &Vm, unit: &str, knob: &str) -> Outcome<String> {
    Ok(vm.probe("keeper", &["read", &format!("/cgroup/units/{unit}/{knob}")])?.trim().to_owned())
}

pub fn lowering_memory_keeps_nobody_waiting(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    appliance.unit("keeper", &probe_unit(&["sleep"], KEEPER))?;
    write_eater(&appliance, "max = \"96M\"")?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["keeper", "eater"])?;
    let pid = vm.pid("eater")?;
    let used =
        |vm: &Vm| -> Outcome<bool> { Ok(knob(vm, "eater", "memory.current")?.parse::<u64>()? > 48 << 20) };
    vm.wait_for("memory in use", SOON, |vm| Ok(used(vm)?.then_some(())))?;

    write_eater(&appliance, "max = \"96M\"\nhigh = \"16M\"")?;
    apply(&vm, &appliance)?;
    let start = Instant::now();
    ensure_eq!(vm.unit("eater")?.pid, Some(pid));
    let waited = start.elapsed();
    let high = (16 << 20).to_string();
    vm.wait_for("a lower memory.high", SOON, |vm| {
        Ok((knob(vm, "eater", "memory.high")? == high).then_some(()))
    })?;
    ensure!(used(&vm)?, "there was memory to take back");
    ensure_eq!(vm.unit("eater")?.pid, Some(pid));

    // Nothing of it can be taken back: it goes.
    write_eater(&appliance, "max = \"16M\"")?;
    apply(&vm, &appliance)?;
    let eater = vm.wait_unit("eater", "killed for memory", SOON, |unit| unit.state == State::Failed)?;
    ensure_eq!(eater.last_exit.map(|exit| exit.reason), Some(ExitReason::Oom));
    ensure_eq!(vm.status()?.node.restarts.get("supervise"), Some(&0));
    ensure!(waited < SOON, "status took {waited:?}");
    vm.power_off()
}

fn check_node_words(vm: &Vm) -> Outcome {
    ensure_eq!(vm.unit("absent")?.state, State::Stopped);
    let environ = vm.probe("local", &["read", "/proc/1/environ"])?;
    let found: Vec<_> =
        environ.split('\0').filter(|line| !line.starts_with("PATH=") && !line.is_empty()).collect();
    for wanted in ["SITE=berlin", "https_proxy=http://10.0.2.2:3128"] {
        ensure!(found.contains(&wanted), "{wanted} is not in {found:?}");
    }
    ensure!(!environ.contains("OTHER="), "what nobody asked for is there: {found:?}");
    let labelled = |label: &str| -> Outcome<Vec<String>> {
        let text = vm.berth(&["status", "--json", "--label", label], b"")?.ok()?;
        let status: Status = serde_json::from_str(&text)?;
        Ok(status.units.into_iter().map(|unit| unit.name).collect())
    };
    ensure_eq!(labelled("team=shop")?, ["absent", "local"]);
    ensure_eq!(labelled("team=ops")?, [""; 0]);
    Ok(())
}

pub fn processes_have_what_their_keys_say(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    let with = |name: &str, words: &[&str], keys: &str, tables: &str| {
        let text = probe_unit(words, tables).replacen("args =", &format!("{keys}\nargs ="), 1);
        appliance.unit(name, &text)
    };
    with("inner", &["sleep", "1000"], "init = true", "")?;
    with("outer", &["sleep"], "timezone = \"Asia/Kathmandu\"", "")?;
    with("listener", &["echo"], "stdin = \"open\"", "")?;
    let top = "profiles = [\"elsewhere\"]\n";
    appliance.unit("absent", &probe_unit_with(top, &["sleep"], "[labels]\nteam = \"shop\"\n"))?;
    let top =
        "profiles = [\"elsewhere\", \"here\"]\nenv_from_node = [\"SITE\", \"NONE\"]\nenv_proxy = true\n";
    appliance.unit("local", &probe_unit_with(top, &["sleep"], "[labels]\nteam = \"shop\"\n"))?;
    let append = "kernel.append = [\"SITE=berlin\", \"https_proxy=http://10.0.2.2:3128\", \"OTHER=x\"]\n";
    appliance.node(&format!("hostname = \"probe-node\"\nprofiles = [\"here\"]\n{append}"))?;
    with("kiosk", &["spew-on", "3", "100"], "console = \"/dev/ttyS0\"", "")?;
    let crier = probe_unit(&["spew-on", "3", "100"], "[log]\nto = \"console\"\nmax_age = \"1m\"\n");
    appliance.unit("crier", &crier)?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["inner", "outer", "listener", "kiosk", "local"])?;
    check_node_words(&vm)?;

    // The program is number 2, below ours.
    let programs = ["1", "2"].map(|pid| vm.probe("inner", &["read", &format!("/proc/{pid}/cmdline")]));
    let [first, second] = programs;
    ensure_eq!(first?, "berth-reaper\x002\0");
    ensure!(second?.starts_with("/probe\0sleep\0"), "number 2 is something else");
    vm.berth(&["exec", "inner", "--", "/probe", "orphans", "50"], b"")?.ok()?;
    // As number 1 it would be deaf to it, and killed after 10 s.
    let start = Instant::now();
    vm.berth(&["stop", "inner"], b"")?.ok()?;
    let inner = vm.wait_unit("inner", "stopped", SOON, |unit| unit.state == State::Stopped)?;
    let exit = inner.last_exit.ok_or("no last exit")?;
    ensure_eq!((exit.reason, exit.signal), (ExitReason::Stopped, Some(15)));
    ensure!(start.elapsed().as_secs() < 9, "stopping took {:?}", start.elapsed());

    let environ = vm.probe("outer", &["read", "/proc/1/environ"])?;
    ensure!(environ.split('\0').any(|known| known == "TZ=Asia/Kathmandu"), "{environ}");
    for path in ["/etc/localtime", "/usr/share/zoneinfo/Asia/Kathmandu"] {
        let rules = vm.exec("outer", &["/probe", "read", path])?;
        // The footer of tzfile(5).
        ensure!(rules.code == 0 && rules.stdout.ends_with("\n<+0545>-5:45\n"), "{path}: {rules:?}");
    }
    let limits = vm.probe("outer", &["read", "/proc/1/limits"])?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    ensure_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    // Without anything to read it would have ended with success, again and again.
    ensure_eq!(vm.unit("listener")?.restarts, 0);
    for line in ["line 1", "line 2", "line 3"] {
        vm.wait_for_console(line, SOON)?;
    }
    for line in ["crier: line 1", "crier: line 2", "crier: line 3"] {
        vm.wait_for_console(line, SOON)?;
    }
    ensure_eq!(vm.logs("crier")?.lines().count(), 3);
    ensure_eq!(vm.logs("kiosk")?, "");
    let tty = vm.probe("kiosk", &["read", "/proc/1/stat"])?;
    // tty_nr of proc_pid_stat(5): 4:64.
    ensure_eq!(tty.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(4)), Some("1088"));
    vm.power_off()
}
