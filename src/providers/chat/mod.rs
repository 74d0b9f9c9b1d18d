//! OpenAI's chat dialect in both directions: clients that speak it ([`OpenAiChat`]), and the upstreams that do
//! ([`Compatible`]), each of which is one row of [`table`].
//!
//! Bytes between two of them pass by [`super::openai`] and never come here.

mod completions;
mod decode;
mod delta;
mod details;
mod embeddings;
mod encode;
mod encode_messages;
mod encode_tools;
mod fields;
pub(super) mod models;
mod quirks;
mod read;
mod read_messages;
mod read_tools;
mod reader;
pub mod table;
#[cfg(test)]
mod tests;
mod think;
mod write;
mod writer;

use bytes::Bytes;

pub use completions::Completions;
pub use embeddings::{read_embeddings, write_embeddings};
pub use table::{Row, row};

use super::dialect::{
    ClientDialect, EmbeddingsDialect, Nonsense, StreamReader, StreamWriter, Target, UpstreamDialect, WireRequest,
};
use super::openai::{Finish, chunk_facts};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatReply, ChatRequest};

/// A client that speaks chat completions.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenAiChat;

impl ClientDialect for OpenAiChat {
    fn read(&self, body: &[u8]) -> Result<ChatRequest, IntakeError> {
        read::request(body)
    }

    fn write(&self, reply: &ChatReply, request: &ChatRequest) -> Bytes {
        write::reply(reply, request)
    }

    fn writer(&self, request: &ChatRequest) -> Box<dyn StreamWriter> {
        Box::new(writer::ChatWriter::new(request))
    }
}

/// An upstream that speaks chat completions, with the quirks of its row.
#[derive(Debug, Clone, Copy)]
pub struct Compatible {
    pub row: &'static Row,
}

impl UpstreamDialect for Compatible {
    fn encode(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError> {
        encode::request(request, target, self.row)
    }

    fn decode(&self, body: &[u8]) -> Result<ChatReply, Nonsense> {
        decode::reply(body, self.row)
    }

    fn is_error(&self, body: &[u8]) -> bool {
        chunk_facts(body).is_ok_and(|facts| facts.error || facts.finish == Some(Finish::Error))
    }

    fn reader(&self) -> Box<dyn StreamReader> {
        Box::new(reader::ChatReader::new(self.row))
    }

    fn embeddings(&self) -> Option<&dyn EmbeddingsDialect> {
        self.row.embeddings.then_some(self)
    }
}
