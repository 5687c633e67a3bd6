//! Another unit set from a client: checked as at boot, compared with what runs, and handed to a process that stores it.
//!
//! It is taken when it has been renamed into its place, as any set that is put there: there is one way in.

use std::collections::BTreeMap;

use berth_units::addresses::assign;
use berth_units::plan::changes;
use berth_units::spec::{Declared, Node};
use berth_units::stock::absent_images;
use berth_units::wire::control::{Applied, Apply, Fault, check_place, set_hash};
use berth_units::{SourceFile, parse_set};
use serde_json::Value;

use super::{Supervisor, source};
use crate::session::Request;

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
        let Apply { files, node, dry_run } = apply;
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
        let set = set_hash(files.iter().map(|(place, text)| (place.as_str(), text.as_str())));
        let is_there = self.set.origin == "data" && self.set.hash == set && self.set.fault.is_none();
        let applied = Applied {
            set,
            applied: !dry_run,
            changes: changes(&self.set.declared, &declared, &self.observed),
            node: node.map_or(Vec::new(), |node| node_differences(&self.set.declared.node, &node)),
        };
        if dry_run || is_there {
            return Ok(Outcome::Said(applied));
        }
        Ok(Outcome::Store(Request::Store { files, applied }))
    }
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
