//! Errors in the middle of a stream.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::write::Response;
use crate::providers::dialect::StreamFailure;

/// The codes that a response object's own error may have; for others the `error` event alone is exact.
const CODES: [&str; 3] = ["server_error", "rate_limit_exceeded", "invalid_prompt"];

/// How far a stream has come when it fails.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Of the next event.
    pub sequence_number: u64,
    /// The response object of the stream's beginning, where the client has had one.
    pub response: Option<Map<String, Value>>,
}

/// Builds the events that end a stream in an error: `error` and, where the client knows of a response,
/// `response.failed`.
///
/// The first has its fields twice: flat, as OpenAI documents it, and within `error`, as OpenAI sends it; its SDKs raise
/// on the latter and typed clients read either.
pub fn error_events(progress: &Progress, failure: &StreamFailure<'_>) -> Bytes {
    let response = progress.response.clone().map(Response::of);
    let mut out = Vec::new();
    write_failure(progress.sequence_number, response, Vec::new(), failure, &mut out);
    out.into()
}

pub(super) fn write_failure(
    sequence_number: u64,
    response: Option<Response>,
    output: Vec<Value>,
    failure: &StreamFailure<'_>,
    out: &mut Vec<u8>,
) {
    let StreamFailure { message, kind, code, param } = *failure;
    let error = json!({
        "type": "error", "sequence_number": sequence_number, "code": code, "message": message, "param": param,
        "error": { "type": kind, "code": code, "message": message, "param": param },
    });
    event("error", &error, out);
    if let Some(mut response) = response {
        let known = code.filter(|code| CODES.contains(code)).unwrap_or(CODES[0]);
        response.fail(json!({ "code": known, "message": message }), output);
        let failed = json!({
            "type": "response.failed", "sequence_number": sequence_number + 1, "response": response.value(),
        });
        event("response.failed", &failed, out);
    }
}

/// Returns what an upstream's `error` or `response.failed` event says, in the shape of an error's body.
pub fn error_body(data: &[u8]) -> Option<Value> {
    let Ok(Value::Object(mut event)) = serde_json::from_slice(data) else { return None };
    let nested = event.remove("error").filter(Value::is_object);
    let failed = event.get_mut("response").and_then(|response| response.get_mut("error")).map(Value::take);
    let flat = || {
        event.get("message")?;
        let field = |name: &str| event.get(name).cloned().unwrap_or_default();
        Some(json!({ "message": field("message"), "code": field("code"), "param": field("param") }))
    };
    let mut error = nested.or(failed.filter(Value::is_object)).or_else(flat)?;
    if error.get("type").is_none_or(Value::is_null) {
        error["type"] = error.get("code").cloned().unwrap_or_default();
    }
    Some(json!({ "error": error }))
}

/// Frames an event.
pub(super) fn event(name: &str, value: &Value, out: &mut Vec<u8>) {
    for piece in ["event: ", name, "\ndata: ", &value.to_string(), "\n\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}
