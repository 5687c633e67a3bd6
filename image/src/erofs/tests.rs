//! The written image against the kernel's own reader and against erofs-utils, where they are at hand.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::directory::{Dirent, encode, measure};
use super::format;
use super::*;
use crate::tree::{Body, Content, Meta, Node, NodeId, Tree};

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("berth-erofs-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn add(tree: &mut Tree, parent: NodeId, name: &str, body: Body) -> NodeId {
    let meta = Meta { mode: 0o640, uid: 70_000, gid: 5, mtime: 1_700_000_000, xattrs: BTreeMap::new() };
    tree.add(parent, name.as_bytes(), Node { meta, body }).unwrap()
}

fn bytes(len: usize, seed: usize) -> Body {
    Body::File(Content::Bytes((0..len).map(|at| ((at * 31 + seed) % 251) as u8).collect()))
}

/// Everything that the format knows, at the sizes where something changes.
fn sample() -> Tree {
    let mut tree = Tree::default();
    let files = add(&mut tree, Tree::ROOT, "files", Body::Directory(BTreeMap::new()));
    for size in [0, 1, 100, 3000, 4031, 4032, 4033, 4095, 4096, 4097, 8191, 8192, 8193, 20_000, 1_000_000] {
        add(&mut tree, files, &format!("f{size}"), bytes(size, size));
    }
    for copy in ["one", "two", "three"] {
        add(&mut tree, files, copy, bytes(9000, 7));
    }
    let linked = add(&mut tree, files, "linked", bytes(5000, 1));
    tree.link(Tree::ROOT, b"link", linked).unwrap();
    // More entries than a block holds, names that sort around `.` and `..`, and names of all lengths.
    let many = add(&mut tree, Tree::ROOT, "many", Body::Directory(BTreeMap::new()));
    for number in 0..700 {
        add(
            &mut tree,
            many,
            &format!("entry-{number}-{}", "x".repeat(number % 240)),
            bytes(number % 9, number),
        );
    }
    for name in ["!", "-", ".a", "...", "..x", "~"] {
        add(&mut tree, many, name, Body::Fifo);
    }
    let empty = add(&mut tree, Tree::ROOT, "empty", Body::Directory(BTreeMap::new()));
    tree.node_mut(empty).meta.mode = 0o1777;
    let special = add(&mut tree, Tree::ROOT, "special", Body::Directory(BTreeMap::new()));
    tree.node_mut(special).meta.xattrs.insert(b"trusted.overlay.opaque".to_vec(), b"y".to_vec());
    add(&mut tree, special, "whiteout", Body::Char(0, 0));
    add(&mut tree, special, "char", Body::Char(5, 1));
    add(&mut tree, special, "block", Body::Block(259, 70_000));
    add(&mut tree, special, "symlink", Body::Symlink(b"../files/f1".to_vec()));
    add(&mut tree, special, "long-symlink", Body::Symlink([b'a'; 4090].to_vec()));
    let attributed = add(&mut tree, special, "attributed", bytes(4000, 3));
    let xattrs = &mut tree.node_mut(attributed).meta.xattrs;
    xattrs.insert(b"user.note".to_vec(), vec![b'v'; 300]);
    xattrs.insert(b"security.capability".to_vec(), capability());
    let large = add(&mut tree, special, "large-attribute", bytes(10, 3));
    tree.node_mut(large).meta.xattrs.insert(b"user.large".to_vec(), vec![b'w'; 9000]);
    let suid = add(&mut tree, special, "suid", bytes(10, 4));
    tree.node_mut(suid).meta.mode = 0o4755;
    tree
}

/// VFS_CAP_REVISION_2 with CAP_NET_BIND_SERVICE permitted and effective.
fn capability() -> Vec<u8> {
    let words: [u32; 5] = [0x0200_0001, 1 << 10, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn write_sample(path: &Path) -> u64 {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    let volume = Volume { label: "berth-test", uuid: [0x42; 16], build_time: 0 };
    write(&sample(), &volume, &file).unwrap()
}

#[test]
fn structures_have_their_sizes() {
    let numbers = format::Super { root_nid: 36, inodes: 1, blocks: 2, checksum: 0 };
    let volume = Volume { label: "berth-factory", uuid: [1; 16], build_time: 0 };
    let block = format::super_block(&volume, &numbers).unwrap();
    assert_eq!(block.len(), 128);
    assert_eq!(block[..4], [0xe2, 0xe1, 0xf5, 0xe0]);
    assert_eq!(&block[64..78], b"berth-factory\0");
    let volume = Volume { label: "sixteen-bytes-xx", ..volume };
    assert!(matches!(format::super_block(&volume, &numbers), Err(ErofsError::Label(_))));
    let xattrs = BTreeMap::from([(b"user.a".to_vec(), b"bc".to_vec())]);
    assert_eq!(format::xattrs(&xattrs).unwrap()[12..], *b"\x01\x01\x02\0abc\0");
    let other = BTreeMap::from([(b"system.a".to_vec(), Vec::new())]);
    assert!(matches!(format::xattrs(&other), Err(ErofsError::Xattr(_))));
    assert_eq!(format::device(5, 1), 0x501);
    assert_eq!(format::device(259, 70_000), 0x70 | 259 << 8 | (70_000 & !0xff) << 12);
}

#[test]
fn the_checksum_is_crc32c() {
    // The check value of CRC-32/ISCSI, before its final inversion.
    assert_eq!(!format::checksum(b"123456789"), 0xe306_9283);
}

#[test]
fn directories_fill_blocks_in_order() {
    let names: Vec<String> = (0..400).map(|number| format!("{number:012}")).collect();
    let entries: Vec<_> = names.iter().map(|name| Dirent { name: name.as_bytes(), target: 1u64 }).collect();
    let (counts, size) = measure(&entries);
    assert_eq!(counts, [170, 170, 60]); // 4096 / (12 + 12)
    assert_eq!(size, 2 * 4096 + 60 * 24);
    let block = encode(&entries[..2], |target| (*target, 2));
    assert_eq!(block.len(), 48);
    assert_eq!(block[..12], [1, 0, 0, 0, 0, 0, 0, 0, 24, 0, 2, 0]);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let scratch = Scratch::new("same");
    let paths = [scratch.0.join("a"), scratch.0.join("b")];
    paths.iter().for_each(|path| assert_eq!(write_sample(path), fs::metadata(path).unwrap().len()));
    assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
}

#[test]
fn equal_files_share_their_blocks() {
    let plan = plan::plan(&sample()).unwrap();
    assert_eq!(plan.places.iter().filter(|place| place.shared).count(), 2);
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Package erofs-utils; without it there is nothing to compare with.
#[test]
fn erofs_utils_accepts_it() {
    if !has("fsck.erofs") {
        eprintln!("skipped: fsck.erofs (package erofs-utils) is not there");
        return;
    }
    let scratch = Scratch::new("fsck");
    let image = scratch.0.join("image");
    write_sample(&image);
    let check = Command::new("fsck.erofs").arg(&image).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let dump = Command::new("dump.erofs").arg("-s").arg(&image).output().unwrap();
    let text = String::from_utf8_lossy(&dump.stdout).into_owned();
    assert!(text.contains("42424242-4242-4242-4242-424242424242"), "{text}");
}

/// By the kernel's own reader: needs root, a loop device and erofs in the kernel.
#[test]
fn the_kernel_reads_it() {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default().contains("\terofs\n");
    if !known || !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root and a kernel with erofs");
        return;
    }
    let scratch = Scratch::new("mount");
    let (image, target) = (scratch.0.join("image"), scratch.0.join("mnt"));
    write_sample(&image);
    fs::create_dir(&target).unwrap();
    let options = ["-t", "erofs", "-o", "loop,ro"];
    let mount = Command::new("mount").args(options).arg(&image).arg(&target).output().unwrap();
    if !mount.status.success() && File::open("/dev/loop-control").is_err() {
        eprintln!("skipped: no loop devices");
        return;
    }
    assert!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
    let result = std::panic::catch_unwind(|| compare(&sample(), Tree::ROOT, &target));
    assert!(Command::new("umount").arg(&target).status().unwrap().success());
    result.unwrap();
}

/// A directory of the tree against the same one on disk.
fn compare(tree: &Tree, directory: NodeId, path: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let mut listed: Vec<Vec<u8>> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().as_bytes().to_vec()).collect();
    listed.sort();
    let entries = tree.entries(directory).unwrap();
    assert_eq!(listed, entries.keys().cloned().collect::<Vec<_>>(), "{}", path.display());
    for (name, id) in entries {
        let path = path.join(std::ffi::OsStr::from_bytes(name));
        compare_inode(tree.node(*id), &path);
        if tree.entries(*id).is_some() {
            compare(tree, *id, &path);
        }
    }
}

fn compare_inode(node: &Node, path: &Path) {
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::MetadataExt;
    let shown = path.display();
    let meta = fs::symlink_metadata(path).unwrap();
    let (kind, rdev) = match &node.body {
        Body::Directory(_) => (0o040_000, 0),
        Body::File(_) => (0o100_000, 0),
        Body::Symlink(_) => (0o120_000, 0),
        Body::Char(major, minor) => (0o020_000, rustix::fs::makedev(*major, *minor)),
        Body::Block(major, minor) => (0o060_000, rustix::fs::makedev(*major, *minor)),
        Body::Fifo => (0o010_000, 0),
    };
    assert_eq!(meta.mode() & 0o170_000, kind, "{shown}");
    assert_eq!(meta.rdev(), rdev, "{shown}");
    assert_eq!((meta.uid(), meta.gid(), meta.mtime()), (70_000, 5, 1_700_000_000), "{shown}");
    match &node.body {
        Body::Symlink(target) => {
            assert_eq!(fs::read_link(path).unwrap().into_os_string().into_vec(), *target)
        }
        _ => assert_eq!(meta.mode() & 0o7777, u32::from(node.meta.mode), "{shown}"),
    }
    if let Body::File(content) = &node.body {
        let mut expect = Vec::new();
        content.reader().read_to_end(&mut expect).unwrap();
        assert!(fs::read(path).unwrap() == expect, "content of {shown}");
    }
    if path.ends_with("link") {
        assert_eq!(meta.nlink(), 2);
    }
    for (name, value) in &node.meta.xattrs {
        let name = String::from_utf8(name.clone()).unwrap();
        let mut found = vec![0; 16 << 10];
        let len = rustix::fs::lgetxattr(path, name.as_str(), &mut found[..]).unwrap();
        assert_eq!(&found[..len], value, "{name} of {shown}");
    }
}
