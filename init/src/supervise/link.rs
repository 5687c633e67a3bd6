//! The supervisor's end of the channel to PID 1: descriptors that outlive it, exits, and the word to stop.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_units::wire::init::{Exit, FdName, LEN, ToInit, ToSupervisor};
use rustix::event::{PollFd, PollFlags, poll};

use crate::channel::{Channel, Received};

/// The channel and what PID 1 keeps for us; we hold duplicates of the same descriptors.
#[derive(Debug)]
pub struct Link {
    channel: Channel,
    kept: BTreeMap<String, OwnedFd>,
}

/// What PID 1 says while we run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A child of PID 1 ended.
    Exit(Exit),
    /// Stop every unit.
    StopAll,
}

impl Link {
    /// Takes the inherited channel over, and waits for everything that PID 1 has kept.
    ///
    /// PID 1 sends it right after it has started us: this is the only place where the supervisor waits.
    pub fn open(channel: Channel) -> io::Result<(Self, u32, Vec<Word>)> {
        let mut link = Self { channel, kept: BTreeMap::new() };
        let mut early = Vec::new();
        loop {
            match link.receive_record()? {
                Some((ToSupervisor::Kept(name), Some(fd))) => {
                    link.kept.insert(name.as_str().to_owned(), fd);
                }
                Some((ToSupervisor::Go { restarts }, _)) => return Ok((link, restarts, early)),
                Some((ToSupervisor::Exit(exit), _)) => early.push(Word::Exit(exit)),
                Some((ToSupervisor::StopAll, _)) => early.push(Word::StopAll),
                Some((ToSupervisor::Kept(_), None)) => {}
                None => link.wait(PollFlags::IN)?,
            }
        }
    }

    /// The next word, or `None` when there is none now.
    ///
    /// # Errors
    /// `UnexpectedEof` when PID 1 has closed the channel: it wants another supervisor.
    pub fn receive(&mut self) -> io::Result<Option<Word>> {
        while let Some((record, _)) = self.receive_record()? {
            match record {
                ToSupervisor::Exit(exit) => return Ok(Some(Word::Exit(exit))),
                ToSupervisor::StopAll => return Ok(Some(Word::StopAll)),
                ToSupervisor::Kept(_) | ToSupervisor::Go { .. } => {}
            }
        }
        Ok(None)
    }

    fn receive_record(&mut self) -> io::Result<Option<(ToSupervisor, Option<OwnedFd>)>> {
        let mut record = [0; LEN];
        match self.channel.receive(&mut record) {
            Ok(Received::Packet { fds, .. }) => {
                let word = ToSupervisor::decode(&record).ok_or(io::ErrorKind::InvalidData)?;
                Ok(Some((word, fds.into_iter().next())))
            }
            Ok(Received::Closed) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says something. PID 1 reads at once: a full channel is waited for.
    pub fn say(&self, word: ToInit) -> io::Result<()> {
        self.send(word, &[])
    }

    fn send(&self, word: ToInit, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            match self.channel.send(&word.encode(), fds) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::OUT)?,
                other => return other,
            }
        }
    }

    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&self.channel, flags)], None))?;
        Ok(())
    }

    /// Has PID 1 keep a descriptor for the supervisors after us, in place of one of the same name.
    pub fn keep(&mut self, name: &str, fd: OwnedFd) -> io::Result<()> {
        let fd_name = FdName::new(name).ok_or(io::ErrorKind::InvalidInput)?;
        self.send(ToInit::Keep(fd_name), &[fd.as_fd()])?;
        self.kept.insert(name.to_owned(), fd);
        Ok(())
    }

    /// The names of all that is kept.
    pub fn kept_names(&self) -> impl Iterator<Item = &String> {
        self.kept.keys()
    }

    /// A kept descriptor.
    pub fn kept(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.kept.get(name).map(AsFd::as_fd)
    }

    /// Closes a kept descriptor, here and in PID 1; one that is not there is closed already.
    pub fn forget(&mut self, name: &str) -> io::Result<()> {
        match (self.kept.remove(name), FdName::new(name)) {
            (Some(_), Some(fd_name)) => self.say(ToInit::Drop(fd_name)),
            _ => Ok(()),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Name of a unit's kept descriptor: `what` is at most 8 bytes; unit names may be longer than a name may be, so
/// their hash stands for them.
pub fn fd_name(what: &str, unit: &berth_units::Name) -> String {
    format!("{what}/{:016x}", berth_units::plan::hash(unit.as_str()))
}
