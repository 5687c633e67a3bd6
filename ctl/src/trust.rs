//! Policies and keys from files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use berth_image::signature::Policy;
use berth_image::signature::minisign::{MAX_FILE, PublicKey, SecretKey};
use berth_image::signature::policy::MAX_POLICY;

use crate::failure::{Cannot, Failure};

#[derive(Debug, thiserror::Error)]
#[error("'{path}' cannot be used")]
struct Unusable {
    path: String,
    #[source]
    source: Box<dyn std::error::Error>,
}

fn unusable(path: &Path, error: impl Into<Box<dyn std::error::Error>>) -> Failure {
    Failure::input(Unusable { path: path.display().to_string(), source: error.into() })
}

/// The policy of a file; its keys' files are beside it.
pub fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let text = read(path, MAX_POLICY).map_err(|error| Failure::input(Cannot::at("read", path)(error)))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let policy = Policy::parse(&text, &mut |name| read(&folder.join(name), MAX_FILE));
    policy.map_err(|error| unusable(path, error))
}

/// The secret key of a file.
pub fn read_secret(path: &Path) -> Result<SecretKey, Failure> {
    let text = read(path, MAX_FILE).map_err(|error| Failure::input(Cannot::at("read", path)(error)))?;
    SecretKey::parse(&text).map_err(|error| unusable(path, error))
}

/// A public key: its line, or its file.
pub fn read_public(text: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = PublicKey::parse(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    let text = read(path, MAX_FILE).map_err(|error| Failure::input(Cannot::at("read", path)(error)))?;
    PublicKey::parse(&text).map_err(|error| unusable(path, error))
}

fn read(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}
