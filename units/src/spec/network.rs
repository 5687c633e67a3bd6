//! Networks, and how a unit is part of them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::path::parse_absolute;

/// An IPv4 address with a prefix length, e.g. `10.89.0.1/24`: of a subnet the host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ipv4Net {
    /// Address.
    pub address: Ipv4Addr,
    /// Prefix length, 0 to 32.
    pub prefix: u8,
}

/// `network.mode`, and `pod`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum NetworkMode {
    /// Its own network namespace, attached to declared networks.
    Bridge,
    /// The node's.
    Host,
    /// Its own, with nothing but loopback.
    None,
    /// `unit:NAME`: that of another unit.
    Unit(Name),
    /// `pod = "NAME"`: that of a pod, with its IPC and its host name.
    Pod(Name),
}

impl NetworkMode {
    /// The unit whose network namespace it is, if it is another's.
    pub fn owner(&self) -> Option<&Name> {
        match self {
            Self::Unit(owner) | Self::Pod(owner) => Some(owner),
            Self::Bridge | Self::Host | Self::None => None,
        }
    }

    /// The key that says so.
    pub(crate) fn key(&self) -> &'static str {
        if matches!(self, Self::Pod(_)) { "pod" } else { "network.mode" }
    }
}

/// `[networks.NAME]` of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attachment {
    /// A fixed address; chosen and kept stable otherwise.
    pub ipv4: Option<Ipv4Addr>,
    /// More names that answer for it on this network.
    pub aliases: Vec<String>,
}

/// `[ports.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// The first descriptor of `[sockets]`, sd_listen_fds(3).
pub const LISTEN_FD: u8 = 3;

/// `[sockets.NAME]`: a socket of the node that is held open for a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Socket {
    /// Where.
    pub listen: Listen,
    /// Mode of a unix socket.
    pub mode: u32,
    /// User and group of a unix socket.
    pub owner: (u32, u32),
}

/// `sockets.NAME.listen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Listen {
    /// Connections.
    Tcp(SocketAddr),
    /// Datagrams.
    Udp(SocketAddr),
    /// Connections at a path of the node.
    Unix(String),
}

impl Listen {
    /// `tcp:ADDRESS:PORT`, `udp:ADDRESS:PORT` or `unix:/path`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, place) = text.split_once(':')?;
        match kind {
            "tcp" => place.parse().ok().map(Self::Tcp),
            "udp" => place.parse().ok().map(Self::Udp),
            "unix" => Some(Self::Unix(parse_absolute(place).ok()?)),
            _ => None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
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
