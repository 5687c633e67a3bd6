//! The schema against `berth check`, with a validator of the keywords that are used.

use std::sync::Mutex;

use regex::Regex;

use super::*;
use crate::keys::tests::{Fragment, fragments};

/// Whether the value fits the schema. A keyword that is not known here ends the test: it would be taken on trust.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema.as_bool().unwrap() };
    schema.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "title" | "description" | "default" | "definitions" | "then" => true,
        "$ref" => fits(root, root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "type" => match rule {
            Value::Array(types) => types.iter().any(|name| is(name, value)),
            name => is(name, value),
        },
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
        "minLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 >= rule.as_u64().unwrap())
        }
        "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(root, rule, item))),
        "anyOf" => rule.as_array().unwrap().iter().any(|schema| fits(root, schema, value)),
        "allOf" => rule.as_array().unwrap().iter().all(|schema| fits(root, schema, value)),
        "if" => !fits(root, rule, value) || fits(root, &schema["then"], value),
        "required" => value.as_object().is_none_or(|table| {
            rule.as_array().unwrap().iter().all(|name| table.contains_key(name.as_str().unwrap()))
        }),
        "properties" => value.as_object().is_none_or(|table| {
            table.iter().all(|(name, value)| rule.get(name).is_none_or(|schema| fits(root, schema, value)))
        }),
        "patternProperties" => value.as_object().is_none_or(|table| {
            table.iter().all(|(name, value)| {
                let mut rules = rule.as_object().unwrap().iter();
                rules.all(|(pattern, schema)| !matches(pattern, name) || fits(root, schema, value))
            })
        }),
        "additionalProperties" => value.as_object().is_none_or(|table| {
            let known = |name: &str| {
                schema.get("properties").is_some_and(|rules| rules.get(name).is_some())
                    || schema.get("patternProperties").is_some_and(|rules| {
                        rules.as_object().unwrap().keys().any(|pattern| matches(pattern, name))
                    })
            };
            table.iter().filter(|(name, _)| !known(name)).all(|(_, value)| fits(root, rule, value))
        }),
        other => panic!("the validator does not know '{other}'"),
    })
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("the validator does not know the type '{other}'"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    static KNOWN: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap();
    known.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap()).is_match(text)
}

fn json_of(text: &str) -> Option<Value> {
    let table: toml::Table = text.parse().ok()?;
    serde_json::to_value(table).ok()
}

fn schemas() -> [Value; 3] {
    [unit_schema(), node_schema(), drop_in_schema()]
}

fn schema_of<'s>([unit, node, drop_in]: &'s [Value; 3], kind: &str) -> &'s Value {
    match kind {
        "node" => node,
        "drop-in" => drop_in,
        _ => unit,
    }
}

#[test]
fn what_berth_takes_fits_the_schema() {
    let schemas = schemas();
    for Fragment { kind, path, text, fault } in fragments() {
        if fault.is_none() {
            let schema = schema_of(&schemas, kind);
            assert!(fits(schema, schema, &json_of(&text).unwrap()), "{kind} {path}: {text}");
        }
    }
}

#[test]
fn what_berth_refuses_does_not_fit_unless_no_schema_could_see_it() {
    let schemas = schemas();
    let mut unseen = Vec::new();
    let mut seen = 0;
    for Fragment { kind, path, text, fault } in fragments() {
        // Numbers beyond 64 bits are not even TOML for a strict reader.
        let (Some(fault), Some(value)) = (fault, json_of(&text)) else { continue };
        let schema = schema_of(&schemas, kind);
        match fits(schema, schema, &value) {
            true => unseen.push((fault, kind, path, text)),
            false => seen += 1,
        }
    }
    for (fault, kind, path, text) in &unseen {
        // Type, word, missing key, kind and schema are always seen.
        assert!(![101, 103, 104, 107, 111, 112].contains(fault), "{kind} {path}: {text}");
    }
    // What is left are ranges inside strings, `..` in paths, keys that do not go together and the like: far fewer than
    // what is seen.
    assert!(unseen.len() * 3 < seen, "{seen} seen, {} unseen: {unseen:#?}", unseen.len());
}

#[test]
fn defaults_fit_their_own_keys() {
    fn check(root: &Value, schema: &Value, path: &str) {
        // A property may be called so, too; no default is a table.
        if let Some(default) = schema.get("default").filter(|default| !default.is_object()) {
            assert!(fits(root, schema, default), "{path}: {default}");
        }
        match schema {
            Value::Object(parts) => {
                parts.iter().for_each(|(name, part)| check(root, part, &format!("{path}/{name}")))
            }
            Value::Array(parts) => parts.iter().for_each(|part| check(root, part, path)),
            _ => (),
        }
    }
    for schema in schemas() {
        check(&schema, &schema, "");
    }
}

#[test]
fn unknown_keys_do_not_fit() {
    let schemas = schemas();
    for (kind, text) in [
        ("container", "schema = 1\nimage.ref = \"x\"\nfrobnicate = 1"),
        ("container", "schema = 1\nimage.ref = \"x\"\nmemory.maximum = 1"),
        ("container", "schema = 1\nimage.ref = \"x\"\nports.Web.host = 1\nports.Web.container = 1"),
        ("container", "image.ref = \"x\""),
        ("container", "schema = 1"),
        ("volume", "schema = 1\nkind = \"volume\"\nimage.ref = \"x\""),
        ("other", "schema = 1\nkind = \"other\""),
        ("node", "schema = 1\nuplink.mod = \"dhcp\""),
    ] {
        let schema = schema_of(&schemas, kind);
        assert!(!fits(schema, schema, &json_of(text).unwrap()), "{text}");
    }
}
