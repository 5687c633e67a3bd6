//! How the supervisor begins, whether the node has just booted or a supervisor before it has died.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use berth_runtime::Cgroup;
use berth_runtime::cgroup::{CgroupError, Limits};
use berth_units::Name;
use berth_units::addresses::{Leases, assign};
use berth_units::health::image::add_of_images;
use berth_units::life::Life;
use berth_units::observed::{NetworkSeen, Observed, Record, Seen};
use berth_units::revision::Head;
use berth_units::spec::Declared;
use berth_units::wire::control::{CONTROL_SOCKET, ExitReason};
use berth_units::wire::event::EVENTS_DIR;
use berth_units::wire::image::{INDEX_FILE, Index};
use berth_units::wire::init::ToInit;
use berth_units::wire::net::UplinkState;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::checkers::Checkers;
use super::clients::Clients;
use super::container::{CGROUPS_DIR, cgroup_dir};
use super::daemons::{Daemons, Kind};
use super::disks::{self, DATA_DIR, Disk, FACTORY_DIR};
use super::drift::Drift;
use super::events::{Told, describe_set};
use super::facts::{ClockWatch, PathWatch};
use super::head::REVISIONS_DIR;
use super::journal::Journal;
use super::link::{Link, fd_name};
use super::notify::Ears;
use super::poll::{Interest, Poll, Source};
use super::records::{self, UNITS_DIR};
use super::source::Set;
use super::watches::{CgroupEvents, UnitFiles};
use super::{Error, LISTENER, Supervisor, clock, network, program, status, volumes};
use crate::channel::Channel;
use crate::kmsg::Chain;
use crate::{coldplug, error, notice};

/// Where leases lie, so that a unit keeps its address over reboots.
const LEASES_DIR: &str = "/data/network";
const LEASES: &str = "leases";

/// The longest index that is read, bytes.
const INDEX_MAX: u64 = 16 << 20;

impl Supervisor {
    /// Everything up to the first plan.
    pub(super) fn boot(link: Link, restarts: u32) -> Result<Self, Error> {
        if restarts > 0 {
            notice!("supervisor start {}: going on where the one before ended", restarts + 1);
        }
        let mut supervisor = Self::empty(link, restarts).map_err(Error::Poll)?;
        supervisor.adopt_daemons();
        // It loads its modules on another processor while this one mounts disks and reads units.
        supervisor.start_if_due(Kind::Netd);
        supervisor.find_disks();
        supervisor.find_facts();
        supervisor.images = read_index();
        supervisor.leases = records::read(Path::new(LEASES_DIR), LEASES).unwrap_or_default();
        supervisor.watch_all().map_err(Error::Poll)?;
        supervisor.adopt_units();
        supervisor.forget_lost_hooks();
        supervisor.open_revisions();
        volumes::remove_rubbish();
        supervisor.settle_node()?;
        Ok(supervisor)
    }

    fn empty(link: Link, restarts: u32) -> std::io::Result<Self> {
        Ok(Self {
            link,
            poll: Poll::new()?,
            set: Set::default(),
            head: Head::default(),
            head_lasts: true,
            progress: None,
            next_look: None,
            asked_end: None,
            images: Index::default(),
            leases: Leases::default(),
            observed: Observed::default(),
            saved: BTreeMap::new(),
            node: None,
            set_seen: None,
            journal: Journal::open(Path::new(EVENTS_DIR), || 0),
            held: BTreeMap::new(),
            daemons: Daemons::load(),
            daemon_status: BTreeMap::new(),
            netd: None,
            generation: u64::from(restarts) << 32,
            uplink: UplinkState::default(),
            log: None,
            clients: Clients::default(),
            checkers: Checkers::default(),
            triggers: BTreeMap::new(),
            ears: Ears::default(),
            task_status: BTreeMap::new(),
            cgroup_events: CgroupEvents::new(),
            drift: Drift::default(),
            next_plan: None,
            unit_files: UnitFiles::default(),
            path_watch: PathWatch::new(),
            clock_watch: ClockWatch::new()?,
            node_memory: status::memory().0,
            lasting: false,
            restarts,
            started: clock::now(),
            drained_said: false,
        })
    }

    /// Mounts the factory store and the data partition. Devices whose drivers are not loaded yet are looked for
    /// only where one of the two is missing; otherwise that can wait.
    fn find_disks(&mut self) {
        let is_there = |disk| matches!(disks::find(disk), Ok(Some(_)));
        if self.restarts == 0 {
            if is_there(Disk::Factory) && is_there(Disk::Data) {
                Self::start_beside(&["/bin/berth-modules", "--coldplug"]);
            } else {
                coldplug::coldplug();
            }
        }
        self.lasting = mount_disks();
        if self.lasting && self.restarts == 0 {
            // Can take a while on a large disk. Should we die before, the next boot does it.
            Self::start_beside(&["/bin/berth-modules", "--grow", DATA_DIR]);
        }
    }

    /// Nobody waits for its end: PID 1 tells it, and it is no unit's.
    fn start_beside(words: &[&str]) {
        if let Err(error) = program::start(words, &[], None, program::ORDINARY) {
            error!("cannot run {words:?}: {}; ignoring", Chain(&error));
        }
    }

    fn watch_all(&mut self) -> std::io::Result<()> {
        self.poll.add(&self.link, Source::Init, Interest::Read)?;
        self.poll.add(&self.clock_watch, Source::Clock, Interest::Read)?;
        self.unit_files = UnitFiles::watch(&[DATA_DIR, REVISIONS_DIR]);
        for (fd, source) in [
            (self.cgroup_events.fd(), Source::Cgroups),
            (self.unit_files.fd(), Source::UnitFiles),
            (self.path_watch.fd(), Source::Paths),
        ] {
            fd.map_or(Ok(()), |fd| self.poll.add(fd, source, Interest::Read))?;
        }
        if self.link.kept(LISTENER).is_none() {
            let listener = listen()?;
            self.link.keep(LISTENER, listener)?;
        }
        self.link.kept(LISTENER).map_or(Ok(()), |fd| self.poll.add(fd, Source::Listener, Interest::Read))
    }

    /// Host name, the memory that units together leave to the node, and how long PID 1 waits for us in a shutdown.
    fn settle_node(&self) -> Result<(), Error> {
        let node = &self.set.declared.node;
        if let Err(error) = ensure_units_cgroup(self.node_memory.saturating_sub(node.memory_reserve)) {
            error!("{}; limits of units may not hold", Chain(&error));
        }
        share_by_memory_alone();
        if let Err(errno) = rustix::system::sethostname(node.hostname.as_str().as_bytes()) {
            error!("cannot set the host name: {errno}; ignoring");
        }
        let millis = u32::try_from(node.stop_timeout.as_millis()).unwrap_or(u32::MAX);
        self.link.say(ToInit::StopTimeout { millis }).map_err(Error::Link)
    }

    /// Takes over the channels to processes that still run.
    fn adopt_daemons(&mut self) {
        for kind in Kind::ALL {
            self.daemons.forget_if_gone(kind, clock::now());
            if !self.daemons.is_running(kind) {
                continue;
            }
            let kept = kind.channel().and_then(|name| self.link.kept(name));
            let channel = kept.map(|fd| fd.try_clone_to_owned().and_then(Channel::from_fd));
            match channel {
                Some(Ok(channel)) => {
                    if let Err(error) = self.take_channel(kind, channel) {
                        error!("cannot use the channel of {}: {error}", kind.name());
                    }
                }
                Some(Err(error)) => error!("cannot use the channel of {}: {error}", kind.name()),
                None => {}
            }
        }
    }

    /// Reads every record, and looks at what of it still runs.
    fn adopt_units(&mut self) {
        let mut told = Vec::new();
        for text in records::names(Path::new(UNITS_DIR)) {
            let (Ok(name), Some(Told { record, events })) =
                (Name::parse(&text), records::read::<Told<Record>>(Path::new(UNITS_DIR), &text))
            else {
                continue;
            };
            told.extend(events);
            self.saved.insert(name.clone(), record.clone());
            // Watched first, so that no change is missed between the look and the watch.
            let cgroup = Cgroup::at(cgroup_dir(&name));
            if cgroup.path().exists() {
                self.watch_cgroup(&name);
            }
            let populated = cgroup.populated().unwrap_or(false);
            let life = record.life;
            let seen = Seen { record, populated, frozen: cgroup.is_frozen(), ..Seen::default() };
            self.observed.units.insert(name.clone(), seen);
            // A held process has ended with the supervisor that held it, unless it had just been let go; what runs
            // may not have been found ready yet.
            if matches!(life, Life::Held | Life::SetUp | Life::Running) {
                self.watch_status(&name);
            }
            // Nobody has watched while there was no supervisor.
            if populated {
                self.drift.suspect(name.clone());
            }
            // Its end was written down before it was done, and nothing else would ever do it.
            if life == Life::Killing {
                self.kill_cgroup(&name);
            }
            self.watch_ready(&name);
            self.watch_notify(&name);
        }
        self.catch_up_events(told);
    }

    /// Ends the runs whose process is gone and whose exit PID 1 has told already: the note of it could not be
    /// written, and nobody would ever speak of it again. To be called when the exits that PID 1 had are taken in.
    pub(super) fn settle_lost_runs(&mut self) {
        let is_gone = |seen: &Seen| {
            let run = seen.record.run.as_ref();
            !seen.populated && run.is_some_and(|run| !Path::new("/proc").join(run.pid.to_string()).exists())
        };
        let units = self.observed.units.iter().filter(|(_, seen)| is_gone(seen));
        let names: Vec<_> = units.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.ended(&name, (ExitReason::Exit, None, None), Some("how is not known".to_owned()));
        }
    }

    fn watch_ready(&mut self, name: &Name) {
        let added = self
            .link
            .kept(&fd_name("ready", name))
            .map(|fd| self.poll.add(fd, Source::ReadyLine(name.clone()), Interest::Read));
        if let Some(Err(error)) = added {
            error!("cannot watch the readiness of '{name}': {error}; ignoring");
        }
    }

    /// Puts a set in force: addresses, the network, and what is planned from now on.
    pub(super) fn take_set(&mut self, mut set: Set) {
        self.resume_jobs(&set.declared);
        for name in set.declared.units.keys() {
            self.observed.units.entry(name.clone()).or_default();
        }
        let told = (!self.set.origin.is_empty()).then(|| self.wanted_network());
        self.settle_leases(&set.declared);
        self.set_seen = Some(describe_set(&set));
        complete(&mut set.declared, &self.images, &self.leases);
        let before = std::mem::replace(&mut self.set, set);
        self.end_waits_for_servers();
        volumes::settle(&self.set.declared);
        // While another one is on trial nothing is deleted that the good revision may need again.
        let is_final = self.set.fault.is_none() && self.head.trying.is_none() && !self.head.lost;
        self.observed.volumes = if is_final { volumes::all() } else { BTreeMap::new() };
        // What netd has made already is not asked for again: of a large node that takes it seconds.
        let is_made = self.observed.networks.values().all(|seen| *seen == NetworkSeen::Up);
        if !is_made || told != Some(self.wanted_network()) {
            self.observed.networks.clear();
            self.declare_network();
        }
        self.tell_log_of_set(&before.declared);
    }

    /// Tells the log process of units whose output is treated differently from now on.
    fn tell_log_of_set(&mut self, before: &Declared) {
        let of = |declared: &Declared, name: &Name| declared.units.get(name).map(|unit| unit.log.clone());
        let differs = |name: &&Name| of(before, name) != of(&self.set.declared, name);
        let names: Vec<_> = self.observed.units.keys().filter(differs).cloned().collect();
        for name in names {
            self.tell_log(&name);
        }
    }

    fn settle_leases(&mut self, declared: &Declared) {
        let (leases, exhausted) = assign(declared, &self.leases);
        for fault in exhausted {
            error!("network {}: no address is left for '{}'", fault.network, fault.unit);
        }
        if leases == self.leases {
            return;
        }
        if let Err(error) = records::write(Path::new(LEASES_DIR), LEASES, &leases, self.lasting) {
            error!("{}; addresses may change with the next boot", Chain(&error));
        }
        self.leases = leases;
    }
}

/// Gives units the checks of their images, then computes the identity of every unit, with what its process has of the
/// network once and for all.
pub(super) fn complete(declared: &mut Declared, images: &Index, leases: &Leases) {
    add_of_images(declared, |unit| Some(&images.images.get(unit.reference()?)?.config));
    declared.identify(|declared, unit| {
        (network::interfaces(declared, leases, unit), network::etc_files(declared, leases, unit))
    });
}

/// Mounts the factory store and the data partition; `true` when data lasts. What is not there is said.
fn mount_disks() -> bool {
    match disks::ensure_factory() {
        Ok(true) => {}
        Ok(false) => error!("no disk carries the factory store: no image is there"),
        Err(error) => error!("{}: no image is there", Chain(&error)),
    }
    let lasting = disks::ensure_data().unwrap_or_else(|error| {
        error!("{}: nothing will last", Chain(&error));
        false
    });
    for dir in [UNITS_DIR, REVISIONS_DIR, "/data/volumes", "/data/logs"] {
        if let Err(error) = fs::create_dir_all(dir) {
            error!("cannot make '{dir}': {error}; ignoring");
        }
    }
    // Files of units are nobody's business but the unit's.
    drop(fs::set_permissions(DATA_DIR, fs::Permissions::from_mode(0o700)));
    lasting
}

/// The parent of every unit's cgroup: hands the controllers down, and keeps units from taking all memory.
fn ensure_units_cgroup(memory_max: u64) -> Result<(), CgroupError> {
    let cgroup = Cgroup::ensure(CGROUPS_DIR)?;
    cgroup.enable(&["cpu", "io", "memory", "pids"])?;
    let limits = Limits { memory_max: Some(memory_max), ..Limits::default() };
    let lower = limits.plan_writes();
    if lower.iter().any(|setting| cgroup.takes_time(setting)) {
        // Units run that use more than what is left to them now.
        return cgroup.write_beside(&lower, true).map(drop);
    }
    cgroup.set(&limits)
}

/// Takes away the kernel's limits that are counted for the node or for a user, root being the same one in every
/// container: a single unit could use up what all the others need, however small its memory. What is behind these
/// numbers is counted as memory of the unit that has it (the caches are SLAB_ACCOUNT), and that is limited.
fn share_by_memory_alone() {
    const UNLIMITED: [(&str, &str); 4] = [
        ("/proc/sys/fs/epoll/max_user_watches", "9223372036854775807"),
        ("/proc/sys/fs/file-max", "9223372036854775807"),
        ("/proc/sys/fs/inotify/max_user_instances", "2147483647"),
        ("/proc/sys/fs/inotify/max_user_watches", "2147483647"),
    ];
    for (path, value) in UNLIMITED {
        if let Err(error) = fs::write(path, value) {
            error!("cannot write '{path}': {error}; one unit may use up what others need");
        }
    }
}

fn read_index() -> Index {
    let path = Path::new(FACTORY_DIR).join(INDEX_FILE);
    let read = || -> std::io::Result<Index> {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(fs::File::open(&path)?, INDEX_MAX), &mut text)?;
        Ok(serde_json::from_slice(&text)?)
    };
    read().unwrap_or_else(|error| {
        error!("cannot read '{}': {error}: no image is there", path.display());
        Index::default()
    })
}

/// The listening control socket; only root may connect.
fn listen() -> std::io::Result<OwnedFd> {
    let path = Path::new(CONTROL_SOCKET);
    drop(fs::remove_file(path));
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The mode has to hold from the first instant on: bind(2) makes the file with what fchmod set on the socket.
    rustix::fs::fchmod(&socket, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}
