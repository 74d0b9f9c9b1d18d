//! What the gateway must know of replies that pass from an Anthropic upstream to an Anthropic client as they are.

use bursar_actors::Usage;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::decode::{finish, usage_of};
use super::reader::{event, value};
use super::usage::MessageUsage;
use crate::providers::dialect::{Nonsense, Whole, object};
use crate::providers::sse::SseEvent;
use crate::schema::chat::Finish;

/// What an event means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Bytes of text, thought and arguments in it, as JSON.
    pub output_bytes: usize,
    /// Belongs to the answer: from then on no other upstream can take over.
    pub is_output: bool,
    /// Why the answer ends, where the event says so.
    pub finish: Option<Finish>,
    /// The event's data is the provider's error.
    pub is_error: bool,
    /// Nothing comes behind it.
    pub is_done: bool,
    /// Says again what was said; not to be forwarded.
    pub is_repeated: bool,
}

/// Reads along with a stream.
#[derive(Debug, Default)]
pub struct PassReader {
    id: Option<String>,
    usage: MessageUsage,
    finished: bool,
}

impl PassReader {
    /// Takes the next event; refuses a second message inside the first.
    pub fn event(&mut self, event: &SseEvent) -> Result<Facts, Nonsense> {
        let mut facts = Facts::default();
        let event = self::event(event.data(), event.name())?;
        match &*event.kind {
            "content_block_delta" => {
                facts.is_output = true;
                facts.output_bytes = event.delta.map_or(0, said);
            }
            "content_block_start" | "content_block_stop" => facts.is_output = true,
            "message_start" => {
                let mut message = value(event.message);
                let id = message["id"].as_str().unwrap_or_default().to_owned();
                match &self.id {
                    Some(before) if *before == id => facts.is_repeated = true,
                    Some(_) => return Err(Nonsense::of("a second message began inside the first")),
                    None => {
                        self.usage = usage_of(message.get_mut("usage").map(Value::take));
                        self.id = Some(id);
                    }
                }
            }
            "message_delta" => {
                facts.is_output = true;
                let delta = value(event.delta);
                facts.finish = delta["stop_reason"].as_str().map(|reason| finish(reason, delta.get("stop_sequence")));
                self.finished |= facts.finish.is_some();
                if event.usage.is_some() {
                    self.usage.merge(usage_of(Some(value(event.usage))));
                }
            }
            "message_stop" => {
                facts.is_done = true;
                self.finished = true;
            }
            "error" => facts.is_error = true,
            _ => {}
        }
        Ok(facts)
    }

    /// Returns the usage as far as it has been told.
    pub fn usage(&self) -> Option<Usage> {
        self.usage.normalise()
    }

    /// Returns whether everything has been said.
    pub fn is_complete(&self) -> bool {
        self.finished
    }
}

/// What a delta says, as it is written; a signature says nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_json: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
}

fn said(delta: &RawValue) -> usize {
    let said: Said<'_> = serde_json::from_str(delta.get()).unwrap_or_default();
    let texts = [said.text, said.partial_json, said.thinking].into_iter().flatten();
    texts.map(|text| text.get().len().saturating_sub(2)).sum()
}

/// Reads a whole reply.
pub fn whole(body: &[u8]) -> Result<Whole, Nonsense> {
    let mut message = object(body)?;
    if super::is_error_object(&message) {
        return Ok(Whole::error());
    }
    if !message.contains_key("content") && !message.contains_key("stop_reason") {
        return Err(Nonsense::of("it is no message: it has neither content nor a stop reason"));
    }
    let reason = message.get("stop_reason").and_then(Value::as_str);
    let finish = reason.map(|reason| finish(reason, None).as_str());
    Ok(Whole { usage: usage_of(message.remove("usage")).normalise(), finish, error: false })
}
