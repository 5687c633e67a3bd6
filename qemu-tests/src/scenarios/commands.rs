//! The command line against a node.

use berth_qemu_tests::vm::SOON;
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::{ExitReason, State};

use crate::lab::Lab;

pub fn exec_passes_streams_and_exit_code(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    let long = "through the wire ".repeat(20_000);
    let said = vm.exec_with("inside", &["/probe", "echo"], long.as_bytes())?;
    ensure!(
        said.code == 0 && said.stdout == long,
        "exit {}, {} bytes came back",
        said.code,
        said.stdout.len()
    );
    let said = vm.exec("inside", &["/probe", "spew", "4"])?;
    ensure_eq!((said.stdout.as_str(), said.stderr.as_str()), ("line 1\nline 3\n", "line 2\nline 4\n"));
    ensure_eq!(vm.exec("inside", &["/probe", "exit", "42"])?.code, 42);
    // A program that is not there, a unit that is not there, a unit that does not run: said, and not by a hang.
    for (unit, program) in [("inside", "/no-such-program"), ("insied", "/probe"), ("hog", "/probe")] {
        let said = vm.exec(unit, &[program])?;
        ensure!(said.code != 0 && !said.stderr.is_empty(), "exec {unit} {program}: {said:?}");
    }
    Ok(())
}

pub fn logs_outlive_the_container(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    vm.berth(&["start", "spew"], b"")?.ok()?;
    let unit = vm.wait_unit("spew", "completed", SOON, |unit| unit.state == State::Completed)?;
    ensure!(unit.pid.is_none(), "it still has a process");
    let logs = vm.wait_for("a thousand log lines", SOON, |vm| {
        let logs = vm.logs("spew")?;
        let count = logs.lines().filter(|line| line.contains("line ")).count();
        if count >= 1000 { Ok(Some(logs)) } else { Err(format!("{count} lines").into()) }
    })?;
    every_line_once(&logs, 1000)
}

/// `line 1` to `line COUNT`, the odd ones from standard output, each exactly once and each stream in order.
pub(super) fn every_line_once(logs: &str, count: u64) -> Outcome {
    let mut next = [2, 1];
    for line in logs.lines() {
        let Some((_, number)) = line.rsplit_once("line ") else { continue };
        let number: u64 = number.trim().parse().map_err(|_| format!("odd log line {line:?}"))?;
        let odd = number % 2 == 1;
        let expect = if odd { &mut next[1] } else { &mut next[0] };
        ensure!(number == *expect, "line {number} where {expect} was due: {line:?}");
        *expect += 2;
        let stream = if odd { "stdout" } else { "stderr" };
        ensure!(line.contains(stream), "no '{stream}' in {line:?}");
    }
    let last = next[0].max(next[1]) - 2;
    ensure!(last == count && next[0].abs_diff(next[1]) == 1, "the last line is {last}, not {count}");
    Ok(())
}

pub fn units_stop_start_and_restart(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    let first = vm.pid("echo")?;
    vm.berth(&["stop", "echo"], b"")?.ok()?;
    let unit = vm.wait_unit("echo", "stopped", SOON, |unit| unit.state == State::Stopped)?;
    ensure_eq!(unit.last_exit.map(|exit| exit.reason), Some(ExitReason::Stopped));
    vm.berth(&["start", "echo"], b"")?.ok()?;
    vm.wait_ready(&["echo"])?;
    let second = vm.pid("echo")?;
    ensure!(first != second, "the same process after stop and start");
    vm.berth(&["restart", "echo"], b"")?.ok()?;
    vm.wait_unit("echo", "ready again", SOON, |unit| {
        unit.state == State::Ready && unit.pid.is_some_and(|pid| pid != second)
    })?;
    let said = vm.berth(&["start", "ecko"], b"")?;
    ensure!(said.code == 4 && said.stderr.contains("echo"), "a misspelt unit: {said:?}");
    Ok(())
}

pub fn readiness_is_waited_for(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    vm.berth(&["start", "herald"], b"")?.ok()?;
    vm.wait_ready(&["herald"])?;
    // Whether the command waits for readiness is not the point here; what becomes of the unit is.
    drop(vm.berth(&["start", "mute"], b"")?);
    let unit = vm.wait_unit("mute", "failed", SOON, |unit| unit.state == State::Failed)?;
    ensure_eq!(unit.last_exit.map(|exit| exit.reason), Some(ExitReason::StartTimeout));
    vm.berth(&["stop", "herald"], b"")?.ok().map(drop)
}
