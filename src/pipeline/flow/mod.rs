//! What happens to a streamed answer on its way: it passes as it comes, or is translated. The pieces come from upstream,
//! the batches go to the client.

mod chat;
mod event;
mod formed;
mod pass;
mod reviewed;
mod screened;
mod translate;

use std::task::{Context, Poll};

use bursar_actors::{ErrorClass, Usage};
use bytes::Bytes;

pub use chat::ChatFlow;
pub use formed::FormedFlow;
pub use pass::PassFlow;
pub use reviewed::ReviewedFlow;
pub use screened::ScreenedFlow;
pub use translate::TranslateFlow;

use crate::error::Failure;
use crate::providers::announced::Announced;
use crate::providers::dialect::{Nonsense, StreamFailure};
use crate::providers::responses;
use crate::upstream::Pieces;
use crate::upstream::judge;

/// What one piece of the upstream's body came to.
#[derive(Default)]
pub struct Batch {
    pub bytes: Pieces,
    /// It holds the first output, or the end.
    pub began: bool,
    pub done: bool,
    pub failure: Option<Failure>,
}

/// One streamed answer on its way.
pub trait Flow {
    /// Returns whether a body that begins like a JSON object is no stream at all.
    fn is_framed(&self) -> bool {
        true
    }

    /// Takes the next bytes of the body and returns what they came to.
    fn feed(&mut self, piece: Bytes) -> Batch;

    /// The body is over; returns what was left, done or failed.
    fn end(&mut self) -> Batch;

    /// Returns what came of what it holds back until somebody has looked at it, if it does: nothing more may be fed until
    /// then.
    fn poll_held(&mut self, _context: &mut Context<'_>) -> Option<Poll<Batch>> {
        None
    }

    /// Returns the usage told so far.
    fn usage(&self) -> Option<Usage>;

    /// Returns why the first choice ended, as [`Finish::as_str`](crate::schema::chat::Finish::as_str) says it, once that was
    /// told.
    fn finish(&self) -> Option<&'static str>;

    /// Returns how many bytes of text and calls the model has written so far.
    fn output_bytes(&self) -> u64;

    /// Returns the events that end the answer in an error, where they depend on what went before.
    fn fail(&mut self, _failure: &StreamFailure<'_>) -> Option<Bytes> {
        None
    }
}

impl Batch {
    /// Returns a batch that holds nothing but a failure.
    pub fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }
}

/// The upstream's stream cannot be read on.
pub fn broken(message: impl Into<String>) -> Failure {
    Failure::plain(ErrorClass::StreamBroken, message)
}

fn unusable(nonsense: Nonsense) -> Failure {
    let class = if nonsense.is_the_models { ErrorClass::ModelMalformed } else { ErrorClass::StreamBroken };
    Failure::plain(class, format!("the upstream sent an unusable event: {nonsense}"))
}

/// Returns what an event means that is the provider's error.
fn judged(data: &[u8]) -> Failure {
    // The events of Responses are numbered, and wrap their errors.
    let numbered = memchr::memmem::find(data, b"\"sequence_number\"").is_some();
    match responses::error_body(data).filter(|_| numbered) {
        Some(body) => judge::judge_error_value(body.to_string().as_bytes()),
        None => judge::judge_error_value(data),
    }
}

/// Returns events as the client gets them: as they came, but for the name of a reply that was announced before.
fn named(announced: &Option<Announced>, events: &Bytes) -> Bytes {
    announced.as_ref().map_or_else(|| events.clone(), |announced| announced.rename(events))
}

fn unreadable(why: &dyn std::fmt::Display) -> Failure {
    broken(format!("the upstream's stream is unreadable: {why}"))
}

fn truncated() -> Failure {
    broken("the upstream's stream broke off before its end")
}
