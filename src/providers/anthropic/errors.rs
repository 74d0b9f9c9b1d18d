//! Errors in Anthropic's shape.

use bytes::Bytes;
use serde_json::json;

use super::put_event;

/// Returns the body of an error with this status; `code` says more than the type that goes with the status.
pub fn error_body(status: u16, code: &str, message: &str, request_id: &str) -> Bytes {
    let details = json!({ "error_code": code });
    let error = json!({ "type": error_type(status), "message": message, "details": details });
    json!({ "type": "error", "error": error, "request_id": request_id }).to_string().into()
}

/// Returns the event that ends a stream in an error of this type ([`error_type`]).
pub fn error_event(message: &str, kind: &str) -> Bytes {
    let mut event = Vec::new();
    let data = json!({ "type": "error", "error": { "type": kind, "message": message } });
    put_event(&mut event, "error", format_args!("{data}"));
    event.into()
}

/// Returns how Anthropic names what a status means.
pub fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 | 408 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_a_type_by_their_status() {
        let body: serde_json::Value =
            serde_json::from_slice(&error_body(429, "rate_limit_exceeded", "slow down", "req_1")).unwrap();

        assert_eq!(body["type"], "error");
        let details = json!({ "error_code": "rate_limit_exceeded" });
        assert_eq!(body["error"], json!({ "type": "rate_limit_error", "message": "slow down", "details": details }));
        assert_eq!(body["request_id"], "req_1");
        let types = [400, 415, 422, 500, 502, 529].map(error_type);
        assert_eq!(types[..3], ["invalid_request_error"; 3]);
        assert_eq!(types[3..], ["api_error", "api_error", "overloaded_error"]);
    }

    #[test]
    fn an_error_event_has_its_name() {
        let event = error_event("busy", "overloaded_error");

        let expected = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
        assert_eq!(event, expected);
    }
}
