//! Units among each other: order, strengths, facts, limits.

use berth_qemu_tests::appliance::{Appliance, probe_unit_with};
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::State;

use crate::lab::Lab;

/// Name, arguments, keys of the unit itself, tables.
type Row = (&'static str, &'static [&'static str], &'static str, &'static str);

const SLEEP: &[&str] = &["sleep"];

/// The graph; what must be in force before each is written down once more in [`PAIRS`].
const GRAPH: &[Row] = &[
    ("prepare", &["exit", "0"], "type = \"oneshot\"\n", ""),
    ("store", SLEEP, "", "[depends.prepare]\nuntil = \"completed\"\n"),
    ("migrate", &["exit", "0"], "type = \"oneshot\"\n", "[depends.store]\n"),
    ("cache", SLEEP, "", "[depends.store]\n"),
    ("queue", SLEEP, "", "[depends.store]\nuntil = \"started\"\n"),
    (
        "api",
        SLEEP,
        "",
        "[depends.cache]\n[depends.queue]\non_restart = \"ignore\"\n\
         [depends.migrate]\nuntil = \"completed\"\nstrength = \"milestone\"\n\
         [depends.absent]\nstrength = \"wants\"\n",
    ),
    ("absent", SLEEP, "start = \"manual\"\n", ""),
    ("web", SLEEP, "", "[depends.api]\nuntil = \"healthy\"\n"),
    ("admin", SLEEP, "", "[depends.api]\nstrength = \"wants\"\n"),
    ("edge", SLEEP, "after = [\"web\", \"admin\"]\n", ""),
    ("first", SLEEP, "before = [\"prepare\"]\n", ""),
    ("fragile", SLEEP, "", "[restart]\npolicy = \"never\"\n"),
    ("leaner", SLEEP, "", "[depends.fragile]\n"),
    ("waiter", SLEEP, "", "[wait_for]\npaths = [\"/data/volumes/shared/go/now\"]\ntimeout = \"0s\"\n"),
    ("elsewhere", SLEEP, "", "[conditions]\narch = \"aarch64\"\n"),
    (
        "flaky",
        &["exit", "3"],
        "on_failure = [\"rescue\"]\n",
        "[restart]\ndelay = \"100ms\"\nburst = 2\non_limit = \"fail\"\n",
    ),
    ("rescue", SLEEP, "start = \"manual\"\n", ""),
];

/// The second comes after the first.
const PAIRS: &[(&str, &str)] = &[
    ("first", "prepare"),
    ("prepare", "store"),
    ("store", "migrate"),
    ("store", "cache"),
    ("store", "queue"),
    ("cache", "api"),
    ("queue", "api"),
    ("migrate", "api"),
    ("api", "web"),
    ("api", "admin"),
    ("web", "edge"),
    ("admin", "edge"),
    ("fragile", "leaner"),
];

fn write_graph(appliance: &Appliance) -> Outcome {
    for (name, words, top, tables) in GRAPH {
        let tables = format!("[network]\nmode = \"none\"\n{tables}");
        appliance.unit(name, &probe_unit_with(top, words, &tables))?;
    }
    let keeper = "[network]\nmode = \"none\"\n[security]\nprofile = \"privileged\"\n\
                  [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n\
                  [mounts.shared]\nvolume = \"shared\"\ntarget = \"/shared\"\n";
    Ok(appliance.probe("keeper", SLEEP, keeper)?)
}

/// Where the console says this for the first time.
fn position(console: &str, unit: &str, words: &[&str]) -> Outcome<usize> {
    let said = |line: &str| words.iter().any(|word| line.ends_with(&format!(" {unit} {word}")));
    let found = console.lines().position(|line| said(line.trim_end()));
    Ok(found.ok_or_else(|| format!("the console never says that '{unit}' is one of {words:?}"))?)
}

pub fn graph_starts_in_order_and_stops_in_reverse(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    write_graph(&appliance)?;
    let mut vm = lab.boot(&appliance, &Options { memory: "256M", ..Options::default() })?;
    vm.wait_ready(&["keeper", "edge", "leaner", "first"])?;
    let console = vm.console();
    for (before, after) in PAIRS {
        let [before_at, after_at] = [
            position(&console, before, &["ready", "completed"])?,
            position(&console, after, &["ready", "completed"])?,
        ];
        ensure!(before_at < after_at, "'{after}' came before '{before}'");
    }
    let absent = vm.unit("absent")?;
    ensure_eq!((absent.state, absent.restarts), (State::Stopped, 0));
    let elsewhere = vm.unit("elsewhere")?;
    let why = elsewhere.why.unwrap_or_default();
    ensure!(why.contains("skipped") && why.contains("aarch64"), "'elsewhere': {why}");

    limit_is_reached(&mut vm)?;
    path_is_waited_for(&mut vm)?;
    need_is_bound(&mut vm)?;
    restart_goes_round(&mut vm)?;

    // The next supervisor knows the order as well.
    drop(vm.probe("keeper", &["write", "/cgroup/system/supervise/cgroup.kill", "1"]));
    vm.wait_for("another supervisor", SOON, |vm| {
        let restarts = vm.status()?.node.restarts;
        Ok((restarts.get("supervise") == Some(&1)).then_some(()))
    })?;
    vm.wait_ready(&["edge", "web", "api", "store"])?;
    let before = vm.console().len();
    vm.power_off()?;
    let console = vm.console();
    let end = console.get(before..).unwrap_or_default();
    let stays = |name: &str| !["prepare", "migrate", "fragile", "leaner"].contains(&name);
    for (before, after) in PAIRS.iter().filter(|(before, after)| stays(before) && stays(after)) {
        let [before_at, after_at] =
            [position(end, before, &["stopped"])?, position(end, after, &["stopped"])?];
        ensure!(after_at < before_at, "'{before}' stopped before '{after}'");
    }
    Ok(())
}

/// `flaky` fails for good after its second restart, which starts `rescue`.
fn limit_is_reached(vm: &mut Vm) -> Outcome {
    let flaky = vm.wait_unit("flaky", "failed", SOON, |unit| unit.state == State::Failed)?;
    ensure_eq!(flaky.restarts, 2);
    ensure_eq!(flaky.last_exit.and_then(|exit| exit.code), Some(3));
    vm.wait_ready(&["rescue"])
}

/// `waiter` says for what it waits, and starts when it is there.
fn path_is_waited_for(vm: &mut Vm) -> Outcome {
    let waiter = vm.unit("waiter")?;
    let why = waiter.why.unwrap_or_default();
    ensure!(waiter.state == State::Waiting && why.contains("/data/volumes/shared/go/now"), "'waiter': {why}");
    vm.probe("keeper", &["make-dir", "/shared/go"])?;
    vm.probe("keeper", &["write", "/shared/go/now", "go"])?;
    vm.wait_ready(&["waiter"])
}

/// `leaner` stops when `fragile` has died for good, and comes back with it.
fn need_is_bound(vm: &mut Vm) -> Outcome {
    vm.probe("keeper", &["write", "/cgroup/units/fragile/cgroup.kill", "1"])?;
    let leaner = vm.wait_unit("leaner", "waiting", SOON, |unit| unit.state == State::Waiting)?;
    let why = leaner.why.unwrap_or_default();
    ensure!(why.contains("'fragile'") && why.contains("failed"), "'leaner': {why}");
    ensure_eq!(vm.unit("fragile")?.state, State::Failed);
    vm.berth(&["start", "fragile"], b"")?.ok()?;
    vm.wait_ready(&["fragile", "leaner"])
}

/// A restart of `cache` takes `api` and `web` with it; `queue` and `admin` go on.
fn restart_goes_round(vm: &mut Vm) -> Outcome {
    let names = ["cache", "api", "web", "queue", "admin", "edge"];
    let pids = |vm: &Vm| -> Outcome<Vec<i32>> { names.iter().map(|name| vm.pid(name)).collect() };
    let before = pids(vm)?;
    vm.berth(&["restart", "cache"], b"")?.ok()?;
    vm.wait_for("the restart of three units", SOON, |vm| {
        let ready = vm
            .status()?
            .units
            .iter()
            .filter(|unit| names.contains(&unit.name.as_str()))
            .all(|unit| unit.state == State::Ready);
        let changed: Vec<bool> = pids(vm)?.iter().zip(&before).map(|(now, then)| now != then).collect();
        let expect = [true, true, true, false, false, false];
        if ready && changed == expect {
            Ok(Some(()))
        } else {
            Err(format!("new processes: {changed:?}").into())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_units::{SourceFile, parse_set};

    #[test]
    fn the_graph_is_without_fault() {
        let mut set: Vec<_> = GRAPH
            .iter()
            .map(|(name, words, top, tables)| SourceFile {
                path: format!("{name}.toml"),
                text: probe_unit_with(top, words, tables),
            })
            .collect();
        set.push(SourceFile { path: "node.toml".into(), text: "schema = 1\n".into() });
        let diagnostics = parse_set(&set).diagnostics;
        assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    }
}
