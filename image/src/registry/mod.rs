//! Images from a registry (OCI distribution-spec 1.1): a client that blocks, a thread for each layer up to a bound.
//!
//! [`pull`] asks for the manifest, chooses the platform, checks every document against the descriptor that names it,
//! fetches the layers that the store lacks ([`blob`](self) by blob, resumed where one was begun) and has the store
//! take the image in while later layers still come.
//!
//! A registry is hostile: every length is bounded before it is read, every digest is checked before it is used, a
//! password goes only to the registry it is for and over TLS unless plain HTTP was asked for by name, and redirects take
//! no authorization with them to another host.

mod auth;
mod blob;
mod client;
mod fault;
mod pace;
mod pull;
mod signed;

use std::time::Duration;

use crate::import::description::LayerPlan;
use crate::signature::Policy;

pub use auth::Challenge;
pub use fault::RegistryError;
pub use pull::{Pulled, Request, pull};

/// A user of a registry.
#[derive(Clone)]
pub struct Credentials {
    /// Name.
    pub user: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How to speak with registries.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Without TLS.
    pub plain_http: bool,
    /// Who we are to the registry; mirrors are never told.
    pub credentials: Option<Credentials>,
    /// PEM certificates of those who may sign a registry's.
    pub roots: Vec<u8>,
    /// PEM of a client certificate with its chain, and of its key.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// Asked before the registry, in this order: `HOST[:PORT]`, or `http://HOST[:PORT]`.
    pub mirrors: Vec<String>,
    /// Most bytes a second, all layers together.
    pub rate: Option<u64>,
    /// Longest silence of a registry.
    pub idle: Duration,
    /// Attempts without progress.
    pub tries: u32,
    /// Layers at a time.
    pub parallel: usize,
    /// Which signatures an image needs.
    pub policy: Policy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            plain_http: false,
            credentials: None,
            roots: Vec::new(),
            client: None,
            mirrors: Vec::new(),
            rate: None,
            idle: Duration::from_secs(30),
            tries: 5,
            parallel: 3,
            policy: Policy::default(),
        }
    }
}

/// What happens during a pull.
#[derive(Debug)]
pub enum News<'a> {
    /// The layers, and which of them are fetched.
    Layers(&'a [LayerPlan], &'a [bool]),
    /// So many bytes of a layer are here.
    Got(&'a LayerPlan, u64),
    /// A layer is here whole and its digest is right.
    Fetched(&'a LayerPlan),
    /// Another attempt after a while.
    Again {
        /// For what.
        what: &'a str,
        /// The wait before it.
        wait: Duration,
        /// Why the one before failed.
        why: &'a RegistryError,
    },
}

/// Told what happens, from several threads.
pub trait Watch: Sync {
    /// Something happened.
    fn see(&self, news: News<'_>);
}

/// Nobody looks.
impl Watch for () {
    fn see(&self, _: News<'_>) {}
}
