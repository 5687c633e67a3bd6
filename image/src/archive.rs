//! Opening what holds images: an OCI layout folder, an oci-archive or a docker-archive.
//!
//! A source answers one question: which bytes are behind this name. In a folder names are opened component by
//! component without following symbolic links; in an archive they are looked up in the list of its entries, and
//! the host's file system is not asked at all. Archives may be compressed as a whole; they are then unpacked to a
//! spool file first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::compression::{Format, UnpackError, unpack};
use crate::extent::{Extent, spool};
use crate::tarfile::{End, Entries, Kind, TarError};

/// Most entries of an archive: blobs and a few documents.
const MAX_ENTRIES: usize = 100_000;
/// Most links from a name to its blob.
const MAX_HOPS: usize = 8;

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be opened or read.
    #[error("cannot read '{0}'")]
    Read(PathBuf, #[source] io::Error),
    /// It is compressed and damaged, or too large.
    #[error("the archive is refused")]
    Unpack(#[source] UnpackError),
    /// It is not a proper tar file.
    #[error("the archive is refused")]
    Tar(#[from] TarError),
    /// Too many entries.
    #[error("the archive has more than {MAX_ENTRIES} entries")]
    TooMany,
}

/// Something that holds images.
#[derive(Debug)]
pub enum Source {
    /// An OCI layout.
    Folder(PathBuf),
    /// By normalised name.
    Archive(BTreeMap<Vec<u8>, Slot>),
}

/// An entry of an archive.
#[derive(Clone, Debug)]
pub enum Slot {
    /// Its data.
    Data(Extent),
    /// The normalised name that a link points to.
    Link(Vec<u8>),
}

impl Source {
    /// Opens a folder or a tar file; `limit` bounds the unpacked size of a compressed one.
    pub fn open(path: &Path, spool_dir: &Path, limit: u64) -> Result<Self, ArchiveError> {
        let fault = |error| ArchiveError::Read(path.to_owned(), error);
        if std::fs::metadata(path).map_err(fault)?.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let mut archive = File::open(path).and_then(Extent::whole).map_err(fault)?;
        if Format::detect(&archive).map_err(fault)? != Format::Plain {
            let spool = spool(spool_dir).map_err(|error| ArchiveError::Read(spool_dir.to_owned(), error))?;
            (archive, _) = unpack(&archive, spool, limit).map_err(ArchiveError::Unpack)?;
        }
        read_entries(archive).map(Self::Archive)
    }

    /// The bytes of that name; none when it is absent.
    pub fn find(&self, name: &str) -> Result<Option<Extent>, ArchiveError> {
        match self {
            Self::Folder(folder) => match open_beneath(folder, name) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(ArchiveError::Read(folder.join(name), error)),
            },
            Self::Archive(entries) => Ok(look_up(entries, name)),
        }
    }
}

fn look_up(entries: &BTreeMap<Vec<u8>, Slot>, name: &str) -> Option<Extent> {
    let mut name = resolve(b"", name.as_bytes());
    for _ in 0..MAX_HOPS {
        match entries.get(&name)? {
            Slot::Data(data) => return Some(data.clone()),
            Slot::Link(target) => name.clone_from(target),
        }
    }
    None
}

fn open_beneath(folder: &Path, name: &str) -> io::Result<Extent> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(folder, flags | OFlags::DIRECTORY, Mode::empty())?;
    let mut components = name.split('/').peekable();
    while let Some(component) = components.next() {
        if matches!(component, "" | "." | "..") {
            return Err(io::ErrorKind::NotFound.into());
        }
        // NONBLOCK: opening a pipe that someone put there must not wait for a writer.
        let last = if components.peek().is_some() { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
        at = rustix::fs::openat(&at, component, flags | OFlags::NOFOLLOW | last, Mode::empty())?;
    }
    let file = File::from(at);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file"));
    }
    Extent::whole(file)
}

fn read_entries(archive: Extent) -> Result<BTreeMap<Vec<u8>, Slot>, ArchiveError> {
    let mut entries = BTreeMap::new();
    for entry in Entries::new(archive, End::Block) {
        let entry = entry?;
        if entries.len() >= MAX_ENTRIES {
            return Err(ArchiveError::TooMany);
        }
        let name = resolve(b"", &entry.path);
        let slot = match entry.kind {
            Kind::File => Slot::Data(entry.data),
            Kind::HardLink => Slot::Link(resolve(b"", &entry.link)),
            Kind::Symlink => Slot::Link(resolve(&name, &entry.link)),
            _ => continue,
        };
        entries.insert(name, slot);
    }
    Ok(entries)
}

/// `target` as seen from the directory of `from`, normalised: a key, never a path that is opened.
fn resolve(from: &[u8], target: &[u8]) -> Vec<u8> {
    let split = |path| <[u8]>::split(path, |byte: &u8| *byte == b'/');
    let mut components: Vec<&[u8]> =
        if target.starts_with(b"/") { Vec::new() } else { split(from).collect() };
    components.pop();
    for component in split(target) {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    components.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_inside_an_archive() {
        for (from, target, expect) in [
            ("", "index.json", "index.json"),
            ("", "./blobs//sha256/aa", "blobs/sha256/aa"),
            ("", "/manifest.json", "manifest.json"),
            ("ab/layer.tar", "../cd/layer.tar", "cd/layer.tar"),
            ("ab/layer.tar", "/x", "x"),
            ("ab/layer.tar", "../../../../etc/shadow", "etc/shadow"),
        ] {
            assert_eq!(
                String::from_utf8(resolve(from.as_bytes(), target.as_bytes())).unwrap(),
                expect,
                "{from} {target}"
            );
        }
    }
}
