//! Cohere: its v2 chat and embeddings.
//!
//! A reply that ended with `ERROR` or `TIMEOUT` counts as an error. What Cohere bills (`billed_units`) is less than what it
//! read; the usage told is what it read.

mod decode;
mod embeddings;
mod encode;
mod messages;
mod reader;

#[cfg(test)]
mod tests;

use super::dialect::{EmbeddingsDialect, Nonsense, StreamReader, Target, UpstreamDialect, WireRequest, object};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatReply, ChatRequest};

/// Speaks v2. Its base URL ends at the host: `https://api.cohere.com`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cohere;

impl UpstreamDialect for Cohere {
    fn encode(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        encode::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<ChatReply, Nonsense> {
        decode::decode(object(body)?)
    }

    fn is_error(&self, body: &[u8]) -> bool {
        object(body).is_ok_and(|body| decode::is_error(&body))
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(reader::Reader::default())
    }

    fn embeddings(&self) -> Option<&dyn EmbeddingsDialect> {
        Some(&embeddings::Embed)
    }
}
