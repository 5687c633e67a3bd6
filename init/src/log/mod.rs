//! The log process: reads what containers write to their standard output and error, and keeps it as lines.
//!
//! An app must not wait for a disk, and no line may be lost when this process is killed. So bytes go from the pipe
//! to a spool in RAM within one system call, then as lines to the log, then the checkpoint says so; see [`unit`].
//! The pipes themselves are kept by PID 1. What a line says is nobody's business here.
//!
//! Lines are written once for every time that something could be read, not one by one, and are not synced.

mod checkpoint;
mod console;
mod file;
mod lines;
mod meter;
mod places;
mod spool;
mod unit;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use berth_units::Name;
use berth_units::spec::Log;
use berth_units::wire::log::{Awaited, Reply, Request};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::fcntl_setpipe_size;
use rustix::time::Timespec;

use self::console::Console;
pub use self::places::Places;
use self::unit::Unit;
use crate::channel::{Channel, Received};
use crate::error;
use crate::kmsg::Chain;

/// The longest request, bytes: a name of 63, a pattern of 256 and a few numbers.
const REQUEST_MAX: usize = 4096;
/// What an app can write while this process is away.
const PIPE_SIZE: usize = 256 << 10;
/// So that a wait that ends a little early does not begin again at once.
const TICK: Duration = Duration::from_millis(1);
/// A disk does not say when it has room again.
const RETRY: Duration = Duration::from_secs(1);

/// Serves until the supervisor's end of the channel is closed. Paths are below `root`.
///
/// # Errors
/// poll(2) or the spool's directory: nothing can be done without.
pub fn run(channel: &Channel, root: &Path) -> io::Result<()> {
    let places = Places::new(root);
    places.ensure_spool()?;
    let mut units = BTreeMap::new();
    let mut replies = VecDeque::new();
    let mut console = Console::new(places.console());
    loop {
        let ready = wait(channel, &units, &console, !replies.is_empty())?;
        for (name, index) in ready.pipes {
            if let Some(unit) = units.get_mut(&name) {
                unit.take_in(index);
            }
        }
        // Disks after pipes: all apps can go on writing before the first one's disk is waited for.
        units.values_mut().for_each(Unit::write_out);
        units.values_mut().for_each(|unit| unit.expire(SystemTime::now()));
        units.values_mut().for_each(|unit| unit.show(&mut console));
        console.flush();
        if ready.has_request && !take_requests(channel, &places, &mut units, &mut replies) {
            return Ok(());
        }
        let found = |(name, unit): (&Name, &mut Unit)| {
            unit.news().map(|run| Reply::Found { unit: name.clone(), run })
        };
        replies.extend(units.iter_mut().filter_map(found));
        tell(channel, &mut replies);
    }
}

/// What can be read.
struct Ready {
    has_request: bool,
    pipes: Vec<(Name, usize)>,
}

fn wait(
    channel: &Channel,
    units: &BTreeMap<Name, Unit>,
    console: &Console,
    has_replies: bool,
) -> io::Result<Ready> {
    let pipes =
        || units.iter().flat_map(|(name, unit)| unit.pipes().map(move |(index, fd)| (name, index, fd)));
    let interest = if has_replies { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let mut fds = vec![PollFd::new(channel, interest)];
    fds.extend(pipes().map(|(_, _, fd)| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    fds.extend(console.awaited().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
    let retry = units.values().any(Unit::is_failing).then_some(RETRY);
    let wake = units.values().filter_map(Unit::next_wake).min();
    let timeout = || {
        let wake = wake.map(|wake| wake.saturating_duration_since(Instant::now()) + TICK);
        let old = units.values().filter_map(Unit::next_expiry).min();
        let old = old.map(|old| old.duration_since(SystemTime::now()).unwrap_or_default() + TICK);
        retry.into_iter().chain(wake).chain(old).min().and_then(|timeout| Timespec::try_from(timeout).ok())
    };
    rustix::io::retry_on_intr(|| poll(&mut fds, timeout().as_ref()))?;
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    let has_request = ready.next().unwrap_or(false);
    let pipes = pipes().zip(ready).filter(|(_, ready)| *ready);
    Ok(Ready { has_request, pipes: pipes.map(|((name, index, _), _)| (name.clone(), index)).collect() })
}

/// `false` when the supervisor is gone.
fn take_requests(
    channel: &Channel,
    places: &Places,
    units: &mut BTreeMap<Name, Unit>,
    replies: &mut VecDeque<Reply>,
) -> bool {
    let mut buffer = [0; REQUEST_MAX];
    loop {
        match channel.receive(&mut buffer) {
            Ok(Received::Packet { len, fds }) => {
                let bytes = buffer.get(..len).unwrap_or_default();
                match serde_json::from_slice(bytes) {
                    Ok(request) => replies.extend(serve(request, fds, places, units)),
                    Err(error) => error!("cannot read a request: {error}, ignoring it"),
                }
            }
            Ok(Received::Closed) => return false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(error) => {
                error!("cannot receive a request: {error}, ignoring it");
                return error.kind() == io::ErrorKind::InvalidData;
            }
        }
    }
}

/// Tells as much as there is room for: the rest waits until the supervisor has read. It asks once for each run, so
/// there are never more replies than units.
fn tell(channel: &Channel, replies: &mut VecDeque<Reply>) {
    while let Some(reply) = replies.front() {
        let text = serde_json::to_vec(reply).map_err(io::Error::from);
        match text.and_then(|text| channel.send(&text, &[])) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => error!("cannot tell the supervisor: {error}; the next one asks again"),
            Ok(()) => {}
        }
        replies.pop_front();
    }
}

/// Does what is asked; what there is to say of it.
fn serve(
    request: Request,
    fds: Vec<OwnedFd>,
    places: &Places,
    units: &mut BTreeMap<Name, Unit>,
) -> Option<Reply> {
    match request {
        Request::Add { unit, log, awaits } => {
            let Ok(pipes) = <[OwnedFd; 2]>::try_from(fds) else {
                error!("'{unit}' came without its two pipes, ignoring it");
                return None;
            };
            if let Err(error) = add(places, units, unit.clone(), log, pipes) {
                error!("cannot keep the log of '{unit}': {}", Chain(&error));
                return None;
            }
            return listen(unit, awaits, units);
        }
        Request::EndLines { unit } => {
            if let Some(unit) = units.get_mut(&unit) {
                unit.end_lines();
            }
        }
        Request::Remove { unit } => {
            if let Some(unit) = units.remove(&unit) {
                unit.close(places);
            }
        }
    }
    None
}

fn listen(name: Name, awaits: Option<Awaited>, units: &mut BTreeMap<Name, Unit>) -> Option<Reply> {
    let unit = units.get_mut(&name)?;
    let run = awaits.as_ref().map(|awaits| awaits.run);
    match unit.listen(awaits) {
        Ok(()) => run.map(|run| Reply::Listening { unit: name, run }),
        Err(why) => {
            error!("cannot look for a line of '{name}': {why}");
            None
        }
    }
}

fn add(
    places: &Places,
    units: &mut BTreeMap<Name, Unit>,
    name: Name,
    log: Log,
    pipes: [OwnedFd; 2],
) -> io::Result<()> {
    for pipe in &pipes {
        let flags = rustix::fs::fcntl_getfl(pipe)?;
        rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK)?;
        // A user's limit of pipe memory may refuse; then it is 64 KiB.
        let _refused = fcntl_setpipe_size(pipe.as_fd(), PIPE_SIZE);
    }
    let log = places.bounded(log);
    match units.get_mut(&name) {
        Some(unit) => unit.replace(places, log, pipes)?,
        None => {
            units.insert(name.clone(), Unit::open(places, name, log, pipes)?);
        }
    }
    Ok(())
}
