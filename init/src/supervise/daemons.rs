//! Our own processes beside the supervisor: netd, the log process, and the relay of the control socket.
//!
//! They are PID 1's children like the containers and outlive the supervisor. One that ends is started again, at
//! once the first time, then with a growing wait; nothing is given up.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use berth_units::observed::Moment;
use serde::{Deserialize, Serialize};

use super::records::{self, DAEMONS_DIR};
use crate::error;
use crate::kmsg::Chain;

/// The waits between the starts of a process that keeps ending: first, longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A process that lived that long starts with a clean sheet.
const RESET_AFTER: Duration = Duration::from_secs(10);

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// berth-netd.
    Netd,
    /// berth-log.
    Log,
    /// `berth relay`: the control socket over a virtio-serial port.
    Relay,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Netd, Self::Log, Self::Relay];

    /// Name of its cgroup, its record, and its word in the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Netd => "netd",
            Self::Log => "log",
            Self::Relay => "relay",
        }
    }

    /// Program and arguments.
    pub fn command(self) -> &'static [&'static str] {
        match self {
            Self::Netd => &["/bin/berth-modules", "berth.net", "/bin/berth-netd"],
            Self::Log => &["/bin/berth-log"],
            Self::Relay => &["/bin/berth", "relay"],
        }
    }

    /// Under which name PID 1 keeps our end of its channel; the relay has none.
    pub fn channel(self) -> Option<&'static str> {
        match self {
            Self::Netd => Some("channel/netd"),
            Self::Log => Some("channel/log"),
            Self::Relay => None,
        }
    }
}

/// What is written down of one process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    pid: Option<i32>,
    started: Moment,
    starts: u64,
    failures: u32,
    next_try: Moment,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Daemons(BTreeMap<Kind, Record>);

impl Daemons {
    /// Those that this machine needs, as the supervisor before us left them. One that has ended since is told by
    /// its exit, which PID 1 kept.
    pub fn load() -> Self {
        let read =
            |kind: Kind| (kind, records::read(Path::new(DAEMONS_DIR), kind.name()).unwrap_or_default());
        Self(
            Kind::ALL.into_iter().filter(|kind| *kind != Kind::Relay || has_relay_port()).map(read).collect(),
        )
    }

    /// Whether it runs, as far as we know.
    pub fn is_running(&self, kind: Kind) -> bool {
        self.0.get(&kind).is_some_and(|record| record.pid.is_some())
    }

    /// Notes the end of one that is gone: should the note of its end have failed, its exit is not told again.
    pub fn forget_if_gone(&mut self, kind: Kind, now: Moment) {
        let pid = self.0.get(&kind).and_then(|record| record.pid);
        if let Some(pid) = pid.filter(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            self.exited(pid, now);
        }
    }

    /// Whether it should be started now.
    pub fn is_due(&self, kind: Kind, now: Moment) -> bool {
        self.0.get(&kind).is_some_and(|record| record.pid.is_none() && record.next_try <= now)
    }

    /// When the next one is due.
    pub fn next_wake(&self) -> Option<Moment> {
        self.0.values().filter(|record| record.pid.is_none()).map(|record| record.next_try).min()
    }

    /// Notes a start, or one that failed.
    pub fn started(&mut self, kind: Kind, pid: Option<i32>, now: Moment) {
        let record = self.0.entry(kind).or_default();
        record.pid = pid;
        record.started = now;
        record.starts += 1;
        if pid.is_none() {
            record.failures = record.failures.saturating_add(1);
            record.next_try = now.after(wait(record.failures));
        }
        save(kind, record);
    }

    /// Notes an end; `None` when the process is not one of ours.
    pub fn exited(&mut self, pid: i32, now: Moment) -> Option<Kind> {
        let (kind, record) = self.0.iter_mut().find(|(_, record)| record.pid == Some(pid))?;
        record.pid = None;
        let lived = now.since(record.started);
        record.failures = if lived >= RESET_AFTER { 0 } else { record.failures.saturating_add(1) };
        record.next_try = now.after(wait(record.failures));
        save(*kind, record);
        Some(*kind)
    }

    /// Starts beyond the first, by name.
    pub fn restarts(&self) -> BTreeMap<String, u64> {
        let count =
            |(kind, record): (&Kind, &Record)| (kind.name().to_owned(), record.starts.saturating_sub(1));
        self.0.iter().map(count).collect()
    }
}

/// Whether somebody outside offers a port for the control socket.
fn has_relay_port() -> bool {
    let Ok(ports) = std::fs::read_dir("/sys/class/virtio-ports") else {
        return false;
    };
    let mut names = ports.filter_map(|port| std::fs::read_to_string(port.ok()?.path().join("name")).ok());
    names.any(|name| name.trim_end() == berth_units::wire::mux::PORT_NAME)
}

/// The first end is answered at once: whoever kills netd should not notice.
pub fn wait(failures: u32) -> Duration {
    let (first, longest) = BACKOFF;
    match failures {
        0 | 1 => Duration::ZERO,
        more => first.saturating_mul(1 << (more - 2).min(16)).min(longest),
    }
}

fn save(kind: Kind, record: &Record) {
    if let Err(error) = records::write(Path::new(DAEMONS_DIR), kind.name(), record, false) {
        error!("{}; ignoring", Chain(&error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_its_cap_and_never_ends() {
        let waits: Vec<_> = (0..12).map(|failures| wait(failures).as_millis()).collect();
        assert_eq!(waits, [0, 0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(wait(u32::MAX), BACKOFF.1);
    }
}
