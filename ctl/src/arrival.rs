//! Whether the units of a change have come to where it leads.

use std::fmt;

use berth_units::wire::control::{Applied, Change, Deed, State, Status, UnitStatus};

/// How far one has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// There.
    Done,
    /// On its way: its state and why.
    UnderWay(String),
    /// It will not come by itself: its state and why.
    Failed(String),
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("is there"),
            Self::UnderWay(what) | Self::Failed(what) => f.write_str(what),
        }
    }
}

/// Each container of a change that is not there yet, or never will be.
pub fn arrivals(applied: &Applied, before: &Status, now: &Status) -> Vec<(String, Arrival)> {
    let find = |status: &Status, name: &str| {
        status.units.iter().find(|unit| unit.kind == "container" && unit.name == name).cloned()
    };
    let containers = applied.changes.iter().filter(|change| change.kind == "container");
    let found = containers.map(|change| {
        let (old, new) = (find(before, &change.unit), find(now, &change.unit));
        (change.unit.clone(), arrival(change, old.as_ref(), new.as_ref()))
    });
    found.filter(|(_, arrival)| *arrival != Arrival::Done).collect()
}

fn arrival(change: &Change, before: Option<&UnitStatus>, now: Option<&UnitStatus>) -> Arrival {
    let under_way = |unit: &UnitStatus| {
        let why = unit.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{}{why}", unit.state)
    };
    let old_pid = before.and_then(|unit| unit.pid);
    match (change.deed, now) {
        (Deed::None | Deed::Update, _) | (Deed::Stop, None) => Arrival::Done,
        (Deed::Stop, Some(unit)) if unit.pid.is_none() => Arrival::Done,
        (Deed::Stop, Some(unit)) => Arrival::UnderWay(under_way(unit)),
        (_, None) => Arrival::UnderWay("not declared yet".to_owned()),
        (_, Some(unit)) => match unit.state {
            State::Ready if change.deed == Deed::Create || unit.pid != old_pid => Arrival::Done,
            State::Completed | State::Stopped => Arrival::Done,
            State::Failed | State::Backoff => Arrival::Failed(under_way(unit)),
            _ => Arrival::UnderWay(under_way(unit)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(state: State, pid: Option<i32>) -> UnitStatus {
        let json = serde_json::json!({
            "name": "web", "kind": "container", "state": state, "pid": pid, "restarts": 0, "addresses": [],
            "since": "", "since_seconds": 0.0, "ports": [],
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_new_process_is_waited_for_and_nothing_else() {
        let ready = unit(State::Ready, Some(1));
        let rows = [
            (Deed::Recreate, Some(unit(State::Ready, Some(1))), "way"),
            (Deed::Recreate, Some(unit(State::Stopping, Some(1))), "way"),
            (Deed::Recreate, Some(unit(State::Ready, Some(2))), "done"),
            (Deed::Recreate, Some(unit(State::Completed, None)), "done"),
            (Deed::Recreate, Some(unit(State::Backoff, None)), "failed"),
            (Deed::Create, None, "way"),
            (Deed::Create, Some(unit(State::Stopped, None)), "done"),
            (Deed::Stop, Some(unit(State::Stopping, Some(1))), "way"),
            (Deed::Stop, Some(unit(State::Stopped, None)), "done"),
            (Deed::Stop, None, "done"),
            (Deed::Update, Some(unit(State::Starting, Some(1))), "done"),
        ];
        for (deed, now, expect) in rows {
            let change =
                Change { unit: "web".into(), kind: "container".into(), deed, keys: Vec::new(), why: None };
            let got = match arrival(&change, Some(&ready), now.as_ref()) {
                Arrival::Done => "done",
                Arrival::UnderWay(_) => "way",
                Arrival::Failed(_) => "failed",
            };
            assert_eq!(got, expect, "{deed:?} {now:?}");
        }
    }
}
