//! What others tell the supervisor: netd, the log process' needs, the unit files, the cgroups.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use berth_runtime::cgroup::CgroupError;
use berth_runtime::{Cgroup, read_status};
use berth_units::Name;
use berth_units::observed::{Attach, NetworkSeen, Seen};
use berth_units::wire::PACKET_MAX;
use berth_units::wire::init::ExitStatus;
use berth_units::wire::net::{NetState, Reply, Request};

use super::container::cgroup_dir;
use super::daemons::Kind;
use super::poll::{Interest, Source};
use super::{SYSTEM_CGROUPS, Supervisor, clock, network, program};
use crate::channel::{Channel, Received};
use crate::kmsg::Chain;
use crate::{error, warning};

impl Supervisor {
    /// Has a unit's cgroup.events tell us when its last process is gone.
    pub(super) fn watch_cgroup(&mut self, unit: &Name) {
        if let Err(error) = self.cgroup_events.watch(unit, &cgroup_dir(unit)) {
            error!("cannot watch the cgroup of '{unit}': {error}; looking at times instead");
        }
    }

    /// Units whose main process is gone and whose cgroup was not empty when we looked last.
    pub(super) fn emptying(&self) -> impl Iterator<Item = &Name> {
        let units = self.observed.units.iter();
        units.filter(|(_, seen)| seen.populated && !seen.record.life.has_process()).map(|(name, _)| name)
    }

    pub(super) fn cgroups_changed(&mut self) {
        let changed = self.cgroup_events.changed(clock::now());
        self.note_drift(changed);
        self.look_at_freezers();
        let names: Vec<_> = self.emptying().cloned().collect();
        for name in names {
            self.look_at_cgroup(&name);
        }
    }

    pub(super) fn unit_files_changed(&mut self) {
        let moved = self.unit_files.moved_in();
        if moved.iter().any(|name| name == "units") {
            self.take_by_hand(true);
        }
        if moved.iter().any(|name| name.parse::<u64>().is_ok()) {
            self.take_up();
        }
    }

    /// Starts those of our own processes that are due.
    pub(super) fn start_due_daemons(&mut self) {
        for kind in Kind::ALL {
            self.start_if_due(kind);
        }
    }

    /// The same for one of them.
    pub(super) fn start_if_due(&mut self, kind: Kind) {
        if !self.daemons.is_due(kind, clock::now()) {
            return;
        }
        let pid = match self.start_daemon(kind) {
            Ok(pid) => Some(pid),
            Err(why) => {
                error!("cannot start {}: {why}", kind.name());
                None
            }
        };
        self.daemons.started(kind, pid, clock::now());
    }

    fn start_daemon(&mut self, kind: Kind) -> Result<i32, String> {
        let cgroup = new_group(kind).map_err(|error| Chain(&error).to_string())?;
        let theirs = self.connect_daemon(kind).map_err(|error| format!("no channel: {error}"))?;
        let channel: Vec<_> = theirs.iter().map(|channel| (channel.as_fd(), 3)).collect();
        let running = program::start(kind.command(), &channel, Some(cgroup.path()), program::NEEDED)
            .map_err(|error| Chain(&error).to_string())?;
        self.daemon_status.insert(kind, running.status);
        self.greet_daemon(kind);
        Ok(running.pid)
    }

    /// A new channel: our end is kept by PID 1 under its name, theirs is returned. The old one closes, and an old
    /// process that still has it ends.
    fn connect_daemon(&mut self, kind: Kind) -> std::io::Result<Option<Channel>> {
        let Some(name) = kind.channel() else {
            return Ok(None);
        };
        let (ours, theirs) = Channel::pair()?;
        self.link.keep(name, ours.as_fd().try_clone_to_owned()?)?;
        self.take_channel(kind, ours)?;
        Ok(Some(theirs))
    }

    /// Uses a channel from now on.
    pub(super) fn take_channel(&mut self, kind: Kind, channel: Channel) -> std::io::Result<()> {
        match kind {
            Kind::Netd => {
                self.poll.add(&channel, Source::Netd, Interest::Read)?;
                self.netd = Some(channel);
            }
            Kind::Log => {
                self.poll.add(&channel, Source::Log, Interest::Read)?;
                self.log = Some(channel);
            }
            Kind::Relay => {}
        }
        Ok(())
    }

    /// Tells a process that has just been started all that it has to know.
    pub(super) fn greet_daemon(&mut self, kind: Kind) {
        match kind {
            Kind::Netd => {
                self.declare_network();
                self.tell_attached();
            }
            Kind::Log => {
                let names: Vec<_> = self.observed.units.keys().cloned().collect();
                for name in names {
                    self.tell_log(&name);
                }
            }
            Kind::Relay => {}
        }
    }

    pub(super) fn daemon_exited(&mut self, pid: i32, status: ExitStatus) {
        let Some(kind) = self.daemons.exited(pid, clock::now()) else {
            return;
        };
        match self.daemon_status.remove(&kind).map(read_status) {
            Some(Ok(berth_runtime::Status::Failed(step))) => error!("{}: {}", kind.name(), Chain(&step)),
            _ => warning!("{} ended ({status:?}); starting it again", kind.name()),
        }
        match kind {
            Kind::Netd => self.netd_gone(),
            Kind::Log => self.log_gone(),
            Kind::Relay => {}
        }
    }

    /// The whole wanted state of the network. Who waits with its stop signal for connections to end takes no new ones.
    pub(super) fn wanted_network(&self) -> NetState {
        let closes = |seen: &Seen| seen.record.run.as_ref().is_some_and(|run| run.signal_at.is_some());
        let closing = self.observed.units.iter().filter(|(_, seen)| closes(seen));
        let closing = closing.map(|(name, _)| name.clone()).collect();
        network::wanted(&self.set.declared, &self.leases, &closing)
    }

    /// Sends netd the whole wanted state; what it was asked before is asked again.
    pub(super) fn declare_network(&mut self) {
        // Before a set is in force there is nothing to say: an empty state would take all networks down.
        if self.set.origin.is_empty() {
            return;
        }
        self.generation += 1;
        let state = Box::new(self.wanted_network());
        self.ask_netd(&Request::Declare { generation: self.generation, state }, &[]);
        for seen in self.observed.units.values_mut().filter(|seen| seen.attach == Attach::Asked) {
            seen.attach = Attach::Unasked;
        }
    }

    /// What cannot be sent is not lost: netd is dead then or will be restarted, and is told everything anew.
    pub(super) fn ask_netd(&self, request: &Request, fds: &[BorrowedFd<'_>]) {
        let Some(netd) = &self.netd else {
            return;
        };
        let sent =
            serde_json::to_vec(request).map_err(std::io::Error::from).and_then(|text| netd.send(&text, fds));
        if let Err(error) = sent {
            error!("cannot tell netd: {error}");
        }
    }

    pub(super) fn netd_ready(&mut self) {
        let mut buffer = vec![0; PACKET_MAX];
        loop {
            let Some(netd) = &self.netd else {
                return;
            };
            match netd.receive(&mut buffer) {
                Ok(Received::Packet { len, .. }) => {
                    match serde_json::from_slice(buffer.get(..len).unwrap_or_default()) {
                        Ok(reply) => self.netd_said(reply),
                        Err(error) => error!("netd said something that makes no sense: {error}"),
                    }
                }
                // Its exit is told by PID 1.
                Ok(Received::Closed) => return self.netd_gone(),
                Err(_) => return,
            }
        }
    }

    /// PID 1 keeps our end until there is another one: closing ours would not end the events.
    fn netd_gone(&mut self) {
        if let Some(netd) = self.netd.take() {
            self.poll.remove(&netd, &Source::Netd);
        }
    }

    fn netd_said(&mut self, reply: Reply) {
        match reply {
            Reply::Declared { generation, failed, error } if generation == self.generation => {
                if let Some(error) = error {
                    error!("network: {error}");
                }
                let seen = |name: &Name| match failed.get(name) {
                    None => NetworkSeen::Up,
                    Some(why) => NetworkSeen::Failed(why.clone()),
                };
                let networks = self.set.declared.networks.keys();
                self.observed.networks = networks.map(|name| (name.clone(), seen(name))).collect();
                for (name, why) in &failed {
                    error!("network {name}: {why}");
                }
            }
            Reply::Declared { .. } => {}
            Reply::Attached { unit, run, error } => self.attached(&unit, run, error),
            Reply::Detached { unit, run } => self.detached(&unit, run),
            Reply::Uplink(uplink) => self.uplink_changed(uplink),
        }
    }
}

/// An empty cgroup. A supervisor that died between a start and its note of it has left a process that nobody knows:
/// it is killed, and the start is tried again when it is gone.
fn new_group(kind: Kind) -> Result<Cgroup, CgroupError> {
    let path = Path::new(SYSTEM_CGROUPS).join(kind.name());
    let old = Cgroup::at(&path);
    if old.populated().unwrap_or(false) {
        old.kill()?;
    }
    Cgroup::renew(path)
}
