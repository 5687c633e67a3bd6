//! Bundles: units, their images and maybe an OS in one signed file.
//!
//! A bundle is an oci-archive (an OCI image layout in a tar file) that skopeo and podman read as one. Its entries, in this
//! order and no others:
//!
//! ```text
//! berth.sig             minisign's signature over index.json; absent in a bundle that is not signed
//! oci-layout            {"imageLayoutVersion":"1.0.0"}
//! index.json            the units, the OS and the images, each by digest and size
//! blobs/sha256/HEX      by name: whatever index.json names, and what that names
//! ```
//!
//! So a signature over one small document covers everything, as each digest covers what it names; and stock minisign
//! can verify it. The tar file itself has no freedom: headers are as this module writes them, padding is zero, a blob
//! that nobody names is a fault. So every byte is either the one that was signed, or refused. The same input gives
//! the same bytes.
//!
//! [`pack`] writes, [`Bundle`] reads. Both hold documents in memory and blobs on the disk.

mod collect;
mod container;
mod fault;
mod index;
mod open;
mod pack;
mod texts;

pub use collect::collect;
pub use fault::BundleError;
pub use index::{Entry, parse_index};
pub use open::{Bundle, Image};
pub use pack::{Contents, ImageContent, pack, pack_to};

/// The units and node.toml, as a tar file of texts.
pub const UNITS: &str = "application/vnd.berth.units.v1.tar";
/// An OS: one UKI.
pub const OS: &str = "application/vnd.berth.os.v1.efi";

/// Longest index, manifest or configuration, bytes.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Longest tar file of units, bytes.
const MAX_UNITS: u64 = 64 << 20;
/// Most entries of a bundle.
const MAX_ENTRIES: usize = 16_384;
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const SIGNATURE_NAME: &str = "berth.sig";
const LAYOUT_NAME: &str = "oci-layout";
const INDEX_NAME: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";

#[cfg(test)]
mod tests;
