//! Trees there and back, and streams that nobody should be able to hurt a node with.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags, getxattr, mknodat, openat, setxattr};
use tar::{Builder, EntryType, Header};

use super::*;

/// An empty directory for one test.
fn scene(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("berth-archive-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&dir));
    fs::create_dir_all(dir.join("top")).unwrap();
    dir
}

fn open_dir(path: &Path) -> OwnedFd {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

/// An error and its causes.
fn words(error: ArchiveError) -> String {
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

fn extract(dir: &Path, stream: &[u8]) -> Result<(), String> {
    let top = open_dir(&dir.join("top"));
    read(&top, stream, Keep::All).map_err(words)
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
    // A further name of what is left out leads to nothing.
    fs::hard_link(from.join("socket"), from.join("socket-again")).unwrap();
    chown(from.join("a/file"), Some(70_000), Some(3_000_000)).unwrap();
    lchown(from.join("link"), Some(5), Some(6)).unwrap();
    fs::set_permissions(from.join("a/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o1770)).unwrap();
    fs::set_permissions(&from, fs::Permissions::from_mode(0o750)).unwrap();
    let has_xattrs = setxattr(from.join("empty"), "user.colour", b"gr\nn", XattrFlags::empty()).is_ok();

    let mut stream = Vec::new();
    let skipped = write(open_dir(&from), &mut stream).unwrap();
    let mut names = skipped.paths;
    names.sort();
    assert_eq!(
        (names.as_slice(), skipped.more),
        (["socket", "socket-again"].map(String::from).as_slice(), 0)
    );
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
    let outside = "/etc/berth-test-of-archives";
    for (entries, why) in [
        (&[("../out", Regular, "x")][..], "leads upwards"),
        (&[("a/../../out", Regular, "x")], "leads upwards"),
        (&[(outside, Regular, "x")], "from the root"),
        (&[("l", Symlink, "/etc"), ("l/berth-test-of-archives", Regular, "x")], "folder of 'l/"),
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

/// Takes a stream to a path as `berth cp` does.
fn take(base: &Base, path: &Path, name: Option<&str>, stream: &[u8]) -> Result<(), String> {
    receive(base, path.to_str().unwrap(), name, stream, Keep::Plain(None)).map_err(words)
}

fn packed(base: &Base, path: &Path) -> Result<Vec<u8>, String> {
    let mut stream = Vec::new();
    pack(base, path.to_str().unwrap(), &mut stream).map_err(words)?;
    Ok(stream)
}

#[test]
fn a_file_gets_the_name_that_its_place_gives_it() {
    let dir = scene("file");
    let base = Base::here().unwrap();
    fs::write(dir.join("from"), "text").unwrap();
    fs::set_permissions(dir.join("from"), fs::Permissions::from_mode(0o6750)).unwrap();
    let stream = packed(&base, &dir.join("from")).unwrap();
    let top = dir.join("top");
    for (path, found) in [("", "from"), ("/", "from"), ("/new", "new"), ("/new", "new")] {
        let path = PathBuf::from(format!("{}{path}", top.display()));
        take(&base, &path, Some("from"), &stream).unwrap();
        assert_eq!(fs::read(top.join(found)).unwrap(), b"text");
        // Set-id bits are not taken over.
        assert_eq!(fs::metadata(top.join(found)).unwrap().mode() & 0o7777, 0o750);
    }
    fs::create_dir(top.join("d")).unwrap();
    fs::create_dir(top.join("d/from")).unwrap();
    symlink("new", top.join("link")).unwrap();
    for (path, why) in [
        ("missing/", "is no directory"),
        ("missing/x", "No such file"),
        ("new/", "is no directory"),
        ("d", "is there already and is no ordinary file"),
        ("link", "is there already and is no ordinary file"),
    ] {
        let path = format!("{}/{path}", top.display());
        let error = take(&base, Path::new(&path), Some("from"), &stream).unwrap_err();
        assert!(error.contains(why), "{path}: {error}");
    }
    // Cut off: the old one stays, and nothing is left beside it.
    fs::write(top.join("new"), "old").unwrap();
    let before = fs::read_dir(&top).unwrap().count();
    assert!(take(&base, &top.join("new"), Some("from"), &stream[..514]).is_err());
    assert_eq!(fs::read(top.join("new")).unwrap(), b"old");
    assert_eq!(fs::read_dir(&top).unwrap().count(), before);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_directory_is_made_or_put_into_one_that_is_there_and_stays_as_it_is() {
    let dir = scene("directory");
    let base = Base::here().unwrap();
    fs::create_dir_all(dir.join("from/sub")).unwrap();
    fs::write(dir.join("from/sub/file"), "text").unwrap();
    symlink("/etc", dir.join("from/link")).unwrap();
    fs::set_permissions(dir.join("from/sub"), fs::Permissions::from_mode(0o500)).unwrap();
    let stream = packed(&base, &dir.join("from")).unwrap();
    let top = dir.join("top");
    fs::set_permissions(&top, fs::Permissions::from_mode(0o700)).unwrap();
    for (path, name, found) in [("", Some("from"), "from"), ("new", Some("from"), "new"), ("", None, ".")] {
        take(&base, &top.join(path), name, &stream).unwrap();
        let found = top.join(found);
        assert_eq!(fs::read(found.join("sub/file")).unwrap(), b"text");
        assert_eq!(fs::metadata(found.join("sub")).unwrap().mode() & 0o7777, 0o500);
        assert_eq!(fs::read_link(found.join("link")).unwrap(), Path::new("/etc"));
    }
    assert_eq!(fs::metadata(&top).unwrap().mode() & 0o7777, 0o700);
    fs::write(top.join("file"), "").unwrap();
    let error = take(&base, &top.join("file"), Some("from"), &stream).unwrap_err();
    assert!(error.contains("is no directory"), "{error}");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn links_of_a_root_never_lead_out_of_it() {
    let dir = scene("root");
    fs::write(dir.join("secret"), "outside").unwrap();
    let root = dir.join("top");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/secret"), "inside").unwrap();
    symlink("/etc", root.join("absolute")).unwrap();
    symlink("../../../../../..", root.join("upwards")).unwrap();
    symlink(&dir, root.join("out")).unwrap();
    symlink(format!("/proc/{}/root", std::process::id()), root.join("magic")).unwrap();
    let base = Base::within(open_dir(&root));
    let text = |path: &str| {
        packed(&base, Path::new(path)).map(|stream| String::from_utf8_lossy(&stream[512..518]).into_owned())
    };
    assert_eq!(text("/absolute/secret").unwrap(), "inside");
    assert_eq!(text("/upwards/etc/secret").unwrap(), "inside");
    assert_eq!(text("/../../etc/secret").unwrap(), "inside");
    for path in ["/out/secret", "/upwards/secret", "/magic/etc/passwd", "/../secret"] {
        assert!(text(path).is_err(), "{path}");
    }
    let stream = stream(&[("evil", EntryType::Regular, "x")]);
    take(&base, Path::new("/absolute"), Some("evil"), &stream).unwrap();
    assert_eq!(fs::read(root.join("etc/evil")).unwrap(), b"x");
    take(&base, Path::new("/upwards/evil"), Some("evil"), &stream).unwrap();
    assert!(root.join("evil").exists());
    assert!(take(&base, Path::new("/out/evil"), Some("evil"), &stream).is_err());
    assert!(!dir.join("evil").exists());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_hostile_container_writes_nowhere_but_in_the_place_that_was_named() {
    use EntryType::{Char, Directory, Link, Regular, Symlink};
    let base = Base::here().unwrap();
    for (entries, why) in [
        (&[("./", Directory, ""), ("../out", Regular, "x")][..], "leads upwards"),
        (&[("./", Directory, ""), ("l", Symlink, ".."), ("l/out", Regular, "x")], "folder of 'l/"),
        (&[("./", Directory, ""), ("l", Symlink, "/etc"), ("h", Link, "l/passwd")], "file of 'h'"),
        (&[("./", Directory, ""), ("d", Char, "")], "is a device"),
        (&[("/etc/berth-test-of-archives", Directory, "")], "from the root"),
    ] {
        let dir = scene("hostile-container");
        let error = take(&base, &dir.join("top/new"), Some("x"), &stream(entries)).unwrap_err();
        assert!(error.contains(why), "{entries:?}: {error}");
        assert!(!dir.join("out").exists() && !dir.join("top/out").exists(), "{entries:?}");
        fs::remove_dir_all(dir).unwrap();
    }
    // Whatever a single file calls itself, it gets the name that was asked for.
    let dir = scene("hostile-name");
    take(&base, &dir.join("top"), Some("asked"), &stream(&[("../../out", Regular, "x")])).unwrap();
    assert!(dir.join("top/asked").exists() && !dir.join("out").exists());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn paths_that_no_system_call_takes_are_refused() {
    let dir = scene("long-path");
    let (name, mut at) = ("n".repeat(250), open_dir(&dir.join("top")));
    for _ in 0..17 {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = openat(&at, &name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let found = write(open_dir(&dir.join("top")), Vec::new());
    assert!(matches!(found, Err(ArchiveError::Long(_))), "{found:?}");
    let mut builder = Builder::new(Vec::new());
    let path = [name.as_str(); 17].join("/");
    builder.append_pax_extensions([("path", path.as_bytes())]).unwrap();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_size(0);
    header.set_path("short").unwrap();
    header.set_cksum();
    builder.append(&header, io::empty()).unwrap();
    let stream = builder.into_inner().unwrap();
    let said = extract(&dir, &stream).unwrap_err();
    assert!(said.contains("too long"), "{said}");
}

#[test]
fn many_directories_have_their_times_and_are_not_all_remembered() {
    let dir = scene("many-directories");
    let mut builder = Builder::new(Vec::new());
    let mut entry = |path: String, kind, mtime| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o555);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(mtime);
        header.set_size(0);
        builder.append_data(&mut header, path, io::empty()).unwrap();
    };
    entry("outer".to_owned(), EntryType::Directory, 1);
    for number in 0..10_500 {
        entry(format!("outer/{number}"), EntryType::Directory, 2);
    }
    entry("outer/0/late".to_owned(), EntryType::Regular, 3);
    let stream = builder.into_inner().unwrap();
    read(&open_dir(&dir.join("top")), stream.as_slice(), Keep::Plain(None)).unwrap();
    let mtime = |path: &str| fs::metadata(dir.join("top").join(path)).unwrap().mtime();
    assert_eq!((mtime("outer"), mtime("outer/1"), mtime("outer/10499")), (1, 2, 2));
    drop(fs::remove_dir_all(dir));
}
