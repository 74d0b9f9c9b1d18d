//! How the gateway speaks to clients, by what they asked for.

use bytes::Bytes;

use super::dialect::ClientDialect;
use crate::schema::Operation;

/// Returns the dialect that the clients of `operation` speak.
pub fn of(_operation: Operation) -> &'static dyn ClientDialect {
    todo!()
}

/// Returns the event that ends a stream in an error. No event that says "complete" follows.
pub fn error_event(_operation: Operation, message: &str, kind: &str, code: Option<&str>, param: Option<&str>) -> Bytes {
    super::openai::error_chunk(message, kind, code, param)
}

/// Returns an error in Anthropic's shape.
pub fn anthropic_error(_status: u16, _message: &str, _request_id: &str) -> Bytes {
    todo!()
}

/// Returns an error in Google's shape.
pub fn gemini_error(_status: u16, _message: &str) -> Bytes {
    todo!()
}
