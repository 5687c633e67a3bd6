//! Figures of many units: natively with a thousand, and on one node with two hundred.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use berth_qemu_tests::appliance::{Appliance, probe_unit};
use berth_qemu_tests::control::berth;
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, artefacts, ensure};
use berth_units::life::Life;
use berth_units::observed::{Moment, NetworkSeen, Observed, Record, Run, Seen};
use berth_units::plan::plan;
use berth_units::spec::Declared;
use berth_units::wire::control::State;
use berth_units::{SourceFile, parse_set};

use super::row;

const MANY: usize = 1000;
const CONTAINERS: usize = 200;
const ROUNDS: usize = 15;
/// How long the containers may take to come up under TCG.
const ALL_UP: Duration = Duration::from_secs(600);

/// Measures and prints.
pub fn run() -> Outcome {
    row("plan of 1,000 units, nothing to do", &millis(time_of_plan()?), "10 ms", "");
    row("berth check of 1,000 units", &millis(time_of_check()?), "200 ms", "");
    two_hundred()
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A thousand units in chains of ten, as an operator might have them.
fn thousand() -> Vec<SourceFile> {
    let file = |path: String, text: String| SourceFile { path, text };
    let mut files = vec![file("node.toml".into(), "schema = 1\nhostname = \"many\"\n".into())];
    for number in 0..10 {
        let text =
            format!("schema = 1\nkind = \"network\"\n[ipv4]\nsubnet = \"10.{}.0.0/22\"\n", 100 + number);
        files.push(file(format!("units/net-{number}.toml"), text));
    }
    for number in 0..MANY {
        let mut text = format!(
            "schema = 1\ndescription = \"Number {number}\"\n[image]\nref = \"shop/web:1.{number}\"\n\
             [process]\nargs = [\"--listen\", \"0.0.0.0:8080\"]\n[env]\nLOG_LEVEL = \"info\"\nNUMBER = \"{number}\"\n\
             [memory]\nmax = \"16M\"\n[networks.net-{}]\n[ports.http]\nhost = {}\ncontainer = 8080\n\
             [health.live]\nhttp = \"http://:8080/healthz\"\n",
            number / 100,
            20_000 + number,
        );
        if number % 10 > 0 {
            writeln!(text, "[depends.unit-{:04}]", number - 1).unwrap_or_default();
        }
        files.push(file(format!("units/unit-{number:04}.toml"), text));
    }
    files
}

fn time_of_plan() -> Outcome<Duration> {
    let checked = parse_set(&thousand());
    let mut declared = checked.declared.ok_or_else(|| format!("{:?}", checked.diagnostics.first()))?;
    declared.identify(|_, _| ());
    let observed = all_ready(&declared);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let actions = plan(&declared, &observed, Moment(1));
        times.push(start.elapsed());
        ensure!(actions.is_empty(), "there is something to do: {}", actions.len());
    }
    Ok(median(times))
}

fn all_ready(declared: &Declared) -> Observed {
    let seen = |name| {
        let identity = declared.identity(name).unwrap_or_default();
        let run = Run { pid: 1, fingerprint: identity.process, ..Run::default() };
        let record = Record { life: Life::Ready, run: Some(run), ..Record::default() };
        (declared.units.get_key_value(name).map(|(name, _)| name.clone()), Seen { record, ..Seen::default() })
    };
    let units = declared.units.keys().map(seen).filter_map(|(name, seen)| Some((name?, seen))).collect();
    let networks = declared.networks.keys().map(|name| (name.clone(), NetworkSeen::Up)).collect();
    Observed { units, networks, ..Observed::default() }
}

fn time_of_check() -> Outcome<Duration> {
    let dir = artefacts::ensure_empty("bench-thousand")?;
    fs::create_dir_all(dir.join("units"))?;
    for file in thousand() {
        fs::write(dir.join(file.path), file.text)?;
    }
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        berth(&["check", "-q", &dir.display().to_string()], b"")?.ok()?;
        times.push(start.elapsed());
    }
    Ok(median(times))
}

/// One changed key among many running units, and a supervisor that takes all of them over.
fn two_hundred() -> Outcome {
    let dir = artefacts::ensure_empty("bench-many")?;
    let appliance = Appliance::new(&dir)?;
    write_many(&appliance, "8M")?;
    let mut vm = Vm::start(&dir, &appliance, &Options { memory: "768M", ..Options::default() })?;
    vm.wait_for("all containers ready", ALL_UP, |vm| {
        let ready = vm.status()?.units.iter().filter(|unit| is_up(unit)).count();
        if ready > CONTAINERS { Ok(Some(())) } else { Err(format!("{ready} are ready").into()) }
    })?;
    let all: u64 = cpu_of_ours(&vm)?.iter().sum();
    let pids = pids(&vm)?;
    let changed = Appliance::new(&dir.join("changed"))?;
    write_many(&changed, "9M")?;
    let path = changed.dir().display().to_string();
    // What it costs to look is no part of it.
    let idle = cpu_of_ours(&vm)?;
    let before = cpu_of_ours(&vm)?;
    vm.berth(&["apply", "-q", &path], b"")?.ok()?;
    let after = cpu_of_ours(&vm)?;
    vm.wait_unit("many-1", "limited anew", SOON, |unit| unit.memory_max == Some(9 << 20))?;
    ensure!(self::pids(&vm)? == pids, "another unit was touched");
    let used = after.iter().zip(&before).zip(&idle).map(|((after, before), idle)| {
        let look = before.saturating_sub(*idle);
        after.saturating_sub(*before).saturating_sub(look)
    });
    let used: Vec<u64> = used.collect();
    let share = 100.0 * used.iter().sum::<u64>() as f64 / all.max(1) as f64;
    row(
        &format!("one key among {CONTAINERS} units, share of starting all"),
        &format!("{share:.1} %"),
        "3 %",
        "",
    );
    for (group, used) in GROUPS.iter().zip(&used) {
        row(&format!("  {group}"), &millis(Duration::from_micros(*used)), "", "");
    }
    row("  processor time of starting all", &format!("{:.1} s", all as f64 / 1e6), "", "");
    print_takeover(&mut vm)?;
    vm.power_off()
}

fn is_up(unit: &berth_units::wire::control::UnitStatus) -> bool {
    unit.kind == "container" && unit.state == State::Ready
}

fn write_many(appliance: &Appliance, first: &str) -> Outcome {
    for number in 1..=CONTAINERS {
        let max = if number == 1 { first } else { "8M" };
        let text =
            probe_unit(&["sleep"], &format!("[memory]\nmax = \"{max}\"\n[networks.net-{}]\n", number % 4));
        appliance.unit(&format!("many-{number}"), &text)?;
    }
    for number in 0..4 {
        appliance.unit(&format!("net-{number}"), "schema = 1\nkind = \"network\"\n")?;
    }
    let keys = "[security]\nprofile = \"privileged\"\n\
        [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n";
    Ok(appliance.probe("keeper", &["sleep"], keys)?)
}

/// cgroups whose processor time is ours: our processes, and all that happens in the units' own.
const GROUPS: [&str; 6] =
    ["units", "system/supervise", "system/netd", "system/log", "system/session", "system/relay"];

/// Microseconds of processor time of each of [`GROUPS`].
fn cpu_of_ours(vm: &Vm) -> Outcome<Vec<u64>> {
    let usage = |group: &&str| -> Outcome<u64> {
        let text = vm.probe("keeper", &["read", &format!("/cgroup/{group}/cpu.stat")])?;
        let line = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).ok_or("no usage_usec")?;
        Ok(line.trim().parse()?)
    };
    GROUPS.iter().map(usage).collect()
}

fn pids(vm: &Vm) -> Outcome<Vec<Option<i32>>> {
    let units = vm.status()?.units;
    Ok(units.into_iter().filter(|unit| unit.kind == "container").map(|unit| unit.pid).collect())
}

/// What the next supervisor says of its start.
fn print_takeover(vm: &mut Vm) -> Outcome {
    drop(vm.probe("keeper", &["write", "/cgroup/system/supervise/cgroup.kill", "1"]));
    let text = vm.wait_for("a supervisor that has taken over", SOON, |vm| {
        let console = vm.console();
        Ok(console.lines().find_map(|line| Some(line.split_once("taken over in ")?.1.trim().to_owned())))
    })?;
    row(&format!("supervisor restart with {CONTAINERS} containers"), &text, "1 s", "");
    Ok(())
}
