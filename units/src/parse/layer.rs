//! Drop-ins: files that are laid over a unit. Tables merge, everything else is replaced.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::text::parse_key;
use super::{SourceFile, check_schema, text};
use crate::codes::{BAD_VALUE, KIND, UNSET};
use crate::fault::{FAULTS_MAX, Fault, Place, clip};
use crate::keys;
use crate::walk::walk;

/// One drop-in, or the file of an instance.
pub(super) struct Layer<'t> {
    table: DeTable<'t>,
    /// Keys that it takes out, with the place that says so.
    unset: Vec<(Vec<String>, Range<usize>)>,
    /// Length of its text.
    pub bytes: usize,
    /// It is laid over units that may lack what it takes out.
    general: bool,
}

/// Reads the file that begins at `start`; none when it cannot be used.
pub(super) fn read<'t>(start: usize, file: &'t SourceFile, faults: &mut Vec<Fault>) -> Option<Layer<'t>> {
    let mut table = text::parse(start, &file.text, faults)?;
    if let Some((key, _)) = table.remove_entry("kind") {
        let fault = Fault::error(KIND, Place(key.span()), "a drop-in cannot say what kind a unit is");
        faults.push(fault.help("take it out; the unit's own file says it"));
    }
    if !check_schema(&table, faults) {
        return None;
    }
    table.remove("schema");
    let mut head = DeTable::new();
    if let Some((key, value)) = table.remove_entry("unset") {
        head.insert(key, value);
    }
    let mut words = Vec::new();
    let (_, mut flaws) = walk(&keys::DROP_IN, start, &head, &mut words);
    let listed = head.get("unset").and_then(|list| list.get_ref().as_array());
    let unset = listed.filter(|_| flaws.is_empty()).map(|list| read_unset(list, faults)).unwrap_or_default();
    faults.append(&mut flaws);
    Some(Layer { table, unset, bytes: file.text.len(), general: false })
}

fn read_unset(list: &DeArray<'_>, faults: &mut Vec<Fault>) -> Vec<(Vec<String>, Range<usize>)> {
    let mut unset = Vec::new();
    for item in list.iter().take(FAULTS_MAX) {
        let text = item.get_ref().as_str().unwrap_or_default();
        match parse_key(text) {
            Some(parts) => unset.push((parts, item.span())),
            None => {
                let fault =
                    Fault::error(BAD_VALUE, Place(item.span()), format!("'{}' is no key", clip(text)));
                faults.push(fault.help("write it as before '=' in a file: \"env.DEBUG\""));
            }
        }
    }
    unset
}

impl<'t> Layer<'t> {
    /// The same, laid over many units.
    pub fn general(self) -> Self {
        Self { general: true, ..self }
    }

    /// Takes its `unset` keys out of the unit, then lays its own over.
    pub fn lay_over(&self, unit: &mut DeTable<'t>, faults: &mut Vec<Fault>) {
        for (parts, span) in &self.unset {
            let own = parts.len() == 1 && parts.iter().all(|part| part == "schema" || part == "kind");
            if own || (!remove(unit, parts) && !self.general) {
                let message = format!("there is no '{}' to take out", clip(&parts.join(".")));
                let fault = Fault::error(UNSET, Place(span.clone()), message);
                faults.push(fault.help("name a key or a table of the unit below this drop-in"));
            }
        }
        merge(unit, &self.table);
    }
}

fn remove(table: &mut DeTable<'_>, parts: &[String]) -> bool {
    match parts {
        [] => false,
        [last] => table.remove(last.as_str()).is_some(),
        [first, rest @ ..] => match table.get_mut(first.as_str()).map(Spanned::get_mut) {
            Some(DeValue::Table(below)) => remove(below, rest),
            _ => false,
        },
    }
}

fn merge<'t>(below: &mut DeTable<'t>, above: &DeTable<'t>) {
    for (key, value) in above {
        let old = below.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut);
        if let (Some(DeValue::Table(old)), DeValue::Table(new)) = (old, value.get_ref()) {
            merge(old, new);
        } else {
            // An insert alone would keep the old key with its place.
            below.remove(key.get_ref().as_ref());
            below.insert(key.clone(), value.clone());
        }
    }
}
