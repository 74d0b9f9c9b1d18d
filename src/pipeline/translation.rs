//! A request in one dialect, an upstream in another.

use std::rc::Rc;

use bursar_actors::{ErrorClass, Usage};
use bytes::Bytes;

use crate::error::Failure;
use crate::providers::clients;
use crate::providers::dialect::{ClientDialect, UpstreamDialect};
use crate::providers::sequence::in_order;
use crate::schema::chat::{ChatRequest, Chunk};
use crate::schema::{IntakeError, RequestHead};
use crate::upstream::judge::{self, Phase};

/// What it takes to translate one call and its answer.
#[derive(Clone)]
pub struct Translation {
    pub request: Rc<ChatRequest>,
    pub client: &'static dyn ClientDialect,
    pub upstream: &'static dyn UpstreamDialect,
}

impl Translation {
    /// Reads the client's body.
    pub fn read(head: &RequestHead, body: &[u8]) -> Result<Rc<ChatRequest>, IntakeError> {
        let mut request = clients::of(head.operation).read(body)?;
        // Where Gemini's clients say it: in the path.
        request.stream = head.stream;
        Ok(Rc::new(request))
    }

    /// Returns the translation of `request`, which `head` is of, for an upstream.
    pub fn new(head: &RequestHead, request: Rc<ChatRequest>, upstream: &'static dyn UpstreamDialect) -> Self {
        Self { request, client: clients::of(head.operation), upstream }
    }

    /// Returns a whole answer as the client wants it.
    pub fn whole(&self, body: &Bytes) -> Result<(Bytes, Option<Usage>), Failure> {
        if self.upstream.is_error(body) {
            return Err(judge::judge_error_value(body, Phase::BeforeOutput));
        }
        let mut reply = self.upstream.decode(body).map_err(|nonsense| {
            Failure::plain(ErrorClass::ServerError, format!("the upstream's answer is unusable: {nonsense}"))
        })?;
        in_order(&mut reply);
        Ok((self.client.write(&reply, &self.request), reply.usage))
    }

    /// Remembers what later turns of the conversation will need.
    pub fn note(&self, _chunk: &Chunk) {}
}
