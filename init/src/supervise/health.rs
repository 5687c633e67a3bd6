//! Readiness and health of units: what they and their checks say, taken in.

use berth_units::Name;
use berth_units::health::{CheckResult, CheckSeen, Health};
use berth_units::life::Event;
use berth_units::plan::{KillReason, readiness};
use berth_units::spec::{Check, Probe, Unit};
use berth_units::wire::control::{CheckStatus, ResultStatus};

use super::{Supervisor, clock};
use crate::{notice, warning};

impl Supervisor {
    /// The condition of `ready.when` has been met.
    pub(super) fn said_ready(&mut self, name: &Name) {
        if let Some(seen) = self.observed.units.get_mut(name) {
            seen.record.health.said_ready = true;
        }
        self.save(name);
        self.settle_readiness(name);
    }

    /// Has the life of a unit follow what it and its checks have said.
    pub(super) fn settle_readiness(&mut self, name: &Name) {
        let (Some(unit), Some(seen)) = (self.set.declared.units.get(name), self.observed.units.get(name))
        else {
            return;
        };
        let Some(event) = readiness(unit, seen) else {
            return;
        };
        match event {
            Event::BecameReady => notice!("{name} ready"),
            _ => warning!("{name} not ready any more"),
        }
        self.step(name, event);
    }

    /// Ends a unit for a check that failed, and notes which: the end that follows is no asked-for one.
    pub(super) fn replace(&mut self, name: &Name, kill: bool, why: &str) {
        warning!("{name}: {why}");
        if let Some(run) = self.observed.units.get_mut(name).and_then(|seen| seen.record.run.as_mut()) {
            run.unhealthy = Some(why.to_owned());
        }
        match kill {
            true => self.kill(name, KillReason::StopTimeout),
            false => self.stop(name),
        }
    }
}

/// The checks of a unit, for people.
pub(super) fn checks(unit: &Unit, health: &Health) -> Vec<CheckStatus> {
    let seen = |name: &String| health.checks.get(name).cloned().unwrap_or_default();
    unit.health.iter().map(|(name, check)| check_status(name, check, seen(name))).collect()
}

fn check_status(name: &str, check: &Check, seen: CheckSeen) -> CheckStatus {
    let result = |result: CheckResult| ResultStatus {
        at: clock::wall_text(result.at),
        passed: result.passed,
        text: result.text,
    };
    CheckStatus {
        name: name.to_owned(),
        role: check.role,
        target: target(&check.probe),
        verdict: seen.verdict,
        since: clock::wall_text(seen.since),
        row: seen.row,
        results: seen.results.into_iter().map(result).collect(),
    }
}

fn target(probe: &Probe) -> String {
    match probe {
        Probe::Exec(argv) => argv.join(" "),
        Probe::Http(http) if http.address.is_loopback() => format!("http://:{}{}", http.port, http.path),
        Probe::Http(http) => format!("http://{}:{}{}", http.address, http.port, http.path),
        Probe::Grpc(port) => format!("grpc port {port}"),
        Probe::Tcp(port) => format!("tcp port {port}"),
        Probe::Reach(address) => format!("tcp {address}"),
    }
}
