//! For tests of dialects: a body read as the pipeline reads it.

use bytes::Bytes;
use serde_json::Value;

use super::dialect::{ModelFacts, Step, Target, UpstreamDialect};
use super::framing::Framer;
use super::sequence::Sequence;
use crate::schema::IntakeError;
use crate::schema::chat::{Accumulator, ChatReply, ChatRequest, Chunk, Content, Part};

/// What a stream came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    Complete,
    CutOff,
    /// The provider's error, as the judge gets it.
    Error(String),
    Unreadable,
}

/// Reads a body that comes in `pieces`.
pub(super) fn read<'p>(dialect: &dyn UpstreamDialect, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<Chunk>, End) {
    let (mut framer, mut reader) = (Framer::new(dialect.framing()), dialect.reader());
    let (mut sequence, mut out) = (Sequence::default(), Vec::new());
    let mut pieces = pieces.into_iter();
    let end = loop {
        let (next, is_last) = match pieces.next() {
            Some(piece) => {
                framer.feed(Bytes::copy_from_slice(piece));
                (framer.next_frame(), false)
            }
            None => (framer.finish(), true),
        };
        let mut next = next;
        let mut ended = None;
        while let Some(framed) = next {
            let Ok(framed) = framed else { return (out, End::Unreadable) };
            let mut chunks = Vec::new();
            match reader.frame(&framed.frame(), &mut chunks) {
                Ok(Step::More) => {}
                Ok(Step::Done) => ended = Some(End::Complete),
                Ok(Step::Error) => ended = Some(End::Error(String::from_utf8_lossy(framed.frame().data).into_owned())),
                Err(_) => return (out, End::Unreadable),
            }
            chunks.into_iter().for_each(|chunk| sequence.push(chunk, &mut out));
            next = if ended.is_some() || is_last { None } else { framer.next_frame() };
        }
        if let Some(end) = ended {
            break end;
        }
        if is_last {
            break if reader.is_complete() { End::Complete } else { End::CutOff };
        }
    };
    sequence.finish(&mut out);
    (out, end)
}

/// Reads a body whole and cut at every byte, which must come to the same, and returns that.
pub(super) fn read_anyhow(dialect: &dyn UpstreamDialect, body: &[u8]) -> (Vec<Chunk>, End) {
    let whole = read(dialect, [body]);
    for at in 0..body.len() {
        let (left, right) = body.split_at(at);
        assert_eq!(read(dialect, [left, right]), whole, "cut at {at}");
    }
    assert_eq!(read(dialect, body.chunks(1)), whole);
    whole
}

/// Puts chunks together as far as a whole reply can be compared with them: without the log's differences of joined text.
pub(super) fn accumulate(chunks: &[Chunk]) -> ChatReply {
    let mut accumulator = Accumulator::default();
    chunks.iter().for_each(|chunk| accumulator.push(chunk));
    accumulator.finish()
}

/// Encodes a request and returns path, body and warnings.
pub(super) fn encode(
    dialect: &dyn UpstreamDialect,
    model: &str,
    request: &ChatRequest,
) -> (String, Value, Vec<String>) {
    encode_with(dialect, model, &ModelFacts::default(), request).expect("it can be encoded")
}

/// Encodes a request for a model of which something is known.
pub(super) fn encode_with(
    dialect: &dyn UpstreamDialect,
    model: &str,
    model_facts: &ModelFacts,
    request: &ChatRequest,
) -> Result<(String, Value, Vec<String>), IntakeError> {
    let wire = dialect.encode(request, &Target { model, model_facts, strict: false })?;
    Ok((wire.path, serde_json::from_slice(&wire.body).expect("it is JSON"), wire.warnings))
}

/// Returns a request of one user's message.
pub(super) fn asking(text: &str) -> ChatRequest {
    use crate::schema::chat::{Message, Role};
    ChatRequest { messages: vec![Message::new(Role::User, vec![Part::text(text)])], ..ChatRequest::default() }
}

/// Returns a part of a call of `f`.
pub(super) fn call(id: &str, arguments: &str) -> Part {
    use crate::schema::chat::ToolCall;
    let (id, name, arguments) = (id.to_owned(), "f".to_owned(), arguments.to_owned());
    Part::new(Content::ToolCall(ToolCall { id, name, arguments, ..ToolCall::default() }))
}

/// Returns a part with the text a tool answered.
pub(super) fn result(call_id: &str, text: &str) -> Part {
    use crate::schema::chat::ToolResult;
    let (call_id, parts) = (call_id.to_owned(), vec![Part::text(text)]);
    Part::new(Content::ToolResult(ToolResult { call_id, parts, ..ToolResult::default() }))
}
