//! From a unit's limits to what its cgroup is told: numbers and devices of this node.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use berth_runtime::Cgroup;
use berth_runtime::cgroup::{CgroupError, HugePages, IoMax, Limits, Partition};
use berth_units::quantity::Amount;
use berth_units::spec::{self, PrioClass, Profile, Unit};

use super::container::{CGROUPS_DIR, Error};

/// The root of the tree.
const ROOT: &str = "/sys/fs/cgroup";
/// Processors of the node, as the kernel writes lists.
const CPUS: &str = "/sys/devices/system/cpu/online";

/// Writes limits to the cgroup of a unit; controllers that it alone needs are handed down first.
pub fn apply(cgroup: &Cgroup, limits: &Limits) -> Result<(), CgroupError> {
    let cpus = fs::read_to_string(CPUS).unwrap_or_default();
    // The root gives its processors away without being asked.
    for parent in [ROOT, CGROUPS_DIR] {
        Cgroup::at(Path::new(parent)).hand_down(limits, cpus.trim())?;
    }
    cgroup.set(limits)
}

/// The unit's limits as numbers, given the memory of the node in bytes.
pub fn limits(unit: &Unit, node_memory: u64) -> Result<Limits, Error> {
    let bytes = |amount| bytes(amount, node_memory);
    let period = micros(unit.cpu.period);
    let quota = |milli: u32| (period.saturating_mul(u64::from(milli)) / 1000, period);
    Ok(Limits {
        memory_max: unit.memory.max.map(bytes),
        memory_high: unit.memory.high.map(bytes),
        memory_low: unit.memory.low.map(bytes),
        memory_min: unit.memory.min.map(bytes),
        memory_swap_max: Some(bytes(unit.memory.swap_max)),
        memory_swap_high: unit.memory.swap_high.map(bytes),
        memory_zswap_max: unit.memory.zswap_max.map(bytes),
        // What the kernel does anyway is not written: most have no zswap.
        memory_zswap_writeback: (!unit.memory.zswap_writeback).then_some(false),
        memory_oom_group: Some(unit.memory.oom_group),
        cpu_max: unit.cpu.max.map(|max| quota(max.0)),
        cpu_max_burst: (!unit.cpu.burst.is_zero()).then(|| micros(unit.cpu.burst)),
        cpu_weight: unit.cpu.weight,
        cpu_idle: unit.cpu.idle.then_some(true),
        cpu_uclamp_min: unit.cpu.uclamp_min,
        cpu_uclamp_max: unit.cpu.uclamp_max,
        cpuset_cpus: unit.cpuset.cpus.clone(),
        cpuset_mems: unit.cpuset.mems.clone(),
        cpuset_partition: partition(unit.cpuset.partition),
        hugetlb: unit.hugetlb.iter().map(|(size, max)| huge_pages(unit, size, bytes(*max))).collect(),
        pids_max: Some(u64::from(unit.pids.max)),
        io_weight: unit.io.weight,
        io_prio_class: unit.io.prio_class.map(prio_class),
        descendants: descendants(unit),
        depth: unit.delegate.on.then_some(DEPTH_MAX),
        raw: unit.cgroup_raw.clone(),
        ..io_limits(unit)?
    })
}

/// Names of 255 bytes, so many of them, can still be reached by one path.
const DEPTH_MAX: u64 = 8;

/// How many groups of its own a unit may keep; a privileged one as many as it likes.
fn descendants(unit: &Unit) -> Option<u64> {
    match unit.delegate.on {
        true => Some(u64::from(unit.delegate.descendants)),
        false => (unit.security.profile != Profile::Privileged).then_some(0),
    }
}

fn bytes(amount: Amount, node_memory: u64) -> u64 {
    match amount {
        Amount::Max => u64::MAX,
        Amount::Bytes(bytes) => bytes,
        Amount::Percent(percent) => node_memory / 100 * u64::from(percent),
    }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn partition(wanted: spec::Partition) -> Option<Partition> {
    match wanted {
        spec::Partition::Member => None,
        spec::Partition::Root => Some(Partition::Root),
        spec::Partition::Isolated => Some(Partition::Isolated),
    }
}

/// The kernel calls `2M` "2MB".
fn huge_pages(unit: &Unit, size: &str, max: u64) -> HugePages {
    HugePages { size: format!("{size}B"), reserved: unit.hugetlb_rsvd, max }
}

fn prio_class(class: PrioClass) -> &'static str {
    match class {
        PrioClass::PromoteToRt => "promote-to-rt",
        PrioClass::RestrictToBe => "restrict-to-be",
        PrioClass::Idle => "idle",
    }
}

/// What is limited by disk.
fn io_limits(unit: &Unit) -> Result<Limits, Error> {
    let mut limits = Limits::default();
    for (path, limit) in &unit.io.limits {
        let device = device(path)?;
        let max = IoMax {
            device,
            rbps: limit.read_bps,
            wbps: limit.write_bps,
            riops: limit.read_iops,
            wiops: limit.write_iops,
        };
        // A line of no limit at all needs no file.
        if max != (IoMax { device, ..IoMax::default() }) {
            limits.io_max.push(max);
        }
        limits.io_weights.extend(limit.weight.map(|weight| (device, weight)));
        limits.io_latency.extend(limit.latency.map(|target| (device, micros(target))));
    }
    Ok(limits)
}

/// Major and minor number of a block device.
fn device(path: &str) -> Result<(u32, u32), Error> {
    let fault = |source| Error::Path { doing: "find block device", path: path.to_owned(), source };
    let device = fs::metadata(path).map_err(fault)?.rdev();
    Ok((rustix::fs::major(device), rustix::fs::minor(device)))
}

#[cfg(test)]
mod tests {
    use berth_units::{Name, Reference};

    use super::*;

    #[test]
    fn limits_of_a_unit_become_numbers_and_words_of_the_kernel() {
        let mut unit = Unit::new(Name::parse("web").unwrap(), Reference::parse("web").unwrap());
        let plain = limits(&unit, 1 << 30).unwrap().plan_writes();
        let knobs: Vec<_> = plain.iter().map(|(knob, _)| knob.as_str()).collect();
        // Nothing that the kernel of the node may not have.
        let expect = ["memory.swap.max", "memory.oom.group", "pids.max", "cgroup.max.descendants"];
        assert_eq!(knobs, expect);
        unit.hugetlb.insert("2M".to_owned(), Amount::Max);
        unit.hugetlb_rsvd = true;
        unit.cpu.uclamp_min = Some(40);
        unit.cpuset.cpus = Some("1".to_owned());
        unit.cpuset.partition = spec::Partition::Isolated;
        unit.io.prio_class = Some(PrioClass::Idle);
        unit.io.limits.entry("/dev/null".to_owned()).or_default().weight = Some(7);
        unit.cgroup_raw.insert("misc.max".to_owned(), "x 1".to_owned());
        let wanted = limits(&unit, 1 << 30).unwrap().plan_writes();
        let new: Vec<_> = wanted.into_iter().filter(|write| !plain.contains(write)).collect();
        let expect = [
            ("cpu.uclamp.min", "40"),
            ("cpuset.cpus", "1"),
            ("cpuset.cpus.exclusive", "1"),
            ("cpuset.cpus.partition", "isolated"),
            ("hugetlb.2MB.rsvd.max", "max"),
            ("io.prio.class", "idle"),
            ("io.weight", "1:3 7"),
            ("misc.max", "x 1"),
        ];
        assert_eq!(new, expect.map(|(knob, value)| (knob.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_disk_that_is_not_there_is_named() {
        let mut unit = Unit::new(Name::parse("web").unwrap(), Reference::parse("web").unwrap());
        unit.io.limits.entry("/dev/nodisk".to_owned()).or_default().weight = Some(7);
        let error = limits(&unit, 1 << 30).unwrap_err();
        assert_eq!(error.to_string(), "cannot find block device '/dev/nodisk'");
    }
}
