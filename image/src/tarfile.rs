//! Reading tar: one entry after the other, its data as an [`Extent`], nothing extracted.
//!
//! Understands ustar, GNU long names and PAX records. The `tar` crate decodes the 512 bytes of a header; the walk
//! and the PAX records are ours, because here every length has a bound, and because the value of an extended
//! attribute is binary and may hold the newline that ends a record elsewhere.

use std::collections::BTreeMap;
use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::extent::Extent;

const BLOCK: u64 = 512;
/// Longest PAX header or long name: extended attributes of 64 KiB fit several times.
const MAX_EXTENSION: u64 = 1 << 20;
/// Longest path, as PATH_MAX.
pub const MAX_PATH: usize = 4096;

/// Why a tar stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The file does not hold what its headers promise.
    #[error("it is truncated: {what} at byte {at} reaches beyond the end")]
    Truncated {
        /// Header or data.
        what: &'static str,
        /// Offset of it.
        at: u64,
    },
    /// A header is damaged.
    #[error("the header at byte {at} is damaged: {what}")]
    Damaged {
        /// Offset of the header.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something allowed by tar that is not taken.
    #[error("entry '{path}' {what}")]
    Refused {
        /// Its path.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// Reading failed.
    #[error("cannot read at byte {at}")]
    Io {
        /// Offset.
        at: u64,
        #[source]
        /// Cause.
        source: io::Error,
    },
}

/// Kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Regular file.
    File,
    /// Hard link to [`Entry::link`].
    HardLink,
    /// Symbolic link to [`Entry::link`].
    Symlink,
    /// Character device.
    Char,
    /// Block device.
    Block,
    /// Directory.
    Directory,
    /// Named pipe.
    Fifo,
}

/// One entry, as written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Path, not normalised, without NUL and not longer than [`MAX_PATH`].
    pub path: Vec<u8>,
    /// Target of a link, under the same bounds.
    pub link: Vec<u8>,
    /// Its kind.
    pub kind: Kind,
    /// Mode bits as written.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds of the Unix epoch.
    pub mtime: i64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes by full name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Data of a regular file; empty for others.
    pub data: Extent,
}

impl Entry {
    /// The path for messages.
    pub fn shown(&self) -> String {
        shown(&self.path)
    }
}

/// A path for messages: no control characters, not endless.
pub fn shown(path: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(path).chars().flat_map(char::escape_debug).collect();
    if text.chars().count() <= 200 { text } else { text.chars().take(200).chain(['…']).collect() }
}

/// Walks the entries of a tar file.
#[derive(Debug)]
pub struct Entries {
    file: Extent,
    at: u64,
    done: bool,
    end: End,
}

/// How a tar file may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a whole block: what is cut off within one was cut off by accident.
    Block,
    /// With the last byte of data, as umoci's layers do. A digest tells whether something is missing.
    Data,
}

/// What extension headers said about the entry that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entries {
    /// From the first header.
    pub fn new(file: Extent, end: End) -> Self {
        Self { file, at: 0, done: false, end }
    }

    fn read_header(&mut self) -> Result<Option<Header>, TarError> {
        let at = self.at;
        if at >= self.file.len() {
            return Ok(None); // no end marker: so written by some tools, and accepted by all
        }
        let block = self.file.part(at, BLOCK).ok_or(TarError::Truncated { what: "a header", at })?;
        let mut header = Header::new_old();
        block.reader().read_exact(header.as_mut_bytes()).map_err(|source| TarError::Io { at, source })?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = header.cksum().map_err(|_| TarError::Damaged { at, what: "no checksum" })?;
        if sum != checksum(header.as_bytes()) {
            return Err(TarError::Damaged { at, what: "wrong checksum" });
        }
        self.at += BLOCK;
        Ok(Some(header))
    }

    /// The `size` bytes behind the header, and past the padding behind them.
    fn take(&mut self, size: u64) -> Result<Extent, TarError> {
        let at = self.at;
        let end = size.checked_next_multiple_of(BLOCK).and_then(|size| at.checked_add(size));
        let end = end.filter(|end| self.end == End::Data || *end <= self.file.len());
        let (Some(end), Some(data)) = (end, self.file.part(at, size)) else {
            return Err(TarError::Truncated { what: "data", at });
        };
        self.at = end;
        Ok(data)
    }

    fn take_extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let at = self.at;
        let size = header.entry_size().map_err(|_| TarError::Damaged { at, what: "no size" })?;
        if size > MAX_EXTENSION {
            return Err(TarError::Damaged { at, what: "an extension of more than 1 MiB" });
        }
        self.take(size)?.read_all(MAX_EXTENSION).map_err(|source| TarError::Io { at, source })
    }

    fn read_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.read_header()? else { return Ok(None) };
            let at = self.at - BLOCK;
            match header.entry_type() {
                // Global records concern no entry in particular: git-archive's comment, mostly.
                EntryType::XGlobalHeader => drop(self.take_extension(&header)?),
                EntryType::XHeader => {
                    let bytes = self.take_extension(&header)?;
                    extensions.pax =
                        parse_pax(&bytes).ok_or(TarError::Damaged { at, what: "bad PAX records" })?;
                }
                EntryType::GNULongName => extensions.path = Some(until_nul(self.take_extension(&header)?)),
                EntryType::GNULongLink => extensions.link = Some(until_nul(self.take_extension(&header)?)),
                _ => return self.finish(&header, extensions).map(Some),
            }
        }
    }

    fn finish(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, TarError> {
        let at = self.at - BLOCK;
        let Extensions { path, link, mut pax } = extensions;
        let path = pax.remove(&b"path"[..]).or(path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax
            .remove(&b"linkpath"[..])
            .or(link)
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let refused = |what| TarError::Refused { path: shown(&path), what };
        if path.len() > MAX_PATH || link.len() > MAX_PATH {
            return Err(refused("has a name of more than 4096 bytes"));
        }
        if path.contains(&0) || link.contains(&0) {
            return Err(refused("has a NUL in its name"));
        }
        if pax.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Err(refused("is a sparse file, which is not supported: pack it without '--sparse'"));
        }
        let kind = kind(header.entry_type()).map_err(refused)?;
        let number = |key: &str, field: io::Result<u64>| match pax.get(key.as_bytes()) {
            Some(text) => parse_number(text),
            None => field.ok(),
        };
        let damaged = |what| TarError::Damaged { at, what };
        let size = number("size", header.entry_size()).ok_or(damaged("no size"))?;
        let device = (header.device_major().ok().flatten(), header.device_minor().ok().flatten());
        Ok(Entry {
            kind,
            mode: header.mode().map_err(|_| damaged("no mode"))?,
            uid: number("uid", header.uid()).ok_or(damaged("no uid"))?,
            gid: number("gid", header.gid()).ok_or(damaged("no gid"))?,
            mtime: match pax.get(&b"mtime"[..]) {
                Some(text) => parse_seconds(text).ok_or(damaged("no time"))?,
                None => header.mtime().map_err(|_| damaged("no time"))?.cast_signed(),
            },
            device: (device.0.unwrap_or(0), device.1.unwrap_or(0)),
            // As Go's archive/tar has it, and with it every tool that writes layers: only files have data.
            data: self.take(if kind == Kind::File { size } else { 0 })?,
            xattrs: xattrs(pax),
            path,
            link,
        })
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, TarError>;

    /// After an error there is no next entry.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let entry = self.read_entry().transpose();
        self.done = !matches!(entry, Some(Ok(_)));
        entry
    }
}

fn kind(entry_type: EntryType) -> Result<Kind, &'static str> {
    Ok(match entry_type {
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Link => Kind::HardLink,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Char => Kind::Char,
        EntryType::Block => Kind::Block,
        EntryType::Directory => Kind::Directory,
        EntryType::Fifo => Kind::Fifo,
        EntryType::GNUSparse => {
            return Err("is a sparse file, which is not supported: pack it without '--sparse'");
        }
        _ => return Err("has a type that a layer cannot have"),
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

/// Records `LENGTH KEY=VALUE\n`, the length counting all of it (pax(1)); of equal keys the last one counts.
fn parse_pax(mut bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let len = usize::try_from(parse_number(bytes.get(..blank)?)?).ok()?;
        let record = bytes.get(blank + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.insert(record.get(..equals)?.to_vec(), record.get(equals + 1..)?.to_vec());
        bytes = bytes.get(len..)?;
    }
    Some(records)
}

fn parse_number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

/// `[-]SECONDS[.FRACTION]`, rounded down.
fn parse_seconds(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let below = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
    Some(if below { seconds.saturating_sub(1) } else { seconds })
}

fn xattrs(pax: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let name = |key: &[u8]| key.strip_prefix(b"SCHILY.xattr.").map(<[u8]>::to_vec);
    pax.into_iter().filter_map(|(key, value)| Some((name(&key)?, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records() {
        let parse = |text: &[u8]| parse_pax(text).map(|map| map.into_iter().collect::<Vec<_>>());
        let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
        assert_eq!(parse(b""), Some(vec![]));
        assert_eq!(parse(b"11 path=ab\n"), Some(vec![pair(b"path", b"ab")]));
        // A value with a newline in it, and an empty one.
        assert_eq!(parse(b"8 a=1\n2\n6 b==\n"), Some(vec![pair(b"a", b"1\n2"), pair(b"b", b"=")]));
        for bad in [
            &b"12 path=ab\n"[..],
            b"9 path=ab\n",
            b"path=ab\n",
            b"0 \n",
            b"99999999999999999999 a=b\n",
            b"5 ab\n",
        ] {
            assert_eq!(parse(bad), None, "{}", shown(bad));
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in
            [("0", 0), ("1700000000.5", 1_700_000_000), ("-1", -1), ("-1.5", -2), ("-1.0", -1)]
        {
            assert_eq!(parse_seconds(text.as_bytes()), Some(seconds), "{text}");
        }
        assert_eq!(parse_seconds(b"soon"), None);
    }

    #[test]
    fn paths_for_messages() {
        assert_eq!(shown(b"a\nb\xff"), "a\\nb\u{fffd}");
        assert_eq!(shown(&[b'x'; 4096]).chars().count(), 201);
    }
}
