//! Where every inode and every data block goes, before a byte is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use super::directory::{Dirent, measure};
use super::format::{self, INODE_SIZE, Layout, SLOT, SUPER_OFFSET, SUPER_SIZE};
use super::{BLOCK, ErofsError};
use crate::digest::{Digest, Hashing};
use crate::tarfile::shown;
use crate::tree::{Body, Content, NodeId, Tree};

/// Metadata blocks that still have room and are looked at for the next inode.
const OPEN_BLOCKS: usize = 32;

/// An inode with its place.
#[derive(Clone, Debug)]
pub struct Place {
    pub id: NodeId,
    /// Of a directory: the one that holds it.
    pub parent: NodeId,
    pub nlink: u32,
    /// Bytes of its data.
    pub size: u64,
    pub layout: Layout,
    pub xattrs: Vec<u8>,
    /// Offset in the image.
    pub offset: u64,
    /// First data block.
    pub block: u32,
    /// Its blocks are those of an inode before it.
    pub shared: bool,
}

impl Place {
    pub fn nid(&self) -> u64 {
        self.offset / SLOT
    }

    /// Bytes of the data that follow the inode.
    pub fn tail(&self) -> u64 {
        if self.layout == Layout::Inline { self.size % BLOCK } else { 0 }
    }

    /// Blocks of the data elsewhere.
    pub fn blocks(&self) -> u64 {
        (self.size - self.tail()).div_ceil(BLOCK)
    }

    fn need(&self) -> u64 {
        INODE_SIZE + self.xattrs.len() as u64 + self.tail()
    }
}

/// The whole image.
#[derive(Debug)]
pub struct Plan {
    /// In the order they were found: their numbers.
    pub places: Vec<Place>,
    /// Number by node.
    pub numbers: HashMap<NodeId, usize>,
    /// Blocks of all.
    pub blocks: u32,
}

impl Plan {
    /// The inode of a node; every node that has a name has one.
    pub fn place(&self, id: NodeId) -> Option<&Place> {
        self.places.get(*self.numbers.get(&id)?)
    }
}

/// Plans the image of a tree.
pub fn plan(tree: &Tree) -> Result<Plan, ErofsError> {
    let (mut places, numbers) = walk(tree)?;
    for place in &mut places {
        measure_inode(tree, place)?;
    }
    let meta_blocks = place_inodes(&mut places);
    let blocks = place_data(tree, &mut places, meta_blocks)?;
    Ok(Plan { places, numbers, blocks })
}

/// Every inode once, a directory's entries together: what is listed together is read together.
fn walk(tree: &Tree) -> Result<(Vec<Place>, HashMap<NodeId, usize>), ErofsError> {
    let mut places = vec![unplaced(Tree::ROOT, Tree::ROOT, 2)];
    let mut numbers = HashMap::from([(Tree::ROOT, 0)]);
    let mut at = 0;
    while let Some(directory) = places.get(at).map(|place| place.id) {
        for (name, child) in tree.entries(directory).into_iter().flatten() {
            if name.is_empty() || name.len() > 255 {
                return Err(ErofsError::Name(shown(name)));
            }
            let is_directory = tree.entries(*child).is_some();
            if let Some(place) = numbers.get(child).and_then(|number| places.get_mut(*number)) {
                place.nlink += 1;
                continue;
            }
            numbers.insert(*child, places.len());
            places.push(unplaced(*child, directory, if is_directory { 2 } else { 1 }));
            if let Some(place) = places.get_mut(at).filter(|_| is_directory) {
                place.nlink += 1;
            }
        }
        at += 1;
    }
    Ok((places, numbers))
}

fn unplaced(id: NodeId, parent: NodeId, nlink: u32) -> Place {
    Place {
        id,
        parent,
        nlink,
        size: 0,
        layout: Layout::Plain,
        xattrs: Vec::new(),
        offset: 0,
        block: 0,
        shared: false,
    }
}

/// The sorted entries of a directory, with `.` and `..`.
pub fn dirents<'a>(tree: &'a Tree, place: &Place) -> Vec<Dirent<'a, NodeId>> {
    let entry = |name, target| Dirent { name, target };
    let own = [entry(&b"."[..], place.id), entry(&b".."[..], place.parent)];
    let children = tree.entries(place.id).into_iter().flatten();
    let mut entries: Vec<_> = own.into_iter().chain(children.map(|(name, id)| entry(name, *id))).collect();
    entries.sort_by_key(|entry| entry.name);
    entries
}

fn measure_inode(tree: &Tree, place: &mut Place) -> Result<(), ErofsError> {
    let node = tree.node(place.id);
    place.xattrs = format::xattrs(&node.meta.xattrs)?;
    place.size = match &node.body {
        Body::Directory(_) => measure(&dirents(tree, place)).1,
        Body::File(content) => content.len(),
        Body::Symlink(target) => target.len() as u64,
        Body::Char(..) | Body::Block(..) | Body::Fifo => 0,
    };
    place.layout = Layout::Inline;
    if place.tail() == 0 || place.need() > BLOCK {
        place.layout = Layout::Plain;
    }
    Ok(())
}

/// Puts each inode into the fullest open block that has room for it; returns the number of metadata blocks.
fn place_inodes(places: &mut [Place]) -> u64 {
    // Room left and block; the first block has the superblock in it.
    let mut open = BTreeSet::from([(BLOCK - SUPER_OFFSET - SUPER_SIZE, 0)]);
    let mut blocks = 1;
    for place in places {
        let need = place.need().next_multiple_of(SLOT);
        let (room, block) = match open.range((need, 0)..).next().copied() {
            Some(found) => {
                open.remove(&found);
                place.offset = (found.1 + 1) * BLOCK - found.0;
                found
            }
            None => {
                // More than one only for extended attributes beyond a block, which may cross blocks.
                let room = need.next_multiple_of(BLOCK);
                place.offset = blocks * BLOCK;
                blocks += room / BLOCK;
                (room, blocks - 1)
            }
        };
        if room - need >= INODE_SIZE {
            open.insert((room - need, block));
        }
        if open.len() > OPEN_BLOCKS {
            open.pop_first();
        }
    }
    blocks
}

/// Gives data blocks to what needs them, the same ones to files of the same content; returns the blocks of all.
fn place_data(tree: &Tree, places: &mut [Place], meta_blocks: u64) -> Result<u32, ErofsError> {
    let mut sizes: HashMap<u64, u32> = HashMap::new();
    for place in places.iter().filter(|place| place.blocks() > 0) {
        *sizes.entry(place.size).or_default() += 1;
    }
    let mut known: BTreeMap<(Digest, u64), u32> = BTreeMap::new();
    let mut next = meta_blocks;
    for place in places.iter_mut().filter(|place| place.blocks() > 0) {
        place.block = u32::try_from(next).map_err(|_| ErofsError::TooLarge)?;
        if let Body::File(content) = &tree.node(place.id).body
            && sizes.get(&place.size).is_some_and(|count| *count > 1)
        {
            // Also by layout: a plain file's last block holds what an inline one keeps in its inode.
            let key = (digest(content)?, place.blocks());
            place.block = *known.entry(key).or_insert(place.block);
            place.shared = u64::from(place.block) != next;
        }
        if !place.shared {
            next += place.blocks();
        }
    }
    u32::try_from(next).map_err(|_| ErofsError::TooLarge)
}

fn digest(content: &Content) -> io::Result<Digest> {
    let mut reader = Hashing::new(content.reader());
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.finish().0)
}
