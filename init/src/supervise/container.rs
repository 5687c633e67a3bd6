//! From a unit, its image and its addresses to what the runtime runs: paths and numbers of this node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_runtime::spec::{Device, File, Mount, MountSource, Network, Peer, Process, Root, Spec, User};
use berth_runtime::{Capabilities, ExecSpec};
use berth_units::launch::Launch;
use berth_units::notify::SOCKET;
use berth_units::schedule::Zone;
use berth_units::spec::{self, Declared, Manner, NetworkMode, Profile, Unit};
use berth_units::volumes::own_environment;
use berth_units::wire::control::Exec;
use berth_units::wire::image::{ImageConfig, StoredImage};
use berth_units::{Name, Reference, addresses::Leases};

use super::disks::FACTORY_DIR;
use super::storage::Mounts;
use super::{network, notify, signal, sockets, storage, volumes};

/// cgroups of containers, by unit.
pub const CGROUPS_DIR: &str = "/sys/fs/cgroup/units";

/// The units of the node's root: a service knows its own.
const UNITS_DIR: &str = "/etc/berth";

/// PID 1 of the node, which is the first process of some containers, too.
const INIT: &str = "/init";

/// What a store has.
pub type Images = BTreeMap<Reference, StoredImage>;

/// Why a unit cannot be started. Its text ends up in the unit's status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No store has its image.
    #[error("image '{0}' is not in the factory store")]
    NoImage(String),
    /// Image and unit together name no command.
    #[error(transparent)]
    Launch(#[from] berth_units::launch::LaunchError),
    /// A capability that the runtime does not know.
    #[error(transparent)]
    Capability(#[from] berth_runtime::capability::CapabilityError),
    /// Something of it is not there or cannot be made.
    #[error("cannot {doing} '{path}'")]
    Path {
        /// What was to be done.
        doing: &'static str,
        /// With what.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Its cgroup.
    #[error(transparent)]
    Cgroup(#[from] berth_runtime::cgroup::CgroupError),
    /// Something that it is given cannot be read.
    #[error("cannot read {0}")]
    Supply(String, #[source] std::io::Error),
    /// Something that it is given is not as it has to be.
    #[error(transparent)]
    Supplies(#[from] berth_units::supplies::SupplyError),
    /// The volumes that its image asks for.
    #[error(transparent)]
    ImageVolumes(#[from] berth_units::volumes::ImageVolumeError),
    /// One of its volumes.
    #[error(transparent)]
    Volume(#[from] volumes::Error),
    /// The runtime could not make its process.
    #[error(transparent)]
    Spawn(#[from] berth_runtime::SpawnError),
    /// The unit whose network it shares has just ended.
    #[error("the unit whose network it shares is gone")]
    NoOwner,
    /// A descriptor or a record could not be made.
    #[error("cannot {0}")]
    System(&'static str, #[source] std::io::Error),
    /// Its record could not be written.
    #[error(transparent)]
    Record(#[from] super::records::Error),
}

/// The cgroup of a unit.
pub fn cgroup_dir(unit: &Name) -> PathBuf {
    Path::new(CGROUPS_DIR).join(unit.as_str())
}

/// What the unit's own choices come to, given the rest of the set.
pub struct Context<'a> {
    /// The set in force.
    pub declared: &'a Declared,
    /// What the stores have.
    pub images: &'a Images,
    /// Addresses in force.
    pub leases: &'a Leases,
    /// Whose network it shares.
    pub peer: Option<Peer>,
}

/// The process of a unit whose network others share.
pub fn peer(name: &Name, pid: i32, pod: bool) -> Result<Peer, Error> {
    let find = |error| Error::System("find the process whose network it shares", error);
    let start_time = signal::start_time_of(pid, &cgroup_dir(name)).map_err(find)?;
    Ok(Peer { pid, start_time, pod })
}

/// The whole container.
pub fn spec(context: &Context<'_>, unit: &Unit, base: Base, launch: &Launch) -> Result<Spec, Error> {
    let mut spec = hook_spec(context, unit, base, launch)?;
    spec.process.terminal = unit.process.console.is_some();
    spec.reaper = unit.process.init.then(|| PathBuf::from(INIT));
    add_env(&mut spec.process.env, sockets::environment(unit));
    if unit.notifies() {
        spec.mounts.push(notify_mount(&unit.name));
        add_env(&mut spec.process.env, notify_env(unit));
    }
    Ok(spec)
}

/// The same without what its first process alone is given.
pub fn hook_spec(context: &Context<'_>, unit: &Unit, base: Base, launch: &Launch) -> Result<Spec, Error> {
    let Mounts { writable, mounts, seeds } = storage::mounts(context, unit, &base)?;
    let root = Root { layers: base.layers, writable, shared: unit.rootfs.shared };
    let mut spec = Spec::new(root, launch.argv.clone(), cgroup_dir(&unit.name));
    spec.hostname.clone_from(&unit.hostname);
    (spec.mounts, spec.seeds) = (mounts, seeds);
    spec.devices = devices(unit);
    let file = |(target, contents): (String, String)| File { target, contents: contents.into_bytes() };
    spec.files = network::etc_files(context.declared, context.leases, unit).into_iter().map(file).collect();
    spec.files.extend(unit.process.timezone.iter().flat_map(zone_files));
    spec.process = process(unit, launch)?;
    spec.network = match &unit.network {
        NetworkMode::Host => Network::Host,
        NetworkMode::Bridge | NetworkMode::None => Network::Private,
        NetworkMode::Unit(_) | NetworkMode::Pod(_) => {
            Network::Join(context.peer.clone().ok_or(Error::NoOwner)?)
        }
    };
    spec.shm_size = unit.memory.shm_size;
    spec.sysctl = sysctls(unit);
    if unit.image.is_none() {
        spec.masked_paths.push(UNITS_DIR.to_owned());
    }
    spec.privileged = unit.security.profile == Profile::Privileged;
    spec.delegate = unit.delegate.on;
    spec.clone_parent = true;
    Ok(spec)
}

/// Rules of a time zone where programs look for them, whatever the image has there: under its name, which is in TZ, and as
/// the local time.
fn zone_files(zone: &Zone) -> Vec<File> {
    let targets = [format!("/usr/share/zoneinfo/{}", zone.name()), "/etc/localtime".to_owned()];
    let rules = zone.rules();
    let file = |target| Some(File { target, contents: rules?.to_vec() });
    targets.into_iter().filter_map(file).collect()
}

/// Its socket, at a path of its own whatever its image has there. Its root may not change the socket's mode.
fn notify_mount(unit: &Name) -> Mount {
    let source = MountSource::Bind { path: notify::socket_path(unit), subpath: None };
    Mount { source, target: SOCKET.to_owned(), read_only: true, exec: false, manner: Manner::default() }
}

fn notify_env(unit: &Unit) -> Vec<(&'static str, String)> {
    let watchdog = unit.watchdog.map(|time| ("WATCHDOG_USEC", time.as_micros().to_string()));
    [("NOTIFY_SOCKET", SOCKET.to_owned())].into_iter().chain(watchdog).collect()
}

/// Sets variables, whatever unit or image say of them.
fn add_env(env: &mut Vec<String>, ours: Vec<(&'static str, String)>) {
    let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    env.retain(|line| ours.iter().all(|(ours, _)| *ours != name(line)));
    env.extend(ours.into_iter().map(|(name, value)| format!("{name}={value}")));
}

/// The unit's own, and what people expect of a network namespace that is all theirs: any user may bind any port.
fn sysctls(unit: &Unit) -> Vec<(String, String)> {
    let mut all = unit.security.sysctl.clone();
    if matches!(unit.network, NetworkMode::Bridge | NetworkMode::None) {
        all.entry("net.ipv4.ip_unprivileged_port_start".to_owned()).or_insert_with(|| "0".to_owned());
    }
    all.into_iter().collect()
}

fn process(unit: &Unit, launch: &Launch) -> Result<Process, Error> {
    let mut process = Process::new(launch.argv.clone());
    process.env = launch.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    add_env(&mut process.env, own_environment(unit));
    process.cwd.clone_from(&launch.cwd);
    process.user = User { user: launch.user.clone(), groups: unit.process.groups.clone() };
    process.umask = unit.process.umask.unwrap_or(0o022);
    process.rlimits = unit.process.rlimits.clone();
    // process.coredump is off as long as nobody asks for them himself.
    process.rlimits.entry("core".to_owned()).or_insert((0, 0));
    process.oom_score_adj = unit.process.oom_score_adj;
    process.scheduling = unit.process.scheduling.clone();
    process.io_priority = unit.process.io_priority;
    process.capabilities = Capabilities::parse(launch.capabilities.iter().map(String::as_str))?;
    process.ambient = !unit.security.cap_add.is_empty();
    process.no_new_privileges = unit.security.no_new_privileges;
    Ok(process)
}

/// The same unit's settings for one more process in it.
pub fn exec_spec(unit: &Unit, launch: &Launch, asked: &Exec, pid: i32) -> Result<ExecSpec, Error> {
    let mut process = process(unit, launch)?;
    process.argv.clone_from(&asked.argv);
    process.env.extend(asked.env.iter().map(|(name, value)| format!("{name}={value}")));
    if let Some(user) = &asked.user {
        process.user = User { user: user.clone(), groups: Vec::new() };
    }
    if let Some(workdir) = &asked.workdir {
        process.cwd.clone_from(workdir);
    }
    process.terminal = asked.tty.is_some();
    let cgroup = cgroup_dir(&unit.name);
    let start_time = signal::start_time_of(pid, &cgroup);
    let start_time = start_time.map_err(|error| Error::System("find its process", error))?;
    Ok(ExecSpec { pid, start_time, cgroup, clone_parent: false, process })
}

/// What it is given; a device that is not there and not required is left out.
fn devices(unit: &Unit) -> Vec<Device> {
    let there = |device: &&spec::Device| device.required || Path::new(&device.source).exists();
    let given = |device: &spec::Device| Device {
        source: PathBuf::from(&device.source),
        target: device.target.clone(),
        mode: device.mode,
        uid: device.uid,
        gid: device.gid,
    };
    unit.devices.values().filter(there).map(given).collect()
}

/// What a unit's root is made of.
#[derive(Default)]
pub struct Base {
    /// Lowest first.
    pub layers: Vec<PathBuf>,
    /// What its image says; of a service nothing.
    pub config: ImageConfig,
    /// Tells the image from others; of a service nothing.
    pub digest: String,
}

/// The layers of a unit's image, or for a service the node's root: of that a layer has what lies in the initramfs
/// itself and nothing that is mounted over it, so neither /data nor /run.
pub fn base(images: &Images, unit: &Unit) -> Result<Base, Error> {
    let Some(reference) = unit.reference() else {
        return Ok(Base { layers: vec![PathBuf::from("/")], ..Base::default() });
    };
    let image = stored(images, reference)?;
    Ok(Base { layers: layers(image), config: image.config.clone(), digest: image.digest.clone() })
}

/// An image of the stores.
pub fn stored<'i>(images: &'i Images, reference: &Reference) -> Result<&'i StoredImage, Error> {
    images.get(reference).ok_or_else(|| Error::NoImage(reference.to_string()))
}

/// Where the layers of an image are, lowest first.
pub fn layers(image: &StoredImage) -> Vec<PathBuf> {
    image.layers.iter().map(|layer| Path::new(FACTORY_DIR).join(layer)).collect()
}
