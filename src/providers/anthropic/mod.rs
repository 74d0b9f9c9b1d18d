//! Anthropic Messages in both directions: as a client speaks it (`read`, `write`, `writer`) and as an upstream is spoken to
//! (`encode`, `decode`, `reader`); and what must be known of replies that only pass through (`pass`).

mod count;
mod decode;
mod encode;
mod encode_messages;
mod encode_parts;
mod encode_tools;
mod errors;
mod estimate;
mod fields;
mod history;
mod list;
mod models;
mod pass;
mod read;
mod read_blocks;
mod reader;
mod schema;
mod signature;
#[cfg(test)]
mod tests;
mod usage;
mod write;
mod writer;

use std::fmt::Arguments;
use std::io::Write as _;

use bytes::Bytes;
use serde_json::{Map, Value};

pub use errors::{error_body, error_event, error_type};
pub use estimate::{count_tokens_body, estimate_tokens};
pub use history::{own_history, strip_thinking};
pub use list::{write_model, write_models};
pub use pass::{Facts, PassReader, whole};

use super::dialect::{
    ClientDialect, CountingDialect, Nonsense, StreamReader, StreamWriter, Target, UpstreamDialect, WireRequest, object,
};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatReply, ChatRequest};

/// The version under which requests go out; it takes no sampling parameters.
const VERSION: &str = "2026-10-21";
/// The version that does.
const VERSION_WITH_SAMPLING: &str = "2023-06-01";

/// The dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anthropic;

impl ClientDialect for Anthropic {
    fn read(&self, body: &[u8]) -> Result<ChatRequest, IntakeError> {
        read::read(body)
    }

    fn write(&self, reply: &ChatReply, request: &ChatRequest) -> Bytes {
        write::write(reply, request)
    }

    fn writer(&self, request: &ChatRequest) -> Box<dyn StreamWriter> {
        Box::new(writer::Writer::new(request))
    }
}

impl UpstreamDialect for Anthropic {
    fn encode(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        encode::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<ChatReply, Nonsense> {
        decode::decode(body)
    }

    fn is_error(&self, body: &[u8]) -> bool {
        object(body).is_ok_and(|body| is_error_object(&body))
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(reader::Reader::default())
    }

    fn counting(&self) -> Option<&dyn CountingDialect> {
        Some(self)
    }
}

fn is_error_object(body: &Map<String, Value>) -> bool {
    body.get("type").is_some_and(|kind| kind == "error") || body.get("error").is_some_and(|error| !error.is_null())
}

/// Appends an event with its name, without which Anthropic's own clients overlook it.
fn put_event(out: &mut Vec<u8>, name: &str, data: Arguments<'_>) {
    write!(out, "event: {name}\ndata: {data}\n\n").expect("a vector takes all that is written to it");
}
