//! What a unit's scheduling says about itself.

use std::time::Duration;

use crate::codes::{KEY_WITHOUT_EFFECT, SCHEDULER};
use crate::fault::Fault;
use crate::resolve::Origin;
use crate::spec::{SchedulerPolicy, Scheduling, Unit};

const POLICY: &str = "process.scheduler.policy";
const DEADLINE_KEYS: [&str; 3] =
    ["process.scheduler.runtime", "process.scheduler.deadline", "process.scheduler.period"];

pub(super) fn check(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    check_init(unit, origin, faults);
    if unit.process.console.is_some() && origin.spans.has("process.stdin") {
        let message = "'process.stdin' has no effect: its input is the console";
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.key("process.stdin"), message);
        faults.push(fault.help("take out one of both"));
    }
    let scheduling = &unit.process.scheduling;
    let idle: &[&str] = match scheduling.policy {
        SchedulerPolicy::Other | SchedulerPolicy::Batch | SchedulerPolicy::Idle => {
            &["process.scheduler.priority"]
        }
        SchedulerPolicy::Fifo | SchedulerPolicy::Rr => &["process.nice"],
        SchedulerPolicy::Deadline => &["process.nice", "process.scheduler.priority"],
    };
    let is_deadline = scheduling.policy == SchedulerPolicy::Deadline;
    let idle = idle.iter().chain(DEADLINE_KEYS.iter().filter(|_| !is_deadline));
    for key in idle.filter(|key| origin.spans.has(key)) {
        let message = format!("'{key}' has no effect with this process.scheduler.policy");
        faults.push(Fault::error(KEY_WITHOUT_EFFECT, origin.key(key), message));
    }
    if let Some((message, help)) = flaw(scheduling, origin) {
        faults.push(Fault::error(SCHEDULER, origin.value(POLICY), message).help(help));
    }
}

/// The program is a child of its init, and some of what the kernel is told of a process is not for its children.
fn check_init(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let scheduling = &unit.process.scheduling;
    let key = match (scheduling.policy, scheduling.reset_on_fork) {
        (SchedulerPolicy::Deadline, _) => POLICY,
        (_, true) => "process.scheduler.reset_on_fork",
        _ => return,
    };
    if unit.process.init {
        let message = format!("'{key}' would not reach the program below process.init");
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.key(key), message);
        faults.push(fault.help("take out one of both"));
    }
}

/// sched_setattr(2) would refuse it: why, and what to do. A value with a flaw of its own has been reported.
fn flaw(scheduling: &Scheduling, origin: &Origin) -> Option<(&'static str, &'static str)> {
    let missing = |key| !origin.spans.has(key);
    let Scheduling { runtime, deadline, period, .. } = scheduling;
    let order = |lower: &Duration, upper: &Duration| lower.is_zero() || upper.is_zero() || lower <= upper;
    match scheduling.policy {
        SchedulerPolicy::Fifo | SchedulerPolicy::Rr if missing("process.scheduler.priority") => {
            Some(("this policy has no default priority", "set process.scheduler.priority, 1 to 99"))
        }
        SchedulerPolicy::Deadline if DEADLINE_KEYS.iter().take(2).any(|key| missing(key)) => {
            Some(("deadline needs a runtime and a deadline", "set process.scheduler.runtime and deadline"))
        }
        SchedulerPolicy::Deadline if !order(runtime, deadline) || !order(deadline, period) => {
            Some(("the times of deadline are in the wrong order", "runtime <= deadline <= period"))
        }
        _ => None,
    }
}
