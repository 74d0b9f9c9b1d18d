//! Answers that are kept for their clients: marked on their way out, and given to the store when they are complete.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bursar_actors::Usage;
use bytes::Bytes;
use serde_json::{Map, Value};
use tracing::warn;

use super::flow::{Batch, Flow};
use crate::error::GatewayError;
use crate::providers::dialect::StreamFailure;
use crate::providers::responses::{Marks, Turn};
use crate::stored::{Owner, Store};

/// What is to be kept of one request and its answer.
pub struct Keeping {
    pub store: Arc<Store>,
    pub owner: Owner,
    pub marks: Marks,
    /// The items of the request itself.
    pub input: Vec<Value>,
}

impl Keeping {
    /// Returns a whole answer with its marks, once it is kept; as it is where it cannot be.
    pub async fn whole(&self, body: Bytes) -> Bytes {
        let Some((marked, response)) = self.marks.whole(&body) else { return body };
        if !self.marks.store {
            return marked;
        }
        match self.keep(response).await {
            Ok(()) => marked,
            Err(why) => {
                lost(&why);
                Marks { store: false, ..self.marks.clone() }.whole(&body).map_or(body, |(marked, _)| marked)
            }
        }
    }

    /// Gives an answer to the store; the order is on its way when this returns.
    fn keep(&self, response: Map<String, Value>) -> impl Future<Output = Result<(), GatewayError>> + use<> {
        let turn = Turn { input: self.input.clone(), response };
        let content = serde_json::to_vec(&turn).expect("values of JSON are JSON");
        self.store.put_response(&self.owner, turn.id(), self.marks.previous.as_deref(), &content)
    }

    fn batch(&self, mut batch: Batch) -> Batch {
        let (events, ended) = self.marks.events(batch.bytes.take());
        batch.bytes.push(events);
        if let Some(response) = ended.filter(|_| self.marks.store) {
            // Ahead of the event that tells the client, which nobody holds back until it is on the disk.
            let kept = self.keep(response);
            actix_rt::spawn(async move { kept.await.inspect_err(lost) });
        }
        batch
    }
}

fn lost(why: &GatewayError) {
    warn!(error = why.code(), "an answer that was to be kept is not: {why:?}");
}

/// A stream whose answer is kept.
pub struct KeepFlow {
    flow: Box<dyn Flow>,
    keeping: Rc<Keeping>,
}

impl KeepFlow {
    /// Keeps what comes out of `flow`.
    pub fn new(flow: Box<dyn Flow>, keeping: Rc<Keeping>) -> Self {
        Self { flow, keeping }
    }
}

impl Flow for KeepFlow {
    fn is_framed(&self) -> bool {
        self.flow.is_framed()
    }

    fn feed(&mut self, piece: Bytes) -> Batch {
        self.keeping.batch(self.flow.feed(piece))
    }

    fn poll_held(&mut self, context: &mut Context<'_>) -> Option<Poll<Batch>> {
        Some(self.flow.poll_held(context)?.map(|batch| self.keeping.batch(batch)))
    }

    fn end(&mut self) -> Batch {
        self.keeping.batch(self.flow.end())
    }

    fn usage(&self) -> Option<Usage> {
        self.flow.usage()
    }

    fn finish(&self) -> Option<&'static str> {
        self.flow.finish()
    }

    fn output_bytes(&self) -> u64 {
        self.flow.output_bytes()
    }

    fn fail(&mut self, failure: &StreamFailure<'_>) -> Option<Bytes> {
        Some(self.keeping.marks.events(self.flow.fail(failure)?).0)
    }
}
