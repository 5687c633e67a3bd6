//! `index.json` of a bundle.

use std::collections::BTreeSet;

use berth_units::Reference;
use serde::{Deserialize, Serialize};

use super::fault::BundleError;
use super::{INDEX_NAME, MAX_ENTRIES, OS, UNITS};
use crate::digest::Digest;
use crate::manifest::Kind;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Names>,
}

/// Whole names, as podman, skopeo and containerd look for them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    #[serde(rename = "io.containerd.image.name")]
    containerd: String,
    #[serde(rename = "org.opencontainers.image.ref.name")]
    oci: String,
}

/// One thing that the index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is: [`UNITS`], [`OS`] or an image's manifest.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Of an image.
    pub name: Option<Reference>,
}

/// The index of those entries.
pub(super) fn index(entries: &[Entry]) -> Result<Vec<u8>, BundleError> {
    let line = |entry: &Entry| Line {
        media_type: entry.media_type.clone(),
        digest: entry.digest.to_string(),
        size: entry.size,
        annotations: entry
            .name
            .as_ref()
            .map(|name| Names { containerd: name.to_string(), oci: name.to_string() }),
    };
    let manifests = entries.iter().map(line).collect();
    serde_json::to_vec(&Document { schema_version: 2, media_type: INDEX.to_owned(), manifests })
        .map_err(|error| fault(&error.to_string()))
}

fn fault(why: &str) -> BundleError {
    BundleError::Document { what: INDEX_NAME.to_owned(), why: why.chars().take(200).collect() }
}

/// Reads an index: one blob of units, at most one OS, and images of different names.
pub fn parse_index(bytes: &[u8]) -> Result<Vec<Entry>, BundleError> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| fault(&error.to_string()))?;
    if document.schema_version != 2 || document.media_type != INDEX {
        return Err(fault("it is not an OCI index"));
    }
    if document.manifests.len() > MAX_ENTRIES {
        return Err(fault("it names too much"));
    }
    let (mut entries, mut seen) = (Vec::new(), BTreeSet::new());
    for line in document.manifests {
        let entry = line.entry()?;
        let key = entry.name.as_ref().map_or_else(|| entry.media_type.clone(), Reference::to_string);
        if !seen.insert(key.clone()) {
            return Err(BundleError::Twice(key));
        }
        entries.push(entry);
    }
    if !seen.contains(UNITS) {
        return Err(fault("it names no units"));
    }
    Ok(entries)
}

impl Line {
    fn entry(self) -> Result<Entry, BundleError> {
        let digest = Digest::parse(&self.digest).map_err(|error| fault(&error.to_string()))?;
        let is_image = Kind::of(&self.media_type) == Some(Kind::Manifest);
        let name = match self.annotations {
            Some(names) if is_image && names.oci == names.containerd => {
                let name = Reference::parse(&names.oci).map_err(|error| fault(&error.to_string()))?;
                Some(name).filter(|name| name.to_string() == names.oci)
            }
            None if self.media_type == UNITS || self.media_type == OS => {
                return Ok(Entry { media_type: self.media_type, digest, size: self.size, name: None });
            }
            _ => None,
        };
        match name {
            Some(_) => Ok(Entry { media_type: self.media_type, digest, size: self.size, name }),
            None => Err(fault("it names something that is neither units nor an OS nor an image with a name")),
        }
    }
}
