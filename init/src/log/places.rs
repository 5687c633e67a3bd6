//! Where everything lies: logs on the data partition or in RAM, spools always in RAM.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_units::Name;
use berth_units::spec::{Log, LogSink};
use berth_units::wire::log::{LOG_DIR, LOG_DIR_RAM};

/// Where the data partition is mounted, if there is one.
const DATA: &str = "/data";
/// Spools and checkpoints.
const SPOOL_DIR: &str = "/run/berth/spool";
/// Logs in RAM are small, whatever a unit says: 2 MiB with the rotated file.
const RAM_MAX_SIZE: u64 = 1 << 20;
const RAM_KEEP: u32 = 1;

/// All paths, below a root that is `/` on a node.
#[derive(Clone, Debug)]
pub struct Places {
    root: PathBuf,
    has_data: bool,
}

impl Places {
    /// Looks whether there is a data partition.
    pub fn new(root: &Path) -> Self {
        let mut places = Self { root: root.to_owned(), has_data: false };
        places.has_data = is_mount_point(&places.at(DATA));
        places
    }

    /// Makes the directory of spools.
    pub fn ensure_spool(&self) -> io::Result<()> {
        std::fs::create_dir_all(self.at(SPOOL_DIR))
    }

    /// The directory of a unit's log; it may not exist yet.
    pub fn directory(&self, unit: &Name, sink: LogSink) -> PathBuf {
        let base = if self.is_on_disk(sink) { LOG_DIR } else { LOG_DIR_RAM };
        self.at(base).join(unit.as_str())
    }

    /// Rotation as it will be done.
    pub fn bounded(&self, log: Log) -> Log {
        if self.is_on_disk(log.to) {
            return log;
        }
        Log { max_size: log.max_size.min(RAM_MAX_SIZE), keep: log.keep.min(RAM_KEEP), ..log }
    }

    pub(super) fn spool(&self, unit: &Name, stream: usize) -> PathBuf {
        self.at(SPOOL_DIR).join(format!("{unit}.{stream}"))
    }

    pub(super) fn checkpoint(&self, unit: &Name) -> PathBuf {
        self.at(SPOOL_DIR).join(format!("{unit}.pos"))
    }

    /// The node's console.
    pub(super) fn console(&self) -> PathBuf {
        self.at("/dev/console")
    }

    fn is_on_disk(&self, sink: LogSink) -> bool {
        sink == LogSink::Store && self.has_data
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// On another device than the directory above it.
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    let above = path.parent().and_then(device);
    above.is_some() && device(path).is_some_and(|device| Some(device) != above)
}
