//! The session process: the client's connection at descriptor 3, what to do at descriptor 4, and at descriptor 5 the
//! directory that an import fills. `berth-session --discard` serves nobody: it removes what is left of volumes; `--close`
//! closes what it has inherited.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use berth_init::inherit::inherited;
use berth_init::kmsg::{self, Chain};
use berth_init::session::{self, SessionError};
use berth_init::warning;

/// Ends with all that it has inherited, when the supervisor has closed its own copies: descriptor 3 is a pipe that
/// ends then.
fn close_all() -> ExitCode {
    let mut end = Vec::new();
    match inherited(3).map(std::fs::File::from).map(|mut pipe| pipe.read_to_end(&mut end)) {
        Ok(Ok(_)) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

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
    if word.as_ref().is_some_and(|word| word == "--close") {
        return close_all();
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
