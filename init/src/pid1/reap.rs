//! Exits of children between the kernel and the supervisor: a ring of fixed size that forgets nothing.
//!
//! An exit gets a number when it is taken from the kernel, is sent when the channel takes it, and leaves when it is
//! acknowledged. A new supervisor is sent everything that the old one had not acknowledged. When the ring is full
//! no more is taken from the kernel: the dead children stay zombies, and the kernel remembers them for us.

use berth_units::wire::init::{Exit, ExitStatus};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait, waitpid};

/// Exits that are remembered at the most. Well below half of the sequence numbers, so that an acknowledgement of
/// the past is told from one of the future.
pub const EXITS_MAX: usize = 1024;

/// Wait for children of every kind: those of clone3(2) with another exit signal too (wait(2), `__WALL`).
const ALL_KINDS: WaitOptions = WaitOptions::from_bits_retain(0x4000_0000);

/// The ring.
pub struct Exits {
    slots: Box<[Exit]>,
    /// Slot of the oldest exit.
    head: usize,
    len: usize,
    /// How many of them, from the oldest on, the present supervisor has been sent.
    sent: usize,
    next_seq: u16,
}

impl Default for Exits {
    fn default() -> Self {
        let none = Exit { seq: 0, pid: 0, status: ExitStatus::Code(0) };
        Self { slots: vec![none; EXITS_MAX].into_boxed_slice(), head: 0, len: 0, sent: 0, next_seq: 0 }
    }
}

impl Exits {
    /// No room: leave dead children to the kernel.
    pub fn is_full(&self) -> bool {
        self.len == self.slots.len()
    }

    /// Remembers an exit; `false` when there is no room.
    pub fn push(&mut self, pid: i32, status: ExitStatus) -> bool {
        if self.is_full() {
            return false;
        }
        let slot = (self.head + self.len) % self.slots.len();
        let Some(place) = self.slots.get_mut(slot) else { return false };
        *place = Exit { seq: self.next_seq, pid, status };
        self.next_seq = self.next_seq.wrapping_add(1);
        self.len += 1;
        true
    }

    /// The oldest exit that the present supervisor has not been sent.
    pub fn unsent(&self) -> Option<&Exit> {
        let slot = (self.head + self.sent) % self.slots.len();
        if self.sent < self.len { self.slots.get(slot) } else { None }
    }

    /// [`Self::unsent`] has been sent.
    pub fn mark_sent(&mut self) {
        self.sent = self.len.min(self.sent + 1);
    }

    /// Another supervisor: it has been sent nothing.
    pub fn mark_none_sent(&mut self) {
        self.sent = 0;
    }

    /// Forgets everything up to and including `seq`, if that was ever sent to the present supervisor.
    pub fn acknowledge(&mut self, seq: u16) {
        let oldest = self.slots.get(self.head).map_or(0, |exit| exit.seq);
        let count = usize::from(seq.wrapping_sub(oldest)) + 1;
        if count <= self.sent {
            self.head = (self.head + count) % self.slots.len();
            self.len -= count;
            self.sent -= count;
        }
    }
}

/// What the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// A child has ended; it is gone from the kernel now.
    Dead(Pid, ExitStatus),
    /// Children, but none has ended.
    NoneDead,
    /// No child at all.
    NoChild,
}

/// Takes one dead child from the kernel, of any pid or of that one.
///
/// PID 1 makes sure of room in [`Exits`] first. Looking with WNOWAIT before would add nothing: where PID 1 could be
/// lost between taking and remembering, the node is lost.
pub fn reap(pid: Option<Pid>) -> Reaped {
    let options = WaitOptions::NOHANG | ALL_KINDS;
    // Without a pid waitpid would look only at children of PID 1's own process group.
    let reap_once = || if pid.is_some() { waitpid(pid, options) } else { wait(options) };
    match rustix::io::retry_on_intr(reap_once) {
        Ok(Some((pid, status))) => Reaped::Dead(pid, exit_status(status)),
        Ok(None) => Reaped::NoneDead,
        // ECHILD: the only error that these arguments can have.
        Err(_) => Reaped::NoChild,
    }
}

fn exit_status(status: WaitStatus) -> ExitStatus {
    let byte = |value: i32| u8::try_from(value & 0xff).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(byte(code)),
        (None, signal) => ExitStatus::Signal(byte(signal.unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(exits: &mut Exits) -> Vec<i32> {
        let mut pids = Vec::new();
        while let Some(exit) = exits.unsent() {
            pids.push(exit.pid);
            exits.mark_sent();
        }
        pids
    }

    #[test]
    fn an_exit_stays_until_it_is_acknowledged() {
        let mut exits = Exits::default();
        assert!((1..=3).all(|pid| exits.push(pid, ExitStatus::Code(0))));
        assert_eq!(drain(&mut exits), [1, 2, 3]);
        exits.acknowledge(0);
        exits.mark_none_sent();
        assert_eq!(drain(&mut exits), [2, 3]);
        exits.acknowledge(2);
        exits.mark_none_sent();
        assert!(drain(&mut exits).is_empty());
    }

    #[test]
    fn a_full_ring_takes_no_more() {
        let mut exits = Exits::default();
        assert_eq!((0..2000).filter(|pid| exits.push(*pid, ExitStatus::Signal(9))).count(), EXITS_MAX);
        assert_eq!(drain(&mut exits).len(), EXITS_MAX);
        exits.acknowledge(9);
        assert_eq!((0..2000).filter(|pid| exits.push(*pid, ExitStatus::Signal(9))).count(), 10);
    }

    #[test]
    fn numbers_wrap_around() {
        let mut exits = Exits::default();
        for round in 0..200_000_u32 {
            let seq = u16::try_from(round & 0xffff).unwrap();
            assert!(exits.push(1, ExitStatus::Code(0)));
            assert_eq!(exits.unsent().map(|exit| exit.seq), Some(seq));
            exits.mark_sent();
            if round % 700 == 699 {
                exits.acknowledge(seq);
                assert_eq!(exits.len, 0);
            }
        }
    }

    #[test]
    fn false_acknowledgements_change_nothing() {
        let mut exits = Exits::default();
        exits.acknowledge(0);
        exits.acknowledge(65535);
        assert!(exits.push(7, ExitStatus::Code(1)));
        // Remembered, but not sent to this supervisor: it cannot know the number.
        exits.acknowledge(0);
        assert_eq!(drain(&mut exits), [7]);
        for seq in [1, 500, 65535] {
            exits.acknowledge(seq);
        }
        exits.mark_none_sent();
        assert_eq!(drain(&mut exits), [7]);
    }
}
