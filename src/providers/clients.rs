//! How the gateway speaks to clients, by what they asked for.

use bytes::Bytes;

use super::chat::{self, Completions, OpenAiChat};
use super::dialect::{ClientDialect, StreamFailure};
use super::openai::error_chunk;
use super::responses::{Progress, Responses};
use super::{anthropic, gemini, responses};
use crate::schema::chat::{ChatRequest, Dialect};
use crate::schema::embeddings::{EmbeddingReply, EmbeddingRequest};
use crate::schema::{IntakeError, Operation};

/// Returns the dialect that the clients of `operation` speak.
pub fn of(operation: Operation) -> &'static dyn ClientDialect {
    match operation.dialect() {
        _ if operation == Operation::Completions => &Completions,
        Dialect::Responses => &Responses,
        Dialect::Anthropic => &anthropic::Anthropic,
        Dialect::Gemini => &gemini::Gemini { vertex: false },
        _ => &OpenAiChat,
    }
}

/// Returns the events that end a stream in an error which, before it began, would have had this status. None that says
/// "complete" follows.
pub fn error_event(operation: Operation, status: u16, failure: &StreamFailure<'_>) -> Bytes {
    match operation.dialect() {
        Dialect::Responses => responses::error_events(&Progress::default(), failure),
        Dialect::Anthropic => anthropic::error_event(failure.message, anthropic::error_type(status)),
        Dialect::Gemini => gemini::error_event(status, failure.message),
        _ => error_chunk(failure.message, failure.kind, failure.code, failure.param),
    }
}

/// Reads a request for embeddings.
pub fn read_embeddings(operation: Operation, body: &[u8]) -> Result<EmbeddingRequest, IntakeError> {
    match operation {
        Operation::EmbedContent => gemini::read_embedding(body),
        Operation::BatchEmbedContents => gemini::read_embeddings(body),
        _ => chat::read_embeddings(body),
    }
}

/// Writes the reply to a request for embeddings.
pub fn write_embeddings(operation: Operation, reply: &EmbeddingReply, request: &EmbeddingRequest) -> Bytes {
    match operation {
        Operation::EmbedContent => gemini::write_embedding(reply),
        Operation::BatchEmbedContents => gemini::write_embeddings(reply),
        _ => chat::write_embeddings(reply, request),
    }
}

/// Reads a request whose tokens are to be counted; Google's clients may send it inside another.
pub fn read_to_count(operation: Operation, body: &[u8]) -> Result<ChatRequest, IntakeError> {
    match operation.dialect() {
        Dialect::Gemini => gemini::read_count(body),
        _ => of(operation).read(body),
    }
}

/// Returns the answer to a question how many tokens a request has.
pub fn counted(operation: Operation, tokens: u64) -> Bytes {
    match operation.dialect() {
        Dialect::Anthropic => anthropic::count_tokens_body(tokens),
        Dialect::Gemini => gemini::count_tokens(tokens),
        _ => responses::write_input_tokens(tokens),
    }
}
