//! How the kernel schedules a process, in its own numbers: sched(7), ioprio_set(2).

use std::time::Duration;

use berth_units::spec::{IoPriority, SchedulerPolicy, Scheduling};

use super::invalid;
use crate::spawn::SpawnError;

const IOPRIO_CLASS_SHIFT: u16 = 13;
/// SCHED_FLAG_RESET_ON_FORK, linux/sched.h.
const RESET_ON_FORK: u64 = 1;

/// For sched_setattr(2).
pub(super) fn attributes(wanted: &Scheduling) -> Result<libc::sched_attr, SpawnError> {
    if !(-20..=19).contains(&wanted.nice) {
        return Err(invalid("nice", wanted.nice, "it is from -20 to 19"));
    }
    if wanted.priority > 99 {
        return Err(invalid("priority", wanted.priority, "it is at most 99"));
    }
    let policy = match wanted.policy {
        SchedulerPolicy::Other => libc::SCHED_OTHER,
        SchedulerPolicy::Batch => libc::SCHED_BATCH,
        SchedulerPolicy::Idle => libc::SCHED_IDLE,
        SchedulerPolicy::Fifo => libc::SCHED_FIFO,
        SchedulerPolicy::Rr => libc::SCHED_RR,
        SchedulerPolicy::Deadline => libc::SCHED_DEADLINE,
    };
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Ok(libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0),
        sched_policy: policy.unsigned_abs(),
        sched_flags: if wanted.reset_on_fork { RESET_ON_FORK } else { 0 },
        sched_nice: i32::from(wanted.nice),
        sched_priority: u32::from(wanted.priority),
        sched_runtime: nanos(wanted.runtime),
        sched_deadline: nanos(wanted.deadline),
        sched_period: nanos(wanted.period),
    })
}

/// IOPRIO_PRIO_VALUE of class and level.
pub(super) fn io_priority(wanted: IoPriority) -> u16 {
    let (class, level) = match wanted {
        IoPriority::RealTime(level) => (1, level),
        IoPriority::BestEffort(level) => (2, level),
        IoPriority::Idle => (3, 0),
    };
    (class << IOPRIO_CLASS_SHIFT) | u16::from(level & 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_kernels_bounds() {
        let nice = attributes(&Scheduling { nice: 5, ..Scheduling::default() }).unwrap();
        assert_eq!((nice.size, nice.sched_policy, nice.sched_nice), (48, 0, 5));
        assert!(attributes(&Scheduling { nice: 20, ..Scheduling::default() }).is_err());
        assert!(attributes(&Scheduling { priority: 100, ..Scheduling::default() }).is_err());
    }

    #[test]
    fn times_are_nanoseconds_and_levels_have_a_class() {
        let wanted = Scheduling {
            policy: SchedulerPolicy::Deadline,
            runtime: Duration::from_millis(2),
            deadline: Duration::from_millis(10),
            reset_on_fork: true,
            ..Scheduling::default()
        };
        let made = attributes(&wanted).unwrap();
        let numbers = (made.sched_policy, made.sched_flags, made.sched_runtime, made.sched_deadline);
        assert_eq!(numbers, (6, 1, 2_000_000, 10_000_000));
        assert_eq!(io_priority(IoPriority::BestEffort(4)), 0x4004);
        assert_eq!(io_priority(IoPriority::RealTime(0)), 0x2000);
        assert_eq!(io_priority(IoPriority::Idle), 0x6000);
    }
}
