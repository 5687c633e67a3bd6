//! Revisions: what is asked about them, and the answers.

use serde::{Deserialize, Serialize};

/// Parameters of Rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// To which; without, the end of a trial, or else the good one before the one in force.
    #[serde(default)]
    pub revision: Option<u64>,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// The answer to History.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The newest first; the factory's is the last.
    pub revisions: Vec<RevisionStatus>,
}

/// One revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionStatus {
    /// Its number; 0 is the factory's.
    pub revision: u64,
    /// What is known of it.
    pub state: RevisionState,
    /// It is what runs.
    pub in_force: bool,
    /// It stays whatever comes.
    pub pinned: bool,
    /// Its files are on the disk: it can be returned to.
    pub kept: bool,
    /// RFC 3339: when it was made, or when it failed.
    pub at: Option<String>,
    /// Seconds since then, by the clock on the wall.
    pub age_seconds: Option<u64>,
    /// `apply` or `hand`.
    pub from: Option<String>,
    /// What it changed, or why it failed.
    pub why: String,
    /// Of a failed one: which was returned to.
    pub returned_to: Option<u64>,
}

/// `state` of a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevisionState {
    /// The health of its units has said so.
    Good,
    /// It is on trial.
    Trying,
    /// It has failed, and is not tried again by itself.
    Bad,
    /// Another one took its place before it was found good or bad.
    #[default]
    Dropped,
}

impl std::fmt::Display for RevisionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Trying => "trying",
            Self::Bad => "bad",
            Self::Dropped => "dropped",
        })
    }
}

/// A trial in Status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialStatus {
    /// Which revision is returned to when it fails.
    pub good: u64,
    /// Seconds until it has failed.
    pub left_seconds: f64,
    /// Units whose health decides, and how many of them are healthy now.
    pub gates: usize,
    /// See `gates`.
    pub healthy: usize,
    /// What the others wait for: `UNIT: WHAT`.
    pub waits: Vec<String>,
    /// Boots that it has been through.
    pub boots: u64,
}

/// A revision that has failed, in Status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStatus {
    /// Its number.
    pub revision: u64,
    /// Why.
    pub reason: String,
    /// Which was returned to.
    pub returned_to: u64,
}
