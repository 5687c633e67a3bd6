//! The units of a bundle as a tar file: node.toml, units and drop-ins, each at its place below /etc/berth.

use std::collections::BTreeMap;

use super::MAX_UNITS;
use super::container;
use super::fault::BundleError;
use crate::extent::Extent;
use crate::tarfile::{End, Entries, Kind, shown};

/// Most texts.
const MAX_TEXTS: usize = 8192;
/// Longest text, bytes.
const MAX_TEXT: u64 = 1 << 20;

/// Whether a text may be there: `node.toml`, `node.d/X.toml`, `units/X.toml`, `units/X.d/Y.toml`.
fn is_place(name: &str) -> bool {
    let is_name = |part: &str| {
        !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
    };
    let is_toml = |part: &str| is_name(part) && part.len() > 5 && part.ends_with(".toml");
    let fits = match name.split('/').collect::<Vec<_>>().as_slice() {
        ["node.toml"] => true,
        ["node.d" | "units", file] => is_toml(file),
        ["units", folder, file] => is_name(folder) && folder.ends_with(".d") && is_toml(file),
        _ => false,
    };
    // A tar header has room for 100 bytes.
    fits && name.len() <= 100
}

fn fault(name: &[u8], why: &'static str) -> BundleError {
    BundleError::Units { name: shown(name), why }
}

/// The tar file of those texts.
pub(super) fn write(texts: &BTreeMap<String, String>) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    let io = |error| BundleError::Io("write", error);
    for (name, text) in texts {
        if !is_place(name) {
            return Err(fault(name.as_bytes(), "has a name that a bundle cannot carry"));
        }
        if text.len() as u64 > MAX_TEXT || texts.len() > MAX_TEXTS {
            return Err(fault(name.as_bytes(), "is too much"));
        }
        container::put(&mut bytes, name, text.len() as u64, &mut text.as_bytes()).map_err(io)?;
    }
    container::end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_UNITS {
        return Err(fault(b"units", "are too much"));
    }
    Ok(bytes)
}

/// The texts of a tar file, by place.
pub(super) fn read(tar: &Extent) -> Result<BTreeMap<String, String>, BundleError> {
    let mut texts = BTreeMap::new();
    for entry in Entries::new(tar.clone(), End::Block) {
        let entry = entry
            .map_err(|error| BundleError::Document { what: "units".to_owned(), why: error.to_string() })?;
        let name = String::from_utf8(entry.path.clone()).unwrap_or_default();
        if entry.kind != Kind::File || !is_place(&name) {
            return Err(fault(&entry.path, "is no place of a unit"));
        }
        if entry.data.len() > MAX_TEXT || texts.len() >= MAX_TEXTS {
            return Err(fault(&entry.path, "is too much"));
        }
        let bytes = entry.data.read_all(MAX_TEXT).map_err(|error| BundleError::Io("read", error))?;
        let text = String::from_utf8(bytes).map_err(|_| fault(&entry.path, "is not UTF-8"))?;
        if texts.insert(name, text).is_some() {
            return Err(fault(&entry.path, "is there twice"));
        }
    }
    Ok(texts)
}
