//! Why a pull fails.

use std::error::Error;
use std::io;
use std::time::Duration;

use crate::depot::DepotError;
use crate::import::ImportFault;
use crate::signature::Refused;

/// What went wrong. What has been fetched stays for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Certificates that cannot be read.
    #[error("the {0} cannot be used")]
    Certificates(&'static str, #[source] Box<ureq::Error>),
    /// No certificate at all.
    #[error("there is no root certificate to check registries by")]
    NoRoots,
    /// No connection, or it broke.
    #[error("cannot speak with '{host}'")]
    Connection {
        /// With whom.
        host: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// It broke in the middle of a body.
    #[error("the connection to '{host}' broke")]
    Broken {
        /// With whom.
        host: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Wrong or missing credentials, or an image that is not there for us.
    #[error("'{host}' refuses access to '{repository}'{}", .why.as_ref().map_or(String::new(), |why| format!(": {why}")))]
    Denied {
        /// The registry.
        host: String,
        /// In it.
        repository: String,
        /// As it says.
        why: Option<String>,
    },
    /// Not there.
    #[error("'{host}' has no {what} of '{repository}'")]
    NotFound {
        /// The registry.
        host: String,
        /// In it.
        repository: String,
        /// A manifest or a blob.
        what: String,
    },
    /// Not now.
    #[error("'{host}' is not able to answer now (HTTP {status})")]
    Busy {
        /// The registry.
        host: String,
        /// 429 or 5xx.
        status: u16,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// Another answer.
    #[error("'{host}' answers with HTTP {status}{}", .why.as_ref().map_or(String::new(), |why| format!(": {why}")))]
    Status {
        /// The registry.
        host: String,
        /// Status.
        status: u16,
        /// As it says.
        why: Option<String>,
    },
    /// Against the protocol.
    #[error("'{host}' breaks the protocol: {what}")]
    Protocol {
        /// The registry.
        host: String,
        /// How.
        what: String,
    },
    /// A document or a layer is refused.
    #[error(transparent)]
    Image(#[from] ImportFault),
    /// The policy does not take it.
    #[error(transparent)]
    Unsigned(#[from] Refused),
    /// The store.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// Another layer has failed.
    #[error("it was given up because another layer failed")]
    Stopped,
}

impl RegistryError {
    /// Whether another attempt may go better.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Connection { source, .. } => !is_tls(source) && !is_usage(source),
            Self::Broken { .. } | Self::Busy { .. } => true,
            _ => false,
        }
    }

    /// How long the registry wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { after, .. } => *after,
            _ => None,
        }
    }

    /// Whether it is about certificates.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Connection { source, .. } if is_tls(source))
    }
}

/// The handshake happens with the first byte, so its errors come as those of reading and writing.
fn is_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    let of_library = inner.and_then(|inner| inner.downcast_ref::<ureq::Error>());
    inner.is_some_and(|inner| inner.is::<rustls::Error>())
        || matches!(of_library, Some(ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_)))
}

/// Whether the request cannot be made at all.
fn is_usage(error: &io::Error) -> bool {
    let inner = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    let of_library = inner.and_then(|inner| inner.downcast_ref::<ureq::Error>());
    matches!(
        of_library,
        Some(ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::RequireHttpsOnly(_))
    )
}
