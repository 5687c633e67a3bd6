//! A whole image: manifest, configuration, layers, and into the store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use berth_units::Reference;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::blob::{Context, can_go_elsewhere, fetch};
use super::client::{Endpoint, endpoints, header};
use super::pace::{Throttle, pause, wait};
use super::{News, RegistryError, Settings, Watch};
use crate::depot::{Blob, Candidate, DepotError, Document, Keep, Limits, Writer};
use crate::digest::Digest;
use crate::import::description::{Machine, config_of, describe};
use crate::import::{BlobFault, ImportFault, MAX_DEPTH, MAX_DOCUMENT, at, parse};
use crate::manifest::{Descriptor, Index, Kind, Manifest};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// What to pull.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Which image.
    pub reference: &'a Reference,
    /// Names that it gets in the store.
    pub names: &'a [Reference],
    /// For which machine.
    pub machine: &'a Machine,
    /// How layers are kept.
    pub keep: Keep,
    /// How much may come in.
    pub limits: Limits,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Of its manifest.
    pub digest: Digest,
    /// Whether it was not there yet.
    pub new: bool,
    /// Bytes of the layers that were fetched.
    pub fetched: u64,
}

/// Pulls an image into a store.
pub fn pull(
    writer: &mut Writer<'_>,
    request: &Request<'_>,
    settings: &Settings,
    watch: &dyn Watch,
) -> Result<Pulled, RegistryError> {
    let endpoints = endpoints(request.reference, settings)?;
    let asking = Asking { endpoints: &endpoints, settings, watch };
    let (indexes, manifest) = asking.manifest(request)?;
    asking.judge(request.reference, &indexes.first().unwrap_or(&manifest).digest())?;
    let digest = manifest.digest();
    if writer.has(&digest, request.keep) {
        writer.name(&digest, request.keep, request.names)?;
        return Ok(Pulled { digest, new: false, fetched: 0 });
    }
    let image = asking.candidate(request, indexes, manifest)?;
    let wanted = writer.wants(&image, request.keep);
    let fetched = check_space(writer, &image, &wanted, request.limits)?;
    watch.see(News::Layers(&image.layers, &wanted));
    let (throttle, stop) = (Throttle::new(settings.rate), AtomicBool::new(false));
    let depot = writer.depot;
    let context = Context { depot, endpoints: &endpoints, settings, throttle: &throttle, watch, stop: &stop };
    take(writer, (&image, &wanted), request, &context)?;
    Ok(Pulled { digest, new: true, fetched })
}

/// Fetches with some threads, and takes in what has come, lowest first.
fn take(
    writer: &mut Writer<'_>,
    (image, wanted): (&Candidate, &[bool]),
    request: &Request<'_>,
    context: &Context<'_>,
) -> Result<(), RegistryError> {
    let plans: BTreeMap<_, _> = image.layers.iter().map(|plan| (plan.digest, plan)).collect();
    let mut queue = VecDeque::new();
    for (plan, _) in image.layers.iter().zip(wanted).filter(|(_, wanted)| **wanted) {
        if !queue.contains(&plan.digest) {
            queue.push_back(plan.digest);
        }
    }
    let board = Board { state: Mutex::new((queue, BTreeMap::new())), changed: Condvar::new() };
    let work = || {
        while let Some(plan) = board.next().and_then(|digest| plans.get(&digest)) {
            let stopped = context.stop.load(Ordering::Relaxed);
            let result = if stopped { Err(RegistryError::Stopped) } else { fetch(context, plan) };
            if result.is_err() {
                context.stop.store(true, Ordering::Relaxed);
            }
            board.done(plan.digest, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..context.settings.parallel.clamp(1, 16) {
            scope.spawn(work);
        }
        let mut layer = |number: usize| {
            let Some(plan) = image.layers.get(number) else { return Ok(Blob::Kept) };
            if wanted.get(number) == Some(&true) {
                board.wait(&plan.digest)?;
            } else if context.depot.blob(&plan.digest)?.is_none() {
                fetch(context, plan)?;
            }
            Ok(Blob::Kept)
        };
        let result = writer.admit(image, (request.keep, request.limits), &mut layer);
        if let Err(error) = &result {
            context.stop.store(true, Ordering::Relaxed);
            if let RegistryError::Depot(DepotError::Image(_)) | RegistryError::Image(_) = error {
                // What is refused today is refused tomorrow: it need not lie here until then.
                writer.forget_blobs(image)?;
            }
        }
        // The first cause is the one to be told.
        match (result, board.first_fault()) {
            (Err(RegistryError::Stopped), Some(fault)) => Err(fault),
            (result, _) => result,
        }
    })
}

/// Blobs that are to be fetched, and those that are done, with how it ended.
type State = (VecDeque<Digest>, BTreeMap<Digest, Result<(), RegistryError>>);

struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

impl Board {
    fn next(&self) -> Option<Digest> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.pop_front()
    }

    fn done(&self, digest: Digest, result: Result<(), RegistryError>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1.insert(digest, result);
        self.changed.notify_all();
    }

    /// Waits until a blob is there, or has failed.
    fn wait(&self, digest: &Digest) -> Result<(), RegistryError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |state: &mut State| !state.1.contains_key(digest);
        let mut state = self.changed.wait_while(state, is_open).unwrap_or_else(PoisonError::into_inner);
        match state.1.get(digest) {
            Some(Ok(())) | None => Ok(()),
            Some(Err(_)) => state.1.insert(*digest, Err(RegistryError::Stopped)).unwrap_or(Ok(())),
        }
    }

    /// A failure that is a cause and no consequence.
    fn first_fault(&self) -> Option<RegistryError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let results = std::mem::take(&mut state.1);
        let mut faults = results.into_values().filter_map(Result::err);
        faults.find(|fault| !matches!(fault, RegistryError::Stopped))
    }
}

/// Says how much is missing before anything is fetched; returns the bytes that are to be fetched.
fn check_space(
    writer: &Writer<'_>,
    image: &Candidate,
    wanted: &[bool],
    limits: Limits,
) -> Result<u64, RegistryError> {
    let depot = writer.depot;
    let mut sizes: BTreeMap<Digest, u64> = BTreeMap::new();
    for (plan, _) in image.layers.iter().zip(wanted).filter(|(_, wanted)| **wanted) {
        if plan.size > limits.unpacked {
            let fault = BlobFault::Unpack(crate::compression::UnpackError::TooLarge(limits.unpacked));
            return Err(at("layer", &plan.digest.to_string())(fault).into());
        }
        let here = std::fs::metadata(depot.partial_path(&plan.digest)).map_or(0, |found| found.len());
        sizes.insert(plan.digest, plan.size.saturating_sub(here));
    }
    let needed = sizes.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
    let free = depot.free()?;
    if needed.saturating_add(limits.reserve) > free {
        let (path, reserve) = (depot.root().to_owned(), limits.reserve);
        let what = "the layers as they are fetched".to_owned();
        return Err(DepotError::Space { path, what, needed, free, reserve }.into());
    }
    Ok(needed)
}

/// What tells an index from a manifest, whatever the registry calls it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peek {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
}

/// Documents of an image.
pub(super) struct Asking<'a> {
    endpoints: &'a [Endpoint],
    pub(super) settings: &'a Settings,
    watch: &'a dyn Watch,
}

impl Asking<'_> {
    /// Follows indexes down to the manifest for the machine: the indexes, and the manifest.
    fn manifest(&self, request: &Request<'_>) -> Result<(Vec<Document>, Document), RegistryError> {
        let reference = request.reference;
        let top = reference.digest().or(reference.tag()).unwrap_or("latest").to_owned();
        let (mut name, mut size, mut indexes) = (top, None, Vec::new());
        for _ in 0..MAX_DEPTH {
            let document = self.document(&format!("manifests/{name}"), &name, size)?;
            let digest = document.digest().to_string();
            if Kind::of(&document.media_type) != Some(Kind::Index) {
                return Ok((indexes, document));
            }
            let index: Index = parse(&document.bytes).map_err(at("index", &digest))?;
            let missing = || request.machine.missing(&reference.to_string());
            let Descriptor { digest, size: bytes, .. } = request.machine.choose(index).ok_or_else(missing)?;
            Digest::parse(&digest).map_err(|error| at("manifest", &digest)(error.into()))?;
            (name, size) = (digest, Some(bytes));
            indexes.push(document);
        }
        Err(at("index", &name)(BlobFault::Depth).into())
    }

    fn candidate(
        &self,
        request: &Request<'_>,
        indexes: Vec<Document>,
        manifest: Document,
    ) -> Result<Candidate, RegistryError> {
        let shown = manifest.digest().to_string();
        let parsed: Manifest = parse(&manifest.bytes).map_err(at("manifest", &shown))?;
        let descriptor = config_of(&parsed)?;
        let name = &descriptor.digest;
        Digest::parse(name).map_err(|error| at("configuration", name)(error.into()))?;
        let bytes = self.bytes(&format!("blobs/{name}"), name, Some(descriptor.size))?.0;
        let config = Document { media_type: descriptor.media_type.clone(), bytes };
        let (execution, layers) = describe(&parsed, &shown, &config.bytes, request.machine)?;
        Ok(Candidate { names: request.names.to_vec(), manifest, config, indexes, execution, layers })
    }

    /// A manifest or an index: what it is, checked against what it says itself.
    fn document(&self, path: &str, name: &str, size: Option<u64>) -> Result<Document, RegistryError> {
        let (bytes, declared) = self.bytes(path, name, size)?;
        let fault = |fault| RegistryError::from(at("manifest", name)(fault));
        let peek: Peek = parse(&bytes).map_err(fault)?;
        let media_type = peek.media_type.clone().or(declared.clone()).unwrap_or_default();
        let kind = Kind::of(&media_type);
        // What one reader takes for an index and another one for an image is neither.
        let ambiguous = peek.manifests.is_some() && (peek.layers.is_some() || peek.config.is_some());
        let shape = match kind {
            Some(Kind::Index) => peek.manifests.is_some(),
            Some(Kind::Manifest) => peek.config.is_some(),
            None => false,
        };
        let contradicts =
            declared.as_deref().and_then(Kind::of).is_some_and(|declared| Some(declared) != kind);
        if ambiguous || !shape || contradicts {
            return Err(fault(BlobFault::MediaType(media_type.chars().take(200).collect())));
        }
        Ok(Document { media_type, bytes })
    }

    /// A small blob whole, from the first endpoint that has it; its size and digest checked where they are known.
    pub(super) fn bytes(
        &self,
        path: &str,
        name: &str,
        size: Option<u64>,
    ) -> Result<(Vec<u8>, Option<String>), RegistryError> {
        let what = if path.starts_with("manifests/") { "manifest" } else { "configuration" };
        if let Some(size) = size.filter(|size| *size > MAX_DOCUMENT) {
            return Err(at(what, name)(BlobFault::Size { declared: size, actual: MAX_DOCUMENT }).into());
        }
        let mut last = RegistryError::Stopped;
        for endpoint in self.endpoints {
            match self.insist(endpoint, path) {
                Err(error) if can_go_elsewhere(&error) => last = error,
                Err(error) => return Err(error),
                Ok((bytes, declared)) => match check(what, name, size, &bytes) {
                    Ok(()) => return Ok((bytes, declared)),
                    Err(fault) => last = fault.into(),
                },
            }
        }
        Err(last)
    }

    /// Some attempts at one endpoint.
    fn insist(&self, endpoint: &Endpoint, path: &str) -> Result<(Vec<u8>, Option<String>), RegistryError> {
        let mut number = 0;
        loop {
            let result = read(endpoint, path);
            let Err(error) = result else { return result };
            number += 1;
            if !error.is_temporary() || number >= self.settings.tries {
                return Err(error);
            }
            let wait = wait(number, error.retry_after());
            self.watch.see(News::Again { what: path, wait, why: &error });
            pause(wait, &AtomicBool::new(false));
        }
    }
}

/// Reads an answer to its end, which has to come soon.
fn read(endpoint: &Endpoint, path: &str) -> Result<(Vec<u8>, Option<String>), RegistryError> {
    let mut response = endpoint.get(path, &[("accept", ACCEPT)])?;
    let declared = header(&response, "content-type")
        .map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
    let bytes = endpoint.read_soon(&mut response, MAX_DOCUMENT + 1)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(endpoint.protocol(format!("{path} is longer than {} MiB", MAX_DOCUMENT >> 20)));
    }
    Ok((bytes, declared))
}

fn check(what: &'static str, name: &str, size: Option<u64>, bytes: &[u8]) -> Result<(), ImportFault> {
    let actual = bytes.len() as u64;
    if let Some(declared) = size.filter(|size| *size != actual) {
        return Err(at(what, name)(BlobFault::Size { declared, actual }));
    }
    match Digest::parse(name) {
        Ok(digest) if digest != Digest::of(bytes) => {
            Err(at(what, name)(BlobFault::Corrupt(Digest::of(bytes))))
        }
        _ => Ok(()),
    }
}
