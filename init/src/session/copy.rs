//! `berth cp`: a file or directory out of a container, or into it, as a tar stream.
//!
//! Paths are those of the container: they begin at its root, and no link of its leads out of it, however often it is
//! changed meanwhile. Its mounts are a part of it, as it sees them.

use std::io;

use berth_archive::{Base, Keep, pack, receive};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::root::RootSpec;
use super::stream::{FromClient, ToClient};
use super::{SessionError, obey_quotas, say_skipped};

/// What is copied into a container belongs to its root.
const OWNER: (u32, u32) = (0, 0);

/// A place in a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CopySpec {
    /// Its root.
    pub root: RootSpec,
    /// From `/`.
    pub path: String,
    /// What comes is called so; none for entries that are put into a directory.
    pub name: Option<String>,
}

impl CopySpec {
    fn base(&self) -> Result<Base, SessionError> {
        let root =
            self.root.open().map_err(SessionError::system::<io::Error>("open the container's root"))?;
        Ok(Base::within(root))
    }
}

/// Sends what is there.
pub fn out(client: &mut Client, spec: &CopySpec) -> Result<(), SessionError> {
    let skipped = pack(&spec.base()?, &spec.path, ToClient(client))?;
    say_skipped(client, &skipped);
    Ok(())
}

/// Takes what the client sends.
pub fn take(client: &mut Client, spec: &CopySpec) -> Result<(), SessionError> {
    obey_quotas()?;
    let base = spec.base()?;
    let keep = Keep::Plain(Some(OWNER));
    Ok(receive(&base, &spec.path, spec.name.as_deref(), FromClient::new(client), keep)?)
}
