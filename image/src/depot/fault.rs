//! Why a store in a folder does not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use berth_units::human;

use crate::compression::UnpackError;
use crate::erofs::ErofsError;
use crate::import::{ImportError, ImportFault};

/// What went wrong; the store is as it was, but for blobs that the next attempt finds.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// A file or folder of it.
    #[error("cannot {what} '{}'", .path.display())]
    Io {
        /// Open, read …
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The index is not JSON, or not ours.
    #[error("'{}' is not the index of a store", .path.display())]
    Index {
        /// Which.
        path: PathBuf,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// Written by another version.
    #[error("'{}' has format {format}, this berth reads 1", .path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What it says.
        format: u32,
    },
    /// No such image.
    #[error("image '{name}' is not in the store{}", .nearest.as_ref().map_or(String::new(), |name| format!(": did you mean '{name}'?")))]
    NoImage {
        /// As asked.
        name: String,
        /// The most similar one.
        nearest: Option<String>,
        /// Some that are there.
        names: Vec<String>,
    },
    /// Not enough space.
    #[error("{} more of free space are needed in '{}': {} for {what}, {} are free of which {} stay free",
        human::size(.needed.saturating_add(*.reserve).saturating_sub(*.free)), .path.display(),
        human::size(*.needed), human::size(*.free), human::size(*.reserve))]
    Space {
        /// The store.
        path: PathBuf,
        /// For what.
        what: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
        /// Bytes that are not given away.
        reserve: u64,
    },
    /// A source or an image is refused.
    #[error(transparent)]
    Image(#[from] ImportFault),
    /// A source cannot be opened.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A layer cannot be written.
    #[error("cannot write layer {layer}")]
    Layer {
        /// Its blob.
        layer: String,
        /// Cause.
        #[source]
        source: ErofsError,
    },
    /// What an export needs is not kept.
    #[error("the store keeps layer {0} of it only unpacked")]
    NotKept(String),
    /// A blob is not what it should be.
    #[error("blob {0} is missing or damaged")]
    Damaged(String),
}

impl From<UnpackError> for DepotError {
    fn from(error: UnpackError) -> Self {
        Self::Image(ImportFault::Archive(crate::archive::ArchiveError::Unpack(error)))
    }
}

/// For `map_err`: `cannot("read", path)`.
pub(crate) fn cannot(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DepotError + use<> {
    let path = path.to_owned();
    move |source| DepotError::Io { what, path, source }
}
