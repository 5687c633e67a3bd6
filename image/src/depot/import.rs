//! Images of an archive or a layout folder into a store.

use std::path::Path;

use berth_units::Reference;
use berth_units::wire::image::Documents;
use serde_json::json;

use super::admit::{Blob, Candidate, Document};
use super::fault::{DepotError, cannot};
use super::{Keep, Limits, Writer};
use crate::bundle::Bundle;
use crate::compression::Format;
use crate::digest::Digest;
use crate::extent::Extent;
use crate::import::description::LayerPlan;
use crate::import::reader::{Offer, Planned, Reader};
use crate::import::{BlobFault, ImportError, ImportFault, Options, at};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

impl Writer<'_> {
    /// Takes all images of a source for one architecture; returns their names, and whether they were new. An image of a
    /// docker-archive, which has no manifest, gets one.
    pub fn import(
        &mut self,
        source: &Path,
        architecture: &str,
        (keep, limits): (Keep, Limits),
    ) -> Result<Vec<(Reference, bool)>, DepotError> {
        let spool = self.depot.tmp();
        let free = self.depot.free()?.saturating_sub(limits.reserve);
        let options = Options { architecture, spool: &spool, limit: limits.unpacked.min(free) };
        self.take(&Reader::open(source, &options)?, source, (keep, limits))
    }

    /// Takes all images of a bundle as it was verified, also when its file is changed meanwhile; `path` is what it is
    /// called in messages. There may be none.
    pub fn import_bundle(
        &mut self,
        (bundle, path): (&Bundle, &Path),
        architecture: &str,
        (keep, limits): (Keep, Limits),
    ) -> Result<Vec<(Reference, bool)>, DepotError> {
        if bundle.images().is_empty() {
            return Ok(Vec::new());
        }
        let spool = self.depot.tmp();
        let free = self.depot.free()?.saturating_sub(limits.reserve);
        let options = Options { architecture, spool: &spool, limit: limits.unpacked.min(free) };
        let source = bundle.source().map_err(cannot("read", path))?;
        self.take(&Reader::of(source, path, &options), path, (keep, limits))
    }

    fn take(
        &mut self,
        reader: &Reader<'_>,
        source: &Path,
        (keep, limits): (Keep, Limits),
    ) -> Result<Vec<(Reference, bool)>, DepotError> {
        let mut names = Vec::new();
        reader
            .each(&mut |offer| {
                if let Some(digest) = self.known_archive(&offer, keep) {
                    names.extend(offer.names.iter().map(|name| (name.clone(), false)));
                    return self.name(&digest, keep, &offer.names);
                }
                let (image, blobs) = candidate(offer).map_err(|fault| named(source, fault))?;
                let digest = image.manifest.digest();
                let new = !self.has(&digest, keep);
                names.extend(image.names.iter().map(|name| (name.clone(), new)));
                if !new {
                    return self.name(&digest, keep, &image.names);
                }
                let mut layer = |number: usize| {
                    let blob = blobs.get(number).cloned();
                    blob.map(Blob::Elsewhere).ok_or_else(|| DepotError::Damaged(digest.to_string()))
                };
                self.admit(&image, (keep, limits), &mut layer).map_err(|error| match error {
                    DepotError::Image(fault) => named(source, fault),
                    other => other,
                })
            })
            .map_err(|error| match error {
                DepotError::Image(fault) => named(source, fault),
                other => other,
            })?;
        Ok(names)
    }
}

impl Writer<'_> {
    /// The manifest that an image of a docker-archive has got when it was taken in before: the digest of its
    /// configuration names its layers, so they need not be read again.
    fn known_archive(&self, offer: &Offer, keep: Keep) -> Option<Digest> {
        let config = Digest::of(&offer.config.1).to_string();
        let same = |documents: &Documents| documents.config == config;
        let mut images = self.index().images.values().filter(|_| offer.manifest.is_none());
        let found = images.find(|image| image.documents.as_ref().is_some_and(same))?;
        Digest::parse(&found.digest).ok().filter(|digest| self.has(digest, keep))
    }
}

/// Puts the source's path to a fault in it.
fn named(source: &Path, fault: ImportFault) -> DepotError {
    DepotError::Import(ImportError { path: source.to_owned(), source: Box::new(fault) })
}

/// The image with a manifest, whatever the source had, and its blobs.
fn candidate(offer: Offer) -> Result<(Candidate, Vec<Extent>), ImportFault> {
    let layers = offer.layers.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
    let blobs = offer.layers.into_iter().map(|layer| layer.blob).collect();
    let (config_type, bytes) = offer.config;
    let config = Document { media_type: config_type.unwrap_or_else(|| CONFIG.to_owned()), bytes };
    let manifest = match offer.manifest {
        Some((media_type, bytes)) => Document { media_type, bytes },
        None => Document { media_type: MANIFEST.to_owned(), bytes: manifest(&config, &layers) },
    };
    let execution = offer.execution;
    Ok((Candidate { names: offer.names, manifest, config, indexes: Vec::new(), execution, layers }, blobs))
}

/// Of a layer of a docker-archive, digest and format are looked up.
fn plan(planned: &Planned) -> Result<LayerPlan, ImportFault> {
    let (size, diff_id) = (planned.blob.len(), planned.diff_id);
    if let (Some(digest), Some(media_type)) = (planned.digest, planned.media_type.clone()) {
        return Ok(LayerPlan { digest, size, media_type, diff_id });
    }
    let fault = |error| at("layer", &planned.shown)(BlobFault::Read(error));
    let end = match Format::detect(&planned.blob).map_err(fault)? {
        Format::Plain => "",
        Format::Gzip => "+gzip",
        Format::Zstd => "+zstd",
    };
    let (digest, _) = planned.blob.digest().map_err(fault)?;
    let media_type = format!("application/vnd.oci.image.layer.v1.tar{end}");
    Ok(LayerPlan { digest, size, media_type, diff_id })
}

/// An OCI manifest: the same image gives the same bytes.
fn manifest(config: &Document, layers: &[LayerPlan]) -> Vec<u8> {
    let descriptor = |media_type: &str, digest: Digest, size: u64| json!({"mediaType": media_type, "digest": digest.to_string(), "size": size});
    let layers: Vec<_> =
        layers.iter().map(|layer| descriptor(&layer.media_type, layer.digest, layer.size)).collect();
    let config = descriptor(&config.media_type, config.digest(), config.bytes.len() as u64);
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    manifest.to_string().into_bytes()
}
