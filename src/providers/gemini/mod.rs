//! The Gemini dialect: Google's `generateContent`, of the Developer API and of Vertex AI, in both directions.

mod contents;
mod decode;
mod embeddings;
mod encode;
mod logprobs;
mod losses;
mod media;
mod models;
mod partial;
mod reader;
mod wire;

use super::dialect::{EmbeddingsDialect, Nonsense, StreamReader, Target, UpstreamDialect, WireRequest};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatReply, ChatRequest};

/// Gemini, as a client's dialect and as an upstream's.
///
/// A base URL ends in `/v1beta` for the Developer API and in `/publishers/google` for Vertex AI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gemini {
    /// Spoken to on Vertex AI; of no meaning for a client.
    pub vertex: bool,
}

impl UpstreamDialect for Gemini {
    fn encode(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        encode::encode(request, target, self.vertex)
    }

    fn decode(&self, body: &[u8]) -> Result<ChatReply, Nonsense> {
        decode::decode(body)
    }

    fn is_error(&self, body: &[u8]) -> bool {
        wire::is_error(body)
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(reader::Reader::default())
    }

    fn embeddings(&self) -> Option<&dyn EmbeddingsDialect> {
        Some(if self.vertex { &embeddings::Vertex } else { &embeddings::Developer })
    }
}
