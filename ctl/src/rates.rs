//! What units use by the second: two answers to Stats, and what lies between them.

use std::collections::BTreeMap;

use berth_units::wire::control::{Figures, UnitFigures};

/// Of one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Percent of one processor.
    pub cpu: Option<f64>,
    /// Bytes a second from and to disks.
    pub io: Option<f64>,
}

/// By name; a unit that was started anew between the two has none.
pub fn between(before: &Figures, after: &Figures) -> BTreeMap<String, Rates> {
    let micros = after.at_usec.saturating_sub(before.at_usec);
    let of = |unit: &UnitFigures| {
        let old = before.units.iter().find(|old| old.name == unit.name)?;
        let rate = |read: fn(&UnitFigures) -> Option<u64>| {
            let more = read(unit)?.checked_sub(read(old)?)?;
            (micros > 0).then(|| more as f64 / micros as f64)
        };
        let io = |unit: &UnitFigures| Some(unit.io_read?.saturating_add(unit.io_write?));
        let rates = Rates {
            cpu: rate(|unit| unit.cpu_usec).map(|share| share * 100.0),
            io: rate(io).map(|bytes| bytes * 1e6),
        };
        Some((unit.name.clone(), rates))
    };
    after.units.iter().filter_map(of).collect()
}

/// `0.4%`.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.1}%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_and_of_one_run() {
        let figures = |at_usec, cpu: u64, io: u64| -> Figures {
            let unit = serde_json::json!({
                "name": "web", "state": "ready", "cpu_usec": cpu, "io_read": io, "io_write": 1,
            });
            serde_json::from_value(serde_json::json!({ "at_usec": at_usec, "units": [unit] })).unwrap()
        };
        let before = figures(1_000_000, 500, 0);
        let rates = between(&before, &figures(3_000_000, 100_500, 4096));
        assert_eq!(rates["web"], Rates { cpu: Some(5.0), io: Some(2048.0) });
        assert_eq!(between(&before, &figures(3_000_000, 100, 0))["web"].cpu, None);
        assert_eq!(between(&before, &before)["web"], Rates::default());
        assert_eq!((percent(Some(0.44)).as_str(), percent(None).as_str()), ("0.4%", "-"));
    }
}
