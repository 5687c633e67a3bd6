//! What a person sees of a running node, and can ask.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use berth_qemu_tests::vm::{SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::State;
use berth_units::wire::event::{Event, Kind};

use crate::lab::Lab;

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
