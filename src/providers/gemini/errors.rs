//! What a Gemini client is answered besides chats: errors, the list of models, counted tokens.

use bytes::Bytes;
use serde_json::{Value, json};

/// Returns an error's body for HTTP status `status`.
pub fn error_body(status: u16, message: &str) -> Bytes {
    error(status, message).to_string().into()
}

/// Returns the event that ends a stream in an error.
pub fn error_event(status: u16, message: &str) -> Bytes {
    format!("data: {}\r\n\r\n", error(status, message)).into()
}

fn error(status: u16, message: &str) -> Value {
    json!({ "error": { "code": status, "message": message, "status": word(status), "details": [] } })
}

/// Returns Google's word for a status, by its table of canonical codes.
fn word(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        402 | 429 => "RESOURCE_EXHAUSTED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        502 | 503 | 529 => "UNAVAILABLE",
        400..=498 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

/// Returns the list of models, each with the id it is asked by and the name it is shown by.
pub fn write_models(ids: &[(String, String)]) -> Bytes {
    json!({ "models": ids.iter().map(|(id, shown)| model(id, shown)).collect::<Vec<_>>() }).to_string().into()
}

/// Returns one model, likewise.
pub fn write_model(id: &str, shown: &str) -> Bytes {
    model(id, shown).to_string().into()
}

fn model(id: &str, shown: &str) -> Value {
    let methods = ["generateContent", "streamGenerateContent", "countTokens"];
    json!({ "name": format!("models/{id}"), "displayName": shown, "supportedGenerationMethods": methods })
}

/// Returns the answer to `:countTokens`.
pub fn count_tokens(total: u64) -> Bytes {
    json!({ "totalTokens": total }).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::gemini::wire::is_error;

    #[test]
    fn an_error_is_told_in_google_s_shape() {
        let body: Value = serde_json::from_slice(&error_body(429, "slow")).unwrap();

        let expected =
            json!({"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED", "details": []}});
        assert_eq!(body, expected);
        assert!(error_event(503, "x").ends_with(b"\r\n\r\n"));
        assert!(is_error(&error_body(503, "x")));
    }

    #[test]
    fn models_are_named_by_their_path() {
        let models: Value = serde_json::from_slice(&write_models(&[("fast".into(), "Fast".into())])).unwrap();

        assert_eq!(models["models"][0]["name"], "models/fast");
    }
}
