//! Networks, and how a unit is part of them.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// An IPv4 address with a prefix length, e.g. `10.89.0.1/24`: of a subnet the host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ipv4Net {
    /// Address.
    pub address: Ipv4Addr,
    /// Prefix length, 0 to 32.
    pub prefix: u8,
}

/// `network.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// Its own network namespace, attached to declared networks.
    Bridge,
    /// The node's.
    Host,
    /// Its own, with nothing but loopback.
    None,
}

/// `[networks.NAME]` of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attachment {
    /// A fixed address; chosen and kept stable otherwise.
    pub ipv4: Option<Ipv4Addr>,
    /// More names that answer for it on this network.
    pub aliases: Vec<String>,
}

/// `[ports.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Port of the node.
    pub host: u16,
    /// Port in the container.
    pub container: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Only on this address of the node; all of them otherwise.
    pub host_ip: Option<Ipv4Addr>,
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
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
