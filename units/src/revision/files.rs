//! What lies beside the units of a revision: `lock.toml` and `meta.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest;
use crate::Reference;
use crate::spec::{Declared, Unit};

/// `lock.toml`: what the units' references to things outside of them stood for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lock {
    /// Version of the OS.
    pub os: String,
    /// Digests of images by their references in normal form.
    pub images: BTreeMap<String, String>,
}

impl Lock {
    /// Of a set, with the digests that a node has; an image that is not there has none.
    pub fn of(declared: &Declared, os: &str, find: impl Fn(&Reference) -> Option<String>) -> Self {
        let references = declared.units.values().filter_map(Unit::reference);
        let found = references.filter_map(|reference| Some((reference.to_string(), find(reference)?)));
        Self { os: os.to_owned(), images: found.collect() }
    }

    /// What a revision of these files is remembered by.
    pub fn digest<'f>(&'f self, files: impl IntoIterator<Item = (&'f str, &'f str)>) -> String {
        let images = self.images.iter().map(|(image, digest)| (image.as_str(), digest.as_str()));
        digest(files, images, &self.os)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// None that is known of.
    pub fn print(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// `meta.toml`: where a revision comes from. What has become of it since is in [`super::Head`], for this file never
/// changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// `apply`, or `hand`: it was put there.
    pub from: String,
    /// When, by the clock on the wall.
    pub at: String,
    /// What it changes, for people.
    pub why: String,
    /// Hash of its files.
    pub set: String,
    /// What it is remembered by.
    pub digest: String,
}

impl Meta {
    /// Reads the file; of one that cannot be read nothing is known.
    pub fn parse(text: &str) -> Self {
        toml::from_str(text).unwrap_or_default()
    }

    /// The text of the file.
    ///
    /// # Errors
    /// None that is known of.
    pub fn print(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}
