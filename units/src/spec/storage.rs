//! Mounts of a unit, and volumes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Name;

/// `[mounts.NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// A bind is read-only unless told otherwise, a volume and a tmpfs are writable.
    pub read_only: bool,
    /// `exec` allowed; nosuid and nodev always hold.
    pub exec: bool,
}

/// What `[mounts.NAME]` mounts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum MountSource {
    /// A named volume on the data partition.
    Volume {
        /// Its name.
        volume: Name,
        /// A directory below it.
        subpath: Option<String>,
        /// At its first use the volume gets what the image has at the target.
        seed: bool,
    },
    /// A path of the node.
    Bind {
        /// Absolute; must exist unless `create`.
        path: String,
        /// Make a directory when it is absent.
        create: bool,
    },
    /// RAM.
    Tmpfs {
        /// Bytes.
        size: u64,
        /// Mode of its root.
        mode: u32,
    },
}

/// `[devices.NAME]`: a device of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Path on the node.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Mode of its file; the node's where none is given.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The unit does not start without it.
    pub required: bool,
}

/// `kind = "volume"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// Owner of its root.
    pub uid: u32,
    /// Group of its root.
    pub gid: u32,
    /// Mode of its root.
    pub mode: u32,
    /// What it may hold, bytes.
    pub size: Option<u64>,
    /// What becomes of it when nobody declares it any more.
    pub retain: Retain,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
    /// No file declares it: it gets the owner and the mode of what it is seeded with.
    pub implicit: bool,
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            uid: 0,
            gid: 0,
            mode: 0o755,
            size: None,
            retain: Retain::Keep,
            labels: BTreeMap::new(),
            implicit: false,
        }
    }
}

/// `retain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retain {
    /// It stays on the disk.
    #[default]
    Keep,
    /// It is deleted.
    Delete,
}
