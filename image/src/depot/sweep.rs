//! Forgetting images, and removing what no image needs. Both can be killed at any moment: the index changes first.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use berth_units::Reference;
use berth_units::wire::image::StoredImage;

use super::fault::{DepotError, cannot};
use super::{Writer, file};
use crate::digest::Digest;

/// What a sweep has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Number.
    pub files: u64,
    /// Bytes of the disk.
    pub bytes: u64,
}

impl Writer<'_> {
    /// Forgets a name. What only it needs goes with the next [`Self::prune`].
    pub fn remove(&mut self, name: &str) -> Result<(Reference, StoredImage), DepotError> {
        let (reference, image) = super::find(&self.index, name)?;
        self.commit(|index| drop(index.images.remove(&reference)))?;
        Ok((reference, image))
    }

    /// Removes every file that no image needs, half-pulled blobs among them.
    pub fn prune(&mut self) -> Result<Swept, DepotError> {
        let blobs: BTreeSet<_> = self.used_blobs().iter().map(Digest::hex).collect();
        let images = self.index.images.values();
        let layers: BTreeSet<_> = images
            .flat_map(|image| &image.layers)
            .filter_map(|path| path.strip_prefix("layers/").map(str::to_owned))
            .collect();
        let root = &self.depot.root;
        let within =
            |names: &BTreeSet<String>, name: &OsStr| name.to_str().is_some_and(|name| names.contains(name));
        let mut swept = sweep_folder(&root.join("blobs/sha256"), &|name| within(&blobs, name))?;
        for more in [
            sweep_folder(&root.join("layers"), &|name| within(&layers, name))?,
            sweep_folder(&root.join("partial"), &|_| false)?,
            sweep_folder(&self.depot.tmp(), &|_| false)?,
        ] {
            swept.files += more.files;
            swept.bytes += more.bytes;
        }
        Ok(swept)
    }

    /// Removes the layers of a refused image, where no other image needs them.
    pub(crate) fn forget_blobs(&self, image: &super::Candidate) -> Result<(), DepotError> {
        let used = self.used_blobs();
        let unused = image.layers.iter().filter(|plan| !used.contains(&plan.digest));
        unused.map(|plan| self.depot.blob_path(&plan.digest)).try_for_each(|path| file::remove(&path))
    }

    /// Blobs that an image needs: its documents, and its layers where they are not kept unpacked.
    pub(super) fn used_blobs(&self) -> BTreeSet<Digest> {
        let mut used = BTreeSet::new();
        for image in self.index.images.values() {
            let documents = image.documents.iter();
            let documents =
                documents.flat_map(|documents| documents.indexes.iter().chain([&documents.config]));
            let layers = image.made_of.iter().filter(|_| image.layers.is_empty()).map(|layer| &layer.blob);
            let texts = documents.chain(layers).chain([&image.digest]);
            used.extend(texts.filter_map(|text| Digest::parse(text).ok()));
        }
        used
    }
}

/// Removes the files of a folder that are not to be kept.
pub fn sweep_folder(folder: &Path, keep: &dyn Fn(&OsStr) -> bool) -> Result<Swept, DepotError> {
    let mut swept = Swept::default();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(swept),
        entries => entries.map_err(cannot("read", folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(cannot("read", folder))?;
        if !keep(&entry.file_name()) {
            let path = entry.path();
            let bytes = entry.metadata().map_or(0, |found| found.len());
            file::remove(&path)?;
            swept.files += 1;
            swept.bytes += bytes;
        }
    }
    Ok(swept)
}
