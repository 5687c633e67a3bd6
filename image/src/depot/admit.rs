//! Taking an image into a store: every layer is unpacked and looked at before its name counts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};

use berth_units::Reference;
use berth_units::wire::image::{Documents, ImageConfig, StoredImage, StoredLayer};

use super::fault::{DepotError, cannot};
use super::file::Fresh;
use super::{Keep, Limits, Writer};
use crate::compression::unpack;
use crate::digest::{Digest, Hashing};
use crate::erofs::{self, Volume};
use crate::extent::{Extent, spool};
use crate::import::description::LayerPlan;
use crate::import::{BlobFault, MAX_MEMORY, at};
use crate::layer::Layer;

/// An image whose documents have been checked against each other.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Names it gets.
    pub names: Vec<Reference>,
    /// As received.
    pub manifest: Document,
    /// As received.
    pub config: Document,
    /// Indexes through which the manifest was found, as received.
    pub indexes: Vec<Document>,
    /// How to run it.
    pub execution: ImageConfig,
    /// Lowest first.
    pub layers: Vec<LayerPlan>,
}

/// A document as received.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Document {
    /// Of its bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// Where a layer's blob is.
#[derive(Debug)]
pub enum Blob {
    /// In the store, its digest checked.
    Kept,
    /// In a source, not looked at.
    Elsewhere(Extent),
}

/// A layer that is done with.
struct Taken {
    /// Its directories, while they are known.
    tree: Option<Layer>,
    unpacked: u64,
    /// Its path in the store; empty where none is kept.
    path: String,
}

/// What an image of the store has made of a layer on the same layers.
#[derive(Clone, Debug)]
struct Known {
    unpacked: u64,
    path: String,
}

impl Writer<'_> {
    /// Whether the image with that manifest is there whole, in the way that `keep` asks for.
    pub fn has(&self, digest: &Digest, keep: Keep) -> bool {
        self.whole(digest, keep).is_some()
    }

    fn whole(&self, digest: &Digest, keep: Keep) -> Option<&StoredImage> {
        let text = digest.to_string();
        let is_whole = |image: &&StoredImage| {
            let mut documents =
                image.documents.iter().flat_map(|found| found.indexes.iter().chain([&found.config]));
            let layers = match keep {
                Keep::Blobs => image.made_of.iter().all(|layer| self.has_blob(&layer.blob)),
                Keep::Layers => {
                    image.layers.len() == image.made_of.len()
                        && image.layers.iter().all(|path| self.depot.root.join(path).exists())
                }
            };
            image.digest == text
                && self.has_blob(&text)
                && documents.all(|text| self.has_blob(text))
                && layers
        };
        self.index.images.values().find(is_whole)
    }

    /// Gives an image that is there further names.
    pub fn name(&mut self, digest: &Digest, keep: Keep, names: &[Reference]) -> Result<(), DepotError> {
        let found = self.whole(digest, keep).cloned();
        let Some(image) = found else { return Err(DepotError::Damaged(digest.to_string())) };
        if names.iter().all(|name| self.index.images.get(name) == Some(&image)) {
            return Ok(());
        }
        self.commit(|index| index.images.extend(names.iter().map(|name| (name.clone(), image.clone()))))
    }

    /// Which layers of an image have to be brought: the store has nothing of them that it could use.
    pub fn wants(&self, image: &Candidate, keep: Keep) -> Vec<bool> {
        let known = self.known(keep);
        let mut chain = None;
        let wanted = image.layers.iter().map(|plan| {
            chain = Some(chain_id(chain, &plan.diff_id));
            let have = chain.is_some_and(|chain| known.contains_key(&(chain, plan.digest)));
            !have && !self.depot.blob_path(&plan.digest).exists()
        });
        wanted.collect()
    }

    /// Takes an image in. `layer` brings the blob of a layer by its number and is asked only for what is needed.
    pub fn admit<E: From<DepotError>>(
        &mut self,
        image: &Candidate,
        (keep, limits): (Keep, Limits),
        layer: &mut dyn FnMut(usize) -> Result<Blob, E>,
    ) -> Result<(), E> {
        let known = self.known(keep);
        let mut taken: Vec<Taken> = Vec::new();
        let mut chain = None;
        for (number, plan) in image.layers.iter().enumerate() {
            let id = chain_id(chain, &plan.diff_id);
            chain = Some(id);
            if let Some(known) = known.get(&(id, plan.digest)) {
                let Known { unpacked, path } = known.clone();
                taken.push(Taken { tree: None, unpacked, path });
                continue;
            }
            let mut read = self.bring(plan, keep, limits, &mut || layer(number))?;
            if keep == Keep::Layers && read.has_implied() {
                self.recall(&mut taken, image, (keep, limits), layer)?;
                read.inherit(taken.iter().rev().filter_map(|taken| taken.tree.as_ref()));
            }
            let path = if keep == Keep::Layers { self.write_layer(plan, &read)? } else { String::new() };
            let unpacked = read.size;
            read.forget_contents();
            taken.push(Taken { tree: (keep == Keep::Layers).then_some(read), unpacked, path });
            bounded(&taken, plan, MAX_MEMORY)?;
        }
        Ok(self.record(image, &taken, keep)?)
    }

    /// Reads layers again that were known but whose directories a layer above asks for.
    fn recall<E: From<DepotError>>(
        &self,
        taken: &mut [Taken],
        image: &Candidate,
        (keep, limits): (Keep, Limits),
        layer: &mut dyn FnMut(usize) -> Result<Blob, E>,
    ) -> Result<(), E> {
        for number in 0..taken.len() {
            let (below, rest) = taken.split_at_mut(number);
            let (Some(this), Some(plan)) = (rest.first_mut(), image.layers.get(number)) else { break };
            if this.tree.is_some() {
                continue;
            }
            let tree = match self.stored(plan, &this.path) {
                Some(stored) => stored,
                None => {
                    let mut read = self.bring(plan, keep, limits, &mut || layer(number))?;
                    read.inherit(below.iter().rev().filter_map(|taken| taken.tree.as_ref()));
                    read.forget_contents();
                    read
                }
            };
            this.tree = Some(tree);
            bounded(taken, plan, MAX_MEMORY)?;
        }
        Ok(())
    }

    /// The directories of a layer that is kept unpacked; none where the file is not as it was written.
    fn stored(&self, plan: &LayerPlan, path: &str) -> Option<Layer> {
        let file = File::open(self.depot.root.join(path)).ok().filter(|_| !path.is_empty())?;
        let tree = erofs::read_directories(&Extent::whole(file).ok()?).ok()?;
        Some(Layer::of_directories(tree, plan.diff_id))
    }

    /// A layer, its blob and what is in it checked.
    fn bring<E: From<DepotError>>(
        &self,
        plan: &LayerPlan,
        keep: Keep,
        limits: Limits,
        layer: &mut dyn FnMut() -> Result<Blob, E>,
    ) -> Result<Layer, E> {
        let kept = match self.depot.blob(&plan.digest)? {
            Some(blob) => Some(blob),
            None => match layer()? {
                Blob::Kept => self.depot.blob(&plan.digest)?,
                Blob::Elsewhere(extent) => {
                    self.take_blob(plan, &extent, keep)?;
                    Some(extent)
                }
            },
        };
        let shown = plan.digest.to_string();
        let blob = kept.ok_or_else(|| DepotError::Damaged(shown.clone()))?;
        Ok(self.unpack(plan, &blob, limits)?)
    }

    /// Copies a blob into the store, or only checks it.
    fn take_blob(&self, plan: &LayerPlan, from: &Extent, keep: Keep) -> Result<(), DepotError> {
        let shown = plan.digest.to_string();
        let fault = at("layer", &shown);
        let mut reader = Hashing::new(from.reader());
        let fresh = if keep == Keep::Blobs { Some(Fresh::create(&self.depot.tmp())?) } else { None };
        let path = self.depot.blob_path(&plan.digest);
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count =
                io::Read::read(&mut reader, &mut buffer).map_err(|error| fault(BlobFault::Read(error)))?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            if let Some(fresh) = &fresh {
                fresh.file().write_all(bytes).map_err(cannot("write", &path))?;
            }
        }
        let (actual, size) = reader.finish();
        if size != plan.size {
            return Err(fault(BlobFault::Size { declared: plan.size, actual: size }).into());
        }
        if actual != plan.digest {
            return Err(fault(BlobFault::Corrupt(actual)).into());
        }
        fresh.map_or(Ok(()), |fresh| fresh.persist(&path))
    }

    fn unpack(&self, plan: &LayerPlan, blob: &Extent, limits: Limits) -> Result<Layer, DepotError> {
        let shown = plan.digest.to_string();
        let fault = at("layer", &shown);
        let free = self.depot.free()?;
        let room = free.saturating_sub(limits.reserve);
        let spool = spool(&self.depot.tmp()).map_err(cannot("write to", &self.depot.tmp()))?;
        let (tar, actual) = match unpack(blob, spool, limits.unpacked.min(room)) {
            Err(crate::compression::UnpackError::TooLarge(limit)) if limit == room => {
                let (path, reserve) = (self.depot.root.clone(), limits.reserve);
                let what = format!("layer {shown}, and maybe more");
                return Err(DepotError::Space { path, what, needed: room + 1, free, reserve });
            }
            result => result.map_err(|error| fault(error.into()))?,
        };
        if actual != plan.diff_id {
            return Err(fault(BlobFault::DiffId { declared: plan.diff_id, actual }).into());
        }
        Ok(Layer::read(tar, actual).map_err(|error| fault(error.into()))?)
    }

    /// Writes a layer as an EROFS named by its content; returns its path in the store.
    fn write_layer(&self, plan: &LayerPlan, layer: &Layer) -> Result<String, DepotError> {
        let shown = plan.digest.to_string();
        let fresh = Fresh::create(&self.depot.tmp())?;
        let volume = Volume { label: "berth-layer", uuid: crate::store::uuid(&layer.id()), build_time: 0 };
        erofs::write(&layer.tree, &volume, fresh.file())
            .map_err(|source| DepotError::Layer { layer: shown, source })?;
        let whole = fresh.file().try_clone().and_then(Extent::whole);
        let (digest, _) = whole.and_then(|file| file.digest()).map_err(cannot("read", &self.depot.tmp()))?;
        let path = format!("layers/{}.erofs", digest.hex());
        fresh.persist(&self.depot.root.join(&path))?;
        Ok(path)
    }

    /// Writes the documents and then the record.
    fn record(&mut self, image: &Candidate, taken: &[Taken], keep: Keep) -> Result<(), DepotError> {
        for document in image.indexes.iter().chain([&image.manifest, &image.config]) {
            let path = self.depot.blob_path(&document.digest());
            Fresh::write(&self.depot.tmp(), &document.bytes, &path)?;
        }
        let made_of = image.layers.iter().zip(taken).map(|(plan, taken)| StoredLayer {
            blob: plan.digest.to_string(),
            size: plan.size,
            diff_id: plan.diff_id.to_string(),
            unpacked: taken.unpacked,
        });
        let stored = StoredImage {
            digest: image.manifest.digest().to_string(),
            layers: taken.iter().map(|taken| taken.path.clone()).filter(|path| !path.is_empty()).collect(),
            config: image.execution.clone(),
            size: taken.iter().map(|taken| taken.unpacked).sum(),
            made_of: made_of.collect(),
            documents: Some(Documents {
                manifest_type: image.manifest.media_type.clone(),
                config: image.config.digest().to_string(),
                indexes: image.indexes.iter().map(|index| index.digest().to_string()).collect(),
            }),
        };
        self.commit(|index| {
            index.images.extend(image.names.iter().map(|name| (name.clone(), stored.clone())));
        })?;
        if keep == Keep::Blobs {
            return Ok(());
        }
        let kept = self.used_blobs();
        for plan in image.layers.iter().filter(|plan| !kept.contains(&plan.digest)) {
            super::file::remove(&self.depot.blob_path(&plan.digest))?;
        }
        Ok(())
    }

    fn has_blob(&self, digest: &str) -> bool {
        Digest::parse(digest).is_ok_and(|digest| self.depot.blob_path(&digest).exists())
    }

    /// Layers that need not be looked at again, by the chain of diff_ids up to them and by blob.
    fn known(&self, keep: Keep) -> HashMap<(Digest, Digest), Known> {
        let mut known = HashMap::new();
        for image in self.index.images.values() {
            let mut chain = None;
            for (number, layer) in image.made_of.iter().enumerate() {
                let (Ok(diff_id), Ok(blob)) = (Digest::parse(&layer.diff_id), Digest::parse(&layer.blob))
                else {
                    break;
                };
                let id = chain_id(chain, &diff_id);
                chain = Some(id);
                let path = image.layers.get(number).cloned().unwrap_or_default();
                let layer_there = !path.is_empty() && self.depot.root.join(&path).exists();
                let there = match keep {
                    Keep::Blobs => self.has_blob(&layer.blob),
                    Keep::Layers => layer_there,
                };
                if there {
                    let path = if keep == Keep::Layers { path } else { String::new() };
                    known.insert((id, blob), Known { unpacked: layer.unpacked, path });
                }
            }
        }
        known
    }
}

/// Refuses an image whose layers take more memory together: each has a bound of its own, and there may be many.
fn bounded(taken: &[Taken], plan: &LayerPlan, most: usize) -> Result<(), DepotError> {
    let trees = taken.iter().filter_map(|taken| taken.tree.as_ref());
    match trees.map(Layer::memory).sum::<usize>() <= most {
        true => Ok(()),
        false => Err(at("layer", &plan.digest.to_string())(BlobFault::Memory).into()),
    }
}

/// Names a layer on those below it (OCI image-spec, config.md, "Layer ChainID").
fn chain_id(below: Option<Digest>, diff_id: &Digest) -> Digest {
    below.map_or(*diff_id, |below| Digest::of(format!("{below} {diff_id}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn layers_have_a_bound_together() {
        let digest = Digest::of(b"x");
        let plan = LayerPlan { digest, size: 1, media_type: String::new(), diff_id: digest };
        let taken = |tree| Taken { tree, unpacked: 1, path: String::new() };
        let layer = Layer::of_directories(Tree::default(), digest);
        let one = layer.memory();
        let both = [taken(Some(layer.clone())), taken(None), taken(Some(layer))];
        assert!(bounded(&both, &plan, 2 * one).is_ok());
        assert!(bounded(&both[..2], &plan, one).is_ok());
        let error = bounded(&both, &plan, 2 * one - 1).unwrap_err();
        assert!(matches!(error, DepotError::Image(_)), "{error}");
    }
}
