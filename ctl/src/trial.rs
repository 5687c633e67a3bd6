//! Waiting for a revision to be good.

use std::time::{Duration, Instant};

use berth_units::human::duration;
use berth_units::wire::control::{NodeStatus, TrialStatus};

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{note, printable};
use crate::signals::Signals;

/// A revision that is stored is taken up within this time.
const TAKEN_BY: Duration = Duration::from_secs(20);
/// Between two looks at the node.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why a revision is not good.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("revision {revision} has failed and was taken back: {reason}")]
    Failed { revision: u64, reason: String },
    #[error("revision {0} was given up: revision {1} is in force")]
    Dropped(u64, u64),
    #[error("the node has revision {0} and does not take it up")]
    NotTaken(u64),
    #[error("the node refuses revision {0}: {1}")]
    Refused(u64, String),
    #[error("revision {0} is still on trial after {1}")]
    Late(u64, String),
}

/// How to wait.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// At most so long.
    pub timeout: Duration,
    /// Without a word.
    pub quiet: bool,
}

impl Wait {
    /// Waits until the node has found a revision good; `false` when a signal came first.
    pub fn until_good(self, node: &Node, revision: u64, signals: &Signals) -> Result<bool, Failure> {
        let started = Instant::now();
        let mut said = String::new();
        loop {
            let now = client::status(node)?.node;
            if outcome(&now, revision, started.elapsed()).map_err(|error| advise(error, revision))? {
                return Ok(true);
            }
            if started.elapsed() > self.timeout {
                let late = TrialError::Late(revision, duration(self.timeout));
                return Err(Failure::action(late));
            }
            let words = now.trial.as_ref().map(describe).unwrap_or_default();
            if words != said && !self.quiet {
                note(&format!("trying   revision {revision}: {words}\n"));
                said = words;
            }
            if signals.next().is_some() {
                note(&format!(
                    "stopped waiting: the node decides by itself whether revision {revision} is good\n"
                ));
                return Ok(false);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

fn advise(error: TrialError, revision: u64) -> Failure {
    let hint = match &error {
        TrialError::Failed { .. } => {
            Some("'berth history' remembers why; it is not tried again without --again".to_owned())
        }
        TrialError::Dropped(..) => Some("'berth history' tells what became of it".to_owned()),
        TrialError::NotTaken(_) | TrialError::Refused(..) => Some(format!(
            "the node's console says why; 'berth status' shows whether revision {revision} runs"
        )),
        TrialError::Late(..) => None,
    };
    let failure = Failure::action(error);
    hint.into_iter().fold(failure, Failure::hint)
}

/// Whether it is good; not yet; or why it never will be.
fn outcome(now: &NodeStatus, revision: u64, waited: Duration) -> Result<bool, TrialError> {
    if now.revision == revision {
        return Ok(now.trial.is_none());
    }
    if let Some(failed) = now.failed.as_ref().filter(|failed| failed.revision == revision) {
        let reason = printable(&failed.reason).to_string();
        return Err(TrialError::Failed { revision, reason });
    }
    if now.revision > revision {
        return Err(TrialError::Dropped(revision, now.revision));
    }
    // It may speak of an earlier set for a moment.
    match (&now.fault, waited > TAKEN_BY) {
        (_, false) => Ok(false),
        (Some(fault), true) => Err(TrialError::Refused(revision, printable(fault).to_string())),
        (None, true) => Err(TrialError::NotTaken(revision)),
    }
}

/// How a trial goes, in a few words.
pub fn describe(trial: &TrialStatus) -> String {
    let waits: Vec<_> = trial.waits.iter().take(3).map(|wait| printable(wait).to_string()).collect();
    let more = trial.waits.len().saturating_sub(waits.len());
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let colon = if waits.is_empty() { "" } else { "; " };
    format!("healthy {}/{}{colon}{}{more}", trial.healthy, trial.gates, waits.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(value: serde_json::Value) -> NodeStatus {
        let mut all = serde_json::json!({
            "hostname": "n", "version": "0", "kernel": "6", "source": "data", "fault": null, "revision": 3,
            "uptime": 1.0, "storage": "data", "memory_total": 1, "memory_available": 1, "addresses": [],
            "restarts": {},
        });
        all.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn say(value: serde_json::Value, waited: u64) -> String {
        match outcome(&node(value), 4, Duration::from_secs(waited)) {
            Ok(good) => good.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_revision_is_good_when_its_trial_is_over_and_it_still_runs() {
        let trial = serde_json::json!({
            "good": 3, "left_seconds": 20.0, "gates": 3, "healthy": 1, "boots": 0,
            "waits": ["db: its start", "web: waits for 'db'"],
        });
        assert_eq!(say(serde_json::json!({ "revision": 4 }), 0), "true");
        assert_eq!(say(serde_json::json!({ "revision": 4, "trial": trial }), 0), "false");
        let described = describe(&serde_json::from_value(trial).unwrap());
        assert_eq!(described, "healthy 1/3; db: its start; web: waits for 'db'");
        assert_eq!(say(serde_json::json!({}), 0), "false");
        assert!(say(serde_json::json!({}), 60).contains("does not take it up"));
        assert!(say(serde_json::json!({ "fault": "x" }), 60).ends_with(": x"));
        assert!(say(serde_json::json!({ "revision": 5 }), 0).contains("given up"));
        let failed = serde_json::json!({ "revision": 4, "reason": "health web: exit", "returned_to": 3 });
        let said = say(serde_json::json!({ "failed": failed }), 0);
        assert_eq!(said, "revision 4 has failed and was taken back: health web: exit");
    }
}
