//! What the node itself is.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ipv4Net;
use crate::Name;

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
    /// Which of the units that name profiles are enabled.
    #[serde(default)]
    pub profiles: Vec<String>,
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
            profiles: Vec::new(),
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
