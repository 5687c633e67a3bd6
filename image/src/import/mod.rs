//! From a source to images of a [`Store`], with every digest and every size checked on the way.
//!
//! An image is taken whole or not at all. Of an OCI source every blob is checked against the descriptor that
//! names it (bytes and length) before it is used; of both kinds every layer is checked against the `diff_id` of
//! the configuration after it has been unpacked. Blobs that no chosen image names are not read.
//!
//! The name of an image:
//! - docker-archive: its RepoTags, all of them.
//! - OCI: the annotation `org.opencontainers.image.ref.name`, which some tools fill with the whole name and
//!   others with the tag only. A text with `/`, `:` or `@` in it is a whole name. Otherwise the annotation
//!   `io.containerd.image.name` is the name, where present; and otherwise the name is the file's stem (without
//!   `.tar`, `.oci`, `.docker` and a compression's suffix) with that tag: `images/web.tar` with the tag `1.4` is
//!   `web:1.4`.
//!
//! An archive that is both (as newer `docker save` writes) is read as OCI.

pub mod description;
mod fault;
pub mod reader;

use std::collections::BTreeSet;
use std::path::Path;

use crate::compression::{UnpackError, unpack};
use crate::digest::Digest;
use crate::extent::{Extent, spool};
use crate::layer::Layer;
use crate::store::{Image, Store};
use reader::{Offer, Planned, Reader};

pub use fault::{BlobFault, ImportError, ImportFault};

/// Longest manifest, index or configuration, bytes.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;
/// Most layers of an image.
const MAX_LAYERS: usize = 512;
/// Deepest nesting of indexes.
pub(crate) const MAX_DEPTH: usize = 4;
/// Most images of one source.
const MAX_IMAGES: usize = 1024;

/// Most memory for the layers of one source, about: a layer has a bound of its own, and a source has many.
pub(crate) const MAX_MEMORY: usize = 1 << 30;

/// How to import.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Which of a multi-platform image: GOARCH, see [`architecture`].
    pub architecture: &'a str,
    /// Directory for temporary files without a name: as much as the layers take unpacked.
    pub spool: &'a Path,
    /// Most bytes that one source may unpack to.
    pub limit: u64,
}

/// Default of [`Options::limit`].
pub const UNPACKED_LIMIT: u64 = 16 << 30;

/// The architecture of this program, as images name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// Imports every image of a source into the store.
pub fn import(store: &mut Store, path: &Path, options: &Options<'_>) -> Result<(), ImportError> {
    let fault = |source| ImportError { path: path.to_owned(), source: Box::new(source) };
    let reader = Reader::open(path, options)?;
    let mut import = Import {
        options,
        staged: Store::default(),
        checked: BTreeSet::new(),
        left: options.limit,
        memory: MAX_MEMORY,
    };
    reader.each(&mut |offer| import.take(store, offer)).map_err(fault)?;
    store.images.extend(import.staged.images);
    store.layers.extend(import.staged.layers);
    Ok(())
}

/// One source on its way in.
struct Import<'a> {
    options: &'a Options<'a>,
    staged: Store,
    /// Layers that have been unpacked and checked, by blob and diff_id.
    checked: BTreeSet<(String, Digest)>,
    /// Bytes that may still be unpacked.
    left: u64,
    /// Bytes of memory that layers may still take.
    memory: usize,
}

impl Import<'_> {
    /// Reads the layers that are new and stages the image under its names.
    fn take(&mut self, store: &Store, offer: Offer) -> Result<(), ImportFault> {
        let Offer { names, digest, execution: config, layers: planned, .. } = offer;
        let mut layers: Vec<Digest> = Vec::new();
        let mut size = 0;
        for planned in planned {
            let mut layer = self.take_layer(store, &planned).map_err(at("layer", &planned.shown))?;
            let find = |id| self.staged.layers.get(id).or_else(|| store.layers.get(id));
            layer.inherit(layers.iter().rev().filter_map(find));
            let id = layer.id();
            size += layer.size;
            layers.push(id);
            if !store.layers.contains_key(&id) && !self.staged.layers.contains_key(&id) {
                let fault = at("layer", &planned.shown);
                self.memory =
                    self.memory.checked_sub(layer.memory()).ok_or_else(|| fault(BlobFault::Memory))?;
                self.staged.layers.insert(id, layer);
            }
        }
        let image = Image { digest, layers, config, size };
        for name in names {
            let found = self.staged.images.get(&name).or_else(|| store.images.get(&name));
            match found {
                Some(found) if !found.is_same(&image) => return Err(ImportFault::Twice(name)),
                Some(_) => {}
                None => drop(self.staged.images.insert(name, image.clone())),
            }
        }
        Ok(())
    }

    /// Unpacks a layer and checks it, also when another blob has brought the same one.
    fn take_layer(&mut self, store: &Store, planned: &Planned) -> Result<Layer, BlobFault> {
        let key = (planned.shown.clone(), planned.diff_id);
        if let Some(digest) = planned.digest.filter(|_| !self.checked.contains(&key)) {
            check_digest(&planned.blob, digest)?;
        }
        let mut layers = self.staged.layers.values().chain(store.layers.values());
        let known = layers.find(|layer| layer.diff_id == planned.diff_id);
        if let Some(layer) = known.filter(|_| self.checked.contains(&key)) {
            return Ok(layer.clone());
        }
        let spool =
            spool(self.options.spool).map_err(|error| BlobFault::Unpack(UnpackError::Write(error)))?;
        let (tar, actual) = unpack(&planned.blob, spool, self.left)?;
        if actual != planned.diff_id {
            return Err(BlobFault::DiffId { declared: planned.diff_id, actual });
        }
        self.left -= tar.len();
        self.checked.insert(key);
        match known {
            Some(layer) => Ok(layer.clone()),
            None => Ok(Layer::read(tar, actual)?),
        }
    }
}

/// Puts a blob's name to its fault.
pub(crate) fn at<'a>(what: &'static str, blob: &'a str) -> impl Fn(BlobFault) -> ImportFault + use<'a> {
    move |source| ImportFault::Blob { what, blob: blob.chars().take(200).collect(), source }
}

pub(crate) fn document(extent: &Extent, name: &'static str) -> Result<Vec<u8>, ImportFault> {
    extent.read_all(MAX_DOCUMENT).map_err(BlobFault::Read).map_err(at("document", name))
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, BlobFault> {
    serde_json::from_slice(bytes).map_err(BlobFault::Json)
}

fn check_digest(blob: &Extent, digest: Digest) -> Result<(), BlobFault> {
    match blob.digest().map_err(BlobFault::Read)? {
        (actual, _) if actual == digest => Ok(()),
        (actual, _) => Err(BlobFault::Corrupt(actual)),
    }
}

/// File name without what says the format.
fn stem(path: &Path) -> String {
    let mut name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    while let Some(shorter) =
        [".tar", ".tgz", ".gz", ".zst", ".oci", ".docker"].iter().find_map(|end| name.strip_suffix(end))
    {
        name = shorter.to_owned();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems() {
        for (path, expect) in
            [("images/web.tar", "web"), ("web.oci.tar.gz", "web"), ("web-1.4.tgz", "web-1.4"), ("web", "web")]
        {
            assert_eq!(stem(Path::new(path)), expect, "{path}");
        }
    }
}
