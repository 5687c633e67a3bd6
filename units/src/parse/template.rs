//! Templates: `NAME@.toml` is a unit for each of its instances, `{instance}` and `{name}` filled in.

use std::borrow::Cow;
use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use crate::Name;
use crate::codes::TEMPLATE;
use crate::fault::{Fault, Place};

/// The names in `instances`; what is wrong with the others the key table says.
pub(super) fn instances(base: &Name, table: &DeTable<'_>, faults: &mut Vec<Fault>) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    let listed = table.get("instances").and_then(|list| list.get_ref().as_array());
    for item in listed.into_iter().flat_map(|list| list.iter()) {
        let Some(Ok(instance)) = item.get_ref().as_str().map(Name::parse_plain) else { continue };
        let mut fault = |message: String| {
            faults.push(Fault::error(TEMPLATE, Place(item.span()), message));
        };
        match Name::instance_of(base, &instance) {
            Err(error) => fault(format!("'{base}@{instance}' cannot be a unit: {error}")),
            Ok(name) => {
                if !names.insert(name) {
                    fault(format!("instance '{instance}' stands twice"));
                }
            }
        }
    }
    names
}

/// Fills in every string of a table; keys stay as they are.
pub(super) fn fill_in(table: &mut DeTable<'_>, name: &str, instance: &str) {
    for (_, value) in table.iter_mut() {
        fill_in_value(value.get_mut(), name, instance);
    }
}

fn fill_in_value(value: &mut DeValue<'_>, name: &str, instance: &str) {
    match value {
        DeValue::String(text) if text.contains('{') => {
            *text = Cow::Owned(filled_in(text, name, instance));
        }
        DeValue::Table(table) => fill_in(table, name, instance),
        DeValue::Array(items) => {
            items.iter_mut().for_each(|item| fill_in_value(item.get_mut(), name, instance));
        }
        _ => (),
    }
}

/// `{instance}` and `{name}` are replaced, `{{instance}}` and `{{name}}` lose a pair of braces; any other brace is a
/// brace, so that JSON and other templates go through.
fn filled_in(text: &str, name: &str, instance: &str) -> String {
    let words =
        [("{{instance}}", "{instance}"), ("{{name}}", "{name}"), ("{instance}", instance), ("{name}", name)];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, at)) = rest.find('{').and_then(|at| rest.split_at_checked(at)) {
        out.push_str(before);
        let found = words.iter().find_map(|(word, meant)| Some((at.strip_prefix(word)?, *meant)));
        let (behind, meant) = found.unwrap_or_else(|| (at.strip_prefix('{').unwrap_or(""), "{"));
        out.push_str(meant);
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_words_are_filled_in() {
        for (text, expect) in [
            ("data-{instance}", "data-a"),
            ("{name}:{instance}{instance}", "w@a:aa"),
            ("{{instance}} {{name}}", "{instance} {name}"),
            ("{\"x\": {\"y\": 1}} {other} {", "{\"x\": {\"y\": 1}} {other} {"),
            ("{{instance}", "{a"),
            ("{instance", "{instance"),
            ("", ""),
        ] {
            assert_eq!(filled_in(text, "w@a", "a"), expect, "{text}");
        }
    }
}
