//! Limits of a cgroup as plain numbers, and the writes that they come to.

/// Limits as the kernel takes them; [`u64::MAX`] is `max`, unset knobs are not touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// memory.max, bytes.
    pub memory_max: Option<u64>,
    /// memory.high, bytes.
    pub memory_high: Option<u64>,
    /// memory.low, bytes.
    pub memory_low: Option<u64>,
    /// memory.min, bytes.
    pub memory_min: Option<u64>,
    /// memory.swap.max, bytes; skipped where the kernel has no swap accounting.
    pub memory_swap_max: Option<u64>,
    /// memory.oom.group.
    pub memory_oom_group: Option<bool>,
    /// cpu.max: quota ([`u64::MAX`] is none) and period, microseconds.
    pub cpu_max: Option<(u64, u64)>,
    /// cpu.max.burst, microseconds.
    pub cpu_max_burst: Option<u64>,
    /// cpu.weight, 1 to 10000.
    pub cpu_weight: Option<u16>,
    /// cpu.idle.
    pub cpu_idle: Option<bool>,
    /// pids.max.
    pub pids_max: Option<u64>,
    /// io.weight, the `default` entry, 1 to 10000.
    pub io_weight: Option<u16>,
    /// io.max by device.
    pub io_max: Vec<IoMax>,
    /// cgroup.max.descendants. A container makes groups below its own from inside a user namespace, however its
    /// /sys/fs/cgroup is mounted: so many that the kernel has no more for others, or so deep that nobody can name
    /// them to remove them.
    pub descendants: Option<u64>,
}

/// One line of io.max; unset is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoMax {
    /// Major and minor number of a whole disk.
    pub device: (u32, u32),
    /// Bytes a second.
    pub rbps: Option<u64>,
    /// Bytes a second.
    pub wbps: Option<u64>,
    /// Operations a second.
    pub riops: Option<u64>,
    /// Operations a second.
    pub wiops: Option<u64>,
}

impl Limits {
    /// What is written where, in an order in which no limit is refused for another's sake.
    pub fn plan_writes(&self) -> Vec<(&'static str, String)> {
        let amount = |value: u64| if value == u64::MAX { "max".to_owned() } else { value.to_string() };
        let flag = |value: bool| u8::from(value).to_string();
        let cpu = self.cpu_max.map(|(quota, period)| format!("{} {period}", amount(quota)));
        let single = [
            ("memory.min", self.memory_min.map(amount)),
            ("memory.low", self.memory_low.map(amount)),
            ("memory.high", self.memory_high.map(amount)),
            ("memory.max", self.memory_max.map(amount)),
            ("memory.swap.max", self.memory_swap_max.map(amount)),
            ("memory.oom.group", self.memory_oom_group.map(flag)),
            ("cpu.idle", self.cpu_idle.map(flag)),
            // An idle group has no weight: the kernel answers EINVAL.
            ("cpu.weight", self.cpu_weight.filter(|_| self.cpu_idle != Some(true)).map(|w| w.to_string())),
            ("cpu.max", cpu),
            ("cpu.max.burst", self.cpu_max_burst.map(|burst| burst.to_string())),
            ("pids.max", self.pids_max.map(amount)),
            ("cgroup.max.descendants", self.descendants.map(amount)),
            ("io.weight", self.io_weight.map(|weight| format!("default {weight}"))),
        ];
        let single = single.into_iter().filter_map(|(knob, value)| Some((knob, value?)));
        single.chain(self.io_max.iter().map(|line| ("io.max", line.to_line()))).collect()
    }
}

impl IoMax {
    fn to_line(&self) -> String {
        let (major, minor) = self.device;
        let amount = |value: Option<u64>| value.map_or("max".to_owned(), |value| value.to_string());
        let [rbps, wbps, riops, wiops] = [self.rbps, self.wbps, self.riops, self.wiops].map(amount);
        format!("{major}:{minor} rbps={rbps} wbps={wbps} riops={riops} wiops={wiops}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_in_the_kernels_words() {
        let limits = Limits {
            memory_max: Some(64 << 20),
            memory_high: Some(u64::MAX),
            memory_oom_group: Some(true),
            cpu_max: Some((150_000, 100_000)),
            cpu_weight: Some(50),
            pids_max: Some(u64::MAX),
            descendants: Some(0),
            io_max: vec![IoMax { device: (254, 0), rbps: Some(1024), ..IoMax::default() }],
            ..Limits::default()
        };
        let expect = [
            ("memory.high", "max"),
            ("memory.max", "67108864"),
            ("memory.oom.group", "1"),
            ("cpu.weight", "50"),
            ("cpu.max", "150000 100000"),
            ("pids.max", "max"),
            ("cgroup.max.descendants", "0"),
            ("io.max", "254:0 rbps=1024 wbps=max riops=max wiops=max"),
        ];
        assert_eq!(limits.plan_writes(), expect.map(|(knob, value)| (knob, value.to_owned())));
        let unlimited = Limits { cpu_max: Some((u64::MAX, 100_000)), ..Limits::default() };
        assert_eq!(unlimited.plan_writes(), [("cpu.max", "max 100000".to_owned())]);
    }

    #[test]
    fn an_idle_group_gets_no_weight() {
        let limits = Limits { cpu_idle: Some(true), cpu_weight: Some(5), ..Limits::default() };
        assert_eq!(limits.plan_writes(), [("cpu.idle", "1".to_owned())]);
    }
}
