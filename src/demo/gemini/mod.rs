//! The Gemini dialect of the demo provider: generateContent, streamed or not, the counting of tokens, embeddings, models.
//!
//! As strict as the original: unknown fields are refused, results must match the calls of the turn, and models named
//! like Gemini 3 demand the thought signatures of the current turn back.

mod embeddings;
mod generate;
mod request;
mod shapes;
mod turns;

use serde_json::{Value, json};

use super::dialect::{Arrival, Dialect};
use super::models::{ALL, CONTEXT_TOKENS, EMBED, GEMINI_3, OUTPUT_TOKENS, display_name};
use super::reply::{Refusal, Reply};
use super::script::without_version;

const DIALECT: Dialect = Dialect::Gemini;
const METHODS: [&str; 5] =
    ["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"];
/// What the names of models have in them that demand thought signatures.
const SIGNING: [&str; 2] = ["gemini-3", "gemini-4"];

/// Returns the model and the method of a path such as `/v1beta/models/demo-small:generateContent`.
pub(super) fn method(path: &str) -> Option<(&str, &str)> {
    let (before, last) = path.rsplit_once("/models/")?;
    let (model, method) = last.rsplit_once(':')?;
    let known = matches!(before, "" | "/v1" | "/v1beta") || before.ends_with("/publishers/google");
    (known && !model.is_empty() && METHODS.contains(&method)).then_some((model, method))
}

/// Whether a model demands thought signatures back.
fn signs(model: &str) -> bool {
    SIGNING.iter().any(|name| model.contains(name))
}

pub(super) fn answer(arrival: Arrival<'_>) -> Reply {
    route(arrival).unwrap_or_else(|refusal| refuse(&refusal))
}

/// Returns a refusal in Google's shape.
pub(super) fn refuse(refusal: &Refusal) -> Reply {
    Reply::json(refusal.status, &error(refusal))
}

/// Returns the body of a refusal, and the event that tells of it in mid-stream.
pub(super) fn error(refusal: &Refusal) -> Value {
    let status = match refusal.status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        402 | 429 => "RESOURCE_EXHAUSTED",
        405 => "UNIMPLEMENTED",
        499 => "CANCELLED",
        503 => "UNAVAILABLE",
        408 | 504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    let details = match (refusal.status, refusal.code) {
        (400, Some("invalid_api_key")) => json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }]),
        (400, _) if refusal.param.is_some() => json!([{
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": refusal.param, "description": refusal.message}],
        }]),
        (429, _) => json!([{
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaMetric": "demo/requests"}],
        }]),
        _ => Value::Null,
    };
    let mut error = json!({"code": refusal.status, "message": refusal.message, "status": status});
    if !details.is_null() {
        error["details"] = details;
    }
    json!({"error": error})
}

/// Returns the refusal of a scripted 429 with the wait in the body, where Google has it.
pub(super) fn refuse_for(refusal: &Refusal, retry_after: &str) -> Reply {
    let mut body = error(refusal);
    if let Some(details) = body.pointer_mut("/error/details").and_then(Value::as_array_mut) {
        let delay = format!("{retry_after}s");
        details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}));
    }
    Reply::json(refusal.status, &body)
}

/// Returns what Google says of a prompt of so many tokens that is too long.
pub(super) fn too_long(tokens: usize) -> String {
    format!("The input token count ({tokens}) exceeds the maximum number of tokens allowed ({CONTEXT_TOKENS}).")
}

fn wrong(message: impl Into<String>) -> Refusal {
    Refusal::plain(400, message)
}

fn route(arrival: Arrival<'_>) -> Result<Reply, Refusal> {
    let Some((model, method)) = method(arrival.request.path()) else { return models(&arrival) };
    arrival.check_method("POST")?;
    check_key(&arrival)?;
    if !arrival.options.any_model && !ALL.contains(&model) && model != GEMINI_3 {
        return Err(unknown_model(model));
    }
    let mut body = arrival.object()?.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("demo");
    }
    match method {
        "embedContent" => embeddings::one(&arrival, model, &body),
        "batchEmbedContents" => embeddings::batch(&arrival, model, &body),
        _ if model == EMBED => Err(Refusal::plain(404, format!("models/{EMBED} is not supported for {method}"))),
        "countTokens" => generate::count(&body),
        _ => generate::answer(arrival, model, method == "streamGenerateContent", &body),
    }
}

/// A wrong key is a bad argument at Google, and none at all is a lack of permission.
fn check_key(arrival: &Arrival<'_>) -> Result<(), Refusal> {
    arrival.check_key().map_err(|refusal| match arrival.request.key() {
        Some(_) => Refusal { status: 400, message: "API key not valid. Pass a valid API key.".to_owned(), ..refusal },
        None => Refusal { status: 403, code: None, message: "no API key was given".to_owned(), ..refusal },
    })
}

fn unknown_model(model: &str) -> Refusal {
    Refusal::plain(404, format!("models/{model} is not found; known: {}, {GEMINI_3}", ALL.join(", ")))
}

fn models(arrival: &Arrival<'_>) -> Result<Reply, Refusal> {
    let path = without_version(arrival.request.path());
    let known: Vec<&str> = ALL.into_iter().chain([GEMINI_3]).collect();
    let wanted = match path.strip_prefix("/models/") {
        Some(model) => Some(model),
        None if path == "/models" => None,
        None => return Err(arrival.nothing_there()),
    };
    arrival.check_method("GET")?;
    check_key(arrival)?;
    match wanted {
        None => Ok(Reply::json(200, &json!({"models": known.into_iter().map(entry).collect::<Vec<_>>()}))),
        Some(model) if known.contains(&model) => Ok(Reply::json(200, &entry(model))),
        Some(model) => Err(unknown_model(model)),
    }
}

fn entry(model: &str) -> Value {
    let methods = if model == EMBED {
        json!(["embedContent", "batchEmbedContents"])
    } else {
        json!(["generateContent", "countTokens"])
    };
    json!({
        "name": format!("models/{model}"),
        "version": "001",
        "displayName": display_name(model),
        "description": "A model of Bursar's built-in demo provider.",
        "inputTokenLimit": CONTEXT_TOKENS,
        "outputTokenLimit": OUTPUT_TOKENS,
        "supportedGenerationMethods": methods,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_method_of_a_path_is_found_under_every_prefix_and_nowhere_else() {
        for prefix in ["/v1beta", "/v1", "", "/v1/projects/p/locations/l/publishers/google"] {
            let path = format!("{prefix}/models/demo-small:countTokens");

            assert_eq!(method(&path), Some(("demo-small", "countTokens")), "{path}");
        }
        for path in ["/v1/models/ft:demo", "/v1/models", "/v1/chat/completions", "/x/models/demo-small:countTokens"] {
            assert_eq!(method(path), None, "{path}");
        }
    }
}
