//! JSON Schemas in the subset that Anthropic compiles.

use serde_json::{Map, Value, json};

/// Keywords that no grammar is made of; what they demand goes into the description.
const NOT_COMPILED: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// Keywords whose values are schemas, lists of them, or named ones.
const HOLD_ONE: &[&str] = &["items", "not", "if", "then", "else", "contains"];
const HOLD_LISTS: &[&str] = &["anyOf", "allOf", "oneOf", "prefixItems"];
const HOLD_NAMED: &[&str] = &["properties", "$defs", "definitions", "patternProperties"];

/// Returns the schema of a tool's input: an object, and one without fields where there is none.
pub(super) fn object_schema(schema: Option<&Value>) -> Value {
    let Some(Value::Object(schema)) = schema else { return json!({ "type": "object", "properties": {} }) };
    let mut schema = schema.clone();
    schema.entry("type").or_insert_with(|| "object".into());
    Value::Object(schema)
}

/// Returns `schema` as structured outputs take it: objects closed, limits told in words.
pub(super) fn fitted(mut schema: Value) -> Value {
    if let Value::Object(map) = &mut schema {
        fit(map);
    }
    schema
}

fn fit(schema: &mut Map<String, Value>) {
    let mut limits: Vec<String> = Vec::new();
    for key in NOT_COMPILED {
        limits.extend(schema.remove(*key).map(|value| format!("{key}: {value}")));
    }
    // 0 and 1 can be compiled.
    if schema.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 1) {
        limits.extend(schema.remove("minItems").map(|value| format!("minItems: {value}")));
    }
    if !limits.is_empty() {
        let before =
            schema.get("description").and_then(Value::as_str).map(|text| format!("{text} ")).unwrap_or_default();
        schema.insert("description".into(), format!("{before}({})", limits.join(", ")).into());
    }
    if schema.get("type").is_some_and(|kind| kind == "object") || schema.contains_key("properties") {
        schema.insert("additionalProperties".into(), false.into());
    }
    for (key, value) in schema.iter_mut() {
        match value {
            Value::Object(one) if HOLD_ONE.contains(&key.as_str()) => fit(one),
            Value::Array(list) if HOLD_LISTS.contains(&key.as_str()) => {
                list.iter_mut().filter_map(Value::as_object_mut).for_each(fit);
            }
            Value::Object(named) if HOLD_NAMED.contains(&key.as_str()) => {
                named.values_mut().filter_map(Value::as_object_mut).for_each(fit);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_words_and_objects_are_closed() {
        let schema = json!({
            "type": "object",
            "properties": {
                "minimum": { "type": "integer", "minimum": 1, "description": "Years." },
                "tags": { "type": "array", "minItems": 2, "items": { "type": "object", "properties": {} } },
            },
        });

        let fitted = fitted(schema);

        let expected = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "minimum": { "type": "integer", "description": "Years. (minimum: 1)" },
                "tags": {
                    "type": "array",
                    "description": "(minItems: 2)",
                    "items": { "type": "object", "properties": {}, "additionalProperties": false },
                },
            },
        });
        assert_eq!(fitted, expected);
    }

    #[test]
    fn a_function_without_arguments_has_an_empty_object() {
        assert_eq!(object_schema(None), json!({ "type": "object", "properties": {} }));
        assert_eq!(object_schema(Some(&json!({ "properties": {} })))["type"], "object");
    }
}
