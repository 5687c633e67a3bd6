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

/// The changes that take time: what happens in place has happened when the set is in force.
pub fn awaited(applied: &Applied) -> impl Iterator<Item = &Change> {
    let takes_time = |deed| matches!(deed, Deed::Create | Deed::Recreate | Deed::Stop);
    applied.changes.iter().filter(move |change| is_process(&change.kind) && takes_time(change.deed))
}

/// Whether units of a kind run.
pub fn is_process(kind: &str) -> bool {
    matches!(kind, "container" | "pod" | "service")
}

/// Each unit of a change that is not there yet, or never will be.
pub fn arrivals(applied: &Applied, now: &Status) -> Vec<(String, Arrival)> {
    let find = |name: &str| now.units.iter().find(|unit| unit.name == name && is_process(&unit.kind));
    let found = awaited(applied).map(|change| (change.unit.clone(), arrival(change, find(&change.unit))));
    found.filter(|(_, arrival)| *arrival != Arrival::Done).collect()
}

fn arrival(change: &Change, now: Option<&UnitStatus>) -> Arrival {
    let under_way = |unit: &UnitStatus| {
        let why = unit.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{}{why}", unit.state)
    };
    match (change.deed, now) {
        (Deed::None | Deed::Update, _) | (Deed::Stop, None) => Arrival::Done,
        (Deed::Stop, Some(unit)) if unit.pid.is_none() => Arrival::Done,
        (Deed::Stop, Some(unit)) => Arrival::UnderWay(under_way(unit)),
        (_, None) => Arrival::UnderWay("not declared yet".to_owned()),
        (_, Some(unit)) => match unit.state {
            State::Ready if change.deed == Deed::Create || unit.pid != change.pid => Arrival::Done,
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
            let change = Change {
                unit: "web".into(),
                kind: "container".into(),
                deed,
                keys: Vec::new(),
                pid: Some(1),
                why: None,
            };
            let got = match arrival(&change, now.as_ref()) {
                Arrival::Done => "done",
                Arrival::UnderWay(_) => "way",
                Arrival::Failed(_) => "failed",
            };
            assert_eq!(got, expect, "{deed:?} {now:?}");
        }
    }
}
