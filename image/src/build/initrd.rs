//! The initrd: a cpio archive of everything that is the node's root, compressed with zstd.
//!
//! The format is "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of Linux). All is owned by root
//! and of the epoch, entries are in the order of their paths, numbered in that order: the bytes depend on the
//! content only.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// zstd's level. The kernel unpacks every level equally fast; 19 would make 20 MB half a megabyte smaller and take
/// twenty times as long, at every build.
const LEVEL: i32 = 12;

/// What a path of the archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Directory(u32),
    File(u32, Vec<u8>),
    CharDevice(u32, (u32, u32)),
    /// What it points to.
    Link(String),
}

/// Paths, without a leading `/`, and what they are.
#[derive(Clone, Debug, Default)]
pub struct Initrd {
    items: BTreeMap<String, Item>,
}

impl Initrd {
    /// Adds a directory, mode 0755, and those above it.
    pub fn directory(&mut self, path: &str) {
        self.parents(path);
        self.items.insert(path.to_owned(), Item::Directory(0o755));
    }

    /// Adds a file and the directories above it.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.parents(path);
        self.items.insert(path.to_owned(), Item::File(mode, content.into()));
    }

    /// Adds a character device, mode 0600.
    pub fn char_device(&mut self, path: &str, number: (u32, u32)) {
        self.parents(path);
        self.items.insert(path.to_owned(), Item::CharDevice(0o600, number));
    }

    /// Adds a symbolic link and the directories above it.
    pub fn link(&mut self, path: &str, to: &str) {
        self.parents(path);
        self.items.insert(path.to_owned(), Item::Link(to.to_owned()));
    }

    /// Whether there is anything at that path.
    pub fn has(&self, path: &str) -> bool {
        self.items.contains_key(path)
    }

    /// Whether a directory is at that path.
    pub fn has_directory(&self, path: &str) -> bool {
        matches!(self.items.get(path), Some(Item::Directory(_)))
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let parent = path.get(..at).unwrap_or_default().to_owned();
            self.items.entry(parent).or_insert(Item::Directory(0o755));
        }
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        let size = |item: &Item| if let Item::File(_, data) = item { data.len() as u64 } else { 0 };
        self.items.values().map(size).sum()
    }

    /// The archive, not compressed.
    pub fn cpio(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for (number, (path, item)) in self.items.iter().enumerate() {
            let (mode, data, device) = match item {
                Item::Directory(mode) => (0o040_000 | mode, &[][..], (0, 0)),
                Item::File(mode, data) => (0o100_000 | mode, data.as_slice(), (0, 0)),
                Item::CharDevice(mode, device) => (0o020_000 | mode, &[][..], *device),
                Item::Link(to) => (0o120_777, to.as_bytes(), (0, 0)),
            };
            let links = if matches!(item, Item::Directory(_)) { 2 } else { 1 };
            entry(&mut archive, path, &[number + 1, mode as usize, links], (data, device));
        }
        entry(&mut archive, "TRAILER!!!", &[0, 0, 1], (&[], (0, 0)));
        archive
    }

    /// The archive as the kernel gets it.
    pub fn compressed(&self) -> io::Result<Vec<u8>> {
        let archive = self.cpio();
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        encoder.set_pledged_src_size(Some(archive.len() as u64))?;
        encoder.write_all(&archive)?;
        encoder.finish()
    }
}

/// Magic and 13 numbers of 8 hex digits; then name and data, each padded to 4 bytes.
fn entry(
    archive: &mut Vec<u8>,
    path: &str,
    [number, mode, links]: &[usize; 3],
    (data, (major, minor)): (&[u8], (u32, u32)),
) {
    let fields: [usize; 13] = [
        *number,
        *mode,
        0, // uid
        0, // gid
        *links,
        0, // mtime
        data.len(),
        0, // major and minor of the device it is on
        0,
        major as usize,
        minor as usize,
        path.len() + 1,
        0, // checksum, not used by this format
    ];
    archive.extend(b"070701");
    fields.iter().for_each(|field| archive.extend(format!("{field:08x}").bytes()));
    archive.extend(path.bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(data);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Initrd {
        let mut initrd = Initrd::default();
        initrd.file("init", 0o755, *b"#!");
        initrd.char_device("dev/console", (5, 1));
        initrd.file("etc/berth/units/web.toml", 0o644, "schema = 1\n");
        initrd.directory("proc");
        initrd
    }

    #[test]
    fn parents_and_order() {
        let paths: Vec<_> = sample().items.into_keys().collect();
        let expect = [
            "dev",
            "dev/console",
            "etc",
            "etc/berth",
            "etc/berth/units",
            "etc/berth/units/web.toml",
            "init",
            "proc",
        ];
        assert_eq!(paths, expect);
    }

    #[test]
    fn newc_entries() {
        let archive = sample().cpio();
        assert_eq!(archive.len() % 4, 0);
        assert!(archive.starts_with(
            b"070701\
            00000001000041ed000000000000000000000002000000000000000000000000000000000000000000000000\
            0000000400000000dev\0"
        ));
        let compressed = sample().compressed().unwrap();
        assert_eq!(compressed, sample().compressed().unwrap());
        assert_eq!(zstd::decode_all(&compressed[..]).unwrap(), archive);
    }
}
