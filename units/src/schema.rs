//! JSON Schema of unit files, made from the key table: what an editor knows about a file while it is written.
//!
//! Draft-07 and nothing beyond it. It sees less than `berth check`: neither other files, nor keys that depend on
//! each other, nor ranges inside strings. What it refuses, `berth check` refuses too.

mod value;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::keys::{Effect, Row, Text, rows};

/// The schema of units: `units/*.toml`. In a template a value may hold `{instance}`, which it does not know.
pub fn unit_schema() -> Value {
    let rows = rows();
    let mut kinds: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| !["node", "drop-in"].contains(&row.kind)) {
        if !kinds.contains(&row.kind) {
            kinds.push(row.kind);
        }
    }
    let choice = |kind: &&str| {
        // Without `kind` a file declares a container.
        let mut when = json!({ "properties": { "kind": { "const": kind } } });
        if *kind != "container"
            && let Some(when) = when.as_object_mut()
        {
            when.insert("required".to_owned(), json!(["kind"]));
        }
        json!({ "if": when, "then": { "$ref": format!("#/definitions/{kind}") } })
    };
    let definitions: Map<String, Value> =
        kinds.iter().map(|kind| ((*kind).to_owned(), file(&rows, kind))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A unit of berth",
        "description": "One file of units/: what runs on the node, and what it needs.",
        "type": "object",
        "required": ["schema"],
        "properties": { "kind": { "enum": kinds } },
        "allOf": kinds.iter().map(choice).collect::<Vec<_>>(),
        "definitions": definitions,
    })
}

/// The schema of the node: `node.toml`.
pub fn node_schema() -> Value {
    let mut schema = file(&rows(), "node");
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        schema.insert("title".to_owned(), json!("node.toml of berth"));
    }
    schema
}

/// The schema of drop-ins: `NAME.d/*.toml`. Nothing has to be there, and what kind the unit is nobody says.
pub fn drop_in_schema() -> Value {
    let rows = rows();
    let own = file(&rows, "drop-in");
    let over = ["container", "network", "volume", "node"].map(|kind| {
        let mut schema = file(&rows, kind);
        without_required(&mut schema);
        if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
            properties.remove("kind");
            let own = own.pointer("/properties").and_then(Value::as_object);
            properties.extend(own.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        }
        schema
    });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A drop-in of berth",
        "description": "One file of NAME.d/: what is said differently about a unit, or about all containers in _all.d/.",
        "type": "object",
        "anyOf": over,
    })
}

fn without_required(schema: &mut Value) {
    match schema {
        Value::Object(table) => {
            // A property of that name is a table, the keyword a list.
            if table.get("required").is_some_and(Value::is_array) {
                table.remove("required");
            }
            table.values_mut().for_each(without_required);
        }
        Value::Array(items) => items.iter_mut().for_each(without_required),
        _ => (),
    }
}

/// A table of the file, its keys below it.
#[derive(Default)]
struct Node<'r> {
    row: Option<&'r Row>,
    children: BTreeMap<&'r str, Node<'r>>,
}

fn file(rows: &[Row], kind: &str) -> Value {
    let mut root = Node::default();
    for row in rows.iter().filter(|row| row.kind == kind) {
        let mut at = &mut root;
        for name in row.path.split('.') {
            at = at.children.entry(name).or_default();
        }
        at.row = Some(row);
    }
    render(&root)
}

fn render(node: &Node<'_>) -> Value {
    if let Some(row) = node.row
        && let Some(shape) = &row.shape
    {
        return value::key(row, shape);
    }
    let mut table = Map::new();
    table.insert("type".to_owned(), json!("object"));
    if let Some(row) = node.row {
        table.insert("description".to_owned(), json!(describe(row)));
    }
    table.insert("additionalProperties".to_owned(), json!(false));
    let named = node.row.and_then(|row| row.entries);
    let (entries, fixed): (Vec<_>, Vec<_>) = node.children.iter().partition(|(name, _)| **name == "*");
    match (named, entries.first()) {
        (Some(text), Some((_, entry))) => {
            drop(table.insert("patternProperties".to_owned(), entry_of(text, entry)))
        }
        // A table whose entries have no keys: what it holds is checked by berth.
        (Some(_), None) => drop(table.insert("additionalProperties".to_owned(), json!(true))),
        _ => (),
    }
    if !fixed.is_empty() {
        let properties: Map<_, _> =
            fixed.iter().map(|(name, child)| ((**name).to_owned(), render(child))).collect();
        table.insert("properties".to_owned(), Value::Object(properties));
    }
    let required: Vec<_> = fixed.iter().filter(|(_, child)| needed(child)).map(|(name, _)| **name).collect();
    if !required.is_empty() {
        table.insert("required".to_owned(), json!(required));
    }
    Value::Object(table)
}

/// Whether the table above cannot do without it: a key that is required, or a table that holds one.
fn needed(node: &Node<'_>) -> bool {
    match node.row {
        Some(row) if row.shape.is_some() => row.required,
        _ => node.children.iter().any(|(name, child)| *name != "*" && needed(child)),
    }
}

fn entry_of(text: Text, entry: &Node<'_>) -> Value {
    let pattern = match value::words(text) {
        Some(words) => format!("^({})$", words.join("|")),
        None => value::pattern(text).unwrap_or(".").to_owned(),
    };
    json!({ pattern: render(entry) })
}

fn describe(row: &Row) -> String {
    match row.effect {
        Effect::Now => row.doc.to_owned(),
        Effect::Planned => format!("{} Not supported yet.", row.doc),
    }
}

#[cfg(test)]
mod tests;
