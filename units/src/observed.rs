//! The observed state: what the supervisor knows of the world when it plans.
//!
//! A [`Record`] is what it has written down of a unit (in RAM, before the next step is taken), so that the next
//! supervisor starts where this one ended; the rest of [`Seen`] is read from the kernel and from netd each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::health::Health;
use crate::job::Ledger;
use crate::life::Life;
use crate::notify::Talk;
use crate::spec::Server;
use crate::supplies::Source;
use crate::task::{Doing, Reloaded, Task};
use crate::time::rfc3339;
use crate::volumes::Kept;
use crate::wire::control::LastExit;

/// Microseconds of CLOCK_BOOTTIME: grows, counts sleep, does not jump with the clock on the wall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    /// That long after.
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to this; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Microseconds since 1970 by the clock on the wall, which may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wall(pub i64);

impl Wall {
    /// That long after.
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    /// That long before.
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    /// RFC 3339 with whole seconds.
    pub fn text(self) -> String {
        rfc3339(u64::try_from(self.0).unwrap_or(0) / 1_000_000)
    }
}

/// The world at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Every unit that is declared or has a record.
    pub units: BTreeMap<Name, Seen>,
    /// Networks as netd reported them for the set in force; absent: no word yet.
    pub networks: BTreeMap<Name, NetworkSeen>,
    /// Volumes of the disk and what is noted of them; none while the set in force is not the one that was asked for,
    /// so that nothing is deleted by mistake.
    pub volumes: BTreeMap<Name, Kept>,
    /// What `wait_for` and `conditions` ask about.
    pub facts: Facts,
    /// The node is shutting down: everything stops, nothing starts.
    pub draining: bool,
}

/// What is known of the node outside of its units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The uplink has an address.
    pub online: bool,
    /// The clock shows a time that can be.
    pub clock_set: bool,
    /// Those of the paths that somebody asks about that exist.
    pub paths: BTreeSet<String>,
    /// Architecture, the kernel's word.
    pub arch: String,
    /// Memory, bytes.
    pub memory: u64,
    /// Words of the kernel command line.
    pub kernel_cmdline: BTreeSet<String>,
    /// Features that every processor has, the kernel's words.
    pub cpu_features: BTreeSet<String>,
    /// The first boot with this data partition.
    pub first_boot: bool,
    /// When all this was looked at.
    pub looked: Moment,
    /// So many microseconds is the clock on the wall ahead of [`Moment`].
    pub wall_ahead: i64,
    /// Servers that accept connections, for each unit that waits for them at present.
    pub answering: BTreeMap<Name, BTreeSet<Server>>,
    /// A version of everything that units are given and that is there; it says nothing of the value.
    pub supplies: BTreeMap<Source, u64>,
}

impl Facts {
    /// What the clock on the wall shows at a moment, if nobody sets it.
    pub fn wall(&self, moment: Moment) -> Wall {
        Wall(i64::try_from(moment.0).unwrap_or(i64::MAX).saturating_add(self.wall_ahead))
    }

    /// The moment at which the clock on the wall shows that; the boot for what was before it.
    pub fn moment(&self, wall: Wall) -> Moment {
        Moment(u64::try_from(wall.0.saturating_sub(self.wall_ahead)).unwrap_or(0))
    }
}

/// One network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkSeen {
    /// Its bridge is there.
    Up,
    /// netd could not make it, and why.
    Failed(String),
}

/// One unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// What is written down.
    pub record: Record,
    /// cgroup.events says `populated 1`: something of it still runs.
    pub populated: bool,
    /// cgroup.kill was written since its main process ended: what still runs is on its way out.
    pub killed: bool,
    /// Where the attachment of the held process to its networks stands.
    pub attach: Attach,
    /// The log process looks for the line that makes it ready, in the output of that run.
    pub listened: Option<u64>,
    /// cgroup.freeze is 1: nothing of it runs, though its processes are there.
    pub frozen: bool,
    /// Somebody else has changed the limits of its cgroup.
    pub drifted: bool,
    /// Its process lives, and not in its cgroup.
    pub strayed: bool,
}

impl Seen {
    /// Somebody paused it, and nothing was done since to end it.
    pub fn is_paused(&self) -> bool {
        self.record.life.is_up() && self.record.run.as_ref().is_some_and(|run| run.paused.is_some())
    }
}

/// How far netd is with a held process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// netd has not been asked, or the one that was asked is gone.
    #[default]
    Unasked,
    /// netd works on it.
    Asked,
    /// All its interfaces are there (or it needs none).
    Done,
}

/// What is written down of a unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What people asked for.
    pub wanted: Wanted,
    /// Where it is in its life.
    pub life: Life,
    /// Since when.
    pub since: Moment,
    /// Its process, if it has one.
    pub run: Option<Run>,
    /// Runs so far: numbers them.
    pub runs: u64,
    /// Restarts by itself since the last start by hand or boot.
    pub restarts: u64,
    /// Ends in a row without a run of `restart.reset_after`: the exponent of the backoff.
    pub failures: u32,
    /// In backoff: the moment of the next try.
    pub next_try: Option<Moment>,
    /// How the last run ended.
    pub last_exit: Option<LastExit>,
    /// After the stop that is under way it starts again.
    pub again: bool,
    /// Moments of the last restarts, as far as `restart.window` asks.
    #[serde(default)]
    pub recent: Vec<Moment>,
    /// Idle: since when it waits for nothing but the facts of `wait_for`.
    #[serde(default)]
    pub waits_since: Option<Moment>,
    /// How far it has ever come since boot: what milestones ask for.
    #[serde(default)]
    pub reached: Reached,
    /// [`crate::change::Identity::process`] of its last run.
    #[serde(default)]
    pub ran_as: Option<u64>,
    /// [`crate::change::Identity::whole`] as it was when it came to rest last.
    #[serde(default)]
    pub rests_as: Option<u64>,
    /// Why it is in its state, where no exit tells.
    #[serde(default)]
    pub note: Option<String>,
    /// What the checks of its present run, or of its last one, have found.
    #[serde(default)]
    pub health: Health,
    /// It is declared no more, and the rest of it is being cleared away.
    #[serde(default)]
    pub forgotten: bool,
    /// Of a job: its runs.
    #[serde(default)]
    pub job: Ledger,
    /// The hook that runs while it has no process.
    #[serde(default)]
    pub around: Option<Doing>,
    /// `hooks.pre_start` has begun or, when nothing is under way, has run for a start of that
    /// [`crate::change::Identity::process`].
    #[serde(default)]
    pub prepared: Option<u64>,
    /// A run has ended since `hooks.post_stop` ran last.
    #[serde(default)]
    pub unswept: bool,
}

/// How far a unit has ever come since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Its process was executed.
    pub started: bool,
    /// It was ready.
    pub ready: bool,
    /// It ended with success, or was skipped.
    pub completed: bool,
}

impl Reached {
    /// Takes a state in.
    pub fn note(&mut self, life: Life) {
        match life {
            Life::Running => self.started = true,
            Life::Ready => self.ready = true,
            Life::Completed | Life::Skipped => self.completed = true,
            _ => {}
        }
    }
}

/// One run of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// From [`Record::runs`].
    pub number: u64,
    /// Process id in the node's namespace.
    pub pid: i32,
    /// When it was made.
    pub started: Moment,
    /// [`crate::change::Identity::process`] of the unit it was made from.
    pub fingerprint: u64,
    /// [`crate::change::Identity::limits`] as they were written last; none: nobody knows.
    #[serde(default)]
    pub limits: Option<u64>,
    /// [`crate::change::Identity::checks`] of the checks that are carried out; none: nobody knows.
    #[serde(default)]
    pub checks: Option<u64>,
    /// Stopping: when it is killed.
    pub stop_deadline: Option<Moment>,
    /// It was killed because it was not ready in time.
    pub timed_out: bool,
    /// It was stopped because it had run for `runtime_max`.
    #[serde(default)]
    pub expired: bool,
    /// Those whom its start came after, so that its stop comes before theirs even when it is no longer declared.
    #[serde(default)]
    pub after: BTreeSet<Name>,
    /// Number of the run in whose network namespace it is, of the unit that owns it.
    #[serde(default)]
    pub joined: Option<u64>,
    /// Volumes that it has mounted.
    #[serde(default)]
    pub volumes: BTreeSet<Name>,
    /// Why it could not be started: a step of its set-up, or its network. Its end follows.
    pub failure: Option<String>,
    /// It was ended for a check that failed: which, and what it found.
    #[serde(default)]
    pub unhealthy: Option<String>,
    /// What it has said of itself.
    #[serde(default)]
    pub talk: Talk,
    /// What is being done beside its process.
    #[serde(default)]
    pub doing: Option<Doing>,
    /// Hooks that have run.
    #[serde(default)]
    pub done: BTreeSet<Task>,
    /// How its last reload ended.
    #[serde(default)]
    pub reloaded: Option<Reloaded>,
    /// Stopping: its stop signal was sent.
    #[serde(default)]
    pub signalled: bool,
    /// Stopping: its ports are taken back, and the stop signal waits for this.
    #[serde(default)]
    pub signal_at: Option<Moment>,
    /// Since when somebody has wanted it frozen.
    #[serde(default)]
    pub paused: Option<Moment>,
    /// Versions of what it was given, [`crate::supplies::versions`].
    #[serde(default)]
    pub supplies: BTreeMap<String, u64>,
    /// Something of it has changed: when it is started anew for that.
    #[serde(default)]
    pub renew_at: Option<Moment>,
}

impl Run {
    /// Goes on after a pause. The time of the pause counts for nothing that the run has to do by a certain time.
    pub fn resume(&mut self, now: Moment) {
        if let Some(paused) = self.paused.take() {
            let away = now.since(paused);
            self.started = self.started.after(away);
            self.talk.fed = self.talk.fed.map(|fed| fed.after(away));
            if let Some(doing) = &mut self.doing {
                doing.deadline = doing.deadline.after(away);
            }
        }
    }
}

/// What people asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Nothing: the unit file decides.
    #[default]
    Auto,
    /// `berth start`.
    Started,
    /// `berth stop`.
    Stopped,
}
