//! Trees there and back, and streams that nobody should be able to hurt a node with.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::PathBuf;

use rustix::fs::{FileType, XattrFlags, getxattr, mknodat, setxattr};
use tar::{Builder, EntryType, Header};

use super::*;

/// An empty directory for one test.
fn scene(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("berth-volume-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&dir));
    fs::create_dir_all(dir.join("top")).unwrap();
    dir
}

fn extract(dir: &Path, stream: &[u8]) -> Result<(), String> {
    let top = open_dir(&dir.join("top")).unwrap();
    extract::read(&top, stream).map_err(|error| crate::kmsg::Chain(&error).to_string())
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let dir = scene("there-and-back");
    let from = dir.join("from");
    let long = "x".repeat(200);
    fs::create_dir_all(from.join("a/b").join(&long)).unwrap();
    fs::write(from.join("a/file"), vec![7; 100_000]).unwrap();
    fs::write(from.join("a/b").join(&long).join(&long), "deep").unwrap();
    fs::write(from.join("empty"), "").unwrap();
    fs::hard_link(from.join("a/file"), from.join("z-again")).unwrap();
    symlink("/etc//passwd/", from.join("link")).unwrap();
    symlink(&long, from.join("long-link")).unwrap();
    mknodat(CWD, from.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap());
    chown(from.join("a/file"), Some(70_000), Some(3_000_000)).unwrap();
    lchown(from.join("link"), Some(5), Some(6)).unwrap();
    fs::set_permissions(from.join("a/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o1770)).unwrap();
    fs::set_permissions(&from, fs::Permissions::from_mode(0o750)).unwrap();
    let has_xattrs = setxattr(from.join("empty"), "user.colour", b"gr\nn", XattrFlags::empty()).is_ok();

    let mut stream = Vec::new();
    let skipped = export::write(open_dir(&from).unwrap(), &mut stream).unwrap();
    assert_eq!(skipped, ["socket"]);
    extract(&dir, &stream).unwrap();
    let top = dir.join("top");
    let names = ["", "a", "a/file", "empty", "link", "long-link", "pipe", "z-again"].map(PathBuf::from);
    for name in names.into_iter().chain([Path::new("a/b").join(&long).join(&long)]) {
        let [old, new] = [&from, &top].map(|base| fs::symlink_metadata(base.join(&name)).unwrap());
        assert_eq!(old.mode(), new.mode(), "{}", name.display());
        assert_eq!(
            (old.uid(), old.gid(), old.mtime()),
            (new.uid(), new.gid(), new.mtime()),
            "{}",
            name.display()
        );
        if old.is_file() {
            assert_eq!(fs::read(from.join(&name)).unwrap(), fs::read(top.join(&name)).unwrap());
        }
    }
    assert_eq!(fs::read_link(top.join("link")).unwrap().as_os_str(), "/etc//passwd/");
    assert_eq!(fs::read_link(top.join("long-link")).unwrap().as_os_str(), long.as_str());
    assert!(fs::symlink_metadata(top.join("pipe")).unwrap().file_type().is_fifo());
    let inode = |name: &str| fs::metadata(top.join(name)).unwrap().ino();
    assert_eq!(inode("a/file"), inode("z-again"));
    if has_xattrs {
        let mut value = [0; 16];
        assert_eq!(getxattr(top.join("empty"), "user.colour", &mut value), Ok(4));
        assert_eq!(&value[..4], b"gr\nn");
    }
    fs::remove_dir_all(dir).unwrap();
}

/// A stream of entries: path, kind, link or content.
fn stream(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, text) in entries {
        let mut header = Header::new_gnu();
        let is_link = matches!(kind, EntryType::Link | EntryType::Symlink);
        // As nobody checks it: the library would refuse some of these.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let data = if is_link { "" } else { text };
        if is_link {
            header.set_link_name_literal(text).unwrap();
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn no_entry_leaves_the_directory() {
    use EntryType::{Block, Char, Directory, Link, Regular, Symlink};
    let outside = "/etc/berth-test-of-volumes";
    for (entries, why) in [
        (&[("../out", Regular, "x")][..], "leads upwards"),
        (&[("a/../../out", Regular, "x")], "leads upwards"),
        (&[(outside, Regular, "x")], "from the root"),
        (&[("l", Symlink, "/etc"), ("l/berth-test-of-volumes", Regular, "x")], "folder of 'l/"),
        (&[("l", Symlink, ".."), ("l/out", Regular, "x")], "folder of 'l/"),
        (&[("l", Symlink, ".."), ("l", Directory, "")], "make 'l'"),
        (&[("h", Link, "../top")], "leads upwards"),
        (&[("h", Link, "/etc/passwd")], "from the root"),
        (&[("l", Symlink, "/etc"), ("h", Link, "l/passwd")], "file of 'h'"),
        (&[("d", Char, "")], "is a device"),
        (&[("d", Block, "")], "is a device"),
        (&[("..", Directory, "")], "leads upwards"),
    ] {
        let dir = scene("hostile");
        let error = extract(&dir, &stream(entries)).unwrap_err();
        assert!(error.contains(why), "{entries:?}: {error}");
        assert!(!dir.join("out").exists() && !Path::new(outside).exists(), "{entries:?}");
        fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn a_later_file_replaces_a_link_and_is_not_written_through_it() {
    let dir = scene("replace");
    fs::write(dir.join("out"), "kept").unwrap();
    let entries = [("x", EntryType::Symlink, "../out"), ("./x", EntryType::Regular, "new")];
    extract(&dir, &stream(&entries)).unwrap();
    assert_eq!(fs::read(dir.join("out")).unwrap(), b"kept");
    assert_eq!(fs::read(dir.join("top/x")).unwrap(), b"new");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_is_cut_off_or_no_tar_is_refused() {
    let dir = scene("damaged");
    let whole = stream(&[("a", EntryType::Regular, "some text"), ("b", EntryType::Regular, "more")]);
    extract(&dir, &whole).unwrap();
    for len in [0, 100, 512, 515, 1024, 1500, 2048] {
        assert!(extract(&dir, &whole[..len]).is_err(), "{len} bytes");
    }
    assert!(extract(&dir, &[b'x'; 4096]).is_err());
    let mut long = stream(&[("a", EntryType::XHeader, "")]);
    let mut header = Header::from_byte_slice(&long[..512]).clone();
    header.set_size(2 << 20);
    header.set_cksum();
    long[..512].copy_from_slice(header.as_bytes());
    assert!(extract(&dir, &long).unwrap_err().contains("more than 1 MiB"));
    fs::remove_dir_all(dir).unwrap();
}
