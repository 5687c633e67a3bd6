//! JSON for programs that do not know our types.

use serde_json::Value;

/// The same value with every length of time as seconds in place of `{"secs", "nanos"}`.
pub fn plain(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::Object(members) => match seconds(&members) {
            Some(seconds) => seconds.into(),
            None => Value::Object(members.into_iter().map(|(key, value)| (key, plain(value))).collect()),
        },
        other => other,
    }
}

fn seconds(members: &serde_json::Map<String, Value>) -> Option<f64> {
    let whole = members.get("secs")?.as_u64()?;
    let nanos = members.get("nanos").filter(|_| members.len() == 2)?.as_u64()?;
    Some(std::time::Duration::new(whole, u32::try_from(nanos).ok()?).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_lengths_of_time_are_changed() {
        let wait = serde_json::to_value(std::time::Duration::from_millis(1500)).unwrap_or_default();
        let value = json!({ "a": [wait, 1, "x"], "b": { "secs": 1 }, "c": null });
        assert_eq!(plain(value), json!({ "a": [1.5, 1, "x"], "b": { "secs": 1 }, "c": null }));
    }
}
