//! The Anthropic dialect of the demo provider: Messages, the counting of tokens, the list of models.
//!
//! As strict as the original: `anthropic-version` and `max_tokens` are demanded, unknown fields refused, results must
//! follow their calls, and a thinking block must come back with the signature it was sent with. Cache marks have no
//! least length here, so that a short example shows the figures.

mod blocks;
mod message;
mod prompt;
mod request;
mod shapes;
mod turns;

use serde_json::{Value, json};

use super::dialect::{Arrival, Dialect};
use super::models::{ALL, CONTEXT_TOKENS, CREATED_AT, EMBED, OUTPUT_TOKENS, display_name, overflows};
use super::reply::{Refusal, Reply};
use super::script::without_version;
use request::Messages;

pub(super) fn answer(arrival: Arrival<'_>) -> Reply {
    let reply = route(arrival).unwrap_or_else(|refusal| refuse(&refusal));
    reply.with_header("anthropic-organization-id", "00000000-0000-4000-8000-00000000demo")
}

/// Returns a refusal in Anthropic's shape.
pub(super) fn refuse(refusal: &Refusal) -> Reply {
    Reply::json(refusal.status, &error(refusal))
}

/// What a request is told that wants its conversation kept.
const NO_THREAD: &str = "thread_unsupported_request";

/// Returns the body of a refusal, and of the event that tells of it in mid-stream.
pub(super) fn error(refusal: &Refusal) -> Value {
    let kind = match refusal.status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let mut error = json!({"type": kind, "message": refusal.message});
    if refusal.code == Some(NO_THREAD) {
        error["details"] = json!({"error_code": NO_THREAD, "unsupported": ["thread"]});
    }
    json!({"type": "error", "error": error, "request_id": null})
}

/// Returns what Anthropic says of a prompt of so many tokens that is too long.
pub(super) fn too_long(tokens: usize) -> String {
    format!("prompt is too long: {tokens} tokens > {CONTEXT_TOKENS} maximum")
}

fn wrong(message: impl Into<String>) -> Refusal {
    Refusal::plain(400, message)
}

fn route(arrival: Arrival<'_>) -> Result<Reply, Refusal> {
    let path = without_version(arrival.request.path());
    let counts = match path {
        "/messages" => false,
        "/messages/count_tokens" => true,
        "/models" => return models(&arrival),
        _ => match path.strip_prefix("/models/") {
            Some(id) => return one_model(&arrival, id),
            None => return Err(arrival.nothing_there()),
        },
    };
    arrival.check_method("POST")?;
    check_key(&arrival)?;
    let version = version(&arrival)?;
    let beta = arrival.request.header("anthropic-beta").is_some();
    let body = request::shaped(arrival.object()?, counts, beta, version)?;
    let request = Messages::read(&body, version, arrival.options.seed)?;
    check_model(&arrival, request.model)?;
    if counts {
        return Ok(Reply::json(200, &json!({"input_tokens": request.prompt_tokens()})));
    }
    if overflows(request.model, request.prompt_tokens()) {
        return Err(wrong(too_long(request.prompt_tokens())));
    }
    Ok(message::answer(&request, arrival))
}

/// The API versions, by which the demands differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Of2023,
    /// Without sampling parameters, documents of the assistant's and citations of the user's.
    Of2026,
}

fn version(arrival: &Arrival<'_>) -> Result<Version, Refusal> {
    match arrival.request.header("anthropic-version") {
        Some("2023-06-01") => Ok(Version::Of2023),
        Some("2026-10-21") => Ok(Version::Of2026),
        Some(other) => Err(wrong(format!("anthropic-version: `{other}` is no version; use 2023-06-01 or 2026-10-21"))),
        None => Err(wrong("anthropic-version: header is required")),
    }
}

fn check_key(arrival: &Arrival<'_>) -> Result<(), Refusal> {
    arrival.check_key().map_err(|refusal| match arrival.request.key() {
        Some(_) => Refusal { message: "invalid x-api-key".to_owned(), ..refusal },
        None => Refusal { message: "x-api-key: header is required".to_owned(), ..refusal },
    })
}

fn check_model(arrival: &Arrival<'_>, model: &str) -> Result<(), Refusal> {
    match model {
        EMBED => Err(wrong(format!("model: `{EMBED}` makes embeddings; it cannot chat"))),
        _ if arrival.options.any_model || ALL.contains(&model) => Ok(()),
        _ => Err(unknown_model(model)),
    }
}

fn unknown_model(model: &str) -> Refusal {
    Refusal::plain(404, format!("model: `{model}` is not known; known: {}", ALL.join(", ")))
}

fn models(arrival: &Arrival<'_>) -> Result<Reply, Refusal> {
    arrival.check_method("GET")?;
    check_key(arrival)?;
    let [first, .., last] = ALL;
    let list = json!({"data": ALL.map(entry), "has_more": false, "first_id": first, "last_id": last});
    Ok(Reply::json(200, &list))
}

fn one_model(arrival: &Arrival<'_>, id: &str) -> Result<Reply, Refusal> {
    arrival.check_method("GET")?;
    check_key(arrival)?;
    if ALL.contains(&id) { Ok(Reply::json(200, &entry(id))) } else { Err(unknown_model(id)) }
}

fn entry(model: &str) -> Value {
    json!({
        "type": "model",
        "id": model,
        "display_name": display_name(model),
        "created_at": CREATED_AT,
        "max_input_tokens": CONTEXT_TOKENS,
        "max_tokens": OUTPUT_TOKENS,
    })
}

const DIALECT: Dialect = Dialect::Anthropic;
