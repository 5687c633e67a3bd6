//! What is said to one supervisor, from its start to its end, and what it says.
//!
//! In order: every kept descriptor, every exit that was not acknowledged, Go; from then on exits as they come, and
//! StopAll once the node goes down. Whatever the channel does not take waits here as a position, not as a queue:
//! the ring of exits and the table of descriptors are the queue.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_units::wire::init::{LEN, ToInit, ToSupervisor};

use super::reap::Exits;
use super::store::FdStore;
use crate::channel::{Channel, Received};

/// PID 1's end of the channel to one supervisor.
pub struct Link {
    channel: Channel,
    stage: Stage,
    told_to_stop: bool,
    blocked: bool,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Descriptors from this position of the table on are to be sent.
    Kept(usize),
    /// Old exits are to be sent, then Go.
    Replay,
    Up,
}

/// What PID 1 knows that a supervisor is to be told.
pub struct News<'a> {
    /// Exits not acknowledged.
    pub exits: &'a mut Exits,
    /// Kept descriptors.
    pub store: &'a FdStore,
    /// Starts of the supervisor before this one.
    pub restarts: u32,
    /// The node goes down.
    pub is_stopping: bool,
}

/// What the supervisor said.
pub enum Heard {
    /// A record, and the descriptor that came beside it.
    Record(ToInit, Option<OwnedFd>),
    /// A packet that cannot be.
    Nonsense,
    /// Nothing more for now.
    Nothing,
    /// It has closed its end.
    Closed,
}

impl Link {
    /// To a supervisor that has been told nothing.
    pub fn new(channel: Channel) -> Self {
        Self { channel, stage: Stage::Kept(0), told_to_stop: false, blocked: false }
    }

    /// The channel is full: there is more to say when it can be written.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Says everything that there is to say, as far as the channel takes it.
    ///
    /// # Errors
    /// The channel's; the supervisor is gone then, or as good as.
    pub fn tell(&mut self, mut news: News<'_>) -> io::Result<()> {
        self.blocked = false;
        while let Some((record, fd)) = self.next(&news) {
            match self.channel.send(&record.encode(), fd.as_slice()) {
                Ok(()) => self.advance(&record, &mut news),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn next<'a>(&mut self, news: &News<'a>) -> Option<(ToSupervisor, Option<BorrowedFd<'a>>)> {
        if let Stage::Kept(start) = self.stage {
            if let Some((index, name, fd)) = news.store.next_from(start) {
                self.stage = Stage::Kept(index);
                return Some((ToSupervisor::Kept(*name), Some(fd)));
            }
            self.stage = Stage::Replay;
        }
        if let Some(exit) = news.exits.unsent() {
            return Some((ToSupervisor::Exit(*exit), None));
        }
        if matches!(self.stage, Stage::Replay) {
            return Some((ToSupervisor::Go { restarts: news.restarts }, None));
        }
        (news.is_stopping && !self.told_to_stop).then_some((ToSupervisor::StopAll, None))
    }

    fn advance(&mut self, sent: &ToSupervisor, news: &mut News<'_>) {
        match (sent, self.stage) {
            (ToSupervisor::Kept(_), Stage::Kept(index)) => self.stage = Stage::Kept(index + 1),
            (ToSupervisor::Exit(_), _) => news.exits.mark_sent(),
            (ToSupervisor::Go { .. }, _) => self.stage = Stage::Up,
            (ToSupervisor::StopAll, _) => self.told_to_stop = true,
            (ToSupervisor::Kept(_), _) => {}
        }
    }

    /// The next record from the supervisor.
    pub fn hear(&self) -> Heard {
        // One byte more than a record: a longer packet does not pass for one.
        let mut buffer = [0; LEN + 1];
        match self.channel.receive(&mut buffer) {
            Ok(Received::Packet { len, mut fds }) => {
                let fd = if fds.len() <= 1 { fds.pop() } else { return Heard::Nonsense };
                let record = buffer.get(..len).and_then(ToInit::decode);
                record.map_or(Heard::Nonsense, |record| Heard::Record(record, fd))
            }
            Ok(Received::Closed) => Heard::Closed,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Heard::Nonsense,
            Err(_) => Heard::Closed,
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use berth_units::wire::init::{ExitStatus, FdName};

    use super::*;
    use crate::pid1::reap::EXITS_MAX;

    struct Pid1 {
        exits: Exits,
        store: FdStore,
        is_stopping: bool,
    }

    impl Pid1 {
        fn news(&mut self) -> News<'_> {
            News { exits: &mut self.exits, store: &self.store, restarts: 4, is_stopping: self.is_stopping }
        }
    }

    fn read_all(channel: &Channel) -> Vec<(ToSupervisor, usize)> {
        let mut buffer = [0; LEN];
        let mut records = Vec::new();
        while let Ok(Received::Packet { len, fds }) = channel.receive(&mut buffer) {
            records.push((ToSupervisor::decode(&buffer[..len]).unwrap(), fds.len()));
        }
        records
    }

    fn pid1() -> Pid1 {
        let mut pid1 = Pid1 { exits: Exits::default(), store: FdStore::default(), is_stopping: false };
        let (reader, _) = io::pipe().unwrap();
        assert!(pid1.store.keep(FdName::new("a").unwrap(), reader.into()));
        assert!(pid1.exits.push(7, ExitStatus::Code(3)));
        pid1
    }

    #[test]
    fn a_new_supervisor_hears_everything_in_order() {
        let mut pid1 = pid1();
        pid1.is_stopping = true;
        let (ours, theirs) = Channel::pair().unwrap();
        Link::new(ours).tell(pid1.news()).unwrap();
        let heard = read_all(&theirs);
        assert!(
            matches!(
                heard[..],
                [
                    (ToSupervisor::Kept(_), 1),
                    (ToSupervisor::Exit(_), 0),
                    (ToSupervisor::Go { restarts: 4 }, 0),
                    (ToSupervisor::StopAll, 0)
                ]
            ),
            "{heard:?}"
        );
    }

    #[test]
    fn nothing_is_said_twice_or_lost_over_a_full_channel() {
        let mut pid1 = pid1();
        let (ours, theirs) = Channel::pair().unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, 8192).unwrap();
        let mut link = Link::new(ours);
        while pid1.exits.push(8, ExitStatus::Signal(9)) {}
        let mut heard = Vec::new();
        let mut blocked = 0;
        loop {
            link.tell(pid1.news()).unwrap();
            heard.extend(read_all(&theirs));
            if !link.is_blocked() {
                break;
            }
            blocked += 1;
        }
        heard.extend(read_all(&theirs));
        assert!(blocked > 2, "the channel was never full");
        let exits = heard.iter().filter_map(|(record, _)| match record {
            ToSupervisor::Exit(exit) => Some(usize::from(exit.seq)),
            _ => None,
        });
        assert!(exits.eq(0..EXITS_MAX));
        assert_eq!(heard.len(), EXITS_MAX + 2);
    }
}
