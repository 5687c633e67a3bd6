//! Volumes as the control interface shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::spec::Retain;

/// What Volumes answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Volumes {
    /// By name.
    pub volumes: Vec<VolumeStatus>,
}

/// One volume that is declared, or on the disk, or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Its name.
    pub name: Name,
    /// The set in force has it; otherwise it was kept.
    pub declared: bool,
    /// It is on the disk; otherwise nothing has used it yet.
    pub exists: bool,
    /// Bytes that it may hold, as declared.
    pub size: Option<u64>,
    /// Bytes that it may hold, as in force: not yet the declared ones where it holds more.
    pub limit: Option<u64>,
    /// Bytes that it holds, where they are counted.
    pub used: Option<u64>,
    /// Files, directories and links that it holds, where they are counted.
    pub files: Option<u64>,
    /// Units that have it mounted.
    pub used_by: Vec<Name>,
    /// What becomes of it when no file declares it any more.
    pub retain: Retain,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
}
