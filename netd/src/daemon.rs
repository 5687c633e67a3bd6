//! The loop: wait, see what happened, make the kernel equal to what is declared, tell the supervisor.
//!
//! One thread and poll(2) instead of a runtime: a handful of descriptors, nothing that waits elsewhere, and every
//! page of memory counts on a small node. Nothing is kept on disk; what matters is in the kernel.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use berth_units::Name;
use berth_units::wire::net::{Attached, Interface, NetState, Reply, Request, UplinkState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::dns::{self, Dns};
use crate::firewall::{self, Firewall};
use crate::kernel::{self, Outcome};
use crate::netlink::{self, Events, NETFILTER, ROUTE, Socket};
use crate::plan::{Seen, plan};
use crate::protocol::{self, Received, Supervisor};
use crate::uplink::Uplink;
use crate::{Level, chain, route, say};

/// Events come in flocks; one look at the kernel serves them all.
const SETTLE: Duration = Duration::from_millis(20);
/// Whoever changes things back as fast as we repair them gets at most this wait between two repairs.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Why there can be no netd at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No supervisor.
    #[error("cannot take over the supervisor's socket")]
    Supervisor(#[source] protocol::Error),
    /// No netlink.
    #[error("cannot reach the kernel's network configuration")]
    Netlink(#[source] netlink::Error),
    /// poll(2).
    #[error("cannot wait for events")]
    Wait(#[source] std::io::Error),
}

/// Whose descriptor is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Supervisor,
    LinkEvents,
    TableEvents,
    Dhcp,
    Dns(dns::Ready),
}

/// Everything that netd holds.
#[derive(Debug)]
pub struct Daemon {
    supervisor: Supervisor,
    links: Socket,
    link_events: Events,
    firewall: Firewall,
    table_events: Events,
    dns: Dns,
    uplink: Uplink,
    state: Option<NetState>,
    current: UplinkState,
    reported: Option<UplinkState>,
    /// Generation in force, and the networks of which the supervisor was last told that they failed.
    told: (u64, BTreeMap<Name, String>),
    repair: Repair,
    /// Units whose interfaces are there, until one of these is missed.
    attached: BTreeMap<Name, Attached>,
    closed: bool,
}

/// When to look at the kernel again.
#[derive(Debug, Default)]
struct Repair {
    at: Option<Instant>,
    tables: bool,
    /// Repairs in a row that found something to do.
    row: u32,
    /// What was last said to be wrong, so that it is said once.
    problems: Vec<String>,
}

impl Repair {
    fn schedule(&mut self, now: Instant) {
        let wait = SETTLE.saturating_mul(1 << self.row.min(10)).min(SETTLE_MAX);
        self.at.get_or_insert(now + wait);
    }

    /// Something could not be done, perhaps only now: says so when it is news, and has it tried again.
    fn complain(&mut self, problems: Vec<String>, now: Instant) {
        if !problems.is_empty() {
            self.at.get_or_insert(now + SETTLE_MAX);
        }
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            say(Level::Error, format_args!("{problem}"));
        }
        self.problems = problems;
    }
}

impl Daemon {
    /// Takes over descriptor 3 and opens the netlink sockets; the kernel stays as it is.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            supervisor: Supervisor::inherit().map_err(Error::Supervisor)?,
            links: Socket::open(ROUTE).map_err(Error::Netlink)?,
            link_events: Events::open(ROUTE, route::EVENT_GROUPS).map_err(Error::Netlink)?,
            firewall: Firewall::open().map_err(Error::Netlink)?,
            table_events: Events::open(NETFILTER, firewall::EVENT_GROUPS).map_err(Error::Netlink)?,
            dns: Dns::default(),
            uplink: Uplink::default(),
            state: None,
            current: UplinkState::default(),
            reported: None,
            told: (0, BTreeMap::new()),
            repair: Repair::default(),
            attached: BTreeMap::new(),
            closed: false,
        })
    }

    /// Works until PID 1 closes the supervisor's end.
    pub fn run(&mut self) -> Result<(), Error> {
        while !self.closed {
            let tokens = self.wait().map_err(Error::Wait)?;
            let now = Instant::now();
            for token in tokens {
                self.on_ready(token, now);
            }
            self.on_timers(now);
            self.report_uplink();
        }
        Ok(())
    }

    fn wait(&self) -> std::io::Result<Vec<Token>> {
        let mut tokens = vec![Token::Supervisor, Token::LinkEvents, Token::TableEvents];
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.supervisor.as_fd(), self.supervisor.interest()),
            PollFd::from_borrowed_fd(self.link_events.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.table_events.as_fd(), PollFlags::IN),
        ];
        if let Some(fd) = self.uplink.socket() {
            tokens.push(Token::Dhcp);
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        for (ready, fd, flags) in self.dns.interests() {
            tokens.push(Token::Dns(ready));
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        match poll(&mut fds, self.timeout().as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
        let ready = tokens.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(token, _)| token).collect())
    }

    fn timeout(&self) -> Option<Timespec> {
        let deadlines = [self.repair.at, self.uplink.deadline(), self.dns.deadline()];
        let wait = deadlines.into_iter().flatten().min()?.saturating_duration_since(Instant::now());
        Timespec::try_from(wait).ok()
    }

    fn on_ready(&mut self, token: Token, now: Instant) {
        match token {
            Token::Supervisor => self.on_supervisor(now),
            Token::LinkEvents => {
                self.link_events.drain();
                self.repair.schedule(now);
            }
            Token::TableEvents => {
                self.table_events.drain();
                self.repair.tables = true;
                self.repair.schedule(now);
            }
            Token::Dhcp => {
                log_error(self.uplink.on_packets(now));
                self.reconcile_links(now);
            }
            Token::Dns(ready) => self.dns.on_ready(ready, now),
        }
    }

    fn on_timers(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.dns.deadline()) {
            self.dns.on_timer(now);
        }
        if due(self.uplink.deadline()) {
            log_error(self.uplink.on_timer(now));
            self.reconcile_links(now);
        }
        if due(self.repair.at) {
            self.repair(now);
        }
    }

    /// Something changed, perhaps by ourselves: then there is nothing to do.
    fn repair(&mut self, now: Instant) {
        self.repair.at = None;
        let mut changed = false;
        let mut problems = Vec::new();
        if std::mem::take(&mut self.repair.tables)
            && let Some(state) = &self.state
        {
            match self.firewall.ensure(state) {
                Ok(ensured) => changed |= ensured.changed,
                Err(error) => {
                    problems.push(chain(&error));
                    self.repair.tables = true;
                }
            }
        }
        let (done, outcome) = self.reconcile_links(now);
        if let Some(state) = &self.state {
            problems.extend(self.dns.declare(state));
        }
        problems.extend(outcome.failed.values().cloned().chain(outcome.errors));
        self.tell_declared(self.told.0, outcome.failed);
        if changed || done > 0 && problems.is_empty() {
            say(Level::Notice, format_args!("repaired what was changed from outside"));
            self.repair.row += 1;
        } else {
            self.repair.row = 0;
        }
        self.repair.complain(problems, now);
    }

    fn on_supervisor(&mut self, now: Instant) {
        if let Err(error) = self.supervisor.flush() {
            say(Level::Error, format_args!("{}", chain(&error)));
        }
        match self.supervisor.receive() {
            Ok(Received::Request(Request::Declare { generation, state }, _)) => {
                self.declare(generation, *state, now)
            }
            Ok(Received::Request(Request::Attach { unit, run, interfaces }, namespace)) => {
                let error = self.attach(&unit, &interfaces, namespace).err();
                if let Some(error) = &error {
                    say(Level::Error, format_args!("cannot attach '{unit}': {error}"));
                    self.attached.remove(&unit);
                } else {
                    let links = interfaces.into_iter().map(|interface| interface.host_ifname).collect();
                    self.attached.insert(unit.clone(), Attached { run, links });
                }
                self.send(&Reply::Attached { unit, run, error });
            }
            Ok(Received::Request(Request::Attached { units }, _)) => {
                self.attached = units;
                self.repair.schedule(now);
            }
            Ok(Received::Nothing) => {}
            Ok(Received::Closed) => self.closed = true,
            Err(error @ protocol::Error::Exchange(_)) => {
                say(Level::Error, format_args!("{}", chain(&error)));
                self.closed = true;
            }
            Err(error) => say(Level::Error, format_args!("{}; ignoring it", chain(&error))),
        }
    }

    fn declare(&mut self, generation: u64, state: NetState, now: Instant) {
        self.uplink.declare(state.uplink.clone(), &state.hostname);
        // The rules come first: a bridge must not be reachable, nor forwarding be on, before them.
        let (mut refused, mut changed) = (Vec::new(), false);
        match self.firewall.ensure(&state) {
            Ok(ensured) => (refused, changed) = (ensured.refused, ensured.changed),
            Err(error) => {
                refused.push(chain(&error));
                self.repair.tables = true;
            }
        }
        self.state = Some(state);
        let (done, outcome) = self.reconcile_links(now);
        let mut errors = [outcome.errors, refused].concat();
        if let Some(state) = &self.state {
            errors.extend(self.dns.declare(state));
        }
        if changed || done > 0 {
            let rules = if changed { ", new rules" } else { "" };
            say(Level::Info, format_args!("generation {generation}: {done} changes to links{rules}"));
        }
        let error = (!errors.is_empty()).then(|| errors.join("; "));
        errors.extend(outcome.failed.values().cloned());
        self.told = (generation, outcome.failed.clone());
        self.send(&Reply::Declared { generation, failed: outcome.failed, error });
        self.repair.complain(errors, now);
    }

    /// Says it again when other networks fail than before: units wait for the ones that came back.
    fn tell_declared(&mut self, generation: u64, failed: BTreeMap<Name, String>) {
        if self.state.is_some() && self.told.1 != failed {
            self.told.1.clone_from(&failed);
            self.send(&Reply::Declared { generation, failed, error: None });
        }
    }

    fn attach(
        &mut self,
        unit: &Name,
        interfaces: &[Interface],
        namespace: Option<OwnedFd>,
    ) -> Result<(), String> {
        let state = self.state.as_ref().ok_or("no network has been declared yet")?;
        let namespace = namespace.ok_or("the request came without a network namespace")?;
        let namespace: BorrowedFd<'_> = namespace.as_fd();
        kernel::attach(&mut self.links, state, unit, interfaces, namespace).map_err(|error| chain(&error))
    }

    /// Compares and repairs the links. Returns the number of changes and what went wrong. Twice at most: bringing the
    /// uplink up is what lets DHCP begin.
    fn reconcile_links(&mut self, now: Instant) -> (usize, Outcome) {
        let (mut done, mut outcome) = (0, Outcome { failed: BTreeMap::new(), errors: Vec::new() });
        let Some(state) = &self.state else { return (done, outcome) };
        for _ in 0..2 {
            let seen = match kernel::observe(&mut self.links, state) {
                Ok(seen) => seen,
                Err(error) => {
                    outcome.errors.push(chain(&error));
                    return (done, outcome);
                }
            };
            let uplink = self.uplink.observe(&seen, now).err();
            let plan = plan(state, self.uplink.wanted().as_ref(), &seen);
            if plan.ops.is_empty() {
                outcome.failed.extend(plan.failed);
                outcome.errors.extend(uplink.map(|error| chain(&error)));
                self.settle(&seen);
                return (done, outcome);
            }
            done += plan.ops.len();
            outcome = kernel::apply(&mut self.links, plan);
            outcome.errors.extend(uplink.map(|error| chain(&error)));
            self.uplink.applied();
        }
        if let Ok(seen) = kernel::observe(&mut self.links, state) {
            self.settle(&seen);
        }
        (done, outcome)
    }

    /// The kernel is as it should be: takes over what has become known of the uplink.
    fn settle(&mut self, seen: &Seen) {
        self.dns.set_upstreams(self.uplink.dns());
        self.current = self.uplink.state(seen);
        self.tell_detached(seen);
    }

    /// Only the supervisor can say whether a unit whose interface is gone still runs, and where.
    fn tell_detached(&mut self, seen: &Seen) {
        let is_there = |name: &String| seen.links.iter().any(|link| link.name == *name);
        let gone: Vec<_> =
            self.attached.extract_if(.., |_, attached| !attached.links.iter().all(is_there)).collect();
        for (unit, Attached { run, .. }) in gone {
            self.send(&Reply::Detached { unit, run });
        }
    }

    /// Tells the supervisor of the uplink when it is not what it was told before.
    fn report_uplink(&mut self) {
        if self.state.is_some() && self.reported.as_ref() != Some(&self.current) {
            self.send(&Reply::Uplink(self.current.clone()));
            self.reported = Some(self.current.clone());
        }
    }

    fn send(&mut self, reply: &Reply) {
        if let Err(error) = self.supervisor.send(reply) {
            say(Level::Error, format_args!("{}", chain(&error)));
        }
    }
}

fn log_error(result: Result<(), crate::uplink::Error>) {
    if let Err(error) = result {
        say(Level::Error, format_args!("{}", chain(&error)));
    }
}
