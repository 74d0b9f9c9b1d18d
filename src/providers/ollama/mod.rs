//! Ollama's own API, which can do what its imitation of OpenAI's cannot: set the context, keep a model, tell it to think.

mod decode;
mod embeddings;
mod encode;
mod messages;

#[cfg(test)]
mod tests;

use super::dialect::{EmbeddingsDialect, Nonsense, StreamReader, Target, UpstreamDialect, WireRequest, object};
use super::framing::Framing;
use crate::schema::IntakeError;
use crate::schema::chat::{ChatReply, ChatRequest};

/// Speaks `/api/chat`. Its base URL ends at the host: `http://localhost:11434`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ollama;

impl UpstreamDialect for Ollama {
    fn encode(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        encode::encode(request, target)
    }

    fn decode(&self, body: &[u8]) -> Result<ChatReply, Nonsense> {
        decode::decode(object(body)?)
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(decode::Reader::default())
    }

    fn embeddings(&self) -> Option<&dyn EmbeddingsDialect> {
        Some(&embeddings::Embed)
    }
}
