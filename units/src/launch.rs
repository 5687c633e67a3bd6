//! What is executed: a unit laid over its image's configuration, by the rules that Docker has made common.
//!
//! Not here: looking up users in the image's files, and HOME, which follows from it; the runtime does both.

use crate::spec::{Security, Unit};
use crate::wire::image::ImageConfig;

/// What to execute, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Never empty.
    pub argv: Vec<String>,
    /// Name and value, each name once; HOME is not among them unless the unit or the image sets it.
    pub env: Vec<(String, String)>,
    /// Absolute and normalised.
    pub cwd: String,
    /// `uid[:gid]` or `name[:group]`; `0` when nobody says otherwise.
    pub user: String,
    /// Signal number that asks it to end.
    pub stop_signal: i32,
    /// Capabilities it may have, without CAP_, sorted.
    pub capabilities: Vec<String>,
}

/// Why a unit cannot be launched from its image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// Neither says what to run.
    #[error(
        "unit '{unit}' has nothing to execute: its image names no command; set process.entrypoint or process.args"
    )]
    NoCommand {
        /// The unit.
        unit: String,
    },
}

/// Lays a unit over its image's configuration.
pub fn launch(unit: &Unit, config: &ImageConfig) -> Result<Launch, LaunchError> {
    let _ = config;
    Err(LaunchError::NoCommand { unit: unit.name.to_string() })
}

/// The capabilities of a profile with `cap_add` and `cap_drop` applied: names without CAP_, sorted.
pub fn capabilities(security: &Security) -> Vec<String> {
    let _ = security;
    Vec::new()
}
