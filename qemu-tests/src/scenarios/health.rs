//! Checks of an image that holds one program and no shell.

use berth_qemu_tests::vm::{SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::health::Verdict;
use berth_units::wire::control::{ExitReason, State, UnitStatus};

use crate::lab::Lab;

fn verdict(unit: &UnitStatus, check: &str) -> Option<Verdict> {
    unit.checks.iter().find(|found| found.name == check).map(|found| found.verdict)
}

/// The clinic, started and open.
fn open(vm: &mut Vm) -> Outcome<UnitStatus> {
    vm.berth(&["start", "--no-wait", "clinic"], b"")?.ok()?;
    vm.wait_unit("clinic", "not ready for its check", SOON, |unit| {
        unit.state == State::Starting && unit.why.as_ref().is_some_and(|why| why.contains("HTTP 500"))
    })?;
    vm.probe("clinic", &["write", "/tmp/open", ""])?;
    vm.wait_unit("clinic", "ready with all checks passing", SOON, |unit| {
        unit.state == State::Ready && unit.checks.iter().all(|check| check.verdict == Verdict::Passing)
    })
}

pub fn ready_check_gates_whoever_depends(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    vm.berth(&["start", "--no-wait", "visitor"], b"")?.ok()?;
    vm.wait_unit("visitor", "waiting", SOON, |unit| unit.state == State::Waiting)?;
    let unit = open(vm)?;
    ensure_eq!(unit.checks.len(), 4);
    vm.wait_ready(&["visitor"])?;
    vm.probe("clinic", &["remove", "/tmp/open"])?;
    let closed = vm.wait_unit("clinic", "not ready any more", SOON, |unit| unit.state == State::Starting)?;
    ensure_eq!(verdict(&closed, "open"), Some(Verdict::Failing));
    ensure_eq!(verdict(&closed, "live"), Some(Verdict::Passing));
    ensure_eq!(closed.pid, unit.pid);
    vm.probe("clinic", &["write", "/tmp/open", ""])?;
    vm.wait_ready(&["clinic"])?;
    vm.berth(&["stop", "visitor"], b"")?.ok()?;
    vm.berth(&["stop", "clinic"], b"")?.ok().map(drop)
}

pub fn failed_live_check_restarts(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    let before = open(vm)?;
    vm.probe("clinic", &["write", "/tmp/ill", ""])?;
    let after = vm.wait_unit("clinic", "started again", SOON, |unit| {
        unit.last_exit.as_ref().is_some_and(|exit| exit.reason == ExitReason::Unhealthy)
            && unit.pid.is_some_and(|pid| before.pid != Some(pid))
            && verdict(unit, "live") == Some(Verdict::Passing)
    })?;
    ensure_eq!(after.restarts, 1);
    let detail = after.last_exit.and_then(|exit| exit.detail).unwrap_or_default();
    ensure!(detail.contains("check 'live' failed 3 times: HTTP 500"), "it ended for: {detail}");
    // Its /tmp is a new one: it is well, and closed.
    ensure_eq!(after.state, State::Starting);
    vm.berth(&["stop", "clinic"], b"")?.ok().map(drop)
}
