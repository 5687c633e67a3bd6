//! Who made an image or a bundle: signatures, the keys that are trusted, and the judgement.
//!
//! - [`minisign`]: ed25519 keys and signatures in minisign's files, for bundles.
//! - [`cosign`]: ECDSA P-256 keys and the payloads that `cosign sign --key` signs, for images.
//! - [`policy`]: which keys must have signed what, by registry and repository; a file of the user's.
//! - [`gather`]: where the signatures of an image lie in a registry.
//!
//! Nothing is read from a payload before a trusted key is known to have signed it. Nothing here speaks with a
//! registry or touches a disk.

pub mod cosign;
pub mod gather;
pub mod minisign;
pub mod policy;

pub use cosign::Signature;
pub use gather::{Fetch, gather};
pub use policy::{Accepted, Policy, PolicyError, Refused, Why};

#[cfg(test)]
mod tests;
