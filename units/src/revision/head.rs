//! `head.toml`: which revision is good, which one is on trial, which ones are not to be tried again.
//!
//! Every berth, older or newer, has to read this file. So it only grows: a key that this berth does not know is kept as
//! it is, and an absent one means what it meant before there was such a key.

use serde::{Deserialize, Serialize};
use toml::Table;

use super::{KEEP, Reason};

/// `format` of this berth.
pub const FORMAT: u64 = 1;
/// Failed revisions that are remembered, the newest of them.
pub const BAD_MAX: usize = 64;

/// Between the name of the file and a number.
const SET_ASIDE: &str = ".unreadable-";

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u64,
    /// In force unless another one is on trial; 0 is the factory's.
    pub good: u64,
    /// On trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trying: Option<u64>,
    /// The newest that was ever taken up: a folder with a greater number is new.
    pub last: u64,
    /// Good ones before it, in the order in which they became good.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<u64>,
    /// Kept whatever comes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pinned: Vec<u64>,
    /// Hash of the set in the folder of units put there by hand that was seen last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by_hand: String,
    /// All volumes are to be removed before the next boot starts a unit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_volumes: bool,
    /// Which one was good is not known. Until one is found good no volume is discarded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// How the trial goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialNote>,
    /// The OS of each; absent on a node that has only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// Failed ones, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bad: Vec<Bad>,
    /// What a newer berth has written.
    #[serde(flatten)]
    pub rest: Table,
}

/// `[trial]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrialNote {
    /// Boots that it has been through.
    pub boots: u64,
    /// When it began, by the clock on the wall: for people, nothing is decided by it.
    pub started: String,
    /// Seconds that it may take in all.
    pub deadline: u64,
    /// Seconds of it that earlier boots have taken, as far as they could write them down.
    pub spent: u64,
    /// What the revision is remembered by should it fail.
    pub digest: String,
    /// Units that were failing before, whose failing says nothing of it.
    pub excused: Vec<String>,
}

/// `[slot]`: sequence numbers of OS images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slot {
    /// Of the good revision.
    pub good_seq: u64,
    /// Of the one on trial, when that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trying_seq: Option<u64>,
    /// The next that is given.
    pub next_seq: u64,
}

/// One of `[[bad]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bad {
    /// What it is known by.
    pub digest: String,
    /// Its number when it failed.
    pub revision: u64,
    /// Why, a [`Reason`] as text.
    pub reason: String,
    /// When, by the clock on the wall.
    pub at: String,
    /// Which one was returned to.
    pub returned_to: u64,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            format: FORMAT,
            good: 0,
            trying: None,
            last: 0,
            before: Vec::new(),
            pinned: Vec::new(),
            by_hand: String::new(),
            without_volumes: false,
            lost: false,
            trial: None,
            slot: None,
            bad: Vec::new(),
            rest: Table::new(),
        }
    }
}

impl Head {
    /// Reads the file.
    ///
    /// # Errors
    /// It is no TOML, or a key that every berth knows has another type.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// A number is over what TOML can hold.
    pub fn print(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Which revision is to run.
    pub fn current(&self) -> u64 {
        self.trying.unwrap_or(self.good)
    }

    /// In place of one that cannot be read: nobody knows which of the revisions that are `present` was good, so all of
    /// them stay, and what lies in the folder of units put there by hand (its hash) is not news.
    pub fn in_place_of_lost(present: Vec<u64>, by_hand: String) -> Self {
        let last = present.iter().copied().max().unwrap_or_default();
        Self { last, pinned: present, by_hand, lost: true, ..Self::default() }
    }

    /// A revision is on trial from now on; one that was is given up without a verdict. It may have broken units itself:
    /// those that were failing before it are excused, and no others.
    pub fn begin(&mut self, revision: u64, mut note: TrialNote) {
        if let (Some(_), Some(given_up)) = (self.trying, &mut self.trial) {
            note.excused = std::mem::take(&mut given_up.excused);
        }
        self.last = self.last.max(revision);
        self.forget_slot();
        self.trying = Some(revision);
        self.trial = Some(note);
    }

    /// The trial has succeeded.
    pub fn commit(&mut self) {
        let Some(revision) = self.trying else {
            return;
        };
        if let Some(slot) = &mut self.slot
            && let Some(seq) = slot.trying_seq.take()
        {
            slot.good_seq = seq;
        }
        self.settle(revision);
    }

    /// A revision is good from now on, without a trial or after it.
    pub fn settle(&mut self, revision: u64) {
        self.last = self.last.max(revision);
        if revision != self.good {
            self.before.retain(|one| *one != revision && *one != self.good);
            self.before.push(self.good);
        }
        self.good = revision;
        self.lost = false;
        self.forget_old();
        self.end();
    }

    /// Of those that are not kept on the disk nothing has to be known.
    fn forget_old(&mut self) {
        let newer = self.before.split_off(self.before.len().saturating_sub(KEEP));
        self.before.retain(|one| self.pinned.contains(one));
        self.before.extend(newer);
    }

    /// The trial has failed.
    pub fn fail(&mut self, reason: &Reason, at: &str) {
        let (Some(revision), Some(trial)) = (self.trying, self.trial.clone()) else {
            return self.end();
        };
        self.bad.retain(|bad| bad.digest != trial.digest);
        self.bad.push(Bad {
            digest: trial.digest,
            revision,
            reason: reason.to_string(),
            at: at.to_owned(),
            returned_to: self.good,
        });
        let over = self.bad.len().saturating_sub(BAD_MAX);
        self.bad.drain(..over);
        self.end();
    }

    /// The trial is over.
    pub fn end(&mut self) {
        self.forget_slot();
        self.trying = None;
        self.trial = None;
    }

    /// Why a revision is not to be tried, if it is not.
    pub fn is_bad(&self, digest: &str) -> Option<&Bad> {
        self.bad.iter().find(|bad| bad.digest == digest)
    }

    /// Somebody insists.
    pub fn forgive(&mut self, digest: &str) {
        self.bad.retain(|bad| bad.digest != digest);
    }

    /// The good one before the one in force: where a rollback without a number leads.
    pub fn one_before(&self) -> Option<u64> {
        let before = self.before.iter().copied().filter(|one| *one != self.good);
        let older = before.clone().filter(|one| *one < self.good).max();
        older.or(before.max())
    }

    fn forget_slot(&mut self) {
        if let Some(slot) = &mut self.slot {
            slot.trying_seq = None;
        }
    }
}

/// The name under which a head that cannot be read is kept, beside that which takes its place; `free` tells whether
/// nothing has that name.
pub fn set_aside(name: &str, free: impl Fn(&str) -> bool) -> Option<String> {
    (1..1000).map(|number| format!("{name}{SET_ASIDE}{number}")).find(|name| free(name))
}

/// Whether `found` is such a name.
pub fn is_set_aside(name: &str, found: &str) -> bool {
    found.strip_prefix(name).is_some_and(|rest| rest.starts_with(SET_ASIDE))
}
