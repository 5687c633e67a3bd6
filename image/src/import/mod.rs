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

mod fault;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use berth_units::Reference;
use berth_units::reference::ReferenceError;
use berth_units::wire::image::ImageConfig;

use crate::archive::Source;
use crate::compression::{UnpackError, unpack};
use crate::digest::{Digest, Hashing};
use crate::extent::{Extent, spool};
use crate::layer::Layer;
use crate::manifest::{self, Config, Descriptor, Index, Kind, Manifest, Platform, Saved};
use crate::store::{Image, Store};

pub use fault::{BlobFault, ImportError, ImportFault};

/// Longest manifest, index or configuration, bytes.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Most layers of an image.
const MAX_LAYERS: usize = 512;
/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 4;
/// Most images of one source.
const MAX_IMAGES: usize = 1024;

/// Most memory for the layers of one source, about: a layer has a bound of its own, and a source has many.
const MAX_MEMORY: usize = 1 << 30;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

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
    let source = Source::open(path, options.spool, options.limit)
        .map_err(|error| fault(ImportFault::Archive(error)))?;
    let mut import = Import {
        source,
        path,
        options,
        staged: Store::default(),
        checked: BTreeSet::new(),
        left: options.limit,
        memory: MAX_MEMORY,
    };
    import.run(store).map_err(fault)?;
    store.images.extend(import.staged.images);
    store.layers.extend(import.staged.layers);
    Ok(())
}

/// One source on its way in.
struct Import<'a> {
    source: Source,
    path: &'a Path,
    options: &'a Options<'a>,
    staged: Store,
    /// Layers that have been unpacked and checked, by blob and diff_id.
    checked: BTreeSet<(String, Digest)>,
    /// Bytes that may still be unpacked.
    left: u64,
    /// Bytes of memory that layers may still take.
    memory: usize,
}

/// A layer before it is read: which blob, what it is called in messages, what it unpacks to.
struct Planned {
    blob: Extent,
    shown: String,
    diff_id: Digest,
}

impl Import<'_> {
    fn run(&mut self, store: &Store) -> Result<(), ImportFault> {
        if let Some(index) = self.source.find("index.json")? {
            return self.import_layout(&index, store);
        }
        match self.source.find("manifest.json")? {
            Some(list) => self.import_saved(&list, store),
            None => Err(ImportFault::Unknown),
        }
    }

    fn import_layout(&mut self, index: &Extent, store: &Store) -> Result<(), ImportFault> {
        let index: Index = parse(&document(index, "index.json")?).map_err(at("index", "index.json"))?;
        let images = self.choose(index.manifests.unwrap_or_default())?;
        if images.is_empty() || images.len() > MAX_IMAGES {
            return Err(ImportFault::Count(images.len()));
        }
        for (name, descriptor) in images {
            let (digest, manifest) = self.read_manifest(&name, descriptor)?;
            let (config, layers) = self.plan_layout_image(&digest, &manifest)?;
            self.take(store, vec![name], digest, (config, layers))?;
        }
        Ok(())
    }

    /// Names the images of the top index, and drops those for other machines where one for this one exists.
    fn choose(&self, all: Vec<Descriptor>) -> Result<Vec<(Reference, Descriptor)>, ImportFault> {
        let mut chosen = BTreeMap::new();
        let mut foreign = None;
        for descriptor in all.into_iter().filter(|descriptor| Kind::of(&descriptor.media_type).is_some()) {
            if descriptor.platform.as_ref().is_some_and(|platform| !self.fits(platform)) {
                foreign = Some(descriptor);
                continue;
            }
            let name = self.name_of(&descriptor).map_err(ImportFault::Name)?;
            chosen.entry(name).or_insert(descriptor);
        }
        match foreign {
            Some(descriptor) if chosen.is_empty() => Err(self.no_platform(&descriptor.digest)),
            _ => Ok(chosen.into_iter().collect()),
        }
    }

    fn fits(&self, platform: &Platform) -> bool {
        platform.os == "linux" && platform.architecture == self.options.architecture
    }

    fn no_platform(&self, name: &str) -> ImportFault {
        let architecture = self.options.architecture.to_owned();
        ImportFault::Platform { name: name.chars().take(200).collect(), architecture }
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

    /// Follows indexes down to the manifest for this machine.
    fn read_manifest(
        &self,
        name: &Reference,
        mut descriptor: Descriptor,
    ) -> Result<(Digest, Manifest), ImportFault> {
        for _ in 0..MAX_DEPTH {
            let bytes = self.read_document("manifest", &descriptor)?;
            if Kind::of(&descriptor.media_type) != Some(Kind::Index) {
                let digest = Digest::of(&bytes);
                return Ok((digest, parse(&bytes).map_err(at("manifest", &descriptor.digest))?));
            }
            let index: Index = parse(&bytes).map_err(at("index", &descriptor.digest))?;
            descriptor = self.choose_platform(index).ok_or_else(|| self.no_platform(&name.to_string()))?;
        }
        Err(at("index", &descriptor.digest)(BlobFault::Depth))
    }

    /// The first image that fits, one without a variant before others; what has no platform comes last.
    fn choose_platform(&self, index: Index) -> Option<Descriptor> {
        let candidates = index.manifests.unwrap_or_default().into_iter();
        let known = candidates.filter(|descriptor| Kind::of(&descriptor.media_type).is_some());
        known
            .filter_map(|descriptor| {
                let rank = match &descriptor.platform {
                    Some(platform) if !self.fits(platform) => return None,
                    Some(platform) => u8::from(platform.variant.is_some()),
                    None => 2,
                };
                Some((rank, descriptor))
            })
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, descriptor)| descriptor)
    }

    fn read_document(&self, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, ImportFault> {
        let blob = self.find_blob(what, descriptor)?;
        blob.read_all(MAX_DOCUMENT).map_err(BlobFault::Read).map_err(at(what, &descriptor.digest))
    }

    /// A blob, after its size and its digest have been checked.
    fn find_blob(&self, what: &'static str, descriptor: &Descriptor) -> Result<Extent, ImportFault> {
        let fault = at(what, &descriptor.digest);
        let digest = match Digest::parse(&descriptor.digest) {
            Ok(digest) => digest,
            Err(error) => return Err(fault(error.into())),
        };
        let Some(blob) = self.source.find(&format!("blobs/sha256/{}", digest.hex()))? else {
            return Err(fault(BlobFault::Missing));
        };
        if blob.len() != descriptor.size {
            return Err(fault(BlobFault::Size { declared: descriptor.size, actual: blob.len() }));
        }
        check_digest(&blob, digest).map_err(fault)?;
        Ok(blob)
    }

    fn plan_layout_image(
        &self,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<(ImageConfig, Vec<Planned>), ImportFault> {
        let shown = digest.to_string();
        if !manifest::is_config(&manifest.config.media_type) {
            let fault = BlobFault::MediaType(manifest.config.media_type.chars().take(200).collect());
            return Err(at("configuration", &manifest.config.digest)(fault));
        }
        let config = self.read_document("configuration", &manifest.config)?;
        let config: Config = parse(&config).map_err(at("configuration", &manifest.config.digest))?;
        let config_shown = manifest.config.digest.clone();
        let layers = manifest.layers.as_deref().unwrap_or_default();
        let (config, diff_ids) = self.check_config(config, &config_shown, (&shown, layers.len()))?;
        let planned = layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
            if !manifest::is_layer(&layer.media_type) {
                let fault = BlobFault::MediaType(layer.media_type.chars().take(200).collect());
                return Err(at("layer", &layer.digest)(fault));
            }
            let blob = self.find_blob("layer", layer)?;
            Ok(Planned { blob, shown: layer.digest.clone(), diff_id })
        });
        Ok((config, planned.collect::<Result<_, _>>()?))
    }

    /// Checks a configuration against this machine and against the layers of `list`; gives the digests.
    fn check_config(
        &self,
        config: Config,
        shown: &str,
        list: (&str, usize),
    ) -> Result<(ImageConfig, Vec<Digest>), ImportFault> {
        let fault = at("configuration", shown);
        let platform = Platform { architecture: config.architecture, os: config.os, variant: None };
        if !self.fits(&platform) {
            let Platform { os, architecture, .. } = platform;
            let wanted = self.options.architecture.to_owned();
            return Err(fault(BlobFault::Platform { os, architecture, wanted }));
        }
        let texts = config.rootfs.diff_ids.unwrap_or_default();
        if texts.len() > MAX_LAYERS {
            return Err(fault(BlobFault::TooManyLayers(texts.len())));
        }
        if texts.len() != list.1 {
            let counts = BlobFault::Layers { layers: list.1, diff_ids: texts.len() };
            return Err(at("manifest", list.0)(counts));
        }
        let diff_ids: Result<Vec<_>, _> = texts.iter().map(|text| Digest::parse(text)).collect();
        Ok((config.config.unwrap_or_default().into(), diff_ids.map_err(|error| fault(error.into()))?))
    }

    fn import_saved(&mut self, list: &Extent, store: &Store) -> Result<(), ImportFault> {
        let images: Vec<Saved> =
            parse(&document(list, "manifest.json")?).map_err(at("manifest", "manifest.json"))?;
        if images.is_empty() || images.len() > MAX_IMAGES {
            return Err(ImportFault::Count(images.len()));
        }
        for image in images {
            let tags = image.repo_tags.as_deref().unwrap_or_default();
            let stem = [stem(self.path)];
            let names = if tags.is_empty() { &stem[..] } else { tags };
            let names: Result<Vec<_>, _> = names.iter().map(|name| Reference::parse(name)).collect();
            let (digest, config, layers) = self.plan_saved_image(&image)?;
            self.take(store, names.map_err(ImportFault::Name)?, digest, (config, layers))?;
        }
        Ok(())
    }

    fn plan_saved_image(&self, image: &Saved) -> Result<(Digest, ImageConfig, Vec<Planned>), ImportFault> {
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
        let config: Config = parse(&bytes).map_err(&fault)?;
        let layers = image.layers.as_deref().unwrap_or_default();
        let (config, diff_ids) = self.check_config(config, &image.config, ("manifest.json", layers.len()))?;
        let planned = layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
            Ok(Planned { blob: find("layer", layer)?, shown: layer.clone(), diff_id })
        });
        Ok((digest, config, planned.collect::<Result<_, ImportFault>>()?))
    }

    /// Reads the layers that are new and stages the image under its names.
    fn take(
        &mut self,
        store: &Store,
        names: Vec<Reference>,
        digest: Digest,
        (config, planned): (ImageConfig, Vec<Planned>),
    ) -> Result<(), ImportFault> {
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
fn at<'a>(what: &'static str, blob: &'a str) -> impl Fn(BlobFault) -> ImportFault + use<'a> {
    move |source| ImportFault::Blob { what, blob: blob.chars().take(200).collect(), source }
}

fn document(extent: &Extent, name: &'static str) -> Result<Vec<u8>, ImportFault> {
    extent.read_all(MAX_DOCUMENT).map_err(BlobFault::Read).map_err(at("document", name))
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, BlobFault> {
    serde_json::from_slice(bytes).map_err(BlobFault::Json)
}

fn check_digest(blob: &Extent, digest: Digest) -> Result<(), BlobFault> {
    let mut reader = Hashing::new(blob.reader());
    std::io::copy(&mut reader, &mut std::io::sink()).map_err(BlobFault::Read)?;
    match reader.finish() {
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
