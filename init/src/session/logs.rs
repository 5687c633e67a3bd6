//! `berth logs`: whole lines of a unit's files, the oldest first, and further ones as they come.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use berth_units::spec::LogSink;
use berth_units::wire::control::Logs;
use berth_units::wire::log::LOG_CURRENT;
use berth_units::wire::session::{FRAME_MAX, Kind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::SessionError;
use super::client::Client;
use crate::log::Places;

/// Sends what was asked for; comes back at the end of the log or, following it, when the client is gone.
pub fn run(client: &mut Client, logs: &Logs, ram: bool, root: &Path) -> Result<(), SessionError> {
    let sink = if ram { LogSink::Ram } else { LogSink::Store };
    let directory = Places::new(root).directory(&logs.unit, sink);
    let cannot_read = SessionError::system::<io::Error>;
    // The watch comes first: what is written between reading and waiting wakes us.
    let watch = logs.follow.then(|| watch(&directory)).transpose().map_err(cannot_read("watch the log"))?;
    let mut reader = Reader::open(directory, logs.tail).map_err(cannot_read("read the log"))?;
    loop {
        while let Some(lines) = reader.next_lines().map_err(cannot_read("read the log"))? {
            client.push(Kind::Stdout, lines);
            client.flush_all().map_err(SessionError::ClientGone)?;
        }
        match &watch {
            Some(watch) => wait(client, watch)?,
            None => return Ok(()),
        }
    }
}

/// The directory of a unit that has never run is made, so that there is something to watch.
pub(super) fn watch(directory: &Path) -> io::Result<OwnedFd> {
    fs::create_dir_all(directory)?;
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, directory, WatchFlags::MODIFY | WatchFlags::MOVE | WatchFlags::CREATE)?;
    Ok(watch)
}

/// Until something happened in the directory; an error when the client is gone.
pub(super) fn wait(client: &mut Client, watch: &OwnedFd) -> Result<(), SessionError> {
    let mut fds = [PollFd::new(watch, PollFlags::IN), PollFd::new(&*client, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, None)).map_err(SessionError::system("wait"))?;
    let client_has_something = fds.last().is_some_and(|fd| !fd.revents().is_empty());
    let mut events = [0; 4096];
    while rustix::io::read(watch, &mut events).is_ok_and(|len| len > 0) {}
    if client_has_something {
        client.fill().map_err(SessionError::ClientGone)?;
        client.take_frames(|_, _| true).map_err(SessionError::ClientGone)?;
    }
    Ok(())
}

/// A place in the files of a log, or of events.
pub(super) struct Reader {
    directory: PathBuf,
    /// None while there is no file yet.
    file: Option<File>,
    offset: u64,
    buffer: Vec<u8>,
}

impl Reader {
    /// At the first line, or at the last so many of them.
    pub(super) fn open(directory: PathBuf, tail: Option<u64>) -> io::Result<Self> {
        let mut reader = Self { directory, file: None, offset: 0, buffer: vec![0; FRAME_MAX] };
        let files = reader.files()?;
        match tail {
            None => reader.file = files.into_iter().next().map(|(_, file)| file),
            Some(lines) => reader.seek_tail(files, lines)?,
        }
        Ok(reader)
    }

    /// Goes back from the end over as many line ends as lines are wanted, and the one before them.
    fn seek_tail(&mut self, files: Vec<(u32, File)>, lines: u64) -> io::Result<()> {
        let mut missing = lines.saturating_add(1);
        for (_, file) in files.into_iter().rev() {
            let mut end = file.metadata()?.len();
            self.offset = 0;
            while end > 0 {
                let len = end.min(FRAME_MAX as u64);
                let part = self.buffer.get_mut(..usize::try_from(len).unwrap_or(0)).unwrap_or_default();
                file.read_exact_at(part, end - len)?;
                for (index, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                    missing -= 1;
                    if missing == 0 {
                        self.offset = end - len + index as u64 + 1;
                        self.file = Some(file);
                        return Ok(());
                    }
                }
                end -= len;
            }
            self.file = Some(file);
        }
        Ok(())
    }

    /// The next whole lines, as many as a frame takes; none at the end of what there is.
    pub(super) fn next_lines(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            // Looked up before reading: nothing is appended to a file once there is a newer one.
            let newer = self.newer()?;
            let len = self.read_lines()?;
            if len > 0 {
                self.offset += len as u64;
                return Ok(self.buffer.get(..len));
            }
            let Some(newer) = newer else { return Ok(None) };
            self.file = Some(newer);
            self.offset = 0;
        }
    }

    /// Reads whole lines into the buffer; their bytes.
    fn read_lines(&mut self) -> io::Result<usize> {
        let Some(file) = &self.file else { return Ok(0) };
        // Lines that were written twice because the log process was killed are cut off and written again.
        self.offset = self.offset.min(file.metadata()?.len());
        let len = file.read_at(&mut self.buffer, self.offset)?;
        let read = self.buffer.get(..len).unwrap_or_default();
        let whole = read.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
        // A line as long as a frame is none of ours, but a reader must not stop at it.
        Ok(if whole == 0 && len == self.buffer.len() { len } else { whole })
    }

    /// The file after the one that is being read, if it has been rotated; the oldest, if it is gone altogether.
    fn newer(&self) -> io::Result<Option<File>> {
        let mut files = self.files()?;
        let Some(file) = &self.file else { return Ok(files.into_iter().next().map(|(_, file)| file)) };
        let (here, mut position) = (identity(file)?, None);
        for (index, (_, file)) in files.iter().enumerate() {
            if identity(file)? == here {
                position = Some(index);
            }
        }
        let next = position.map_or(0, |index| index + 1);
        Ok((next < files.len()).then(|| files.swap_remove(next).1))
    }

    /// The unit's files with their numbers, the oldest first and `current`, number 0, last.
    fn files(&self) -> io::Result<Vec<(u32, File)>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let number = match path.file_name().and_then(|name| name.to_str()) {
                Some(LOG_CURRENT) => 0,
                Some(name) => name.parse().unwrap_or(0),
                None => 0,
            };
            let is_log = number > 0 || path.ends_with(LOG_CURRENT);
            // Renamed between reading the directory and opening: the next round sees it.
            if is_log && let Ok(file) = File::open(&path) {
                files.push((number, file));
            }
        }
        files.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        Ok(files)
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let found = file.metadata()?;
    Ok((found.dev(), found.ino()))
}
