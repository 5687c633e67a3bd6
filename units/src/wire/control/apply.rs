//! Apply: another unit set, whole or not at all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::net::fnv;
use crate::change::KeyChange;
use crate::spec::Node;

/// Parameters of Apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Apply {
    /// Texts by their place below the folder of units: `web.toml`, `web.d/10-site.toml`.
    pub files: BTreeMap<String, String>,
    /// What the client's node.toml says, to be compared: the node's own comes with its OS image.
    #[serde(default)]
    pub node: Option<Node>,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Even if it has failed before.
    #[serde(default)]
    pub again: bool,
}

/// The answer to Apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Tells this set from others; `set` of the node's status once it is in force.
    pub set: String,
    /// Whether it has been put in its place, or was there.
    pub applied: bool,
    /// Its number; of one that is only looked at, that of the revision in force.
    #[serde(default)]
    pub revision: u64,
    /// Each unit, network and volume of both sets.
    pub changes: Vec<Change>,
    /// Keys of node.toml in which the client's differs from the node's.
    #[serde(default)]
    pub node: Vec<String>,
}

/// What becomes of one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub unit: String,
    /// `container`, `service`, `network` or `volume`.
    pub kind: String,
    /// What is done.
    #[serde(rename = "action")]
    pub deed: Deed,
    /// Because of these keys.
    #[serde(default)]
    pub keys: Vec<KeyChange>,
    /// The process that it has now, by which the next one is told from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Or because of something else, for people.
    #[serde(default)]
    pub why: Option<String>,
}

/// What is done with one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// It comes into being.
    Create,
    /// Its process is stopped, and another one started.
    Recreate,
    /// Changed in place.
    Update,
    /// Stopped.
    Stop,
    /// Left alone.
    None,
}

/// Why a text cannot be a file of a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no place of a unit file: NAME.toml or NAME.d/NAME.toml")]
pub struct PlaceError(pub String);

/// Whether a file of a set may lie there: nothing that leads elsewhere.
pub fn check_place(place: &str) -> Result<(), PlaceError> {
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        !name.starts_with('.') && name.len() <= 200 && name.chars().all(plain)
    };
    let fits = match place.split_once('/') {
        None => is_name(place) && place != "node.toml",
        Some((folder, file)) => is_name(folder) && folder.ends_with(".d") && is_name(file),
    };
    if fits && place.ends_with(".toml") { Ok(()) } else { Err(PlaceError(place.to_owned())) }
}

/// Tells one set from another.
pub fn set_hash<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> String {
    let parts: Vec<&str> = files.into_iter().flat_map(|(place, text)| [place, text]).collect();
    format!("{:016x}", fnv(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_leads_elsewhere() {
        for good in ["web.toml", "web@.toml", "web.d/10-site.toml", "_all.d/x.toml"] {
            assert_eq!(check_place(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ".toml",
            "../web.toml",
            "/web.toml",
            "web",
            "a/web.toml",
            "a.d/b.d/c.toml",
            "..d/x.toml",
            "a.d/../x.toml",
            "a.d/.x.toml",
            "a\0.toml",
            "a b.toml",
            "node.toml",
        ] {
            assert!(check_place(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sets_are_told_apart() {
        assert_ne!(set_hash([("a.toml", "x")]), set_hash([("a.toml", "y")]));
        assert_ne!(set_hash([("a.toml", "x")]), set_hash([("b.toml", "x")]));
        assert_eq!(set_hash([("a.toml", "x")]), set_hash([("a.toml", "x")]));
    }
}
