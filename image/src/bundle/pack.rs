//! Writing a bundle.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use berth_units::Reference;

use super::fault::BundleError;
use super::index::{Entry, index};
use super::{BLOBS, INDEX_NAME, LAYOUT, LAYOUT_NAME, OS, SIGNATURE_NAME, UNITS};
use super::{container, texts};
use crate::depot::Fresh;
use crate::digest::{Digest, Hashing};
use crate::extent::Extent;
use crate::signature::minisign::SecretKey;
use crate::tree::Content;

/// An image that goes into a bundle.
#[derive(Clone, Debug)]
pub struct ImageContent {
    /// Its names, one at least.
    pub names: Vec<Reference>,
    /// Of its manifest.
    pub media_type: String,
    /// The manifest as it is.
    pub manifest: Vec<u8>,
    /// Configuration and layers: all that the manifest names.
    pub blobs: BTreeMap<Digest, Extent>,
}

/// What goes into a bundle.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// By place below /etc/berth: `node.toml`, `units/web.toml`.
    pub texts: BTreeMap<String, String>,
    /// The images of the units.
    pub images: Vec<ImageContent>,
    /// A UKI.
    pub os: Option<Extent>,
}

/// [`pack`] into a file, which appears whole or not at all.
pub fn pack_to(contents: &Contents, key: Option<&SecretKey>, to: &Path) -> Result<Digest, BundleError> {
    let folder = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fresh = Fresh::create_hidden(folder)?;
    let digest = pack(contents, key, &mut BufWriter::with_capacity(1 << 17, fresh.file()))?;
    fresh.persist(to)?;
    Ok(digest)
}

/// Writes a bundle, signed when there is a key; returns the digest of its index, which stands for all of it.
pub fn pack(
    contents: &Contents,
    key: Option<&SecretKey>,
    out: &mut dyn Write,
) -> Result<Digest, BundleError> {
    let io = |error| BundleError::Io("write", error);
    let (mut entries, mut blobs) = (Vec::new(), BTreeMap::new());
    let units = texts::write(&contents.texts)?;
    let (digest, size) = (Digest::of(&units), units.len() as u64);
    entries.push(Entry { media_type: UNITS.to_owned(), digest, size, name: None });
    blobs.insert(digest, Content::Bytes(units));
    if let Some(os) = &contents.os {
        let (digest, size) = os.digest().map_err(|error| BundleError::Io("read the OS for", error))?;
        entries.push(Entry { media_type: OS.to_owned(), digest, size, name: None });
        blobs.insert(digest, Content::Extent(os.clone()));
    }
    let mut named: BTreeMap<&Reference, &ImageContent> = BTreeMap::new();
    for image in &contents.images {
        for name in &image.names {
            if named.insert(name, image).is_some_and(|other| other.manifest != image.manifest) {
                return Err(BundleError::Twice(name.to_string()));
            }
        }
        blobs.extend(image.blobs.iter().map(|(digest, blob)| (*digest, Content::Extent(blob.clone()))));
        blobs.insert(Digest::of(&image.manifest), Content::Bytes(image.manifest.clone()));
    }
    entries.extend(named.into_iter().map(|(name, image)| Entry {
        media_type: image.media_type.clone(),
        digest: Digest::of(&image.manifest),
        size: image.manifest.len() as u64,
        name: Some(name.clone()),
    }));
    let index = index(&entries)?;
    let digest = Digest::of(&index);
    if let Some(key) = key {
        let signature = key.sign(&index, &format!("berth bundle {digest}")).file();
        container::put(out, SIGNATURE_NAME, signature.len() as u64, &mut signature.as_bytes()).map_err(io)?;
    }
    container::put(out, LAYOUT_NAME, LAYOUT.len() as u64, &mut &*LAYOUT).map_err(io)?;
    container::put(out, INDEX_NAME, index.len() as u64, &mut index.as_slice()).map_err(io)?;
    for (digest, blob) in &blobs {
        let mut reader = Hashing::new(blob.reader());
        container::put(out, &format!("{BLOBS}{}", digest.hex()), blob.len(), &mut reader).map_err(io)?;
        let (actual, _) = reader.finish();
        if actual != *digest {
            return Err(BundleError::Corrupt { digest: *digest, actual });
        }
    }
    container::end(out).and_then(|()| out.flush()).map_err(io)?;
    Ok(digest)
}
