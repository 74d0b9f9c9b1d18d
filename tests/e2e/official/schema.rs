//! Checks JSON against the schemas of an OpenAPI file: as much of them as says what a typed client relies on.
//!
//! Looked at are references, the three kinds of composition, types, `nullable`, constants, lists of values, members (wanted
//! and known ones) and items. `oneOf` is read like `anyOf`: the official file has many that overlap.

use std::path::Path;

use serde_json::{Map, Value};

/// An OpenAPI file.
pub struct Schemas(Value);

impl Schemas {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        // Bounds are not looked at, and one of them is beyond 64 bits.
        let bound = |line: &&str| ["minimum: ", "maximum: "].iter().any(|key| line.trim_start().starts_with(key));
        let text: Vec<&str> = text.lines().filter(|line| !bound(line)).collect();
        Self(serde_norway::from_str(&text.join("\n")).unwrap())
    }

    /// Returns whether there is a schema of that name.
    pub fn knows(&self, name: &str) -> bool {
        self.0["components"]["schemas"][name].is_object()
    }

    /// Returns what is wrong with `value` by the schema `name`, each with its place; empty if nothing is.
    pub fn faults(&self, name: &str, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&self.0["components"]["schemas"][name], value, "", &mut faults);
        faults
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let Some(schema) = schema.as_object() else { return };
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = self.0.pointer(reference.trim_start_matches('#'));
            return self.check(target.unwrap_or_else(|| panic!("no {reference}")), value, at, faults);
        }
        if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
            return;
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.check(part, value, at, faults);
        }
        for kind in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(kind).and_then(Value::as_array) {
                faults.extend(self.any(choices, value, at));
            }
        }
        self.itself(schema, value, at, faults);
    }

    /// Returns the faults by the choice that fits best.
    fn any(&self, choices: &[Value], value: &Value, at: &str) -> Vec<String> {
        let tried = choices.iter().map(|choice| {
            let mut faults = Vec::new();
            self.check(choice, value, at, &mut faults);
            faults
        });
        // A choice that is told apart by its type is meant only if the type fits.
        let weight = |faults: &Vec<String>| {
            let own = [format!("{at}/type: "), format!("{at}/role: ")];
            faults.len() + 100 * faults.iter().filter(|fault| own.iter().any(|own| fault.starts_with(own))).count()
        };
        tried.min_by_key(weight).unwrap_or_default()
    }

    fn itself(&self, schema: &Map<String, Value>, value: &Value, at: &str, faults: &mut Vec<String>) {
        if let Some(types) = schema.get("type")
            && !types.as_array().map_or(fits(types, value), |list| list.iter().any(|one| fits(one, value)))
        {
            return faults.push(format!("{at}: {value} is no {types}"));
        }
        if let Some(known) = schema.get("enum").and_then(Value::as_array)
            && !known.contains(value)
        {
            faults.push(format!("{at}: {value} is none of {}", Value::from(known.clone())));
        }
        if let Some(constant) = schema.get("const")
            && constant != value
        {
            faults.push(format!("{at}: {value} is not {constant}"));
        }
        if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
            for (index, item) in list.iter().enumerate() {
                self.check(items, item, &format!("{at}/{index}"), faults);
            }
        }
        if let Some(members) = value.as_object() {
            self.members(schema, members, at, faults);
        }
    }

    fn members(&self, schema: &Map<String, Value>, members: &Map<String, Value>, at: &str, faults: &mut Vec<String>) {
        for wanted in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = wanted.as_str().unwrap();
            if !members.contains_key(name) {
                faults.push(format!("{at}/{name}: is missing"));
            }
        }
        let known = schema.get("properties").and_then(Value::as_object);
        for (name, value) in members {
            let place = format!("{at}/{name}");
            match (known.and_then(|known| known.get(name)), schema.get("additionalProperties")) {
                (Some(member), _) => self.check(member, value, &place, faults),
                (None, Some(Value::Bool(false))) => faults.push(format!("{place}: is not known")),
                (None, Some(rest)) => self.check(rest, value, &place, faults),
                (None, None) => {}
            }
        }
    }
}

fn fits(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("no such type: {other}"),
    }
}

#[test]
fn the_checker_finds_what_is_wrong_and_where() {
    let file = serde_json::json!({ "components": { "schemas": {
        "Reply": { "type": "object", "required": ["id", "part"], "properties": {
            "id": { "type": "string" },
            "tier": { "anyOf": [{ "enum": ["flex"] }, { "type": "null" }] },
            "part": { "oneOf": [{ "$ref": "#/components/schemas/Text" }, { "$ref": "#/components/schemas/Call" }] },
            "old": { "type": "integer", "nullable": true },
        } },
        "Text": { "type": "object", "required": ["text"], "properties": { "type": { "const": "text" } } },
        "Call": { "type": "object", "required": ["name", "id"], "properties": { "type": { "enum": ["call"] } } },
    } } });
    let schemas = Schemas(file);
    let faults = |value| schemas.faults("Reply", &value);

    let none: [String; 0] = [];
    let sound =
        serde_json::json!({ "id": "x", "tier": null, "old": null, "part": { "type": "text", "text": "" }, "new": 1 });
    assert_eq!(faults(sound), none);
    assert_eq!(
        faults(serde_json::json!({ "id": 1, "tier": "slow", "old": 0.5, "part": { "type": "call", "id": 1 } })),
        [
            "/id: 1 is no \"string\"",
            "/tier: \"slow\" is none of [\"flex\"]",
            "/old: 0.5 is no \"integer\"",
            "/part/name: is missing"
        ]
    );
}
