//! What a unit is given beside its image: secrets, configuration, files of variables.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::Name;

/// `kind = "config"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// What is in it.
    pub content: Content,
    /// Fill in what stands in double braces.
    pub template: bool,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
}

/// What is in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The content itself.
    Text(String),
    /// A file of the node: its absolute path.
    File(String),
}

/// `kind = "secret"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// Where its value comes from.
    pub source: SecretSource,
    /// Raised when it changes.
    pub version: u32,
    /// Who may have it; all when it is not said.
    pub allow: Option<BTreeSet<Name>>,
    /// Free key-value pairs.
    pub labels: BTreeMap<String, String>,
}

/// `source` of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// `berth secret set`; in RAM until the node ends.
    Node,
    /// A file of the node: its absolute path.
    File(String),
}

/// Everything that one unit is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Supplies {
    /// Files of NAME=VALUE lines, a later one over an earlier one.
    pub env_files: Vec<EnvFile>,
    /// Variables of the image that are left out.
    pub env_unset: BTreeSet<String>,
    /// Variables of the node that it has, too.
    pub env_from_node: BTreeSet<String>,
    /// Those of them that say by which proxy the world is reached.
    pub env_proxy: bool,
    /// What it is told about itself.
    pub env_info: BTreeSet<EnvInfo>,
    /// By name, so that a drop-in can change one.
    pub secrets: BTreeMap<String, SecretUse>,
    /// By name, so that a drop-in can change one.
    pub configs: BTreeMap<String, ConfigUse>,
    /// What happens when one of them changes.
    pub on_change: OnChange,
    /// It happens at some time within that long, so that not all who are given the same do it at once.
    pub splay: Duration,
}

impl Default for Supplies {
    fn default() -> Self {
        Self {
            env_files: Vec::new(),
            env_unset: BTreeSet::new(),
            env_from_node: BTreeSet::new(),
            env_proxy: false,
            env_info: BTreeSet::new(),
            secrets: BTreeMap::new(),
            configs: BTreeMap::new(),
            on_change: OnChange::Restart,
            splay: Duration::from_secs(5),
        }
    }
}

/// One of `env_files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvFile {
    /// Absolute path on the node.
    pub path: String,
    /// Without it the unit does not start.
    pub required: bool,
}

/// A word of `env_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvInfo {
    /// BERTH_IP: its address on its first network.
    Ip,
    /// BERTH_NODE: the node's host name.
    Node,
    /// BERTH_IMAGE_DIGEST: digest of its image.
    ImageDigest,
}

/// `on_change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// It is started anew.
    Restart,
    /// It is given the new one, and told to reload.
    Reload,
    /// It has the new one with its next start.
    None,
}

/// `[secrets.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretUse {
    /// The unit of kind secret.
    pub source: Name,
    /// How the unit gets it.
    pub delivery: Delivery,
}

/// How a unit gets a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// As a file.
    File(Placed),
    /// As the variable of that name.
    Env(String),
}

/// `[configs.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigUse {
    /// What is in it.
    pub source: ConfigSource,
    /// Where it is.
    pub place: Placed,
}

/// Where the content of a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigSource {
    /// The unit of kind config.
    Unit(Name),
    /// The unit itself says.
    Own {
        /// What is in it.
        content: Content,
        /// Fill in what stands in double braces.
        template: bool,
    },
}

/// A file that a unit is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// Absolute path in the container.
    pub target: String,
    /// Its mode.
    pub mode: u32,
    /// Its owner; the unit's user when it is not said.
    pub uid: Option<u32>,
    /// Its group; that of the unit's user when it is not said.
    pub gid: Option<u32>,
}
