//! Streams whose answer has to have a form: what was said is gathered on its way, and held to it at the end.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bursar_actors::{ErrorClass, Usage};
use bytes::Bytes;

use super::{Batch, Flow};
use crate::config::privacy::StructuredCheck;
use crate::error::{Failure, SCHEMA_MISMATCH};
use crate::pipeline::structured::{self, Judged, Wanted};
use crate::privacy::Screening;
use crate::privacy::texts;
use crate::providers::dialect::StreamFailure;
use crate::providers::sse::{SseItem, SseReader};

/// Longest text that is gathered, in bytes; a longer one is not judged.
const TEXT_MAX: usize = 1 << 20;

/// A stream whose answer is held to a form.
pub struct FormedFlow {
    flow: Box<dyn Flow>,
    wanted: Rc<Wanted>,
    screening: Rc<RefCell<Screening>>,
    reader: SseReader,
    text: String,
}

impl FormedFlow {
    /// Holds what comes out of `flow` to `wanted`; `screening` is told if it is not so.
    pub fn new(flow: Box<dyn Flow>, wanted: Rc<Wanted>, screening: Rc<RefCell<Screening>>) -> Self {
        Self { flow, wanted, screening, reader: SseReader::with_names(), text: String::new() }
    }

    fn gather(&mut self, mut batch: Batch) -> Batch {
        let bytes = batch.bytes.take();
        self.reader.feed(bytes.clone());
        while let Some(item) = self.reader.next_event() {
            let Ok(SseItem::Event(event)) = item else { continue };
            let data = String::from_utf8_lossy(event.data());
            let said = texts::of_event(&data).into_iter().filter(|text| self.wanted.is_said(text, &data));
            for text in said {
                // One piece beyond the bound says that it is too long.
                if self.text.len() <= TEXT_MAX {
                    self.text.push_str(&text.text);
                }
            }
        }
        batch.bytes.push(bytes);
        if batch.done && self.text.len() <= TEXT_MAX {
            let judged = self.wanted.judge_text(&self.text, self.flow.finish());
            let passes = self.wanted.check == StructuredCheck::Flag || judged == Judged::Cut;
            if matches!(judged, Judged::Cut | Judged::Faulty(_)) {
                self.screening.borrow_mut().found(&self.wanted.report(passes));
            }
            if let Judged::Faulty(faults) = judged
                && !passes
            {
                // What says that the answer is complete is in these bytes.
                batch.bytes.take();
                batch.done = false;
                let code = Some(SCHEMA_MISMATCH.to_owned());
                let failure = Failure::plain(ErrorClass::ModelMalformed, structured::mismatch(&faults));
                batch.failure = Some(Failure { code, ..failure });
            }
        }
        batch
    }
}

impl Flow for FormedFlow {
    fn is_framed(&self) -> bool {
        self.flow.is_framed()
    }

    fn feed(&mut self, piece: Bytes) -> Batch {
        let batch = self.flow.feed(piece);
        self.gather(batch)
    }

    fn poll_held(&mut self, context: &mut Context<'_>) -> Option<Poll<Batch>> {
        Some(self.flow.poll_held(context)?.map(|batch| self.gather(batch)))
    }

    fn end(&mut self) -> Batch {
        let batch = self.flow.end();
        self.gather(batch)
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
