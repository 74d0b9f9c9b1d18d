//! The OpenAI dialect of the demo provider: which path leads where, the list of models, the shape of an error.

mod chat;
mod chat_request;
mod completions;
mod embeddings;
mod parameters;
mod tools;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::DemoOptions;
use super::reply::{Pace, Refusal, Reply};
use super::request::Request;
use super::script::without_version;

pub(super) const SMALL: &str = "demo-small";
pub(super) const LARGE: &str = "demo-large";
pub(super) const SLOW: &str = "demo-slow";
pub(super) const FLAKY: &str = "demo-flaky";
pub(super) const EMBED: &str = "demo-embed";
const MODELS: [&str; 5] = [SMALL, LARGE, SLOW, FLAKY, EMBED];
/// When the demo models came to be, as the list of models tells it: 2026-01-01.
const MODELS_CREATED: u64 = 1_767_225_600;
/// Tokens of prompt that a demo model takes.
const CONTEXT_TOKENS: usize = 128_000;

/// What every answer needs besides the request's body.
struct Asking<'a> {
    options: &'a DemoOptions,
    pace: Pace,
    model: &'a str,
}

/// Answers a request; `body` is null, and `not_json` says why, when the body is no JSON.
pub(super) fn answer(
    options: &DemoOptions,
    request: &Request,
    body: &Value,
    not_json: Option<&serde_json::Error>,
    pace: Pace,
) -> Reply {
    route(options, request, body, not_json, pace).unwrap_or_else(|refusal| refuse(&refusal))
}

/// Returns a refusal in OpenAI's shape.
pub(super) fn refuse(refusal: &Refusal) -> Reply {
    let Refusal { status, kind, code, param, message } = refusal;
    let body = json!({"error": {"message": message, "type": kind, "param": param, "code": code}});
    let reply = Reply::json(*status, &body);
    if *status == 401 { reply.with_header("www-authenticate", "Bearer") } else { reply }
}

fn route(
    options: &DemoOptions,
    request: &Request,
    body: &Value,
    not_json: Option<&serde_json::Error>,
    pace: Pace,
) -> Result<Reply, Refusal> {
    let path = without_version(request.path());
    let method = match path {
        "/chat/completions" | "/completions" | "/embeddings" => "POST",
        "/models" => "GET",
        _ if path.starts_with("/models/") => "GET",
        _ => return Err(Refusal::plain(404, format!("there is nothing at {} {path}", request.method))),
    };
    if request.method != method {
        let message = format!("{} is not allowed at {path}; use {method}", request.method);
        return Ok(refuse(&Refusal::plain(405, message)).with_header("allow", method));
    }
    check_key(options, request)?;
    if method == "GET" {
        return models(path);
    }
    if let Some(error) = not_json {
        return Err(Refusal::plain(400, format!("the body is not valid JSON: {error}")));
    }
    if !body.is_object() {
        return Err(Refusal::plain(400, "the body is not a JSON object"));
    }
    let asking = Asking { options, pace, model: known_model(options, body)? };
    match path {
        "/chat/completions" => chat::answer(asking, body),
        "/completions" => completions::answer(asking, body),
        _ => embeddings::answer(&asking, body),
    }
}

fn check_key(options: &DemoOptions, request: &Request) -> Result<(), Refusal> {
    let message = match request.key() {
        _ if options.keys.is_empty() => return Ok(()),
        Some(key) if options.keys.iter().any(|known| known == key) => return Ok(()),
        Some(_) => "the API key is not one of the demo provider's",
        None => "no API key was given; send `authorization: Bearer <key>`",
    };
    Err(Refusal { code: Some("invalid_api_key"), ..Refusal::plain(401, message) })
}

fn known_model<'a>(options: &DemoOptions, body: &'a Value) -> Result<&'a str, Refusal> {
    let model = parameters::text(body, "model")?
        .ok_or_else(|| Refusal::invalid("model", "missing_required_parameter", "`model` is missing"))?;
    if options.any_model || MODELS.contains(&model) { Ok(model) } else { Err(unknown_model(model)) }
}

fn unknown_model(model: &str) -> Refusal {
    let message = format!("the model `{model}` does not exist here; known: {}", MODELS.join(", "));
    Refusal { code: Some("model_not_found"), param: Some("model".into()), ..Refusal::plain(404, message) }
}

fn models(path: &str) -> Result<Reply, Refusal> {
    let entry = |id: &str| json!({"id": id, "object": "model", "created": MODELS_CREATED, "owned_by": "bursar"});
    match path.strip_prefix("/models/") {
        None => Ok(Reply::json(200, &json!({"object": "list", "data": MODELS.map(entry)}))),
        Some(id) if MODELS.contains(&id) => Ok(Reply::json(200, &entry(id))),
        Some(id) => Err(unknown_model(id)),
    }
}

/// Refuses a prompt longer than the context; a model of another name has no known context.
fn check_context(model: &str, prompt_tokens: usize) -> Result<(), Refusal> {
    if prompt_tokens <= CONTEXT_TOKENS || !MODELS.contains(&model) {
        return Ok(());
    }
    let message = format!("the prompt has {prompt_tokens} tokens, the context of `{model}` takes {CONTEXT_TOKENS}");
    Err(Refusal::invalid("messages", "context_length_exceeded", message))
}

/// Returns the clock in Unix seconds, for `created`.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the usage object; the details the demo provider knows nothing of are zero.
fn usage(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}
