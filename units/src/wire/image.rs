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
    /// What the layers were made of, lowest first. A factory store says nothing about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_of: Vec<StoredLayer>,
    /// Documents that the store holds beside the layers; none in a factory store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<Documents>,
}

/// What one layer was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLayer {
    /// `sha256:HEX` of the blob, as the registry has it.
    pub blob: String,
    /// Bytes of the blob.
    pub size: u64,
    /// `sha256:HEX` of the tar stream in it.
    pub diff_id: String,
    /// Bytes of the tar stream.
    pub unpacked: u64,
}

/// The documents of an image, kept as they were received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// Media type of the manifest; its digest is the image's.
    pub manifest_type: String,
    /// `sha256:HEX` of the configuration.
    pub config: String,
    /// `sha256:HEX` of the indexes through which the manifest was found, the one that the reference named first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<String>,
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
