//! Limits that are not as they should be: found, and put right in place.
//!
//! A limit that nobody sets has the value of a new group, so that taking one away needs no memory of it.

use super::{Cgroup, CgroupError, Limits};

/// The largest page of any kernel, bytes.
const PAGE_MAX: u64 = 64 << 10;

/// Files with a line a device, and what takes such a line away.
const BY_DEVICE: [(&str, &str); 3] = [
    ("io.max", "rbps=max wbps=max riops=max wiops=max"),
    ("io.weight", "default"),
    ("io.latency", "target=0"),
];

/// An interface file, and what has to be written to it.
pub type Setting = (String, String);

impl Cgroup {
    /// What has to be written for the limits to hold and nothing else to be limited; nothing when all is well.
    ///
    /// # Errors
    /// A file of a limit cannot be read.
    pub fn differences(&self, limits: &Limits) -> Result<Vec<Setting>, CgroupError> {
        let wanted = limits.plan_writes();
        let mut settings = Vec::new();
        for (knob, fresh) in Limits::KNOBS {
            // An idle group has no weight.
            if knob == "cpu.weight" && limits.cpu_idle == Some(true) {
                continue;
            }
            let mut values =
                wanted.iter().filter(|(known, _)| known == knob).map(|(_, value)| value.as_str());
            let value = values.find(|value| device(value).is_none());
            let found = match self.read(knob) {
                // What is not there limits nothing; a limit that is asked for says so when it is written.
                Err(CgroupError::Absent { .. }) if value.is_none() || knob == "memory.swap.max" => continue,
                Err(CgroupError::Absent { .. }) => String::new(),
                found => found?,
            };
            if !is_same(knob, &found, value.unwrap_or(fresh)) {
                settings.push((knob.to_owned(), value.unwrap_or(fresh).to_owned()));
            }
        }
        for (knob, free) in BY_DEVICE {
            settings.extend(self.by_device(knob, free, &wanted)?);
        }
        Ok(before_quota(settings, limits))
    }

    /// The same of a file that has a line a device.
    fn by_device(&self, knob: &str, free: &str, wanted: &[Setting]) -> Result<Vec<Setting>, CgroupError> {
        let lines = wanted.iter().filter(|(known, _)| known == knob).map(|(_, line)| line.as_str());
        let wanted: Vec<&str> = lines.filter(|line| device(line).is_some()).collect();
        let found = match self.read(knob) {
            Err(CgroupError::Absent { .. }) if wanted.is_empty() => return Ok(Vec::new()),
            Err(CgroupError::Absent { .. }) => String::new(),
            found => found?,
        };
        let is_wanted = |of: &&str| wanted.iter().any(|line| device(line) == Some(of));
        let over = found.lines().filter_map(device).filter(|device| !is_wanted(device));
        let over = over.map(|device| format!("{device} {free}"));
        let missing = wanted.iter().filter(|line| !found.lines().any(|known| known == **line));
        Ok(over.chain(missing.map(ToString::to_string)).map(|line| (knob.to_owned(), line)).collect())
    }

    /// Writes what [`Cgroup::differences`] found, also what comes after one that fails.
    ///
    /// # Errors
    /// A knob is absent or refuses its value: the first of them.
    pub fn write_all(&self, settings: &[Setting]) -> Result<(), CgroupError> {
        settings.iter().map(|(knob, value)| self.write(knob, value)).fold(Ok(()), Result::and)
    }
}

/// The kernel refuses a quota below the burst, whichever of the two comes first: the burst goes and comes back.
fn before_quota(mut settings: Vec<Setting>, limits: &Limits) -> Vec<Setting> {
    const BURST: &str = "cpu.max.burst";
    if let (Some(at), Some(burst)) =
        (settings.iter().position(|(knob, _)| knob == "cpu.max"), limits.cpu_max_burst)
    {
        settings.insert(at, (BURST.to_owned(), "0".to_owned()));
        settings.retain(|(knob, value)| knob != BURST || value == "0");
        settings.push((BURST.to_owned(), burst.to_string()));
    }
    settings
}

/// The device that a line is about: `254:0 …`.
fn device(line: &str) -> Option<&str> {
    line.split(' ').next().filter(|word| word.contains(':'))
}

/// Whether a file says what was written to it.
fn is_same(knob: &str, found: &str, wanted: &str) -> bool {
    let mut lines = found.lines().filter(|line| device(line).is_none());
    let found = lines.next().unwrap_or_default();
    if found == wanted {
        return true;
    }
    if knob.starts_with("cpu.uclamp.") {
        // Written as `40`, read as `40.00`.
        let percent = |text: &str| if text == "max" { Some(100.0) } else { text.parse::<f64>().ok() };
        return percent(found).is_some() && percent(found) == percent(wanted);
    }
    // Amounts of memory are cut to whole pages.
    let lost = || wanted.parse::<u64>().ok()?.checked_sub(found.parse().ok()?);
    knob.starts_with("memory.") && lost().is_some_and(|lost| lost < PAGE_MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::IoMax;
    use super::*;

    /// A directory that looks like a new group.
    fn fresh(name: &str) -> (Cgroup, PathBuf) {
        let path = std::env::temp_dir().join(format!("berth-drift-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (knob, value) in Limits::KNOBS {
            fs::write(path.join(knob), format!("{value}\n")).unwrap();
        }
        for knob in ["io.max", "io.latency"] {
            fs::write(path.join(knob), "").unwrap();
        }
        (Cgroup::at(&path), path)
    }

    fn pairs(settings: &[(&str, &str)]) -> Vec<Setting> {
        settings.iter().map(|(knob, value)| ((*knob).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_limit_that_is_gone_is_taken_away_and_one_that_is_there_is_left() {
        let (group, path) = fresh("one");
        assert_eq!(group.differences(&Limits::default()).unwrap(), []);
        let limits = Limits { memory_max: Some(4096 * 3 + 1), pids_max: Some(7), ..Limits::default() };
        let writes = pairs(&[("memory.max", "12289"), ("pids.max", "7")]);
        assert_eq!(group.differences(&limits).unwrap(), writes);
        fs::write(path.join("memory.max"), "12288\n").unwrap();
        fs::write(path.join("pids.max"), "7\n").unwrap();
        assert_eq!(group.differences(&limits).unwrap(), []);
        fs::write(path.join("cpu.weight"), "3\n").unwrap();
        fs::write(path.join("memory.high"), "4096\n").unwrap();
        let back = pairs(&[("memory.high", "max"), ("cpu.weight", "100")]);
        assert_eq!(group.differences(&limits).unwrap(), back);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn limits_of_devices_go_by_device() {
        let (group, path) = fresh("io");
        let line = IoMax { device: (254, 0), rbps: Some(1024), ..IoMax::default() };
        let limits = Limits { io_max: vec![line], io_weights: vec![((254, 0), 7)], ..Limits::default() };
        let full = "254:0 rbps=1024 wbps=max riops=max wiops=max";
        let wanted = pairs(&[("io.max", full), ("io.weight", "254:0 7")]);
        assert_eq!(group.differences(&limits).unwrap(), wanted);
        fs::write(path.join("io.max"), format!("{full}\n8:0 rbps=1 wbps=max riops=max wiops=max\n")).unwrap();
        fs::write(path.join("io.weight"), "default 100\n254:0 7\n8:0 9\n").unwrap();
        fs::write(path.join("io.latency"), "8:0 target=5\n").unwrap();
        let free = [
            ("io.max", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("io.weight", "8:0 default"),
            ("io.latency", "8:0 target=0"),
        ];
        assert_eq!(group.differences(&limits).unwrap(), pairs(&free));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn no_quota_is_refused_for_its_burst() {
        let (group, path) = fresh("cpu");
        let limits =
            Limits { cpu_max: Some((50_000, 100_000)), cpu_max_burst: Some(20_000), ..Limits::default() };
        let writes = [("cpu.max.burst", "0"), ("cpu.max", "50000 100000"), ("cpu.max.burst", "20000")];
        assert_eq!(group.differences(&limits).unwrap(), pairs(&writes));
        fs::write(path.join("cpu.idle"), "1\n").unwrap();
        fs::write(path.join("cpu.weight"), "0\n").unwrap();
        let idle = Limits { cpu_idle: Some(true), ..Limits::default() };
        assert_eq!(group.differences(&idle).unwrap(), []);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_comes_after_a_refused_limit_is_written() {
        let (group, path) = fresh("refused");
        fs::remove_file(path.join("cpu.max")).unwrap();
        fs::write(path.join("pids.max"), "").unwrap();
        let writes = pairs(&[("memory.max", "1"), ("cpu.max", "500 1000"), ("pids.max", "7")]);
        assert!(group.write_all(&writes).is_err());
        assert_eq!(fs::read_to_string(path.join("pids.max")).unwrap().trim(), "7");
        assert!(group.write_all(&pairs(&[("pids.max", "8")])).is_ok());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_the_kernel_says_in_other_words_is_the_same() {
        assert!(is_same("cpu.uclamp.min", "40.00", "40") && is_same("cpu.uclamp.max", "max", "100"));
        assert!(!is_same("cpu.uclamp.max", "max", "40") && !is_same("cpu.uclamp.max", "", "40"));
        assert!(is_same("io.weight", "default 100\n254:0 7\n", "default 100"));
        assert!(is_same("memory.max", "12288", "12289") && !is_same("memory.max", "12289", "12288"));
        assert!(!is_same("pids.max", "7", "8"));
    }
}
