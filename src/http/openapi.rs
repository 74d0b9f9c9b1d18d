//! The OpenAPI document of all routes, made from the table.

use serde_json::{Map, Value, json};

use super::table::{Row, Serves, rows};

/// Returns the document, in OpenAPI 3.1.
pub fn document() -> Value {
    let mut paths = Map::new();
    for row in rows() {
        let methods = paths.entry(row.documented()).or_insert_with(|| json!({}));
        methods[row.method.as_str()] = operation(row);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Bursar", "version": env!("CARGO_PKG_VERSION"), "license": { "name": "MIT OR Apache-2.0" } },
        "paths": paths,
        "components": { "securitySchemes": {
            "client_key": { "type": "http", "scheme": "bearer", "description": "A client key." },
            "admin_token": { "type": "http", "scheme": "bearer", "description": "The token of an admin." },
        } },
    })
}

fn operation(row: &Row) -> Value {
    let (tag, security) = match row.serves {
        Serves::Public(_) => ("public", json!([])),
        Serves::Client(_) => ("models", json!([{ "client_key": [] }])),
        Serves::Admin(..) => ("admin", json!([{ "admin_token": [] }])),
    };
    let mut operation = json!({
        "operationId": row.id,
        "summary": row.summary,
        "tags": [tag],
        "security": security,
        "parameters": variables(row),
        "responses": { "200": { "description": "Done." } },
    });
    if let Some(right) = row.right() {
        operation["x-right"] = json!(right);
    }
    operation
}

/// Returns the variables of the path.
fn variables(row: &Row) -> Vec<Value> {
    let names = row.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect()
}
