//! Reading a source: which images it holds, and what each is made of.

use std::collections::BTreeMap;
use std::path::Path;

use berth_units::Reference;
use berth_units::reference::ReferenceError;
use berth_units::wire::image::ImageConfig;

use super::description::{Machine, check_config, config_of, describe};
use super::fault::{BlobFault, ImportError, ImportFault};
use super::{MAX_DEPTH, MAX_DOCUMENT, MAX_IMAGES, Options, at, document, parse, stem};
use crate::archive::Source;
use crate::digest::Digest;
use crate::extent::Extent;
use crate::manifest::{Descriptor, Index, Kind, Manifest, Saved};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// An open source.
#[derive(Debug)]
pub struct Reader<'a> {
    source: Source,
    path: &'a Path,
    machine: Machine,
}

/// One image of a source. Its documents have been checked, its layers have not been read.
#[derive(Debug)]
pub struct Offer {
    /// All its names.
    pub names: Vec<Reference>,
    /// Digest of its manifest (OCI) or configuration (docker-archive).
    pub digest: Digest,
    /// Media type and bytes; a docker-archive has none.
    pub manifest: Option<(String, Vec<u8>)>,
    /// Media type and bytes; none for a docker-archive's.
    pub config: (Option<String>, Vec<u8>),
    /// How to run it.
    pub execution: ImageConfig,
    /// Lowest first.
    pub layers: Vec<Planned>,
}

/// A layer before it is read.
#[derive(Debug)]
pub struct Planned {
    /// Where it lies in the source.
    pub blob: Extent,
    /// What it is called in messages.
    pub shown: String,
    /// What the blob has to be; none in a docker-archive.
    pub digest: Option<Digest>,
    /// Media type, as declared.
    pub media_type: Option<String>,
    /// What it unpacks to.
    pub diff_id: Digest,
}

impl<'a> Reader<'a> {
    /// Opens a folder or an archive.
    pub fn open(path: &'a Path, options: &Options<'_>) -> Result<Self, ImportError> {
        let fault = |error| ImportError { path: path.to_owned(), source: Box::new(error) };
        let source = Source::open(path, options.spool, options.limit)
            .map_err(|error| fault(ImportFault::Archive(error)))?;
        Ok(Self { source, path, machine: Machine::of(options.architecture) })
    }

    /// Reads a source that is open; `path` is what it is called in messages.
    pub fn of(source: Source, path: &'a Path, options: &Options<'_>) -> Self {
        Self { source, path, machine: Machine::of(options.architecture) }
    }

    /// Calls `take` with one image after the other, until it fails.
    pub fn each<E: From<ImportFault>>(&self, take: &mut dyn FnMut(Offer) -> Result<(), E>) -> Result<(), E> {
        if let Some(index) = self.source.find("index.json").map_err(ImportFault::from)? {
            let images = self.layout(&index)?;
            return images.into_iter().try_for_each(|(name, top)| take(self.offer(name, top)?));
        }
        match self.source.find("manifest.json").map_err(ImportFault::from)? {
            Some(list) => self.saved(&list)?.iter().try_for_each(|image| take(self.offer_saved(image)?)),
            None => Err(ImportFault::Unknown.into()),
        }
    }

    fn layout(&self, index: &Extent) -> Result<Vec<(Reference, Descriptor)>, ImportFault> {
        let index: Index = parse(&document(index, "index.json")?).map_err(at("index", "index.json"))?;
        let images = self.choose(index.manifests.unwrap_or_default())?;
        if images.is_empty() || images.len() > MAX_IMAGES {
            return Err(ImportFault::Count(images.len()));
        }
        Ok(images)
    }

    /// Names the images of the top index, and drops those for other machines where one for this one exists.
    fn choose(&self, all: Vec<Descriptor>) -> Result<Vec<(Reference, Descriptor)>, ImportFault> {
        let mut chosen = BTreeMap::new();
        let mut foreign = None;
        for descriptor in all.into_iter().filter(|descriptor| Kind::of(&descriptor.media_type).is_some()) {
            if descriptor.platform.as_ref().is_some_and(|platform| !self.machine.fits(platform)) {
                foreign = Some(descriptor);
                continue;
            }
            let name = self.name_of(&descriptor).map_err(ImportFault::Name)?;
            chosen.entry(name).or_insert(descriptor);
        }
        match foreign {
            Some(descriptor) if chosen.is_empty() => Err(self.machine.missing(&descriptor.digest)),
            _ => Ok(chosen.into_iter().collect()),
        }
    }

    fn name_of(&self, descriptor: &Descriptor) -> Result<Reference, ReferenceError> {
        let ref_name = descriptor.annotation(REF_NAME);
        if let Some(name) = ref_name.filter(|name| name.contains(['/', ':', '@'])) {
            return Reference::parse(name);
        }
        if let Some(name) = descriptor.annotation(CONTAINERD_NAME) {
            return Reference::parse(name);
        }
        let stem = stem(self.path);
        Reference::parse(&ref_name.map_or(stem.clone(), |tag| format!("{stem}:{tag}")))
    }

    fn offer(&self, name: Reference, top: Descriptor) -> Result<Offer, ImportFault> {
        let (media_type, bytes) = self.read_manifest(&name, top)?;
        let digest = Digest::of(&bytes);
        let shown = digest.to_string();
        let manifest: Manifest = parse(&bytes).map_err(at("manifest", &shown))?;
        let config = config_of(&manifest)?;
        let config_bytes = self.read_document("configuration", config)?;
        let (execution, plans) = describe(&manifest, &shown, &config_bytes, &self.machine)?;
        let layers = plans.into_iter().map(|plan| {
            let shown = plan.digest.to_string();
            let blob = self.find_blob("layer", &shown, plan.size)?;
            let (digest, media_type) = (Some(plan.digest), Some(plan.media_type));
            Ok(Planned { blob, shown, digest, media_type, diff_id: plan.diff_id })
        });
        let layers = layers.collect::<Result<_, ImportFault>>()?;
        let config = (Some(config.media_type.clone()), config_bytes);
        Ok(Offer {
            names: vec![name],
            digest,
            manifest: Some((media_type, bytes)),
            config,
            execution,
            layers,
        })
    }

    /// Follows indexes down to the manifest for this machine: its media type and its bytes.
    fn read_manifest(&self, name: &Reference, mut top: Descriptor) -> Result<(String, Vec<u8>), ImportFault> {
        for _ in 0..MAX_DEPTH {
            let bytes = self.read_document("manifest", &top)?;
            if Kind::of(&top.media_type) != Some(Kind::Index) {
                return Ok((top.media_type, bytes));
            }
            let index: Index = parse(&bytes).map_err(at("index", &top.digest))?;
            top = self.machine.choose(index).ok_or_else(|| self.machine.missing(&name.to_string()))?;
        }
        Err(at("index", &top.digest)(BlobFault::Depth))
    }

    fn read_document(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, ImportFault> {
        let blob = self.find_blob(what, &descriptor.digest, descriptor.size)?;
        let fault = at(what, &descriptor.digest);
        let bytes = blob.read_all(MAX_DOCUMENT).map_err(|error| fault(BlobFault::Read(error)))?;
        let digest = Digest::parse(&descriptor.digest).map_err(|error| fault(error.into()))?;
        // Of the bytes that are used: whoever holds the medium may give others to a second reading.
        match Digest::of(&bytes) {
            actual if actual == digest => Ok(bytes),
            actual => Err(fault(BlobFault::Corrupt(actual))),
        }
    }

    /// A blob of the size that is declared; its digest is checked by who reads it.
    fn find_blob(&self, what: &'static str, digest: &str, size: u64) -> Result<Extent, ImportFault> {
        let fault = at(what, digest);
        let hex = Digest::parse(digest).map_err(|error| fault(error.into()))?.hex();
        match self.source.find(&format!("blobs/sha256/{hex}"))? {
            None => Err(fault(BlobFault::Missing)),
            Some(blob) if blob.len() != size => {
                Err(fault(BlobFault::Size { declared: size, actual: blob.len() }))
            }
            Some(blob) => Ok(blob),
        }
    }

    fn saved(&self, list: &Extent) -> Result<Vec<Saved>, ImportFault> {
        let images: Vec<Saved> =
            parse(&document(list, "manifest.json")?).map_err(at("manifest", "manifest.json"))?;
        if images.is_empty() || images.len() > MAX_IMAGES {
            return Err(ImportFault::Count(images.len()));
        }
        Ok(images)
    }

    fn offer_saved(&self, image: &Saved) -> Result<Offer, ImportFault> {
        let tags = image.repo_tags.as_deref().unwrap_or_default();
        let stem = [stem(self.path)];
        let names = if tags.is_empty() { &stem[..] } else { tags };
        let names: Result<Vec<_>, _> = names.iter().map(|name| Reference::parse(name)).collect();
        let find = |what, name: &str| match self.source.find(name)? {
            Some(blob) => Ok(blob),
            None => Err(at(what, name)(BlobFault::Missing)),
        };
        let fault = at("configuration", &image.config);
        let bytes = find("configuration", &image.config)?.read_all(MAX_DOCUMENT);
        let bytes = bytes.map_err(|error| fault(BlobFault::Read(error)))?;
        let digest = Digest::of(&bytes);
        // The file's name is its digest, in the old form (`HEX.json`) and in the new one (`blobs/sha256/HEX`).
        let name = image.config.rsplit('/').next().unwrap_or_default();
        if Digest::from_hex(name.trim_end_matches(".json")).is_some_and(|named| named != digest) {
            return Err(fault(BlobFault::Corrupt(digest)));
        }
        let config = parse(&bytes).map_err(&fault)?;
        let layers = image.layers.as_deref().unwrap_or_default();
        let list = ("manifest.json", layers.len());
        let (execution, diff_ids) = check_config(config, &image.config, list, &self.machine)?;
        let planned = layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
            let blob = find("layer", layer)?;
            Ok(Planned { blob, shown: layer.clone(), digest: None, media_type: None, diff_id })
        });
        let layers = planned.collect::<Result<_, ImportFault>>()?;
        let names = names.map_err(ImportFault::Name)?;
        Ok(Offer { names, digest, manifest: None, config: (None, bytes), execution, layers })
    }
}
