//! Images of a store for a bundle: manifest, configuration and layers as they were received.

use std::collections::BTreeMap;

use berth_units::Reference;
use berth_units::wire::image::StoredImage;

use super::MAX_DOCUMENT;
use super::fault::BundleError;
use super::pack::ImageContent;
use crate::depot::{Depot, DepotError};
use crate::digest::Digest;
use crate::extent::Extent;

/// An image of a builder's store under those names. The caller holds [`Depot::reader`]'s lock until it is packed.
pub fn collect(
    depot: &Depot,
    names: Vec<Reference>,
    image: &StoredImage,
) -> Result<ImageContent, BundleError> {
    let damaged = |text: &str| DepotError::Damaged(text.to_owned());
    let documents = image.documents.as_ref().ok_or_else(|| damaged(&image.digest))?;
    let blob = |text: &str, fault: fn(String) -> DepotError| -> Result<(Digest, Extent), DepotError> {
        let digest = Digest::parse(text).map_err(|_| damaged(text))?;
        Ok((digest, depot.blob(&digest)?.ok_or_else(|| fault(text.to_owned()))?))
    };
    let (_, manifest) = blob(&image.digest, DepotError::Damaged)?;
    let manifest =
        manifest.read_all(MAX_DOCUMENT).map_err(|error| BundleError::Io("read an image for", error))?;
    let mut blobs = BTreeMap::from([blob(&documents.config, DepotError::Damaged)?]);
    for layer in &image.made_of {
        let (digest, layer) = blob(&layer.blob, DepotError::NotKept)?;
        blobs.insert(digest, layer);
    }
    Ok(ImageContent { names, media_type: documents.manifest_type.clone(), manifest, blobs })
}
