//! What the files mean: the declared state with every default filled in.
//!
//! The parser turns TOML into these types; the planner, the runtime and netd read them. A key that a file does
//! not set has the value of the type's `Default`. Names of fields are the names of the keys.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Name;

pub mod resources;
pub mod unit;

pub use resources::*;
pub use unit::*;

/// A whole unit set: valid together or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// The node's own settings.
    pub node: Node,
    /// `kind = "container"`.
    pub units: BTreeMap<Name, Unit>,
    /// `kind = "network"`, with [`DEFAULT_NETWORK`] added where a unit needs it.
    pub networks: BTreeMap<Name, Network>,
    /// `kind = "volume"`, with every volume that a mount names and no file declares.
    pub volumes: BTreeMap<Name, Volume>,
}

/// The network of units that are in bridge mode and name none.
pub const DEFAULT_NETWORK: &str = "default";

/// `node.toml`: what the node itself is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Host name, also shown in `berth status`.
    pub hostname: Name,
    /// How the node reaches the outside.
    pub uplink: Uplink,
    /// How long a shutdown may take before what is left is killed.
    pub stop_timeout: Duration,
    /// Memory that units together cannot take from the node.
    pub memory_reserve: u64,
    /// Words appended to the kernel command line by the builder.
    pub kernel_append: Vec<String>,
    /// Kernel modules loaded at boot beyond those that berth needs.
    pub kernel_modules: Vec<String>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            hostname: Name::parse("berth").unwrap_or_else(|_| unreachable!("a literal that is a name")),
            uplink: Uplink::default(),
            stop_timeout: Duration::from_secs(30),
            memory_reserve: 32 << 20,
            kernel_append: Vec::new(),
            kernel_modules: Vec::new(),
        }
    }
}

/// `[uplink]` of node.toml. First cut: one ethernet link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uplink {
    /// Interface name, or none for the first ethernet link that has a driver.
    pub interface: Option<String>,
    /// How it gets its address.
    pub mode: UplinkMode,
}

/// How the uplink gets its address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UplinkMode {
    /// DHCPv4.
    Dhcp,
    /// Written in node.toml.
    Static {
        /// Address with its prefix length.
        address: Ipv4Net,
        /// Default route.
        gateway: Option<Ipv4Addr>,
        /// Name servers that the built-in DNS forwards to.
        dns: Vec<Ipv4Addr>,
    },
    /// The node stays off the network.
    None,
}

impl Default for Uplink {
    fn default() -> Self {
        Self { interface: None, mode: UplinkMode::Dhcp }
    }
}

/// An IPv4 address with a prefix length, e.g. `10.89.0.1/24`: of a subnet the host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ipv4Net {
    /// Address.
    pub address: Ipv4Addr,
    /// Prefix length, 0 to 32.
    pub prefix: u8,
}

/// `kind = "network"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// `ipv4.subnet`; the resolver gives each network that names none its own /24 of 10.88.0.0/13.
    pub subnet: Ipv4Net,
    /// Address of the bridge; the first one of the subnet by default.
    pub gateway: Ipv4Addr,
    /// Masquerade towards the uplink.
    pub nat: bool,
    /// No way out and none in, only between its members.
    pub internal: bool,
    /// Bytes; 1500 by default.
    pub mtu: u32,
}

/// `kind = "volume"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Owner of its root.
    pub uid: u32,
    /// Group of its root.
    pub gid: u32,
    /// Mode of its root.
    pub mode: u32,
}

impl Default for Volume {
    fn default() -> Self {
        Self { uid: 0, gid: 0, mode: 0o755 }
    }
}
