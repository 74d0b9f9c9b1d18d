//! The OpenAI dialect: requests patched, replies and streams read for what the gateway must know, and repaired where
//! a provider's shape would break a client. Bytes that need nothing pass as they came.

mod encode;
mod facts;
mod fold;
mod lenient;
mod models;
mod repair;
mod slow;
mod thinking;
mod usage;
mod whole;

use bytes::Bytes;

pub use encode::{Quirks, encode};
pub use facts::{ChunkFacts, Finish, Malformed, chunk_facts};
pub(super) use lenient::value as lenient_value;
pub use models::model_names;
pub use repair::{Action, StreamEnd, StreamRepair};
pub use thinking::fit_thinking;

pub use whole::{WholeFacts, repair_whole, whole_facts};

/// Builds the event that tells a client, in the middle of a stream, that it ends in an error; no `[DONE]` follows.
pub fn error_chunk(message: &str, kind: &str, code: Option<&str>, param: Option<&str>) -> Bytes {
    let error = serde_json::json!({ "error": { "message": message, "type": kind, "param": param, "code": code } });
    event(&error)
}

/// Frames a value as one event.
fn event(value: &serde_json::Value) -> Bytes {
    format!("data: {value}\n\n").into()
}
