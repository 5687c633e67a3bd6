//! Values: from a shape of the key table to the keywords that describe it.

use serde_json::{Map, Value, json};

use super::describe;
use crate::capability;
use crate::keys::{Choice, Effect, RLIMITS, Row, Rule, Shape, Text};

const NAME: &str = "^[a-z0-9][a-z0-9-]{0,62}$";
const UNIT_NAME: &str = "^[a-z0-9][a-z0-9-]{0,62}(@[a-z0-9][a-z0-9-]{0,60})?$";
const DURATION: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?$";
const SIZE: &str = "^[0-9]+(B|[KMGT](iB)?)?$";
const AMOUNT: &str = "^(max|[0-9]{1,3}%|[0-9]+(B|[KMGT](iB)?)?)$";
const IPV4: &str = "^([0-9]{1,3}\\.){3}[0-9]{1,3}$";
const IPV4_NET: &str = "^([0-9]{1,3}\\.){3}[0-9]{1,3}/[0-9]{1,2}$";
const LIMITS: &str = "^(unlimited|[0-9]+)(:(unlimited|[0-9]+))?$";
const PORT_RANGE: &str = "^[0-9]{1,5}-[0-9]{1,5}$";
const READY: &str = "^(exec|notify|fd:[0-9]{1,3}|check:[a-z0-9][a-z0-9-]{0,62}|log:.+)$";
const SIGNAL: &str = "^((SIG)?[A-Z][A-Z0-9]*([+-][0-9]{1,2})?|[0-9]{1,2})$";
const ACCOUNT: &str = "^[A-Za-z0-9._][A-Za-z0-9._-]*$";
const USER: &str = "^[A-Za-z0-9._][A-Za-z0-9._-]*(:[A-Za-z0-9._][A-Za-z0-9._-]*)?$";
const HOSTNAME: &str = "^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$";

/// A key with its description and its default.
pub(super) fn key(row: &Row, shape: &Shape) -> Value {
    let mut text = describe(row);
    if let Shape::Words(words) = shape {
        text.push('\n');
        words.iter().for_each(|choice| text.push_str(&explain(row, choice)));
    }
    let mut found = match of(shape) {
        Value::Object(found) => found,
        _ => Map::new(),
    };
    found.insert("description".to_owned(), json!(text));
    if let Some(default) = default(row) {
        found.insert("default".to_owned(), default);
    }
    Value::Object(found)
}

fn explain(row: &Row, choice: &Choice) -> String {
    let later = row.effect == Effect::Now && choice.effect == Effect::Planned;
    format!("\n- `{}`: {}{}", choice.word, choice.doc, if later { " (not supported yet)" } else { "" })
}

/// The default as a value; many are said in words.
fn default(row: &Row) -> Option<Value> {
    let table: toml::Table = format!("x = {}", row.default).parse().ok()?;
    serde_json::to_value(table.get("x")?).ok()
}

fn of(shape: &Shape) -> Value {
    match shape {
        Shape::Header("1") => json!({ "const": 1 }),
        Shape::Header(word) => json!({ "const": word.trim_matches('"') }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int { min, max: i64::MAX } => json!({ "type": "integer", "minimum": min }),
        Shape::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Ints { min, max } => list(&json!({ "type": "integer", "minimum": min, "maximum": max })),
        Shape::Factor => json!({ "type": "number", "minimum": 1, "maximum": 100 }),
        Shape::Ratio => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Shape::Text(kind) => text(*kind),
        Shape::List(kind) => list(&text(*kind)),
        Shape::Words(words) => choices(words),
        Shape::Duration { .. } => json!({ "type": "string", "minLength": 2, "pattern": DURATION }),
        Shape::Size { min, .. } => {
            json!({ "type": ["string", "integer"], "minimum": min, "pattern": SIZE })
        }
        Shape::Amount => json!({ "type": ["string", "integer"], "minimum": 0, "pattern": AMOUNT }),
        Shape::Cpus => json!({
            "type": ["string", "number"], "minimum": 0.01, "maximum": 1024, "pattern": "^[0-9]+(\\.[0-9]{1,3})?$",
        }),
        Shape::Mode => string("^[0-7]{3,5}$"),
        Shape::Signal => {
            json!({ "type": ["string", "integer"], "minimum": 1, "maximum": 64, "pattern": SIGNAL })
        }
        Shape::Limits => json!({ "type": ["string", "integer"], "minimum": 0, "pattern": LIMITS }),
        Shape::Reference => string("^[^\\s]+$"),
        Shape::Name => string(NAME),
        Shape::Ipv4 => string(IPV4),
        Shape::Ipv4List => list(&string(IPV4)),
        Shape::Ipv4Net => string(IPV4_NET),
        Shape::Ready => string(READY),
        Shape::Port => json!({
            "type": ["integer", "string"], "minimum": 1, "maximum": 65535, "pattern": PORT_RANGE,
        }),
        Shape::Files => list(&json!({
            "type": "object",
            "additionalProperties": false,
            "properties": { "path": string("^/"), "required": { "type": "boolean", "default": true } },
            "required": ["path"],
        })),
        Shape::Userns => userns(),
    }
}

fn userns() -> Value {
    let maps = list(&string("^[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$"));
    json!({ "anyOf": [
        { "enum": ["auto", "host"] },
        {
            "type": "object",
            "additionalProperties": false,
            "properties": { "uid": maps, "gid": maps },
            "required": ["uid", "gid"],
        },
    ] })
}

fn string(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Words, of which those that end in `NAME` stand for every name.
fn choices(words: &[Choice]) -> Value {
    let (names, fixed): (Vec<&str>, Vec<&str>) =
        words.iter().map(|choice| choice.word).partition(|word| word.ends_with(":NAME"));
    if names.is_empty() {
        return json!({ "enum": fixed });
    }
    let mut any = vec![json!({ "enum": fixed })];
    for word in names {
        any.push(string(&format!(
            "^{}[a-z0-9][a-z0-9-]{{0,62}}(@[a-z0-9][a-z0-9-]{{0,60}})?$",
            word.trim_end_matches("NAME")
        )));
    }
    json!({ "anyOf": any })
}

fn text(kind: Text) -> Value {
    if let Some(words) = words(kind) {
        return json!({ "enum": words });
    }
    let mut found = match kind.takes_numbers() {
        true => json!({ "type": ["string", "integer"] }),
        false => json!({ "type": "string" }),
    };
    if let (Some(pattern), Some(found)) = (pattern(kind), found.as_object_mut()) {
        found.insert("pattern".to_owned(), json!(pattern));
    }
    found
}

/// All texts of that kind, where they are few.
pub(super) fn words(kind: Text) -> Option<Vec<&'static str>> {
    match kind {
        Text::Rlimit => Some(RLIMITS.to_vec()),
        Text::Capability => Some(capability::ALL.to_vec()),
        Text::CapabilityOrAll => Some([&capability::ALL[..], &["ALL"]].concat()),
        Text::Form(form) => match &form.rule {
            Rule::Words(_, words) => Some(words.to_vec()),
            Rule::Written { .. } => None,
        },
        _ => None,
    }
}

/// What texts of that kind look like; it takes all of them, and perhaps more.
pub(super) fn pattern(kind: Text) -> Option<&'static str> {
    Some(match kind {
        Text::Any | Text::Value | Text::Rlimit | Text::Capability | Text::CapabilityOrAll => return None,
        Text::Line => "^[^\\u0000-\\u001f]*$",
        Text::Url => "^[A-Za-z0-9+.-]+:[!-~]+$",
        Text::Path | Text::Workdir => "^/",
        Text::Subpath => "^[^/]",
        Text::Device => "^/dev/.",
        Text::Entry => NAME,
        Text::Unit => UNIT_NAME,
        Text::Label => "^[A-Za-z0-9._/-]{1,128}$",
        Text::EnvName => "^[A-Za-z_.-][A-Za-z0-9_.-]*$",
        Text::Sysctl => "^(net\\.|kernel\\.(shm|msg|sem)|fs\\.mqueue\\.)[A-Za-z0-9._-]*$",
        Text::User => USER,
        Text::Group => ACCOUNT,
        Text::Hostname => HOSTNAME,
        Text::CheckUrl => "^http://",
        Text::Header => "^[!#$%&'*+.^_`|~0-9A-Za-z-]+:",
        Text::StatusRange => "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$",
        Text::Interface => "^[A-Za-z0-9._-]{1,15}$",
        Text::Module => "^[A-Za-z0-9_-]{1,55}$",
        Text::KernelWord => "^[!#-~]{1,512}$",
        Text::Form(form) => match form.rule {
            Rule::Written { pattern, .. } => pattern,
            Rule::Words(..) => return None,
        },
    })
}
