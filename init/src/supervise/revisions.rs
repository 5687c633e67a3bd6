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
use berth_units::wire::control::{Applied, Then};

use super::boots::{self, Line};
use super::head::{self, Found, REVISIONS_DIR};
use super::records::RUN_DIR;
use super::source::{self, Set};
use super::{Supervisor, clock, records, volumes};
use crate::kmsg::Chain;
use crate::session::Request;
use crate::session::store::{self, Revision};
use crate::{error, notice};

/// The version of the OS, as a lock names it.
pub const OS: &str = env!("CARGO_PKG_VERSION");
/// The record of boots.
const BOOTS: &str = "/data/boots.log";
/// Why the factory's runs after a head was lost.
const LOST: &str = "which revision was good is not known: the factory's runs, and no volume is discarded";
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
        let without = self.find_head();
        self.decide_boot();
        let has_head = without.is_none();
        let set = without.unwrap_or_else(|| self.read_current());
        self.take_set(set);
        self.take_up();
        if has_head {
            self.take_by_hand(false);
        }
    }

    /// Reads the head, or makes one; where none can be made, the set that runs without.
    fn find_head(&mut self) -> Option<Set> {
        match head::read(dir()) {
            Found::Head(head) => self.head = *head,
            // The power was cut before another one was written.
            Found::Absent if head::is_unreadable_kept(dir()) => {
                self.head = in_place_of_lost();
                self.write_head();
            }
            Found::Absent => {
                let last = head::present(dir()).into_iter().max().unwrap_or_default();
                self.head = Head { last, ..Head::default() };
                return self.adopt_by_hand();
            }
            Found::Unreadable(why) => {
                self.head = in_place_of_lost();
                self.set_head_aside(&why);
            }
        }
        None
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
        if let Some(is_done) = records::read::<bool>(Path::new(RUN_DIR), DECIDED) {
            return self.finish_reset(is_done);
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
        let had_volumes = std::mem::take(&mut head.without_volumes);
        if had_volumes {
            volumes::put_all_away();
        }
        let is_written = head == self.head || {
            self.head = head;
            self.write_head()
        };
        self.note_boot(Line {
            os: Some(OS.to_owned()),
            revision: Some(self.head.current()),
            last_end: Some(text),
            intent: None,
            ..Line::default()
        });
        if let Err(error) = records::write(Path::new(RUN_DIR), DECIDED, &(is_written || !had_volumes), false)
        {
            error!("{}; ignoring", Chain(&error));
        }
    }

    /// A head that wants volumes removed after it was decided what this boot does; `is_done`: the disk knows of those
    /// that were removed.
    fn finish_reset(&mut self, is_done: bool) {
        if !self.head.without_volumes {
            return;
        }
        if !is_done {
            self.head.without_volumes = false;
            self.write_head();
            return;
        }
        // The supervisor before this one has died before it asked for the boot that removes them.
        if let Err(fault) = self.ask_shutdown(Then::Reboot) {
            error!("cannot reboot to remove the volumes: {fault:?}; the next boot does it");
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
        }
        // There may be room by now for what could not be written before.
        if matches!(head::read(dir()), Found::Head(found) if *found != self.head) {
            self.write_head();
        }
        let intent = self.asked_end.map_or("shutdown", |then| match then {
            Then::Reboot => "reboot",
            Then::Poweroff => "poweroff",
        });
        self.note_boot(Line { intent: Some(intent.to_owned()), ..Line::default() });
    }

    /// The head, as it has to be found by whoever comes next; whether it will be.
    pub(super) fn write_head(&self) -> bool {
        let written = self.put_on_disk(&self.head);
        if let Err(why) = &written {
            error!("{why}; the next boot may run another revision");
        }
        written.is_ok()
    }

    /// Another head: on the disk first. Why the one before stays, where it does.
    pub(super) fn replace_head(&mut self, head: Head) -> Result<(), String> {
        self.put_on_disk(&head)?;
        self.head = head;
        Ok(())
    }

    fn put_on_disk(&self, head: &Head) -> Result<(), String> {
        if !self.head_lasts {
            return Ok(());
        }
        head::write(dir(), head, self.lasting)
            .map_err(|error| format!("cannot write '{REVISIONS_DIR}/head.toml': {error}"))
    }

    /// What is to run now; where that cannot be read, what ran before it.
    pub(super) fn read_current(&mut self) -> Set {
        let current = self.head.current();
        let why = match source::read_revision(current) {
            Ok(set) => {
                let is_lost = self.head.lost && self.head.trying.is_none();
                return Set { fault: is_lost.then(|| LOST.to_owned()), ..set };
            }
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
            Ok(set) => {
                if let Err(why) = self.begin_trial(newest, meta.digest, set) {
                    self.stay(format!("revision {newest} cannot be put on trial: {why}"));
                }
            }
            Err(why) => {
                self.head.last = newest;
                self.write_head();
                self.stay(format!("revision {newest} cannot be read: {why}"));
            }
        }
    }

    /// Goes on with what runs, and says why nothing better does.
    fn stay(&mut self, why: String) {
        error!("{why}; nothing was changed");
        self.take_set(Set { fault: Some(why), ..self.set.clone() });
    }

    /// A revision is on trial from now on: the head says so first. Why it is not, where nothing was changed.
    pub(super) fn begin_trial(&mut self, revision: u64, digest: String, set: Set) -> Result<(), String> {
        let failing = |name: &&Name| {
            let unit = self.set.declared.units.get(*name);
            unit.zip(self.observed.units.get(*name)).is_some_and(|(unit, seen)| is_excused(unit, seen))
        };
        let excused = set.declared.units.keys().filter(failing).map(ToString::to_string).collect();
        let deadline = set.declared.units.values().map(|unit| unit.update.deadline.as_secs()).max();
        let mut head = self.head.clone();
        // Whoever had it written has insisted, or it has never failed.
        head.forgive(&digest);
        let started = now_text();
        let deadline = deadline.unwrap_or_default();
        head.begin(revision, TrialNote { started, deadline, digest, excused, ..TrialNote::default() });
        let runs = self.observed.units.iter().map(|(name, seen)| (name.clone(), seen.record.runs)).collect();
        let before = self.progress.clone();
        // First of all: a trial that the head does not know does no harm, one whose runs are not known would.
        self.keep_progress(Progress { revision, began: clock::now(), runs, ..Progress::default() });
        if let Err(why) = self.replace_head(head) {
            match before {
                Some(before) => self.keep_progress(before),
                None => self.forget_progress(),
            }
            return Err(why);
        }
        notice!("revision {revision} is on trial; {} is good", self.head.good);
        self.take_set(set);
        Ok(())
    }

    /// Puts the good revision in force again.
    pub(super) fn take_good(&mut self) {
        self.forget_progress();
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

    /// The first head of a node whose set was put there before there were revisions: that set is good. Where it cannot
    /// be stored it runs all the same, and no head speaks against the next attempt.
    fn adopt_by_hand(&mut self) -> Option<Set> {
        // What cannot be taken is said when it is looked at the next time.
        if let Some((hash, Ok(found))) = source::read_by_hand() {
            let declared = found.declared.clone();
            let revision = self.as_revision(found, BY_HAND, String::new());
            match store::store(Path::new(super::disks::DATA_DIR), &revision) {
                Ok(number) => {
                    notice!("the set in '{}' is revision {number}", source::DATA_UNITS);
                    self.head.settle(number);
                    self.head.by_hand = hash;
                }
                Err(error) => {
                    let why = format!("cannot make a revision of '{}': {error}", source::DATA_UNITS);
                    error!("{why}; its units run, the next start tries again");
                    self.head.lost = true;
                    return Some(Set { revision: 0, declared, origin: "data", hash, fault: Some(why) });
                }
            }
        }
        self.write_head();
        None
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
        // One that runs without a number has to get one.
        if found.hash == self.set.hash && self.set.revision != 0 {
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

/// What stands for a head that nobody can read.
fn in_place_of_lost() -> Head {
    let by_hand = source::read_by_hand().map_or_else(String::new, |(hash, _)| hash);
    Head::in_place_of_lost(head::present(dir()), by_hand)
}

/// `from` of a set that was put there.
const BY_HAND: &str = "hand";
