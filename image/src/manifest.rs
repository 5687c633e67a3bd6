//! The JSON documents of an image: OCI index, manifest and configuration, and docker-archive's manifest.json.
//!
//! Only what an import needs, per image-spec (image-index.md, manifest.md, config.md, descriptor.md) and Docker's
//! image manifest schema 2, which has the same members. Go writes empty lists as `null`, so every list may be.

use std::collections::BTreeMap;

use berth_units::wire::image::{Healthcheck, ImageConfig};
use serde::Deserialize;

/// `index.json` of a layout, or an image index.
#[derive(Clone, Debug, Deserialize)]
pub struct Index {
    /// Images, or further indexes.
    pub manifests: Option<Vec<Descriptor>>,
}

/// Says which blob, and of what kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Kind of the blob.
    pub media_type: String,
    /// `sha256:HEX`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Machine it is for.
    pub platform: Option<Platform>,
    /// Free text by key.
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    /// An annotation that is there and not empty.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }
}

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// GOARCH.
    pub architecture: String,
    /// GOOS.
    pub os: String,
    /// E.g. `v8`.
    pub variant: Option<String>,
}

/// An image manifest.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// The image configuration.
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Option<Vec<Descriptor>>,
}

/// One image of docker-archive's `manifest.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Saved {
    /// Path of the configuration.
    pub config: String,
    /// Its names.
    pub repo_tags: Option<Vec<String>>,
    /// Paths of its layers, lowest first.
    pub layers: Option<Vec<String>>,
}

/// An image configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// GOARCH.
    #[serde(default)]
    pub architecture: String,
    /// GOOS.
    #[serde(default)]
    pub os: String,
    /// How to run it.
    pub config: Option<Execution>,
    /// Digests of the unpacked layers.
    pub rootfs: RootFs,
}

/// `rootfs` of a configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct RootFs {
    /// Lowest first.
    pub diff_ids: Option<Vec<String>>,
}

/// `config` of a configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    healthcheck: Option<Healthcheck>,
}

impl From<Execution> for ImageConfig {
    fn from(from: Execution) -> Self {
        Self {
            env: from.env.unwrap_or_default(),
            entrypoint: from.entrypoint.unwrap_or_default(),
            cmd: from.cmd.unwrap_or_default(),
            working_dir: from.working_dir.unwrap_or_default(),
            user: from.user.unwrap_or_default(),
            stop_signal: from.stop_signal.unwrap_or_default(),
            volumes: from.volumes.unwrap_or_default().into_keys().collect(),
            healthcheck: from.healthcheck,
        }
    }
}

/// Kinds of blobs that an index points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A further index.
    Index,
    /// An image.
    Manifest,
}

impl Kind {
    /// By media type; none for anything else (an artifact, a signature).
    pub fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => Some(Self::Index),
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => Some(Self::Manifest),
            _ => None,
        }
    }
}

/// Whether a configuration of that media type is an image's.
pub fn is_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    )
}

/// Whether a layer of that media type can be imported. Non-distributable (foreign) ones are not: their bytes are
/// not in the archive.
pub fn is_layer(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
    )
}
