//! What a change of a unit comes to: nothing, something done in place, or a new process.
//!
//! [`MEANS`] says it for every key; `keys` walks over a unit key by key. A field that stands in neither does not
//! compile, or fails the test. [`Identity`] is the same in numbers, to be compared cheaply and kept over restarts
//! of the supervisor.

mod fields;
mod show;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::spec::Unit;
use fields::{Field, fields};

/// What carries a change of a key out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Means {
    /// Nothing: people read it.
    Note,
    /// Nothing at once: it is read when its time comes.
    Rule,
    /// The log process is told.
    Log,
    /// netd is told.
    Network,
    /// Its checker starts anew.
    Checks,
    /// The limits of its cgroup are written.
    Limits,
    /// A new process.
    Process,
}

/// Every key of a unit, or the table that it is in; the longest path counts.
pub const MEANS: &[(&str, Means)] = &[
    ("description", Means::Note),
    ("documentation", Means::Note),
    ("labels", Means::Note),
    ("annotations", Means::Note),
    ("profiles", Means::Rule),
    // Which units there are; each of them stands for itself.
    ("instances", Means::Note),
    ("enabled", Means::Rule),
    ("start", Means::Rule),
    ("image", Means::Process),
    ("rootfs", Means::Process),
    ("process", Means::Process),
    ("env", Means::Process),
    ("env_files", Means::Process),
    ("env_unset", Means::Process),
    ("env_from_node", Means::Process),
    ("env_proxy", Means::Process),
    ("env_info", Means::Process),
    ("secrets", Means::Process),
    ("configs", Means::Process),
    ("on_change", Means::Rule),
    ("splay", Means::Rule),
    ("memory", Means::Limits),
    // The size of a mount.
    ("memory.on_oom", Means::Rule),
    ("memory.shm_size", Means::Process),
    ("cpu", Means::Limits),
    ("pids", Means::Limits),
    ("io", Means::Limits),
    // What was placed on other processors, or taken from huge pages, is not moved by a write.
    ("cpuset", Means::Process),
    ("hugetlb", Means::Process),
    ("hugetlb_rsvd", Means::Process),
    // Nobody knows what would undo it.
    ("cgroup", Means::Process),
    ("pressure", Means::Rule),
    ("devices", Means::Process),
    ("mounts", Means::Process),
    ("pod", Means::Process),
    ("state_dir", Means::Process),
    ("cache_dir", Means::Process),
    ("runtime_dir", Means::Process),
    // The volumes' limits are set whenever a set is taken.
    ("quota", Means::Rule),
    ("network", Means::Process),
    ("networks", Means::Process),
    ("networks.*.aliases", Means::Network),
    ("ports", Means::Network),
    ("sockets", Means::Process),
    ("type", Means::Process),
    ("schedule", Means::Rule),
    ("job", Means::Rule),
    ("remain_after_exit", Means::Rule),
    ("depends", Means::Rule),
    ("after", Means::Rule),
    ("before", Means::Rule),
    ("conflicts", Means::Rule),
    ("wait_for", Means::Rule),
    ("conditions", Means::Rule),
    // What it says of itself is asked for from its start on, or not at all.
    ("ready", Means::Process),
    ("watchdog", Means::Process),
    ("health", Means::Checks),
    ("image_healthcheck", Means::Checks),
    ("start_timeout", Means::Rule),
    ("runtime_max", Means::Rule),
    ("restart", Means::Rule),
    ("on_failure", Means::Rule),
    ("on_success", Means::Rule),
    ("stop", Means::Rule),
    ("reload", Means::Rule),
    // A hook that a run began without would come out of order.
    ("hooks", Means::Process),
    ("log", Means::Log),
    ("update", Means::Note),
    ("security", Means::Process),
];

/// The means of a key, as its row is called: `memory.max`, `networks.*.ipv4`.
pub const fn means(path: &str) -> Option<Means> {
    let mut found = None;
    let mut longest = 0;
    let mut table = MEANS;
    while let [(known, means), rest @ ..] = table {
        if is_at(path.as_bytes(), known.as_bytes()) && known.len() > longest {
            (found, longest) = (Some(*means), known.len());
        }
        table = rest;
    }
    found
}

/// Whether a path is that table or something in it.
const fn is_at(mut path: &[u8], mut table: &[u8]) -> bool {
    while let ([one, path_rest @ ..], [other, table_rest @ ..]) = (path, table) {
        if *one != *other {
            return false;
        }
        (path, table) = (path_rest, table_rest);
    }
    table.is_empty() && matches!(path, [] | [b'.', ..])
}

/// A unit in numbers: two that are equal here need nothing when one takes the place of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Of all that needs a new process.
    pub process: u64,
    /// Of its limits.
    pub limits: u64,
    /// Of its checks.
    pub checks: u64,
    /// Of everything that does something.
    pub whole: u64,
}

impl Identity {
    /// Of a unit alone.
    pub fn of(unit: &Unit) -> Self {
        let mut hash = Hashes::default();
        fields(unit, &mut |field| hash.take(&field));
        Self { process: hash.process.0, limits: hash.limits.0, checks: hash.checks.0, whole: hash.whole.0 }
    }

    /// Of a process that also depends on something outside of its unit: its addresses, say.
    #[must_use]
    pub fn with(self, outside: &dyn fmt::Debug) -> Self {
        let mix = |hash: u64| {
            let mut fnv = Fnv(hash);
            fnv.take(outside);
            fnv.0
        };
        Self { process: mix(self.process), whole: mix(self.whole), ..self }
    }
}

#[derive(Default)]
struct Hashes {
    process: Fnv,
    limits: Fnv,
    checks: Fnv,
    whole: Fnv,
}

impl Hashes {
    fn take(&mut self, field: &Field<'_>) {
        let part = match field.means {
            Means::Note => return,
            Means::Process => Some(&mut self.process),
            Means::Limits => Some(&mut self.limits),
            Means::Checks => Some(&mut self.checks),
            Means::Rule | Means::Log | Means::Network => None,
        };
        for fnv in part.into_iter().chain([&mut self.whole]) {
            fnv.take(&(field.key, field.entry));
            fnv.take(field.value.debug());
        }
    }
}

/// FNV-1a, fed with what Debug writes.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn take(&mut self, value: &dyn fmt::Debug) {
        // It takes everything; what separates the values is no part of any.
        let _never = write!(self, "{value:?}\0");
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 =
            text.bytes().fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Ok(())
    }
}

/// One key that two versions of a unit differ in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// As in the file: `memory.max`, `env.LOG_LEVEL`.
    pub key: String,
    /// What carries it out.
    pub means: Means,
    /// Before and after, for people; none where a value may be a secret or is too long to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<(String, String)>,
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.values {
            Some((old, new)) => write!(f, "{} {old} -> {new}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

/// What stands in the place of a value that is not set.
const UNSET: &str = "-";

/// The keys that two versions of a unit differ in, each once, in the order of the walk.
pub fn differences(old: &Unit, new: &Unit) -> Vec<KeyChange> {
    let mut before: BTreeMap<(String, Means), Value> = BTreeMap::new();
    fields(old, &mut |field| drop(before.insert((field.path(), field.means), Value::of(&field))));
    let mut changes = Vec::new();
    fields(new, &mut |field| {
        let (path, now) = (field.path(), Value::of(&field));
        match before.remove(&(path.clone(), field.means)) {
            Some(old) if old.debug == now.debug => {}
            old => changes.push(change(path, field.means, old, Some(now))),
        }
    });
    changes.extend(before.into_iter().map(|((path, means), old)| change(path, means, Some(old), None)));
    // A key may be walked over twice: what asks for more counts.
    let mut once: Vec<KeyChange> = Vec::new();
    for change in changes {
        match once.iter_mut().find(|known| known.key == change.key) {
            Some(known) => known.means = known.means.max(change.means),
            None => once.push(change),
        }
    }
    once
}

struct Value {
    debug: String,
    shown: Option<String>,
}

impl Value {
    fn of(field: &Field<'_>) -> Self {
        Self { debug: format!("{:?}", field.value.debug()), shown: field.value.show() }
    }
}

fn change(key: String, means: Means, old: Option<Value>, new: Option<Value>) -> KeyChange {
    let shown = |value: Option<Value>| match value {
        Some(value) => value.shown,
        None => Some(UNSET.to_owned()),
    };
    // Of an entry that came or went the name says all.
    let is_whole = old.is_none() || new.is_none();
    let values = shown(old).zip(shown(new)).filter(|_| !is_whole);
    KeyChange { key, means, values }
}

#[cfg(test)]
mod tests;
