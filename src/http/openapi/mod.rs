//! The OpenAPI document of all routes, in OpenAPI 3.1: paths and rights from the table, bodies from the types that read them,
//! the rest from `details`.

mod details;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::table::{Row, Serves, Verb, rows};
use details::{Answer, Detail, detail};

/// Returns the document.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for row in rows() {
        let methods = paths.entry(row.documented()).or_insert_with(|| json!({}));
        methods[row.method.as_str()] = operation(row, &mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Refusal".into(), refusal());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bursar",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "client_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A client key; `x-api-key`, `api-key` and `x-goog-api-key` take it, too.",
                },
                "admin_token": { "type": "http", "scheme": "bearer", "description": "The token of an admin." },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "bursar_session",
                    "description": "Of a browser that signed in; a change needs `x-csrf-token` besides.",
                },
            },
        },
    })
}

fn operation(row: &Row, generator: &mut SchemaGenerator) -> Value {
    let (tag, security) = match row.serves {
        Serves::Public(_) => ("public", json!([])),
        Serves::Client(_) => ("models", json!([{ "client_key": [] }])),
        Serves::Admin(..) => ("admin", json!([{ "admin_token": [] }, { "session": [] }])),
    };
    let detail = detail(row.id);
    let mut operation = json!({
        "operationId": row.id,
        "summary": row.summary,
        "tags": [tag],
        "security": security,
        "parameters": parameters(row, &detail),
        "responses": responses(row, &detail),
    });
    if let Some(schema) = detail.body {
        let schema = schema(generator);
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    if let Some((right, owned)) = row.needs() {
        operation["x-right"] = json!(right);
        operation["x-owned"] = owned.as_str().into();
    }
    operation
}

/// Returns the variables of the path, then those of the query.
fn parameters(row: &Row, detail: &Detail) -> Vec<Value> {
    let names = row.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let in_path = names.map(|name| {
        let schema = if name == "index" { json!({ "type": "integer", "minimum": 0 }) } else { word() };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    let in_query = detail.query.iter().map(|(name, kind)| {
        let required = name.ends_with('!');
        let name = name.trim_end_matches('!');
        json!({ "name": name, "in": "query", "required": required, "schema": { "type": kind } })
    });
    in_path.chain(in_query).collect()
}

fn word() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn responses(row: &Row, detail: &Detail) -> Value {
    let content = match detail.answer {
        Answer::Object => json!({ "application/json": { "schema": { "type": "object" } } }),
        Answer::List => json!({ "application/json": { "schema": { "type": "array", "items": { "type": "object" } } } }),
        Answer::Streamed => json!({
            "application/json": { "schema": { "type": "object" } },
            "text/event-stream": { "schema": { "type": "string" } },
        }),
        Answer::Events => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
        Answer::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Answer::Bytes => json!({ "application/octet-stream": {} }),
    };
    let mut responses = Map::new();
    responses.insert("200".into(), json!({ "description": "Done.", "content": content }));
    let mut refusals = common(row);
    refusals.extend(detail.refusals);
    refusals.sort_unstable();
    for status in refusals {
        let schema = json!({ "$ref": "#/components/schemas/Refusal" });
        let content = json!({ "application/json": { "schema": schema } });
        responses.insert(status.to_string(), json!({ "description": described(status), "content": content }));
    }
    responses.into()
}

/// Returns the refusals that all routes of the kind may give.
fn common(row: &Row) -> Vec<u16> {
    let mut statuses = match row.serves {
        Serves::Public(_) => vec![],
        Serves::Client(_) => vec![401, 403, 503],
        Serves::Admin(..) => vec![401, 403, 500, 503],
    };
    if row.method != Verb::Get && !matches!(row.serves, Serves::Public(_)) {
        // What a body may be refused for; without one, its length and coding may still be wrong.
        statuses.extend([400, 408, 413, 415]);
    }
    if matches!(row.serves, Serves::Admin(..)) && (row.method != Verb::Get || row.path.contains('{')) {
        statuses.extend([404, 409, 422]);
    }
    statuses
}

fn described(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be understood.",
        401 => "No credential, or one that is not good.",
        403 => "The credential does not allow it.",
        404 => "There is no such thing, or not for this caller.",
        408 => "The body comes too slowly.",
        409 => "Something that is there stands against it.",
        410 => "It was, and was erased or retired.",
        413 => "The body is too large.",
        415 => "The body is compressed.",
        422 => "It is asked wrongly.",
        429 => "Too much, too often; `retry-after` says when to come back.",
        502 => "The provider failed.",
        503 => "Not now.",
        504 => "No answer in time.",
        _ => "The gateway failed.",
    }
}

/// What every refusal has in common, in whichever dialect it comes.
fn refusal() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message"],
                "properties": { "message": { "type": "string" }, "type": { "type": "string" } },
            },
            "faults": { "type": "array", "items": { "type": "string" }, "description": "Of the admin API." },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);

        assert!(found.contains("#/components/schemas/Refusal") && found.len() > 5, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_details() {
        let mut names = BTreeSet::new();

        for row in rows() {
            assert!(names.insert(row.id), "`{}` twice", row.id);
            assert!(details::IDS.contains(&row.id), "say in openapi/details.rs what `{}` takes and answers", row.id);
        }
        assert_eq!(names, details::IDS.iter().copied().collect(), "details of a route that is not there");
    }
}
