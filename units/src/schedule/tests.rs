use super::*;
use crate::time::rfc3339;

/// Seconds since 1970 of `2026-03-29T01:30:00Z`, found by trying the digits one after the other.
fn second(text: &str) -> i64 {
    let bit = |low: u64, bit: u64| if rfc3339(low + bit).as_str() <= text { low + bit } else { low };
    i64::try_from((0..33).rev().map(|n| 1 << n).fold(0, bit)).unwrap()
}

/// The first times that a schedule names after some time, in a zone.
#[track_caller]
fn fires(cron: &str, zone: &str, after: &str, expect: &[&str]) {
    let (cron, zone) = (Cron::parse(cron).unwrap(), Zone::parse(zone).unwrap());
    let mut at = second(after);
    for expect in expect {
        at = cron.next(&zone, at).unwrap();
        assert_eq!(&rfc3339(u64::try_from(at).unwrap()), expect);
    }
}

#[test]
fn five_fields() {
    let day = "2026-11-20T16:50:58Z";
    fires("* * * * *", "UTC", day, &["2026-11-20T16:51:00Z", "2026-11-20T16:52:00Z"]);
    fires("*/20 * * * *", "UTC", day, &["2026-11-20T17:00:00Z", "2026-11-20T17:20:00Z"]);
    fires("50 16 * * *", "UTC", day, &["2026-11-21T16:50:00Z"]);
    fires("51 16 * * *", "UTC", "2026-11-20T16:51:00Z", &["2026-11-21T16:51:00Z"]);
    fires(
        "5,10-12/2 4 * * *",
        "UTC",
        day,
        &["2026-11-21T04:05:00Z", "2026-11-21T04:10:00Z", "2026-11-21T04:12:00Z"],
    );
    fires("50/5 * * * *", "UTC", day, &["2026-11-20T16:55:00Z", "2026-11-20T17:50:00Z"]);
    fires("0 0 29 2 *", "UTC", day, &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    fires("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", &["2104-02-29T00:00:00Z"]);
    fires(
        "0 0 31 * *",
        "UTC",
        day,
        &["2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z", "2027-03-31T00:00:00Z"],
    );
}

/// 2026-11-20 is a Friday.
#[test]
fn days_of_the_month_and_of_the_week() {
    let day = "2026-11-20T16:50:58Z";
    fires("0 0 * * 0", "UTC", day, &["2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"]);
    fires("0 0 * * 7", "UTC", day, &["2026-11-22T00:00:00Z"]);
    fires(
        "0 0 * * 5-7",
        "UTC",
        day,
        &["2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-27T00:00:00Z"],
    );
    // Both are named: either will do.
    fires(
        "0 0 24 * 1",
        "UTC",
        day,
        &["2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z", "2026-11-30T00:00:00Z"],
    );
    // One begins with '*': both have to hold.
    fires("0 0 */2 * 1", "UTC", day, &["2026-11-23T00:00:00Z", "2026-12-07T00:00:00Z"]);
}

#[test]
fn faults() {
    for text in
        ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *"]
    {
        assert_eq!(Cron::parse(text), None, "{text}");
    }
    for text in
        ["*/0 * * * *", "a * * * *", "1- * * * *", "-1 * * * *", "+1 * * * *", "*  * * * *", "1,, * * * *"]
    {
        assert_eq!(Cron::parse(text), None, "{text}");
    }
    assert!(!Cron::parse("0 0 31 2,4,6 *").unwrap().ever_fires());
    assert!(Cron::parse("0 0 31 2 1").unwrap().ever_fires(), "a Monday will do");
}

/// Berlin goes from 2:00 to 3:00 on 2026-03-29 (01:00 UTC), and from 3:00 to 2:00 on 2026-10-25 (01:00 UTC).
#[test]
fn a_time_that_does_not_exist_runs_at_the_next_one_that_does() {
    let zone = "Europe/Berlin";
    fires("30 2 * * *", zone, "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    fires("0,20,40 2 * * *", zone, "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
    fires("0 2,3 * * *", zone, "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]);
    // Asked in the last second before.
    fires("30 2 * * *", zone, "2026-03-29T00:59:59Z", &["2026-03-29T01:00:00Z"]);
    // Every hour is meant by the clock that goes on.
    fires("30 * * * *", zone, "2026-03-29T00:00:00Z", &["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"]);
}

#[test]
fn a_time_that_exists_twice_runs_once() {
    let zone = "Europe/Berlin";
    fires("30 2 * * *", zone, "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    // Asked within the second time, and right at its beginning.
    fires("30 2 * * *", zone, "2026-10-25T01:10:00Z", &["2026-10-26T01:30:00Z"]);
    fires("30 2 * * *", zone, "2026-10-25T01:00:00Z", &["2026-10-26T01:30:00Z"]);
    fires("0 3 * * *", zone, "2026-10-24T12:00:00Z", &["2026-10-25T02:00:00Z"]);
    fires("30 * * * *", zone, "2026-10-25T00:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
}

#[test]
fn zones() {
    fires("0 12 * * *", "America/New_York", "2026-11-20T16:50:58Z", &["2026-11-20T17:00:00Z"]);
    fires("0 12 * * *", "Asia/Kathmandu", "2026-11-20T16:50:58Z", &["2026-11-21T06:15:00Z"]);
    // Samoa left 2011-12-30 out.
    fires("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z", &["2011-12-30T10:00:00Z"]);
    assert_eq!(Zone::parse("local"), Zone::parse("UTC"));
    assert_eq!(
        Zone::parse("europe/berlin").map(|zone| format!("{zone:?}")).as_deref(),
        Some("Europe/Berlin")
    );
    assert_eq!(Zone::parse("Europe/Atlantis"), None);
    assert!(Zone::names().count() > 500);
    for name in Zone::names() {
        assert!(Zone::parse(name).is_some(), "{name}");
    }
}

#[test]
fn jitter_is_the_same_for_the_same_time_and_stays_in_bounds() {
    let jitter = Duration::from_secs(30);
    let schedule = Schedule { every: Duration::from_secs(60), jitter, ..Schedule::default() };
    let mut seen = std::collections::BTreeSet::new();
    for text in ["a", "b", "c", "d"] {
        let unit = Name::parse(text).unwrap();
        let facts = Facts { clock_set: true, ..Facts::default() };
        let ledger = Ledger { anchor: Some(Wall(0)), settled: Some(Wall(0)), ..Ledger::default() };
        let next = schedule.next(&unit, &ledger, &facts, Moment(0)).unwrap();
        assert_eq!(schedule.next(&unit, &ledger, &facts, Moment(5)), Some(next));
        assert_eq!(next.at, Wall(60_000_000));
        assert!((facts.moment(next.at)..=facts.moment(next.at).after(jitter)).contains(&next.due));
        seen.insert(next.due);
    }
    assert!(seen.len() > 2);
}
