//! How far a unit's log has come, in one small file in RAM: written with one pwrite(2) that no signal can tear.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of the file: it lies in one page, so it is written whole or not at all as a dying process sees it.
const LEN: usize = 72;

/// The state that a restarted log process goes on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Identity of the log's directory (device and inode): a length in another one means nothing.
    pub directory: (u64, u64),
    /// Bytes of the current log file that hold whole lines; what is beyond is written again.
    pub log_len: u64,
    /// Positions in the spools of standard output and standard error up to which lines are in the log.
    pub positions: [u64; 2],
    /// Bytes lost that no line of the log tells of yet.
    pub dropped: u64,
    /// Lines dropped that no line of the log tells of yet.
    pub over: u64,
    /// Number of the run whose line was found that somebody waits for; runs begin at 1.
    pub found: u64,
    /// A rotation has begun. No line is written before it is over.
    pub is_rotating: bool,
}

impl Checkpoint {
    fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        let [stdout, stderr] = self.positions;
        let (device, inode) = self.directory;
        let fields = [
            1 + u64::from(self.is_rotating),
            device,
            inode,
            self.log_len,
            stdout,
            stderr,
            self.dropped,
            self.over,
            self.found,
        ];
        for (place, field) in out.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let mut fields = [0_u64; LEN / 8];
        for (field, place) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
            *field = u64::from_le_bytes(place.try_into().ok()?);
        }
        let [state, device, inode, log_len, stdout, stderr, dropped, over, found] = fields;
        // State 0 is a file that was made and never written.
        (state == 1 || state == 2).then_some(Self {
            directory: (device, inode),
            log_len,
            positions: [stdout, stderr],
            dropped,
            over,
            found,
            is_rotating: state == 2,
        })
    }
}

/// The file of one unit.
#[derive(Debug)]
pub struct CheckpointFile(File);

impl CheckpointFile {
    /// Opens or makes it, and reads what was written last.
    pub fn open(path: &Path) -> io::Result<(Self, Option<Checkpoint>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; LEN];
        let found = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Checkpoint::decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                // Its page is taken now, so that writing cannot fail for want of memory later.
                file.write_all_at(&[0; LEN], 0)?;
                None
            }
            Err(error) => return Err(error),
        };
        Ok((Self(file), found))
    }

    /// Replaces what was written.
    pub fn write(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        self.0.write_all_at(&checkpoint.encode(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_round_trip() {
        let written = Checkpoint {
            directory: (1, 2),
            log_len: 3,
            positions: [4, u64::MAX],
            dropped: 6,
            over: 7,
            found: 8,
            is_rotating: true,
        };
        assert_eq!(Checkpoint::decode(&written.encode()), Some(written));
        assert_eq!(Checkpoint::decode(&[0; LEN]), None);
    }
}
