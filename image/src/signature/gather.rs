//! Where the signatures of an image lie: the tag `sha256-HEX.sig` beside it, and the referrers of its manifest (OCI
//! distribution-spec 1.1). Both hold a manifest whose layers are payloads, the signature in an annotation.
//!
//! What is not such a manifest is passed over: it adds no signature, so nothing is believed by it.

use berth_units::Reference;
use serde::Deserialize;

use super::cosign::{MAX_PAYLOAD, Signature};
use crate::digest::Digest;
use crate::manifest::{Descriptor, Index, Kind, Manifest};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// Most manifests of signatures that are looked at.
const MAX_MANIFESTS: usize = 16;
/// Most signatures of an image.
const MAX_SIGNATURES: usize = 64;
/// Longest manifest or list of referrers, bytes.
pub const MAX_DOCUMENT: u64 = 1 << 20;

/// Asks the registry of one repository. What is not there is none and no error; an answer beyond `limit` bytes is.
pub trait Fetch {
    /// Why it could not be asked.
    type Error;
    /// A manifest by its tag or digest.
    fn manifest(&mut self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Self::Error>;
    /// `/referrers/DIGEST`; none also where the registry does not know the question.
    fn referrers(&mut self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Self::Error>;
    /// A blob.
    fn blob(&mut self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// The tag of a manifest's signatures.
pub fn tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// All signatures of a manifest, up to a bound.
pub fn gather<F: Fetch>(fetch: &mut F, digest: &Digest) -> Result<Vec<Signature>, F::Error> {
    let mut found = Vec::new();
    if let Some(bytes) = fetch.manifest(&tag(digest), MAX_DOCUMENT)? {
        take(fetch, &bytes, &mut found)?;
    }
    let referrers = fetch.referrers(digest, MAX_DOCUMENT)?;
    for name in referrers.iter().flat_map(|bytes| signers(bytes)).take(MAX_MANIFESTS) {
        // A list of referrers is not covered by any digest, what it names is.
        let bytes = fetch.manifest(&name.to_string(), MAX_DOCUMENT)?;
        if let Some(bytes) = bytes.filter(|bytes| Digest::of(bytes) == name) {
            take(fetch, &bytes, &mut found)?;
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kinds {
    manifests: Vec<ArtifactType>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactType {
    artifact_type: Option<String>,
}

/// Of a list of referrers, those that are signatures.
fn signers(bytes: &[u8]) -> Vec<Digest> {
    let parsed =
        || Some((serde_json::from_slice::<Index>(bytes).ok()?, serde_json::from_slice::<Kinds>(bytes).ok()?));
    let Some((index, kinds)) = parsed() else { return Vec::new() };
    let manifests = index.manifests.unwrap_or_default().into_iter().zip(kinds.manifests);
    let is_signer = |(manifest, kind): &(Descriptor, ArtifactType)| {
        Kind::of(&manifest.media_type) == Some(Kind::Manifest)
            && kind.artifact_type.as_deref() == Some(ARTIFACT)
    };
    manifests.filter(is_signer).filter_map(|(manifest, _)| Digest::parse(&manifest.digest).ok()).collect()
}

/// Payloads that a manifest describes, with their signatures.
pub fn described(manifest: &[u8]) -> Vec<(Digest, String)> {
    let Ok(Manifest { layers, .. }) = serde_json::from_slice(manifest) else { return Vec::new() };
    let payload = |layer: &Descriptor| {
        let fair = layer.media_type == PAYLOAD && layer.size <= MAX_PAYLOAD;
        let signature = layer.annotation(ANNOTATION).filter(|_| fair)?;
        Some((Digest::parse(&layer.digest).ok()?, signature.to_owned()))
    };
    layers.unwrap_or_default().iter().filter_map(payload).take(MAX_SIGNATURES).collect()
}

fn take<F: Fetch>(fetch: &mut F, manifest: &[u8], found: &mut Vec<Signature>) -> Result<(), F::Error> {
    for (digest, signature) in described(manifest) {
        if found.len() >= MAX_SIGNATURES {
            break;
        }
        let payload = fetch.blob(&digest, MAX_PAYLOAD)?.filter(|bytes| Digest::of(bytes) == digest);
        found.extend(payload.and_then(|payload| Signature::new(payload, &signature)));
    }
    Ok(())
}

/// `registry/repository` of a reference: the name that signatures and policies know it by, whatever mirror it came
/// from.
pub(crate) fn name_of(reference: &Reference) -> String {
    format!("{}/{}", reference.registry(), reference.repository())
}
