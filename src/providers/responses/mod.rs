//! The OpenAI Responses dialect, for clients ([`ClientDialect`]) and upstreams ([`UpstreamDialect`]).
//!
//! *read*, *write* and *writer* are the client's side, *encode*, *decode* and *reader* the upstream's; *pass* reads what goes
//! untouched from one to the other. *stored* gives a request the conversation that it goes on from, before anything else reads it; here
//! nothing is kept between requests, so what still refers to an earlier reply is refused.

mod decode;
mod encode;
mod error;
mod fields;
mod foreign;
mod history;
mod item;
mod items;
mod pass;
mod read;
mod reader;
mod stored;
#[cfg(test)]
mod tests;
mod tools;
mod write;
mod writer;

use bytes::Bytes;
use serde_json::json;

use super::dialect::{
    ClientDialect, Nonsense, StreamReader, StreamWriter, Target, UpstreamDialect, WireRequest, object,
};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatReply, ChatRequest};

pub use error::{Progress, error_body, error_events};
pub use pass::{Facts, PassReader, whole};
pub use stored::{Marks, Page, Turn, input_items, item_list, with_conversation, with_encrypted_thoughts};

/// The dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Responses;

impl ClientDialect for Responses {
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

impl UpstreamDialect for Responses {
    fn encode(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        encode::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<ChatReply, Nonsense> {
        decode::decode(body)
    }

    fn is_error(&self, body: &[u8]) -> bool {
        object(body).is_ok_and(|response| pass::is_failure(&response))
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(reader::Reader::default())
    }
}

/// Writes the answer to a question how many tokens an input has.
pub fn write_input_tokens(tokens: u64) -> Bytes {
    json!({ "object": "response.input_tokens", "input_tokens": tokens }).to_string().into()
}
