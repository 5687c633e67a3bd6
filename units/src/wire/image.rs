//! The index of an image store: what the builder writes into a factory store and the supervisor reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Reference;

/// File name of the index at the root of a store.
pub const INDEX_FILE: &str = "index.json";

/// Volume label of a factory store's EROFS.
pub const FACTORY_LABEL: &str = "berth-factory";

/// Label of the ext4 file system that holds all that lasts.
pub const DATA_LABEL: &str = "berth-data";

/// `index.json` of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Version of this layout: 1.
    pub format: u32,
    /// By reference in normal form.
    pub images: BTreeMap<Reference, StoredImage>,
}

/// One image of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// Digest of the manifest (OCI) or of the configuration (docker-archive, which has no manifest).
    pub digest: String,
    /// Lowest first: paths below the store's root, e.g. `layers/3f2a…`, each an overlay lower directory.
    pub layers: Vec<String>,
    /// What of the configuration a container needs.
    pub config: ImageConfig,
    /// Bytes of all layers, unpacked.
    pub size: u64,
}

/// The `config` object of an OCI image configuration (image-spec, config.md); absent members are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// argv prefix.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// argv rest.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// Empty is `/`.
    #[serde(default)]
    pub working_dir: String,
    /// `uid[:gid]` or `name[:group]`; empty is root.
    #[serde(default)]
    pub user: String,
    /// Signal name or number; empty is SIGTERM.
    #[serde(default)]
    pub stop_signal: String,
    /// Paths that the image wants to be volumes.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// HEALTHCHECK, which docker writes and the specification does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
}

/// `Healthcheck` of an image configuration, in docker's words. Times are nanoseconds, zero where none was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `CMD` and a program with its arguments, `CMD-SHELL` and a line for a shell, or `NONE`.
    pub test: Option<Vec<String>>,
    /// From one run to the next.
    pub interval: Option<i64>,
    /// The longest run.
    pub timeout: Option<i64>,
    /// Failures after the start that do not count.
    pub start_period: Option<i64>,
    /// In place of the interval until then.
    pub start_interval: Option<i64>,
    /// Failures in a row that count.
    pub retries: Option<i64>,
}
