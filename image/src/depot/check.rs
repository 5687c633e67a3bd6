//! Looking for bit rot and tampering: every file that an image needs is read and hashed again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use berth_units::Reference;
use berth_units::wire::image::Index;

use super::{Depot, DepotError, Writer, file};
use crate::extent::Extent;

/// What a damaged file is to its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its manifest, or an index that leads to it.
    Manifest,
    /// Its configuration.
    Config,
    /// A layer as it was received.
    Blob,
    /// A layer unpacked.
    Layer,
}

/// One damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Images that need it.
    pub images: Vec<Reference>,
    /// What it is to them.
    pub part: Part,
    /// The layer's blob, or the document's digest: what to ask a registry for.
    pub digest: String,
    /// The file, below the store.
    pub path: PathBuf,
    /// What is wrong.
    pub why: String,
}

/// A file to look at: its path, what it has to hash to.
type Expected = (String, Part, String);

impl Depot {
    /// Reads everything. Returns what is damaged, and the number
    /// and the bytes of the files that were read.
    pub fn verify(&self) -> Result<(Vec<Damage>, u64, u64), DepotError> {
        let index = self.index()?;
        let (mut damages, mut files, mut bytes) = (Vec::new(), 0, 0);
        for ((path, part, digest), images) in self.expected(&index) {
            let full = self.root.join(&path);
            let file = File::open(&full).and_then(Extent::whole);
            files += 1;
            let wanted = match part {
                Part::Layer => path.trim_start_matches("layers/").trim_end_matches(".erofs"),
                _ => digest.trim_start_matches("sha256:"),
            };
            let why = match file.and_then(|file| file.digest()) {
                Ok((actual, size)) if actual.hex() == wanted => {
                    bytes += size;
                    continue;
                }
                Ok((actual, _)) => format!("its content has digest {actual}"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => "it is missing".to_owned(),
                Err(error) => format!("it cannot be read: {error}"),
            };
            damages.push(Damage { images, part, digest, path: PathBuf::from(path), why });
        }
        Ok((damages, files, bytes))
    }

    /// Every file that counts, once, with the images that need it.
    fn expected(&self, index: &Index) -> BTreeMap<Expected, Vec<Reference>> {
        let mut expected: BTreeMap<Expected, Vec<Reference>> = BTreeMap::new();
        for (name, image) in &index.images {
            let mut add = |part, path: String, digest: &str| {
                expected.entry((path, part, digest.to_owned())).or_default().push(name.clone());
            };
            let blob = |digest: &str| format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"));
            for document in image.documents.iter() {
                add(Part::Manifest, blob(&image.digest), &image.digest);
                add(Part::Config, blob(&document.config), &document.config);
                document.indexes.iter().for_each(|index| add(Part::Manifest, blob(index), index));
            }
            for (number, layer) in image.made_of.iter().enumerate() {
                let unpacked = image.layers.get(number);
                if let Some(path) = unpacked {
                    add(Part::Layer, path.clone(), &layer.blob);
                }
                // Where the layer is unpacked, its blob may be gone; if it is there, it has to be right.
                let path = blob(&layer.blob);
                if unpacked.is_none() || self.root.join(&path).exists() {
                    add(Part::Blob, path, &layer.blob);
                }
            }
        }
        expected
    }
}

impl Writer<'_> {
    /// Removes damaged files: a pull or an import of their images then brings them again.
    pub fn discard(&mut self, damages: &[Damage]) -> Result<(), DepotError> {
        damages.iter().try_for_each(|damage| file::remove(&self.depot.root.join(&damage.path)))
    }
}
