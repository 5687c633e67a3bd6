//! The checker: one process for each running unit that has checks, in the unit's network namespace.
//!
//! It carries checks out on its own timers and tells the supervisor what is new, so that a check that passes again
//! and again wakes nobody else. It has nothing to lose: what counts is in the supervisor's record, from which the
//! next checker goes on. It ends when its channel closes, because the unit or the supervisor has ended.
//!
//! Not here: when a check counts as failed ([`berth_units::health`]) and what follows from it
//! ([`berth_units::plan`]).

mod attempt;
mod exec;
mod grpc;
mod http;
mod socket;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use berth_runtime::ExecSpec;
use berth_units::health::{CheckResult, CheckSeen, Progress, Verdict, clip};
use berth_units::observed::Moment;
use berth_units::spec::{Check, Role};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};

use self::attempt::Attempt;
use crate::channel::Channel;
use crate::supervise::clock;

/// The longest orders, bytes.
const ORDERS_MAX: u64 = 16 << 20;

/// What to check: one JSON value at descriptor 5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Orders {
    /// When the unit's process was made.
    pub started: Moment,
    /// By name.
    pub checks: BTreeMap<String, Order>,
}

/// One check to carry out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// As the unit file says.
    pub check: Check,
    /// What is known of it so far.
    pub seen: CheckSeen,
    /// Of an exec check: how its program is run in the unit.
    pub exec: Option<Box<ExecSpec>>,
}

/// What is new of a check: one packet to the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its name.
    pub check: String,
    /// In place of what was known before.
    pub seen: CheckSeen,
}

/// Why a checker cannot go on. The supervisor starts another one.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// This is started by the supervisor.
    #[error("cannot use descriptors 3, 4 and 5")]
    Inherited(#[source] io::Error),
    /// Descriptor 4 is no network namespace, or the rights are missing.
    #[error("cannot enter the unit's network namespace")]
    Namespace(#[source] io::Error),
    /// Descriptor 5 holds no orders.
    #[error("cannot read what to check")]
    Orders(#[source] io::Error),
    /// poll(2).
    #[error("cannot wait")]
    Wait(#[source] io::Error),
    /// The channel to the supervisor.
    #[error("cannot tell the supervisor")]
    Report(#[source] io::Error),
}

/// Has this process see the network as the unit does.
///
/// # Errors
/// It is no network namespace, or the rights are missing: setns(2).
pub fn enter(netns: &OwnedFd) -> Result<(), CheckError> {
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| CheckError::Namespace(error.into()))
}

/// Reads the orders.
///
/// # Errors
/// They are not there or not whole.
pub fn read_orders(file: OwnedFd) -> Result<Orders, CheckError> {
    let mut text = Vec::new();
    File::from(file).take(ORDERS_MAX).read_to_end(&mut text).map_err(CheckError::Orders)?;
    serde_json::from_slice(&text).map_err(|error| CheckError::Orders(error.into()))
}

/// Checks until the channel closes.
///
/// # Errors
/// The channel or the wait failed. Checks that fail are no errors.
pub fn run(channel: &Channel, orders: Orders) -> Result<(), CheckError> {
    let now = clock::now();
    let track = |(name, order): (String, Order)| Track {
        progress: Progress::resume(&order.check, order.seen, orders.started, now),
        name,
        check: order.check,
        exec: order.exec,
        running: None,
    };
    let tracks = orders.checks.into_iter().map(track).collect();
    let mut checker = Checker { channel, started: orders.started, tracks };
    loop {
        checker.start_due();
        checker.wait().map_err(CheckError::Wait)?;
        if checker.is_over() {
            return Ok(());
        }
        checker.advance()?;
    }
}

struct Checker<'c> {
    channel: &'c Channel,
    started: Moment,
    tracks: Vec<Track>,
}

/// One check and its run under way.
struct Track {
    name: String,
    check: Check,
    exec: Option<Box<ExecSpec>>,
    progress: Progress,
    /// Since when, and the run itself.
    running: Option<(Moment, Attempt)>,
}

impl Track {
    /// The next moment at which something has to be done; `starting`: startup checks have not passed yet.
    fn next(&self, starting: bool) -> Option<Moment> {
        match &self.running {
            Some((began, _)) => Some(began.after(self.check.timeout)),
            None if starting && self.check.role != Role::Startup => None,
            None => self.progress.due(&self.check),
        }
    }
}

impl Checker<'_> {
    fn is_starting(&self) -> bool {
        let open = |track: &Track| track.progress.seen().verdict != Verdict::Passing;
        self.tracks.iter().any(|track| track.check.role == Role::Startup && open(track))
    }

    fn start_due(&mut self) {
        let (now, starting) = (clock::now(), self.is_starting());
        for track in self.tracks.iter_mut().filter(|track| track.running.is_none()) {
            if track.next(starting).is_some_and(|due| due <= now) {
                track.running = Some((now, Attempt::start(&track.check.probe, track.exec.as_deref())));
            }
        }
    }

    /// Until something happens or something is due.
    fn wait(&self) -> io::Result<()> {
        let starting = self.is_starting();
        let next = self.tracks.iter().filter_map(|track| track.next(starting)).min();
        let timeout = next.map(|next| timespec(next.since(clock::now())));
        let mut fds = vec![PollFd::new(self.channel, PollFlags::IN)];
        fds.extend(
            self.tracks.iter().filter_map(|track| track.running.as_ref()).flat_map(|(_, it)| it.fds()),
        );
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The supervisor says nothing: that it is gone is all that can be heard of it.
    fn is_over(&self) -> bool {
        !matches!(self.channel.receive(&mut [0; 64]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn advance(&mut self) -> Result<(), CheckError> {
        for track in &mut self.tracks {
            let Some((began, attempt)) = &mut track.running else {
                continue;
            };
            let (began, now) = (*began, clock::now());
            let timeout = track.check.timeout;
            let late = (began.after(timeout) <= now).then(|| attempt.give_up(timeout));
            let Some(outcome) = attempt.advance().or(late) else {
                continue;
            };
            track.running = None;
            let result =
                CheckResult { at: now, passed: outcome.passed, text: clip(&outcome.text).to_owned() };
            if track.progress.take(&track.check, result, began, self.started) {
                let report = Report { check: track.name.clone(), seen: track.progress.seen().clone() };
                let text = serde_json::to_vec(&report).map_err(|error| CheckError::Report(error.into()))?;
                self.channel.send(&text, &[]).map_err(CheckError::Report)?;
            }
        }
        Ok(())
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use berth_units::spec::Probe;

    use super::*;
    use crate::channel::Received;

    /// The next report of a checker.
    fn hear(channel: &Channel) -> CheckSeen {
        poll(&mut [PollFd::new(channel, PollFlags::IN)], Some(&timespec(Duration::from_secs(10)))).unwrap();
        let mut buffer = [0; 8192];
        let Received::Packet { len, .. } = channel.receive(&mut buffer).unwrap() else { panic!("it ended") };
        let report: Report = serde_json::from_slice(&buffer[..len]).unwrap();
        assert_eq!(report.check, "port");
        report.seen
    }

    #[test]
    fn what_is_new_is_told_and_the_end_of_the_channel_is_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let check = Check {
            probe: Probe::Tcp(listener.local_addr().unwrap().port()),
            role: Role::Ready,
            interval: Duration::from_millis(20),
            ..Check::default()
        };
        let order = Order { check, seen: CheckSeen::default(), exec: None };
        let checks = [("port".to_owned(), order)].into();
        let (ours, theirs) = Channel::pair().unwrap();
        let checker = thread::spawn(move || run(&theirs, Orders { started: clock::now(), checks }));
        assert_eq!(hear(&ours).verdict, Verdict::Passing);
        drop(listener);
        let first = hear(&ours);
        assert_eq!((first.verdict, first.row), (Verdict::Passing, 1));
        let counted = hear(&ours);
        assert_eq!((counted.verdict, counted.row), (Verdict::Failing, 3));
        drop(ours);
        checker.join().unwrap().unwrap();
    }
}
