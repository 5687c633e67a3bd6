//! Mounts of a unit, and volumes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Name, Reference};

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
    /// How else.
    pub manner: Manner,
}

/// How something is mounted, beyond what every mount says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// Reading leaves no time behind.
    pub no_atime: bool,
    /// Symbolic links on it are not followed.
    pub no_symfollow: bool,
    /// What is mounted below a bind's source does not come along.
    pub alone: bool,
    /// How later mounts below a bind spread.
    pub propagation: Propagation,
    /// Its root belongs to the user that the unit runs as.
    pub own: bool,
    /// A tmpfs gets what the image has at the target.
    pub filled: bool,
}

/// `propagation`: mount_namespaces(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the node into the container.
    Slave,
    /// Both ways.
    Shared,
}

/// `state_dir`, `cache_dir`, `runtime_dir` and `quota`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Directories {
    /// Kept for ever; absolute path in the container.
    pub state: Option<String>,
    /// Kept as long as the unit is declared.
    pub cache: Option<String>,
    /// In RAM.
    pub runtime: Option<String>,
    /// What state and cache may hold each, bytes.
    pub quota: Option<u64>,
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
    /// Another image, read-only.
    Image {
        /// Which.
        reference: Reference,
        /// A directory or file in it.
        subpath: Option<String>,
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
    /// Where its data is.
    pub source: VolumeSource,
    /// It holds the files of this image at first, and not those of the image that uses it.
    pub seed_image: Option<Reference>,
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
            source: VolumeSource::Dir,
            seed_image: None,
            labels: BTreeMap::new(),
            implicit: false,
        }
    }
}

/// `source` of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum VolumeSource {
    /// A directory of the data partition.
    #[default]
    Dir,
    /// RAM: gone with the node's power.
    Tmpfs,
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
