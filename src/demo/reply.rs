//! A reply before it meets the wire: status, headers and a body in timed pieces; and how a script changes it.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::dialect::{Dialect, is_event_stream};
use super::dice::Dice;
use super::script::Behaviour;

pub(super) const JSON: &str = "application/json";
pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";
const DONE: &[u8] = b"data: [DONE]\n\n";

/// What to send, and when.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) headers: Vec<(String, String)>,
    /// From the request's last byte to the head.
    pub(super) wait: Duration,
    pub(super) pieces: Vec<Piece>,
    /// Whether the length is unknown when the head is sent.
    pub(super) streamed: bool,
    /// Whether the head tells how long the request took.
    pub(super) tells_time: bool,
}

/// Some bytes of the body, and the wait before them.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) wait: Duration,
    pub(super) bytes: Bytes,
}

impl Reply {
    pub(super) fn json(status: u16, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("an answer built here has string keys and finite numbers only");
        let pieces = vec![Piece { wait: Duration::ZERO, bytes: bytes.into() }];
        let headers = Vec::new();
        let content_type = JSON.to_owned();
        Self { status, content_type, headers, wait: Duration::ZERO, pieces, streamed: false, tells_time: true }
    }

    /// Makes a stream of the pieces, ended by `data: [DONE]`.
    pub(super) fn events(mut pieces: Vec<Piece>) -> Self {
        pieces.push(Piece { wait: Duration::ZERO, bytes: Bytes::from_static(DONE) });
        Self::stream(EVENT_STREAM, pieces)
    }

    /// Makes a stream of the pieces and nothing more.
    pub(super) fn stream(content_type: &str, pieces: Vec<Piece>) -> Self {
        let headers = vec![("cache-control".to_owned(), "no-cache".to_owned())];
        let content_type = content_type.to_owned();
        Self { status: 200, content_type, headers, wait: Duration::ZERO, pieces, streamed: true, tells_time: true }
    }

    pub(super) fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_header(name, value.into());
        self
    }

    fn set_header(&mut self, name: &str, value: String) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value));
    }

    /// Applies what a behaviour says of the response's content; what it says of the bytes' fate is for the wire.
    pub(super) fn scripted(mut self, behaviour: &Behaviour, dialect: Dialect, mut pace: Pace) -> Self {
        if let Some(status) = behaviour.status {
            self.status = status;
        }
        if let Some(body) = &behaviour.body {
            self.pieces = vec![Piece { wait: Duration::ZERO, bytes: body.0.clone().into() }];
        }
        if let Some(payloads) = &behaviour.events {
            let pieces = payloads.iter().map(|payload| pace.piece(dialect.event(payload))).collect();
            let headers = std::mem::take(&mut self.headers);
            self = Self { status: self.status, tells_time: self.tells_time, ..dialect.stream(pieces) };
            headers.into_iter().for_each(|(name, value)| self.set_header(&name, value));
        }
        if let Some(events) = behaviour.error_after.filter(|_| is_event_stream(&self)) {
            self.pieces.truncate(events);
            self.pieces.push(Piece { wait: Duration::ZERO, bytes: dialect.error_event(events) });
        }
        if behaviour.omit_done && self.pieces.last().is_some_and(|last| last.bytes == DONE) {
            self.pieces.pop();
        }
        if let Some(content_type) = &behaviour.content_type {
            self.content_type.clone_from(content_type);
        }
        for (name, value) in &behaviour.headers {
            if name.eq_ignore_ascii_case("content-type") {
                self.content_type.clone_from(value);
            } else {
                self.set_header(name, value.clone());
            }
        }
        self.streamed |= behaviour.chunked;
        self
    }
}

/// Frames a payload, serialised, as one server-sent event without a name.
pub(super) fn json_event(payload: &impl Serialize) -> Bytes {
    let payload = serde_json::to_string(payload).expect("an answer built here has string keys and finite numbers only");
    Dialect::OpenAi.event(&payload)
}

/// The waits between tokens, with their jitter.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    pub(super) first_token: Duration,
    pub(super) per_token: Duration,
    pub(super) jitter: f64,
    pub(super) dice: Dice,
    pub(super) begun: bool,
}

impl Pace {
    /// Returns the wait before the next token.
    pub(super) fn next(&mut self) -> Duration {
        let base = if self.begun { self.per_token } else { self.first_token };
        self.begun = true;
        if base.is_zero() {
            return base;
        }
        base.mul_f64((1.0 + self.jitter * (2.0 * self.dice.share() - 1.0)).max(0.0))
    }

    /// Returns the wait for a whole answer of so many tokens.
    pub(super) fn whole(&mut self, tokens: usize) -> Duration {
        self.next() + (1..tokens).map(|_| self.next()).sum::<Duration>()
    }

    /// Gives the bytes no wait.
    pub(super) fn at_once(bytes: Bytes) -> Piece {
        Piece { wait: Duration::ZERO, bytes }
    }

    /// Gives the bytes the wait of the next token.
    pub(super) fn piece(&mut self, bytes: Bytes) -> Piece {
        Piece { wait: self.next(), bytes }
    }
}

/// Why a request is turned down, before a dialect puts it into its own shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) param: Option<String>,
    pub(super) message: String,
}

impl Refusal {
    /// Returns a 400 about one parameter.
    pub(super) fn invalid(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), code: Some(code), ..Self::plain(400, message) }
    }

    /// Returns a refusal that blames no parameter.
    pub(super) fn plain(status: u16, message: impl Into<String>) -> Self {
        Self { status, kind: "invalid_request_error", code: None, param: None, message: message.into() }
    }

    /// Returns what OpenAI would most likely say with that status.
    pub(super) fn for_status(status: u16) -> Self {
        let (kind, code, message) = match status {
            400 => (
                "invalid_request_error",
                Some("context_length_exceeded"),
                "the prompt is longer than the model's context of 128000 tokens; shorten the messages",
            ),
            401 => ("invalid_request_error", Some("invalid_api_key"), "the API key is not valid"),
            402 => ("insufficient_quota", Some("insufficient_quota"), "the account has no credit left"),
            403 => ("permission_error", None, "the API key may not use this resource"),
            404 => ("invalid_request_error", Some("model_not_found"), "the model does not exist"),
            408 | 504 => ("timeout", None, "the request took too long"),
            413 => ("invalid_request_error", None, "the request body is too large"),
            429 => ("requests", Some("rate_limit_exceeded"), "the rate limit of requests per minute is reached"),
            503 => ("service_unavailable_error", Some("server_is_overloaded"), "the servers are overloaded"),
            500.. => ("server_error", None, "the server had an error while it processed the request"),
            _ => ("invalid_request_error", None, "the request was refused"),
        };
        Self { kind, code, ..Self::plain(status, format!("{message} (failure simulated by the demo provider)")) }
    }
}
