//! The file, the table of a boot, the steps of a trial; and all of it together over faults at any point.

mod decisions;
mod steps;
mod walk;

use std::collections::BTreeSet;

use super::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Revision 4 is good, 5 is on trial.
fn on_trial() -> Head {
    let mut head = Head { good: 4, last: 4, before: vec![2, 3], ..Head::default() };
    head.begin(5, TrialNote { digest: "five".into(), deadline: 300, ..TrialNote::default() });
    head
}

#[test]
fn a_digest_covers_files_images_and_os() {
    let one = digest([("web.toml", "a")], [("web", "sha256:1")], "0.1");
    assert_eq!(one, digest([("web.toml", "a")], [("web", "sha256:1")], "0.1"));
    assert_ne!(one, digest([("web.toml", "b")], [("web", "sha256:1")], "0.1"));
    assert_ne!(one, digest([("web.toml", "a")], [("web", "sha256:2")], "0.1"));
    assert_ne!(one, digest([("web.toml", "a")], [("web", "sha256:1")], "0.2"));
    assert_ne!(one, digest([], [("web.toml", "a"), ("web", "sha256:1")], "0.1"));
}

#[test]
fn a_head_is_read_as_it_was_written() {
    let mut head = on_trial();
    head.slot = Some(Slot { good_seq: 41, trying_seq: Some(42), next_seq: 43 });
    head.fail(&Reason::Health(name("web"), "check live failed".into()), "2026-01-01T00:00:00Z");
    head.begin(6, TrialNote { excused: vec!["db".into()], ..TrialNote::default() });
    head.pinned = vec![2];
    head.by_hand = "abc".into();
    head.without_volumes = true;
    head.lost = true;
    let text = head.print().unwrap();
    assert_eq!(Head::parse(&text).unwrap(), head, "{text}");
    assert_eq!(Head::parse(&Head::default().print().unwrap()).unwrap(), Head::default());
}

#[test]
fn what_a_newer_berth_wrote_is_kept_and_what_an_older_one_did_not_write_is_absent() {
    let text = "format = 9\ngood = 3\nfuture = \"x\"\n[trial]\nboots = 1\nmore = 2\n[later]\nkey = [1, 2]\n";
    let head = Head::parse(text).unwrap();
    assert_eq!((head.format, head.good, head.last, head.trial.as_ref().unwrap().boots), (9, 3, 0, 1));
    let again = Head::parse(&head.print().unwrap()).unwrap();
    assert_eq!(again.rest["future"].as_str(), Some("x"));
    assert_eq!(again.rest["later"]["key"].as_array().unwrap().len(), 2);
    assert_eq!(Head::parse("").unwrap(), Head::default());
    assert!(Head::parse("good = \"three\"").is_err() && Head::parse("good = ").is_err());
}

#[test]
fn an_unreadable_head_is_kept_under_a_free_name() {
    assert_eq!(set_aside("head.toml", |_| true).unwrap(), "head.toml.unreadable-1");
    assert_eq!(set_aside("head.toml", |name| name.ends_with("-3")).unwrap(), "head.toml.unreadable-3");
    assert_eq!(set_aside("head.toml", |_| false), None);
    for (found, is) in [("head.toml.unreadable-2", true), ("head.toml", false), (".head.tmp", false)] {
        assert_eq!(is_set_aside("head.toml", found), is, "{found}");
    }
}

#[test]
fn after_a_lost_head_everything_stays_until_one_is_good() {
    let mut head = Head::in_place_of_lost(vec![3, 7, 5], "abc".into());
    assert_eq!((head.good, head.last, head.by_hand.as_str(), head.lost), (0, 7, "abc", true));
    assert_eq!(removable(&head, &[3, 5, 7].into()), [0; 0]);
    head.begin(8, TrialNote::default());
    head.fail(&Reason::Panic, "at");
    assert!(head.lost, "the factory's was not found good by that");
    head.begin(9, TrialNote::default());
    head.commit();
    assert!(!head.lost);
    assert_eq!(removable(&head, &[3, 5, 7, 8, 9].into()), [8]);
}

#[test]
fn what_a_trial_has_broken_is_not_excused_from_the_next_one() {
    let note = |unit: &str| TrialNote { excused: vec![unit.to_owned()], ..TrialNote::default() };
    let mut head = Head::default();
    head.begin(1, note("db"));
    head.begin(2, note("web"));
    assert_eq!(head.trial.as_ref().unwrap().excused, ["db"]);
    head.commit();
    head.begin(3, note("web"));
    assert_eq!(head.trial.as_ref().unwrap().excused, ["web"]);
}

#[test]
fn good_ones_of_long_ago_are_forgotten_unless_they_are_pinned() {
    let mut head = Head { pinned: vec![2], ..Head::default() };
    (1..=100).for_each(|revision| head.settle(revision));
    assert_eq!(head.before, [2, 95, 96, 97, 98, 99]);
    assert_eq!(head.one_before(), Some(99));
    // None that is forgotten was kept.
    assert_eq!(removable(&head, &[2, 94, 95, 100].into()), [94]);
}

#[test]
fn a_good_one_is_followed_by_a_better_one() {
    let mut head = on_trial();
    head.commit();
    assert_eq!((head.good, head.trying, head.before.as_slice()), (5, None, &[2, 3, 4][..]));
    assert_eq!(head.one_before(), Some(4));
    // Back to 3: it is good again, and 5 is still known.
    head.begin(3, TrialNote::default());
    head.commit();
    assert_eq!((head.good, head.last, head.before.as_slice()), (3, 5, &[2, 4, 5][..]));
    assert_eq!(head.one_before(), Some(2));
    head.commit();
    assert_eq!(head.good, 3);
    head.settle(0);
    assert_eq!((head.good, head.one_before()), (0, Some(5)));
    assert_eq!(Head::default().one_before(), None);
}

#[test]
fn a_failed_one_is_remembered_by_what_it_is() {
    let mut head = on_trial();
    head.fail(&Reason::Deadline(name("web"), "its readiness".into()), "at");
    assert_eq!((head.good, head.trying, head.current()), (4, None, 4));
    let bad = head.is_bad("five").unwrap();
    assert_eq!((bad.revision, bad.returned_to, bad.reason.as_str()), (5, 4, "deadline web: its readiness"));
    assert!(head.is_bad("six").is_none());
    for revision in 0..200 {
        head.begin(revision, TrialNote { digest: format!("{revision}"), ..TrialNote::default() });
        head.fail(&Reason::Panic, "at");
    }
    assert_eq!(head.bad.len(), BAD_MAX);
    assert!(head.is_bad("199").is_some() && head.is_bad("five").is_none());
    head.forgive("199");
    assert!(head.is_bad("199").is_none());
    // Nothing was on trial.
    let before = head.clone();
    head.fail(&Reason::Panic, "at");
    assert_eq!(head, before);
}

#[test]
fn what_somebody_can_want_stays() {
    let present = || (1..=20).collect::<BTreeSet<u64>>();
    let mut head = Head { good: 15, last: 18, before: (1..=14).collect(), ..Head::default() };
    head.pinned = vec![3];
    head.trying = Some(17);
    // 16 and 18 were no good; 19 and 20 are new.
    assert_eq!(removable(&head, &present()), [1, 2, 4, 5, 6, 7, 8, 9, 16, 18]);
    assert_eq!(removable(&Head::default(), &present()), [0; 0]);
}

#[test]
fn what_lies_beside_the_units_is_read_as_it_was_written() {
    let lock =
        Lock { os: "0.1".into(), images: [("docker.io/shop/web:1".into(), "sha256:ab".into())].into() };
    assert_eq!(lock.print().unwrap(), "os = \"0.1\"\n\n[images]\n\"docker.io/shop/web:1\" = \"sha256:ab\"\n");
    let other = Lock { os: "0.2".into(), ..lock.clone() };
    assert_ne!(lock.digest([("a.toml", "x")]), other.digest([("a.toml", "x")]));
    let meta = Meta { from: "apply".into(), why: "web image.ref\n\"x\"".into(), ..Meta::default() };
    assert_eq!(Meta::parse(&meta.print().unwrap()), meta);
    assert_eq!(Meta::parse("from = ["), Meta::default());
}
