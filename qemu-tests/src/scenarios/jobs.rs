//! Jobs: at their times, tried again, one at a time; nothing lost and nothing twice over a power cut.

use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_qemu_tests::appliance::{Appliance, probe_unit_with};
use berth_qemu_tests::vm::{BOOT, Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::job::Cause;
use berth_units::time::rfc3339;
use berth_units::wire::control::{ExitReason, RunStatus, State};

use crate::lab::Lab;

/// Name, arguments, tables.
type Row = (&'static str, &'static [&'static str], &'static str);

const JOBS: &[Row] = &[
    ("tick", &["exit", "0"], "[schedule]\nevery = \"1s\"\n"),
    ("slow", &["exit-after", "3", "0"], "[schedule]\nevery = \"1s\"\n"),
    ("impatient", &["exit-after", "60", "0"], "[schedule]\nevery = \"4s\"\noverlap = \"replace\"\n"),
    ("flaky", &["exit", "3"], "[job]\nretries = 2\n[restart]\ndelay = \"100ms\"\n"),
    ("once", &["exit", "0"], ""),
    ("migrate", &["exit", "0"], ""),
    ("long", &["exit-after", "600", "0"], ""),
    ("hourly", &["exit", "0"], "[schedule]\nevery = \"1h\"\n"),
    (
        "tally",
        &["append", "/tally/lines", "x"],
        "[schedule]\nevery = \"20s\"\n[mounts.tally]\nvolume = \"tally\"\ntarget = \"/tally\"\n",
    ),
];

const ALONE: &str = "[network]\nmode = \"none\"\n";

fn write_jobs(appliance: &Appliance) -> Outcome {
    for (name, words, tables) in JOBS {
        appliance.unit(name, &probe_unit_with("type = \"job\"\n", words, &format!("{ALONE}{tables}")))?;
    }
    let needs = format!("{ALONE}[depends.migrate]\nuntil = \"completed\"\n");
    appliance.probe("needs", &["sleep"], &needs)?;
    let keeper = "[security]\nprofile = \"privileged\"\n\
                  [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n\
                  [mounts.tally]\nvolume = \"tally\"\ntarget = \"/tally\"\n";
    Ok(appliance.probe("keeper", &["sleep"], &format!("{ALONE}{keeper}"))?)
}

/// The runs of a job once there are so many.
fn runs(vm: &mut Vm, job: &str, count: usize) -> Outcome<Vec<RunStatus>> {
    let what = format!("with {count} runs");
    Ok(vm.wait_unit(job, &what, SOON, |unit| unit.runs.len() >= count)?.runs)
}

fn last(runs: &[RunStatus]) -> Outcome<&RunStatus> {
    Ok(runs.last().ok_or("no run is remembered")?)
}

/// Whether each of them comes after the one before, in that sense.
fn each_after(runs: &[RunStatus], is_after: impl Fn(&RunStatus, &RunStatus) -> bool) -> bool {
    runs.iter().zip(runs.iter().skip(1)).all(|(one, next)| is_after(one, next))
}

/// Numbered one by one, for ascending times, with success.
fn is_whole(runs: &[RunStatus]) -> bool {
    let follows = |one: &RunStatus, next: &RunStatus| {
        next.number == one.number + 1 && next.planned > one.planned && next.success
    };
    each_after(runs, follows)
}

pub fn jobs_run_at_their_times_and_none_is_lost(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    write_jobs(&appliance)?;
    let mut vm = lab.boot(&appliance, &Options { memory: "256M", ..Options::default() })?;
    vm.wait_ready(&["keeper", "needs"])?;
    ensure_eq!(last(&runs(&mut vm, "migrate", 1)?)?.cause, Cause::Needed);
    by_hand(&mut vm)?;
    by_schedule(&mut vm)?;
    over_a_power_cut(&mut vm)?;
    over_a_set_clock(&mut vm)?;
    vm.power_off()
}

fn by_hand(vm: &mut Vm) -> Outcome {
    vm.berth(&["start", "once"], b"")?.ok()?;
    let once = vm.unit("once")?;
    ensure_eq!((once.state, once.runs.len(), last(&once.runs)?.cause), (State::Completed, 1, Cause::Asked));
    vm.berth(&["start", "--no-wait", "flaky"], b"")?.ok()?;
    let flaky = vm.wait_unit("flaky", "failed", SOON, |unit| unit.state == State::Failed)?;
    let run = last(&flaky.runs)?;
    ensure_eq!((flaky.runs.len(), run.tries, run.code, run.success), (1, 3, Some(3), false));
    let text = vm.berth(&["status", "flaky"], b"")?.ok()?;
    ensure!(text.contains("1 (asked), began ") && text.contains("tries 3: exit code 3"), "{text}");
    Ok(())
}

fn by_schedule(vm: &mut Vm) -> Outcome {
    let ticks = runs(vm, "tick", 3)?;
    ensure!(is_whole(&ticks), "{ticks:?}");
    let slow = runs(vm, "slow", 2)?;
    let one_at_a_time = each_after(&slow, |one, next| Some(&next.began) >= one.ended.as_ref());
    ensure!(one_at_a_time && slow.iter().all(|run| run.seconds >= Some(3.0)), "{slow:?}");
    let impatient = runs(vm, "impatient", 1)?;
    let impatient = last(&impatient)?;
    ensure_eq!(impatient.reason, ExitReason::Stopped);
    ensure!(impatient.detail.as_ref().is_some_and(|why| why.contains("next run")), "{impatient:?}");
    // The next supervisor knows them all.
    let before = vm.unit("tick")?.runs.last().map_or(0, |run| run.number);
    drop(vm.probe("keeper", &["write", "/cgroup/system/supervise/cgroup.kill", "1"]));
    let ticks =
        vm.wait_unit("tick", "later", SOON, |unit| unit.runs.iter().any(|run| run.number > before + 2))?;
    ensure!(is_whole(&ticks.runs), "{ticks:?}");
    ensure_eq!(vm.status()?.node.restarts.get("supervise"), Some(&1));
    Ok(())
}

/// The node is away at a time of `tally`, which runs once for that; `long` was interrupted.
fn over_a_power_cut(vm: &mut Vm) -> Outcome {
    vm.berth(&["start", "--no-wait", "long"], b"")?.ok()?;
    vm.wait_unit("long", "running", SOON, |unit| unit.pid.is_some() && unit.state == State::Starting)?;
    let known = vm.unit("tally")?.runs.len();
    let before = runs(vm, "tally", known + 1)?;
    let missed = vm.unit("tally")?.next_run.ok_or("'tally' does not know its next run")?;
    vm.cut_power()?;
    // Nothing but time tells that this one was missed.
    while rfc3339(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()) <= missed {
        sleep(Duration::from_millis(500));
    }
    vm.start_again()?;
    let count = before.len();
    let tally = vm.wait_unit("tally", "with two runs more", BOOT, |unit| unit.runs.len() >= count + 2)?.runs;
    ensure!(tally.starts_with(&before), "{before:?}, then {tally:?}");
    let (made_up, next) = tally.get(count).zip(tally.get(count + 1)).ok_or("the two are there")?;
    ensure_eq!(made_up.planned.as_ref(), Some(&missed));
    ensure!(next.planned.as_ref() > Some(&made_up.began), "{tally:?}");
    vm.berth(&["stop", "tally"], b"")?.ok()?;
    let runs = vm.unit("tally")?.runs;
    let ended = runs.iter().filter(|run| run.success).count();
    ensure_eq!(vm.probe("keeper", &["read", "/tally/lines"])?.lines().count(), ended);
    let long = vm.unit("long")?;
    ensure_eq!((long.state, long.pid, long.runs.len()), (State::Stopped, None, 1));
    ensure_eq!(last(&long.runs)?.reason, ExitReason::Interrupted);
    ensure_eq!(vm.unit("flaky")?.runs.len(), 1);
    Ok(())
}

/// An hour forward is a run that was missed; an hour back repeats none.
fn over_a_set_clock(vm: &mut Vm) -> Outcome {
    let hourly = vm.unit("hourly")?;
    ensure_eq!((hourly.state, hourly.runs.len()), (State::Waiting, 0));
    vm.probe("keeper", &["shift-clock", "3600"])?;
    let made_up = runs(vm, "hourly", 1)?;
    let run = last(&made_up)?;
    ensure_eq!(run.planned, hourly.next_run);
    vm.probe("keeper", &["shift-clock", "-3600"])?;
    vm.berth(&["start", "once"], b"")?.ok()?;
    let hourly = vm.unit("hourly")?;
    ensure!(hourly.runs.len() == 1 && hourly.next_run > run.planned, "{hourly:?}");
    Ok(())
}
