//! Signatures of an image, asked for and judged before anything of it is unpacked.

use berth_units::Reference;

use super::RegistryError;
use super::pull::Asking;
use crate::digest::Digest;
use crate::signature::{Fetch, gather};

type Answer = Result<Option<Vec<u8>>, RegistryError>;

impl Asking<'_> {
    /// Whether the policy takes the image: `digest` is what its reference leads to.
    pub(super) fn judge(&self, reference: &Reference, digest: &Digest) -> Result<(), RegistryError> {
        let policy = &self.settings.policy;
        let signatures = match policy.needs_signatures(reference) {
            true => gather(&mut &*self, digest)?,
            false => Vec::new(),
        };
        policy.judge(reference, digest, &signatures)?;
        Ok(())
    }

    fn ask(&self, path: &str, name: &str, limit: u64) -> Answer {
        match self.bytes(path, name, None) {
            // What is too long to be a signature is none.
            Ok((bytes, _)) => Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= limit)),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Fetch for &Asking<'_> {
    type Error = RegistryError;

    fn manifest(&mut self, name: &str, limit: u64) -> Answer {
        self.ask(&format!("manifests/{name}"), name, limit)
    }

    fn referrers(&mut self, digest: &Digest, limit: u64) -> Answer {
        match self.ask(&format!("referrers/{digest}"), "referrers", limit) {
            // Older registries do not know the question, each in its own way.
            Err(RegistryError::Status { status: 400..=499, .. }) => Ok(None),
            answer => answer,
        }
    }

    fn blob(&mut self, digest: &Digest, limit: u64) -> Answer {
        self.ask(&format!("blobs/{digest}"), &digest.to_string(), limit)
    }
}
