//! The answer to Status: put together from what is declared, what is written down and what the kernel says now.

use std::collections::BTreeMap;
use std::fs;

use berth_runtime::cgroup::Cgroup;
use berth_units::health;
use berth_units::observed::{NetworkSeen, Run, Seen};
use berth_units::plan::{View, is_wanted, rests};
use berth_units::spec::Unit;
use berth_units::task::Task;
use berth_units::wire::control::{
    NodeStatus, PortStatus, ReloadState, ReloadStatus, State, Status, UnitStatus,
};
use berth_units::{Name, life::Life};

use super::clock;
use super::{Supervisor, disks, jobs, network};

impl Supervisor {
    /// Everything, as of now.
    pub(super) fn status(&self) -> Status {
        let view = View::new(&self.set.declared, &self.observed);
        let containers =
            self.observed.units.iter().map(|(name, seen)| self.container_status(&view, name, seen));
        let networks = self.set.declared.networks.keys().map(|name| self.network_status(name));
        let volumes =
            self.set.declared.volumes.keys().map(|name| self.resource_status(name, "volume", State::Ready));
        Status { node: self.node_status(), units: containers.chain(networks).chain(volumes).collect() }
    }

    fn node_status(&self) -> NodeStatus {
        let (memory_total, memory_available) = memory();
        let mut restarts: BTreeMap<_, _> = self.daemons.restarts();
        restarts.insert("supervise".to_owned(), u64::from(self.restarts));
        let (storage_total, storage_free) = disks::data_room();
        NodeStatus {
            hostname: self.set.declared.node.hostname.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            source: self.set.origin.to_owned(),
            fault: self.set.fault.clone(),
            set: self.set.hash.clone(),
            revision: self.set.revision,
            trial: self.trial_status(),
            failed: self.failed_status(),
            uptime: clock::now().since(berth_units::observed::Moment(0)).as_secs_f64(),
            storage: if self.lasting { "data" } else { "ram" }.to_owned(),
            storage_total,
            storage_free,
            memory_total,
            memory_available,
            addresses: self.uplink.addresses.iter().map(|net| net.address.to_string()).collect(),
            restarts,
        }
    }

    pub(super) fn container_status(&self, view: &View<'_>, name: &Name, seen: &Seen) -> UnitStatus {
        let unit = self.set.declared.units.get(name);
        let record = &seen.record;
        let usage = record.run.as_ref().map(|_| Cgroup::at(super::container::cgroup_dir(name)).stats());
        let reference = unit.and_then(Unit::reference);
        let image = reference.and_then(|reference| self.images.images.get(reference));
        let kind = unit.map_or("container", Unit::kind_word);
        UnitStatus {
            labels: unit.map(|unit| unit.labels.clone()).unwrap_or_default(),
            why: why(view, unit, seen),
            says: record.run.as_ref().and_then(|run| run.talk.status.clone()),
            pid: record.run.as_ref().map(|run| run.pid),
            image: reference.map(ToString::to_string),
            image_digest: image.map(|image| image.digest.clone()),
            restarts: record.restarts,
            addresses: unit.map_or(Vec::new(), |unit| {
                network::addresses(unit, &self.leases).iter().map(ToString::to_string).collect()
            }),
            since: clock::wall_text(record.since),
            since_seconds: clock::now().since(record.since).as_secs_f64(),
            next_try: record.next_try.map(clock::wall_text),
            next_run: unit
                .filter(|unit| is_wanted(unit, seen))
                .and_then(|unit| self.next_run(unit, &record.job)),
            runs: jobs::runs(&record.job),
            next_try_seconds: record.next_try.map(|next| next.since(clock::now()).as_secs_f64()),
            last_exit: record.last_exit.clone(),
            memory: usage.as_ref().and_then(|usage| usage.memory_current),
            memory_max: usage.as_ref().and_then(|usage| usage.memory_max),
            cpu_usec: usage.as_ref().and_then(|usage| usage.cpu_usage_usec),
            pids: usage.as_ref().and_then(|usage| usage.pids_current),
            ports: unit.map_or(Vec::new(), ports),
            reload: record.run.as_ref().and_then(reload),
            sockets: unit.map_or(Vec::new(), sockets),
            checks: unit.map_or(Vec::new(), |unit| super::health::checks(unit, &record.health)),
            ..self.resource_status(name, kind, self.state_of(name))
        }
    }

    /// The word for what a unit is doing.
    pub(super) fn state_of(&self, name: &Name) -> State {
        let unit = self.set.declared.units.get(name);
        self.observed.units.get(name).map_or(State::Stopped, |seen| {
            let rests = unit.is_none_or(|unit| rests(unit, seen));
            if seen.is_paused() { State::Paused } else { seen.record.life.state(rests) }
        })
    }

    fn network_status(&self, name: &Name) -> UnitStatus {
        let network = self.set.declared.networks.get(name);
        let (state, why) = match self.observed.networks.get(name) {
            Some(NetworkSeen::Up) => (State::Ready, None),
            Some(NetworkSeen::Failed(why)) => (State::Failed, Some(why.clone())),
            None => (State::Starting, Some("waits for netd".to_owned())),
        };
        let address = network.map(|network| format!("{}/{}", network.gateway, network.subnet.prefix));
        UnitStatus {
            why,
            addresses: address.into_iter().collect(),
            ..self.resource_status(name, "network", state)
        }
    }

    fn resource_status(&self, name: &Name, kind: &str, state: State) -> UnitStatus {
        UnitStatus {
            name: name.to_string(),
            kind: kind.to_owned(),
            state,
            labels: BTreeMap::new(),
            why: None,
            says: None,
            pid: None,
            image: None,
            image_digest: None,
            restarts: 0,
            addresses: Vec::new(),
            since: clock::wall_text(self.started),
            since_seconds: clock::now().since(self.started).as_secs_f64(),
            next_try: None,
            next_run: None,
            runs: Vec::new(),
            next_try_seconds: None,
            last_exit: None,
            memory: None,
            memory_max: None,
            cpu_usec: None,
            pids: None,
            ports: Vec::new(),
            reload: None,
            sockets: Vec::new(),
            checks: Vec::new(),
        }
    }
}

/// Why a unit is in its state, where that is not plain.
fn why(view: &View<'_>, unit: Option<&Unit>, seen: &Seen) -> Option<String> {
    let record = &seen.record;
    let unit = unit?;
    if seen.is_paused() {
        return Some("paused by hand".to_owned());
    }
    match record.life {
        Life::Idle if is_wanted(unit, seen) => view.waits_for(unit),
        Life::Held => Some("waits for its interfaces".to_owned()),
        Life::Running if unit.kind.ends() => Some("is ready when it has ended".to_owned()),
        Life::Running if record.run.as_ref().is_some_and(|run| run.doing.is_some()) => task(seen),
        Life::Running => health::waits_for(unit, &record.health)
            .or_else(|| Some("runs, and has not said that it is ready".to_owned())),
        Life::Ready => {
            health::complaint(unit, &record.health).or_else(|| record.note.clone()).or_else(|| talk(seen))
        }
        Life::Stopping | Life::Killing => record.run.as_ref()?.unhealthy.clone().or_else(|| task(seen)),
        Life::Skipped => record.note.as_ref().map(|note| format!("skipped: {note}")),
        Life::Backoff | Life::Failed => record.last_exit.as_ref().map(ToString::to_string),
        _ => None,
    }
}

/// What is done beside its process.
fn task(seen: &Seen) -> Option<String> {
    let doing = seen.record.run.as_ref()?.doing.as_ref()?;
    Some(format!("{} is under way", doing.task.word()))
}

/// What a ready unit has said that it is about.
fn talk(seen: &Seen) -> Option<String> {
    let talk = &seen.record.run.as_ref()?.talk;
    let stopping = talk.stopping.then(|| "says that it is about to end".to_owned());
    stopping.or_else(|| talk.reloading.then(|| "reads its configuration again".to_owned()))
}

fn reload(run: &Run) -> Option<ReloadStatus> {
    if run.doing.as_ref().is_some_and(|doing| doing.task == Task::Reload) {
        return Some(ReloadStatus { state: ReloadState::Running, at: None, why: None });
    }
    let last = run.reloaded.as_ref()?;
    let state = if last.failed.is_some() { ReloadState::Failed } else { ReloadState::Done };
    Some(ReloadStatus { state, at: Some(clock::wall_text(last.at)), why: last.failed.clone() })
}

fn sockets(unit: &Unit) -> Vec<String> {
    unit.sockets.iter().map(|(name, socket)| format!("{name} {}", socket.listen)).collect()
}

fn ports(unit: &Unit) -> Vec<PortStatus> {
    let status = |port: &berth_units::spec::Port| PortStatus {
        protocol: port.protocol,
        host_ip: port.host_ip,
        host: port.host,
        container: port.container,
    };
    unit.ports.values().map(status).collect()
}

/// MemTotal and MemAvailable of /proc/meminfo, bytes; zero where the kernel does not say.
pub(super) fn memory() -> (u64, u64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    (field("MemTotal:").unwrap_or(0) << 10, field("MemAvailable:").unwrap_or(0) << 10)
}
