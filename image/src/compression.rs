//! Unpacking of gzip and zstd streams into a spool file, bounded.
//!
//! The format is told by the first bytes, not by a media type: docker-archives declare none, and what comes out
//! is checked against its own digest anyway.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use crate::digest::{Digest, Hashing};
use crate::extent::Extent;

/// A stream may unpack to this much whatever its size, bytes. Tests would take too long over a gigabyte.
const FREE: u64 = if cfg!(test) { 1 << 16 } else { 1 << 30 };
/// Beyond [`FREE`], to this many times its size.
const MAX_RATIO: u64 = 200;

/// Why a stream was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// More than the caller allows.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// More than any honest layer.
    #[error("it unpacks to more than {MAX_RATIO} times its size")]
    Bomb,
    /// Damaged or cut.
    #[error("cannot unpack it as {format}")]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The spool file cannot be written.
    #[error("cannot write the temporary file for it")]
    Write(#[source] io::Error),
}

/// Formats told apart by their magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Anything that is not compressed as below.
    Plain,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
}

impl Format {
    /// By the first bytes.
    pub fn detect(stream: &Extent) -> io::Result<Self> {
        let mut magic = Vec::new();
        stream.reader().take(4).read_to_end(&mut magic)?;
        Ok(match magic.as_slice() {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Self::Zstd,
            _ => Self::Plain,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "a file",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn decoder(self, stream: &Extent) -> io::Result<Box<dyn Read>> {
        let input = BufReader::with_capacity(1 << 17, stream.reader());
        Ok(match self {
            Self::Plain => Box::new(input),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        })
    }
}

/// Unpacks a stream into `spool`, at most `limit` bytes; returns what came out and its digest.
pub fn unpack(stream: &Extent, spool: File, limit: u64) -> Result<(Extent, Digest), UnpackError> {
    let format = Format::detect(stream).map_err(|source| damaged(Format::Plain, source))?;
    let fair = stream.len().saturating_mul(MAX_RATIO).max(FREE);
    let decoder = format.decoder(stream).map_err(|source| damaged(format, source))?;
    let mut reader = Hashing::new(decoder.take(limit.min(fair).saturating_add(1)));
    let mut writer = BufWriter::with_capacity(1 << 17, spool);
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = reader.read(&mut buffer).map_err(|source| damaged(format, source))?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        writer.write_all(bytes).map_err(UnpackError::Write)?;
    }
    let (digest, size) = reader.finish();
    if size > limit {
        return Err(UnpackError::TooLarge(limit));
    }
    if size > fair {
        return Err(UnpackError::Bomb);
    }
    let file = writer.into_inner().map_err(|error| UnpackError::Write(error.into_error()))?;
    Ok((Extent::whole(file).map_err(UnpackError::Write)?, digest))
}

fn damaged(format: Format, source: io::Error) -> UnpackError {
    UnpackError::Damaged { format: format.name(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::spool;

    fn extent(bytes: &[u8]) -> Extent {
        let mut file = spool(&std::env::temp_dir()).unwrap();
        file.write_all(bytes).unwrap();
        Extent::whole(file).unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check(packed: &[u8], plain: &[u8]) {
        let (out, digest) = unpack(&extent(packed), spool(&std::env::temp_dir()).unwrap(), 1 << 20).unwrap();
        assert_eq!(out.read_all(1 << 20).unwrap(), plain);
        assert_eq!(digest, Digest::of(plain));
    }

    #[test]
    fn formats_and_their_concatenations() {
        check(b"", b"");
        check(b"plain", b"plain");
        check(&gzip(b"one"), b"one");
        check(&[gzip(b"one"), gzip(b"two")].concat(), b"onetwo");
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        check(&zstd(b"one"), b"one");
        check(&[zstd(b"one"), zstd(b"two")].concat(), b"onetwo");
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        for whole in [gzip(&[7; 5000]), zstd::encode_all(&[7; 5000][..], 1).unwrap()] {
            let cut = extent(&whole[..whole.len() - 3]);
            let result = unpack(&cut, spool(&std::env::temp_dir()).unwrap(), 1 << 20);
            assert!(matches!(result, Err(UnpackError::Damaged { .. })), "{result:?}");
        }
    }

    #[test]
    fn the_limit_holds() {
        let big = extent(&gzip(&vec![0; 60_000]));
        assert!(unpack(&big, spool(&std::env::temp_dir()).unwrap(), 60_000).is_ok());
        let result = unpack(&big, spool(&std::env::temp_dir()).unwrap(), 59_999);
        assert!(matches!(result, Err(UnpackError::TooLarge(59_999))), "{result:?}");
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = extent(&zstd::encode_all(&vec![0; 10_000_000][..], 19).unwrap());
        let result = unpack(&bomb, spool(&std::env::temp_dir()).unwrap(), 1 << 30);
        assert!(matches!(result, Err(UnpackError::Bomb)), "{result:?}");
    }
}
