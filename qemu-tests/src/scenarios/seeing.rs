//! What a person sees of a running node, and can ask.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use berth_qemu_tests::vm::{SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::State;
use berth_units::wire::event::{Event, Kind};
use serde_json::Value;

use crate::lab::Lab;

/// Long enough for a unit that runs to write many lines, and for a check of its to fail.
const PAUSE: Duration = Duration::from_secs(2);
/// `stop.timeout` where the unit says nothing.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// `berth events -f`, ended when it goes out of scope.
struct Follower(Child);

impl Follower {
    fn start(vm: &Vm, since: u64) -> Outcome<Self> {
        let node = format!("unix:{}", vm.socket().display());
        let words = ["--node", &node, "events", "-f", "--json", "--since", &since.to_string()];
        Ok(Self(Command::new("./bin/berth").args(words).stdout(Stdio::piped()).spawn()?))
    }

    /// Everything up to that number.
    fn read_until(&mut self, last: u64) -> Outcome<Vec<Event>> {
        let mut events: Vec<Event> = Vec::new();
        let lines = BufReader::new(self.0.stdout.as_mut().ok_or("its output was read")?).lines();
        for line in lines {
            events.push(serde_json::from_str(&line?)?);
            if events.last().is_some_and(|event| event.seq >= last) {
                return Ok(events);
            }
        }
        Err("it ended by itself".into())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn events(vm: &Vm, words: &[&str]) -> Outcome<Vec<Event>> {
    let text = vm.berth(&[&["events", "--json"], words].concat(), b"")?.ok()?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Kills the supervisor and waits for the next one.
fn kill_supervisor(vm: &mut Vm) -> Outcome {
    let restarts =
        |vm: &Vm| -> Outcome<u64> { Ok(vm.status()?.node.restarts.get("supervise").copied().unwrap_or(0)) };
    let before = restarts(vm)?;
    // The command itself may lose its connection.
    drop(vm.probe("keeper", &["write", "/cgroup/system/supervise/cgroup.kill", "1"]));
    vm.wait_for("the next supervisor", SOON, |vm| Ok((restarts(vm)? > before).then_some(())))
}

pub fn events_have_no_gap_over_a_killed_supervisor(lab: &mut Lab) -> Outcome {
    let kills = lab.times(3, 30);
    let vm = lab.probes()?;
    let since = events(vm, &[])?.last().ok_or("no event at all")?.seq;
    let mut follower = Follower::start(vm, since)?;
    // It may already have ended again when the command looks.
    drop(vm.berth(&["start", "crasher"], b"")?);
    for _ in 0..kills {
        let seen = events(vm, &["--unit", "crasher"])?.last().map_or(0, |event| event.seq);
        kill_supervisor(vm)?;
        vm.wait_for("another event of the crasher", SOON, |vm| {
            let news = events(vm, &["--unit", "crasher", "--since", &seen.to_string()])?;
            Ok(news.iter().any(|event| event.kind == Kind::Exited).then_some(()))
        })?;
    }
    vm.berth(&["stop", "crasher"], b"")?.ok()?;
    vm.wait_unit("crasher", "stopped", SOON, |unit| unit.state == State::Stopped)?;

    let all = events(vm, &[])?;
    let first = all.first().ok_or("no event at all")?;
    ensure_eq!(first.kind, Kind::Boot);
    ensure_eq!(first.seq % 1_000_000, 1);
    ensure_without_gap(&all)?;
    let ours: Vec<Event> = all.into_iter().filter(|event| event.seq > since).collect();
    let last = ours.last().ok_or("nothing happened")?.seq;
    ensure_eq!(follower.read_until(last)?, ours);
    let of = |kind: Kind, member: &str| -> Vec<u64> {
        let mine = ours.iter().filter(|event| event.kind == kind);
        mine.filter_map(|event| event.detail.get(member)?.as_u64()).collect()
    };
    ensure_eq!(of(Kind::Daemon, "restarts").len(), kills as usize);
    // Each run is made once, and ends once.
    let runs = of(Kind::Starting, "run");
    ensure!(runs.len() >= 3, "runs {runs:?}");
    ensure!(runs.iter().zip(runs.iter().skip(1)).all(|(one, next)| *next == one + 1), "runs {runs:?}");
    ensure_eq!(of(Kind::Exited, "run"), runs);
    Ok(())
}

fn ensure_without_gap(events: &[Event]) -> Outcome {
    for pair in events.windows(2) {
        if let [one, next] = pair {
            ensure!(next.seq == one.seq + 1, "{one:?} is followed by {next:?}");
        }
    }
    Ok(())
}

/// Lines that a unit has written so far.
fn lines_of(vm: &Vm, unit: &str) -> Outcome<usize> {
    Ok(vm.logs(unit)?.lines().count())
}

pub fn paused_unit_does_not_run(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    vm.berth(&["start", "ticker"], b"")?.ok()?;
    let before = vm.unit("ticker")?;
    vm.berth(&["pause", "ticker"], b"")?.ok()?;
    let frozen = "/cgroup/units/ticker/cgroup.events";
    let is_frozen = |vm: &Vm| Ok(vm.probe("keeper", &["read", frozen])?.contains("frozen 1").then_some(()));
    vm.wait_for("a frozen cgroup", SOON, is_frozen)?;
    // Its live check asks for what does not answer now: it is not asked, so nothing comes of it.
    let lines = lines_of(vm, "ticker")?;
    let said = vm.exec("ticker", &["/probe", "status", "Pid"])?;
    ensure_eq!(said.code, 4);
    ensure!(said.stderr.contains("unit 'ticker' is paused"), "{}", said.stderr);
    ensure!(said.stderr.contains("help: 'berth resume ticker'"), "{}", said.stderr);
    ensure_eq!(vm.berth(&["start", "ticker"], b"")?.code, 4);
    kill_supervisor(vm)?;
    ensure_eq!(vm.unit("ticker")?.state, State::Paused);
    // Behind our back: it is put right.
    vm.probe("keeper", &["write", "/cgroup/units/ticker/cgroup.freeze", "0"])?;
    vm.wait_for("a cgroup that is frozen again", SOON, is_frozen)?;
    let thawed_for_a_moment = lines_of(vm, "ticker")?;
    std::thread::sleep(PAUSE);
    ensure_eq!(lines_of(vm, "ticker")?, thawed_for_a_moment);
    ensure!(thawed_for_a_moment <= lines + 20, "{lines} lines became {thawed_for_a_moment}");

    vm.berth(&["resume", "ticker"], b"")?.ok()?;
    vm.wait_for("further lines", SOON, |vm| {
        Ok((lines_of(vm, "ticker")? > thawed_for_a_moment).then_some(()))
    })?;
    let after = vm.unit("ticker")?;
    ensure_eq!((after.pid, after.restarts, after.state), (before.pid, before.restarts, State::Ready));
    let kinds: Vec<Kind> = events(vm, &["--unit", "ticker"])?.iter().map(|event| event.kind).collect();
    ensure_eq!(kinds.iter().filter(|kind| matches!(kind, Kind::Paused | Kind::Resumed)).count(), 2);
    ensure!(!kinds.contains(&Kind::Check) || !kinds.contains(&Kind::Unready), "{kinds:?}");

    // A paused unit is stopped as any other.
    vm.berth(&["pause", "ticker"], b"")?.ok()?;
    let start = Instant::now();
    vm.berth(&["stop", "ticker"], b"")?.ok()?;
    ensure!(start.elapsed() < STOP_TIMEOUT, "it was stopped after {:?} only", start.elapsed());
    Ok(())
}

/// A member of a JSON value; null where there is none.
fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

pub fn why_top_and_inspect_answer(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    // It may already have ended again when the command looks.
    drop(vm.berth(&["start", "crasher"], b"")?);
    vm.wait_unit("crasher", "in backoff", SOON, |unit| unit.state == State::Backoff && unit.restarts >= 2)?;
    let why = vm.berth(&["why", "crasher"], b"")?.ok()?;
    for words in
        ["crasher is ", "last exit   exit code 3", "depends on  nothing", "tried again in", "restarted "]
    {
        ensure!(why.contains(words), "no '{words}' in:\n{why}");
    }
    vm.berth(&["stop", "crasher"], b"")?.ok()?;

    let text = vm.berth(&["top", "--once", "--json"], b"")?.ok()?;
    let top: Value = serde_json::from_str(&text)?;
    let units = at(&top, "/units").as_array().ok_or("no units")?;
    let echo = units.iter().find(|unit| at(unit, "/name") == "echo").ok_or("no echo")?;
    for member in ["cpu_percent", "memory", "pids", "io_bytes_per_second"] {
        ensure!(echo.get(member).is_some_and(Value::is_number), "'{member}' of {echo}");
    }
    let table = vm.berth(&["top", "-n", "2"], b"")?.ok()?;
    ensure_eq!(table.lines().filter(|line| line.starts_with("UNIT")).count(), 2);
    ensure!(!table.contains('\x1b'), "escape sequences off a terminal: {table:?}");

    let inspected: Value = serde_json::from_str(&vm.berth(&["inspect", "visitor"], b"")?.ok()?)?;
    ensure_eq!(at(&inspected, "/declared/stop/timeout"), 10.0);
    ensure_eq!(at(&inspected, "/depends_on/0/unit"), "clinic");
    let echo: Value = serde_json::from_str(&vm.berth(&["inspect", "echo"], b"")?.ok()?)?;
    ensure_eq!(at(&echo, "/status/state"), "ready");
    ensure_eq!(at(&echo, "/record/run/pid"), at(&echo, "/status/pid"));
    ensure!(
        at(&echo, "/image/digest").as_str().is_some_and(|digest| digest.starts_with("sha256:")),
        "{echo}"
    );
    ensure!(at(&echo, "/cgroup/cpu.stat").as_str().is_some_and(|text| text.contains("usage_usec")), "{echo}");
    let status = vm.berth(&["status", "visitor"], b"")?.ok()?;
    ensure!(status.contains("depends on clinic ("), "{status}");
    Ok(())
}

pub fn changes_of_a_root_are_told(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    vm.berth(&["start", "scribe"], b"")?.ok()?;
    let diff = |vm: &Vm, unit: &str| vm.berth(&["diff-fs", unit], b"");
    let fresh = diff(vm, "scribe")?.ok()?;
    ensure!(!fresh.contains("/probe"), "a fresh container: {fresh}");
    vm.probe("scribe", &["make-dir", "/deep/er"])?;
    vm.probe("scribe", &["write", "/deep/er/note", "hello"])?;
    vm.probe("scribe", &["write", "/tmp/elsewhere", "a mount, not the root"])?;
    vm.probe("scribe", &["rename", "/probe", "/moved"])?;
    let told = diff(vm, "scribe")?.ok()?;
    for line in ["A /deep", "A /deep/er", "A /deep/er/note", "A /moved", "D /probe"] {
        ensure!(told.lines().any(|told| told == line), "no '{line}' in:\n{told}");
    }
    ensure!(!told.contains("elsewhere") && !told.contains("/proc/"), "{told}");
    vm.berth(&["restart", "scribe"], b"")?.ok()?;
    ensure_eq!(diff(vm, "scribe")?.ok()?, fresh);
    let said = diff(vm, "echo")?;
    ensure_eq!((said.code, said.stdout.as_str()), (0, ""));
    ensure!(said.stderr.contains("read-only"), "{}", said.stderr);
    vm.berth(&["stop", "scribe"], b"")?.ok()?;
    ensure_eq!(diff(vm, "scribe")?.code, 4);
    Ok(())
}
