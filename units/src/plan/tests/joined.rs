//! Units in the network of another one.

use super::graph::{ask, lines};
use super::*;
use crate::spec::{NetworkMode, Until};

const SECOND: u64 = 1_000_000;

/// `pod`, and `a` and `b` in it.
fn pod() -> (Declared, Observed) {
    let mut declared = Declared::default();
    for text in ["a", "b", "pod"] {
        let mut unit = unit(text);
        unit.network = match text {
            "pod" => NetworkMode::None,
            _ => NetworkMode::Pod(name("pod")),
        };
        unit.restart.jitter_milli = 0;
        if text != "pod" {
            unit.depends.insert(name("pod"), Depends { until: Until::Started, ..Depends::default() });
        }
        declared.units.insert(unit.name.clone(), unit);
    }
    let units = declared.units.keys().map(|name| (name.clone(), Seen::default())).collect();
    let mut observed = Observed { units, ..Observed::default() };
    settle(&declared, &mut observed, Moment(0));
    assert_eq!(ready(&observed), 3);
    (declared, observed)
}

#[test]
fn who_ends_alone_comes_back_alone() {
    let (declared, mut observed) = pod();
    exit(&declared, &mut observed, &name("a"), Moment(1));
    let actions = settle(&declared, &mut observed, Moment(SECOND));
    assert_eq!(lines(&actions), ["try a again", "start a", "attach a to its networks", "let a go"]);
}

#[test]
fn the_end_of_the_owner_takes_all_along_before_it_starts_anew() {
    let (declared, mut observed) = pod();
    exit(&declared, &mut observed, &name("pod"), Moment(1));
    // Its restart is not propagated otherwise, and nobody starts in a network that somebody is still in.
    let actions = lines(&settle(&declared, &mut observed, Moment(SECOND)));
    assert_eq!(actions[..2], ["stop a", "stop b"]);
    let at = |line: &str| actions.iter().position(|action| action == line).unwrap();
    assert!(at("stop b") < at("start pod") && at("let pod go") < at("start a"), "{actions:?}");
    assert_eq!(ready(&observed), 3);
}

#[test]
fn the_owner_waits_for_who_is_slow_to_leave() {
    let (declared, mut observed) = pod();
    exit(&declared, &mut observed, &name("pod"), Moment(1));
    for text in ["a", "b"] {
        let record = &mut observed.units.get_mut(text).unwrap().record;
        record.again = true;
        assert!(record.step(Event::StopSent, Moment(1)));
    }
    let record = &mut observed.units.get_mut("pod").unwrap().record;
    assert!(record.step(Event::TryAgain, Moment(2)));
    let declared = &identified(&declared);
    let view = View::new(declared, &observed);
    assert!(!view.plan(Moment(2)).contains(&Action::Start(name("pod"))));
    assert_eq!(view.waits_for(&declared.units["pod"]).unwrap(), "waits for 'a' to leave its last network");
}

#[test]
fn nobody_starts_in_the_network_of_one_that_is_left_out() {
    let (declared, mut observed) = pod();
    ask(&mut observed, "pod", Wanted::Stopped, Moment(1));
    settle(&declared, &mut observed, Moment(1));
    let record = &mut observed.units.get_mut("pod").unwrap().record;
    (record.wanted, record.life) = (Wanted::Auto, Life::Skipped);
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(2))), [""; 0]);
    let unit = &declared.units["a"];
    assert_eq!(waits_for(&declared, &observed, unit).unwrap(), "waits for the network of 'pod'");
}

#[test]
fn a_stop_of_the_owner_stops_them_first_and_for_long() {
    let (declared, mut observed) = pod();
    ask(&mut observed, "pod", Wanted::Stopped, Moment(1));
    assert_eq!(lines(&settle(&declared, &mut observed, Moment(1))), ["stop a", "stop b", "stop pod"]);
    ask(&mut observed, "pod", Wanted::Started, Moment(2));
    settle(&declared, &mut observed, Moment(2));
    assert_eq!(ready(&observed), 3);
}
