//! Streams of other dialects, to clients that speak the same: each event as it came, read along for what must be known.

use bursar_actors::Usage;
use bytes::Bytes;

use super::{Batch, Flow, judged, named, truncated, unreadable, unusable};
use crate::providers::announced::Announced;
use crate::providers::dialect::{PassReader, StreamFailure};
use crate::providers::sse::{SseEvent, SseItem, SseReader};

/// The state of one such stream.
pub struct PassFlow {
    reader: SseReader,
    along: Box<dyn PassReader>,
    /// What comes before the first output is left out.
    skips_preamble: bool,
    output_bytes: u64,
    /// By the preamble of an earlier upstream, which the client has.
    announced: Option<Announced>,
}

impl PassFlow {
    /// Begins a stream that `along` reads along.
    pub fn new(along: Box<dyn PassReader>, announced: Option<Announced>) -> Self {
        let skips_preamble = announced.is_some();
        Self { reader: SseReader::with_names(), along, skips_preamble, output_bytes: 0, announced }
    }

    fn on_event(&mut self, event: &SseEvent, batch: &mut Batch) {
        match self.along.event(event) {
            Err(nonsense) => batch.failure = Some(unusable(nonsense)),
            Ok(facts) if facts.error => batch.failure = Some(judged(event.data())),
            Ok(facts) => {
                self.skips_preamble &= !(facts.output || facts.done);
                if !self.skips_preamble && !facts.repeated {
                    batch.bytes.push(named(&self.announced, event.raw()));
                }
                batch.began |= facts.output || facts.done;
                batch.done |= facts.done;
                self.output_bytes += facts.output_bytes as u64;
            }
        }
    }
}

impl Flow for PassFlow {
    fn feed(&mut self, piece: Bytes) -> Batch {
        self.reader.feed(piece);
        let mut batch = Batch::default();
        while let Some(item) = self.reader.next_event() {
            match item {
                Ok(SseItem::Comment) => {}
                Ok(SseItem::Event(event)) => self.on_event(&event, &mut batch),
                Err(error) => batch.failure = Some(unreadable(&error)),
            }
            if batch.done || batch.failure.is_some() {
                break;
            }
        }
        batch
    }

    fn end(&mut self) -> Batch {
        let mut batch = Batch::default();
        match self.reader.finish() {
            Some(Ok(SseItem::Event(event))) => self.on_event(&event, &mut batch),
            Some(Err(error)) => return Batch::failed(unreadable(&error)),
            _ => {}
        }
        if !batch.done && batch.failure.is_none() {
            batch.done = self.along.is_complete();
            if batch.done {
                batch.bytes.push(self.along.tail());
            }
            batch.failure = (!batch.done).then(truncated);
        }
        batch.began |= batch.done;
        batch
    }

    fn usage(&self) -> Option<Usage> {
        self.along.usage()
    }

    fn finish(&self) -> Option<&'static str> {
        self.along.finish()
    }

    fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    fn fail(&mut self, failure: &StreamFailure<'_>) -> Option<Bytes> {
        self.along.fail(failure)
    }
}
