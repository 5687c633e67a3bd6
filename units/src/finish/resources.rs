//! What a unit's limits say about each other.

use std::time::Duration;

use crate::codes::{
    CPU_QUOTA, KEY_WITHOUT_EFFECT, LIMITS_ORDER, PARTITION_CPUS, PRESSURE_WINDOW, RAW_HAS_KEY,
};
use crate::fault::Fault;
use crate::human;
use crate::quantity::Amount;
use crate::resolve::Origin;
use crate::spec::{Partition, Unit};

/// Files of a cgroup that keys write. Those of `hugetlb` begin alike and are not listed.
const KEYED: [&str; 25] = [
    "cpu.idle",
    "cpu.max",
    "cpu.max.burst",
    "cpu.uclamp.max",
    "cpu.uclamp.min",
    "cpu.weight",
    "cpu.weight.nice",
    "cpuset.cpus",
    "cpuset.cpus.exclusive",
    "cpuset.cpus.partition",
    "cpuset.mems",
    "io.latency",
    "io.max",
    "io.prio.class",
    "io.weight",
    "memory.high",
    "memory.low",
    "memory.max",
    "memory.min",
    "memory.oom.group",
    "memory.swap.high",
    "memory.swap.max",
    "memory.zswap.max",
    "memory.zswap.writeback",
    "pids.max",
];

/// The shortest quota that the kernel takes (kernel/sched/core.c, min_cfs_quota_period).
const QUOTA_MIN: Duration = Duration::from_millis(1);

pub(super) fn check(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    check_memory(unit, origin, faults);
    check_cpu(unit, origin, faults);
    check_raw(unit, origin, faults);
    check_pressure(unit, origin, faults);
    if unit.cpuset.partition != Partition::Member && unit.cpuset.cpus.is_none() {
        // A list with a flaw of its own has been reported.
        if !origin.spans.has("cpuset.cpus") {
            let message = "a partition has no processors without cpuset.cpus";
            let fault = Fault::error(PARTITION_CPUS, origin.value("cpuset.partition"), message);
            faults.push(fault.help("name those that are to be its alone: cpuset.cpus = \"1-3\""));
        }
    }
}

fn check_cpu(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let Some(max) = unit.cpu.max else {
        return;
    };
    let quota = unit.cpu.period.saturating_mul(max.0) / 1000;
    if quota < QUOTA_MIN {
        let message = "cpu.max of a cpu.period is less than 1 ms";
        let fault = Fault::error(CPU_QUOTA, origin.value("cpu.max"), message);
        faults.push(fault.help("raise cpu.max or cpu.period"));
    } else if unit.cpu.burst > quota {
        let message = "cpu.burst is above cpu.max of a cpu.period";
        let fault = Fault::error(CPU_QUOTA, origin.value("cpu.burst"), message);
        faults.push(fault.related(origin.value("cpu.max"), "cpu.max"));
    }
}

fn check_pressure(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    for (name, pressure) in unit.pressure.iter().filter(|(_, trigger)| trigger.threshold > trigger.window) {
        let (threshold, window) = (human::duration(pressure.threshold), human::duration(pressure.window));
        let message = format!("nobody can wait {threshold} within a window of {window}");
        let place = origin.value(&format!("pressure.{name}.threshold"));
        faults.push(Fault::error(PRESSURE_WINDOW, place, message));
    }
}

fn check_raw(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    if !unit.delegate.on && origin.spans.has("cgroup.max_descendants") {
        let message = "'cgroup.max_descendants' has no effect: it may make none";
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.key("cgroup.max_descendants"), message);
        faults.push(fault.help("set cgroup.delegate = true"));
    }
    for name in unit.cgroup_raw.keys() {
        if KEYED.contains(&name.as_str()) || name.starts_with("hugetlb.") {
            let message = format!("'{name}' is written by a key of its own");
            let place = origin.key(&format!("cgroup.raw.{name}"));
            faults.push(
                Fault::error(RAW_HAS_KEY, place, message)
                    .help("keys are called like files: see docs/keys.md"),
            );
        }
    }
}

/// memory.min <= low <= high <= max, as far as they can be compared without knowing the node.
fn check_memory(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let memory = &unit.memory;
    let order = [
        ("memory.min", memory.min),
        ("memory.low", memory.low),
        ("memory.high", memory.high),
        ("memory.max", memory.max),
    ];
    let set: Vec<_> = order.into_iter().filter_map(|(key, amount)| Some((key, amount?))).collect();
    for pair in set.windows(2) {
        let [(lower_key, lower), (upper_key, upper)] = pair else { continue };
        let inverted = match (lower, upper) {
            (Amount::Bytes(lower), Amount::Bytes(upper)) => lower > upper,
            (Amount::Percent(lower), Amount::Percent(upper)) => lower > upper,
            _ => false,
        };
        if inverted {
            let message = format!("{lower_key} is above {upper_key}");
            let other = origin.value(upper_key);
            faults.push(
                Fault::warning(LIMITS_ORDER, origin.value(lower_key), message).related(other, *upper_key),
            );
        }
    }
}
