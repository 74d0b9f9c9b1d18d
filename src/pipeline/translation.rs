//! A request in one dialect, an upstream in another.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bursar_actors::ErrorClass;
use bytes::Bytes;

use super::way::Whole;
use crate::call::{Call, RequestId};
use crate::error::Failure;
use crate::providers::clients;
use crate::providers::custom::CustomTools;
use crate::providers::dialect::{ClientDialect, Nonsense, UpstreamDialect};
use crate::providers::sequence::in_order;
use crate::providers::signatures::{Signatures, fill, note_chunk, note_reply, strip, strip_foreign};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatReply, ChatRequest, Chunk, Content, Dialect, Finish};
use crate::upstream::judge;

/// What it takes to translate one call and its answer.
#[derive(Clone)]
pub struct Translation {
    pub request: Rc<ChatRequest>,
    pub client: &'static dyn ClientDialect,
    pub upstream: &'static dyn UpstreamDialect,
    /// Outlive the request, because the calls of a stream need them.
    pub custom: CustomTools,
    /// The upstream's name of the model.
    model: Rc<str>,
    signatures: Arc<Signatures>,
    /// What an answer is called that has no name of its own, and when it was asked for.
    id: RequestId,
    created: i64,
}

/// Where a translated call goes.
pub struct Goal<'a> {
    pub dialect: Dialect,
    pub upstream: &'static dyn UpstreamDialect,
    pub model: &'a str,
    pub thoughts: Thoughts,
}

/// What becomes of signed thoughts and calls in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Thoughts {
    /// The model gets its own back.
    #[default]
    Own,
    /// It gets none, because an upstream refused a signature.
    None,
}

impl Translation {
    /// Reads the client's body.
    pub fn read(call: &Call) -> Result<Rc<ChatRequest>, IntakeError> {
        let mut request = clients::of(call.head.operation).read(&call.body)?;
        // Where Gemini's clients say it: in the path.
        request.stream = call.head.stream;
        Ok(Rc::new(request))
    }

    /// Returns the translation of `request`, which `call` came with, for `goal`: signatures that the client has lost are
    /// put back, and thoughts that are not the model's own taken out.
    pub fn new(call: &Call, request: Rc<ChatRequest>, goal: &Goal<'_>, signatures: &Arc<Signatures>) -> Self {
        let client = clients::of(call.head.operation);
        Self::between(client, request, goal, signatures, (call.id.clone(), call.received_unix_s))
    }

    /// Returns the translation of what `client` asks. `named` is what an answer is called that has no name of its own, and
    /// its date.
    pub fn between(
        client: &'static dyn ClientDialect,
        mut request: Rc<ChatRequest>,
        goal: &Goal<'_>,
        signatures: &Arc<Signatures>,
        (id, created): (RequestId, i64),
    ) -> Self {
        if has_history(&request) {
            let (own, now) = (Rc::make_mut(&mut request), Instant::now());
            match goal.thoughts {
                Thoughts::None => strip(own),
                Thoughts::Own => {
                    fill(own, signatures, now);
                    strip_foreign(own, goal.dialect, goal.model, signatures, now);
                }
            }
        }
        Self {
            custom: CustomTools::of(&request),
            request,
            client,
            upstream: goal.upstream,
            model: goal.model.into(),
            signatures: signatures.clone(),
            id,
            created,
        }
    }

    /// Returns the same without the request, for what outlives it.
    pub fn without_request(self) -> Self {
        Self { request: Rc::default(), ..self }
    }

    /// Returns a whole answer as the client wants it.
    pub fn whole(&self, body: &Bytes) -> Result<Whole, Failure> {
        if self.upstream.is_error(body) {
            return Err(judge::judge_error_value(body));
        }
        let mut reply = self.upstream.decode(body).map_err(|nonsense| unusable(&nonsense))?;
        in_order(&mut reply);
        self.custom.restore(&mut reply);
        let ChatReply { id, created, model, .. } = &mut reply;
        self.name(id, created, model);
        note_reply(&reply, &self.model, &self.signatures, Instant::now());
        let finish = reply.choices.first().and_then(|choice| choice.finish.as_ref()).map(Finish::as_str);
        Ok(Whole { body: self.client.write(&reply, &self.request), usage: reply.usage, finish })
    }

    /// Looks at a chunk on its way: names what the upstream left without a name, and remembers what later turns of the
    /// conversation will need.
    pub fn note(&self, chunk: &mut Chunk) {
        match chunk {
            Chunk::Start { id, created, model, .. } => self.name(id, created, model),
            Chunk::ToolCall { signature: Some(_), .. } | Chunk::ThinkingEnd { .. } => {
                note_chunk(chunk, &self.model, &self.signatures, Instant::now());
            }
            _ => {}
        }
    }

    fn name(&self, id: &mut String, created: &mut i64, model: &mut String) {
        if id.is_empty() {
            *id = format!("chatcmpl-{}", self.id);
        }
        if *created == 0 {
            *created = self.created;
        }
        if model.is_empty() {
            *model = self.model.to_string();
        }
    }
}

/// Returns what an answer is that makes no sense.
pub fn unusable(nonsense: &Nonsense) -> Failure {
    let class = if nonsense.is_the_models { ErrorClass::ModelMalformed } else { ErrorClass::ServerError };
    Failure::plain(class, format!("the upstream's answer is unusable: {nonsense}"))
}

/// Returns whether earlier turns hold what depends on who made it.
fn has_history(request: &ChatRequest) -> bool {
    let mut parts = request.messages.iter().flat_map(|message| &message.parts);
    parts.any(|part| matches!(part.content, Content::Thinking(_) | Content::ToolCall(_)))
}
