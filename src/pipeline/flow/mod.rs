//! What happens to a streamed answer on its way: it passes as it comes, or is translated. The pieces come from upstream,
//! the batches go to the client.

mod chat;
mod pass;
mod translate;

use bursar_actors::{ErrorClass, Usage};
use bytes::Bytes;

pub use chat::ChatFlow;
pub use pass::PassFlow;
pub use translate::TranslateFlow;

use crate::error::Failure;
use crate::providers::dialect::StreamFailure;
use crate::upstream::Pieces;

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

    /// Returns the usage told so far.
    fn usage(&self) -> Option<Usage>;

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

fn unusable(why: &dyn std::fmt::Display) -> Failure {
    broken(format!("the upstream sent an unusable event: {why}"))
}

fn unreadable(why: &dyn std::fmt::Display) -> Failure {
    broken(format!("the upstream's stream is unreadable: {why}"))
}

fn truncated() -> Failure {
    broken("the upstream's stream broke off before its end")
}
