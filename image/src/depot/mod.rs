//! A store in a folder: what is pulled and imported, on the builder's machine and on a node.
//!
//! ```text
//! index.json            berth_units::wire::image::Index: the images by name. What it does not name does not count
//! blobs/sha256/HEX      manifests, configurations and, where they are kept, layers, each as it was received
//! layers/HEX.erofs      layers as overlayfs takes them, HEX being the SHA-256 of the file
//! partial/HEX           blobs that are on their way; taken up again by the next pull
//! tmp/                  files without a name yet; swept by the next writer
//! lock                  flock(2): exclusive for writers, shared for who reads blobs
//! ```
//!
//! Every file is written under a temporary name, synced, renamed and its directory synced; the index comes last. So at
//! every moment the index names only what is on the disk, and a writer that was killed leaves nothing but what the
//! next one takes up or sweeps. What is there under a digest is never written again, only replaced.
//!
//! A builder's store keeps the layers as they were received ([`Keep::Blobs`]): what it gives on has the same digests,
//! and signatures stay valid. A node's store keeps them unpacked ([`Keep::Layers`]), ready to be mounted.
//!
//! Nothing here needs a privilege. Memory is bounded by the documents and the names in the layers; contents of files
//! go through files without a name in `tmp/`.

mod admit;
mod check;
mod export;
mod fault;
mod file;
mod import;
mod lock;
mod sweep;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use berth_units::Reference;
use berth_units::wire::image::{INDEX_FILE, Index, StoredImage};

use crate::digest::Digest;
use crate::extent::Extent;

pub use admit::{Blob, Candidate, Document};
pub use check::{Damage, Part};
pub use fault::DepotError;
pub(crate) use fault::cannot;
pub(crate) use file::Fresh;
pub(crate) use file::{publish, remove as discard};
pub use lock::Guard;
pub use sweep::Swept;

/// Version of the layout that is written; what is newer is not touched.
const FORMAT: u32 = 1;
/// Longest index, bytes.
const MAX_INDEX: u64 = 64 << 20;

/// What is kept of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As they were received: a builder's store.
    Blobs,
    /// Unpacked, as one EROFS each: a node's store.
    Layers,
}

/// Bounds of what comes in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes that one layer may unpack to.
    pub unpacked: u64,
    /// Bytes of the disk that stay free whatever comes.
    pub reserve: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked: crate::import::UNPACKED_LIMIT, reserve: 64 << 20 }
    }
}

/// A store in a folder.
#[derive(Debug)]
pub struct Depot {
    root: PathBuf,
}

/// A store that nobody else writes meanwhile.
#[derive(Debug)]
pub struct Writer<'a> {
    pub(crate) depot: &'a Depot,
    index: Index,
    _lock: Guard,
}

impl Depot {
    /// Opens a store that is there.
    pub fn open(root: &Path) -> Result<Self, DepotError> {
        match fs::metadata(root) {
            Ok(found) if found.is_dir() => Ok(Self { root: root.to_owned() }),
            Ok(_) => Err(cannot("open", root)(io::ErrorKind::NotADirectory.into())),
            Err(error) => Err(cannot("open", root)(error)),
        }
    }

    /// Opens a store, and makes it where there is none.
    pub fn create(root: &Path) -> Result<Self, DepotError> {
        for folder in ["blobs/sha256", "layers", "partial", "tmp"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(cannot("make", &path))?;
        }
        Self::open(root)
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The images; none in a store that is new.
    pub fn index(&self) -> Result<Index, DepotError> {
        let path = self.root.join(INDEX_FILE);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Index { format: FORMAT, ..Index::default() });
            }
            file => file.map_err(cannot("open", &path))?,
        };
        let bytes = Extent::whole(file).and_then(|file| file.read_all(MAX_INDEX));
        let bytes = bytes.map_err(cannot("read", &path))?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| DepotError::Index { path: path.clone(), source: error })?;
        if index.format != FORMAT {
            return Err(DepotError::Format { path, format: index.format });
        }
        Ok(index)
    }

    /// An image by its name, or by the digest of its manifest (`sha256:HEX`, or the first 8 and more digits of it).
    pub fn find(&self, name: &str) -> Result<(Reference, StoredImage), DepotError> {
        find(&self.index()?, name)
    }

    /// The lock for who reads blobs; `waiting` is called when somebody writes.
    pub fn reader(&self, waiting: impl FnOnce()) -> Result<Guard, DepotError> {
        lock::lock(&self.root.join("lock"), false, waiting)
    }

    /// The lock for who writes; `waiting` is called when somebody else does. Sweeps what a killed writer left.
    pub fn writer(&self, waiting: impl FnOnce()) -> Result<Writer<'_>, DepotError> {
        let guard = lock::lock(&self.root.join("lock"), true, waiting)?;
        sweep::sweep_folder(&self.tmp(), &|_| false)?;
        Ok(Writer { depot: self, index: self.index()?, _lock: guard })
    }

    /// Bytes that may still be written, for an unprivileged user.
    pub fn free(&self) -> Result<u64, DepotError> {
        let stat = rustix::fs::statvfs(&self.root).map_err(io::Error::from);
        let stat = stat.map_err(cannot("ask for the free space of", &self.root))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// A blob, where it is kept. Its digest has been checked when it was written, not now.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Extent>, DepotError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => file.and_then(Extent::whole).map(Some).map_err(cannot("open", &path)),
        }
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(digest.hex())
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

impl Writer<'_> {
    /// The images as they are now.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Changes the index, on the disk and then here.
    fn commit(&mut self, change: impl FnOnce(&mut Index)) -> Result<(), DepotError> {
        let mut index = self.index.clone();
        change(&mut index);
        let path = self.depot.root.join(INDEX_FILE);
        let mut bytes = serde_json::to_vec_pretty(&index)
            .map_err(|error| DepotError::Index { path: path.clone(), source: error })?;
        bytes.push(b'\n');
        Fresh::write(&self.depot.tmp(), &bytes, &path)?;
        self.index = index;
        Ok(())
    }
}

/// An image of an index by its name or its digest.
fn find(index: &Index, name: &str) -> Result<(Reference, StoredImage), DepotError> {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    let is_hex = hex.len() >= 8 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    if let Ok(reference) = Reference::parse(name)
        && let Some(image) = index.images.get(&reference)
    {
        return Ok((reference, image.clone()));
    }
    let same = |digest: &str| digest.strip_prefix("sha256:").is_some_and(|digest| digest.starts_with(hex));
    let mut found = index.images.iter().filter(|(_, image)| is_hex && same(&image.digest));
    match found.next() {
        Some((name, image)) => Ok((name.clone(), image.clone())),
        None => {
            let mut names: Vec<_> = index.images.keys().map(Reference::familiar).collect();
            let nearest = berth_units::nearest::nearest(name, names.iter().map(String::as_str));
            let nearest = nearest.map(str::to_owned);
            names.truncate(8);
            Err(DepotError::NoImage { name: name.chars().take(200).collect(), nearest, names })
        }
    }
}
