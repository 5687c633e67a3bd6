//! What the supervisor writes down before it takes the next step: one small file a unit in RAM.
//!
//! A record is replaced by rename, so that a supervisor killed at any instant leaves the old one or the new one.
//! RAM is enough: a record speaks of processes, and those do not outlive the kernel.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error;

/// Records of the node as a whole.
pub const RUN_DIR: &str = "/run/berth";
/// Records of units.
pub const UNITS_DIR: &str = "/run/berth/units";
/// Records of our own processes.
pub const DAEMONS_DIR: &str = "/run/berth/daemons";

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write '{path}'")]
pub struct Error {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Writes `value` as `dir/name.json`, whole or not at all. `durable`: also against a power cut.
pub fn write(dir: &Path, name: &str, value: &impl Serialize, durable: bool) -> Result<(), Error> {
    let path = dir.join(format!("{name}.json"));
    write_at(dir, &path, value, durable).map_err(|source| Error { path, source })
}

fn write_at(dir: &Path, path: &Path, value: &impl Serialize, durable: bool) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    replace(&path.with_extension("tmp"), path, &serde_json::to_vec(value)?, durable)
}

/// Puts a file in the place of another one, whole or not at all; `temporary` is its name until then, in the same
/// directory. `durable`: also against a power cut.
pub fn replace(temporary: &Path, path: &Path, bytes: &[u8], durable: bool) -> std::io::Result<()> {
    let mut file = fs::File::create(temporary)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(temporary, path)?;
    match path.parent().filter(|_| durable) {
        Some(dir) => fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads one record; `None` when there is none, or none that can be read (which is said).
pub fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Option<T> {
    let path = dir.join(format!("{name}.json"));
    let bytes = fs::read(&path).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            error!("cannot read '{}': {error}; ignoring it", path.display());
            None
        }
    }
}

/// The names of all records of a directory.
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let file_names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    file_names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect()
}

/// Removes a record; one that is not there is removed already.
pub fn remove(dir: &Path, name: &str) {
    drop(fs::remove_file(dir.join(format!("{name}.json"))));
}
