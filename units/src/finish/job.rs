//! What a job's keys mean together, and that nothing else has them.

use crate::codes::{CRON_NEVER, KEY_WITHOUT_EFFECT, SCHEDULE_JITTER, SCHEDULE_TIME};
use crate::fault::Fault;
use crate::resolve::Origin;
use crate::schedule::Schedule;
use crate::spec::{Type, Unit};

/// The keys of `[schedule]` and `[job]`; the first three are times.
const KEYS: [&str; 11] = [
    "schedule.cron",
    "schedule.every",
    "schedule.on_boot",
    "schedule.timezone",
    "schedule.jitter",
    "schedule.catch_up",
    "schedule.deadline",
    "schedule.overlap",
    "schedule.without_clock",
    "job.retries",
    "job.keep",
];

pub(super) fn check(unit: &mut Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let idle = |key: &str, why: &str| {
        let fault =
            Fault::error(KEY_WITHOUT_EFFECT, origin.key(key), format!("'{key}' has no effect: {why}"));
        (!why.is_empty() && origin.spans.has(key)).then_some(fault)
    };
    if unit.kind != Type::Job {
        unit.schedule = None;
        let found = KEYS.iter().filter_map(|key| idle(key, "the unit is no job"));
        return faults.extend(found.map(|fault| fault.help("set type = \"job\", or take it out")));
    }
    let policy = idle("restart.policy", "what follows a run is said by job.retries and [schedule]");
    faults.extend(policy.map(|fault| fault.help("take it out")));
    let Some(schedule) = &unit.schedule else { return };
    if !KEYS.iter().take(3).any(|key| origin.spans.has(key)) {
        let fault = Fault::error(SCHEDULE_TIME, origin.key("schedule"), "the schedule has no time");
        faults.push(fault.help("set one of schedule.cron, schedule.every and schedule.on_boot"));
        return;
    }
    check_times(schedule, origin, faults);
    let has = |key: &str| origin.spans.has(key);
    let only_cron = has("schedule.cron") && !has("schedule.every") && !has("schedule.on_boot");
    let rows = [
        ("schedule.timezone", !has("schedule.cron"), "only schedule.cron knows time zones"),
        ("schedule.without_clock", only_cron, "schedule.cron goes by the clock"),
    ];
    for (key, _, why) in rows.into_iter().filter(|(_, applies, _)| *applies) {
        faults.extend(idle(key, why).map(|fault| fault.help("take it out")));
    }
}

fn check_times(schedule: &Schedule, origin: &Origin, faults: &mut Vec<Fault>) {
    if schedule.cron.is_some_and(|cron| !cron.ever_fires()) {
        let place = origin.value("schedule.cron");
        let fault = Fault::error(CRON_NEVER, place, "there is no such day: the job would never run");
        faults.push(fault.help("the fields are minute, hour, day, month and day of the week"));
    }
    if !schedule.every.is_zero() && schedule.jitter >= schedule.every {
        let place = origin.value("schedule.jitter");
        let fault = Fault::error(SCHEDULE_JITTER, place, "schedule.jitter is as long as schedule.every");
        faults.push(
            fault.related(origin.value("schedule.every"), "one run is over by then").help("make it shorter"),
        );
    }
}
