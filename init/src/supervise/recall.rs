//! What is asked about revisions: their history, the way back, what is kept.

use std::path::Path;

use berth_units::addresses::assign;
use berth_units::plan::changes;
use berth_units::revision::Meta;
use berth_units::time::seconds;
use berth_units::wire::control::{Applied, Fault, History, RevisionState, RevisionStatus, Rollback, Then};
use serde_json::{Value, json};

use super::head::{self, REVISIONS_DIR};
use super::source;
use super::{Supervisor, clock};
use crate::notice;

fn refused<T>(why: String) -> Result<T, Fault> {
    Err(Fault::Failed { why })
}

impl Supervisor {
    /// Every revision that is kept, and every one that has failed.
    pub(super) fn history(&self) -> History {
        let dir = Path::new(REVISIONS_DIR);
        let mut kept = head::present(dir);
        kept.retain(|one| *one <= self.head.last);
        let mut all: Vec<_> = kept.iter().map(|one| self.kept_status(dir, *one)).collect();
        let failed = self.head.bad.iter().filter(|bad| !kept.contains(&bad.revision));
        all.extend(failed.map(|bad| RevisionStatus {
            revision: bad.revision,
            state: RevisionState::Bad,
            at: Some(bad.at.clone()),
            age_seconds: age(&bad.at),
            why: bad.reason.clone(),
            returned_to: Some(bad.returned_to),
            ..RevisionStatus::default()
        }));
        all.push(self.kept_status(dir, 0));
        all.sort_by_key(|one| std::cmp::Reverse(one.revision));
        History { revisions: all }
    }

    fn kept_status(&self, dir: &Path, revision: u64) -> RevisionStatus {
        let head = &self.head;
        let meta = if revision == 0 { Meta::default() } else { head::meta(dir, revision) };
        let is_good = revision == 0 || revision == head.good || head.before.contains(&revision);
        let state = match () {
            () if head.trying == Some(revision) => RevisionState::Trying,
            () if is_good => RevisionState::Good,
            () => RevisionState::Dropped,
        };
        let at = (!meta.at.is_empty()).then_some(meta.at);
        RevisionStatus {
            revision,
            state,
            in_force: revision == self.set.revision,
            pinned: head.pinned.contains(&revision),
            kept: true,
            age_seconds: at.as_deref().and_then(age),
            at,
            from: (!meta.from.is_empty()).then_some(meta.from),
            why: if revision == 0 { "the factory's".to_owned() } else { meta.why },
            returned_to: None,
        }
    }

    /// Puts an earlier revision on trial, or ends a trial.
    pub(super) fn ask_rollback(&mut self, asked: &Rollback) -> Result<Applied, Fault> {
        let target = match (asked.revision, self.head.trying) {
            (Some(revision), _) => revision,
            (None, Some(_)) => self.head.good,
            (None, None) => match self.head.one_before() {
                Some(revision) => revision,
                None => return refused("there is no good revision before the one in force".to_owned()),
            },
        };
        if target == self.head.current() {
            return refused(format!("revision {target} is in force"));
        }
        let dir = Path::new(REVISIONS_DIR);
        if target != 0 && !head::present(dir).contains(&target) {
            return refused(format!("there is no revision {target}: 'berth history' lists them"));
        }
        let meta = if target == 0 { Meta::default() } else { head::meta(dir, target) };
        if let Some(bad) = self.head.is_bad(&meta.digest).filter(|_| target != self.head.good) {
            return refused(format!("revision {target} has failed: {}", bad.reason));
        }
        let set =
            source::read_revision(target).or_else(|why| refused(format!("revision {target}: {why}")))?;
        let mut declared = set.declared.clone();
        let (leases, _) = assign(&declared, &self.leases);
        super::boot::complete(&mut declared, &self.images, &leases);
        let applied = Applied {
            set: set.hash.clone(),
            applied: !asked.dry_run,
            revision: target,
            changes: changes(&self.set.declared, &declared, &self.observed),
            node: Vec::new(),
        };
        if asked.dry_run {
            return Ok(applied);
        }
        notice!("asked to return to revision {target}");
        if target == self.head.good {
            let mut head = self.head.clone();
            head.end();
            self.replace_head(head).or_else(refused)?;
            self.take_good();
        } else {
            self.begin_trial(target, meta.digest, set).or_else(refused)?;
        }
        Ok(applied)
    }

    pub(super) fn ask_pin(&mut self, revision: u64, keep: bool) -> Result<Value, Fault> {
        if revision == 0 {
            return refused("the factory revision comes with the OS image: it is always kept".to_owned());
        }
        if keep && !head::present(Path::new(REVISIONS_DIR)).contains(&revision) {
            return refused(format!("there is no revision {revision}: 'berth history' lists them"));
        }
        let mut head = self.head.clone();
        head.pinned.retain(|one| *one != revision);
        if keep {
            head.pinned.push(revision);
        }
        self.replace_head(head).or_else(refused)?;
        self.remove_old();
        Ok(json!({}))
    }

    /// The factory revision is good from now on: nobody asks its units first.
    pub(super) fn ask_reset(&mut self, volumes: bool) -> Result<Value, Fault> {
        notice!("asked to return to the factory revision{}", if volumes { ", without volumes" } else { "" });
        let mut head = self.head.clone();
        head.without_volumes = volumes;
        head.settle(0);
        self.replace_head(head).or_else(refused)?;
        if volumes {
            return self.ask_shutdown(Then::Reboot);
        }
        self.take_good();
        Ok(json!({}))
    }
}

/// Seconds since a time that was written down.
fn age(at: &str) -> Option<u64> {
    Some(clock::wall().saturating_sub(seconds(at)?))
}
