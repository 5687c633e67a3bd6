//! `berth volume export` and `import`: a volume as a tar stream, and what is left of volumes removed.
//!
//! An import fills a directory beside the volume, which the supervisor has made with the volume's size, and takes the
//! volume's place when it is whole; until then nothing of the old one changes. The directory is locked as long as this
//! process lives: no unit that uses the volume starts meanwhile, and a directory without a lock is nobody's.

mod export;
mod extract;
mod tarball;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use berth_runtime::remove_all;
use berth_units::Name;
use berth_units::volumes::{GONE, VOLUMES_DIR, gone_name, staging_name};
use berth_units::wire::session::Kind;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::SessionError;
use super::client::Client;
use tarball::TarError;

/// Why a volume did not get through.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The stream is no tar file, or holds what a volume cannot hold.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// One file.
    #[error("cannot {doing} '{path}'")]
    File {
        /// What was to be done.
        doing: &'static str,
        /// Below the volume.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The volume as a whole.
    #[error("cannot {0} the volume")]
    Whole(&'static str, #[source] io::Error),
    /// Directories in directories.
    #[error("'{0}' is too deep: a tar of a volume has at most {DEPTH_MAX} levels")]
    Deep(String),
}

/// Directories in each other, at most.
const DEPTH_MAX: usize = 256;

fn whole<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> VolumeError {
    move |error| VolumeError::Whole(doing, error.into())
}

/// A path of a tar for messages: no control characters, not endless.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().flat_map(char::escape_debug).take(200).collect()
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Sends a volume as a tar file.
pub fn export(client: &mut Client, volume: &Name, root: &Path) -> Result<(), SessionError> {
    let top = open_dir(&volumes_dir(root).join(volume.as_str())).map_err(whole("open"))?;
    let skipped = export::write(top, ToClient(client))?;
    for path in skipped {
        client
            .push(Kind::Stderr, format!("left out '{path}': it is neither file nor directory\n").as_bytes());
    }
    Ok(())
}

/// Fills the directory that the supervisor has made, and puts it in the volume's place.
pub fn import(client: &mut Client, volume: &Name, staged: &OwnedFd, root: &Path) -> Result<(), SessionError> {
    // Whoever has this capability is not held to a quota.
    let mut sets = capabilities(None).map_err(SessionError::system("read capabilities"))?;
    sets.effective.remove(CapabilitySet::SYS_RESOURCE);
    set_capabilities(None, sets).map_err(SessionError::system("give up a capability"))?;
    let dir = volumes_dir(root);
    let filled = extract::read(staged, FromClient { client, pending: Vec::new(), at: 0, ended: false })
        .and_then(|()| rustix::fs::syncfs(staged).map_err(whole("write")))
        .and_then(|()| take_place(&dir, volume));
    // What is there under the name of the import now is the old volume, or what came to nothing.
    let rubbish = dir.join(staging_name(volume));
    let moved = fs::rename(&rubbish, dir.join(gone_name(volume, std::process::id())));
    if let Err(error) = moved.or_else(|error| absent_is_fine(&error).then_some(()).ok_or(error)) {
        crate::warning!("cannot put '{}' away: {error}", rubbish.display());
    }
    Ok(filled?)
}

fn absent_is_fine(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn take_place(dir: &Path, volume: &Name) -> Result<(), VolumeError> {
    let (from, to) = (dir.join(staging_name(volume)), dir.join(volume.as_str()));
    match renameat_with(CWD, &from, CWD, &to, RenameFlags::EXCHANGE) {
        Err(Errno::NOENT) => renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE),
        result => result,
    }
    .map_err(whole("replace"))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(whole("replace"))
}

/// Removes what is left of volumes that are gone.
///
/// # Errors
/// The folder of the volumes cannot be read; what cannot be removed is said and left.
pub fn discard(root: &Path) -> io::Result<()> {
    let dir = volumes_dir(root);
    let top = open_dir(&dir)?;
    for entry in fs::read_dir(&dir)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().ends_with(GONE.as_bytes()) {
            continue;
        }
        let removed = std::ffi::CString::new(name.as_encoded_bytes())
            .map_err(io::Error::from)
            .and_then(|name| Ok(remove_all(&top, &name)?));
        if let Err(error) = removed {
            crate::warning!("cannot remove '{}': {error}", dir.join(name).display());
        }
    }
    Ok(())
}

fn volumes_dir(root: &Path) -> std::path::PathBuf {
    root.join(VOLUMES_DIR.trim_start_matches('/'))
}

/// Frames of standard output, no more of them than the client takes.
struct ToClient<'c>(&'c mut Client);

impl Write for ToClient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.0.has_room() {
            self.0.flush_all()?;
        }
        self.0.push(Kind::Stdout, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush_all()
    }
}

/// Frames of standard input.
struct FromClient<'c> {
    client: &'c mut Client,
    pending: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for FromClient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.pending.len() && !self.ended {
            self.take_frame()?;
        }
        let rest = self.pending.get(self.at..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        self.at += len;
        Ok(len)
    }
}

impl FromClient<'_> {
    /// The next frame of input; others mean nothing here.
    fn take_frame(&mut self) -> io::Result<()> {
        let (mut next, mut ended) = (None, false);
        self.client.take_frames(|kind, payload| {
            ended = kind == Kind::Stdin && payload.is_empty();
            next = (kind == Kind::Stdin).then(|| payload.to_vec());
            next.is_none()
        })?;
        self.ended = ended;
        if let Some(next) = next {
            (self.pending, self.at) = (next, 0);
            return Ok(());
        }
        let mut fds = [PollFd::new(&*self.client, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        self.client.fill()
    }
}

#[cfg(test)]
mod tests;
