//! The file of events: lines of JSON in RAM, two files in a ring, read by session processes without us.
//!
//! The truth of an event is the record that it came with ([`super::events`]): this file follows, and a supervisor that
//! was killed between the two writes is made up for by the next one. A line that was cut short is cut off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use berth_units::wire::event::Event;
use berth_units::wire::log::LOG_CURRENT;
use serde::Deserialize;

use crate::error;

/// Each of the two files, bytes: some thousand events in all.
const FILE_MAX: u64 = 256 << 10;
/// The older one.
const OLDER: &str = "1";

/// The end of the file, and the number of the last event.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    /// Of the last event that was given one.
    last: u64,
    /// Lines that could not be written yet.
    waiting: Vec<u8>,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl Journal {
    /// As it was left; without any event in it the last number is what `begin` gives.
    pub fn open(dir: &Path, begin: impl FnOnce() -> u64) -> Self {
        let current = dir.join(LOG_CURRENT);
        let last = cut_torn_line(&current).or_else(|| last_of(&fs::read(dir.join(OLDER)).ok()?));
        Self { dir: dir.to_owned(), last: last.unwrap_or_else(begin), waiting: Vec::new() }
    }

    /// Number of the last event.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// A new number.
    pub fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Writes those events down that are newer than all that are there: what a supervisor before us did not come to.
    pub fn catch_up(&mut self, mut events: Vec<Event>) {
        events.sort_by_key(|event| event.seq);
        events.retain(|event| event.seq > self.last);
        self.last = events.last().map_or(self.last, |event| event.seq);
        self.append(&events);
    }

    /// Writes events down that have their numbers.
    pub fn append(&mut self, events: &[Event]) {
        for event in events {
            // No member of an event is anything that JSON has no form for.
            self.waiting.extend(serde_json::to_vec(event).unwrap_or_default());
            self.waiting.push(b'\n');
        }
        match self.write() {
            Ok(()) => self.waiting.clear(),
            Err(error) => {
                error!(
                    "cannot write events to '{}': {error}; trying again with the next",
                    self.dir.display()
                );
                if self.waiting.len() as u64 > FILE_MAX {
                    self.waiting.clear();
                }
            }
        }
    }

    fn write(&self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.dir)?;
        let current = self.dir.join(LOG_CURRENT);
        let len = fs::metadata(&current).map_or(0, |found| found.len());
        if len > 0 && len + self.waiting.len() as u64 > FILE_MAX {
            fs::rename(&current, self.dir.join(OLDER))?;
        }
        let mut file = OpenOptions::new().append(true).create(true).open(&current)?;
        let before = file.metadata()?.len();
        let written = file.write_all(&self.waiting);
        if written.is_err() {
            // Half a line would spoil the next one.
            file.set_len(before)?;
        }
        written
    }
}

/// Cuts off what follows the last line break; the number of the last event that is left.
fn cut_torn_line(path: &Path) -> Option<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(2 * FILE_MAX).read_to_end(&mut bytes).ok()?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len()
        && let Err(error) = cut(&file, whole)
    {
        error!("cannot cut '{}': {error}; a reader will see half a line", path.display());
    }
    last_of(bytes.get(..whole)?)
}

fn cut(file: &File, len: usize) -> io::Result<()> {
    file.set_len(u64::try_from(len).unwrap_or(0))
}

fn last_of(bytes: &[u8]) -> Option<u64> {
    let numbers = bytes.split(|byte| *byte == b'\n').rev();
    let mut numbers = numbers.filter_map(|line| serde_json::from_slice::<Numbered>(line).ok());
    numbers.next().map(|line| line.seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_units::wire::event::Kind;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("berth-journal-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&dir));
            Self(dir)
        }

        fn numbers(&self) -> Vec<u64> {
            let read = |name: &str| fs::read_to_string(self.0.join(name)).unwrap_or_default();
            let text = read(OLDER) + &read(LOG_CURRENT);
            text.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().seq).collect()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn event(seq: u64, text: &str) -> Event {
        let (time, detail) = ("T".to_owned(), serde_json::json!({}));
        Event { seq, time, unit: None, kind: Kind::Boot, text: text.to_owned(), detail }
    }

    #[test]
    fn numbers_go_on_and_what_was_missed_is_made_up_for() {
        let dir = Dir::new("numbers");
        let mut journal = Journal::open(&dir.0, || 1_000_000);
        assert_eq!(journal.next(), 1_000_001);
        journal.append(&[event(1_000_001, "a")]);
        // Killed before the next line was written; its record has both of its events.
        let mut journal = Journal::open(&dir.0, || 7);
        assert_eq!(journal.last(), 1_000_001);
        journal.catch_up(vec![event(1_000_003, "c"), event(1_000_001, "a"), event(1_000_002, "b")]);
        assert_eq!(journal.next(), 1_000_004);
        assert_eq!(dir.numbers(), [1_000_001, 1_000_002, 1_000_003]);
    }

    #[test]
    fn a_line_that_was_cut_short_is_written_again() {
        let dir = Dir::new("torn");
        let mut journal = Journal::open(&dir.0, || 0);
        journal.append(&[event(1, "a"), event(2, "b")]);
        let path = dir.0.join(LOG_CURRENT);
        let text = fs::read_to_string(&path).unwrap();
        for len in text.find('\n').unwrap() + 1..text.len() {
            fs::write(&path, &text[..len]).unwrap();
            let mut journal = Journal::open(&dir.0, || 0);
            assert_eq!(journal.last(), 1, "{len}");
            journal.catch_up(vec![event(2, "b")]);
            assert_eq!(dir.numbers(), [1, 2], "{len}");
        }
    }

    #[test]
    fn the_ring_is_bounded_and_keeps_the_newest() {
        let dir = Dir::new("ring");
        let mut journal = Journal::open(&dir.0, || 0);
        let text = "x".repeat(1000);
        for _ in 0..1000 {
            let seq = journal.next();
            journal.append(&[event(seq, &text)]);
        }
        let numbers = dir.numbers();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert_eq!(numbers.last(), Some(&1000));
        let len = |name: &str| fs::metadata(dir.0.join(name)).unwrap().len();
        assert!(len(LOG_CURRENT) <= FILE_MAX && len(OLDER) <= FILE_MAX);
        // Killed between the two steps of a rotation.
        fs::rename(dir.0.join(LOG_CURRENT), dir.0.join(OLDER)).unwrap();
        assert_eq!(Journal::open(&dir.0, || 0).last(), 1000);
    }
}
