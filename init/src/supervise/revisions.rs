//! Which revision is in force: what a boot decides, and how a new one is taken up.
//!
//! There is one way in. Whoever has a new set has it written as a folder with a number (`session::store`); a number
//! above all that were ever taken up is new, and is put on trial, by this supervisor or by the next one. The head is
//! written before the set is taken: what runs is never ahead of what the disk says.

use std::fs;
use std::path::Path;

use berth_units::Name;
use berth_units::revision::{
    Head, LastEnd, Lock, Meta, Progress, Reason, Slots, TrialNote, boot_decision, is_excused, removable,
};
use berth_units::time::rfc3339;
use berth_units::wire::control::Applied;

use super::boots::{self, Line};
use super::head::{self, Found, REVISIONS_DIR};
use super::source::{self, Set};
use super::{Supervisor, clock, records, trial, volumes};
use crate::kmsg::Chain;
use crate::session::Request;
use crate::session::store::{self, Revision};
use crate::{error, notice};

/// The version of the OS, as a lock names it.
pub const OS: &str = env!("CARGO_PKG_VERSION");
/// The record of boots.
const BOOTS: &str = "/data/boots.log";
/// Notes of this boot, in RAM.
const RUN_DIR: &str = "/run/berth";
/// It was decided which revision this boot runs.
const DECIDED: &str = "boot-decided";

fn dir() -> &'static Path {
    Path::new(REVISIONS_DIR)
}

/// The clock on the wall, as it is written down.
pub fn now_text() -> String {
    rfc3339(clock::wall())
}

impl Supervisor {
    /// Reads the head, decides what runs, and puts it in force.
    pub(super) fn open_revisions(&mut self) {
        head::remove_rubbish(dir());
        let fresh =
            || Head { last: head::present(dir()).into_iter().max().unwrap_or_default(), ..Head::default() };
        match head::read(dir()) {
            Found::Head(head) => self.head = *head,
            Found::Absent => {
                self.head = fresh();
                self.adopt_by_hand();
                self.write_head();
            }
            Found::Unreadable(why) => {
                self.head = fresh();
                self.set_head_aside(&why);
            }
        }
        self.decide_boot();
        let set = self.read_current();
        self.take_set(set);
        self.take_up();
        self.take_by_hand(false);
    }

    fn set_head_aside(&mut self, why: &str) {
        match head::keep_unreadable(dir()) {
            Ok(name) => {
                error!(
                    "cannot read '{REVISIONS_DIR}/head.toml': {why}; it is kept as '{name}', running the factory's units"
                );
                self.write_head();
            }
            Err(error) => {
                error!(
                    "cannot read '{REVISIONS_DIR}/head.toml': {why}; nor keep it: {error}; no revision will last"
                );
                self.head_lasts = false;
            }
        }
    }

    /// Once a boot: what the head says about this one, and what becomes of a trial under way.
    fn decide_boot(&mut self) {
        if records::read::<bool>(Path::new(RUN_DIR), DECIDED).is_some() {
            return;
        }
        let (last, text) = match self.lasting {
            true => boots::last_end(Path::new(BOOTS)),
            false => (LastEnd::First, String::new()),
        };
        let decision = boot_decision(&self.head, &Slots::default(), last, &now_text());
        if let (Some(reason), Some(trying)) = (&decision.failed, self.head.trying) {
            error!("revision {trying} has failed: {reason}; back to revision {}", self.head.good);
        }
        let mut head = decision.head;
        if std::mem::take(&mut head.without_volumes) {
            volumes::put_all_away();
        }
        if head != self.head {
            self.head = head;
            self.write_head();
        }
        self.note_boot(Line {
            os: Some(OS.to_owned()),
            revision: Some(self.head.current()),
            last_end: Some(text),
            intent: None,
            ..Line::default()
        });
        if let Err(error) = records::write(Path::new(RUN_DIR), DECIDED, &true, false) {
            error!("{}; ignoring", Chain(&error));
        }
    }

    fn note_boot(&self, line: Line) {
        if self.lasting
            && let Err(error) = boots::append(Path::new(BOOTS), line)
        {
            error!("cannot write '{BOOTS}': {error}; ignoring");
        }
    }

    /// Writes down that the node ends because somebody asked for it, and how long the trial has taken.
    pub(super) fn note_end(&mut self) {
        if let (Some(progress), Some(note)) = (&self.progress, &mut self.head.trial) {
            note.spent = progress.taken(clock::now()).as_secs();
            self.write_head();
        }
        let intent = self.asked_end.map_or("shutdown", |then| match then {
            berth_units::wire::control::Then::Reboot => "reboot",
            berth_units::wire::control::Then::Poweroff => "poweroff",
        });
        self.note_boot(Line { intent: Some(intent.to_owned()), ..Line::default() });
    }

    /// The head, as it has to be found by whoever comes next.
    pub(super) fn write_head(&self) {
        if !self.head_lasts {
            return;
        }
        if let Err(error) = head::write(dir(), &self.head, self.lasting) {
            error!(
                "cannot write '{REVISIONS_DIR}/head.toml': {error}; the next boot may run another revision"
            );
        }
    }

    /// What is to run now; where that cannot be read, what ran before it.
    pub(super) fn read_current(&mut self) -> Set {
        let current = self.head.current();
        let why = match source::read_revision(current) {
            Ok(set) => return set,
            Err(why) => why,
        };
        if self.head.trying.is_some() {
            error!("revision {current} cannot be read: {why}; back to revision {}", self.head.good);
            self.head.fail(&Reason::Unreadable(why), &now_text());
            self.write_head();
            return self.read_current();
        }
        error!("revision {current} cannot be read: {why}; running an older one");
        let older = self.head.before.iter().rev().chain(&[0]).copied();
        let set = older.filter(|one| *one != current).find_map(|one| source::read_revision(one).ok());
        Set { fault: Some(why), ..set.unwrap_or_else(Set::none) }
    }

    /// Puts a revision on trial that has come since the last look.
    pub(super) fn take_up(&mut self) {
        let newest = head::present(dir()).into_iter().max().unwrap_or_default();
        if newest <= self.head.last {
            return;
        }
        let meta = head::meta(dir(), newest);
        if meta.from == BY_HAND {
            self.head.by_hand.clone_from(&meta.set);
        }
        match source::read_revision(newest) {
            Ok(set) => self.begin_trial(newest, meta.digest, set),
            Err(why) => {
                error!("revision {newest} cannot be read: {why}; nothing was changed");
                self.head.last = newest;
                self.write_head();
            }
        }
    }

    /// A revision is on trial from now on: the head says so first.
    pub(super) fn begin_trial(&mut self, revision: u64, digest: String, set: Set) {
        let failing = |name: &&Name| {
            let unit = self.set.declared.units.get(*name);
            unit.zip(self.observed.units.get(*name)).is_some_and(|(unit, seen)| is_excused(unit, seen))
        };
        let excused = set.declared.units.keys().filter(failing).map(ToString::to_string).collect();
        let deadline = set.declared.units.values().map(|unit| unit.update.deadline.as_secs()).max();
        // Whoever had it written has insisted, or it has never failed.
        self.head.forgive(&digest);
        let started = now_text();
        let deadline = deadline.unwrap_or_default();
        self.head.begin(revision, TrialNote { started, deadline, digest, excused, ..TrialNote::default() });
        self.write_head();
        notice!("revision {revision} is on trial; {} is good", self.head.good);
        let runs = self.observed.units.iter().map(|(name, seen)| (name.clone(), seen.record.runs)).collect();
        self.keep_progress(Progress { revision, began: clock::now(), runs, ..Progress::default() });
        self.take_set(set);
    }

    /// Puts the good revision in force again.
    pub(super) fn take_good(&mut self) {
        trial::forget();
        self.progress = None;
        let set = self.read_current();
        self.take_set(set);
        self.remove_old();
    }

    /// Removes revisions that nobody can want any more.
    pub(super) fn remove_old(&self) {
        for revision in removable(&self.head, &head::present(dir()).into_iter().collect()) {
            if let Err(error) = head::remove(dir(), revision) {
                error!("cannot remove revision {revision}: {error}; it is tried again");
            }
        }
    }

    /// What a set of files would be as a revision.
    pub(super) fn as_revision(&self, found: source::Found, from: &str, why: String) -> Revision {
        let source::Found { files, declared, hash } = found;
        let image =
            |reference: &berth_units::Reference| Some(self.images.images.get(reference)?.digest.clone());
        let lock = Lock::of(&declared, OS, image);
        let digest = lock.digest(files.iter().map(|(place, text)| (place.as_str(), text.as_str())));
        let meta = Meta { from: from.to_owned(), at: now_text(), why, set: hash, digest };
        Revision { files, lock, meta, after: self.head.last }
    }

    /// The first head of a node whose set was put there before there were revisions: that set is good.
    fn adopt_by_hand(&mut self) {
        let Some((hash, found)) = source::read_by_hand() else {
            return;
        };
        // What cannot be taken is said when it is looked at the next time.
        let Ok(found) = found else { return };
        let revision = self.as_revision(found, BY_HAND, String::new());
        match store::store(Path::new(super::disks::DATA_DIR), &revision) {
            Ok(number) => {
                notice!("the set in '{}' is revision {number}", source::DATA_UNITS);
                self.head.settle(number);
                self.head.by_hand = hash;
            }
            Err(error) => error!("cannot make a revision of '{}': {error}", source::DATA_UNITS),
        }
    }

    /// Has the set that somebody has put there made a revision, once; `now`: it was put there this moment.
    pub(super) fn take_by_hand(&mut self, now: bool) {
        let Some((hash, found)) = source::read_by_hand() else {
            return;
        };
        if hash == self.head.by_hand && !now {
            return;
        }
        let refused = match found {
            Ok(found) => self.have_stored(found),
            Err(why) => Some(why),
        };
        if let Some(why) = refused {
            error!("the unit set in '{}' is refused, nothing was changed: {why}", source::DATA_UNITS);
            self.take_set(Set { fault: Some(why), ..self.set.clone() });
        }
    }

    /// Starts the process that writes it; why not, where not.
    fn have_stored(&mut self, found: source::Found) -> Option<String> {
        if found.hash == self.set.hash && self.set.origin == "data" {
            self.head.by_hand = found.hash;
            self.write_head();
            self.take_set(Set { fault: None, ..self.set.clone() });
            return None;
        }
        let revision = self.as_revision(found, BY_HAND, String::new());
        if let Some(bad) = self.head.is_bad(&revision.meta.digest) {
            return Some(format!("it has failed before, as revision {}: {}", bad.revision, bad.reason));
        }
        let nobody = fs::OpenOptions::new().write(true).open("/dev/null");
        let request = Request::Store { revision: Box::new(revision), applied: Applied::default() };
        let started = nobody.map_err(|error| error.to_string()).and_then(|nobody| {
            super::control::spawn_session(Some(std::os::fd::AsFd::as_fd(&nobody)), &request, None)
        });
        started.err()
    }
}

/// `from` of a set that was put there.
const BY_HAND: &str = "hand";
