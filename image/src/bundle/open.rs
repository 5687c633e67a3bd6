//! Reading a bundle: form first, then the signature, then every blob.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use berth_units::Reference;

use super::container::{self, Found};
use super::fault::BundleError;
use super::index::{Entry, parse_index};
use super::{
    BLOBS, INDEX_NAME, LAYOUT, LAYOUT_NAME, MAX_DOCUMENT, MAX_UNITS, OS, SIGNATURE_NAME, UNITS, texts,
};
use crate::archive::{Slot, Source};
use crate::digest::Digest;
use crate::extent::{Extent, in_memory};
use crate::manifest::{Descriptor, Manifest, is_config, is_layer};
use crate::signature::minisign::{PublicKey, Signature};

/// An image of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: Reference,
    /// Of its manifest.
    pub digest: Digest,
    /// Bytes of its layers as they are in the bundle.
    pub size: u64,
}

/// A bundle whose every blob is what the index says. Who signed it is asked by [`Self::verify`].
#[derive(Debug)]
pub struct Bundle {
    signature: Option<Signature>,
    index: Vec<u8>,
    entries: Vec<Entry>,
    images: Vec<Image>,
    texts: BTreeMap<String, String>,
    blobs: BTreeMap<Digest, Extent>,
}

impl Bundle {
    /// Opens a bundle that one of these keys has signed; with no keys, any bundle. What is signed by nobody who is
    /// trusted is refused before anything in it is read but the index.
    pub fn open(path: &Path, trusted: &[PublicKey]) -> Result<Self, BundleError> {
        // A pipe or a device is no bundle, and opening one must not wait.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path);
        let file = file.map_err(|error| BundleError::Io("open", error))?;
        if !file.metadata().is_ok_and(|found| found.is_file()) {
            return Err(BundleError::Io("open", io::Error::other("it is not a regular file")));
        }
        Self::read(&Extent::whole(file).map_err(|error| BundleError::Io("read", error))?, trusted)
    }

    /// The same of an open file.
    pub fn read(file: &Extent, trusted: &[PublicKey]) -> Result<Self, BundleError> {
        let Found { signature, layout, index, blobs } = container::read(file)?;
        if layout.as_deref() != Some(LAYOUT) {
            return Err(BundleError::Missing(LAYOUT_NAME));
        }
        let index = index.ok_or(BundleError::Missing(INDEX_NAME))?;
        let signature = signature.as_deref().map(parse_signature).transpose()?;
        let bundle =
            Self { signature, index, entries: Vec::new(), images: Vec::new(), texts: BTreeMap::new(), blobs };
        if !trusted.is_empty() {
            bundle.verify(trusted)?;
        }
        bundle.check()
    }

    /// Who has signed it: one of these keys, or it is refused.
    pub fn verify<'a>(&self, trusted: &'a [PublicKey]) -> Result<&'a PublicKey, BundleError> {
        let signature = self.signature.as_ref().ok_or(BundleError::Unsigned)?;
        // Ids are not secret, and two keys may have the same one.
        let mut fault = BundleError::Untrusted { signed: signature.id() };
        for key in trusted.iter().filter(|key| key.id() == signature.id()) {
            match key.verify(&self.index, signature) {
                Ok(()) => return Ok(key),
                Err(error) => fault = BundleError::Signature(error),
            }
        }
        Err(fault)
    }

    /// Every blob by digest and size, each named by something, and every document as it should be.
    fn check(mut self) -> Result<Self, BundleError> {
        self.entries = parse_index(&self.index)?;
        let mut named = BTreeSet::new();
        for entry in self.entries.clone() {
            self.check_blob(&entry.digest, entry.size, &mut named)?;
            let Some(name) = entry.name else { continue };
            let mut image = Image { name, digest: entry.digest, size: 0 };
            let manifest = self.manifest(&entry.digest)?;
            let config = (manifest.config, true);
            let layers = manifest.layers.unwrap_or_default().into_iter().map(|layer| (layer, false));
            for (descriptor, is_first) in std::iter::once(config).chain(layers) {
                let digest = part(&entry.digest, &descriptor, is_first)?;
                self.check_blob(&digest, descriptor.size, &mut named)?;
                image.size = image.size.saturating_add(if is_first { 0 } else { descriptor.size });
            }
            self.images.push(image);
        }
        if let Some(digest) = self.blobs.keys().find(|digest| !named.contains(*digest)) {
            return Err(BundleError::Unnamed(*digest));
        }
        let (entry, units) = self.entry(UNITS).ok_or(BundleError::Missing("units"))?;
        if units.len() > MAX_UNITS {
            return Err(BundleError::Units { name: "units".to_owned(), why: "are too much" });
        }
        let (digest, bytes) =
            (entry.digest, units.read_all(MAX_UNITS).map_err(|error| BundleError::Io("read", error))?);
        // Read once more than it was hashed: whoever holds the medium may have changed it meanwhile.
        let actual = Digest::of(&bytes);
        if actual != digest {
            return Err(BundleError::Corrupt { digest, actual });
        }
        self.texts = texts::read(&in_memory(&bytes).map_err(|error| BundleError::Io("read", error))?)?;
        Ok(self)
    }

    /// Hashes a blob the first time that it is named.
    fn check_blob(
        &self,
        digest: &Digest,
        size: u64,
        named: &mut BTreeSet<Digest>,
    ) -> Result<(), BundleError> {
        let blob = self.blobs.get(digest).ok_or(BundleError::MissingBlob(*digest))?;
        if blob.len() != size {
            return Err(BundleError::Size { digest: *digest, declared: size, actual: blob.len() });
        }
        if !named.insert(*digest) {
            return Ok(());
        }
        match blob.digest().map_err(|error| BundleError::Io("read", error))? {
            (actual, _) if actual == *digest => Ok(()),
            (actual, _) => Err(BundleError::Corrupt { digest: *digest, actual }),
        }
    }

    fn manifest(&self, digest: &Digest) -> Result<Manifest, BundleError> {
        let blob = self.blobs.get(digest).ok_or(BundleError::MissingBlob(*digest))?;
        let bytes = blob.read_all(MAX_DOCUMENT).map_err(|error| BundleError::Io("read", error))?;
        // Read once more than it was hashed, as the units below.
        match Digest::of(&bytes) {
            actual if actual == *digest => {}
            actual => return Err(BundleError::Corrupt { digest: *digest, actual }),
        }
        serde_json::from_slice(&bytes).map_err(|error| fault(digest, &error.to_string()))
    }

    fn entry(&self, media_type: &str) -> Option<(&Entry, &Extent)> {
        let entry = self.entries.iter().find(|entry| entry.media_type == media_type)?;
        Some((entry, self.blobs.get(&entry.digest)?))
    }

    /// Its signature; nothing in it is to be believed before [`Self::verify`].
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// The digest of its index, which stands for all of it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.index)
    }

    /// Units, drop-ins and node.toml by place below /etc/berth; not parsed.
    pub fn texts(&self) -> &BTreeMap<String, String> {
        &self.texts
    }

    /// Images by name; [`Writer::import_bundle`](crate::depot::Writer::import_bundle) takes them into a store.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Digest and bytes of the OS, where it has one. The medium may be changed meanwhile: hash what is copied.
    pub fn os(&self) -> Option<(Digest, &Extent)> {
        self.entry(OS).map(|(entry, blob)| (entry.digest, blob))
    }

    /// The images as an importer reads them: the index is the one that was verified, not the one that the file may
    /// have by now, and every blob is checked against it anew.
    pub(crate) fn source(&self) -> io::Result<Source> {
        let blobs = self.blobs.iter();
        let mut slots: BTreeMap<_, _> = blobs
            .map(|(digest, blob)| (format!("{BLOBS}{}", digest.hex()).into_bytes(), Slot::Data(blob.clone())))
            .collect();
        slots.insert(INDEX_NAME.into(), Slot::Data(in_memory(&self.index)?));
        Ok(Source::Archive(slots))
    }

    /// A blob. The medium may be changed meanwhile: hash what is read.
    pub fn blob(&self, digest: &Digest) -> Option<&Extent> {
        self.blobs.get(digest)
    }
}

/// A signature written in the one way that [`pack`](super::pack) writes it: its first line is covered by nothing else.
fn parse_signature(bytes: &[u8]) -> Result<Signature, BundleError> {
    let text = String::from_utf8_lossy(bytes);
    let signature = Signature::parse(&text).map_err(BundleError::Signature)?;
    if signature.file() != text {
        let why = "it is not written as berth writes it".to_owned();
        return Err(BundleError::Document { what: SIGNATURE_NAME.to_owned(), why });
    }
    Ok(signature)
}

fn fault(digest: &Digest, why: &str) -> BundleError {
    BundleError::Document { what: format!("manifest {digest}"), why: why.chars().take(200).collect() }
}

/// What a manifest names, if an image can have it.
fn part(manifest: &Digest, descriptor: &Descriptor, is_config_place: bool) -> Result<Digest, BundleError> {
    let known = if is_config_place { is_config } else { is_layer };
    if !known(&descriptor.media_type) {
        return Err(fault(manifest, "it names something that is neither a configuration nor a layer"));
    }
    Digest::parse(&descriptor.digest).map_err(|error| fault(manifest, &error.to_string()))
}
