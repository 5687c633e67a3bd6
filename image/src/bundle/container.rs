//! The tar file of a bundle: written in one way only, and read only as it is written.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::fault::BundleError;
use super::{BLOBS, INDEX_NAME, LAYOUT_NAME, MAX_DOCUMENT, MAX_ENTRIES, SIGNATURE_NAME};
use crate::digest::Digest;
use crate::extent::Extent;
use crate::signature::minisign;
use crate::tarfile::shown;

const BLOCK: u64 = 512;
/// Two empty blocks end a tar file (POSIX, pax, "ustar Interchange Format").
const END: usize = 1024;

/// What is in the file, nothing of it verified.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub signature: Option<Vec<u8>>,
    pub layout: Option<Vec<u8>>,
    pub index: Option<Vec<u8>>,
    pub blobs: BTreeMap<Digest, Extent>,
}

/// The only header that an entry can have. A name has less than 100 bytes.
fn header(name: &str, size: u64) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

/// Writes an entry.
pub(super) fn put(out: &mut dyn Write, name: &str, size: u64, data: &mut dyn Read) -> io::Result<()> {
    out.write_all(header(name, size)?.as_bytes())?;
    let copied = io::copy(&mut data.take(size), out)?;
    if copied != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let padding = usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or(0);
    out.write_all([0; 512].get(..padding).unwrap_or_default())
}

/// Writes what stands behind the last entry.
pub(super) fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; END])
}

/// Reads the whole file but its blobs.
pub(super) fn read(file: &Extent) -> Result<Found, BundleError> {
    let (mut found, mut at, mut last) = (Found::default(), 0, String::new());
    while let Some((name, data, next)) = entry(file, at)? {
        if found.blobs.len() >= MAX_ENTRIES {
            return Err(BundleError::Container { what: "too many entries", at });
        }
        let misplaced = || BundleError::Entry(shown(name.as_bytes()));
        // The order is part of the form; names of blobs ascend, so none is there twice.
        match (last.as_str(), name.as_str()) {
            ("", SIGNATURE_NAME) => found.signature = Some(document(&data, minisign::MAX_FILE, at)?),
            ("" | SIGNATURE_NAME, LAYOUT_NAME) => found.layout = Some(document(&data, BLOCK, at)?),
            (LAYOUT_NAME, INDEX_NAME) => found.index = Some(document(&data, MAX_DOCUMENT, at)?),
            (before, name) if before == INDEX_NAME || (before.starts_with(BLOBS) && before < name) => {
                let digest = name.strip_prefix(BLOBS).and_then(Digest::from_hex).ok_or_else(misplaced)?;
                found.blobs.insert(digest, data);
            }
            _ => return Err(misplaced()),
        }
        (last, at) = (name, next);
    }
    Ok(found)
}

fn document(data: &Extent, limit: u64, at: u64) -> Result<Vec<u8>, BundleError> {
    if data.len() > limit {
        return Err(BundleError::Container { what: "a document that is too long", at });
    }
    data.read_all(limit).map_err(|error| BundleError::Io("read", error))
}

/// Name and data of the entry at that byte, and where the next one is; none at the end.
fn entry(file: &Extent, at: u64) -> Result<Option<(String, Extent, u64)>, BundleError> {
    let fault = |what, at| BundleError::Container { what, at };
    let io = |error| BundleError::Io("read", error);
    let block = file.part(at, BLOCK).ok_or(fault("it is cut off", at))?;
    let mut actual = Header::new_gnu();
    block.reader().read_exact(actual.as_mut_bytes()).map_err(io)?;
    if actual.as_bytes().iter().all(|byte| *byte == 0) {
        let rest = file.part(at, END as u64).filter(|_| at + END as u64 == file.len());
        let rest = rest.ok_or(fault("its end is not where it should be", at))?;
        return match is_zero(&rest).map_err(io)? {
            true => Ok(None),
            false => Err(fault("its end is not empty", at)),
        };
    }
    let odd = || fault("a header that berth does not write", at);
    let name = String::from_utf8(actual.path_bytes().into_owned()).map_err(|_| odd())?;
    let size = actual.entry_size().map_err(|_| odd())?;
    // A path that `set_path` takes is neither absolute nor climbs.
    let expected = header(&name, size).map_err(|_| BundleError::Entry(shown(name.as_bytes())))?;
    if expected.as_bytes() != actual.as_bytes() {
        return Err(odd());
    }
    let start = at + BLOCK;
    let data = file.part(start, size).ok_or(fault("it is cut off", start))?;
    let next =
        size.checked_next_multiple_of(BLOCK).and_then(|size| start.checked_add(size)).ok_or_else(odd)?;
    let padding = file.part(start + size, next - start - size).ok_or(fault("it is cut off", start))?;
    if !is_zero(&padding).map_err(io)? {
        return Err(fault("padding that is not empty", start + size));
    }
    Ok(Some((name, data, next)))
}

/// Of at most [`END`] bytes.
fn is_zero(part: &Extent) -> io::Result<bool> {
    Ok(part.read_all(END as u64)?.iter().all(|byte| *byte == 0))
}
