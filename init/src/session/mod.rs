//! One process for one client that is inside a container, reads a log or events, or reads or writes files of a container
//! or a volume: the far end of `berth exec`, `logs`, `events`, `diff-fs`, `cp`, `volume export` and `volume import`.
//!
//! It inherits the client's connection, already upgraded, as descriptor 3 and what to do as descriptor 4. Whatever
//! the client or the program does, nobody else waits. The frames are those of [`berth_units::wire::session`].

mod client;
mod copy;
mod diff;
mod events;
mod exec;
mod logs;
mod root;
pub mod store;
mod stream;
mod volume;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use berth_archive::{ArchiveError, Skipped};
use berth_runtime::ExecSpec;
use berth_units::Name;
use berth_units::wire::control;
use berth_units::wire::session::Kind;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};

use self::client::Client;
pub use self::copy::CopySpec;
pub use self::diff::DiffSpec;
pub use self::root::RootSpec;
pub use self::volume::discard;
use crate::inherit::inherited;

/// Where an import finds the directory to fill.
pub const STAGED: u8 = 5;

/// The longest request, bytes.
const REQUEST_MAX: u64 = 16 << 20;

/// What to do for the client: one JSON value at descriptor 4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Run a program in a unit.
    Exec {
        /// What and where.
        spec: Box<ExecSpec>,
        /// On a terminal of rows and columns.
        tty: Option<(u16, u16)>,
    },
    /// Write a revision, and answer the call that asked for it.
    Store {
        /// What is in it.
        revision: Box<store::Revision>,
        /// The answer when that is done.
        applied: control::Applied,
    },
    /// Read a unit's log.
    Logs {
        /// As the client asked.
        logs: control::Logs,
        /// The log is in RAM even where there is a data partition.
        ram: bool,
    },
    /// Tell what a container has changed against its image; none where its root is read-only.
    Diff(Option<DiffSpec>),
    /// Send a file or directory of a container.
    CopyOut(CopySpec),
    /// Take one.
    CopyIn(CopySpec),
    /// Read the events.
    Events(control::Events),
    /// Send a volume as a tar file.
    Export {
        /// Which.
        volume: Name,
        /// It is in RAM.
        #[serde(default)]
        ram: bool,
    },
    /// Replace a volume; the directory to fill is descriptor 5.
    Import {
        /// Which.
        volume: Name,
    },
}

/// Why a session ended before its time. The client is told, if it is still there.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Descriptor 4 is not a request.
    #[error("cannot read the request")]
    Request(#[source] io::Error),
    /// The program cannot be started.
    #[error("cannot run the program")]
    Spawn(#[from] berth_runtime::SpawnError),
    /// A step on the way to the program's first instruction failed.
    #[error("cannot run the program")]
    Step(#[source] berth_runtime::StepError),
    /// A system call of this process failed.
    #[error("cannot {0}")]
    System(&'static str, #[source] io::Error),
    /// A copy did not get through.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A volume did not get through.
    #[error(transparent)]
    Volume(#[from] volume::VolumeError),
    /// The client is gone or out of step: nobody is left to be told.
    #[error("the client is gone")]
    ClientGone(#[source] io::Error),
}

impl SessionError {
    /// For `map_err`: `what` completes "cannot …".
    fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System(what, source.into())
    }
}

/// Serves the client to the end; its last frame is Exit or Error. Log directories and volumes are below `root`.
///
/// # Errors
/// What the client was told too, where it could be.
pub fn run(connection: OwnedFd, request: OwnedFd, root: &Path) -> Result<(), SessionError> {
    let request = match read_request(request) {
        Ok(Request::Store { revision, applied }) => {
            let stored = store::store(&root.join("data"), &revision);
            if let Err(error) = &stored {
                // Nobody waits for the answer where the set was put there by hand.
                crate::error!("cannot store the revision: {error}; nothing was changed");
            }
            let numbered = |revision| control::Applied { revision, ..applied };
            return answer(connection, stored.map(numbered));
        }
        request => request,
    };
    let mut client = Client::new(connection).map_err(SessionError::ClientGone)?;
    let mut replaced = false;
    let served = request.and_then(|request| match request {
        Request::Store { .. } => Ok(0),
        Request::Exec { spec, tty } => exec::run(&mut client, &spec, tty),
        Request::Diff(Some(spec)) => diff::run(&mut client, &spec).map(|()| 0),
        Request::Diff(None) => {
            client.push(Kind::Stderr, b"its root is read-only: nothing of its image can change\n");
            Ok(0)
        }
        Request::CopyOut(spec) => copy::out(&mut client, &spec).map(|()| 0),
        Request::CopyIn(spec) => copy::take(&mut client, &spec).map(|()| 0),
        Request::Events(asked) => events::run(&mut client, &asked, root).map(|()| 0),
        Request::Logs { logs, ram } => logs::run(&mut client, &logs, ram, root).map(|()| 0),
        Request::Export { volume, ram } => volume::export(&mut client, &volume, ram, root).map(|()| 0),
        Request::Import { volume } => {
            replaced = true;
            let staged = inherited(STAGED.into()).map_err(SessionError::Request)?;
            volume::import(&mut client, &volume, &staged, root).map(|()| 0)
        }
    });
    let last = match &served {
        Ok(code) => client.finish(Kind::Exit, &[*code]),
        Err(SessionError::ClientGone(_)) => Ok(()),
        Err(error) => client.finish(Kind::Error, crate::kmsg::Chain(error).to_string().as_bytes()),
    };
    if replaced {
        // It may take longer than a client should wait.
        discard(root).map_err(SessionError::system("remove the old volume"))?;
    }
    served.and(last.map_err(SessionError::ClientGone))
}

/// The reply to a call that is no session: what follows on the connection is nobody's.
fn answer(connection: OwnedFd, done: io::Result<control::Applied>) -> Result<(), SessionError> {
    let why =
        |error: io::Error| control::Fault::Failed { why: format!("cannot store the revision: {error}") };
    let text = match done {
        Ok(applied) => serde_json::to_vec(&serde_json::json!({ "parameters": applied })),
        Err(error) => serde_json::to_vec(&why(error)),
    };
    let mut bytes = text.map_err(|error| SessionError::Request(error.into()))?;
    bytes.push(0);
    File::from(connection).write_all(&bytes).map_err(SessionError::ClientGone)
}

fn read_request(file: OwnedFd) -> Result<Request, SessionError> {
    let mut text = Vec::new();
    File::from(file).take(REQUEST_MAX).read_to_end(&mut text).map_err(SessionError::Request)?;
    serde_json::from_slice(&text).map_err(|error| SessionError::Request(error.into()))
}

/// Tells the client what no tar file holds.
fn say_skipped(client: &mut Client, skipped: &Skipped) {
    for path in &skipped.paths {
        let line = format!("left out '{path}': it is neither file nor directory\n");
        client.push(Kind::Stderr, line.as_bytes());
    }
    if skipped.more > 0 {
        client.push(Kind::Stderr, format!("left out {} more\n", skipped.more).as_bytes());
    }
}

/// Whoever has this capability is not held to a quota.
fn obey_quotas() -> Result<(), SessionError> {
    let mut sets = capabilities(None).map_err(SessionError::system("read capabilities"))?;
    sets.effective.remove(CapabilitySet::SYS_RESOURCE);
    set_capabilities(None, sets).map_err(SessionError::system("give up a capability"))
}
