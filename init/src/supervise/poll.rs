//! What the supervisor waits for: one epoll set, each descriptor with the name of what it is.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use berth_units::Name;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Where an event comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The channel to PID 1.
    Init,
    /// The channel to netd.
    Netd,
    /// The log process.
    Log,
    /// The unit set on the data partition changed.
    UnitFiles,
    /// cgroup.events of some unit changed.
    Cgroups,
    /// A path may exist that somebody waits for.
    Paths,
    /// The clock on the wall was set.
    Clock,
    /// A client wants a connection.
    Listener,
    /// A client's connection.
    Client(u64),
    /// The status pipe of a unit's process: execve or a failing step.
    Status(Name),
    /// The descriptor on which a unit says that it is ready.
    ReadyLine(Name),
    /// The socket on which a unit says how it is.
    Notify(Name),
    /// The channel to a unit's checker.
    Checker(Name),
    /// A unit has to wait for something too long: which trigger.
    Pressure(Name, String),
}

/// The epoll set.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
    sources: BTreeMap<u64, Source>,
    next: u64,
}

/// What a source can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, or the end.
    Read,
    /// The same, or room to write.
    ReadWrite,
    /// Priority data.
    Priority,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Self::Read => epoll::EventFlags::IN,
            Self::ReadWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            Self::Priority => epoll::EventFlags::PRI,
        }
    }
}

impl Poll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, sources: BTreeMap::new(), next: 0 })
    }

    /// Waits for `fd` from now on, under the name `source`. The kernel takes it out only when the last duplicate is
    /// closed, in whatever process: see [`Self::remove`].
    pub fn add(&mut self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        self.forget(&source);
        self.next += 1;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(self.next), interest.flags())?;
        self.sources.insert(self.next, source);
        Ok(())
    }

    /// Changes what is waited for.
    pub fn change(&mut self, fd: impl AsFd, source: &Source, interest: Interest) -> io::Result<()> {
        let Some((key, _)) = self.sources.iter().find(|(_, known)| *known == source) else {
            return Ok(());
        };
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(*key), interest.flags())?)
    }

    /// Stops waiting for a descriptor, before it is closed: while somebody has a duplicate, its events would go on
    /// waking us, without a name and without end.
    pub fn remove(&mut self, fd: impl AsFd, source: &Source) {
        // It may have been closed already: then there is nothing to take out.
        let _gone = epoll::delete(&self.epoll, fd);
        self.forget(source);
    }

    /// Events that still come under this name are dropped.
    pub fn forget(&mut self, source: &Source) {
        self.sources.retain(|_, known| known != source);
    }

    /// Waits for events, at most `timeout`; none for as long as it takes. Interrupted by a signal: no events.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Source>> {
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut events = Vec::with_capacity(64);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.iter().filter_map(|event| self.sources.get(&event.data.u64()).cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};

    use super::*;

    /// Why a unit's status is looked at before its word of being ready is taken: that one was awaited earlier.
    #[test]
    fn events_come_in_the_order_in_which_they_were_seen() {
        let unit = Name::parse("web").unwrap();
        let mut poll = Poll::new().unwrap();
        let ((ready, mut word), (status, end)) = (pipe().unwrap(), pipe().unwrap());
        poll.add(&ready, Source::ReadyLine(unit.clone()), Interest::Read).unwrap();
        drop(end);
        word.write_all(b"\n").unwrap();
        poll.add(&status, Source::Status(unit.clone()), Interest::Read).unwrap();
        let expect = [Source::ReadyLine(unit.clone()), Source::Status(unit)];
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), expect);
    }

    #[test]
    fn what_was_removed_wakes_nobody_while_duplicates_live() {
        let mut poll = Poll::new().unwrap();
        let (reader, mut writer) = pipe().unwrap();
        let _elsewhere = reader.try_clone().unwrap();
        poll.add(&reader, Source::Netd, Interest::Read).unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), [Source::Netd]);
        poll.remove(&reader, &Source::Netd);
        drop(reader);
        let is_awake = rustix::event::poll(
            &mut [rustix::event::PollFd::new(&poll.epoll, rustix::event::PollFlags::IN)],
            Some(&Timespec { tv_sec: 0, tv_nsec: 0 }),
        );
        assert_eq!(is_awake, Ok(0));
    }
}
