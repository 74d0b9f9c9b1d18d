//! The Gemini dialect: Google's `generateContent`, of the Developer API and of Vertex AI, in both directions.

mod contents;
mod count;
mod decode;
mod embed_content;
mod embeddings;
mod encode;
mod errors;
mod facts;
mod fields;
mod logprobs;
mod media;
mod models;
mod partial;
mod read;
mod read_contents;
mod reader;
mod schema;
mod wire;
mod write;
mod writer;

use bytes::Bytes;

use super::dialect::{
    ClientDialect, CountingDialect, EmbeddingsDialect, Nonsense, StreamReader, StreamWriter, Target, UpstreamDialect,
    WireRequest,
};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatReply, ChatRequest};

pub use embed_content::{
    own_embeddings, read_embedding, read_embeddings, whole_embeddings, write_embedding, write_embeddings,
};
pub use errors::{count_tokens, error_body, error_event, write_model, write_models};
pub use facts::{Facts, PassReader, whole};

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

    fn counting(&self) -> Option<&dyn CountingDialect> {
        Some(self)
    }

    fn embeddings(&self) -> Option<&dyn EmbeddingsDialect> {
        Some(if self.vertex { &embeddings::Vertex } else { &embeddings::Developer })
    }
}

impl ClientDialect for Gemini {
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

/// Reads the body of `:countTokens`: the conversation alone, or a whole request under `generateContentRequest`.
pub fn read_count(body: &[u8]) -> Result<ChatRequest, IntakeError> {
    read::read_count(body)
}
