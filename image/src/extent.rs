//! A stretch of an open file, and the unlinked temporary files that stretches point into.
//!
//! Blobs of an archive and file contents of a layer are extents: nothing of them is held in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::{Digest, Hashing};

/// `len` bytes of a file from `offset`.
#[derive(Clone, Debug)]
pub struct Extent {
    file: Arc<File>,
    offset: u64,
    len: u64,
}

impl Extent {
    /// A whole file, at the size it has now.
    pub fn whole(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), offset: 0, len })
    }

    /// Length, bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A part of it; none when it would reach beyond the end.
    pub fn part(&self, offset: u64, len: u64) -> Option<Self> {
        let end = offset.checked_add(len)?;
        (end <= self.len).then(|| Self { file: self.file.clone(), offset: self.offset + offset, len })
    }

    /// Reads from the start to the end. A file that has become shorter is an error, not an early end.
    pub fn reader(&self) -> ExtentReader {
        ExtentReader { extent: self.clone(), at: 0 }
    }

    /// Reads all of it: its digest, and how many bytes there were.
    pub fn digest(&self) -> io::Result<(Digest, u64)> {
        let mut reader = Hashing::new(self.reader());
        io::copy(&mut reader, &mut io::sink())?;
        Ok(reader.finish())
    }

    /// All of it, unless it is longer than `limit`.
    pub fn read_all(&self, limit: u64) -> io::Result<Vec<u8>> {
        if self.len > limit {
            let what = format!("it has {} bytes, {limit} are allowed", self.len);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        let mut bytes = Vec::new();
        self.reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// [`Read`] over an [`Extent`].
#[derive(Debug)]
pub struct ExtentReader {
    extent: Extent,
    at: u64,
}

impl Read for ExtentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.extent.len - self.at).unwrap_or(usize::MAX);
        let want = left.min(buffer.len());
        let Some(slice) = buffer.get_mut(..want).filter(|slice| !slice.is_empty()) else { return Ok(0) };
        let count = self.extent.file.read_at(slice, self.extent.offset + self.at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// Bytes that nobody changes any more, as a file that lies in memory (memfd_create(2)).
pub fn in_memory(bytes: &[u8]) -> io::Result<Extent> {
    let file = rustix::fs::memfd_create("berth", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    Extent::whole(file)
}

/// An empty file in `dir` that has no name and goes away with its last descriptor.
pub fn spool(dir: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::TMPFILE.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(flags).open(dir) {
        Ok(file) => Ok(file),
        // Not every file system has O_TMPFILE (open(2)); it answers EOPNOTSUPP, an old kernel EISDIR.
        Err(_) => {
            static COUNT: AtomicU64 = AtomicU64::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!(".spool-{}-{count}", std::process::id()));
            let file = options.create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_inside() {
        let mut file = spool(&std::env::temp_dir()).unwrap();
        file.write_all(b"0123456789").unwrap();
        let whole = Extent::whole(file).unwrap();
        let part = whole.part(2, 5).unwrap();
        assert_eq!(part.read_all(5).unwrap(), b"23456");
        assert_eq!(part.part(4, 1).unwrap().read_all(1).unwrap(), b"6");
        assert!(part.part(4, 2).is_none());
        assert!(part.part(u64::MAX, 1).is_none());
        assert!(part.read_all(4).is_err());
    }

    #[test]
    fn a_file_cut_behind_our_back_is_an_error() {
        let mut file = spool(&std::env::temp_dir()).unwrap();
        file.write_all(b"0123456789").unwrap();
        let whole = Extent::whole(file.try_clone().unwrap()).unwrap();
        file.set_len(3).unwrap();
        assert_eq!(whole.read_all(10).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
