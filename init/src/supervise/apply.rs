//! Another unit set from a client: checked as at boot, compared with what runs, and handed to a process that stores it.
//!
//! It is taken up when it has got its number, as any revision that is found: there is one way in.

use std::collections::BTreeMap;

use berth_units::addresses::assign;
use berth_units::plan::changes;
use berth_units::spec::{Declared, Node};
use berth_units::stock::absent_images;
use berth_units::wire::control::{Applied, Apply, Change, Deed, Fault, check_place, set_hash};
use berth_units::{SourceFile, parse_set};
use serde_json::Value;

use super::source::Found;
use super::{Supervisor, source};
use crate::session::Request;

/// Units that the history names of one revision.
const SUMMARY_MAX: usize = 4;

/// What becomes of an Apply.
pub enum Outcome {
    /// Nothing has to be written.
    Said(Applied),
    /// These files have to be; then that is the answer.
    Store(Request),
}

impl Supervisor {
    /// What a set would change, or why it cannot be.
    pub(super) fn ask_apply(&self, apply: Apply) -> Result<Outcome, Fault> {
        let Apply { files, node, dry_run, again } = apply;
        if let Some(error) = files.keys().find_map(|place| check_place(place).err()) {
            return Err(Fault::Failed { why: error.to_string() });
        }
        let mut declared = parse(&files)?;
        let diagnostics = absent_images(&declared, &files, |image| self.images.images.contains_key(image));
        if !diagnostics.is_empty() {
            return Err(Fault::Refused { diagnostics });
        }
        let (leases, _) = assign(&declared, &self.leases);
        super::boot::complete(&mut declared, &self.images, &leases);
        let hash = set_hash(files.iter().map(|(place, text)| (place.as_str(), text.as_str())));
        let is_there = self.set.origin == "data" && self.set.hash == hash && self.set.fault.is_none();
        let applied = Applied {
            set: hash.clone(),
            applied: !dry_run,
            revision: self.set.revision,
            changes: changes(&self.set.declared, &declared, &self.observed),
            node: node.map_or(Vec::new(), |node| node_differences(&self.set.declared.node, &node)),
        };
        let why = summary(&applied.changes);
        let revision = self.as_revision(Found { files, declared, hash }, "apply", why);
        if let Some(bad) = self.head.is_bad(&revision.meta.digest).filter(|_| !again && !is_there) {
            let (number, reason) = (bad.revision, &bad.reason);
            let why = format!(
                "it has failed before, as revision {number}: {reason}; with --again it is tried once more"
            );
            return Err(Fault::Failed { why });
        }
        if dry_run || is_there {
            return Ok(Outcome::Said(applied));
        }
        Ok(Outcome::Store(Request::Store { revision: Box::new(revision), applied }))
    }
}

/// What is changed, for whoever reads the history.
fn summary(changes: &[Change]) -> String {
    let word = |change: &Change| {
        let keys: Vec<_> = change.keys.iter().take(3).map(|key| key.key.as_str()).collect();
        match change.deed {
            Deed::None => None,
            Deed::Create => Some(format!("{} new", change.unit)),
            Deed::Stop => Some(format!("{} gone", change.unit)),
            Deed::Recreate | Deed::Update if keys.is_empty() => Some(change.unit.clone()),
            Deed::Recreate | Deed::Update => Some(format!("{} {}", change.unit, keys.join(" "))),
        }
    };
    let words: Vec<_> = changes.iter().filter_map(word).collect();
    let rest = words.len().saturating_sub(SUMMARY_MAX);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let shown: Vec<_> = words.into_iter().take(SUMMARY_MAX).collect();
    format!("{}{more}", shown.join(", "))
}

/// The set as boot would take it.
fn parse(files: &BTreeMap<String, String>) -> Result<Declared, Fault> {
    let mut sources = source::read_node().map_err(|error| Fault::Failed { why: error.to_string() })?;
    let file = |(path, text): (&String, &String)| SourceFile { path: path.clone(), text: text.clone() };
    sources.extend(files.iter().map(file));
    let checked = parse_set(&sources);
    checked.declared.ok_or(Fault::Refused { diagnostics: checked.diagnostics })
}

/// Keys in which two descriptions of a node differ.
fn node_differences(ours: &Node, theirs: &Node) -> Vec<String> {
    let keys = |node: &Node| match serde_json::to_value(node) {
        Ok(Value::Object(keys)) => keys,
        _ => serde_json::Map::new(),
    };
    let (ours, theirs) = (keys(ours), keys(theirs));
    ours.iter().filter(|(key, value)| theirs.get(*key) != Some(value)).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_compared_key_by_key() {
        let ours = Node::default();
        let mut theirs = Node::default();
        assert_eq!(node_differences(&ours, &theirs), [""; 0]);
        theirs.memory_reserve += 1;
        theirs.kernel_modules.push("x".to_owned());
        assert_eq!(node_differences(&ours, &theirs), ["kernel_modules", "memory_reserve"]);
    }
}
