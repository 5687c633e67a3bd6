//! `head.toml` on the disk, and the folders of revisions beside it.
//!
//! The file is replaced by rename after its contents have reached the disk. One that cannot be read is never
//! overwritten: it is kept under another name for whoever can make something of it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use berth_units::revision::{Head, Meta, is_set_aside, set_aside};

use super::records;
use crate::session::store::numbers;

/// Where revisions are.
pub const REVISIONS_DIR: &str = "/data/revisions";

const HEAD: &str = "head.toml";
/// A revision that is being removed.
const GONE: &str = ".gone-";
/// No head is longer, bytes.
const HEAD_MAX: u64 = 1 << 20;

/// What is on the disk.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// Nothing yet.
    Absent,
    /// The head.
    Head(Box<Head>),
    /// Something else, and why it is none.
    Unreadable(String),
}

/// Reads the head of a folder.
pub fn read(dir: &Path) -> Found {
    match read_bounded(&dir.join(HEAD)) {
        Ok(text) => Head::parse(&text).map_or_else(
            |error| Found::Unreadable(error.message().to_owned()),
            |head| Found::Head(Box::new(head)),
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Absent,
        Err(error) => Found::Unreadable(error.to_string()),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(HEAD_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Replaces the head; `durable`: also against a power cut.
pub fn write(dir: &Path, head: &Head, durable: bool) -> io::Result<()> {
    let text = head.print().map_err(io::Error::other)?;
    records::replace(&dir.join(".head.tmp"), &dir.join(HEAD), text.as_bytes(), durable)
}

/// Puts a head away that cannot be read: under which name.
pub fn keep_unreadable(dir: &Path) -> io::Result<String> {
    let free = |name: &str| !dir.join(name).exists();
    let name = set_aside(HEAD, free).ok_or_else(|| io::Error::other("too many are kept already"))?;
    fs::rename(dir.join(HEAD), dir.join(&name))?;
    fs::File::open(dir)?.sync_all()?;
    Ok(name)
}

/// Whether one that could not be read is kept.
pub fn is_unreadable_kept(dir: &Path) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_str().is_some_and(|name| is_set_aside(HEAD, name)))
}

/// Numbers of the revisions that are there; none where they cannot be listed.
pub fn present(dir: &Path) -> Vec<u64> {
    numbers(dir).unwrap_or_default()
}

/// The folder of a revision.
pub fn folder(dir: &Path, revision: u64) -> PathBuf {
    dir.join(revision.to_string())
}

/// Where a revision comes from.
pub fn meta(dir: &Path, revision: u64) -> Meta {
    read_bounded(&folder(dir, revision).join("meta.toml"))
        .map_or_else(|_| Meta::default(), |text| Meta::parse(&text))
}

/// Removes a revision. It loses its number first: no part of it is ever taken for the whole.
pub fn remove(dir: &Path, revision: u64) -> io::Result<()> {
    fs::rename(folder(dir, revision), dir.join(format!("{GONE}{revision}")))?;
    fs::remove_dir_all(dir.join(format!("{GONE}{revision}")))
}

/// Removes what is left of revisions whose removal did not come to its end.
pub fn remove_rubbish(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(GONE.as_bytes())) {
        drop(fs::remove_dir_all(entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_replaced_and_an_unreadable_one_kept() {
        let dir = std::env::temp_dir().join(format!("berth-head-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(read(&dir), Found::Absent);
        for good in [3, 4] {
            let head = Head { good, ..Head::default() };
            write(&dir, &head, true).unwrap();
            assert_eq!(read(&dir), Found::Head(Box::new(head)));
        }
        assert!(!is_unreadable_kept(&dir));
        for (at, text) in ["good = [", "good = \"x\""].into_iter().enumerate() {
            fs::write(dir.join(HEAD), text).unwrap();
            assert!(matches!(read(&dir), Found::Unreadable(_)), "{text}");
            let name = keep_unreadable(&dir).unwrap();
            assert_eq!(name, format!("head.toml.unreadable-{}", at + 1));
            assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), text);
            assert_eq!(read(&dir), Found::Absent);
            // What a power cut leaves before another one is written.
            assert!(is_unreadable_kept(&dir));
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_head_that_cannot_be_written_leaves_the_one_before() {
        let dir = std::env::temp_dir().join(format!("berth-full-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let head = Head { good: 3, ..Head::default() };
        write(&dir, &head, true).unwrap();
        // Stands for a full disk.
        fs::create_dir(dir.join(".head.tmp")).unwrap();
        assert!(write(&dir, &Head { good: 4, ..Head::default() }, true).is_err());
        assert_eq!(read(&dir), Found::Head(Box::new(head)));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_removed_has_no_number() {
        let dir = std::env::temp_dir().join(format!("berth-gone-{}", std::process::id()));
        for revision in ["1", "2", ".gone-3"] {
            fs::create_dir_all(dir.join(revision).join("units")).unwrap();
        }
        remove(&dir, 1).unwrap();
        assert!(remove(&dir, 1).is_err());
        remove_rubbish(&dir);
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["2"]);
        assert_eq!(present(&dir), [2]);
        assert_eq!(meta(&dir, 2), Meta::default());
        fs::remove_dir_all(dir).unwrap();
    }
}
