//! The socket through which other commands reach the machine.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use crate::failure::{Cannot, Failure};

/// A listening socket that only its owner can use; its file goes with it.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("a machine already answers at '{0}'")]
struct InUse(String);

#[derive(Debug, thiserror::Error)]
#[error("'{0}' exists and is no socket")]
struct NoSocket(String);

impl ControlSocket {
    /// Listens at `path`. A socket that nobody serves any more is replaced.
    pub fn listen(path: &Path) -> Result<Self, Failure> {
        if UnixStream::connect(path).is_ok() {
            let in_use = InUse(path.display().to_string());
            return Err(Failure::action(in_use)
                .hint(format!("'berth --node unix:{} poweroff' ends it", path.display()))
                .hint("or run a second one with another --control and --data"));
        }
        let is_else = |found: fs::Metadata| !found.file_type().is_socket();
        if fs::symlink_metadata(path).is_ok_and(is_else) {
            let no_socket = NoSocket(path.display().to_string());
            return Err(Failure::action(no_socket).hint("give another path with --control"));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::action(Cannot::at("replace", path)(error)));
            }
            _ => {}
        }
        // The mode holds from the first moment: there is no second thread that the mask could surprise.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener.map_err(|error| {
            let too_long = error.kind() == io::ErrorKind::InvalidInput;
            let failure = Failure::action(Cannot::at("listen at", path)(error));
            if too_long {
                failure.hint("a socket's path has at most 107 bytes: give a shorter one with --control")
            } else {
                failure
            }
        })?;
        listener
            .set_nonblocking(true)
            .map_err(|error| Failure::action(Cannot::at("listen at", path)(error)))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// To wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// A client, if one waits.
    pub fn accept(&self) -> Option<UnixStream> {
        self.listener.accept().ok().map(|(stream, _)| stream)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_socket_is_private_unique_and_removed() {
        let path = std::env::temp_dir().join(format!("berth-socket-{}", std::process::id()));
        let socket = ControlSocket::listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(ControlSocket::listen(&path).is_err());
        drop(socket);
        assert!(!path.exists());
        // One that nobody serves is replaced.
        drop(UnixListener::bind(&path).unwrap());
        drop(ControlSocket::listen(&path).unwrap());
        // A file of the user's is not.
        fs::write(&path, "mine").unwrap();
        assert!(ControlSocket::listen(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
        let long = std::env::temp_dir().join("x".repeat(120));
        assert!(ControlSocket::listen(&long).is_err_and(|failure| failure.text().contains("--control")));
    }
}
