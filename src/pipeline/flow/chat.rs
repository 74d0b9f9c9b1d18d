//! OpenAI's own streams, to clients that speak the same: each event as it came, mended where it would break a client.

use bursar_actors::Usage;
use bytes::Bytes;

use super::{Batch, Flow, named, truncated, unreadable, unusable};
use crate::providers::announced::Announced;
use crate::providers::dialect::Nonsense;
use crate::providers::openai::{Action, Finish, Malformed, StreamEnd, StreamRepair};
use crate::providers::sse::{SseEvent, SseItem, SseReader};
use crate::schema::RequestHead;
use crate::upstream::judge;

/// The state of one such stream.
pub struct ChatFlow {
    reader: SseReader,
    repair: StreamRepair,
    /// What comes before the first output is left out.
    skips_preamble: bool,
    /// By the preamble of an earlier upstream, which the client has.
    announced: Option<Announced>,
}

impl ChatFlow {
    /// Begins the answer to the request that `head` is of.
    pub fn new(head: &RequestHead, announced: Option<Announced>) -> Self {
        let repair = StreamRepair::new(head.operation, head.include_usage);
        Self { reader: SseReader::new(), repair, skips_preamble: announced.is_some(), announced }
    }

    fn on_event(&mut self, event: &SseEvent, batch: &mut Batch) -> Result<(), Malformed> {
        let (action, facts) = self.repair.on_event(event)?;
        let output = facts.meaningful || facts.finish.is_some() || facts.done;
        self.skips_preamble &= !output;
        match action {
            Action::Forward | Action::Replace(_) if self.skips_preamble => {}
            Action::Forward => batch.bytes.push(named(&self.announced, event.raw())),
            Action::Replace(bytes) => batch.bytes.push(named(&self.announced, &bytes)),
            Action::Drop => {}
            Action::Error => {
                batch.failure = Some(judge::judge_error_value(event.data()));
                return Ok(());
            }
        }
        batch.began |= output;
        batch.done |= facts.done;
        Ok(())
    }
}

impl Flow for ChatFlow {
    fn feed(&mut self, piece: Bytes) -> Batch {
        self.reader.feed(piece);
        let mut batch = Batch::default();
        while let Some(item) = self.reader.next_event() {
            match item {
                Ok(SseItem::Comment) => {}
                Ok(SseItem::Event(event)) => {
                    if let Err(malformed) = self.on_event(&event, &mut batch) {
                        batch.failure = Some(unusable(Nonsense::of(malformed.to_string())));
                    }
                }
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
            // An event that the end cut in two is no event; `end` knows what was missing.
            Some(Ok(SseItem::Event(event))) => _ = self.on_event(&event, &mut batch),
            Some(Err(error)) => return Batch::failed(unreadable(&error)),
            _ => {}
        }
        if !batch.done && batch.failure.is_none() {
            match self.repair.end() {
                StreamEnd::Complete => batch.done = true,
                StreamEnd::CompleteWithoutDone(tail) => {
                    batch.bytes.push(named(&self.announced, &tail));
                    batch.done = true;
                }
                StreamEnd::Truncated => batch.failure = Some(truncated()),
            }
        }
        batch.began |= batch.done;
        batch
    }

    fn usage(&self) -> Option<Usage> {
        self.repair.usage()
    }

    fn finish(&self) -> Option<&'static str> {
        self.repair.finish().map(Finish::as_str)
    }

    fn output_bytes(&self) -> u64 {
        self.repair.output_bytes()
    }
}
