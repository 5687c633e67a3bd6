//! What is new between two states that were written down: the events that a change gives.
//!
//! Whoever writes a record down asks here what to tell of it, so that nothing changes in silence and nothing is told
//! that did not happen. Pure: numbers and times are given by whoever writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Name;
use crate::health::{Verdict, blame};
use crate::human::duration;
use crate::life::Life;
use crate::observed::{Record, Wanted};
use crate::wire::event::Kind;

/// An event without a number.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// A network, where it is not the unit whose record it is.
    pub about: Option<Name>,
    /// What happened.
    pub kind: Kind,
    /// For people.
    pub text: String,
    /// For programs.
    pub detail: Value,
}

impl News {
    fn new(kind: Kind, text: impl Into<String>, detail: Value) -> Self {
        Self { about: None, kind, text: text.into(), detail }
    }
}

/// What is new of a unit.
pub fn of_unit(old: &Record, new: &Record) -> Vec<News> {
    let mut news = Vec::new();
    if old.wanted != new.wanted {
        news.extend(asked(new.wanted));
    }
    // A run may begin where another one ended without a state between: its number tells them apart.
    if old.life != new.life || old.runs != new.runs {
        news.extend(of_life(old, new));
    }
    if old.runs == new.runs {
        news.extend(of_checks(old, new));
    }
    if let (Some(before), Some(run)) = (&old.run, &new.run)
        && before.number == run.number
    {
        news.extend(match (before.paused, run.paused) {
            (None, Some(_)) => Some(News::new(Kind::Paused, "paused", json!({ "run": run.number }))),
            (Some(_), None) => Some(News::new(Kind::Resumed, "goes on", json!({ "run": run.number }))),
            _ => None,
        });
    }
    if new.forgotten && !old.forgotten {
        news.push(News::new(Kind::Forgotten, "declared no more, and forgotten", json!({})));
    }
    news
}

fn asked(wanted: Wanted) -> Option<News> {
    let (text, word) = match wanted {
        Wanted::Auto => return None,
        Wanted::Started => ("asked to start", "started"),
        Wanted::Stopped => ("asked to stop", "stopped"),
    };
    Some(News::new(Kind::Asked, text, json!({ "wanted": word })))
}

fn of_life(old: &Record, new: &Record) -> Option<News> {
    let failed_to_start = old.life == Life::Idle && matches!(new.life, Life::Backoff | Life::Failed);
    if failed_to_start || old.life.has_process() && !new.life.has_process() {
        return Some(exited(old, new));
    }
    let run = new.run.as_ref();
    let number = run.map(|run| run.number);
    let pid = run.map(|run| run.pid);
    Some(match new.life {
        Life::Held => {
            let text = format!("run {} is being set up", number.unwrap_or_default());
            News::new(Kind::Starting, text, json!({ "run": number, "pid": pid }))
        }
        Life::SetUp => return None,
        Life::Running if old.life == Life::Ready => {
            News::new(Kind::Unready, "not ready any more", json!({ "run": number }))
        }
        Life::Running => {
            let text = format!("its program runs, process {}", pid.unwrap_or_default());
            News::new(Kind::Running, text, json!({ "run": number, "pid": pid }))
        }
        Life::Ready => {
            let after = run.map(|run| new.since.since(run.started)).unwrap_or_default();
            let detail = json!({ "run": number, "pid": pid, "after_seconds": after.as_secs_f64() });
            News::new(Kind::Ready, format!("ready after {}", duration(after)), detail)
        }
        Life::Stopping | Life::Killing => ending(new),
        Life::Idle => News::new(Kind::Waiting, "starts as soon as it may", json!({})),
        Life::Skipped => {
            let why = new.note.clone().unwrap_or_default();
            News::new(Kind::Skipped, format!("skipped: {why}"), json!({ "why": why }))
        }
        Life::Stopped => News::new(Kind::Stopped, "stopped", json!({})),
        Life::Backoff | Life::Completed | Life::Failed => exited(old, new),
    })
}

fn ending(new: &Record) -> News {
    let run = new.run.as_ref();
    let why = match run {
        Some(run) if run.unhealthy.is_some() => run.unhealthy.clone(),
        Some(run) if run.timed_out => Some("it was not ready in time".to_owned()),
        Some(run) if run.expired => Some("it has run for its time".to_owned()),
        _ => None,
    };
    let (kind, what) = match new.life {
        Life::Killing => (Kind::Killing, "killed"),
        _ => (Kind::Stopping, "told to stop"),
    };
    let text = why.as_ref().map_or(what.to_owned(), |why| format!("{what}: {why}"));
    News::new(kind, text, json!({ "run": run.map(|run| run.number), "why": why }))
}

fn exited(old: &Record, new: &Record) -> News {
    let how = new.last_exit.as_ref().map_or("ended".to_owned(), ToString::to_string);
    let wait = new.next_try.map(|next| next.since(new.since));
    let next = match (new.life, wait) {
        (Life::Backoff, Some(wait)) => format!("; tried again in {}", duration(wait)),
        (Life::Backoff, None) => "; tried again".to_owned(),
        (Life::Idle, _) => "; starts again".to_owned(),
        (Life::Failed, _) => "; not tried again".to_owned(),
        _ => String::new(),
    };
    let detail = json!({
        "run": old.run.as_ref().map(|run| run.number),
        "exit": new.last_exit,
        "state": new.life.state(false),
        "retry_seconds": wait.map(|wait| wait.as_secs_f64()),
    });
    News::new(Kind::Exited, format!("{how}{next}"), detail)
}

fn of_checks(old: &Record, new: &Record) -> Vec<News> {
    let mut news = Vec::new();
    for (name, seen) in &new.health.checks {
        let before = old.health.checks.get(name).map_or(Verdict::Unknown, |check| check.verdict);
        let text = match seen.verdict {
            verdict if verdict == before => continue,
            Verdict::Unknown => continue,
            Verdict::Passing => format!("check '{name}' passes"),
            Verdict::Failing => blame(name, seen),
        };
        let found = seen.results.last().map(|last| last.text.as_str());
        let detail = json!({ "check": name, "verdict": seen.verdict, "row": seen.row, "found": found });
        news.push(News::new(Kind::Check, text, detail));
    }
    news
}

/// What is written down of the node for the sake of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSeen {
    /// The set in force; none before the first.
    pub set: Option<SetSeen>,
    /// What is known of revisions; none before the first look.
    #[serde(default)]
    pub revisions: Option<RevisionsSeen>,
    /// Networks that netd spoke of: why each failed, or nothing where it is up.
    pub networks: BTreeMap<Name, Option<String>>,
    /// Restarts of our own processes, by name.
    pub daemons: BTreeMap<String, u64>,
    /// Addresses of the uplink.
    pub addresses: Vec<String>,
    /// Every unit is being stopped.
    pub stopping: bool,
}

/// What is known of revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionsSeen {
    /// The good one.
    pub good: u64,
    /// The one on trial.
    pub trying: Option<u64>,
    /// The one that has failed last, and why.
    pub failed: Option<(u64, String)>,
}

/// A set in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSeen {
    /// `data`, `factory` or `none`.
    pub origin: String,
    /// How many units it has.
    pub units: usize,
    /// Tells two sets apart.
    pub fingerprint: u64,
    /// Why a better one is not in force.
    pub fault: Option<String>,
}

/// What is new of the node; of one that has just booted, `old` is none.
pub fn of_node(old: Option<&NodeSeen>, new: &NodeSeen) -> Vec<News> {
    let mut news = Vec::new();
    let first = NodeSeen::default();
    let old = old.unwrap_or_else(|| {
        news.push(News::new(Kind::Boot, "the node started", json!({})));
        &first
    });
    for (name, count) in &new.daemons {
        if *count > old.daemons.get(name).copied().unwrap_or_default() {
            let detail = json!({ "name": name, "restarts": count });
            news.push(News::new(Kind::Daemon, format!("{name} was started again"), detail));
        }
    }
    if let Some(set) = &new.set {
        news.extend(of_set(old.set.as_ref(), set));
    }
    if let (Some(old), Some(new)) = (&old.revisions, &new.revisions) {
        news.extend(of_revisions(old, new));
    }
    news.extend(
        new.networks.iter().filter_map(|(name, state)| of_network(name, old.networks.get(name), state)),
    );
    if old.addresses != new.addresses {
        let text = match new.addresses.is_empty() {
            true => "the uplink has no address".to_owned(),
            false => format!("the uplink has {}", new.addresses.join(" ")),
        };
        news.push(News::new(Kind::Uplink, text, json!({ "addresses": new.addresses })));
    }
    if new.stopping && !old.stopping {
        news.push(News::new(Kind::Shutdown, "stopping every unit", json!({})));
    }
    news
}

fn of_revisions(old: &RevisionsSeen, new: &RevisionsSeen) -> Vec<News> {
    let mut news = Vec::new();
    if let Some((revision, why)) = new.failed.as_ref().filter(|_| old.failed != new.failed) {
        let text = format!("revision {revision} has failed: {why}; back to revision {}", new.good);
        news.push(News::new(Kind::Bad, text, json!({ "revision": revision, "why": why, "good": new.good })));
    }
    if old.good != new.good {
        let text = format!("revision {} is good", new.good);
        news.push(News::new(Kind::Good, text, json!({ "revision": new.good })));
    }
    if let Some(revision) = new.trying.filter(|_| old.trying != new.trying) {
        let text = format!("revision {revision} is on trial");
        news.push(News::new(Kind::Trial, text, json!({ "revision": revision, "good": new.good })));
    }
    news
}

fn of_set(old: Option<&SetSeen>, new: &SetSeen) -> Vec<News> {
    let mut news = Vec::new();
    let fault = |set: &SetSeen| set.fault.clone();
    if let Some(why) = fault(new).filter(|why| old.and_then(fault).as_ref() != Some(why)) {
        let detail = json!({ "why": why });
        news.push(News::new(Kind::SetRefused, format!("a unit set is refused: {why}"), detail));
    }
    let mark = |set: &SetSeen| (set.origin.clone(), set.fingerprint);
    if old.map(mark) != Some(mark(new)) {
        let text = format!("unit set from {}: {} units", new.origin, new.units);
        let detail = json!({ "source": new.origin, "units": new.units });
        news.push(News::new(Kind::SetTaken, text, detail));
    }
    news
}

fn of_network(name: &Name, old: Option<&Option<String>>, new: &Option<String>) -> Option<News> {
    if old == Some(new) {
        return None;
    }
    let news = match new {
        None => News::new(Kind::NetworkUp, "the network is up", json!({})),
        Some(why) => {
            let text = format!("the network cannot be made: {why}");
            News::new(Kind::NetworkFailed, text, json!({ "why": why }))
        }
    };
    Some(News { about: Some(name.clone()), ..news })
}

#[cfg(test)]
#[path = "news/tests.rs"]
mod tests;
