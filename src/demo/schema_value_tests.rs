//! Tests of `schema_value`: a small checker of its own, and schemas made at random.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// Whether a value satisfies the keywords that `schema_value` claims to cover.
fn satisfies(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema != &Value::Bool(false) };
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    let all = |name: &str| schema.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let any = |name: &str| {
        let branches = all(name);
        branches.is_empty() || branches.iter().any(|branch| satisfies(root, branch, value))
    };
    let kinds = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind.clone()],
        _ => all("type").iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect(),
    };
    schema
        .get("$ref")
        .and_then(Value::as_str)
        .is_none_or(|reference| satisfies(root, root.pointer(reference.strip_prefix('#').unwrap()).unwrap(), value))
        && all("allOf").iter().all(|part| satisfies(root, part, value))
        && any("anyOf")
        && any("oneOf")
        && schema.get("const").is_none_or(|constant| constant == value)
        && (schema.get("enum").is_none() || all("enum").contains(value))
        && (kinds.is_empty() || kinds.iter().any(|kind| is_a(kind, value)))
        && match value {
            Value::Number(found) => {
                let found = found.as_f64().unwrap();
                number("minimum").is_none_or(|low| found >= low)
                    && number("exclusiveMinimum").is_none_or(|low| found > low)
                    && number("maximum").is_none_or(|high| found <= high)
                    && number("exclusiveMaximum").is_none_or(|high| found < high)
                    && number("multipleOf").is_none_or(|step| (found / step).fract() == 0.0)
            }
            Value::String(text) => {
                let length = text.chars().count() as f64;
                number("minLength").is_none_or(|least| length >= least)
                    && number("maxLength").is_none_or(|most| length <= most)
            }
            Value::Array(items) => {
                let length = items.len() as f64;
                let distinct = schema.get("uniqueItems") == Some(&Value::Bool(true));
                number("minItems").is_none_or(|least| length >= least)
                    && number("maxItems").is_none_or(|most| length <= most)
                    && schema.get("items").is_none_or(|each| items.iter().all(|item| satisfies(root, each, item)))
                    && (!distinct || items.iter().enumerate().all(|(at, item)| !items[..at].contains(item)))
            }
            Value::Object(entries) => {
                let known = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
                let rest = schema.get("additionalProperties").unwrap_or(&Value::Null);
                all("required").iter().all(|name| entries.contains_key(name.as_str().unwrap()))
                    && number("minProperties").is_none_or(|least| entries.len() as f64 >= least)
                    && entries.iter().all(|(name, entry)| satisfies(root, known.get(name).unwrap_or(rest), entry))
            }
            Value::Null | Value::Bool(_) => true,
        }
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    }
}

fn made(schema: &Value, text: &str) -> Value {
    satisfying(schema, text, &mut Dice::new(1, b"test"))
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"type": "boolean"})),
        Just(json!({"type": "null"})),
        Just(json!({"enum": ["a", 2, null]})),
        Just(json!({"const": {"a": 1}})),
        (0_u64..50, 0_u64..50)
            .prop_map(|(least, more)| json!({"type": "string", "minLength": least, "maxLength": least + more})),
        (-50_i64..50, 0_i64..50)
            .prop_map(|(low, more)| json!({"type": "integer", "minimum": low, "maximum": low + more})),
        (-50_i64..50, 2_i64..9)
            .prop_map(|(low, step)| json!({"type": "integer", "exclusiveMinimum": low, "multipleOf": step})),
        (-50_i64..50).prop_map(|high| json!({"type": ["number", "null"], "exclusiveMaximum": high})),
        (-5.0..5.0, 0.01..5.0).prop_map(
            |(low, more): (f64, f64)| json!({"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + more})
        ),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            (inner.clone(), 0_u64..4)
                .prop_map(|(items, least)| json!({"type": "array", "items": items, "minItems": least})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|branches| json!({"anyOf": branches})),
            (inner.clone(), 0_u64..4).prop_map(
                |(rest, least)| json!({"type": "object", "additionalProperties": rest, "minProperties": least})
            ),
            (prop::collection::vec(inner, 1..4), any::<bool>()).prop_map(|(schemas, demanded)| {
                let names: Vec<String> = (0..schemas.len()).map(|index| format!("field{index}")).collect();
                let properties: Map<String, Value> = names.iter().cloned().zip(schemas).collect();
                let required = if demanded { json!(names) } else { json!([names[0]]) };
                json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
            }),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_the_schema_the_value_satisfies_it(schema in schema(), text in "[A-Za-z0-9 @.-]{0,30}") {
        let value = made(&schema, &text);

        prop_assert!(satisfies(&schema, &schema, &value), "{schema} got {value}");
    }
}

#[test]
fn a_recursive_schema_ends_where_it_may() {
    let schema = json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {
            "type": "object",
            "properties": {
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "label": {"type": "string"},
            },
            "required": ["children", "next", "label"],
        }},
    });

    let value = made(&schema, "hello");

    assert!(satisfies(&schema, &schema, &value), "{value}");
}

#[test]
fn a_schema_that_refers_to_itself_without_end_gets_a_value_all_the_same() {
    let endless = json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]});

    assert!(made(&endless, "").is_object());
    made(&json!({"$ref": "#"}), "");
    made(&json!({"type": "array", "minItems": u64::MAX, "items": {"type": "array", "minItems": 9_999}}), "");
}

#[test]
fn parts_of_all_of_are_demanded_together() {
    let schema = json!({"allOf": [
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
    ]});

    let value = made(&schema, "");

    assert!(satisfies(&schema, &schema, &value), "{value}");
    assert_eq!(value.as_object().unwrap().len(), 2);
}

#[test]
fn values_come_from_the_users_text_where_they_fit() {
    let schema = json!({"type": "object", "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "report_to": {"type": "string", "format": "email"},
    }});

    let value = made(&schema, "What is the weather in Paris for 3 days, in Fahrenheit? Tell bob@example.org");

    assert_eq!(value, json!({"city": "Paris", "days": 3, "unit": "fahrenheit", "report_to": "bob@example.org"}));
}

#[test]
fn items_that_must_differ_do() {
    for items in [json!({"type": "string"}), json!({"type": "integer"}), json!({"enum": [1, 2, 3]})] {
        let schema = json!({"type": "array", "items": items, "minItems": 3, "uniqueItems": true});

        let value = made(&schema, "hello 7");

        assert!(satisfies(&schema, &schema, &value), "{value}");
    }
}
