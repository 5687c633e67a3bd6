//! What a unit is given of the node, and what is kept from it.

use berth_qemu_tests::appliance::{Appliance, probe_unit_with};
use berth_qemu_tests::vm::{SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::{ExitReason, State};

use crate::lab::Lab;

/// Lines of the unit that writes too many.
const FLOOD: usize = 3000;

/// The keeper may look at everything; the rest starts when a scenario asks.
fn write_units(appliance: &Appliance) -> Outcome {
    appliance.probe(
        "keeper",
        &["sleep"],
        "[security]\nprofile = \"privileged\"\n\
         [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n\
         [mounts.proc]\nbind = \"/proc\"\ntarget = \"/node-proc\"\n",
    )?;
    let manual = |name: &str, top: &str, words: &[&str], keys: &str| {
        let top = format!("start = \"manual\"\n{top}");
        appliance.unit(name, &probe_unit_with(&top, words, keys))
    };
    let sleeper = |name: &str, keys: &str| manual(name, "", &["sleep"], keys);
    sleeper("pinned", "[cpuset]\ncpus = \"1\"\nmems = \"0\"\n[hugetlb]\n\"2M\" = \"4M\"\n")?;
    manual("reserved", "hugetlb_rsvd = true\n", &["sleep"], "[hugetlb]\n\"2M\" = \"2M\"\n")?;
    sleeper("alone", "[cpuset]\ncpus = \"1\"\npartition = \"root\"\n")?;
    sleeper("greedy", "[cpuset]\ncpus = \"0-1\"\npartition = \"root\"\n")?;
    sleeper("raw", "[cgroup.raw]\n\"memory.peak\" = 0\n")?;
    sleeper("unknown", "[cgroup.raw]\n\"misc.max\" = \"nothing 1\"\n")?;
    sleeper("slow", "[cpu]\nuclamp_max = \"40%\"\n")?;
    sleeper("patient", "[io.limits.\"/dev/vda\"]\nlatency = \"10ms\"\n")?;
    sleeper(
        "batch",
        "nice = -5\nio_priority = \"be:2\"\nscheduler = { policy = \"batch\", reset_on_fork = true }\n",
    )?;
    sleeper("urgent", "scheduler = { policy = \"rr\", priority = 7 }\n")?;
    sleeper(
        "modem",
        "user = \"1000\"\n[devices.line]\nsource = \"/dev/zero\"\ntarget = \"/dev/line/0\"\nmode = \"0660\"\nuid = 1000\n\
         [devices.maybe]\nsource = \"/dev/ttyUSB7\"\nrequired = false\n",
    )?;
    const BUSY: [&str; 3] = ["burn-cpu", "600", "2"];
    const SHORT: &str =
        "[cpu]\nmax = \"0.1\"\n[restart]\npolicy = \"never\"\n[pressure.busy]\nresource = \"cpu\"\n";
    manual("doomed", "", &BUSY, &format!("{SHORT}action = \"kill\"\n"))?;
    manual("loud", "", &BUSY, SHORT)?;
    let flood = "[log]\nrate = \"100/h\"\nmax_line = \"256\"\n[restart]\npolicy = \"never\"\n";
    manual("flood", "", &["spew", &FLOOD.to_string()], flood)?;
    sleeper("plugless", "[devices.line]\nsource = \"/dev/ttyUSB7\"\n")?;
    Ok(())
}

fn node(lab: &mut Lab) -> Outcome<&mut Vm> {
    lab.node("resources", write_units, &["keeper"])
}

fn start(vm: &mut Vm, name: &str) -> Outcome {
    vm.berth(&["start", name], b"")?.ok()?;
    vm.wait_ready(&[name])
}

fn stop(vm: &Vm, name: &str) -> Outcome {
    vm.berth(&["stop", name], b"")?.ok().map(drop)
}

/// A file of a unit's cgroup.
fn knob(vm: &Vm, unit: &str, file: &str) -> Outcome<String> {
    Ok(vm.probe("keeper", &["read", &format!("/cgroup/units/{unit}/{file}")])?.trim().to_owned())
}

/// Starts a unit that cannot start; why not, in the node's words.
fn refusal(vm: &mut Vm, name: &str) -> Outcome<String> {
    vm.berth(&["start", "--no-wait", name], b"")?.ok()?;
    let unit = vm.wait_unit(name, "refused", SOON, |unit| unit.last_exit.is_some())?;
    stop(vm, name)?;
    Ok(format!("{:?} {:?}", unit.why, unit.last_exit))
}

pub fn knobs_reach_the_kernel(lab: &mut Lab) -> Outcome {
    let vm = node(lab)?;
    start(vm, "pinned")?;
    ensure_eq!(vm.probe("pinned", &["status", "Cpus_allowed_list"])?.trim(), "1");
    ensure_eq!(knob(vm, "pinned", "hugetlb.2MB.max")?, "4194304");
    stop(vm, "pinned")?;
    start(vm, "reserved")?;
    ensure_eq!(knob(vm, "reserved", "hugetlb.2MB.rsvd.max")?, "2097152");
    ensure_eq!(knob(vm, "reserved", "hugetlb.2MB.max")?, "max");
    stop(vm, "reserved")?;
    start(vm, "raw")?;
    stop(vm, "raw")?;
    start(vm, "alone")?;
    ensure_eq!(knob(vm, "alone", "cpuset.cpus.partition")?, "root");
    ensure_eq!(vm.probe("alone", &["status", "Cpus_allowed_list"])?.trim(), "1");
    ensure_eq!(vm.probe("keeper", &["status", "Cpus_allowed_list"])?.trim(), "0");
    stop(vm, "alone")?;
    ensure_eq!(vm.probe("keeper", &["status", "Cpus_allowed_list"])?.trim(), "0-1");
    for (name, words) in [
        ("greedy", "cpuset.cpus"),
        ("unknown", "'nothing 1' to 'misc.max'"),
        ("slow", "has no 'cpu.uclamp.max'"),
        ("patient", "has no 'io.latency'"),
    ] {
        let said = refusal(vm, name)?;
        ensure!(said.contains(words), "{name}: {said}");
    }
    Ok(())
}

/// Nice value, real-time priority and policy of a unit's process, as the node sees it: fields of proc(5).
fn scheduling(vm: &Vm, unit: &str) -> Outcome<String> {
    let stat = vm.probe("keeper", &["read", &format!("/node-proc/{}/stat", vm.pid(unit)?)])?;
    let fields: Vec<_> = stat.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 1).copied().unwrap_or_default();
    Ok([19, 40, 41].map(field).join(" "))
}

pub fn scheduling_is_as_asked(lab: &mut Lab) -> Outcome {
    let vm = node(lab)?;
    ensure_eq!(scheduling(vm, "keeper")?, "0 0 0");
    start(vm, "batch")?;
    ensure_eq!(scheduling(vm, "batch")?, "-5 0 3");
    // What joins it is one of its processes.
    let own = vm.probe("batch", &["read", "/proc/self/stat"])?;
    ensure_eq!(own.split_whitespace().nth(40), Some("3"));
    start(vm, "urgent")?;
    let class = scheduling(vm, "urgent")?;
    ensure!(class.ends_with(" 7 2"), "{class}");
    stop(vm, "batch")?;
    stop(vm, "urgent")
}

pub fn devices_are_given_by_name(lab: &mut Lab) -> Outcome {
    let vm = node(lab)?;
    start(vm, "modem")?;
    vm.probe("modem", &["write", "/dev/line/0", "hello"])?;
    let names = vm.probe("modem", &["list", "/dev"])?;
    let has = |name: &str| names.lines().any(|line| line == name);
    ensure!(has("line") && !has("vda") && !has("kmsg") && !has("ttyUSB7"), "{names}");
    stop(vm, "modem")?;
    let said = refusal(vm, "plugless")?;
    ensure!(said.contains("cannot find device '/dev/ttyUSB7'"), "{said}");
    Ok(())
}

pub fn pressure_is_acted_upon(lab: &mut Lab) -> Outcome {
    const SAID: &str = "loud: pressure 'busy': processes waited for processors over 150ms of 1s";
    let vm = node(lab)?;
    vm.berth(&["start", "--no-wait", "doomed"], b"")?.ok()?;
    let unit = vm.wait_unit("doomed", "killed", SOON, |unit| unit.last_exit.is_some())?;
    let exit = unit.last_exit.ok_or("no exit")?;
    ensure_eq!(exit.reason, ExitReason::Unhealthy);
    ensure!(exit.detail.as_ref().is_some_and(|why| why.contains("pressure 'busy'")), "{exit:?}");
    start(vm, "loud")?;
    vm.wait_for_console(SAID, SOON)?;
    // It is said once a minute, unless it is another supervisor that says it.
    vm.probe("keeper", &["write", "/cgroup/system/supervise/cgroup.kill", "1"]).ok();
    vm.wait_for("the same of the next supervisor", SOON, |vm| {
        Ok((vm.console().matches(SAID).count() >= 2).then_some(()))
    })?;
    stop(vm, "loud")
}

pub fn too_many_lines_are_dropped_and_counted(lab: &mut Lab) -> Outcome {
    let vm = node(lab)?;
    vm.berth(&["start", "--no-wait", "flood"], b"")?.ok()?;
    vm.wait_unit("flood", "completed", SOON, |unit| unit.state == State::Completed)?;
    let logs = vm.wait_for("the count of lines that are not there", SOON, |vm| {
        let logs = vm.logs("flood")?;
        Ok(logs.contains("dropped, over log.rate 100/h").then_some(logs))
    })?;
    let (said, kept): (Vec<_>, Vec<_>) = logs.lines().partition(|line| line.contains("stderr berth: "));
    let count = |line: &&str| line.split(' ').nth(3).and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
    ensure_eq!((kept.len(), said.iter().map(count).sum::<usize>()), (100, FLOOD - 100));
    Ok(())
}
