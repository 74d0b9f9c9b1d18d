//! What the gateway reads along of answers that pass to a client of the same dialect, other than OpenAI's chats.

use bursar_actors::Usage;
use bytes::Bytes;

use super::dialect::{Facts, Nonsense, PassReader, StreamFailure, Whole};
use super::framing::Frame;
use super::sse::SseEvent;
use super::{anthropic, gemini, responses};
use crate::schema::Operation;
use crate::schema::chat::{Dialect, Finish};

/// Returns what reads along a stream that answers `operation`.
pub fn reader(operation: Operation) -> Box<dyn PassReader> {
    match operation.dialect() {
        Dialect::Anthropic => Box::new(Along::<anthropic::PassReader>::default()),
        Dialect::Gemini => Box::new(Along::<gemini::PassReader>::default()),
        _ => Box::new(Along::<responses::PassReader>::default()),
    }
}

/// Reads a whole answer to `operation`.
pub fn whole(operation: Operation, body: &[u8]) -> Result<Whole, Nonsense> {
    let read = match operation.dialect() {
        Dialect::Anthropic => anthropic::whole,
        Dialect::Gemini if operation.embeds() => gemini::whole_embeddings,
        Dialect::Gemini => gemini::whole,
        _ => responses::whole,
    };
    read(body)
}

/// A reader, what events told last of usage and end, and whether the last event has passed.
#[derive(Default)]
struct Along<R> {
    reader: R,
    usage: Option<Usage>,
    finish: Option<&'static str>,
    stopped: bool,
}

impl PassReader for Along<anthropic::PassReader> {
    fn event(&mut self, event: &SseEvent) -> Result<Facts, Nonsense> {
        if event.data().trim_ascii() == b"[DONE]" {
            // Copies of the API end like OpenAI's; Anthropic's clients know no such event.
            return Ok(Facts { repeated: true, ..Facts::default() });
        }
        let facts = self.reader.event(event)?;
        self.stopped |= facts.is_done;
        self.finish = facts.finish.as_ref().map(Finish::as_str).or(self.finish);
        Ok(Facts {
            output: facts.is_output,
            error: facts.is_error,
            done: facts.is_done,
            repeated: facts.is_repeated,
            output_bytes: facts.output_bytes,
        })
    }

    fn usage(&self) -> Option<Usage> {
        self.reader.usage()
    }

    fn finish(&self) -> Option<&'static str> {
        self.finish
    }

    fn is_complete(&self) -> bool {
        self.reader.is_complete()
    }

    fn tail(&self) -> Bytes {
        const STOP: &[u8] = b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        if self.stopped { Bytes::new() } else { Bytes::from_static(STOP) }
    }
}

impl PassReader for Along<responses::PassReader> {
    fn event(&mut self, event: &SseEvent) -> Result<Facts, Nonsense> {
        let facts = self.reader.frame(&Frame { event: event.name(), data: event.data() })?;
        self.usage = facts.usage.or(self.usage);
        self.finish = facts.finish.as_ref().map(Finish::as_str).or(self.finish);
        let output_bytes = facts.output_bytes;
        Ok(Facts { output: facts.is_output, error: facts.error, done: facts.done, repeated: false, output_bytes })
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn finish(&self) -> Option<&'static str> {
        self.finish
    }

    fn is_complete(&self) -> bool {
        self.reader.is_complete()
    }

    fn fail(&self, failure: &StreamFailure<'_>) -> Option<Bytes> {
        Some(responses::error_events(self.reader.progress(), failure))
    }
}

impl PassReader for Along<gemini::PassReader> {
    fn event(&mut self, event: &SseEvent) -> Result<Facts, Nonsense> {
        let facts = self.reader.event(event.data())?;
        if let Some(what) = facts.malformed {
            return Err(Nonsense::of_model(format!("the model's own output is unusable: {what}")));
        }
        self.usage = facts.usage.or(self.usage);
        // Gemini says nothing behind its last event, so only the end of the body tells that it was the last.
        let output = facts.is_output || facts.finish.is_some();
        Ok(Facts { output, error: facts.is_error, output_bytes: facts.output_bytes, ..Facts::default() })
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn finish(&self) -> Option<&'static str> {
        self.reader.finish()
    }

    fn is_complete(&self) -> bool {
        self.reader.is_complete()
    }
}
