//! The supervisor: wait, take the event in, plan, execute.
//!
//! It keeps no truth of its own. Processes and their cgroups are the kernel's, descriptors are kept by PID 1, what
//! people asked for and how runs ended is written down in RAM ([`records`]) before the next step; addresses lie on
//! the data partition. So a normal start, a start after a crash and a start after an upgrade are one code path:
//! [`boot`] reads all of it and goes on.
//!
//! Not here: decisions (`berth_units::plan`), system calls of containers (`berth_runtime`), the network (netd).

mod apply;
mod around;
mod boot;
mod boots;
mod checkers;
mod clients;
pub(crate) mod clock;
mod container;
mod control;
mod daemons;
mod disks;
mod disposal;
mod drift;
mod ending;
mod events;
mod execute;
mod facts;
mod head;
mod health;
mod inbox;
mod inspect;
mod interfaces;
mod jobs;
mod journal;
mod limits;
mod link;
mod network;
mod notify;
mod output;
mod pause;
mod poll;
mod pressure;
mod program;
mod recall;
mod records;
mod rest;
mod revisions;
mod signal;
mod sockets;
mod source;
mod starting;
mod status;
mod stopping;
mod storage;
mod supplies;
mod tasks;
mod trial;
mod volumes;
mod watches;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use berth_runtime::Held;
use berth_units::Name;
use berth_units::addresses::Leases;
use berth_units::news::{NodeSeen, SetSeen};
use berth_units::observed::{Moment, Observed, Record};
use berth_units::plan::{View, is_drained};
use berth_units::revision::{Head, Progress};
use berth_units::wire::control::Then;
use berth_units::wire::image::Index;
use berth_units::wire::init::ToInit;
use berth_units::wire::net::UplinkState;

use crate::channel::Channel;
use checkers::Checkers;
use clients::Clients;
use daemons::Daemons;
use journal::Journal;
use link::{Link, Word};
use poll::{Poll, Source};

/// Under this name PID 1 keeps the listening control socket: clients find somebody in the queue at any time.
const LISTENER: &str = "control";
/// cgroups of our own processes.
const SYSTEM_CGROUPS: &str = "/sys/fs/cgroup/system";
/// More rounds of planning than this without an event in between mean that an action does not do what it says.
const ROUNDS_MAX: usize = 64;

/// A cgroup that is to become empty is looked at this often, whatever its events say.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Why the supervisor cannot go on. PID 1 starts another one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The channel to PID 1.
    #[error("cannot talk to PID 1")]
    Link(#[source] io::Error),
    /// The epoll set.
    #[error("cannot wait for events")]
    Poll(#[source] io::Error),
}

/// Everything that the supervisor knows.
struct Supervisor {
    link: Link,
    poll: Poll,
    set: source::Set,
    head: Head,
    /// It may be written: what was there before could be read, or is kept.
    head_lasts: bool,
    /// How the trial goes, if there is one.
    progress: Option<Progress>,
    /// When the trial is looked at again if nothing happens before.
    next_look: Option<Moment>,
    /// What somebody has asked to follow the end.
    asked_end: Option<Then>,
    images: Index,
    leases: Leases,
    observed: Observed,
    /// Records as they were written last.
    saved: BTreeMap<Name, Record>,
    node: Option<NodeSeen>,
    set_seen: Option<SetSeen>,
    journal: Journal,
    /// Processes that wait for their network; they end with this supervisor.
    held: BTreeMap<Name, Held>,
    daemons: Daemons,
    /// Status pipes of those that this supervisor started: they tell why a program could not be executed.
    daemon_status: BTreeMap<daemons::Kind, OwnedFd>,
    netd: Option<Channel>,
    generation: u64,
    uplink: UplinkState,
    log: Option<Channel>,
    clients: Clients,
    checkers: Checkers,
    triggers: pressure::Triggers,
    ears: notify::Ears,
    task_status: tasks::TaskStatus,
    cgroup_events: watches::CgroupEvents,
    drift: drift::Drift,
    /// When to plan again if nothing happens before, as the last plan says.
    next_plan: Option<Moment>,
    unit_files: watches::UnitFiles,
    path_watch: facts::PathWatch,
    clock_watch: facts::ClockWatch,
    node_memory: u64,
    lasting: bool,
    restarts: u32,
    started: Moment,
    drained_said: bool,
}

/// Runs until PID 1 closes the channel or something breaks that only a new start can mend.
pub fn run(channel: Channel) -> Result<(), Error> {
    let (link, restarts, early) = Link::open(channel).map_err(Error::Link)?;
    let mut supervisor = Supervisor::boot(link, restarts)?;
    for word in early {
        supervisor.word(word)?;
    }
    supervisor.handle(Source::Init)?;
    supervisor.settle_lost_runs();
    supervisor.hear_all();
    supervisor.settle()?;
    supervisor.say_taken_over();
    loop {
        supervisor.look_for_drift();
        supervisor.settle()?;
        supervisor.settle_checkers();
        supervisor.settle_pressure();
        let events = supervisor.poll.wait(supervisor.timeout()).map_err(Error::Poll)?;
        if events.is_empty() {
            supervisor.cgroups_changed();
        }
        for source in events {
            supervisor.handle(source)?;
        }
    }
}

impl Supervisor {
    /// Reconciles, and once more when that ends a trial.
    fn settle(&mut self) -> Result<(), Error> {
        self.reconcile()?;
        while self.judge() {
            self.reconcile()?;
        }
        Ok(())
    }

    /// Plans and executes until there is nothing left to do.
    fn reconcile(&mut self) -> Result<(), Error> {
        self.start_due_daemons();
        self.await_paths();
        self.refresh_facts();
        self.settle_sockets();
        self.open_ears();
        self.hear_the_late();
        self.tell_node();
        for _ in 0..ROUNDS_MAX {
            let view = View::new(&self.set.declared, &self.observed);
            let actions = view.plan(clock::now());
            self.next_plan = view.next_wake();
            if actions.is_empty() {
                return self.say_drained();
            }
            for action in &actions {
                self.execute(action);
            }
        }
        crate::error!("the plan does not settle; going on with the next event");
        Ok(())
    }

    fn say_taken_over(&self) {
        if self.restarts > 0 {
            let time = clock::now().since(self.started).as_millis();
            crate::notice!("{} units taken over in {time} ms", self.observed.units.len());
        }
    }

    fn say_drained(&mut self) -> Result<(), Error> {
        if self.observed.draining && !self.drained_said && is_drained(&self.observed) {
            self.drained_said = true;
            self.link.say(ToInit::Stopped).map_err(Error::Link)?;
        }
        Ok(())
    }

    /// How long nothing has to be done unless something happens.
    fn timeout(&self) -> Option<Duration> {
        if self.drift.is_due() {
            return Some(Duration::ZERO);
        }
        let rests = [self.daemons.next_wake(), self.checkers.next_wake(), self.ears.next_wake()];
        let watches = [self.next_plan, self.cgroup_events.next_wake(), self.path_watch.next_wake()];
        let wakes = rests.into_iter().chain(watches).chain([self.next_look]);
        let next = wakes.flatten().min().map(|next| next.since(clock::now()));
        let look = self.emptying().next().map(|_| SECOND_LOOK);
        next.into_iter().chain(look).min()
    }

    fn handle(&mut self, source: Source) -> Result<(), Error> {
        match source {
            Source::Init => {
                while let Some(word) = self.link.receive().map_err(Error::Link)? {
                    self.word(word)?;
                }
            }
            Source::Netd => self.netd_ready(),
            Source::Log => self.log_ready(),
            Source::UnitFiles => self.unit_files_changed(),
            Source::Cgroups => self.cgroups_changed(),
            Source::Paths => self.paths_changed(),
            Source::Clock => self.clock_changed(),
            Source::Listener => self.accept(),
            Source::Client(client) => self.client_ready(client),
            Source::Status(unit) => self.status_changed(&unit),
            Source::ReadyLine(unit) => self.ready_line(&unit),
            Source::Notify(unit) => self.notify_ready(&unit),
            Source::Checker(unit) => self.checker_ready(&unit),
            Source::Pressure(unit, trigger) => self.pressed(&unit, &trigger),
        }
        Ok(())
    }

    /// PID 1 said something. An exit is acknowledged once what it changes is written down.
    fn word(&mut self, word: Word) -> Result<(), Error> {
        match word {
            Word::Exit(exit) => {
                let known = self.unit_exited(exit.pid, exit.status);
                let known = known.or_else(|| self.task_exited(exit.pid, exit.status));
                if known.or_else(|| self.writer_exited(exit.pid, exit.status)).is_none() {
                    self.daemon_exited(exit.pid, exit.status);
                }
                self.link.say(ToInit::Ack { seq: exit.seq }).map_err(Error::Link)
            }
            Word::StopAll => {
                crate::notice!("stopping every unit");
                self.observed.draining = true;
                self.note_end();
                Ok(())
            }
        }
    }
}
