//! Arguments of a call that come in pieces, each with the JSON path it belongs to.

use serde_json::{Map, Value};

/// Elements an array may be filled up to by a path; more is no model's output.
const INDEX_MAX: usize = 10_000;
/// Most elements that may be left out before one that comes.
const GAP_MAX: usize = 16;
/// Steps a path may have.
const STEPS_MAX: usize = 64;

/// Arguments under construction.
#[derive(Debug, Default)]
pub(super) struct PartialArguments {
    value: Value,
    /// The path whose text goes on with the next piece.
    open: Option<String>,
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl PartialArguments {
    /// Begins with the arguments that came whole, if any.
    pub(super) fn new(whole: Option<Value>) -> Self {
        Self { value: whole.unwrap_or_default(), open: None }
    }

    /// Takes one entry of `partialArgs`. An entry without a path that can be read is left out.
    pub(super) fn push(&mut self, piece: &Value) {
        let path = piece.get("jsonPath").and_then(Value::as_str).unwrap_or("$");
        let Some(steps) = steps(path) else { return };
        let goes_on = self.open.as_deref() == Some(path);
        let Some(place) = place(&mut self.value, &steps) else { return };
        let leaf = ["stringValue", "numberValue", "boolValue"].iter().find_map(|kind| piece.get(*kind));
        match (place, leaf) {
            (Value::String(text), Some(Value::String(more))) if goes_on => text.push_str(more),
            (place, Some(leaf)) => *place = whole_number(leaf),
            (place, None) if piece.get("nullValue").is_some() => *place = Value::Null,
            _ => {}
        }
        let more = piece.get("willContinue").and_then(Value::as_bool) == Some(true);
        self.open = more.then(|| path.to_owned());
    }

    /// Returns the JSON text of the arguments.
    pub(super) fn finish(self) -> String {
        match self.value {
            Value::Null => "{}".to_owned(),
            Value::Object(_) => self.value.to_string(),
            other => serde_json::json!({ "input": other }).to_string(),
        }
    }
}

/// Returns `3` for the `3.0` that protobuf makes of every number.
fn whole_number(leaf: &Value) -> Value {
    match leaf.as_f64() {
        Some(number) if leaf.is_f64() && number.fract() == 0.0 && number.abs() < 9e15 => (number as i64).into(),
        _ => leaf.clone(),
    }
}

/// Returns the place that `steps` lead to, making the way where there is none.
fn place<'v>(root: &'v mut Value, steps: &[Step]) -> Option<&'v mut Value> {
    let mut place = root;
    for step in steps {
        place = match step {
            Step::Key(key) => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                place.as_object_mut()?.entry(key.as_str()).or_insert(Value::Null)
            }
            Step::Index(index) => {
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                let items = place.as_array_mut()?;
                // Elements come nearly in order; whoever names a far one wants memory.
                if *index >= items.len() && *index - items.len() < GAP_MAX {
                    items.resize(index + 1, Value::Null);
                }
                items.get_mut(*index)?
            }
        };
    }
    Some(place)
}

/// Reads `$.a.b[0]['c d']`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == STEPS_MAX {
            return None;
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let quote = inner.chars().next().filter(|first| matches!(first, '\'' | '"'));
            if let Some(quote) = quote {
                let end = inner[1..].find(&format!("{quote}]"))? + 1;
                steps.push(Step::Key(inner[1..end].to_owned()));
                rest = &inner[end + 2..];
            } else {
                let (index, after) = inner.split_once(']')?;
                steps.push(Step::Index(index.parse().ok().filter(|index| *index <= INDEX_MAX)?));
                rest = after;
            }
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end == 0 {
                return None;
            }
            steps.push(Step::Key(name[..end].to_owned()));
            rest = &name[end..];
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_find_their_places() {
        let mut arguments = PartialArguments::new(None);

        for piece in [
            json!({"jsonPath": "$.city", "stringValue": "New ", "willContinue": true}),
            json!({"jsonPath": "$.city", "stringValue": "York", "willContinue": true}),
            json!({"jsonPath": "$.city", "stringValue": ""}),
            json!({"jsonPath": "$.days[1].n", "numberValue": 3.0}),
            json!({"jsonPath": "$.days[0]", "boolValue": true}),
            json!({"jsonPath": "$['a.b']", "nullValue": null}),
            json!({"jsonPath": "$.days[999999999]", "boolValue": true}),
            json!({"jsonPath": "$..", "boolValue": true}),
        ] {
            arguments.push(&piece);
        }

        let expected = json!({"city": "New York", "days": [true, {"n": 3}], "a.b": null});
        assert_eq!(arguments.finish(), expected.to_string());
    }

    #[test]
    fn a_value_given_anew_replaces_the_old() {
        let mut arguments = PartialArguments::new(Some(json!({"x": "old"})));

        arguments.push(&json!({"jsonPath": "$.x", "stringValue": "new"}));

        assert_eq!(arguments.finish(), r#"{"x":"new"}"#);
    }

    #[test]
    fn no_pieces_are_an_empty_object() {
        assert_eq!(PartialArguments::new(None).finish(), "{}");
    }
}
