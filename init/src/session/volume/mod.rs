//! `berth volume export` and `import`: a volume as a tar stream, and what is left of volumes removed.
//!
//! An import fills a directory beside the volume, which the supervisor has made with the volume's size, and takes the
//! volume's place when it is whole; until then nothing of the old one changes. The directory is locked as long as this
//! process lives: no unit that uses the volume starts meanwhile, and a directory without a lock is nobody's.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use berth_archive::{ArchiveError, Keep};
use berth_runtime::remove_all;
use berth_units::Name;
use berth_units::volumes::{GONE, RAM_VOLUMES_DIR, VOLUMES_DIR, gone_name, staging_name};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with};
use rustix::io::Errno;

use super::SessionError;
use super::client::Client;
use super::stream::{FromClient, ToClient};

/// Why a volume did not get through.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The files or the stream.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The volume as a whole.
    #[error("cannot {0} the volume")]
    Whole(&'static str, #[source] io::Error),
}

fn whole<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> VolumeError {
    move |error| VolumeError::Whole(doing, error.into())
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Sends a volume as a tar file.
pub fn export(client: &mut Client, volume: &Name, ram: bool, root: &Path) -> Result<(), SessionError> {
    let dir = if ram { root.join(RAM_VOLUMES_DIR.trim_start_matches('/')) } else { volumes_dir(root) };
    let top = open_dir(&dir.join(volume.as_str())).map_err(whole("open"))?;
    let skipped = berth_archive::write(top, ToClient(client)).map_err(VolumeError::from)?;
    super::say_skipped(client, &skipped);
    Ok(())
}

/// Fills the directory that the supervisor has made, and puts it in the volume's place.
pub fn import(client: &mut Client, volume: &Name, staged: &OwnedFd, root: &Path) -> Result<(), SessionError> {
    super::obey_quotas()?;
    let dir = volumes_dir(root);
    let filled = berth_archive::read(staged, FromClient::new(client), Keep::All)
        .map_err(VolumeError::from)
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
