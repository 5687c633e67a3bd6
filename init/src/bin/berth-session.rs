//! The session process: the client's connection at descriptor 3, what to do at descriptor 4, and at descriptor 5 the
//! directory that an import fills. `berth-session --discard` serves nobody: it removes what is left of volumes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use berth_init::inherit::inherited;
use berth_init::kmsg::{self, Chain};
use berth_init::session::{self, SessionError};
use berth_init::warning;

fn main() -> ExitCode {
    kmsg::speak_as("berth-session");
    let word = std::env::args_os().nth(1);
    if word.as_ref().is_some_and(|word| word == "--discard") {
        return match session::discard(Path::new("/")) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                warning!("cannot remove what is left of volumes: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let root = word.map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let (connection, request) = match (inherited(3), inherited(4)) {
        (Ok(connection), Ok(request)) => (connection, request),
        _ => {
            warning!("descriptors 3 and 4 are not there: this is started by the supervisor");
            return ExitCode::FAILURE;
        }
    };
    match session::run(connection, request, &root) {
        Ok(()) | Err(SessionError::ClientGone(_)) => ExitCode::SUCCESS,
        Err(error) => {
            warning!("{}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}
