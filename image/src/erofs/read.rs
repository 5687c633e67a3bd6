//! Reading back the directories of an image that [`write`](super::write()) has made: names, kinds, and the metadata of
//! directories, which a layer above may have to repeat. Files come back empty.
//!
//! The image lies on a disk and may be damaged: every offset is checked, no directory is visited twice, and what is not
//! as the writer makes it is an error.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read};

use super::BLOCK;
use super::format::{INODE_SIZE, SLOT, SUPER_OFFSET};
use crate::extent::Extent;
use crate::tree::{Body, Content, Meta, Node, NodeId, Tree};

/// Longest directory, bytes.
const MAX_DIRECTORY: u64 = 256 << 20;
/// Most names.
const MAX_NAMES: usize = 2_000_000;
const S_IFMT: u16 = 0o170_000;
const S_IFDIR: u16 = 0o040_000;
/// `FT_DIR`.
const DIRECTORY: u8 = 2;

/// Reads the directories of an image.
pub fn read_directories(image: &Extent) -> io::Result<Tree> {
    let root_nid = number(&read(image, SUPER_OFFSET + 14, 2)?, 0, 2)?;
    let mut tree = Tree::default();
    let mut seen = BTreeSet::new();
    let mut queue = VecDeque::from([(Tree::ROOT, root_nid)]);
    while let Some((id, nid)) = queue.pop_front() {
        if !seen.insert(nid) || tree.len() > MAX_NAMES {
            return Err(damaged());
        }
        let (meta, data) = directory(image, nid)?;
        tree.node_mut(id).meta = meta;
        for block in data.chunks(BLOCK as usize) {
            entries(block, &mut |name, nid, kind| {
                add(&mut tree, id, name, kind).map(|child| {
                    queue.extend((kind == DIRECTORY).then_some((child, nid)));
                })
            })?;
        }
    }
    Ok(tree)
}

fn add(tree: &mut Tree, parent: NodeId, name: &[u8], kind: u8) -> io::Result<NodeId> {
    let body = match kind {
        DIRECTORY => Body::Directory(BTreeMap::new()),
        _ => Body::File(Content::Bytes(Vec::new())),
    };
    tree.add(parent, name, Node { meta: Meta::root(0o755), body }).map_err(|_| damaged())
}

/// Metadata and data of a directory's inode.
fn directory(image: &Extent, nid: u64) -> io::Result<(Meta, Vec<u8>)> {
    let at = nid.checked_mul(SLOT).ok_or_else(damaged)?;
    let inode = read(image, at, INODE_SIZE)?;
    let field = |offset: usize, len: usize| number(&inode, offset, len);
    let (format, mode, size) = (field(0, 2)?, small(field(4, 2)?)?, field(8, 8)?);
    let inline = match format {
        1 => false,
        5 => true,
        _ => return Err(damaged()),
    };
    if mode & S_IFMT != S_IFDIR || size > MAX_DIRECTORY {
        return Err(damaged());
    }
    let count = field(2, 2)?;
    let xattr_size = if count == 0 { 0 } else { count * 4 + 8 };
    let tail = if inline { size % BLOCK } else { 0 };
    let mut data = read(image, field(16, 4)? * BLOCK, size - tail)?;
    data.extend(read(image, at + INODE_SIZE + xattr_size, tail)?);
    let id = |offset| field(offset, 4).and_then(|id| u32::try_from(id).map_err(|_| damaged()));
    let meta = Meta {
        mode: mode & 0o7777,
        uid: id(24)?,
        gid: id(28)?,
        mtime: field(32, 8)?.cast_signed(),
        xattrs: xattrs(&read(image, at + INODE_SIZE, xattr_size)?)?,
    };
    Ok((meta, data))
}

/// Takes name, nid and file type of an entry.
type Found<'a> = &'a mut dyn FnMut(&[u8], u64, u8) -> io::Result<()>;

/// Calls `found` with each entry of a block but `.` and `..`.
fn entries(block: &[u8], found: Found<'_>) -> io::Result<()> {
    let offset = |entry: usize| number(block, entry * 12 + 8, 2).map(|offset| offset as usize);
    let first = offset(0)?;
    if first == 0 || first % 12 != 0 {
        return Err(damaged());
    }
    for entry in 0..first / 12 {
        let start = offset(entry)?;
        let end = if (entry + 1) * 12 < first { offset(entry + 1)? } else { block.len() };
        let name = block.get(start..end).ok_or_else(damaged)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name.is_empty() || name.contains(&b'/') {
            return Err(damaged());
        }
        if name != b"." && name != b".." {
            let kind = u8::try_from(number(block, entry * 12 + 10, 1)?).map_err(|_| damaged())?;
            found(name, number(block, entry * 12, 8)?, kind)?;
        }
    }
    Ok(())
}

fn xattrs(bytes: &[u8]) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut xattrs = BTreeMap::new();
    let mut at = 12;
    while at < bytes.len() {
        let name_len = number(bytes, at, 1)? as usize;
        let prefix: &[u8] = match number(bytes, at + 1, 1)? {
            1 => b"user.",
            4 => b"trusted.",
            6 => b"security.",
            _ => return Err(damaged()),
        };
        let size = number(bytes, at + 2, 2)? as usize;
        let name = bytes.get(at + 4..at + 4 + name_len).ok_or_else(damaged)?;
        let value = bytes.get(at + 4 + name_len..at + 4 + name_len + size).ok_or_else(damaged)?;
        xattrs.insert([prefix, name].concat(), value.to_vec());
        at = (at + 4 + name_len + size).next_multiple_of(4);
    }
    Ok(xattrs)
}

fn read(image: &Extent, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let part = image.part(at, len).ok_or_else(damaged)?;
    let mut bytes = Vec::new();
    part.reader().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A little-endian number of at most eight bytes.
fn number(bytes: &[u8], at: usize, len: usize) -> io::Result<u64> {
    let bytes = bytes.get(at..at + len).ok_or_else(damaged)?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn small(number: u64) -> io::Result<u16> {
    u16::try_from(number).map_err(|_| damaged())
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file system image is damaged")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::erofs::{Volume, write};
    use crate::extent::spool;

    /// Directories of a tree by path, with what is known of them; other names with nothing.
    fn listed(tree: &Tree) -> BTreeMap<Vec<u8>, Option<Meta>> {
        let mut listed = BTreeMap::new();
        let mut queue = vec![(Vec::new(), Tree::ROOT)];
        while let Some((path, id)) = queue.pop() {
            let entries = tree.entries(id);
            listed.insert(path.clone(), entries.map(|_| tree.node(id).meta.clone()));
            for (name, child) in entries.into_iter().flatten() {
                queue.push(([&path[..], b"/", name].concat(), *child));
            }
        }
        listed
    }

    fn sample() -> Tree {
        let mut tree = Tree::default();
        let meta = |number: u32| Meta {
            uid: number,
            gid: number + 1,
            mtime: -5 - i64::from(number),
            xattrs: BTreeMap::from([
                (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
                (b"user.x".to_vec(), vec![7; number as usize % 40]),
            ]),
            ..Meta::root(0o1750)
        };
        for number in 0..1500 {
            let body = if number % 3 == 0 { Body::Directory(BTreeMap::new()) } else { Body::Char(0, 0) };
            let name = format!("{number}-{}", "n".repeat(number as usize % 60));
            let id = tree.add(Tree::ROOT, name.as_bytes(), Node { meta: meta(number), body }).unwrap();
            if number % 9 == 0 {
                let file = Body::File(Content::Bytes(vec![1; 5000]));
                tree.add(id, b"file", Node { meta: meta(1), body: file }).unwrap();
            }
        }
        tree
    }

    fn image(tree: &Tree) -> Vec<u8> {
        let file = spool(&std::env::temp_dir()).unwrap();
        let volume = Volume { label: "test", uuid: [0; 16], build_time: 0 };
        write(tree, &volume, &file).unwrap();
        Extent::whole(file).unwrap().read_all(u64::MAX).unwrap()
    }

    fn parse(bytes: &[u8]) -> io::Result<Tree> {
        let mut file = spool(&std::env::temp_dir()).unwrap();
        file.write_all(bytes).unwrap();
        read_directories(&Extent::whole(file).unwrap())
    }

    #[test]
    fn what_was_written_is_read() {
        let tree = sample();
        assert_eq!(listed(&parse(&image(&tree)).unwrap()), listed(&tree));
        assert_eq!(listed(&parse(&image(&Tree::default())).unwrap()), listed(&Tree::default()));
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let whole = image(&sample());
        assert!(parse(&whole[..1000]).is_err() && parse(b"").is_err());
        let mut state = 1_u32;
        for _ in 0..100 {
            let mut bytes = whole.clone();
            for _ in 0..20 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize % bytes.len().min(60_000);
                bytes[at] ^= (state >> 24) as u8;
            }
            drop(parse(&bytes));
        }
    }
}
