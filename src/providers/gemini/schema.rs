//! Google's `Schema`, an OpenAPI dialect, as JSON Schema.

use serde_json::{Map, Value, json};

use super::fields::camel;

/// Counts that protobuf's JSON writes as text.
const COUNTS: [&str; 6] = ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];

/// Returns the JSON Schema that means the same: types in lower case, `nullable` as a type of its own.
pub(super) fn to_json_schema(schema: Value) -> Value {
    let Value::Object(fields) = schema else { return schema };
    let mut out = Map::new();
    let mut nullable = false;
    for (key, value) in fields {
        let key = if key.starts_with('$') { key } else { camel(&key) };
        match (key.as_str(), value) {
            (_, Value::Null) | ("propertyOrdering", _) => {}
            ("nullable", value) => nullable = value == Value::Bool(true),
            ("type", Value::String(name)) if name == "TYPE_UNSPECIFIED" => {}
            ("type", Value::String(name)) => _ = out.insert(key, name.to_ascii_lowercase().into()),
            // Only says that there is an `enum`.
            ("format", Value::String(format)) if format == "enum" => {}
            ("example", value) => _ = out.insert("examples".into(), json!([value])),
            ("properties", Value::Object(properties)) => {
                let properties = properties.into_iter().map(|(name, schema)| (name, to_json_schema(schema)));
                out.insert(key, Value::Object(properties.collect()));
            }
            ("items", value) => _ = out.insert(key, to_json_schema(value)),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                out.insert(key, schemas.into_iter().map(to_json_schema).collect());
            }
            (name, Value::String(count)) if COUNTS.contains(&name) => {
                out.insert(key, count.parse::<u64>().map_or(Value::String(count), Value::from));
            }
            (_, value) => _ = out.insert(key, value),
        }
    }
    if nullable {
        accept_null(&mut out);
    }
    Value::Object(out)
}

fn accept_null(schema: &mut Map<String, Value>) {
    if let Some(kind) = schema.get_mut("type").filter(|kind| kind.is_string()) {
        *kind = json!([kind.take(), "null"]);
    } else if let Some(Value::Array(schemas)) = schema.get_mut("anyOf") {
        schemas.push(json!({ "type": "null" }));
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_google_s_means_the_same_afterwards() {
        let google = json!({
            "type": "OBJECT", "property_ordering": ["a_b"], "required": ["a_b"],
            "properties": {
                "a_b": {"type": "STRING", "nullable": true, "format": "enum", "enum": ["x"]},
                "list": {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}, "min_items": "1"},
                "either": {"anyOf": [{"type": "NUMBER"}], "nullable": true},
            },
        });

        let expected = json!({
            "type": "object", "required": ["a_b"],
            "properties": {
                "a_b": {"type": ["string", "null"], "enum": ["x", null]},
                "list": {"type": "array", "items": {"type": "integer", "format": "int32"}, "minItems": 1},
                "either": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            },
        });
        assert_eq!(to_json_schema(google), expected);
    }
}
