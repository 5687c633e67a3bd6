//! Jobs: when they run, what a try and a power cut lead to, and at random that no time is lost and none comes twice.

use super::graph::{ask, lines};
use super::*;
use crate::job::{Cause, Ledger};
use crate::schedule::{CatchUp, Overlap, Schedule};
use crate::spec::{Strength, Until};

const SECOND: u64 = 1_000_000;
/// 2026-11-20T16:50:00Z in microseconds, at the boot.
const BOOT: i64 = 1_795_193_400_000_000;

fn at(seconds: u64) -> Moment {
    Moment(seconds * SECOND)
}

fn every(seconds: u64) -> Schedule {
    Schedule { every: Duration::from_secs(seconds), ..Schedule::default() }
}

/// The job `j`, and `s`, a service that depends on nothing.
fn world_of(schedule: Option<Schedule>) -> (Declared, Observed) {
    let mut declared = Declared::default();
    for text in ["j", "s"] {
        let mut unit = unit(text);
        unit.network = crate::spec::NetworkMode::None;
        unit.restart.jitter_milli = 0;
        unit.start_timeout = Duration::ZERO;
        declared.units.insert(unit.name.clone(), unit);
    }
    let job = declared.units.get_mut("j").unwrap();
    (job.kind, job.schedule) = (Type::Job, schedule);
    let units = declared.units.keys().map(|name| (name.clone(), Seen::default())).collect();
    let mut observed = Observed { units, ..Observed::default() };
    (observed.facts.clock_set, observed.facts.wall_ahead) = (true, BOOT);
    (declared, observed)
}

/// What is done about `j` at that time.
fn pass(declared: &Declared, observed: &mut Observed, now: Moment) -> Vec<String> {
    observed.facts.looked = now;
    let actions = settle(declared, observed, now);
    lines(&actions.into_iter().filter(|action| named(action).as_str() == "j").collect::<Vec<_>>())
}

fn finish(declared: &Declared, observed: &mut Observed, code: i32, now: Moment) {
    end(declared, observed, &name("j"), (ExitReason::Exit, Some(code)), now);
}

fn ledger(observed: &Observed) -> &Ledger {
    &observed.units["j"].record.job
}

fn run_of(time: &str) -> Vec<String> {
    vec![
        format!("begin the run of j for 2026-11-20T{time}Z"),
        "start j".to_owned(),
        "attach j to its networks".to_owned(),
        "let j go".to_owned(),
    ]
}

/// The next wake-up, in seconds.
fn wake(declared: &Declared, observed: &Observed) -> Option<u64> {
    next_wake(declared, observed).map(|wake| wake.0 / SECOND)
}

#[test]
fn a_job_runs_at_its_times_and_rests_between() {
    let (declared, mut observed) = world_of(Some(every(60)));
    assert_eq!(pass(&declared, &mut observed, at(10)), ["begin the schedule of j"]);
    assert_eq!(wake(&declared, &observed), Some(70));
    let unit = &declared.units["j"];
    assert_eq!(
        waits_for(&declared, &observed, unit).unwrap(),
        "waits for its next run at 2026-11-20T16:51:10Z"
    );
    assert_eq!(pass(&declared, &mut observed, at(69)), [""; 0]);
    // Later than planned does not move what follows.
    assert_eq!(pass(&declared, &mut observed, at(75)), run_of("16:51:10"));
    finish(&declared, &mut observed, 0, at(80));
    assert_eq!(observed.units["j"].record.life, Life::Completed);
    assert_eq!(pass(&declared, &mut observed, at(80)), [""; 0]);
    assert_eq!(wake(&declared, &observed), Some(130));
    assert_eq!(pass(&declared, &mut observed, at(130)), run_of("16:52:10"));
    finish(&declared, &mut observed, 3, at(131));
    assert_eq!(observed.units["j"].record.life, Life::Failed);
    let runs: Vec<_> = ledger(&observed).runs.iter().map(|run| (run.number, run.end.success)).collect();
    assert_eq!(runs, [(1, true), (2, false)]);
    assert_eq!(pass(&declared, &mut observed, at(200)), run_of("16:53:10"));
}

#[test]
fn a_failed_run_is_tried_again_so_often() {
    let (mut declared, mut observed) = world_of(Some(every(3600)));
    declared.units.get_mut("j").unwrap().job.retries = 2;
    pass(&declared, &mut observed, at(0));
    let mut now = at(3600);
    for _ in 0..3 {
        pass(&declared, &mut observed, now);
        finish(&declared, &mut observed, 1, now);
        now = next_wake(&declared, &observed).unwrap();
    }
    assert_eq!(observed.units["j"].record.life, Life::Failed);
    assert_eq!(now, at(7200));
    let run = &ledger(&observed).runs[0];
    assert_eq!((run.tries, run.took, ledger(&observed).runs.len()), (3, Some(1_500_000), 1));
    // The next run has all its tries.
    pass(&declared, &mut observed, now);
    finish(&declared, &mut observed, 1, now);
    assert_eq!(observed.units["j"].record.life, Life::Backoff);
}

#[test]
fn a_run_that_goes_on_is_left_alone_or_replaced() {
    let (mut declared, mut observed) = world_of(Some(every(60)));
    pass(&declared, &mut observed, at(0));
    pass(&declared, &mut observed, at(60));
    assert_eq!(pass(&declared, &mut observed, at(130)), [""; 0]);
    finish(&declared, &mut observed, 0, at(150));
    assert_eq!(pass(&declared, &mut observed, at(150)), [""; 0], "what was due meanwhile is left out");
    assert_eq!(wake(&declared, &observed), Some(180));
    declared.units.get_mut("j").unwrap().schedule.as_mut().unwrap().overlap = Overlap::Replace;
    pass(&declared, &mut observed, at(180));
    assert_eq!(wake(&declared, &observed), Some(240));
    let mut expect = run_of("16:54:00");
    expect.insert(1, "stop j".to_owned());
    assert_eq!(pass(&declared, &mut observed, at(240)), expect);
    let last = ledger(&observed).runs.last().unwrap();
    assert_eq!((last.number, last.end.reason), (2, ExitReason::Signal));
    assert_eq!(ledger(&observed).current.unwrap().number, 3);
}

#[test]
fn runs_wait_for_the_clock_unless_they_need_none() {
    let (mut declared, mut observed) =
        world_of(Some(Schedule { on_boot: Some(Duration::from_secs(5)), ..every(60) }));
    (observed.facts.clock_set, observed.facts.wall_ahead) = (false, 0);
    assert_eq!(pass(&declared, &mut observed, at(100)), [""; 0]);
    assert_eq!(wake(&declared, &observed), None);
    assert_eq!(
        waits_for(&declared, &observed, &declared.units["j"]).unwrap(),
        "waits for the clock to be set"
    );
    declared.units.get_mut("j").unwrap().schedule.as_mut().unwrap().without_clock = true;
    assert_eq!(pass(&declared, &mut observed, at(100))[0], "begin the run of j for 1970-01-01T00:00:05Z");
    finish(&declared, &mut observed, 0, at(101));
    // At 60 s there was one, too: what is overdue is run once.
    assert_eq!(pass(&declared, &mut observed, at(110)), [""; 0]);
    assert_eq!(wake(&declared, &observed), Some(120));
    pass(&declared, &mut observed, at(120));
    finish(&declared, &mut observed, 0, at(121));
    // The clock is set: nothing is made up for the years before.
    (observed.facts.clock_set, observed.facts.wall_ahead) = (true, BOOT);
    assert_eq!(pass(&declared, &mut observed, at(130)), ["begin the schedule of j"]);
    assert_eq!(wake(&declared, &observed), Some(190));
}

#[test]
fn a_clock_that_jumps_repeats_nothing_and_makes_up_once() {
    let hour = 3600 * 1_000_000;
    let (declared, mut observed) = world_of(Some(every(3600)));
    pass(&declared, &mut observed, at(0));
    pass(&declared, &mut observed, at(3600));
    finish(&declared, &mut observed, 0, at(3601));
    // Back by half an hour: the next run is when it would have been by the clock.
    observed.facts.wall_ahead -= hour / 2;
    assert_eq!(pass(&declared, &mut observed, at(3700)), [""; 0]);
    assert_eq!(wake(&declared, &observed), Some(7200 + 1800));
    // Forward by five hours: one run for all of them.
    observed.facts.wall_ahead += 5 * hour;
    assert_eq!(pass(&declared, &mut observed, at(3800)).len(), 4);
    finish(&declared, &mut observed, 0, at(3801));
    assert_eq!(pass(&declared, &mut observed, at(3801)), [""; 0]);
    // Back by a year: the clock was wrong before, and it all begins anew.
    observed.facts.wall_ahead -= 365 * 24 * hour;
    assert_eq!(pass(&declared, &mut observed, at(3900)), ["begin the schedule of j"]);
    assert_eq!(wake(&declared, &observed), Some(3900 + 3600));
}

#[test]
fn what_is_too_late_is_left_out() {
    let late = |schedule: Schedule, seconds| {
        let (declared, mut observed) = world_of(Some(schedule));
        pass(&declared, &mut observed, at(0));
        pass(&declared, &mut observed, at(seconds)).len() == 4
    };
    let skip = Schedule { catch_up: CatchUp::Skip, ..every(3600) };
    assert!(late(every(3600), 7100));
    assert!(late(skip.clone(), 3660) && !late(skip, 3661));
    let deadline = Schedule { deadline: Duration::from_secs(600), ..every(3600) };
    assert!(late(deadline.clone(), 4200) && !late(deadline, 4201));
}

/// The node goes down and comes up again after a time: what lasts is the ledger as it was written last.
fn power_cut(declared: &Declared, observed: &mut Observed, written: Option<Ledger>, away: u64) {
    let mut ledger = written.unwrap_or_default();
    let text = serde_json::to_string(&ledger).unwrap();
    ledger = serde_json::from_str(&text).unwrap();
    job::resume(&declared.units["j"], &mut ledger);
    observed.facts.wall_ahead += i64::try_from(away * SECOND).unwrap();
    for seen in observed.units.values_mut() {
        *seen = Seen::default();
    }
    observed.units.get_mut("j").unwrap().record.job = ledger;
}

#[test]
fn a_power_cut_loses_no_run_and_repeats_none_that_has_ended() {
    let (declared, mut observed) = world_of(Some(every(3600)));
    pass(&declared, &mut observed, at(0));
    let begun = ledger(&observed).clone();
    // Missed while the node was off: once.
    power_cut(&declared, &mut observed, Some(begun), 3 * 3600);
    assert_eq!(pass(&declared, &mut observed, at(60)).len(), 4);
    finish(&declared, &mut observed, 0, at(61));
    assert_eq!(pass(&declared, &mut observed, at(61)), [""; 0]);
    // It had ended: not again.
    let ended = ledger(&observed).clone();
    power_cut(&declared, &mut observed, Some(ended), 70);
    assert_eq!(pass(&declared, &mut observed, at(0)), [""; 0]);
    // Interrupted: made up for once, and only once.
    let unit = &declared.units["j"];
    pass(&declared, &mut observed, at(3600));
    let interrupted = ledger(&observed).clone();
    power_cut(&declared, &mut observed, Some(interrupted), 3605);
    assert_eq!(pass(&declared, &mut observed, at(0)), &run_of("")[1..]);
    assert_eq!(ledger(&observed).runs.last().unwrap().end.reason, ExitReason::Interrupted);
    let again = ledger(&observed).clone();
    power_cut(&declared, &mut observed, Some(again), 5);
    assert_eq!(pass(&declared, &mut observed, at(0)), [""; 0], "{:?}", ledger(&observed));
    let mut skipping = unit.clone();
    skipping.schedule.as_mut().unwrap().catch_up = CatchUp::Skip;
    let mut ledger = Ledger { current: ledger(&observed).current, ..Ledger::default() };
    job::resume(&skipping, &mut ledger);
    assert_eq!(ledger.current, None);
}

#[test]
fn a_job_without_a_schedule_runs_when_it_is_asked_or_needed() {
    let (mut declared, mut observed) = world_of(None);
    assert_eq!(pass(&declared, &mut observed, at(0)), [""; 0]);
    assert!(rests(&declared.units["j"], &observed.units["j"]));
    let seen = observed.units.get_mut("j").unwrap();
    job::ask_run(&mut seen.record, &observed.facts, at(1));
    ask(&mut observed, "j", Wanted::Started, at(1));
    assert_eq!(pass(&declared, &mut observed, at(1)), &run_of("")[1..]);
    finish(&declared, &mut observed, 0, at(2));
    assert_eq!(ledger(&observed).runs[0].cause, Cause::Asked);
    // Somebody waits for it.
    let depends = Depends { until: Until::Completed, strength: Strength::Need, ..Depends::default() };
    declared.units.get_mut("s").unwrap().depends.insert(name("j"), depends);
    for seen in observed.units.values_mut() {
        *seen = Seen::default();
    }
    assert_eq!(pass(&declared, &mut observed, at(3)).len(), 4);
    assert_eq!(observed.units["s"].record.life, Life::Idle);
    finish(&declared, &mut observed, 0, at(4));
    pass(&declared, &mut observed, at(4));
    assert_eq!(
        (observed.units["s"].record.life, ledger(&observed).runs[0].cause),
        (Life::Ready, Cause::Needed)
    );
}

/// Whoever only comes after a job, or can do without it, does not wait until its time has come.
#[test]
fn nobody_waits_for_the_times_of_a_job_but_who_needs_it() {
    let wants = Depends { strength: Strength::Wants, ..Depends::default() };
    for (schedule, depends, waits) in [
        (Some(every(60)), None, false),
        (None, None, false),
        (Some(every(60)), Some(wants), false),
        (Some(every(60)), Some(Depends::default()), true),
    ] {
        let (mut declared, mut observed) = world_of(schedule);
        let service = declared.units.get_mut("s").unwrap();
        match depends {
            Some(depends) => drop(service.depends.insert(name("j"), depends)),
            None => service.after.push(name("j")),
        }
        pass(&declared, &mut observed, at(0));
        assert_eq!(observed.units["s"].record.life == Life::Idle, waits, "{depends:?}");
        if waits {
            let why = "waits for 'j' to be ready, which has not run since the boot";
            assert_eq!(waits_for(&declared, &observed, &declared.units["s"]).unwrap(), why);
            pass(&declared, &mut observed, at(60));
            finish(&declared, &mut observed, 0, at(61));
            pass(&declared, &mut observed, at(61));
        }
        assert_eq!(observed.units["s"].record.life, Life::Ready);
        // A run that goes on disturbs nobody.
        pass(&declared, &mut observed, at(120));
        assert_eq!(observed.units["s"].record.life, Life::Ready);
    }
}

#[test]
fn a_stop_by_hand_holds_the_schedule() {
    let (declared, mut observed) = world_of(Some(every(60)));
    pass(&declared, &mut observed, at(0));
    pass(&declared, &mut observed, at(60));
    observed.units.get_mut("j").unwrap().record.wanted = Wanted::Stopped;
    assert_eq!(pass(&declared, &mut observed, at(61)), ["stop j"]);
    assert_eq!(ledger(&observed).current, None);
    assert_eq!(pass(&declared, &mut observed, at(200)), [""; 0]);
    assert_eq!(wake(&declared, &observed), None);
}

/// What may happen to a job.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Ends(i32),
    TimePasses(u64),
    ClockJumps(i64),
    PowerCut(u64),
}

fn any_story() -> impl Strategy<Value = Vec<Happens>> {
    let one = prop_oneof![
        (0..2).prop_map(Happens::Ends),
        (0..400u64).prop_map(Happens::TimePasses),
        (-400..400i64).prop_map(Happens::ClockJumps),
        (0..400u64).prop_map(Happens::PowerCut),
    ];
    prop::collection::vec(one, 0..40)
}

proptest! {
    /// Whatever happens: the plan comes to rest, never wakes up for nothing, and no planned time is run twice to its
    /// end.
    #[test]
    fn no_time_runs_twice(story in any_story(), replaces: bool, retries in 0..3u32, keep in 90..100u32) {
        let (mut declared, mut observed) = world_of(Some(every(100)));
        let unit = declared.units.get_mut("j").unwrap();
        unit.job = crate::spec::Job { retries, keep };
        if replaces {
            unit.schedule.as_mut().unwrap().overlap = Overlap::Replace;
        }
        let mut now = at(1);
        let mut written = None;
        for happens in story {
            pass(&declared, &mut observed, now);
            prop_assert!(plan(&declared, &observed, now).is_empty());
            prop_assert!(next_wake(&declared, &observed).is_none_or(|wake| wake > now));
            // What is on the disk: the ledger when its schedule began, when a process was let go, when a try ended.
            if ledger(&observed).current.is_none_or(|current| current.let_go) {
                written = Some(ledger(&observed).clone());
            }
            match happens {
                Happens::Ends(code) if observed.units["j"].record.life.is_up() => {
                    finish(&declared, &mut observed, code, now);
                    written = Some(ledger(&observed).clone());
                }
                Happens::Ends(_) => {}
                Happens::TimePasses(seconds) => now = now.after(Duration::from_secs(seconds)),
                Happens::ClockJumps(seconds) => observed.facts.wall_ahead += seconds * 1_000_000,
                Happens::PowerCut(seconds) => {
                    power_cut(&declared, &mut observed, written.clone(), now.0 / SECOND + seconds);
                    now = at(1);
                }
            }
        }
        let ended = ledger(&observed).runs.iter().filter(|run| run.end.success);
        let planned: Vec<_> = ended.filter_map(|run| run.planned).collect();
        prop_assert!(planned.is_sorted_by(|one, next| one < next), "{planned:?}");
    }
}
