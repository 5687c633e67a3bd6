//! The data of a directory: blocks of sorted entries.
//!
//! Each block begins with the fixed parts of its entries (`struct erofs_dirent`: nid, offset of the name, file
//! type) and goes on with their names; the first entry's name offset so tells how many there are. All names of a
//! directory, `.` and `..` among them, are in the order of their bytes, over all blocks: the kernel looks them up by
//! halving, first the blocks, then the entries of one.

use super::BLOCK;
use super::format::Fields;

const DIRENT: u64 = 12;

/// One entry before nids are known.
#[derive(Clone, Copy, Debug)]
pub struct Dirent<'a, T> {
    pub name: &'a [u8],
    pub target: T,
}

/// Splits sorted entries into blocks: the number of entries of each, and the size of all.
pub fn measure<T>(entries: &[Dirent<'_, T>]) -> (Vec<usize>, u64) {
    let mut counts = Vec::new();
    let (mut count, mut used) = (0, 0);
    for entry in entries {
        let need = DIRENT + entry.name.len() as u64;
        if used + need > BLOCK {
            counts.push(count);
            (count, used) = (0, 0);
        }
        count += 1;
        used += need;
    }
    let full = counts.len() as u64;
    counts.push(count);
    (counts, full * BLOCK + used)
}

/// The bytes of one block, not padded; `resolve` gives nid and file type of an entry.
pub fn encode<T>(entries: &[Dirent<'_, T>], resolve: impl Fn(&T) -> (u64, u8)) -> Vec<u8> {
    let mut fields = Fields::default();
    let mut offset = DIRENT as usize * entries.len();
    for entry in entries {
        let (nid, file_type) = resolve(&entry.target);
        fields = fields.u64(nid).u16(u16::try_from(offset).unwrap_or(u16::MAX)).u8(file_type).u8(0);
        offset += entry.name.len();
    }
    entries.iter().fold(fields, |fields, entry| fields.bytes(entry.name)).0
}
