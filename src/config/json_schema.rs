//! The shape of the configuration as JSON Schema (draft-07), for editors that complete and check while one types.
//!
//! Types come from `schema`, descriptions from the comments of the shipped `config/bursar.toml`: what stands behind a
//! key there is the one place where it is explained.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schema::{Shape, schema};

/// The shipped file, every key with its comment.
const SHIPPED: &str = include_str!("../../config/bursar.toml");

/// Returns the whole schema.
pub fn json_schema() -> Value {
    let descriptions = descriptions();
    let mut whole = of(schema(), "", &descriptions);
    whole["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    whole["title"] = "Bursar configuration".into();
    whole
}

fn of(shape: &Shape, path: &str, descriptions: &BTreeMap<String, String>) -> Value {
    let mut value = match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Truth => or_reference(json!({ "type": "boolean" })),
        Shape::Whole(most) => or_reference(json!({ "type": "integer", "minimum": 0, "maximum": most })),
        Shape::Number => or_reference(json!({ "type": "number" })),
        Shape::Amount => json!({ "type": ["number", "string"] }),
        Shape::Choice(words) => or_reference(json!({ "enum": words })),
        Shape::List(item) => json!({ "type": "array", "items": of(item, path, descriptions) }),
        Shape::Map(item) => {
            json!({ "type": "object", "additionalProperties": of(item, &join(path, "*"), descriptions) })
        }
        Shape::WordOr(table) => json!({ "anyOf": [{ "type": "string" }, of(table, path, &BTreeMap::new())] }),
        Shape::OneOrMany(table) => {
            let mut one = of(table, path, descriptions);
            if let Some(one) = one.as_object_mut() {
                one.remove("description");
            }
            json!({ "anyOf": [one, { "type": "array", "items": one }] })
        }
        Shape::Table(keys) => {
            let property =
                |(key, shape): (&&str, &Shape)| ((*key).to_owned(), of(shape, &join(path, key), descriptions));
            let properties: Map<String, Value> = keys.iter().map(property).collect();
            json!({ "type": "object", "properties": properties, "additionalProperties": false })
        }
    };
    // An item goes by the same path as its list; the description belongs to the outer one.
    if let (Some(text), false) = (descriptions.get(path), path.is_empty()) {
        value["description"] = text.as_str().into();
        if let Some(items) = value.get_mut("items").and_then(Value::as_object_mut) {
            items.remove("description");
        }
    }
    value
}

/// A reference such as `${WORKERS}` may stand for any single value.
fn or_reference(value: Value) -> Value {
    json!({ "anyOf": [value, { "type": "string", "pattern": "\\$\\{" }] })
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Returns what the shipped file says behind each key, by path; names that the operator chooses are `*`.
fn descriptions() -> BTreeMap<String, String> {
    let mut descriptions = BTreeMap::new();
    let mut table = Some((String::new(), schema()));
    for line in SHIPPED.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        let (code, comment) = split_comment(line);
        if let Some(header) = code.strip_prefix('[').and_then(|rest| rest.trim_end().strip_suffix(']')) {
            let header = header.trim_start_matches('[').trim_end_matches(']');
            let steps = header.split('.').map(|step| step.trim_matches('"'));
            table = steps.clone().all(is_key).then(|| walk(steps)).flatten();
            if let (Some((path, _)), Some(comment)) = (&table, comment) {
                descriptions.entry(path.clone()).or_insert(comment);
            }
            continue;
        }
        let Some((key, _)) = code.split_once('=') else { continue };
        let Some((path, Shape::Table(keys))) = &table else { continue };
        let key = key.trim();
        if let (true, Some(comment)) = (keys.contains_key(key), comment) {
            descriptions.entry(join(path, key)).or_insert(comment);
        }
    }
    descriptions
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/'))
}

/// Returns the path and the shape of the table that `steps` lead to.
fn walk<'s>(steps: impl Iterator<Item = &'s str>) -> Option<(String, &'static Shape)> {
    steps.into_iter().try_fold((String::new(), schema()), |(path, shape), step| {
        let (step, inner) = match shape {
            Shape::Table(keys) => (step, keys.get(step)?),
            Shape::Map(item) => ("*", &**item),
            _ => return None,
        };
        let inner = if let Shape::List(item) | Shape::OneOrMany(item) = inner { item } else { inner };
        Some((join(&path, step), inner))
    })
}

/// Splits a line at the first `#` outside of quotes.
fn split_comment(line: &str) -> (&str, Option<String>) {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => {
                let comment = line[at + 1..].trim();
                return (line[..at].trim_end(), (!comment.is_empty()).then(|| comment.to_owned()));
            }
            _ => {}
        }
    }
    (line.trim_end(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProviderKind;

    #[test]
    fn every_key_has_its_type_and_the_comment_of_the_shipped_file() {
        let schema = json_schema();

        let listen = &schema["properties"]["server"]["properties"]["listen"];
        assert_eq!(listen["type"], "string");
        assert_eq!(listen["description"], "address and port; anything but loopback needs a client key");
        let provider = &schema["properties"]["providers"]["additionalProperties"];
        assert_eq!(provider["additionalProperties"], false);
        let key = &provider["properties"]["keys"]["items"]["properties"];
        assert_eq!(key["rpm"]["anyOf"][0]["type"], "integer");
        assert_eq!(key["rpm"]["description"], "requests per minute it may make; learned from replies when left out");
        let kinds = &provider["properties"]["kind"]["anyOf"][0]["enum"];
        let all: Vec<_> = ProviderKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(kinds, &json!(all));
        let client_key = &schema["properties"]["client_keys"]["items"]["properties"]["team"]["description"];
        assert!(client_key.as_str().is_some_and(|text| text.contains("default")));
    }

    #[test]
    fn no_table_takes_keys_that_the_loader_refuses() {
        fn closed(value: &Value) -> bool {
            let properties = value.get("properties").and_then(Value::as_object);
            let open = properties.is_some() && value["additionalProperties"] != false;
            let inner = properties.into_iter().flat_map(|all| all.values());
            let inner = inner.chain(value.get("items")).chain(value.get("additionalProperties"));
            !open && inner.filter(|value| value.is_object()).all(closed)
        }

        assert!(closed(&json_schema()));
    }

    #[test]
    fn nearly_everything_is_explained() {
        let described = descriptions();

        assert!(described.len() >= 40, "only {} keys have a comment: {:?}", described.len(), described.keys());
    }
}
