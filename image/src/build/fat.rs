//! A FAT32 file system with a few files: the EFI system partition.
//!
//! Microsoft's "FAT: General Overview of On-Disk Format" 1.03. All is of 1980-01-01, the first day that FAT knows;
//! files lie one behind the other: the bytes depend on names and content only.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const SECTOR: usize = 512;
const CLUSTER_SECTORS: usize = 4;
const CLUSTER: usize = SECTOR * CLUSTER_SECTORS;
const RESERVED: usize = 32;
const ENTRY: usize = 32;
/// Fewer make it a FAT16.
const CLUSTERS_MIN: usize = 65_525;
const END_OF_CHAIN: u32 = 0x0FFF_FFFF;
/// Characters of a long name in one entry.
const LONG: usize = 13;

const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LABEL: u8 = 0x08;

/// A file or folder.
#[derive(Debug)]
enum Node<'a> {
    File(&'a [u8]),
    Directory(Directory<'a>),
}

/// By name, ASCII without what FAT forbids.
type Directory<'a> = BTreeMap<&'a str, Node<'a>>;

/// Where the file system goes.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Bytes from the start of the disk.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Serial number.
    pub id: u32,
}

/// Writes the file system into a part of a disk that holds zeros. `files` are paths with `/` and content.
pub fn write(disk: &File, place: Place, label: &str, files: &[(&str, &[u8])]) -> io::Result<()> {
    let mut root = Directory::new();
    for (path, content) in files {
        insert(&mut root, path, content);
    }
    let sectors = place.size as usize / SECTOR;
    let fat_sectors = ((sectors / CLUSTER_SECTORS + 2) * 4).div_ceil(SECTOR);
    let data = RESERVED + 2 * fat_sectors;
    let clusters = sectors.saturating_sub(data) / CLUSTER_SECTORS;
    let mut layout = Layout { fat: vec![0x0FFF_FFF8, END_OF_CHAIN], writes: Vec::new() };
    layout.directory(&root, None, label);
    if clusters < CLUSTERS_MIN || layout.fat.len() > clusters + 2 {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let put = |sector: usize, bytes: &[u8]| disk.write_all_at(bytes, place.offset + (sector * SECTOR) as u64);
    let boot = boot_sector(place, fat_sectors, label);
    let info = info_sector(clusters + 2 - layout.fat.len(), layout.fat.len());
    for copy in [0, 6] {
        put(copy, &boot)?;
        put(copy + 1, &info)?;
        put(copy + 2, &signed(vec![0; SECTOR]))?;
    }
    let fat: Vec<u8> = layout.fat.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    put(RESERVED, &fat)?;
    put(RESERVED + fat_sectors, &fat)?;
    layout
        .writes
        .iter()
        .try_for_each(|(cluster, bytes)| put(data + (*cluster as usize - 2) * CLUSTER_SECTORS, bytes))
}

fn insert<'a>(directory: &mut Directory<'a>, path: &'a str, content: &'a [u8]) {
    let Some((first, rest)) = path.split_once('/') else {
        directory.insert(path, Node::File(content));
        return;
    };
    if let Node::Directory(inner) =
        directory.entry(first).or_insert_with(|| Node::Directory(Directory::new()))
    {
        insert(inner, rest, content);
    }
}

/// What lies where.
struct Layout<'a> {
    fat: Vec<u32>,
    writes: Vec<(u32, std::borrow::Cow<'a, [u8]>)>,
}

impl<'a> Layout<'a> {
    /// A chain of clusters for that many bytes; 0 for none.
    fn allocate(&mut self, bytes: usize) -> u32 {
        let (first, count) = (self.fat.len() as u32, bytes.div_ceil(CLUSTER) as u32);
        self.fat.extend((1..count).map(|next| first + next));
        self.fat.extend((count > 0).then_some(END_OF_CHAIN));
        if count > 0 { first } else { 0 }
    }

    /// Lays out a folder and all below it. The root is its own parent and has the label in place of `.` and `..`.
    fn directory(&mut self, directory: &Directory<'a>, parent: Option<u32>, label: &str) -> u32 {
        let names: usize = directory.keys().map(|name| 1 + long_entries(name)).sum();
        let own = self.allocate((names + 2) * ENTRY);
        let mut bytes = Vec::new();
        match parent {
            // The root is written as cluster 0 there.
            Some(parent) => {
                bytes.extend(entry(*b".          ", DIRECTORY, own, 0));
                bytes.extend(entry(*b"..         ", DIRECTORY, parent, 0));
            }
            None => bytes.extend(entry(padded(label), LABEL, 0, 0)),
        }
        let mut used = Vec::new();
        for (name, node) in directory {
            let short = short_name(name, &used);
            used.push(short);
            bytes.extend(long_name(name, short));
            bytes.extend(match node {
                Node::Directory(inner) => {
                    let first = self.directory(inner, Some(if parent.is_some() { own } else { 0 }), label);
                    entry(short, DIRECTORY, first, 0)
                }
                Node::File(content) => {
                    let first = self.allocate(content.len());
                    if first != 0 {
                        self.writes.push((first, (*content).into()));
                    }
                    entry(short, ARCHIVE, first, content.len() as u32)
                }
            });
        }
        self.writes.push((own, bytes.into()));
        own
    }
}

fn entry(name: [u8; 11], attributes: u8, cluster: u32, size: u32) -> [u8; ENTRY] {
    // 1980-01-01, 00:00.
    const DATE: [u8; 2] = [0x21, 0];
    let (low, high) = ((cluster & 0xFFFF) as u16, (cluster >> 16) as u16);
    let mut entry = [0; ENTRY];
    put(&mut entry, 0, &name);
    put(&mut entry, 11, &[attributes]);
    [16, 18, 24].iter().for_each(|at| put(&mut entry, *at, &DATE));
    put(&mut entry, 20, &high.to_le_bytes());
    put(&mut entry, 26, &low.to_le_bytes());
    put(&mut entry, 28, &size.to_le_bytes());
    entry
}

/// Base and extension where a name is of the old form, small letters aside.
fn old_form(name: &str) -> Option<(&str, &str)> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    (base.len() <= 8 && extension.len() <= 3 && plain(base) && plain(extension)).then_some((base, extension))
}

/// The name of 8 and 3 capitals: the name itself, or its start and a number that none in the folder has.
fn short_name(name: &str, used: &[[u8; 11]]) -> [u8; 11] {
    let join = |base: &str, extension: &str| padded(&format!("{base:8}{extension:3}").to_ascii_uppercase());
    if let Some((base, extension)) = old_form(name) {
        return join(base, extension);
    }
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let plain =
        |text: &str, max| -> String { text.chars().filter(char::is_ascii_alphanumeric).take(max).collect() };
    let (base, extension) = (plain(base, 6), plain(extension, 3));
    let numbered = |number: usize| join(&format!("{base}~{number}"), &extension);
    (1..9).map(numbered).find(|short| !used.contains(short)).unwrap_or_else(|| numbered(9))
}

fn padded(text: &str) -> [u8; 11] {
    let mut name = [b' '; 11];
    put(&mut name, 0, text.as_bytes().get(..text.len().min(11)).unwrap_or_default());
    name
}

fn long_entries(name: &str) -> usize {
    let is_short = old_form(name).is_some() && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    if is_short { 0 } else { name.len().div_ceil(LONG) }
}

/// The entries before the short one, the last part of the name first.
fn long_name(name: &str, short: [u8; 11]) -> Vec<u8> {
    let sum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let count = long_entries(name);
    let mut bytes = Vec::new();
    for number in (0..count).rev() {
        // A zero ends the name, then all ones.
        let mut units = name.encode_utf16().chain([0]).skip(number * LONG);
        let last = if number + 1 == count { 0x40 } else { 0 };
        let mut entry = [0; ENTRY];
        put(&mut entry, 0, &[last | (number as u8 + 1)]);
        put(&mut entry, 11, &[0x0F, 0, sum]);
        for at in (1..11).step_by(2).chain((14..26).step_by(2)).chain([28, 30]) {
            put(&mut entry, at, &units.next().unwrap_or(0xFFFF).to_le_bytes());
        }
        bytes.extend(entry);
    }
    bytes
}

fn boot_sector(place: Place, fat_sectors: usize, label: &str) -> Vec<u8> {
    let mut boot = vec![0; SECTOR];
    let (offset, sectors) = ((place.offset / SECTOR as u64) as u32, (place.size / SECTOR as u64) as u32);
    put(&mut boot, 0, b"\xEB\x58\x90BERTH   ");
    put(&mut boot, 11, &(SECTOR as u16).to_le_bytes());
    put(&mut boot, 13, &[CLUSTER_SECTORS as u8, RESERVED as u8, 0, 2]);
    put(&mut boot, 21, &[0xF8]);
    // Sectors of a track, heads: of no meaning, but some readers want numbers.
    put(&mut boot, 24, &[63, 0, 255, 0]);
    for (at, value) in [(28, offset), (32, sectors), (36, fat_sectors as u32), (44, 2), (67, place.id)] {
        put(&mut boot, at, &value.to_le_bytes());
    }
    put(&mut boot, 48, &[1, 0, 6, 0]);
    put(&mut boot, 64, &[0x80, 0, 0x29]);
    put(&mut boot, 71, &padded(label));
    put(&mut boot, 82, b"FAT32   ");
    signed(boot)
}

fn info_sector(free: usize, next: usize) -> Vec<u8> {
    let mut info = vec![0; SECTOR];
    put(&mut info, 0, b"RRaA");
    put(&mut info, 484, b"rrAa");
    put(&mut info, 488, &(free as u32).to_le_bytes());
    put(&mut info, 492, &(next as u32).to_le_bytes());
    signed(info)
}

fn signed(mut sector: Vec<u8>) -> Vec<u8> {
    put(&mut sector, 510, &[0x55, 0xAA]);
    sector
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + part.len()) {
        place.copy_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 256 << 20;

    fn written(files: &[(&str, &[u8])]) -> File {
        let path = std::env::temp_dir().join(format!("berth-fat-{}-{}", std::process::id(), files.len()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(SIZE + 4096).unwrap();
        write(&file, Place { offset: 4096, size: SIZE, id: 7 }, "BERTH", files).unwrap();
        file
    }

    /// Reads along a chain, as a reader would.
    fn chain(file: &File, mut cluster: u32) -> Vec<u8> {
        let read = |at: u64, len: usize| {
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, 4096 + at).unwrap();
            bytes
        };
        let boot = read(0, 512);
        let fat_sectors = u32::from_le_bytes(boot[36..40].try_into().unwrap());
        let mut content = Vec::new();
        while cluster < 0x0FFF_FFF8 {
            let sector = u64::from(32 + 2 * fat_sectors + (cluster - 2) * 4);
            content.extend(read(sector * 512, 2048));
            cluster = u32::from_le_bytes(read(32 * 512 + u64::from(cluster) * 4, 4).try_into().unwrap());
        }
        content
    }

    /// Long names, where there are, and the first cluster and size of each.
    fn list(directory: &[u8]) -> Vec<(String, u32, u32)> {
        let (mut found, mut long) = (Vec::new(), String::new());
        for entry in directory.chunks(32).take_while(|entry| entry[0] != 0) {
            if entry[11] == 0x0F {
                let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain([28, 30]);
                let part: String =
                    places.map(|at| entry[at]).take_while(|c| *c != 0).map(char::from).collect();
                long = part + &long;
            } else {
                let short = String::from_utf8_lossy(&entry[..11]).into_owned();
                let name = if long.is_empty() { short } else { std::mem::take(&mut long) };
                let cluster = u32::from(u16::from_le_bytes([entry[26], entry[27]]));
                found.push((name, cluster, u32::from_le_bytes(entry[28..32].try_into().unwrap())));
            }
        }
        found
    }

    #[test]
    fn files_are_found_by_their_long_names() {
        let large = vec![b'x'; 5000];
        let files: &[(&str, &[u8])] =
            &[("loader/loader.conf", b"timeout 0\n"), ("EFI/Linux/berth_1.efi", &large), ("EMPTY", b"")];
        let file = written(files);
        let root = list(&chain(&file, 2));
        let names: Vec<_> = root.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["BERTH      ", "EFI        ", "EMPTY      ", "loader"]);
        assert_eq!((root[2].1, root[2].2), (0, 0));
        let inner = list(&chain(&file, root[3].1));
        assert_eq!((inner[2].0.as_str(), inner[2].2), ("loader.conf", 10));
        let linux = list(&chain(&file, list(&chain(&file, root[1].1))[2].1));
        let (name, cluster, size) = &linux[2];
        assert_eq!((name.as_str(), *size), ("berth_1.efi", 5000));
        assert_eq!(chain(&file, *cluster)[..5000], large);
    }

    #[test]
    fn short_names() {
        let first = short_name("loader.conf", &[]);
        assert_eq!(&first, b"LOADER~1CON");
        assert_eq!(&short_name("loader.config", &[first]), b"LOADER~2CON");
        assert_eq!(&short_name("berth_1.efi", &[]), b"BERTH_1 EFI");
        assert_eq!((long_entries("BOOTX64.EFI"), long_entries("berth_1.efi")), (0, 1));
        assert_eq!(long_entries("berth_12+3-0.efi"), 2);
    }

    #[test]
    fn too_much_or_too_small_is_refused() {
        let file = tempfile();
        let place = |size| Place { offset: 0, size, id: 1 };
        assert!(write(&file, place(16 << 20), "X", &[]).is_err());
        let large = vec![0; 140 << 20];
        assert!(write(&file, place(138 << 20), "X", &[("A", &large)]).is_err());
    }

    fn tempfile() -> File {
        let path = std::env::temp_dir().join(format!("berth-fat-{}", std::process::id()));
        let file = File::options().write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }
}
