//! Putting a planned image into a file, front to back.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use super::directory::{encode, measure};
use super::format::{self, Inode, SUPER_OFFSET, Super};
use super::plan::{Place, Plan, dirents, plan};
use super::{BLOCK, ErofsError, Volume};
use crate::tree::{Body, Content, Tree};

const S_IFIFO: u16 = 0o010_000;
const S_IFCHR: u16 = 0o020_000;
const S_IFDIR: u16 = 0o040_000;
const S_IFBLK: u16 = 0o060_000;
const S_IFREG: u16 = 0o100_000;
const S_IFLNK: u16 = 0o120_000;

/// Writes a tree as an EROFS image into an empty file, opened for reading and writing; returns its size.
pub fn write(tree: &Tree, volume: &Volume<'_>, out: &File) -> Result<u64, ErofsError> {
    let plan = plan(tree)?;
    let mut writer = Writer { out: BufWriter::with_capacity(1 << 20, out), at: 0 };
    write_metadata(tree, &plan, &mut writer)?;
    write_data(tree, &plan, &mut writer)?;
    writer.pad_to(u64::from(plan.blocks) * BLOCK)?;
    writer.out.flush()?;
    drop(writer);
    write_super(volume, &plan, out)?;
    Ok(u64::from(plan.blocks) * BLOCK)
}

/// A writer that knows where it is.
struct Writer<'a> {
    out: BufWriter<&'a File>,
    at: u64,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad_to(&mut self, offset: u64) -> io::Result<()> {
        let Some(gap) = offset.checked_sub(self.at) else {
            return Err(io::Error::other("two parts of the image overlap"));
        };
        self.at = offset;
        io::copy(&mut io::repeat(0).take(gap), &mut self.out).map(drop)
    }

    /// Exactly `len` bytes of a reader.
    fn copy(&mut self, from: impl Read, len: u64) -> io::Result<()> {
        let count = io::copy(&mut from.take(len), &mut self.out)?;
        self.at += count;
        if count < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

fn write_metadata(tree: &Tree, plan: &Plan, writer: &mut Writer<'_>) -> Result<(), ErofsError> {
    let mut order: Vec<_> = plan.places.iter().enumerate().collect();
    order.sort_by_key(|(_, place)| place.offset);
    for (number, place) in order {
        writer.pad_to(place.offset)?;
        writer.put(&format::inode(&fields(tree, number, place)))?;
        writer.put(&place.xattrs)?;
        if place.tail() > 0 {
            write_part(tree, plan, place, (place.blocks() * BLOCK, place.tail()), writer)?;
        }
    }
    Ok(())
}

fn write_data(tree: &Tree, plan: &Plan, writer: &mut Writer<'_>) -> Result<(), ErofsError> {
    for place in plan.places.iter().filter(|place| place.blocks() > 0 && !place.shared) {
        writer.pad_to(u64::from(place.block) * BLOCK)?;
        write_part(tree, plan, place, (0, place.size - place.tail()), writer)?;
    }
    Ok(())
}

/// Writes `len` bytes of an inode's data from `start`.
fn write_part(
    tree: &Tree,
    plan: &Plan,
    place: &Place,
    (start, len): (u64, u64),
    writer: &mut Writer<'_>,
) -> Result<(), ErofsError> {
    let whole;
    let bytes = match &tree.node(place.id).body {
        Body::File(Content::Extent(extent)) => {
            let part =
                extent.part(start, len).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            return writer.copy(part.reader(), len).map_err(Into::into);
        }
        Body::File(Content::Bytes(bytes)) => bytes.as_slice(),
        Body::Symlink(target) => target.as_slice(),
        Body::Directory(_) => {
            whole = directory_data(tree, plan, place);
            &whole
        }
        Body::Char(..) | Body::Block(..) | Body::Fifo => &[],
    };
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    writer.copy(bytes.get(start..).unwrap_or_default(), len).map_err(Into::into)
}

/// All blocks of a directory, the last one not padded.
fn directory_data(tree: &Tree, plan: &Plan, place: &Place) -> Vec<u8> {
    let entries = dirents(tree, place);
    let (counts, _) = measure(&entries);
    let (mut rest, mut data) = (entries.as_slice(), Vec::new());
    for count in counts {
        data.resize(data.len().next_multiple_of(BLOCK as usize), 0);
        let (block, behind) = rest.split_at(count);
        rest = behind;
        data.extend(encode(block, |id| {
            (plan.place(*id).map_or(0, Place::nid), file_type(&tree.node(*id).body))
        }));
    }
    data
}

/// `FT_*`, as in the generic `fs_ftype` of the kernel.
fn file_type(body: &Body) -> u8 {
    match body {
        Body::File(_) => 1,
        Body::Directory(_) => 2,
        Body::Char(..) => 3,
        Body::Block(..) => 4,
        Body::Fifo => 5,
        Body::Symlink(_) => 7,
    }
}

fn fields(tree: &Tree, number: usize, place: &Place) -> Inode {
    let node = tree.node(place.id);
    let (kind, address) = match node.body {
        Body::Directory(_) => (S_IFDIR, place.block),
        Body::File(_) => (S_IFREG, place.block),
        Body::Symlink(_) => (S_IFLNK, place.block),
        Body::Char(major, minor) => (S_IFCHR, format::device(major, minor)),
        Body::Block(major, minor) => (S_IFBLK, format::device(major, minor)),
        Body::Fifo => (S_IFIFO, 0),
    };
    Inode {
        layout: place.layout,
        xattr_size: place.xattrs.len() as u64,
        // A symbolic link's permissions mean nothing; everyone shows them as all set.
        mode: kind | if kind == S_IFLNK { 0o777 } else { node.meta.mode & 0o7777 },
        size: place.size,
        address,
        number: u32::try_from(number + 1).unwrap_or(u32::MAX),
        uid: node.meta.uid,
        gid: node.meta.gid,
        mtime: node.meta.mtime,
        nlink: place.nlink,
    }
}

/// The superblock comes last: its checksum covers what else is in its block.
fn write_super(volume: &Volume<'_>, plan: &Plan, out: &File) -> Result<(), ErofsError> {
    let root = plan.place(Tree::ROOT).map_or(0, Place::nid);
    let mut numbers = Super {
        root_nid: u16::try_from(root).map_err(|_| ErofsError::TooLarge)?,
        inodes: plan.places.len() as u64,
        blocks: plan.blocks,
        checksum: 0,
    };
    out.write_all_at(&format::super_block(volume, &numbers)?, SUPER_OFFSET)?;
    let mut block = vec![0; (BLOCK - SUPER_OFFSET) as usize];
    out.read_exact_at(&mut block, SUPER_OFFSET)?;
    numbers.checksum = format::checksum(&block);
    out.write_all_at(&format::super_block(volume, &numbers)?, SUPER_OFFSET)?;
    Ok(())
}
