//! What a file has said so far: the setters of the key table write here. Required values are still optional.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::spec::{Check, Hook, ImageVolumes, Ipv4Net, Listen, Node, Port, Propagation, Protocol, Unit};
use crate::{Name, Reference};

/// A container file.
pub(crate) struct ContainerDraft {
    /// All that needs no second look; its image is a stand-in until [`ContainerDraft::image`] is known.
    pub unit: Unit,
    pub image: Option<Reference>,
    pub image_volumes: ImageVolumes,
    pub mounts: BTreeMap<String, MountDraft>,
    pub devices: BTreeMap<String, DeviceDraft>,
    pub ports: BTreeMap<String, PortDraft>,
    pub checks: BTreeMap<String, CheckDraft>,
    pub sockets: BTreeMap<String, SocketDraft>,
    pub hooks: BTreeMap<String, Hook>,
    pub reload: ReloadDraft,
    pub secrets: BTreeMap<String, SecretUseDraft>,
    pub configs: BTreeMap<String, ConfigUseDraft>,
}

impl ContainerDraft {
    pub fn new(name: Name) -> Self {
        let stand_in =
            Reference::parse("unset").unwrap_or_else(|_| unreachable!("a literal that is a reference"));
        Self {
            unit: Unit::new(name, stand_in),
            image: None,
            image_volumes: ImageVolumes::default(),
            mounts: BTreeMap::new(),
            devices: BTreeMap::new(),
            ports: BTreeMap::new(),
            checks: BTreeMap::new(),
            sockets: BTreeMap::new(),
            hooks: BTreeMap::new(),
            reload: ReloadDraft::default(),
            secrets: BTreeMap::new(),
            configs: BTreeMap::new(),
        }
    }

    pub fn mount(&mut self, name: &str) -> &mut MountDraft {
        self.mounts.entry(name.to_owned()).or_default()
    }

    pub fn device(&mut self, name: &str) -> &mut DeviceDraft {
        self.devices.entry(name.to_owned()).or_default()
    }

    pub fn secret(&mut self, name: &str) -> &mut SecretUseDraft {
        self.secrets.entry(name.to_owned()).or_default()
    }

    pub fn config(&mut self, name: &str) -> &mut ConfigUseDraft {
        self.configs.entry(name.to_owned()).or_default()
    }

    pub fn port(&mut self, name: &str) -> &mut PortDraft {
        self.ports.entry(name.to_owned()).or_default()
    }

    pub fn hook(&mut self, name: &str) -> &mut Hook {
        self.hooks.entry(name.to_owned()).or_default()
    }

    pub fn socket(&mut self, name: &str) -> &mut SocketDraft {
        self.sockets.entry(name.to_owned()).or_default()
    }

    pub fn check(&mut self, name: &str) -> &mut CheckDraft {
        self.checks.entry(name.to_owned()).or_default()
    }
}

/// `[reload]`.
#[derive(Default)]
pub(crate) struct ReloadDraft {
    pub signal: Option<i32>,
    pub exec: Option<Vec<String>>,
    pub timeout: Option<Duration>,
}

/// `[sockets.NAME]`.
#[derive(Default)]
pub(crate) struct SocketDraft {
    pub listen: Option<Listen>,
    pub mode: Option<u32>,
    pub owner: Option<String>,
}

/// `[mounts.NAME]`.
#[derive(Default)]
pub(crate) struct MountDraft {
    pub volume: Option<Name>,
    pub subpath: Option<String>,
    pub unseeded: bool,
    pub bind: Option<String>,
    pub create: bool,
    pub tmpfs: bool,
    pub size: Option<u64>,
    pub mode: Option<u32>,
    pub target: Option<String>,
    pub read_only: Option<bool>,
    pub exec: Option<bool>,
    pub image: Option<Reference>,
    pub options: Vec<String>,
    pub alone: bool,
    pub propagation: Propagation,
}

/// `[devices.NAME]`.
#[derive(Default)]
pub(crate) struct DeviceDraft {
    pub source: Option<String>,
    pub target: Option<String>,
    pub mode: Option<u32>,
    pub uid: u32,
    pub gid: u32,
    pub required: Option<bool>,
}

/// `[ports.NAME]`.
#[derive(Default)]
pub(crate) struct PortDraft {
    pub host: Option<u16>,
    pub container: Option<u16>,
    pub protocol: Option<Protocol>,
    pub host_ip: Option<Ipv4Addr>,
}

impl PortDraft {
    /// A container port that is missing or wrong has been reported; with a stand-in the host port still counts.
    pub fn finish(&self) -> Option<Port> {
        let host = self.host?;
        Some(Port {
            host,
            container: self.container.unwrap_or(host),
            protocol: self.protocol.unwrap_or(Protocol::Tcp),
            host_ip: self.host_ip,
        })
    }
}

/// `[health.NAME]`.
#[derive(Default)]
pub(crate) struct CheckDraft {
    pub exec: Option<Vec<String>>,
    pub http: Option<String>,
    pub tcp: Option<u16>,
    pub grpc: Option<u16>,
    pub method: Option<&'static str>,
    pub headers: Option<Vec<String>>,
    pub expect: Option<String>,
    /// All but its probe.
    pub timing: Check,
}

/// `[secrets.NAME]`.
#[derive(Default)]
pub(crate) struct SecretUseDraft {
    pub source: Option<Name>,
    pub target: Option<String>,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub env: Option<String>,
}

/// `[configs.NAME]`.
#[derive(Default)]
pub(crate) struct ConfigUseDraft {
    pub source: Option<Name>,
    pub content: Option<String>,
    pub file: Option<String>,
    pub target: Option<String>,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub template: bool,
}

/// A config file.
#[derive(Default)]
pub(crate) struct ConfigDraft {
    pub content: Option<String>,
    pub file: Option<String>,
    pub template: bool,
    pub labels: BTreeMap<String, String>,
}

/// A secret file.
pub(crate) struct SecretDraft {
    pub is_file: bool,
    pub is_node: bool,
    pub path: Option<String>,
    pub version: u32,
    pub allow: Option<BTreeSet<Name>>,
    pub labels: BTreeMap<String, String>,
}

impl Default for SecretDraft {
    fn default() -> Self {
        Self { is_file: false, is_node: false, path: None, version: 1, allow: None, labels: BTreeMap::new() }
    }
}

/// A network file: its subnet may be left to the resolver.
pub(crate) struct NetworkDraft {
    pub subnet: Option<Ipv4Net>,
    pub gateway: Option<Ipv4Addr>,
    pub nat: bool,
    pub internal: bool,
    pub mtu: u32,
}

impl Default for NetworkDraft {
    fn default() -> Self {
        Self { subnet: None, gateway: None, nat: true, internal: false, mtu: 1500 }
    }
}

/// `node.toml`.
#[derive(Default)]
pub(crate) struct NodeDraft {
    pub node: Node,
    pub mode: UplinkWord,
    pub address: Option<Ipv4Net>,
    pub gateway: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
}

/// The word of `uplink.mode`.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum UplinkWord {
    #[default]
    Dhcp,
    Static,
    None,
}

/// An integer that the key's range has already made to fit.
pub(super) fn fit<N: TryFrom<i64> + Default>(number: i64) -> N {
    N::try_from(number).unwrap_or_default()
}
