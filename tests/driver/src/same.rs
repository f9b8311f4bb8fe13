//! Whether an answer is what was expected; if not, where it differs, one line for each place.

use serde_json::Value;

/// How much of an answer is laid down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// This and nothing more.
    Exact,
    /// Every key here must be there and equal; others may be. `{"contains": …}` asks for pieces of a text.
    Subset,
}

#[track_caller]
pub fn assert_same(expected: &Value, actual: &Value, how: Match) {
    let mut found = Vec::new();
    differences("body", expected, actual, how, &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Where `actual` is not what was expected, one line each. `1` and `1.0` differ; `1.0` and `1e0` do not.
pub fn differences(path: &str, expected: &Value, actual: &Value, how: Match, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(wanted), Value::String(text)) if how == Match::Subset && wanted.contains_key("contains") => {
            let pieces = wanted["contains"].as_array().cloned().unwrap_or_else(|| vec![wanted["contains"].clone()]);
            for piece in pieces.iter().filter_map(Value::as_str).filter(|piece| !text.contains(piece)) {
                found.push(format!("{path}: {piece:?} is not in {text:?}"));
            }
        }
        (Value::Object(wanted), Value::Object(given)) => {
            for (key, value) in wanted {
                match given.get(key) {
                    Some(other) => differences(&format!("{path}.{key}"), value, other, how, found),
                    None => found.push(format!("{path}.{key} is missing from {actual}")),
                }
            }
            for key in given.keys().filter(|key| how == Match::Exact && !wanted.contains_key(*key)) {
                found.push(format!("{path}.{key} was not expected: {}", given[key]));
            }
        }
        (Value::Array(wanted), Value::Array(given)) if wanted.len() == given.len() => {
            for (index, (one, other)) in wanted.iter().zip(given).enumerate() {
                differences(&format!("{path}[{index}]"), one, other, how, found);
            }
        }
        (Value::Number(wanted), Value::Number(given)) if same_number(wanted, given) => {}
        _ if expected == actual => {}
        _ => found.push(format!("{path}: expected {expected}, got {actual}")),
    }
}

fn same_number(wanted: &serde_json::Number, given: &serde_json::Number) -> bool {
    let (wanted, given) = (wanted.to_string(), given.to_string());
    let is_float = |text: &str| text.contains(['.', 'e', 'E']);
    wanted == given || (is_float(&wanted) && is_float(&given) && wanted.parse::<f64>() == given.parse::<f64>())
}
