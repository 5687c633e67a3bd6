use super::*;
use crate::keys::{Effect, rows};
use crate::quantity::Amount;
use crate::spec::{Attachment, Check, Log, LogSink, OnChange};
use crate::{Name, Reference};

fn unit() -> Unit {
    Unit::new(Name::parse("web").unwrap(), Reference::parse("probe").unwrap())
}

fn changed(change: impl FnOnce(&mut Unit)) -> Unit {
    let mut unit = unit();
    change(&mut unit);
    unit
}

/// The head of a file says what it is, not what the unit is.
const HEAD: [&str; 2] = ["schema", "kind"];

#[test]
fn every_key_has_its_means_and_no_means_is_without_a_key() {
    let rows: Vec<_> = rows().into_iter().filter(|row| row.kind == "container").collect();
    for row in rows.iter().filter(|row| row.effect == Effect::Now && row.shape.is_some()) {
        assert!(means(row.path).is_some() || HEAD.contains(&row.path), "MEANS has no word of '{}'", row.path);
    }
    for (path, _) in MEANS {
        let below =
            |row: &str| row == *path || row.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        assert!(rows.iter().any(|row| below(row.path)), "there is no key '{path}'");
    }
}

#[test]
fn every_field_is_known_to_the_table() {
    let unit = changed(|unit| {
        unit.env.insert("A".into(), "b".into());
        unit.labels.insert("a".into(), "b".into());
        unit.networks.insert(Name::parse("apps").unwrap(), Attachment::default());
        unit.health.insert("live".into(), Check::default());
        unit.depends.insert(Name::parse("db").unwrap(), crate::spec::Depends::default());
        unit.process.rlimits.insert("nofile".into(), (1, 2));
    });
    fields(&unit, &mut |field| assert!(means(field.key).is_some(), "{}", field.key));
}

/// A change, what it is called, and what of the identity it touches: process, limits, checks.
type Row = (fn(&mut Unit), &'static str, Means, [bool; 3]);

#[test]
fn each_class_of_keys_touches_its_part_alone() {
    let rows: [Row; 16] = [
        (|u| u.description = "x".into(), "description", Means::Note, [false; 3]),
        (|u| drop(u.labels.insert("a".into(), "b".into())), "labels.a", Means::Note, [false; 3]),
        (|u| u.env = [("A".into(), "s3cret".into())].into(), "env.A", Means::Process, [true, false, false]),
        (|u| u.process.args = Some(vec!["x".into()]), "process.args", Means::Process, [true, false, false]),
        (
            |u| u.memory.max = Some(Amount::Bytes(96 << 20)),
            "memory.max - -> 96M",
            Means::Limits,
            [false, true, false],
        ),
        (|u| u.memory.shm_size = 1 << 20, "memory.shm_size 64M -> 1M", Means::Process, [true, false, false]),
        (|u| u.cpu.weight = Some(7), "cpu.weight - -> 7", Means::Limits, [false, true, false]),
        (|u| u.pids.max = 7, "pids.max 4096 -> 7", Means::Limits, [false, true, false]),
        (
            |u| drop(u.health.insert("live".into(), Check::default())),
            "health.live",
            Means::Checks,
            [false, false, true],
        ),
        (|u| u.restart.burst = 3, "restart", Means::Rule, [false; 3]),
        (|u| u.stop.timeout = std::time::Duration::ZERO, "stop.timeout 10s -> 0s", Means::Rule, [false; 3]),
        (
            |u| u.log = Log { to: LogSink::Ram, ..Log::default() },
            "log.to store -> ram",
            Means::Log,
            [false; 3],
        ),
        (
            |u| u.log = Log { to: LogSink::None, ..Log::default() },
            "log.to store -> none",
            Means::Process,
            [true, false, false],
        ),
        (|u| u.supplies.on_change = OnChange::None, "on_change", Means::Rule, [false; 3]),
        (|u| u.supplies.env_unset = ["A".into()].into(), "env_unset", Means::Process, [true, false, false]),
        (|u| u.remain_after_exit = Some(true), "remain_after_exit", Means::Rule, [false; 3]),
    ];
    let before = Identity::of(&unit());
    for (change, text, means, touched) in rows {
        let after = changed(change);
        let found = differences(&unit(), &after);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        assert_eq!(found[0].means, means, "{text}");
        let now = Identity::of(&after);
        let parts = [now.process != before.process, now.limits != before.limits, now.checks != before.checks];
        assert_eq!(parts, touched, "{text}");
        assert_eq!(now.whole != before.whole, means != Means::Note, "{text}");
        // The way back is the same way.
        assert_eq!(differences(&after, &unit()).len(), 1, "{text}");
    }
    assert_eq!(differences(&unit(), &unit()), []);
}

#[test]
fn no_value_is_shown_that_may_be_a_secret() {
    let with = |value: &str| {
        changed(|unit| {
            unit.env.insert("TOKEN".into(), value.into());
            unit.process.args = Some(vec![value.into()]);
            unit.labels.insert("a".into(), value.into());
        })
    };
    let text = serde_json::to_string(&differences(&with("s3cret"), &with("0ther"))).unwrap();
    assert!(text.contains("env.TOKEN") && !text.contains("s3cret") && !text.contains("0ther"), "{text}");
}

#[test]
fn what_lies_outside_counts_for_the_process() {
    let plain = Identity::of(&unit());
    let mixed = plain.with(&"10.0.0.2");
    assert_ne!(plain.process, mixed.process);
    assert_ne!(plain.whole, mixed.whole);
    assert_eq!((plain.limits, plain.checks), (mixed.limits, mixed.checks));
    assert_eq!(mixed, Identity::of(&unit()).with(&"10.0.0.2"));
    assert_ne!(mixed, plain.with(&"10.0.0.3"));
}
