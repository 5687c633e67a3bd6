//! Why a bundle is refused, or was not made.

use std::io;

use crate::depot::DepotError;
use crate::digest::Digest;
use crate::signature::minisign::{KeyId, MinisignError};

/// Why a bundle is refused, or was not made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A system call.
    #[error("cannot {0} the bundle")]
    Io(&'static str, #[source] io::Error),
    /// Cut, or a header that this module would not write.
    #[error("it is not a bundle: {what} at byte {at}")]
    Container {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// An entry that no bundle has, or not there, or not twice.
    #[error("it is not a bundle: entry '{0}' does not belong there")]
    Entry(String),
    /// An entry that every bundle has.
    #[error("it is not a bundle: it has no '{0}'")]
    Missing(&'static str),
    /// A document that is none.
    #[error("{what} is at fault: {why}")]
    Document {
        /// `index.json`, or which blob.
        what: String,
        /// Its fault.
        why: String,
    },
    /// Another size than it is named with.
    #[error("blob {digest} has {actual} bytes, and {declared} are declared")]
    Size {
        /// Which.
        digest: Digest,
        /// As named.
        declared: u64,
        /// As it is.
        actual: u64,
    },
    /// Other bytes than it is named for.
    #[error("blob {digest} is damaged: its bytes have the digest {actual}")]
    Corrupt {
        /// Which.
        digest: Digest,
        /// Of its bytes.
        actual: Digest,
    },
    /// Named, and not there.
    #[error("blob {0} is missing")]
    MissingBlob(Digest),
    /// There, and not named.
    #[error("blob {0} belongs to nothing in the bundle")]
    Unnamed(Digest),
    /// One blob under two sizes, or two units blobs.
    #[error("'{0}' is there twice")]
    Twice(String),
    /// No signature where one is needed.
    #[error("the bundle is not signed")]
    Unsigned,
    /// Signed by nobody who is trusted.
    #[error("the bundle is signed by key {signed}, which is not trusted")]
    Untrusted {
        /// The key that the signature names.
        signed: KeyId,
    },
    /// The signature is at fault.
    #[error("the signature of the bundle is refused")]
    Signature(#[source] MinisignError),
    /// The store, or the file that was to be made.
    #[error(transparent)]
    Store(#[from] DepotError),
    /// A text among the units that cannot be one.
    #[error("the units are refused: '{name}' {why}")]
    Units {
        /// Its name.
        name: String,
        /// Its fault.
        why: &'static str,
    },
}
