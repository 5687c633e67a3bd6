//! Events: what is new in a record, told with it.
//!
//! An event has its number before its record is written, and lies in the record until the next one: a supervisor that
//! is killed before the write has told nothing, and the next one takes the same step; one that is killed after it has
//! left the event where [`Supervisor::catch_up_events`] finds it. So none is lost, doubled or given another number.

use std::path::Path;

use berth_units::Name;
use berth_units::news::{self, News, NodeSeen, RevisionsSeen, SetSeen};
use berth_units::observed::{NetworkSeen, Record};
use berth_units::plan::hash;
use berth_units::time::rfc3339_micros;
use berth_units::wire::event::{EVENTS_DIR, Event};
use serde::{Deserialize, Serialize};

use super::journal::Journal;
use super::records::{self, RUN_DIR, UNITS_DIR};
use super::source::Set;
use super::{Supervisor, clock};
use crate::error;
use crate::kmsg::Chain;

const NODE: &str = "node";
/// Which numbers may have been given, where they last.
const NUMBERS_DIR: &str = "/data/node";
const NUMBERS: &str = "events";
/// Numbers that a boot takes at once: one write to the disk a boot, whatever happens in it.
const BLOCK: u64 = 1_000_000;

/// A record as it is written down, with the events that it brought.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told<R> {
    /// The record.
    #[serde(flatten)]
    pub record: R,
    /// What was new in it.
    #[serde(default)]
    pub events: Vec<Event>,
}

impl Supervisor {
    /// Writes a unit's record down and tells what is new in it.
    pub(super) fn save(&mut self, name: &Name) {
        let Some(record) = self.observed.units.get(name).map(|seen| seen.record.clone()) else {
            return;
        };
        let unsaid = Record::default();
        let news = news::of_unit(self.saved.get(name).unwrap_or(&unsaid), &record);
        let told = Told { record: &record, events: self.number(Some(name), news) };
        if let Err(error) = records::write(Path::new(UNITS_DIR), name.as_str(), &told, false) {
            error!("{}; ignoring", Chain(&error));
        }
        self.journal.append(&told.events);
        self.saved.insert(name.clone(), record);
    }

    /// The same for the node.
    pub(super) fn tell_node(&mut self) {
        let seen = self.node_seen();
        if self.node.as_ref() == Some(&seen) {
            return;
        }
        let news = news::of_node(self.node.as_ref(), &seen);
        let told = Told { record: &seen, events: self.number(None, news) };
        if let Err(error) = records::write(Path::new(RUN_DIR), NODE, &told, false) {
            error!("{}; ignoring", Chain(&error));
        }
        self.journal.append(&told.events);
        self.node = Some(seen);
    }

    fn node_seen(&self) -> NodeSeen {
        let network = |(name, seen): (&Name, &NetworkSeen)| {
            let why = match seen {
                NetworkSeen::Up => None,
                NetworkSeen::Failed(why) => Some(why.clone()),
            };
            (name.clone(), why)
        };
        let mut daemons = self.daemons.restarts();
        daemons.insert("supervise".to_owned(), u64::from(self.restarts));
        // What is not known yet is as it was.
        let before = self.node.clone().unwrap_or_default();
        let mut networks = before.networks;
        networks.retain(|name, _| self.set.declared.networks.contains_key(name));
        networks.extend(self.observed.networks.iter().map(network));
        NodeSeen {
            set: self.set_seen.clone().or(before.set),
            revisions: Some(RevisionsSeen {
                good: self.head.good,
                trying: self.head.trying,
                failed: self.head.bad.last().map(|bad| (bad.revision, bad.reason.clone())),
            }),
            networks,
            daemons,
            addresses: self.uplink.addresses.iter().map(|net| net.address.to_string()).collect(),
            stopping: self.observed.draining,
        }
    }

    fn number(&mut self, about: Option<&Name>, news: Vec<News>) -> Vec<Event> {
        let mut events = Vec::new();
        for News { about: network, kind, text, detail } in news {
            if self.journal.last().is_multiple_of(BLOCK) {
                take_numbers(self.journal.last(), self.lasting);
            }
            let (seq, time) = (self.journal.next(), rfc3339_micros(clock::wall_micros()));
            events.push(Event { seq, time, unit: network.or_else(|| about.cloned()), kind, text, detail });
        }
        events
    }

    /// Goes on where the supervisor before us was: `events` are those that lie in the units' records.
    pub(super) fn catch_up_events(&mut self, mut events: Vec<Event>) {
        if let Some(Told { record, events: told }) = records::read::<Told<NodeSeen>>(Path::new(RUN_DIR), NODE)
        {
            self.node = Some(record);
            events.extend(told);
        }
        let lasting = self.lasting;
        self.journal = Journal::open(Path::new(EVENTS_DIR), || numbers_taken(lasting));
        self.journal.catch_up(events);
    }
}

/// What tells a set from another one.
pub fn describe_set(set: &Set) -> SetSeen {
    SetSeen {
        origin: set.origin.to_owned(),
        units: set.declared.units.len(),
        fingerprint: hash(&format!("{:?}", set.declared)),
        fault: set.fault.clone(),
    }
}

/// The last number that a boot before this one may have given.
fn numbers_taken(lasting: bool) -> u64 {
    lasting.then(|| records::read(Path::new(NUMBERS_DIR), NUMBERS)).flatten().unwrap_or_default()
}

/// Notes that the numbers after `last` are taken, a block of them.
fn take_numbers(last: u64, lasting: bool) {
    let end = last.saturating_add(BLOCK);
    if lasting
        && numbers_taken(lasting) < end
        && let Err(error) = records::write(Path::new(NUMBERS_DIR), NUMBERS, &end, true)
    {
        error!("{}; the next boot may give numbers of events again", Chain(&error));
    }
}
