//! A tar stream that nobody vouches for, entry by entry: ustar, GNU long names and PAX records, every length bounded.
//!
//! The `tar` crate decodes the 512 bytes of a header; what lies between two headers is walked here.

use std::collections::BTreeMap;
use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::shown;

/// Longest PAX header or long name: extended attributes of 64 KiB fit several times.
const EXTENSION_MAX: u64 = 1 << 20;
/// PATH_MAX.
const PATH_MAX: usize = 4096;
const BLOCK: u64 = 512;

/// Why a stream is not read further.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It cannot be had.
    #[error("cannot read the tar file")]
    Read(#[source] io::Error),
    /// It is not one.
    #[error("this is not a whole tar file: {0}")]
    Damaged(&'static str),
    /// An entry is not taken.
    #[error("'{path}' {what}")]
    Refused {
        /// Its path.
        path: String,
        /// Why.
        what: &'static str,
    },
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A directory.
    Directory,
    /// A file of so many bytes, which follow.
    File(u64),
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A hard link to this entry.
    HardLink(Vec<u8>),
    /// A named pipe.
    Fifo,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As written.
    pub path: Vec<u8>,
    /// What it is.
    pub what: What,
    /// Permissions, set-id and sticky bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Last change, seconds of the Unix epoch.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A tar stream.
pub struct Tarball<R> {
    source: R,
    /// Bytes of the present entry that are still to come, and the padding after them.
    data: u64,
    padding: u64,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<R: Read> Tarball<R> {
    /// From its first byte.
    pub fn new(source: R) -> Self {
        Self { source, data: 0, padding: 0 }
    }

    /// The next entry, past what is left of the one before; none at the end.
    pub fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.data + self.padding)?;
            (self.data, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            match header.entry_type() {
                EntryType::XGlobalHeader => drop(self.extension(&header)?),
                EntryType::XHeader => {
                    extensions.pax =
                        records(&self.extension(&header)?).ok_or(TarError::Damaged("bad PAX records"))?;
                }
                EntryType::GNULongName => extensions.path = Some(until_nul(self.extension(&header)?)),
                EntryType::GNULongLink => extensions.link = Some(until_nul(self.extension(&header)?)),
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// Bytes of the present file: as [`Read`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let len = buffer.len().min(usize::try_from(self.data).unwrap_or(usize::MAX));
        let Some(room) = buffer.get_mut(..len).filter(|room| !room.is_empty()) else { return Ok(0) };
        let read = self.source.read(room).map_err(TarError::Read)?;
        if read == 0 {
            return Err(TarError::Damaged("it ends within a file"));
        }
        self.data -= read as u64;
        Ok(read)
    }

    /// Reads on to the end of the stream, so that whoever sends it is not cut off.
    pub fn drain(&mut self) -> Result<(), TarError> {
        io::copy(&mut self.source, &mut io::sink()).map(drop).map_err(TarError::Read)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), TarError> {
        let skipped = io::copy(&mut (&mut self.source).take(bytes), &mut io::sink());
        if skipped.map_err(TarError::Read)? == bytes {
            Ok(())
        } else {
            Err(TarError::Damaged("it is cut off"))
        }
    }

    /// None at the marker of the end. A stream without the marker may be a part of one, and is not taken.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let mut header = Header::new_old();
        self.source.read_exact(header.as_mut_bytes()).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TarError::Damaged("it ends without the mark of its end"),
            _ => TarError::Read(error),
        })?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = header.cksum().map_err(|_| TarError::Damaged("a header without checksum"))?;
        if sum != checksum(header.as_bytes()) {
            return Err(TarError::Damaged("a header with a wrong checksum"));
        }
        Ok(Some(header))
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let size = header.entry_size().map_err(|_| TarError::Damaged("a header without size"))?;
        if size > EXTENSION_MAX {
            return Err(TarError::Damaged("an extension of more than 1 MiB"));
        }
        let mut bytes = Vec::new();
        (&mut self.source).take(size).read_to_end(&mut bytes).map_err(TarError::Read)?;
        self.skip(size.next_multiple_of(BLOCK) - size)?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(TarError::Damaged("it is cut off")) }
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, TarError> {
        let Extensions { path, link, mut pax } = extensions;
        let path = pax.remove(&b"path"[..]).or(path).unwrap_or_else(|| header.path_bytes().into_owned());
        let named = || header.link_name_bytes().unwrap_or_default().into_owned();
        let link = pax.remove(&b"linkpath"[..]).or(link).unwrap_or_else(named);
        let refused = |what| TarError::Refused { path: shown(&path), what };
        if [&path, &link].iter().any(|text| text.len() > PATH_MAX || text.contains(&0)) {
            return Err(refused("is no path: too long, or with a NUL"));
        }
        let number = |key: &str, field: io::Result<u64>| {
            pax.get(key.as_bytes()).map_or_else(|| field.ok(), |text| decimal(text))
        };
        let size = number("size", header.entry_size()).ok_or_else(|| refused("has no size"))?;
        let id = |key, field| number(key, field).and_then(|id| u32::try_from(id).ok());
        let owner = id("uid", header.uid()).zip(id("gid", header.gid()));
        let mtime = match pax.get(&b"mtime"[..]) {
            Some(text) => whole_seconds(text),
            None => header.mtime().ok().map(u64::cast_signed),
        };
        if pax.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Err(refused("is a sparse file: pack it without '--sparse'"));
        }
        let what = what(header.entry_type(), size, link).map_err(refused)?;
        if let What::File(size) = what {
            (self.data, self.padding) = (size, size.wrapping_neg() % BLOCK);
            size.checked_add(BLOCK).ok_or_else(|| refused("has no size"))?;
        }
        Ok(Entry {
            what,
            mode: header.mode().map_err(|_| refused("has no mode"))? & 0o7777,
            owner: owner.ok_or_else(|| refused("has no owner"))?,
            mtime: mtime.ok_or_else(|| refused("has no time"))?,
            xattrs: xattrs(pax),
            path,
        })
    }
}

fn what(entry: EntryType, size: u64, link: Vec<u8>) -> Result<What, &'static str> {
    Ok(match entry {
        EntryType::Regular | EntryType::Continuous => What::File(size),
        EntryType::Directory => What::Directory,
        EntryType::Symlink => What::Symlink(link),
        EntryType::Link => What::HardLink(link),
        EntryType::Fifo => What::Fifo,
        EntryType::Char | EntryType::Block => return Err("is a device, which is not taken"),
        EntryType::GNUSparse => return Err("is a sparse file: pack it without '--sparse'"),
        _ => return Err("is of a kind that is not taken"),
    })
}

/// Sum of all bytes, those of the checksum field itself (148 to 155) taken as blanks.
fn checksum(block: &[u8; 512]) -> u32 {
    let byte = |(at, byte): (usize, &u8)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
    block.iter().enumerate().map(byte).sum()
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// `LENGTH KEY=VALUE\n`, the length counting all of it (pax(1)).
fn records(mut bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let len = usize::try_from(decimal(bytes.get(..blank)?)?).ok()?;
        let record = bytes.get(blank + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.insert(record.get(..equals)?.to_vec(), record.get(equals + 1..)?.to_vec());
        bytes = bytes.get(len..)?;
    }
    Some(records)
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

/// The seconds of `[-]SECONDS[.FRACTION]`.
fn whole_seconds(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.split('.').next()?.parse().ok()
}

/// What is kept of extended attributes: those that programs set, and the capabilities of files.
pub fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"security.capability"
}

fn xattrs(pax: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let name = |key: &[u8]| key.strip_prefix(b"SCHILY.xattr.").map(<[u8]>::to_vec);
    let named = pax.into_iter().filter_map(|(key, value)| Some((name(&key)?, value)));
    named.filter(|(name, _)| is_kept(name)).collect()
}
