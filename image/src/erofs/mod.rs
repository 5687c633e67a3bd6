//! Writing an EROFS image: a read-only file system that the kernel mounts in place.
//!
//! Everything is uncompressed and in blocks of 4 KiB. Two parts follow the superblock: the metadata (inodes, with
//! their extended attributes and the last, partial block of their data right behind them) and the data blocks.
//! [`plan`] decides where everything goes, [`write`](write()) puts it there, front to back.
//!
//! ```text
//! 0      1024         1152                        meta_blocks * 4096
//! | zero | superblock | inode xattrs tail | ino … | data blocks of files, directories, long symlinks |
//! ```
//!
//! The number of an inode (nid) is its offset divided by 32. An inode never crosses a block with its tail, which
//! the kernel demands of the tail. Files with the same content share their data blocks.
//!
//! Reference: Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h of Linux. The output depends on the tree
//! and the [`Volume`] only. Not here: compression, chunks, shared extended attributes, device tables.

mod directory;
mod format;
mod plan;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::io;

pub use read::read_directories;
pub use write::write;

/// Bytes of a block.
pub const BLOCK: u64 = 4096;

/// What a superblock says besides the tree.
#[derive(Clone, Copy, Debug)]
pub struct Volume<'a> {
    /// At most 15 bytes.
    pub label: &'a str,
    /// RFC 9562.
    pub uuid: [u8; 16],
    /// Seconds of the Unix epoch.
    pub build_time: u64,
}

/// Why no image was written.
#[derive(Debug, thiserror::Error)]
pub enum ErofsError {
    /// Reading a file's content or writing the image failed.
    #[error("cannot write the file system image")]
    Io(#[from] io::Error),
    /// Block numbers are 32 bits wide: 16 TiB.
    #[error("the file system image would exceed 16 TiB")]
    TooLarge,
    /// Extended attributes of one inode have 256 KiB, and only known prefixes.
    #[error("extended attribute '{0}' cannot be stored")]
    Xattr(String),
    /// Names have 255 bytes.
    #[error("name '{0}' cannot be stored")]
    Name(String),
    /// A label of more than 15 bytes.
    #[error("label '{0}' is too long")]
    Label(String),
}
