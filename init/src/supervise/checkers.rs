//! The checkers: a process of ours for each running unit that has checks, and for each whose start waits for servers.
//!
//! They are PID 1's children, yet none outlives the supervisor that started it: its channel closes with us, and the
//! next supervisor starts another one that goes on from the unit's record.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use berth_units::Name;
use berth_units::health::{CheckSeen, Verdict, blame};
use berth_units::observed::{Moment, Seen};
use berth_units::plan::awaited_servers;
use berth_units::spec::{Check, Probe, Role, Server, Unit};
use berth_units::wire::PACKET_MAX;
use berth_units::wire::control::Exec;

use super::container::{self, cgroup_dir};
use super::daemons::wait;
use super::poll::{Interest, Source};
use super::{SYSTEM_CGROUPS, Supervisor, clock, network, program, signal};
use crate::channel::{Channel, Received};
use crate::check::{Order, Orders, Report};
use crate::kmsg::Chain;
use crate::{error, notice, warning};

/// The program.
const PROGRAM: &str = "/bin/berth-check";

/// All of them, by unit.
#[derive(Debug, Default)]
pub struct Checkers(BTreeMap<Name, Checker>);

/// The checker of one run of a unit.
#[derive(Debug)]
struct Checker {
    /// Number of that run.
    run: u64,
    /// Its process and our end of its channel; none while it waits to be started again.
    process: Option<(i32, Channel)>,
    /// Ends in this run.
    failures: u32,
    next_try: Moment,
}

impl Checkers {
    /// When one is due that has ended before its time.
    pub fn next_wake(&self) -> Option<Moment> {
        self.0.values().filter(|checker| checker.process.is_none()).map(|checker| checker.next_try).min()
    }
}

/// In place of a run's number, which begins at 1: the start of the unit waits for servers.
const BEFORE: u64 = 0;

/// The run that has to be checked, if there is one.
fn wanted(unit: Option<&Unit>, seen: &Seen) -> Option<u64> {
    if unit.is_some_and(|unit| !awaited_servers(unit, seen).is_empty()) {
        return Some(BEFORE);
    }
    let has_checks = unit.is_some_and(|unit| !unit.health.is_empty());
    seen.record
        .run
        .as_ref()
        .filter(|_| has_checks && seen.record.life.is_up() && !seen.is_paused())
        .map(|run| run.number)
}

impl Supervisor {
    /// Starts checkers that are due, and ends those whose unit is not up any more.
    pub(super) fn settle_checkers(&mut self) {
        let wanted: BTreeMap<Name, u64> = self
            .observed
            .units
            .iter()
            .filter_map(|(name, seen)| Some((name.clone(), wanted(self.set.declared.units.get(name), seen)?)))
            .collect();
        // What was found counts for the start that it was looked for.
        self.observed.facts.answering.retain(|name, _| wanted.get(name) == Some(&BEFORE));
        let is_over = |name: &Name, checker: &mut Checker| wanted.get(name) != Some(&checker.run);
        for (name, _checker) in self.checkers.0.extract_if(.., is_over) {
            // Its channel closes here, which it takes for the end.
            self.poll.forget(&Source::Checker(name));
        }
        let now = clock::now();
        for (name, run) in wanted {
            let known = self.checkers.0.get(&name);
            if known.is_none_or(|checker| checker.process.is_none() && checker.next_try <= now) {
                self.start_checker(&name, run);
            }
        }
    }

    /// Ends the checker of a unit; another one starts in its place where one is due.
    pub(super) fn end_checker(&mut self, name: &Name) {
        self.checkers.0.remove(name);
        self.poll.forget(&Source::Checker(name.clone()));
    }

    /// Servers may be others, or elsewhere, in another set.
    pub(super) fn end_waits_for_servers(&mut self) {
        let waits = self.checkers.0.iter().filter(|(_, checker)| checker.run == BEFORE);
        let names: Vec<_> = waits.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.end_checker(&name);
        }
        self.observed.facts.answering.clear();
    }

    fn start_checker(&mut self, name: &Name, run: u64) {
        let process = self.try_start_checker(name, run);
        let fresh = Checker { run, process: None, failures: 0, next_try: clock::now() };
        let checker = self.checkers.0.entry(name.clone()).or_insert(fresh);
        match process {
            Ok(process) => checker.process = Some(process),
            Err(why) => {
                checker.note_end();
                error!("cannot check '{name}': {why}");
            }
        }
    }

    fn try_start_checker(&mut self, name: &Name, run: u64) -> Result<(i32, Channel), String> {
        let text = |error: &dyn std::error::Error| Chain(error).to_string();
        let (orders, netns) = match run {
            // From the node: there is no network of the unit yet.
            BEFORE => (self.orders_before(name)?, File::open("/proc/self/ns/net").map(OwnedFd::from)),
            _ => {
                let seen = self.observed.units.get(name);
                let pid = seen.and_then(|seen| seen.record.run.as_ref()).map(|run| run.pid);
                (self.orders(name)?, open_netns(pid.unwrap_or_default(), &cgroup_dir(name)))
            }
        };
        let netns = netns.map_err(|error| text(&error))?;
        let orders = program::memory_file(&orders).map_err(|error| text(&error))?;
        let (ours, theirs) = Channel::pair().map_err(|error| text(&error))?;
        let cgroup =
            program::shared_group(&Path::new(SYSTEM_CGROUPS).join("check")).map_err(|error| text(&error))?;
        self.poll
            .add(&ours, Source::Checker(name.clone()), Interest::Read)
            .map_err(|error| error.to_string())?;
        let fds = [(theirs.as_fd(), 3), (netns.as_fd(), 4), (orders.as_fd(), 5)];
        let running = program::start(&[PROGRAM, name.as_str()], &fds, Some(cgroup.path()), program::NEEDED)
            .map_err(|error| text(&error))?;
        Ok((running.pid, ours))
    }

    /// The unit's checks with what is known of them.
    fn orders(&self, name: &Name) -> Result<Orders, String> {
        let gone = || "it has just ended".to_owned();
        let unit = self.set.declared.units.get(name).ok_or_else(gone)?;
        let record = &self.observed.units.get(name).ok_or_else(gone)?.record;
        let run = record.run.as_ref().ok_or_else(gone)?;
        let mut checks = BTreeMap::new();
        for (check_name, check) in &unit.health {
            let seen = record.health.checks.get(check_name).cloned().unwrap_or_default();
            checks.insert(check_name.clone(), self.order(unit, check, seen, run.pid)?);
        }
        Ok(Orders { started: run.started, checks })
    }

    /// The servers that a start waits for, each a check by the words of the unit's file.
    fn orders_before(&self, name: &Name) -> Result<Orders, String> {
        let unit = self.set.declared.units.get(name).ok_or("it is no longer declared")?;
        let mut checks = BTreeMap::new();
        for server in &unit.wait_for.tcp {
            let address = network::address_of(&self.set.declared, &self.leases, &server.host);
            let address = address.ok_or_else(|| format!("'{server}' has no address"))?;
            let probe = Probe::Reach(SocketAddrV4::new(address, server.port));
            let check = Check { probe, role: Role::Ready, failures: 1, ..Check::default() };
            checks.insert(server.to_string(), Order { check, seen: CheckSeen::default(), exec: None });
        }
        Ok(Orders { started: clock::now(), checks })
    }

    /// A server that a start waits for answers, or does not any more.
    fn server_said(&mut self, name: &Name, Report { check, seen }: &Report) {
        let Some(server) = Server::parse(check) else {
            return;
        };
        let answering = self.observed.facts.answering.entry(name.clone()).or_default();
        match seen.verdict {
            Verdict::Passing => drop(answering.insert(server)),
            _ => drop(answering.remove(&server)),
        }
    }

    fn order(&self, unit: &Unit, check: &Check, seen: CheckSeen, pid: i32) -> Result<Order, String> {
        let Probe::Exec(argv) = &check.probe else {
            return Ok(Order { check: check.clone(), seen, exec: None });
        };
        let text = |error: &dyn std::error::Error| Chain(error).to_string();
        let base = container::base(&self.images.images, unit).map_err(|error| text(&error))?;
        let launch = self.launch(unit, &base.config).map_err(|error| text(&error))?;
        let asked = Exec {
            unit: unit.name.clone(),
            argv: argv.clone(),
            env: BTreeMap::new(),
            tty: None,
            user: None,
            workdir: None,
        };
        let spec = container::exec_spec(unit, &launch, &asked, pid).map_err(|error| text(&error))?;
        Ok(Order { check: check.clone(), seen, exec: Some(Box::new(spec)) })
    }

    /// A checker has something new to say, or has ended.
    pub(super) fn checker_ready(&mut self, name: &Name) {
        let mut buffer = vec![0; PACKET_MAX];
        loop {
            let Some((_, channel)) = self.checkers.0.get(name).and_then(|checker| checker.process.as_ref())
            else {
                return self.poll.forget(&Source::Checker(name.clone()));
            };
            match channel.receive(&mut buffer) {
                Ok(Received::Packet { len, .. }) => {
                    match serde_json::from_slice(buffer.get(..len).unwrap_or_default()) {
                        Ok(report) => self.checker_said(name, report),
                        Err(error) => error!("a checker said something that makes no sense: {error}"),
                    }
                }
                Ok(Received::Closed) => return self.checker_ended(name),
                Err(_) => return,
            }
        }
    }

    fn checker_said(&mut self, name: &Name, report: Report) {
        if self.checkers.0.get(name).is_some_and(|checker| checker.run == BEFORE) {
            return self.server_said(name, &report);
        }
        let Report { check, seen } = report;
        let checks = self.observed.units.get_mut(name).map(|seen| &mut seen.record.health.checks);
        let Some(known) = checks.and_then(|checks| checks.get_mut(&check)) else {
            return;
        };
        let before = std::mem::replace(known, seen);
        match known.verdict {
            verdict if verdict == before.verdict => {}
            Verdict::Failing => warning!("{name}: {}", blame(&check, known)),
            _ if before.verdict == Verdict::Failing => notice!("{name}: check '{check}' passes again"),
            _ => {}
        }
        self.save(name);
        self.settle_readiness(name);
    }

    /// Its channel is closed: it has ended before its unit. Its exit status would tell nothing more.
    fn checker_ended(&mut self, name: &Name) {
        self.poll.forget(&Source::Checker(name.clone()));
        if let Some(checker) = self.checkers.0.get_mut(name) {
            checker.note_end();
            warning!("the checker of {name} ended; starting it again");
        }
    }
}

impl Checker {
    fn note_end(&mut self) {
        self.process = None;
        self.failures = self.failures.saturating_add(1);
        self.next_try = clock::now().after(wait(self.failures));
    }
}

/// The network namespace of a unit's process. Opened first and compared then: the number may be somebody else's.
fn open_netns(pid: i32, cgroup: &Path) -> std::io::Result<OwnedFd> {
    let netns = File::open(format!("/proc/{pid}/ns/net"))?;
    match signal::is_member(pid, cgroup)? {
        true => Ok(netns.into()),
        false => Err(std::io::ErrorKind::NotFound.into()),
    }
}
