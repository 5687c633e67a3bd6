//! Trees to tar streams and back, where neither is to be trusted: a program may change the tree meanwhile, a stream may
//! have been made to hurt whoever unpacks it.
//!
//! The node uses it for volumes and `berth cp`, the `berth` command for its end of `berth cp`. Not here: who may copy
//! what, and how a stream travels.

mod copy;
mod pack;
mod tarball;
mod unpack;

use std::io;

pub use copy::{Base, pack, receive};
pub use pack::{Skipped, write};
pub use tarball::TarError;
pub use unpack::{Keep, read};

/// Why a tree did not get through.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream is no tar file, or holds what is not taken.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// One file.
    #[error("cannot {doing} '{path}'")]
    File {
        /// What was to be done.
        doing: &'static str,
        /// Below the top of the tree, or as it was asked for.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The tree or the stream as a whole.
    #[error("cannot {0}")]
    Whole(&'static str, #[source] io::Error),
    /// Directories in directories.
    #[error("'{0}' is too deep: at most {DEPTH_MAX} directories in each other are taken")]
    Deep(String),
    /// A path that no system call takes.
    #[error("'{0}' is too long: paths of at most {PATH_MAX} bytes are taken")]
    Long(String),
    /// A place that does not go with what comes.
    #[error("'{path}' {what}")]
    Place {
        /// As it was asked for.
        path: String,
        /// Why not.
        what: &'static str,
    },
}

/// Directories in each other, at most.
const DEPTH_MAX: usize = 256;

/// Bytes of a path: PATH_MAX of limits.h.
const PATH_MAX: usize = 4096;

fn whole<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> ArchiveError {
    move |error| ArchiveError::Whole(doing, error.into())
}

/// A path of a tar for messages: no control characters, not endless.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().flat_map(char::escape_debug).take(200).collect()
}

#[cfg(test)]
mod tests;
