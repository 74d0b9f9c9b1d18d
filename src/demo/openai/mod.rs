//! The OpenAI dialect of the demo provider: which path leads where, the list of models, the shape of an error.

mod chat;
mod chat_request;
mod completions;
mod embeddings;
pub(super) mod parameters;
pub(super) mod tools;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::DemoOptions;
use super::dialect::Arrival;
use super::models::{ALL, CONTEXT_TOKENS, CREATED, overflows};
use super::reply::{Pace, Refusal, Reply};
use super::script::without_version;

/// What every answer needs besides the request's body.
struct Asking<'a> {
    options: &'a DemoOptions,
    pace: Pace,
    model: &'a str,
}

pub(super) fn answer(arrival: Arrival<'_>) -> Reply {
    route(arrival).unwrap_or_else(|refusal| refuse(&refusal))
}

/// Returns a refusal in OpenAI's shape.
pub(super) fn refuse(refusal: &Refusal) -> Reply {
    let reply = Reply::json(refusal.status, &error(refusal));
    if refusal.status == 401 { reply.with_header("www-authenticate", "Bearer") } else { reply }
}

/// Returns the body of a refusal.
pub(super) fn error(refusal: &Refusal) -> Value {
    let Refusal { kind, code, param, message, .. } = refusal;
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}

fn route(arrival: Arrival<'_>) -> Result<Reply, Refusal> {
    let Arrival { options, request, .. } = arrival;
    let path = without_version(request.path());
    let method = match path {
        "/chat/completions" | "/completions" | "/embeddings" => "POST",
        "/models" => "GET",
        _ if path.starts_with("/models/") => "GET",
        _ => return Err(arrival.nothing_there()),
    };
    if let Err(refusal) = arrival.check_method(method) {
        return Ok(refuse(&refusal).with_header("allow", method));
    }
    arrival.check_key()?;
    if method == "GET" {
        return models(path);
    }
    let body = arrival.object()?;
    let asking = Asking { options, pace: arrival.pace, model: known_model(options, body)? };
    match path {
        "/chat/completions" => chat::answer(asking, body),
        "/completions" => completions::answer(asking, body),
        _ => embeddings::answer(&asking, body),
    }
}

/// Returns the body's model, if there is such a one here.
pub(super) fn known_model<'a>(options: &DemoOptions, body: &'a Value) -> Result<&'a str, Refusal> {
    let model = parameters::text(body, "model")?
        .ok_or_else(|| Refusal::invalid("model", "missing_required_parameter", "`model` is missing"))?;
    if options.any_model || ALL.contains(&model) { Ok(model) } else { Err(unknown_model(model)) }
}

fn unknown_model(model: &str) -> Refusal {
    let message = format!("the model `{model}` does not exist here; known: {}", ALL.join(", "));
    Refusal { code: Some("model_not_found"), param: Some("model".into()), ..Refusal::plain(404, message) }
}

fn models(path: &str) -> Result<Reply, Refusal> {
    let entry = |id: &str| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "bursar"});
    match path.strip_prefix("/models/") {
        None => Ok(Reply::json(200, &json!({"object": "list", "data": ALL.map(entry)}))),
        Some(id) if ALL.contains(&id) => Ok(Reply::json(200, &entry(id))),
        Some(id) => Err(unknown_model(id)),
    }
}

/// Refuses a prompt longer than the context.
pub(super) fn check_context(model: &str, prompt_tokens: usize) -> Result<(), Refusal> {
    if !overflows(model, prompt_tokens) {
        return Ok(());
    }
    let message = format!("the prompt has {prompt_tokens} tokens, the context of `{model}` takes {CONTEXT_TOKENS}");
    Err(Refusal::invalid("messages", "context_length_exceeded", message))
}

/// Returns the clock in Unix seconds, for `created`.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the usage object; the details the demo provider knows nothing of are zero.
fn usage(prompt_tokens: usize, completion_tokens: usize, reasoning_tokens: usize) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}
