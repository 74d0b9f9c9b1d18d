//! What every dialect offers: as a client's ([`ClientDialect`]) it is read and answered in, as an upstream's
//! ([`UpstreamDialect`]) it is called in. Both are pure.

use bursar_actors::Usage;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::framing::{Frame, Framing};
use super::sse::SseEvent;
use crate::schema::chat::{ChatReply, ChatRequest, Chunk, Effort};
use crate::schema::embeddings::{EmbeddingReply, EmbeddingRequest};
use crate::schema::{IntakeError, Operation};

/// What an upstream sent makes no sense; in our words, without its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Nonsense {
    pub what: String,
    /// It is the model that failed, not the provider: another try may do better.
    pub is_the_models: bool,
}

impl Nonsense {
    /// Returns nonsense of that description.
    pub fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_the_models: false }
    }

    /// Returns the model's own nonsense.
    pub fn of_model(what: impl Into<String>) -> Self {
        Self { is_the_models: true, ..Self::of(what) }
    }
}

/// One call as it goes out, but for host, key and what the operator adds.
#[derive(Debug, Clone, PartialEq)]
pub struct WireRequest {
    /// Appended to the endpoint's base URL, with query; begins with `/`.
    pub path: String,
    /// Besides `content-type`, `accept-encoding` and `user-agent`; lower-case names.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// What of the request this upstream does not get, for the client: one short sentence each, naming the parameter.
    pub warnings: Vec<String>,
}

/// What a call is made to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The upstream's name of the model.
    pub model: &'a str,
    pub model_facts: &'a ModelFacts,
    /// Refuse what would be lost, instead of warning.
    pub strict: bool,
}

/// What is known of a model. By default everything is allowed: the upstream knows best.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFacts {
    /// Tokens it reads and writes at most together, and tokens it writes at most; where known.
    pub context: Option<u64>,
    pub max_output: Option<u64>,
    /// `false` where it rejects the parameter or cannot do it; `None` where nobody knows.
    pub sampling: Option<bool>,
    pub tools: Option<bool>,
    pub forced_tools: Option<bool>,
    pub vision: Option<bool>,
    pub json_schema: Option<bool>,
    pub prefill: Option<bool>,
    /// The efforts it takes, in rising order; empty where nobody knows.
    pub efforts: Vec<Effort>,
    pub reasoning: Option<bool>,
}

/// How a client speaks.
pub trait ClientDialect: Send + Sync {
    /// Reads a request; an error names the field and says what to do. Never echoes a value.
    fn read(&self, body: &[u8]) -> Result<ChatRequest, IntakeError>;

    /// Writes a whole reply to `request`, valid by the dialect's own schema.
    fn write(&self, reply: &ChatReply, request: &ChatRequest) -> Bytes;

    /// Begins writing a streamed reply to `request`.
    fn writer(&self, request: &ChatRequest) -> Box<dyn StreamWriter>;
}

/// Writes a streamed reply in a client's dialect. Gets what [`super::sequence::Sequence`] lets through.
pub trait StreamWriter {
    /// Appends the events, framed, that `chunk` becomes.
    fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>);

    /// Appends what ends a stream that is complete.
    fn finish(&mut self, out: &mut Vec<u8>);

    /// Appends what ends a stream in an error, where that depends on what was written before; `false` where it does not,
    /// so that whoever knows the dialect's error event writes it.
    fn fail(&mut self, _failure: &StreamFailure<'_>, _out: &mut Vec<u8>) -> bool {
        false
    }
}

/// Why a stream ends in an error, in OpenAI's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamFailure<'a> {
    pub message: &'a str,
    /// The error's `type`.
    pub kind: &'a str,
    pub code: Option<&'a str>,
    pub param: Option<&'a str>,
}

/// How an upstream is spoken to.
pub trait UpstreamDialect: Send + Sync {
    /// Writes `request` for `target`. What the upstream cannot do is dropped with a warning, or refused where `strict`; what
    /// makes no sense without it is refused always.
    fn encode(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError>;

    /// Reads a whole reply with status 2xx. A body that is an error object must have been told by `is_error` before.
    fn decode(&self, body: &[u8]) -> Result<ChatReply, Nonsense>;

    /// Returns whether a body with status 2xx is an error all the same.
    fn is_error(&self, body: &[u8]) -> bool {
        #[derive(serde::Deserialize)]
        struct Top {
            #[serde(default)]
            error: Value,
        }
        serde_json::from_slice::<Top>(body).is_ok_and(|top| !top.error.is_null())
    }

    /// How its streams are cut into frames.
    fn framing(&self) -> Framing {
        Framing::Sse
    }

    /// Begins reading a streamed reply.
    fn reader(&self) -> Box<dyn StreamReader>;

    /// How it is asked to count the tokens of a request, where it does.
    fn counting(&self) -> Option<&dyn CountingDialect> {
        None
    }

    /// How it is asked for embeddings, where it has any.
    fn embeddings(&self) -> Option<&dyn EmbeddingsDialect> {
        None
    }
}

/// What the gateway must know of an event that passes as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Output: from then on no other upstream can take over.
    pub output: bool,
    /// The provider's error: judge the event's data.
    pub error: bool,
    /// The last event.
    pub done: bool,
    /// Says again what was said: not to be passed on.
    pub repeated: bool,
    /// Bytes of output in it, as JSON: what an estimate of its tokens goes by.
    pub output_bytes: usize,
}

/// What a whole answer says that passes as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Whole {
    pub usage: Option<Usage>,
    /// Why the first choice ended, as [`Finish::as_str`](crate::schema::chat::Finish::as_str) says it.
    pub finish: Option<&'static str>,
    /// It is the provider's error: judge it.
    pub error: bool,
}

impl Whole {
    /// Returns what an answer says that is the provider's error.
    pub fn error() -> Self {
        Self { error: true, ..Self::default() }
    }
}

/// Reads along a stream that passes to a client of the same dialect.
pub trait PassReader {
    /// Takes the next event.
    fn event(&mut self, event: &SseEvent) -> Result<Facts, Nonsense>;

    /// Returns the usage told so far.
    fn usage(&self) -> Option<Usage>;

    /// Returns why the first choice ended, as [`Whole::finish`] does, once that was told.
    fn finish(&self) -> Option<&'static str>;

    /// The body is over without [`Facts::done`]; returns whether everything had been said.
    fn is_complete(&self) -> bool;

    /// Returns what a stream still lacks that has said everything, but ended without its last event.
    fn tail(&self) -> Bytes {
        Bytes::new()
    }

    /// Returns the events that end the stream in an error, where they depend on what passed before.
    fn fail(&self, _failure: &StreamFailure<'_>) -> Option<Bytes> {
        None
    }
}

/// How an upstream is asked how many tokens a request has.
pub trait CountingDialect: Send + Sync {
    /// Writes the question how many tokens `request` would send to `target`.
    fn question(&self, request: &ChatRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError>;

    /// Reads the answer.
    fn answer(&self, body: &[u8]) -> Result<u64, Nonsense>;
}

/// How an upstream is asked for embeddings.
pub trait EmbeddingsDialect: Send + Sync {
    /// Returns whether a client's request for `operation` is understood there as it stands, but for the model's name.
    fn passes(&self, _operation: Operation) -> bool {
        false
    }

    /// Writes `request` for `target`.
    fn encode(&self, request: &EmbeddingRequest, target: &Target<'_>) -> Result<WireRequest, IntakeError>;

    /// Reads the reply to `request`.
    fn decode(&self, body: &[u8], request: &EmbeddingRequest) -> Result<EmbeddingReply, Nonsense>;
}

/// Reads a streamed reply of an upstream.
pub trait StreamReader {
    /// Takes the next frame; appends the chunks it holds.
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Chunk>) -> Result<Step, Nonsense>;

    /// The body is over without [`Step::Done`]; returns whether everything had been said.
    fn is_complete(&self) -> bool;
}

/// What a frame means for the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More may come.
    More,
    /// This was the last.
    Done,
    /// The frame's data is the provider's error: judge it.
    Error,
}

/// Returns the object in `body`, for decoders that read loosely.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Nonsense> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Nonsense::of("it is JSON, but no object")),
        Err(_) if body.trim_ascii().is_empty() => Err(Nonsense::of("it is empty")),
        Err(_) if body.trim_ascii_start().starts_with(b"<") => Err(Nonsense::of("it is a web page")),
        Err(_) => Err(Nonsense::of("it is not JSON")),
    }
}
