//! The life of a unit: state x event.
//!
//! ```text
//!            Spawned        Released        Executed        BecameReady
//!   Idle ------------> Held --------> SetUp --------> Running --------> Ready
//!    ^ ^                 |              |                |                |
//!    | |                                               ^ BecameUnready |
//!    | |                                               +----------------+
//!    | |  Exited (not    | StopAsked    | (the same from all of these)    |
//!    | +--its fault)-----+--------------+------> Stopping ----------------+
//!    |                                           |      | KillSent
//!    |                                           |      v
//!    |                                           |    Killing
//!    |                              Exited       |      | Exited
//!    | again asked                               v      v
//!    +------------------------------------------ Stopped
//!    |
//!    |  Exited by itself: Backoff (then Idle by TryAgain), Completed or Failed, as `restart` says;
//!    |  Skipped from Idle, where a condition does not hold;
//!    +- StartAsked from Stopped, Backoff, Completed, Failed, Skipped; RunDue (of a job) from all of these but Stopped
//! ```
//!
//! [`next`] is the whole table. A pair that it does not hold is an event that came late (an exit that was already
//! known, a second stop): it changes nothing.

use serde::{Deserialize, Serialize};

use crate::observed::{Moment, Record};
use crate::wire::control::State;

/// Where a unit is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// No process; the planner starts it when it may.
    #[default]
    Idle,
    /// A process that waits for its network and the word to go. It dies with the supervisor that made it.
    Held,
    /// Told to go: mounts and the like are under way, execve has not happened.
    SetUp,
    /// execve has happened; not ready.
    Running,
    /// Ready.
    Ready,
    /// Signalled; killed at its deadline.
    Stopping,
    /// cgroup.kill was written.
    Killing,
    /// Ended by itself; tried again at `next_try`.
    Backoff,
    /// Ended with success and left alone.
    Completed,
    /// Ended without success and left alone.
    Failed,
    /// Ended as asked.
    Stopped,
    /// Not started, because one of its conditions does not hold; nobody misses it.
    Skipped,
}

/// What happens to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its process was made.
    Spawned,
    /// Its process was told to go.
    Released,
    /// Its process called execve(2) with success.
    Executed,
    /// Its condition of readiness was met.
    BecameReady,
    /// It is met no more: a check fails.
    BecameUnready,
    /// A stop signal was sent.
    StopSent,
    /// cgroup.kill was written.
    KillSent,
    /// Its process is gone; what follows was decided by [`after_exit`](crate::restart::after_exit).
    Exited(Rest),
    /// One of its conditions does not hold.
    Skipped,
    /// The time of the next try has come.
    TryAgain,
    /// `berth start`.
    StartAsked,
    /// `berth stop` of a unit that has no process.
    StopAsked,
    /// A run of a job is due.
    RunDue,
}

/// What follows the end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// At once again, nobody's fault.
    Idle,
    /// Later again.
    Backoff,
    /// Left alone: success.
    Completed,
    /// Left alone: no success.
    Failed,
    /// Left alone: as asked.
    Stopped,
}

/// The state after an event; `None` where the event means nothing in that state.
pub fn next(life: Life, event: Event) -> Option<Life> {
    use Life::{
        Backoff, Completed, Failed, Held, Idle, Killing, Ready, Running, SetUp, Skipped, Stopped, Stopping,
    };
    Some(match (life, event) {
        (Idle, Event::Spawned) => Held,
        (Held, Event::Released) => SetUp,
        // Held as well: the supervisor may have died between the word to go and its own note of it.
        (Held | SetUp, Event::Executed) => Running,
        (Running, Event::BecameReady) => Ready,
        (Ready, Event::BecameUnready) => Running,
        (Held | SetUp | Running | Ready, Event::StopSent) => Stopping,
        (Held | SetUp | Running | Ready | Stopping, Event::KillSent) => Killing,
        (Held | SetUp | Running | Ready | Stopping | Killing, Event::Exited(rest)) => match rest {
            Rest::Idle => Idle,
            Rest::Backoff => Backoff,
            Rest::Completed => Completed,
            Rest::Failed => Failed,
            Rest::Stopped => Stopped,
        },
        // A start that failed before there was a process.
        (Idle, Event::Exited(Rest::Backoff)) => Backoff,
        (Idle, Event::Exited(Rest::Failed)) => Failed,
        (Backoff, Event::TryAgain) => Idle,
        (Idle, Event::Skipped) => Skipped,
        (Backoff | Completed | Failed | Stopped | Skipped, Event::StartAsked) => Idle,
        (Idle | Backoff | Completed | Failed | Skipped, Event::StopAsked) => Stopped,
        (Backoff | Completed | Failed | Skipped, Event::RunDue) => Idle,
        _ => return None,
    })
}

impl Life {
    /// Whether there is a process.
    pub fn has_process(self) -> bool {
        matches!(
            self,
            Self::Held | Self::SetUp | Self::Running | Self::Ready | Self::Stopping | Self::Killing
        )
    }

    /// Whether its program has been executed and nothing was done to end it.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Ready)
    }

    /// The word that users see; `held` says that an idle unit is not going to start by itself.
    pub fn state(self, held: bool) -> State {
        match self {
            Self::Idle if held => State::Stopped,
            Self::Idle => State::Waiting,
            Self::Held | Self::SetUp | Self::Running => State::Starting,
            Self::Ready => State::Ready,
            Self::Stopping | Self::Killing => State::Stopping,
            Self::Backoff => State::Backoff,
            Self::Completed => State::Completed,
            Self::Failed => State::Failed,
            Self::Stopped | Self::Skipped => State::Stopped,
        }
    }
}

impl Record {
    /// Takes an event in; `false` when it means nothing in the present state and nothing was changed.
    pub fn step(&mut self, event: Event, now: Moment) -> bool {
        let Some(life) = next(self.life, event) else {
            return false;
        };
        self.life = life;
        self.since = now;
        self.waits_since = None;
        self.note = None;
        self.forgotten = false;
        self.reached.note(life);
        self.health.was_ready |= life == Life::Ready;
        if let Some(run) = self.run.as_mut().filter(|_| life == Life::Ready) {
            run.talk.fed.get_or_insert(now);
        }
        if !life.has_process() {
            self.unswept |= self.run.take().is_some();
            self.prepared = None;
            self.again = false;
        }
        if life != Life::Backoff {
            self.next_try = None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Life::*;

    const ALL: [Life; 12] =
        [Idle, Held, SetUp, Running, Ready, Stopping, Killing, Backoff, Completed, Failed, Stopped, Skipped];

    /// Every cell: an event and the states it leads to, in the order of [`ALL`]; `-` is "means nothing".
    #[test]
    fn every_cell_of_the_table() {
        let rows: [(Event, &str); 17] = [
            (Event::Spawned, "Held - - - - - - - - - - -"),
            (Event::Released, "- SetUp - - - - - - - - - -"),
            (Event::Executed, "- Running Running - - - - - - - - -"),
            (Event::BecameReady, "- - - Ready - - - - - - - -"),
            (Event::BecameUnready, "- - - - Running - - - - - - -"),
            (Event::StopSent, "- Stopping Stopping Stopping Stopping - - - - - - -"),
            (Event::KillSent, "- Killing Killing Killing Killing Killing - - - - - -"),
            (Event::Exited(Rest::Idle), "- Idle Idle Idle Idle Idle Idle - - - - -"),
            (
                Event::Exited(Rest::Backoff),
                "Backoff Backoff Backoff Backoff Backoff Backoff Backoff - - - - -",
            ),
            (
                Event::Exited(Rest::Completed),
                "- Completed Completed Completed Completed Completed Completed - - - - -",
            ),
            (Event::Exited(Rest::Failed), "Failed Failed Failed Failed Failed Failed Failed - - - - -"),
            (Event::Exited(Rest::Stopped), "- Stopped Stopped Stopped Stopped Stopped Stopped - - - - -"),
            (Event::Skipped, "Skipped - - - - - - - - - - -"),
            (Event::TryAgain, "- - - - - - - Idle - - - -"),
            (Event::StartAsked, "- - - - - - - Idle Idle Idle Idle Idle"),
            (Event::StopAsked, "Stopped - - - - - - Stopped Stopped Stopped - Stopped"),
            (Event::RunDue, "- - - - - - - Idle Idle Idle - Idle"),
        ];
        for (event, row) in rows {
            let words: Vec<_> = row.split(' ').collect();
            assert_eq!(words.len(), ALL.len(), "{event:?}");
            for (life, word) in ALL.iter().zip(words) {
                let got = next(*life, event).map_or("-".to_owned(), |life| format!("{life:?}"));
                assert_eq!(got, word, "{life:?} x {event:?}");
            }
        }
    }
}
