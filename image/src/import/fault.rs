//! Why an import is refused: the source, the blob in it, and what is wrong with that.

use std::path::PathBuf;

use berth_units::Reference;
use berth_units::reference::ReferenceError;

use super::{MAX_DEPTH, MAX_IMAGES, MAX_LAYERS, MAX_MEMORY};
use crate::archive::ArchiveError;
use crate::compression::UnpackError;
use crate::digest::{Digest, DigestError};
use crate::layer::LayerError;

/// A source was refused; the store is as it was.
#[derive(Debug, thiserror::Error)]
#[error("cannot import '{}'", .path.display())]
pub struct ImportError {
    /// The source.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub source: Box<ImportFault>,
}

/// What is wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum ImportFault {
    /// It cannot be read as an archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It is none of the formats.
    #[error("it is neither an OCI layout ('index.json') nor a docker-archive ('manifest.json')")]
    Unknown,
    /// A blob is faulty.
    #[error("{what} {blob}")]
    Blob {
        /// Manifest, configuration, layer.
        what: &'static str,
        /// Its digest, or its path in a docker-archive.
        blob: String,
        /// Its fault.
        #[source]
        source: BlobFault,
    },
    /// Nothing for this machine.
    #[error("image '{name}' has nothing for linux/{architecture}")]
    Platform {
        /// What it calls itself.
        name: String,
        /// Wanted.
        architecture: String,
    },
    /// Its name is none.
    #[error("an image in it has no usable name")]
    Name(#[source] ReferenceError),
    /// Too many images, or none.
    #[error("it holds {0} images, 1 to {MAX_IMAGES} are allowed")]
    Count(usize),
    /// Two different images of the same name.
    #[error("image '{0}' is already there with other content: give one of them another name")]
    Twice(Reference),
}

/// What is wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum BlobFault {
    /// Not there.
    #[error("it is not in the archive")]
    Missing,
    /// Its name is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Not what its name says.
    #[error("its content has digest {0}: it is corrupt")]
    Corrupt(Digest),
    /// Not as long as its descriptor says.
    #[error("it has {actual} bytes, {declared} are declared")]
    Size {
        /// By its descriptor.
        declared: u64,
        /// In the archive.
        actual: u64,
    },
    /// Not what the configuration says, once unpacked.
    #[error("unpacked it has digest {actual}, the configuration says {declared}")]
    DiffId {
        /// By the configuration.
        declared: Digest,
        /// Of its content.
        actual: Digest,
    },
    /// Bytes cannot be read.
    #[error("cannot read it")]
    Read(#[source] std::io::Error),
    /// No proper document.
    #[error("it is not the JSON document it should be")]
    Json(#[source] serde_json::Error),
    /// A kind that is not taken.
    #[error("its media type '{0}' is not supported")]
    MediaType(String),
    /// Another number of layers in the manifest than in the configuration.
    #[error("it lists {layers} layers, the configuration {diff_ids}")]
    Layers {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// Too many layers.
    #[error("it lists {0} layers, {MAX_LAYERS} are allowed")]
    TooManyLayers(usize),
    /// Indexes inside indexes.
    #[error("indexes are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// For another machine.
    #[error("it is for {os}/{architecture}, not linux/{wanted}")]
    Platform {
        /// GOOS.
        os: String,
        /// GOARCH.
        architecture: String,
        /// GOARCH.
        wanted: String,
    },
    /// Cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Names and attributes of all layers are too much.
    #[error("with it the names and attributes of all layers have more than {} MiB", MAX_MEMORY >> 20)]
    Memory,
    /// Unpacked, and refused.
    #[error(transparent)]
    Layer(#[from] LayerError),
}
