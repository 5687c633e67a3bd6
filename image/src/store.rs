//! The store: images by name, layers by content, each layer once.
//!
//! On disk (the factory store) it is a tree: `/index.json` (berth_units::wire::image::Index) and
//! `/layers/HEX/`, HEX being the first 32 digits of the layer's id: every one a directory that overlayfs takes
//! as it is. The index names everything by digest, so its own digest identifies the whole store; it becomes
//! the UUID of the file system.

use std::collections::BTreeMap;
use std::fs::File;

use berth_units::Reference;
use berth_units::wire::image::{FACTORY_LABEL, INDEX_FILE, ImageConfig, Index, StoredImage};

use crate::digest::Digest;
use crate::erofs::{self, ErofsError, Volume};
use crate::layer::Layer;
use crate::tree::{Body, Content, Meta, Node, Tree, TreeError};

/// Version of the layout that is written.
const FORMAT: u32 = 1;

/// Images and their layers, verified.
#[derive(Debug, Default)]
pub struct Store {
    /// By name in normal form.
    pub images: BTreeMap<Reference, Image>,
    /// By [`Layer::id`].
    pub layers: BTreeMap<Digest, Layer>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Digest of its manifest (OCI) or configuration (docker-archive).
    pub digest: Digest,
    /// Keys of [`Store::layers`], lowest first.
    pub layers: Vec<Digest>,
    /// How to run it.
    pub config: ImageConfig,
    /// Bytes of its layers, unpacked.
    pub size: u64,
}

impl Image {
    /// Whether it runs the same, however it was packed.
    pub fn is_same(&self, other: &Self) -> bool {
        self.layers == other.layers && self.config == other.config
    }
}

/// Why a store cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The index cannot be put into words.
    #[error("cannot write the index of the store")]
    Index(#[source] serde_json::Error),
    /// Too much in it.
    #[error("the store is too large")]
    Tree(#[from] TreeError),
    /// The file system cannot be written.
    #[error("cannot write the store")]
    Erofs(#[from] ErofsError),
}

impl Store {
    /// Keeps the images that `wanted` names, and their layers.
    pub fn retain(&mut self, wanted: impl Fn(&Reference) -> bool) {
        self.images.retain(|reference, _| wanted(reference));
        let used: Vec<_> = self.images.values().flat_map(|image| image.layers.iter().copied()).collect();
        self.layers.retain(|digest, _| used.contains(digest));
    }

    /// What `/index.json` says.
    pub fn index(&self) -> Index {
        let stored = |image: &Image| StoredImage {
            digest: image.digest.to_string(),
            layers: image.layers.iter().map(|layer| format!("layers/{}", directory(layer))).collect(),
            config: image.config.clone(),
            size: image.size,
            made_of: Vec::new(),
            documents: None,
        };
        let images = self.images.iter().map(|(name, image)| (name.clone(), stored(image))).collect();
        Index { format: FORMAT, images }
    }

    /// Writes the store as one EROFS image into an empty file; returns its size.
    pub fn write(self, out: &File) -> Result<u64, StoreError> {
        let mut index = serde_json::to_vec_pretty(&self.index()).map_err(StoreError::Index)?;
        index.push(b'\n');
        let digest = Digest::of(&index);
        let mut tree = Tree::default();
        let file = Node { meta: Meta::root(0o644), body: Body::File(Content::Bytes(index)) };
        tree.add(Tree::ROOT, INDEX_FILE.as_bytes(), file)?;
        let directories = Node { meta: Meta::root(0o755), body: Body::Directory(BTreeMap::new()) };
        let layers = tree.add(Tree::ROOT, b"layers", directories)?;
        for (digest, layer) in self.layers {
            tree.graft(layers, directory(&digest).as_bytes(), layer.tree)?;
        }
        let volume = Volume { label: FACTORY_LABEL, uuid: uuid(&digest), build_time: 0 };
        Ok(erofs::write(&tree, &volume, out)?)
    }
}

/// Name of a layer's directory.
fn directory(layer: &Digest) -> String {
    layer.hex().chars().take(32).collect()
}

/// A UUID of version 8, made of the digest's first bytes (RFC 9562).
pub(crate) fn uuid(digest: &Digest) -> [u8; 16] {
    let mut uuid = [0; 16];
    for (to, from) in uuid.iter_mut().zip(digest.bytes()) {
        *to = *from;
    }
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut uuid;
    *version = *version & 0x0f | 0x80;
    *variant = *variant & 0x3f | 0x80;
    uuid
}
