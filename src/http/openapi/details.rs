//! What the table does not say of a route: its query, its body, its answer, and its own refusals.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::books::desk::{ExportOrder, Subject};
use crate::http::audit::Backup;
use crate::http::budgets::Raised;
use crate::http::directory::{Fields, Rotation};
use crate::http::session::SignIn;
use crate::http::users::{Assignment, NewPassword, NewUser};

/// What a route takes and answers.
pub struct Detail {
    /// Name and type; a name that ends in `!` is required.
    pub query: &'static [(&'static str, &'static str)],
    pub body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub answer: Answer,
    /// Besides those that all routes of its kind have.
    pub refusals: &'static [u16],
}

/// The form of an answer.
pub enum Answer {
    Object,
    List,
    /// An object, or its pieces as events.
    Streamed,
    Events,
    Text,
    Bytes,
}

/// Every operation that has details.
#[cfg(test)]
pub const IDS: &[&str] = &[
    "root",
    "live",
    "ready",
    "metrics",
    "openapi",
    "sign_in",
    "follow_link",
    "show_session",
    "sign_out",
    "create_chat_completion",
    "create_completion",
    "create_embedding",
    "create_response",
    "create_message",
    "count_message_tokens",
    "count_response_tokens",
    "generate_content",
    "stream_generate_content",
    "count_content_tokens",
    "embed_content",
    "batch_embed_contents",
    "list_gemini_models",
    "show_gemini_model",
    "list_models",
    "show_model",
    "show_response",
    "delete_response",
    "list_response_input",
    "status",
    "list_providers",
    "steer_provider",
    "config_diff",
    "reload",
    "list_orgs",
    "create_org",
    "show_org",
    "update_org",
    "delete_org",
    "list_teams",
    "create_team",
    "show_team",
    "update_team",
    "delete_team",
    "list_keys",
    "list_budgets",
    "override_budget",
    "list_usage",
    "create_key",
    "show_key",
    "update_key",
    "delete_key",
    "act_on_key",
    "list_users",
    "create_user",
    "show_user",
    "assign_user",
    "delete_user",
    "disable_user",
    "enable_user",
    "set_password",
    "make_link",
    "make_token",
    "revoke_token",
    "audit_status",
    "search_records",
    "show_record",
    "show_body",
    "prove_inclusion",
    "prove_consistency",
    "sign_checkpoint",
    "rebuild_index",
    "export_records",
    "back_up",
    "erase_user",
    "list_holds",
    "hold_user",
    "release_user",
];

const PLAIN: Detail = Detail { query: &[], body: None, answer: Answer::Object, refusals: &[] };
/// A request for a model, which may fail behind us.
const CALL: Detail = Detail { answer: Answer::Streamed, refusals: &[404, 409, 422, 429, 500, 502, 504], ..PLAIN };
const LIST: Detail = Detail { answer: Answer::List, ..PLAIN };

/// Filters of a search in the books.
const FILTERS: &[(&str, &str)] = &[
    ("from", "string"),
    ("to", "string"),
    ("team", "string"),
    ("user", "string"),
    ("user_name", "string"),
    ("key", "string"),
    ("model", "string"),
    ("asked", "string"),
    ("provider", "string"),
    ("phase", "string"),
    ("outcome", "string"),
    ("error", "string"),
    ("action", "string"),
    ("request", "string"),
    ("before", "integer"),
    ("limit", "integer"),
];

/// What usage is told apart by, and which.
const USAGE: &[(&str, &str)] = &[
    ("by", "string"),
    ("last", "string"),
    ("from", "string"),
    ("to", "string"),
    ("org", "string"),
    ("team", "string"),
    ("key", "string"),
    ("user", "string"),
    ("alias", "string"),
    ("provider", "string"),
    ("model", "string"),
    ("provider_key", "string"),
    ("tag", "string"),
];

/// Returns the details of an operation; of most there is nothing to say.
pub fn detail(id: &str) -> Detail {
    match id {
        "metrics" => Detail { answer: Answer::Text, ..PLAIN },
        "ready" => Detail { refusals: &[503], ..PLAIN },
        "sign_in" => {
            Detail { body: Some(of::<SignIn>), refusals: &[400, 401, 403, 408, 413, 415, 422, 429, 503], ..PLAIN }
        }
        "follow_link" => Detail { query: &[("t!", "string")], refusals: &[401, 422], ..PLAIN },
        "create_chat_completion" | "create_message" => Detail { body: Some(chat), ..CALL },
        "create_completion" => Detail { body: Some(completion), ..CALL },
        "create_response" => Detail { body: Some(response), ..CALL },
        "create_embedding" => Detail { body: Some(response), answer: Answer::Object, ..CALL },
        "count_message_tokens" => Detail { body: Some(chat), answer: Answer::Object, ..CALL },
        "count_response_tokens" => Detail { body: Some(response), answer: Answer::Object, ..CALL },
        "generate_content" | "count_content_tokens" => Detail { body: Some(contents), answer: Answer::Object, ..CALL },
        "stream_generate_content" => {
            Detail { body: Some(contents), query: &[("alt!", "string")], answer: Answer::Events, ..CALL }
        }
        "embed_content" => Detail { body: Some(content), answer: Answer::Object, ..CALL },
        "batch_embed_contents" => Detail { body: Some(requests), answer: Answer::Object, ..CALL },
        "show_model" | "show_gemini_model" => Detail { refusals: &[404], ..PLAIN },
        "show_response" | "delete_response" => Detail { refusals: &[400, 404, 409, 429, 500], ..PLAIN },
        "list_response_input" => Detail {
            query: &[("limit", "integer"), ("after", "string"), ("order", "string")],
            refusals: &[400, 404, 429, 500],
            ..PLAIN
        },
        "list_providers" | "list_orgs" | "list_teams" | "list_users" => Detail { refusals: &[422], ..LIST },
        "list_keys" => Detail { query: &[("team", "string")], refusals: &[422], ..LIST },
        "list_budgets" => Detail { query: &[("holder", "string")], refusals: &[404, 422, 503], ..LIST },
        "override_budget" => Detail { body: Some(of::<Raised>), refusals: &[404, 503], ..PLAIN },
        "list_usage" => Detail { query: USAGE, refusals: &[404, 422, 503], ..LIST },
        "steer_provider" => Detail { query: &[("key", "string"), ("for", "string")], ..PLAIN },
        "config_diff" => Detail { refusals: &[422], ..PLAIN },
        "create_org" | "update_org" | "create_team" | "update_team" | "create_key" | "update_key" => {
            Detail { body: Some(of::<Fields>), ..PLAIN }
        }
        "act_on_key" => Detail { body: Some(of::<Rotation>), ..PLAIN },
        "create_user" => Detail { body: Some(of::<NewUser>), ..PLAIN },
        "assign_user" => Detail { body: Some(of::<Assignment>), ..PLAIN },
        "set_password" => Detail { body: Some(of::<NewPassword>), ..PLAIN },
        "audit_status" => Detail { refusals: &[404], ..PLAIN },
        "list_holds" => Detail { refusals: &[404], ..LIST },
        "search_records" => Detail { query: FILTERS, refusals: &[404, 410, 422], ..PLAIN },
        "show_record" => Detail { refusals: &[410], ..PLAIN },
        "show_body" => Detail { answer: Answer::Bytes, refusals: &[410], ..PLAIN },
        "prove_inclusion" => {
            Detail { query: &[("index!", "integer"), ("size", "integer")], refusals: &[404, 410, 422], ..PLAIN }
        }
        "prove_consistency" => {
            Detail { query: &[("old!", "integer"), ("size", "integer")], refusals: &[404, 410, 422], ..PLAIN }
        }
        "export_records" => Detail { body: Some(of::<ExportOrder>), refusals: &[410], ..PLAIN },
        "back_up" => Detail { body: Some(of::<Backup>), ..PLAIN },
        "erase_user" | "hold_user" | "release_user" => Detail { body: Some(of::<Subject>), refusals: &[410], ..PLAIN },
        _ => PLAIN,
    }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

// The bodies of the model API belong to their dialects and pass through: what is said of them here is what the gateway itself
// reads, and what else is sent is the provider's to judge.

fn chat(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": { "type": "string" },
            "messages": { "type": "array", "minItems": 1, "items": { "type": "object" } },
            "stream": { "type": "boolean" },
        },
    })
}

fn completion(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["model", "prompt"],
        "properties": { "model": { "type": "string" }, "prompt": {}, "stream": { "type": "boolean" } },
    })
}

fn response(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["model", "input"],
        "properties": { "model": { "type": "string" }, "input": { "type": ["string", "array"] } },
    })
}

fn contents(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["contents"],
        "properties": { "contents": { "type": "array", "minItems": 1, "items": { "type": "object" } } },
    })
}

fn content(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["content"],
        "properties": { "content": { "type": "object" } },
    })
}

fn requests(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["requests"],
        "properties": { "requests": { "type": "array", "minItems": 1, "items": { "type": "object" } } },
    })
}
