//! The bytes of superblock, inode and extended attributes, as fs/erofs/erofs_fs.h lays them out.

use std::collections::BTreeMap;

use super::{ErofsError, Volume};
use crate::tarfile::shown;

/// Offset of the superblock.
pub const SUPER_OFFSET: u64 = 1024;
/// Bytes of the superblock.
pub const SUPER_SIZE: u64 = 128;
/// Bytes of an extended inode, the only form written: the compact one has no modification time.
pub const INODE_SIZE: u64 = 64;
/// A nid counts slots of this many bytes.
pub const SLOT: u64 = 32;

const MAGIC: u32 = 0xe0f5_e1e2;
/// The checksum is valid, and times are those of modification.
const COMPAT: u32 = 0x1 | 0x2;
const BLOCK_BITS: u8 = 12;

/// Little-endian fields, one after the other.
#[derive(Default)]
pub struct Fields(pub Vec<u8>);

impl Fields {
    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }
    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    pub fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend(value);
        self
    }
    /// Zero bytes up to a length.
    pub fn pad_to(mut self, len: usize) -> Self {
        self.0.resize(len.max(self.0.len()), 0);
        self
    }
}

/// The numbers of a superblock.
#[derive(Clone, Copy, Debug)]
pub struct Super {
    pub root_nid: u16,
    pub inodes: u64,
    pub blocks: u32,
    pub checksum: u32,
}

/// `struct erofs_super_block`.
pub fn super_block(volume: &Volume<'_>, numbers: &Super) -> Result<Vec<u8>, ErofsError> {
    if volume.label.len() > 15 {
        return Err(ErofsError::Label(volume.label.to_owned()));
    }
    let fields = Fields::default()
        .u32(MAGIC)
        .u32(numbers.checksum)
        .u32(COMPAT)
        .u8(BLOCK_BITS)
        .u8(0) // sb_extslots
        .u16(numbers.root_nid)
        .u64(numbers.inodes)
        .u64(volume.build_time)
        .u32(0) // build_time_nsec
        .u32(numbers.blocks)
        .u32(0) // meta_blkaddr: nids count from the start of the image
        .u32(0) // xattr_blkaddr: no shared attributes
        .bytes(&volume.uuid)
        .bytes(volume.label.as_bytes())
        .pad_to(80);
    Ok(fields.pad_to(SUPER_SIZE as usize).0)
}

/// The checksum of a superblock: CRC32C, not inverted at the end, of the first block from the superblock on, with
/// the checksum itself taken as zero.
pub fn checksum(first_block_from_super: &[u8]) -> u32 {
    first_block_from_super.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
            },
        )
    })
}

/// Where an inode's data is (`i_format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// In data blocks only.
    Plain = 0,
    /// In data blocks, but for the last partial one: that follows the inode.
    Inline = 2,
}

/// The fields of an inode.
#[derive(Clone, Debug)]
pub struct Inode {
    pub layout: Layout,
    /// Bytes of the encoded extended attributes.
    pub xattr_size: u64,
    /// File type and permissions.
    pub mode: u16,
    pub size: u64,
    /// First data block, or the device number.
    pub address: u32,
    pub number: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub nlink: u32,
}

/// `struct erofs_inode_extended`.
pub fn inode(inode: &Inode) -> Vec<u8> {
    Fields::default()
        .u16(1 | (inode.layout as u16) << 1)
        .u16(xattr_count(inode.xattr_size))
        .u16(inode.mode)
        .u16(0)
        .u64(inode.size)
        .u32(inode.address)
        .u32(inode.number)
        .u32(inode.uid)
        .u32(inode.gid)
        .u64(inode.mtime.cast_unsigned())
        .u32(0) // mtime_nsec
        .u32(inode.nlink)
        .pad_to(INODE_SIZE as usize)
        .0
}

/// `i_xattr_icount`: zero for none, otherwise one for the header of 12 bytes and one for each further 4.
fn xattr_count(size: u64) -> u16 {
    u16::try_from(size.saturating_sub(8) / 4).unwrap_or(u16::MAX)
}

/// `struct erofs_xattr_ibody_header` with its entries; empty for none.
pub fn xattrs(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Vec<u8>, ErofsError> {
    if xattrs.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = Fields::default().pad_to(12); // no name filter, no shared ones
    for (name, value) in xattrs {
        let fault = || ErofsError::Xattr(shown(name));
        let (index, rest) = xattr_prefix(name).ok_or_else(fault)?;
        let len = u8::try_from(rest.len()).map_err(|_| fault())?;
        let size = u16::try_from(value.len()).map_err(|_| fault())?;
        fields = fields.u8(len).u8(index).u16(size).bytes(rest).bytes(value);
        let aligned = fields.0.len().next_multiple_of(4);
        fields = fields.pad_to(aligned);
        if fields.0.len() > 1 << 17 {
            return Err(fault());
        }
    }
    Ok(fields.0)
}

/// `EROFS_XATTR_INDEX_*`, and what remains of the name.
fn xattr_prefix(name: &[u8]) -> Option<(u8, &[u8])> {
    [(1, &b"user."[..]), (4, b"trusted."), (6, b"security.")]
        .into_iter()
        .find_map(|(index, prefix)| Some((index, name.strip_prefix(prefix)?)))
}

/// A device number as the kernel stores it on disk (`new_encode_dev`).
pub fn device(major: u32, minor: u32) -> u32 {
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}
