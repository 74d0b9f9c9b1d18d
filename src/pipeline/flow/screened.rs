//! Streams whose answer is screened on its way: what was taken out of the question comes back, what the model must not say
//! is replaced. It stands behind every other flow, on the client's own events, so that no dialect goes around it.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bursar_actors::{ErrorClass, Usage};
use bytes::Bytes;

use super::event::Event;
use super::{Batch, Flow};
use crate::error::{Failure, GUARDRAIL_BLOCKED};
use crate::privacy::Screening;
use crate::privacy::events::Events;
use crate::providers::dialect::StreamFailure;
use crate::providers::sse::{SseItem, SseReader};

/// A stream that is screened.
pub struct ScreenedFlow {
    flow: Box<dyn Flow>,
    screening: Rc<RefCell<Screening>>,
    reader: SseReader,
    events: Events<Event>,
}

impl ScreenedFlow {
    /// Screens what comes out of `flow`.
    pub fn new(flow: Box<dyn Flow>, screening: Rc<RefCell<Screening>>) -> Self {
        Self { flow, screening, reader: SseReader::with_names(), events: Events::default() }
    }

    fn screen(&mut self, mut batch: Batch) -> Batch {
        let over = batch.done || batch.failure.is_some();
        let came = batch.bytes.take();
        let screening = &mut *self.screening.borrow_mut();
        if !came.is_empty() {
            screening.came(&came);
            self.reader.feed(came);
        }
        while let Some(item) = self.reader.next_event() {
            let Ok(SseItem::Event(event)) = item else { continue };
            let data = String::from_utf8_lossy(event.data());
            let own = Event::of(&event);
            // The word that ends a stream is no JSON; nothing of an answer comes behind it.
            if data == "[DONE]" {
                self.events.finish(screening, |event, new| batch.bytes.push(event.with(new)));
            }
            self.events.push(screening, own, &data, |event, new| batch.bytes.push(event.with(new)));
        }
        if over {
            self.events.finish(screening, |event, new| batch.bytes.push(event.with(new)));
        }
        if let Some((rule, entity)) = &screening.report().blocked {
            // What was cut off by the refusal must not go out either.
            batch.bytes.take();
            batch.done = false;
            let message = format!("the answer was refused by the rule `{rule}`: it holds {}", entity.as_str());
            let (kind, code) = (Some("invalid_request_error".to_owned()), Some(GUARDRAIL_BLOCKED.to_owned()));
            batch.failure = Some(Failure { kind, code, ..Failure::plain(ErrorClass::ContentPolicy, message) });
        }
        batch
    }
}

impl Flow for ScreenedFlow {
    fn is_framed(&self) -> bool {
        self.flow.is_framed()
    }

    fn feed(&mut self, piece: Bytes) -> Batch {
        let batch = self.flow.feed(piece);
        self.screen(batch)
    }

    fn poll_held(&mut self, context: &mut Context<'_>) -> Option<Poll<Batch>> {
        Some(self.flow.poll_held(context)?.map(|batch| self.screen(batch)))
    }

    fn end(&mut self) -> Batch {
        let batch = self.flow.end();
        self.screen(batch)
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
        self.flow.fail(failure)
    }
}
