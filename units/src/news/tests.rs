use super::*;
use crate::health::{CheckResult, CheckSeen, Health};
use crate::observed::{Moment, Run};
use crate::wire::control::{ExitReason, LastExit};

const LIVES: [Life; 12] = [
    Life::Idle,
    Life::Held,
    Life::SetUp,
    Life::Running,
    Life::Ready,
    Life::Stopping,
    Life::Killing,
    Life::Backoff,
    Life::Completed,
    Life::Failed,
    Life::Stopped,
    Life::Skipped,
];

fn record(life: Life) -> Record {
    let run = Run { number: 3, pid: 70, started: Moment(1_000_000), ..Run::default() };
    let exit =
        LastExit { reason: ExitReason::Exit, code: Some(3), signal: None, at: "T".into(), detail: None };
    Record {
        life,
        since: Moment(2_500_000),
        runs: 3,
        run: life.has_process().then_some(run),
        last_exit: (!life.has_process()).then_some(exit),
        next_try: (life == Life::Backoff).then_some(Moment(4_500_000)),
        note: (life == Life::Skipped).then(|| "no disk".to_owned()),
        ..Record::default()
    }
}

#[track_caller]
fn only(old: &Record, new: &Record) -> News {
    let mut news = of_unit(old, new);
    assert_eq!(news.len(), 1, "{news:?}");
    news.remove(0)
}

#[test]
fn each_change_of_life_has_its_words() {
    use Kind::*;
    let rows = [
        (Life::Idle, Life::Held, Starting, "run 3 is being set up"),
        (Life::SetUp, Life::Running, Running, "its program runs, process 70"),
        (Life::Running, Life::Ready, Ready, "ready after 1.5s"),
        (Life::Ready, Life::Running, Unready, "not ready any more"),
        (Life::Ready, Life::Stopping, Stopping, "told to stop"),
        (Life::Stopping, Life::Killing, Killing, "killed"),
        (Life::Ready, Life::Backoff, Exited, "exit code 3; tried again in 2s"),
        (Life::Ready, Life::Completed, Exited, "exit code 3"),
        (Life::Idle, Life::Failed, Exited, "exit code 3; not tried again"),
        (Life::Killing, Life::Idle, Exited, "exit code 3; starts again"),
        (Life::Stopping, Life::Stopped, Exited, "exit code 3"),
        (Life::Backoff, Life::Idle, Waiting, "starts as soon as it may"),
        (Life::Failed, Life::Stopped, Stopped, "stopped"),
        (Life::Idle, Life::Skipped, Skipped, "skipped: no disk"),
    ];
    for (old, new, kind, text) in rows {
        let news = only(&record(old), &record(new));
        assert_eq!((news.kind, news.text.as_str()), (kind, text), "{old:?} -> {new:?}");
    }
}

/// Every step that the life table allows is told, but for the one that is of no interest; none is told twice.
#[test]
fn no_step_of_the_life_table_is_silent() {
    for old in LIVES {
        assert_eq!(of_unit(&record(old), &record(old)), [], "{old:?}");
        for new in LIVES.into_iter().filter(|new| *new != old) {
            let count = of_unit(&record(old), &record(new)).len();
            assert_eq!(count, usize::from(new != Life::SetUp), "{old:?} -> {new:?}");
        }
    }
}

#[test]
fn an_end_that_has_a_reason_says_it() {
    let ready = record(Life::Ready);
    let mut new = record(Life::Stopping);
    new.run.as_mut().unwrap().unhealthy = Some("check 'live' failed: HTTP 500".to_owned());
    assert_eq!(only(&ready, &new).text, "told to stop: check 'live' failed: HTTP 500");
    let mut new = record(Life::Killing);
    new.run.as_mut().unwrap().timed_out = true;
    assert_eq!(only(&ready, &new).text, "killed: it was not ready in time");
    let news = only(&ready, &record(Life::Backoff));
    assert_eq!(news.detail["exit"]["code"], 3);
    assert_eq!(news.detail["run"], 3);
    assert_eq!(news.detail["state"], "backoff");
    assert_eq!(news.detail["retry_seconds"], 2.0);
}

#[test]
fn wishes_checks_and_the_end_of_all_are_told_once() {
    let old = record(Life::Ready);
    let wanted = Record { wanted: Wanted::Stopped, ..old.clone() };
    assert_eq!(only(&old, &wanted).text, "asked to stop");
    let result = CheckResult { at: Moment(0), passed: false, text: "HTTP 500".into() };
    let check =
        CheckSeen { verdict: Verdict::Failing, row: 3, results: vec![result], ..CheckSeen::default() };
    let health = Health { checks: [("live".to_owned(), check)].into(), ..Health::default() };
    let ill = Record { health, ..old.clone() };
    let news = only(&old, &ill);
    assert_eq!((news.kind, news.text.as_str()), (Kind::Check, "check 'live' failed 3 times: HTTP 500"));
    assert_eq!(of_unit(&ill, &ill), []);
    let mut paused = old.clone();
    paused.run.as_mut().unwrap().paused = Some(Moment(0));
    assert_eq!((only(&old, &paused).kind, only(&paused, &old).kind), (Kind::Paused, Kind::Resumed));
    assert_eq!(only(&paused, &record(Life::Backoff)).kind, Kind::Exited);
    let gone = Record { forgotten: true, ..old.clone() };
    assert_eq!(only(&old, &gone).kind, Kind::Forgotten);
    assert_eq!(of_unit(&gone, &gone), []);
}

fn node() -> NodeSeen {
    NodeSeen {
        set: Some(SetSeen { origin: "factory".into(), units: 2, fingerprint: 1, fault: None }),
        revisions: None,
        networks: [(Name::parse("apps").unwrap(), None)].into(),
        daemons: [("netd".to_owned(), 0)].into(),
        addresses: vec!["10.0.2.15".into()],
        stopping: false,
    }
}

#[test]
fn a_boot_comes_first_and_a_new_supervisor_tells_nothing_again() {
    let kinds: Vec<_> = of_node(None, &node()).into_iter().map(|news| news.kind).collect();
    assert_eq!(kinds, [Kind::Boot, Kind::SetTaken, Kind::NetworkUp, Kind::Uplink]);
    assert_eq!(of_node(Some(&node()), &node()), []);
}

#[test]
fn each_change_of_the_node_is_told() {
    let change = |change: fn(&mut NodeSeen)| {
        let mut new = node();
        change(&mut new);
        let news = of_node(Some(&node()), &new);
        assert_eq!(news.len(), 1, "{news:?}");
        format!("{:?} {}", news[0].kind, news[0].text)
    };
    let set = |new: &mut NodeSeen| new.set.as_mut().unwrap().fingerprint = 2;
    assert_eq!(change(set), "SetTaken unit set from factory: 2 units");
    let fault = |new: &mut NodeSeen| new.set.as_mut().unwrap().fault = Some("bad".into());
    assert_eq!(change(fault), "SetRefused a unit set is refused: bad");
    let failed = |new: &mut NodeSeen| *new.networks.values_mut().next().unwrap() = Some("no".into());
    assert_eq!(change(failed), "NetworkFailed the network cannot be made: no");
    let netd = |new: &mut NodeSeen| *new.daemons.get_mut("netd").unwrap() = 1;
    assert_eq!(change(netd), "Daemon netd was started again");
    assert_eq!(change(|new| new.addresses.clear()), "Uplink the uplink has no address");
    assert_eq!(change(|new| new.stopping = true), "Shutdown stopping every unit");
}

#[test]
fn a_revision_is_tried_found_good_or_taken_back() {
    let of = |good, trying, failed: Option<(u64, &str)>| NodeSeen {
        revisions: Some(RevisionsSeen {
            good,
            trying,
            failed: failed.map(|(one, why)| (one, why.to_owned())),
        }),
        ..node()
    };
    let say = |old: &NodeSeen, new: &NodeSeen| {
        let news = of_node(Some(old), new);
        news.into_iter().map(|one| (one.kind, one.text)).collect::<Vec<_>>()
    };
    let (before, on_trial) = (of(1, None, None), of(1, Some(2), None));
    assert_eq!(say(&node(), &before), []);
    assert_eq!(say(&before, &on_trial), [(Kind::Trial, "revision 2 is on trial".to_owned())]);
    assert_eq!(say(&on_trial, &of(2, None, None)), [(Kind::Good, "revision 2 is good".to_owned())]);
    let failed = (Kind::Bad, "revision 2 has failed: health web: x; back to revision 1".to_owned());
    assert_eq!(say(&on_trial, &of(1, None, Some((2, "health web: x")))), [failed]);
}
