//! The answer to Secrets.

use serde::{Deserialize, Serialize};

use crate::Name;

/// The longest value that can be set, bytes.
pub const SECRET_MAX: usize = 64 << 10;

/// Every secret that is declared or set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// By name.
    pub secrets: Vec<SecretStatus>,
}

/// One secret. Nothing here tells its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretStatus {
    /// Its unit.
    pub name: Name,
    /// `node`, `file`, or `undeclared`: it was set, and no unit of this name is declared.
    pub source: String,
    /// Whether there is a value.
    pub present: bool,
    /// Units that are given it.
    pub units: Vec<Name>,
}
