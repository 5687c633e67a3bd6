//! What the files mean: the declared state with every default filled in.
//!
//! The parser turns TOML into these types; the planner, the runtime and netd read them. A key that a file does
//! not set has the value of the type's `Default`. Names of fields are the names of the keys.

mod health;
mod lifecycle;
mod network;
mod node;
mod pressure;
mod program;
mod resources;
mod security;
mod storage;
mod supplies;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::change::Identity;
use crate::quantity::Amount;
pub use crate::schedule::{CatchUp, Cron, Overlap, Schedule, Zone};
use crate::task::Task;
use crate::{Name, Reference};

pub use health::{Check, Http, OnFailure, Probe, Ready, Role};
pub use lifecycle::{
    Arch, Conditions, Depends, Hook, Host, Job, OnError, OnFailedUpdate, OnLimit, OnRestart, OnStop, OnUnmet,
    Place, Policy, Reload, ReloadWay, Restart, Server, Stop, StopMode, Strength, Type, Until, Update,
    WaitFor,
};
pub use network::{Attachment, Ipv4Net, LISTEN_FD, Listen, Network, NetworkMode, Port, Protocol, Socket};
pub use node::{Node, Uplink, UplinkMode};
pub use pressure::{Pressure, PressureAction, PressureKind, Resource};
pub use program::{
    Image, ImageVolumes, IoPriority, Log, LogSink, Overflow, Process, Rate, Rootfs, SchedulerPolicy,
    Scheduling, Stdin, Upper,
};
pub use resources::{Cpu, Cpuset, Delegate, Io, IoLimit, Memory, OnOom, Partition, Pids, PrioClass};
pub use security::{Profile, Security};
pub use storage::{
    Device, Directories, Manner, Mount, MountSource, Propagation, Retain, Volume, VolumeSource,
};
pub use supplies::{
    Config, ConfigSource, ConfigUse, Content, Delivery, EnvFile, EnvInfo, OnChange, Placed, Secret,
    SecretSource, SecretUse, Supplies,
};

/// A whole unit set: valid together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Declared {
    /// The node's own settings.
    pub node: Node,
    /// `kind = "container"`, `kind = "service"` and `kind = "pod"`.
    pub units: BTreeMap<Name, Unit>,
    /// `kind = "network"`, with [`DEFAULT_NETWORK`] added where a unit needs it.
    pub networks: BTreeMap<Name, Network>,
    /// `kind = "volume"`, with every volume that a mount names and no file declares.
    pub volumes: BTreeMap<Name, Volume>,
    /// `kind = "config"`.
    pub configs: BTreeMap<Name, Config>,
    /// `kind = "secret"`.
    pub secrets: BTreeMap<Name, Secret>,
    /// Of the units for which [`Declared::identify`] was called.
    pub identities: BTreeMap<Name, Identity>,
}

impl Declared {
    /// Computes every unit's identity once, together with what of the rest of the node its process depends on.
    pub fn identify<D: std::fmt::Debug>(&mut self, outside: impl Fn(&Self, &Unit) -> D) {
        let of = |unit: &Unit| (unit.name.clone(), Identity::of(unit).with(&outside(self, unit)));
        self.identities = self.units.values().map(of).collect();
    }

    /// Every image that has to be there when a unit starts: its own first, those that it mounts, and those that its
    /// volumes are filled from.
    pub fn images<'s>(&'s self, unit: &'s Unit) -> impl Iterator<Item = &'s Reference> {
        let mounted = unit.mounts.values().filter_map(|mount| match &mount.source {
            MountSource::Image { reference, .. } => Some(reference),
            MountSource::Volume { volume, .. } => self.volumes.get(volume)?.seed_image.as_ref(),
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        });
        unit.reference().into_iter().chain(mounted)
    }

    /// The identity of a unit; of one that is not declared, none.
    pub fn identity(&self, unit: &Name) -> Option<Identity> {
        let kept = self.identities.get(unit).copied();
        kept.or_else(|| self.units.get(unit).map(Identity::of))
    }
}

/// The network of units that are in bridge mode and name none.
pub const DEFAULT_NETWORK: &str = "default";

/// A container on this node, or a service: the same around a program of the OS image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unit {
    /// File stem.
    pub name: Name,
    /// One line for people.
    pub description: String,
    /// Links for people.
    pub documentation: Vec<String>,
    /// `false`: kept in the set, never started by itself.
    pub enabled: bool,
    /// Start at boot or only when asked.
    pub start: Start,
    /// Free key-value pairs, shown and filtered by.
    pub labels: BTreeMap<String, String>,
    /// The same for other programs.
    pub annotations: BTreeMap<String, String>,
    /// It is there only on a node that has one of them; without any on every one.
    pub profiles: Vec<String>,
    /// Which image, and where it comes from; none for a service or a pod, whose root is the node's own.
    pub image: Option<Image>,
    /// A pod: its process does nothing but hold the namespaces that others share.
    pub is_pod: bool,
    /// The root file system that is made of it.
    pub rootfs: Rootfs,
    /// What runs.
    pub process: Process,
    /// Merged over the image's Env.
    pub env: BTreeMap<String, String>,
    /// Secrets, configuration, files of variables.
    pub supplies: Supplies,
    /// memory.* of cgroup v2.
    pub memory: Memory,
    /// cpu.* of cgroup v2.
    pub cpu: Cpu,
    /// pids.* of cgroup v2.
    pub pids: Pids,
    /// io.* of cgroup v2.
    pub io: Io,
    /// cpuset.* of cgroup v2.
    pub cpuset: Cpuset,
    /// hugetlb.* of cgroup v2, by size of the page: `2M`.
    pub hugetlb: BTreeMap<String, Amount>,
    /// Huge pages count when they are reserved (hugetlb.*.rsvd.max), not when they are used.
    pub hugetlb_rsvd: bool,
    /// Files of its cgroup that have no key, and what is written there.
    pub cgroup_raw: BTreeMap<String, String>,
    /// Whether it has cgroups of its own.
    pub delegate: Delegate,
    /// What is done when it has to wait for resources, by name.
    pub pressure: BTreeMap<String, Pressure>,
    /// Devices of the node that it is given, by name.
    pub devices: BTreeMap<String, Device>,
    /// By name, so that a drop-in can change one.
    pub mounts: BTreeMap<String, Mount>,
    /// Directories that berth makes for it.
    pub directories: Directories,
    /// Mode, host name, extra hosts.
    pub network: NetworkMode,
    /// Container's host name; the unit's name as a DNS label by default.
    pub hostname: String,
    /// Networks that it joins; filled with [`DEFAULT_NETWORK`] in bridge mode when none is named.
    pub networks: BTreeMap<Name, Attachment>,
    /// Published ports, by name.
    pub ports: BTreeMap<String, Port>,
    /// Sockets of the node that are held open for it, by name.
    pub sockets: BTreeMap<String, Socket>,
    /// Service or one deed.
    pub kind: Type,
    /// When a job runs by itself.
    pub schedule: Option<Schedule>,
    /// Tries and memory of a job.
    pub job: Job,
    /// Whether it still counts as there after it ended with success; as its type has it by default.
    pub remain_after_exit: Option<bool>,
    /// Units whose state has to hold before it starts.
    pub depends: BTreeMap<Name, Depends>,
    /// It starts after these and stops before them.
    pub after: Vec<Name>,
    /// The other way round.
    pub before: Vec<Name>,
    /// It never runs beside these.
    pub conflicts: Vec<Name>,
    /// Facts outside of the set that have to hold before it starts.
    pub wait_for: WaitFor,
    /// Whether it is started at all.
    pub conditions: Conditions,
    /// When it counts as ready.
    pub ready: Ready,
    /// It has to say `WATCHDOG=1` at least this often once it is ready.
    pub watchdog: Option<Duration>,
    /// Checks of its health, by name.
    pub health: BTreeMap<String, Check>,
    /// Without any of its own it has the one of its image.
    pub image_healthcheck: bool,
    /// From the start to ready; over it the start has failed. Zero: no limit.
    pub start_timeout: Duration,
    /// It is ended when it has run so long. Zero: no limit.
    pub runtime_max: Duration,
    /// What happens after it ended.
    pub restart: Restart,
    /// Started when it has failed.
    pub on_failure: Vec<Name>,
    /// Started when it has ended with success.
    pub on_success: Vec<Name>,
    /// How it is told to read its configuration again.
    pub reload: Option<Reload>,
    /// Programs that are run around it.
    pub hooks: BTreeMap<Task, Hook>,
    /// How it is asked to end.
    pub stop: Stop,
    /// What becomes of its output.
    pub log: Log,
    /// What it has to show before a revision is good.
    pub update: Update,
    /// How far it is opened up.
    pub security: Security,
}

impl Unit {
    /// Whether it counts as there after it ended with success.
    pub fn remains(&self) -> bool {
        self.remain_after_exit.unwrap_or(self.kind.ends())
    }

    /// Its kind, the word of the file.
    pub fn kind_word(&self) -> &'static str {
        match self.image {
            _ if self.is_pod => "pod",
            None => "service",
            Some(_) => "container",
        }
    }

    /// Its image; none for a service.
    pub fn reference(&self) -> Option<&Reference> {
        self.image.as_ref().map(|image| &image.reference)
    }

    /// Whether it is given a socket to say how it is.
    pub fn notifies(&self) -> bool {
        self.ready == Ready::Notify || self.watchdog.is_some()
    }

    /// A unit of that name and image, every other key at its default.
    pub fn new(name: Name, reference: Reference) -> Self {
        Self {
            hostname: name.label(),
            name,
            description: String::new(),
            documentation: Vec::new(),
            enabled: true,
            start: Start::Boot,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            profiles: Vec::new(),
            image: Some(Image::of(reference)),
            is_pod: false,
            rootfs: Rootfs::default(),
            process: Process::default(),
            env: BTreeMap::new(),
            supplies: Supplies::default(),
            memory: Memory::default(),
            cpu: Cpu::default(),
            pids: Pids::default(),
            io: Io::default(),
            cpuset: Cpuset::default(),
            hugetlb: BTreeMap::new(),
            hugetlb_rsvd: false,
            cgroup_raw: BTreeMap::new(),
            delegate: Delegate::default(),
            pressure: BTreeMap::new(),
            devices: BTreeMap::new(),
            mounts: BTreeMap::new(),
            directories: Directories::default(),
            network: NetworkMode::Bridge,
            networks: BTreeMap::new(),
            ports: BTreeMap::new(),
            sockets: BTreeMap::new(),
            kind: Type::Service,
            schedule: None,
            job: Job::default(),
            remain_after_exit: None,
            depends: BTreeMap::new(),
            after: Vec::new(),
            before: Vec::new(),
            conflicts: Vec::new(),
            wait_for: WaitFor::default(),
            conditions: Conditions::default(),
            ready: Ready::Exec,
            watchdog: None,
            health: BTreeMap::new(),
            image_healthcheck: true,
            start_timeout: Duration::from_secs(60),
            runtime_max: Duration::ZERO,
            restart: Restart::default(),
            on_failure: Vec::new(),
            on_success: Vec::new(),
            reload: None,
            hooks: BTreeMap::new(),
            stop: Stop::default(),
            log: Log::default(),
            update: Update::default(),
            security: Security::default(),
        }
    }
}

/// `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Start {
    /// With the node.
    Boot,
    /// Only by `berth start`.
    Manual,
}
