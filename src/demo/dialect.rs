//! Which dialect a request speaks, and what differs between dialects before an answer is made.
//!
//! The path decides; for paths that several dialects share, such as `/v1/models`, the headers do.

use bytes::Bytes;
use serde_json::Value;

use super::cache::PromptCache;
use super::reply::{EVENT_STREAM, JSON, Pace, Piece, Refusal, Reply};
use super::request::Request;
use super::script::without_version;
use super::{DemoOptions, anthropic, gemini, openai, responses};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// OpenAI's, all but the Responses.
    OpenAi,
    Responses,
    Anthropic,
    Gemini,
}

/// A request on its way to its dialect.
pub(super) struct Arrival<'a> {
    pub(super) options: &'a DemoOptions,
    pub(super) request: &'a Request,
    /// Null when it is no JSON.
    pub(super) body: &'a Value,
    /// Why it is no JSON.
    pub(super) not_json: Option<&'a serde_json::Error>,
    pub(super) pace: Pace,
    pub(super) cache: &'a PromptCache,
}

impl Dialect {
    pub(super) fn of(request: &Request) -> Self {
        let path = request.path();
        if gemini::method(path).is_some() {
            return Self::Gemini;
        }
        match without_version(path) {
            "/chat/completions" | "/completions" | "/embeddings" => Self::OpenAi,
            "/responses" => Self::Responses,
            "/messages" | "/messages/count_tokens" => Self::Anthropic,
            _ if path.starts_with("/v1beta/") => Self::Gemini,
            _ if request.header("anthropic-version").is_some() => Self::Anthropic,
            _ if request.header("x-goog-api-key").is_some() => Self::Gemini,
            _ => Self::OpenAi,
        }
    }

    pub(super) fn answer(self, arrival: Arrival<'_>) -> Reply {
        match self {
            Self::OpenAi => openai::answer(arrival),
            Self::Responses => responses::answer(arrival),
            Self::Anthropic => anthropic::answer(arrival),
            Self::Gemini => gemini::answer(arrival),
        }
    }

    /// Returns a refusal in the dialect's shape.
    pub(super) fn refuse(self, refusal: &Refusal) -> Reply {
        match self {
            Self::OpenAi | Self::Responses => openai::refuse(refusal),
            Self::Anthropic => anthropic::refuse(refusal),
            Self::Gemini => gemini::refuse(refusal),
        }
    }

    /// Returns what the provider would most likely say with a status that a script asks for.
    pub(super) fn scripted(self, status: u16, retry_after: Option<&str>) -> Reply {
        let mut refusal = Refusal::for_status(status);
        let too_long = match self {
            Self::OpenAi | Self::Responses => None,
            Self::Anthropic => Some(anthropic::too_long(super::models::CONTEXT_TOKENS + 1)),
            Self::Gemini => Some(gemini::too_long(super::models::CONTEXT_TOKENS + 1)),
        };
        if let Some(too_long) = too_long.filter(|_| status == 400) {
            refusal.message = format!("{too_long} (failure simulated by the demo provider)");
        }
        match retry_after {
            // Google tells the wait in the body, others leave it to the header.
            Some(seconds) if self == Self::Gemini && status == 429 => gemini::refuse_for(&refusal, seconds),
            _ => self.refuse(&refusal),
        }
    }

    /// Frames a payload, which need not be JSON, as one event of a stream.
    pub(super) fn event(self, payload: &str) -> Bytes {
        match self {
            Self::OpenAi => format!("data: {payload}\n\n"),
            Self::Gemini => format!("data: {payload}\r\n\r\n"),
            Self::Responses | Self::Anthropic => {
                let json: Value = serde_json::from_str(payload).unwrap_or_default();
                let name = json["type"].as_str().map(|kind| format!("event: {kind}\n")).unwrap_or_default();
                format!("{name}data: {payload}\n\n")
            }
        }
        .into()
    }

    /// Frames an event built here.
    pub(super) fn json_event(self, payload: &Value) -> Bytes {
        self.event(&payload.to_string())
    }

    /// Makes a stream of the events.
    pub(super) fn stream(self, pieces: Vec<Piece>) -> Reply {
        match self {
            Self::OpenAi => Reply::events(pieces),
            Self::Responses | Self::Anthropic | Self::Gemini => Reply::stream(EVENT_STREAM, pieces),
        }
    }

    /// Returns the event that tells of a failure in mid-stream, after so many events.
    pub(super) fn error_event(self, after: usize) -> Bytes {
        let refusal = Refusal::for_status(503);
        self.json_event(&match self {
            Self::OpenAi => openai::error(&refusal),
            Self::Responses => responses::error_event(&refusal, after),
            Self::Anthropic => anthropic::error(&Refusal { status: 529, ..refusal }),
            Self::Gemini => gemini::error(&refusal),
        })
    }

    /// Returns the name of the header with the request's id.
    pub(super) fn id_header(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Responses => "x-request-id",
            Self::Anthropic => "request-id",
            Self::Gemini => "x-goog-request-id",
        }
    }

    /// Whether the provider tells how long it worked, in `openai-processing-ms`.
    pub(super) fn tells_time(self) -> bool {
        matches!(self, Self::OpenAi | Self::Responses)
    }
}

/// Returns the model that a request asks for: in the path at Gemini, else in the body.
pub(super) fn model<'a>(path: &'a str, body: &'a Value) -> Option<&'a str> {
    gemini::method(path).map(|(model, _)| model).or_else(|| body.get("model")?.as_str())
}

impl<'a> Arrival<'a> {
    /// Refuses a key that is not in the options' list, if they have one.
    pub(super) fn check_key(&self) -> Result<(), Refusal> {
        let keys = &self.options.keys;
        let message = match self.request.key() {
            _ if keys.is_empty() => return Ok(()),
            Some(key) if keys.iter().any(|known| known == key) => return Ok(()),
            Some(_) => "the API key is not one of the demo provider's",
            None => "no API key was given; send `authorization: Bearer <key>`",
        };
        Err(Refusal { code: Some("invalid_api_key"), ..Refusal::plain(401, message) })
    }

    /// Refuses another method than the path's.
    pub(super) fn check_method(&self, method: &str) -> Result<(), Refusal> {
        if self.request.method == method {
            return Ok(());
        }
        let message = format!("{} is not allowed at {}; use {method}", self.request.method, self.request.path());
        Err(Refusal::plain(405, message))
    }

    pub(super) fn nothing_there(&self) -> Refusal {
        Refusal::plain(404, format!("there is nothing at {} {}", self.request.method, self.request.path()))
    }

    /// Returns the body if it is a JSON object.
    pub(super) fn object(&self) -> Result<&'a Value, Refusal> {
        match self.not_json {
            Some(error) => Err(Refusal::plain(400, format!("the body is not valid JSON: {error}"))),
            None if self.body.is_object() => Ok(self.body),
            None => Err(Refusal::plain(400, "the body is not a JSON object")),
        }
    }
}

/// Whether a reply is a stream of events, which an error event can end.
pub(super) fn is_event_stream(reply: &Reply) -> bool {
    reply.streamed && reply.content_type != JSON
}
