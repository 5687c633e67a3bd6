//! The life of a unit: state x event.
//!
//! ```text
//!            Spawned        Released        Executed        BecameReady
//!   Idle ------------> Held --------> SetUp --------> Running --------> Ready
//!    ^ ^                 |              |                |                |
//!    | |  Exited (not    | StopAsked    | (the same from all of these)    |
//!    | +--its fault)-----+--------------+------> Stopping ----------------+
//!    |                                           |      | KillSent
//!    |                                           |      v
//!    |                                           |    Killing
//!    |                              Exited       |      | Exited
//!    | again asked                               v      v
//!    +------------------------------------------ Stopped
//!    |
//!    |  Exited by itself: Backoff (then Idle by TryAgain), Completed or Failed, as the policy says;
//!    +- StartAsked from Stopped, Backoff, Completed, Failed
//! ```
//!
//! [`next`] is the whole table. A pair that it does not hold is an event that came late (an exit that was already
//! known, a second stop): it changes nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observed::{Moment, Record};
use crate::spec::{Policy, Restart};
use crate::wire::control::{ExitReason, State};

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
    /// A stop signal was sent.
    StopSent,
    /// cgroup.kill was written.
    KillSent,
    /// Its process is gone; what follows was decided by [`after_exit`].
    Exited(Rest),
    /// The time of the next try has come.
    TryAgain,
    /// `berth start`.
    StartAsked,
    /// `berth stop` of a unit that has no process.
    StopAsked,
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
    use Life::{Backoff, Completed, Failed, Held, Idle, Killing, Ready, Running, SetUp, Stopped, Stopping};
    Some(match (life, event) {
        (Idle, Event::Spawned) => Held,
        (Held, Event::Released) => SetUp,
        // Held as well: the supervisor may have died between the word to go and its own note of it.
        (Held | SetUp, Event::Executed) => Running,
        (Running, Event::BecameReady) => Ready,
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
        (Backoff | Completed | Failed | Stopped, Event::StartAsked) => Idle,
        (Idle | Backoff | Completed | Failed, Event::StopAsked) => Stopped,
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
            Self::Stopped => State::Stopped,
        }
    }
}

/// What follows an end, and the new count of failures. `reason` and `code` tell how it ended, `ran` how long it
/// was up.
pub fn after_exit(
    restart: &Restart,
    record: &Record,
    end: (ExitReason, Option<i32>),
    ran: Duration,
) -> (Rest, u32) {
    let asked = matches!(record.life, Life::Stopping | Life::Killing)
        && !record.run.as_ref().is_some_and(|run| run.timed_out);
    if asked {
        return (if record.again { Rest::Idle } else { Rest::Stopped }, 0);
    }
    // A held process that just ends has lost its supervisor.
    if record.life == Life::Held && end.0 != ExitReason::StartFailed {
        return (Rest::Idle, record.failures);
    }
    let success = end == (ExitReason::Exit, Some(0));
    let failures = if ran >= restart.reset_after { 0 } else { record.failures };
    let again = match restart.policy {
        Policy::Always => true,
        Policy::OnFailure => !success,
        Policy::Never => false,
    };
    match (again, success) {
        (true, _) => (Rest::Backoff, failures.saturating_add(1)),
        (false, true) => (Rest::Completed, 0),
        (false, false) => (Rest::Failed, failures),
    }
}

/// The wait before try number `failures` (1 is the first): delay x factor^(failures - 1), at most max_delay.
pub fn backoff(restart: &Restart, failures: u32) -> Duration {
    let mut wait = restart.delay;
    for _ in 1..failures.min(64) {
        wait = wait.saturating_mul(restart.factor_milli) / 1000;
        if wait >= restart.max_delay {
            break;
        }
    }
    wait.min(restart.max_delay)
}

impl Record {
    /// Takes an event in; `false` when it means nothing in the present state and nothing was changed.
    pub fn step(&mut self, event: Event, now: Moment) -> bool {
        let Some(life) = next(self.life, event) else {
            return false;
        };
        self.life = life;
        self.since = now;
        if !life.has_process() {
            self.run = None;
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

    const ALL: [Life; 11] =
        [Idle, Held, SetUp, Running, Ready, Stopping, Killing, Backoff, Completed, Failed, Stopped];

    /// Every cell: an event and the states it leads to, in the order of [`ALL`]; `-` is "means nothing".
    #[test]
    fn every_cell_of_the_table() {
        let rows: [(Event, &str); 14] = [
            (Event::Spawned, "Held - - - - - - - - - -"),
            (Event::Released, "- SetUp - - - - - - - - -"),
            (Event::Executed, "- Running Running - - - - - - - -"),
            (Event::BecameReady, "- - - Ready - - - - - - -"),
            (Event::StopSent, "- Stopping Stopping Stopping Stopping - - - - - -"),
            (Event::KillSent, "- Killing Killing Killing Killing Killing - - - - -"),
            (Event::Exited(Rest::Idle), "- Idle Idle Idle Idle Idle Idle - - - -"),
            (Event::Exited(Rest::Backoff), "Backoff Backoff Backoff Backoff Backoff Backoff Backoff - - - -"),
            (
                Event::Exited(Rest::Completed),
                "- Completed Completed Completed Completed Completed Completed - - - -",
            ),
            (Event::Exited(Rest::Failed), "Failed Failed Failed Failed Failed Failed Failed - - - -"),
            (Event::Exited(Rest::Stopped), "- Stopped Stopped Stopped Stopped Stopped Stopped - - - -"),
            (Event::TryAgain, "- - - - - - - Idle - - -"),
            (Event::StartAsked, "- - - - - - - Idle Idle Idle Idle"),
            (Event::StopAsked, "Stopped - - - - - - Stopped Stopped Stopped -"),
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

    #[track_caller]
    fn ends(policy: Policy, life: Life, end: (ExitReason, Option<i32>), ran: u64, expect: (Rest, u32)) {
        let restart = Restart { policy, ..Restart::default() };
        let record = Record { life, failures: 3, ..Record::default() };
        assert_eq!(after_exit(&restart, &record, end, Duration::from_secs(ran)), expect);
    }

    #[test]
    fn what_follows_an_end() {
        let (ok, bad) = ((ExitReason::Exit, Some(0)), (ExitReason::Signal, None));
        ends(Policy::Always, Ready, ok, 1, (Rest::Backoff, 4));
        ends(Policy::Always, Ready, bad, 61, (Rest::Backoff, 1));
        ends(Policy::OnFailure, Ready, ok, 1, (Rest::Completed, 0));
        ends(Policy::OnFailure, Running, bad, 1, (Rest::Backoff, 4));
        ends(Policy::Never, Ready, bad, 1, (Rest::Failed, 3));
        ends(Policy::Never, Ready, (ExitReason::Exit, Some(1)), 1, (Rest::Failed, 3));
        ends(Policy::Always, Stopping, bad, 1, (Rest::Stopped, 0));
        ends(Policy::Always, Killing, bad, 1, (Rest::Stopped, 0));
        ends(Policy::Always, Held, bad, 0, (Rest::Idle, 3));
        ends(Policy::Always, Held, (ExitReason::StartFailed, None), 0, (Rest::Backoff, 4));
        ends(Policy::Never, Idle, (ExitReason::StartFailed, None), 0, (Rest::Failed, 3));
    }

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let restart = Restart::default();
        let waits: Vec<_> = (1..=9).map(|n| backoff(&restart, n).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff(&restart, u32::MAX), restart.max_delay);
    }
}
