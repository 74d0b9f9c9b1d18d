//! An upstream's stream of message events read into chunks.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::decode::{citation, explanation, finish, made_up_id, usage_of};
use super::usage::MessageUsage;
use crate::providers::dialect::{Nonsense, Step, StreamReader};
use crate::providers::framing::Frame;
use crate::schema::chat::{Chunk, Dialect, Finish};

/// One event; what it does not have is missing.
#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    partial_json: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    signature: Option<String>,
}

/// What a block under way is.
#[derive(Debug)]
enum Block {
    Text,
    Thinking {
        signature: String,
    },
    Tool {
        number: u32,
        input: Value,
        any: bool,
    },
    /// Held back until it is whole; `json` is its input so far.
    Native {
        value: Map<String, Value>,
        json: String,
    },
}

/// The state of one stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    id: Option<String>,
    blocks: Vec<(u64, Block)>,
    tools: u32,
    usage: MessageUsage,
    finished: bool,
}

/// Reads `data` as an event; `name` says what it is where it does not say so itself.
pub(super) fn event<'a>(data: &'a [u8], name: Option<&'a [u8]>) -> Result<Event<'a>, Nonsense> {
    let mut event: Event<'_> =
        serde_json::from_slice(data).map_err(|_| Nonsense::of("an event of its stream is not the JSON of one"))?;
    if event.kind.is_empty() {
        event.kind = String::from_utf8_lossy(name.unwrap_or_default());
    }
    Ok(event)
}

/// Returns the value of a part of an event; null where there is none.
pub(super) fn value(raw: Option<&RawValue>) -> Value {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

impl StreamReader for Reader {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Chunk>) -> Result<Step, Nonsense> {
        if frame.data.trim_ascii() == b"[DONE]" {
            // Some of those who speak Messages, too, end as OpenAI does.
            return Ok(if self.finished { Step::Done } else { Step::More });
        }
        let event = event(frame.data, frame.event)?;
        let index = event.index.unwrap_or(0);
        match &*event.kind {
            "content_block_delta" => self.delta(index, event.delta, out),
            "content_block_start" => self.start_block(index, value(event.content_block), out),
            "content_block_stop" => self.stop_block(index, out),
            "message_start" => self.start(value(event.message), out)?,
            "message_delta" => self.message_delta(&event, out),
            "message_stop" => {
                self.end(Finish::Stop { sequence: None }, out);
                return Ok(Step::Done);
            }
            "error" => return Ok(Step::Error),
            _ => {}
        }
        Ok(Step::More)
    }

    fn is_complete(&self) -> bool {
        self.finished
    }
}

impl Reader {
    fn start(&mut self, mut message: Value, out: &mut Vec<Chunk>) -> Result<(), Nonsense> {
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let (id, model) = (text("id"), text("model"));
        if let Some(before) = &self.id {
            // A repeated start says nothing new; another message inside this one would be patched together with it.
            let repeated = *before == id;
            return if repeated { Ok(()) } else { Err(Nonsense::of("a second message began inside the first")) };
        }
        self.usage = usage_of(message.get_mut("usage").map(Value::take));
        let service_tier = self.usage.tier();
        self.id = Some(id.clone());
        out.push(Chunk::Start { id, created: 0, model, service_tier, system_fingerprint: None });
        out.extend(self.usage.normalise().map(Chunk::Usage));
        if let Some(Value::Array(blocks)) = message.get_mut("content").map(Value::take) {
            for (index, block) in blocks.into_iter().enumerate() {
                self.start_block(index as u64, block, out);
                self.stop_block(index as u64, out);
            }
        }
        Ok(())
    }

    fn start_block(&mut self, index: u64, block: Value, out: &mut Vec<Chunk>) {
        self.stop_block(index, out);
        let Value::Object(mut map) = block else { return };
        let mut text = |key: &str| match map.get_mut(key).map(Value::take) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let kind = text("type");
        let block = match kind.as_str() {
            "text" => {
                push_text(text("text"), out);
                Block::Text
            }
            "thinking" => {
                push_thinking(text("thinking"), out);
                Block::Thinking { signature: text("signature") }
            }
            "redacted_thinking" => {
                let (encrypted, vendor) = (Some(text("data")), Some(Dialect::Anthropic));
                out.push(Chunk::ThinkingEnd { choice: 0, signature: None, encrypted, vendor, id: None });
                return;
            }
            "tool_use" => {
                let (id, name, number) = (text("id"), text("name"), self.tools);
                let message = self.id.as_deref().unwrap_or_default();
                let id = if id.is_empty() { made_up_id(message, number as usize) } else { id };
                self.tools += 1;
                out.push(Chunk::ToolCall { choice: 0, tool: number, id, name, custom: false, signature: None });
                Block::Tool { number, input: map.remove("input").unwrap_or_default(), any: false }
            }
            _ => {
                map.insert("type".into(), kind.into());
                Block::Native { value: map, json: String::new() }
            }
        };
        self.blocks.push((index, block));
    }

    fn delta(&mut self, index: u64, raw: Option<&RawValue>, out: &mut Vec<Chunk>) {
        let Some(raw) = raw else { return };
        let Ok(delta) = serde_json::from_str::<Delta<'_>>(raw.get()) else { return };
        let block = self.blocks.iter_mut().rev().find(|(at, _)| *at == index).map(|(_, block)| block);
        match (&*delta.kind, block) {
            (_, Some(Block::Native { value, json })) => grow(value, json, raw),
            ("text_delta", _) => push_text(delta.text.unwrap_or_default(), out),
            ("input_json_delta", Some(Block::Tool { number, any, .. })) => {
                let fragment = delta.partial_json.unwrap_or_default();
                if !fragment.is_empty() {
                    *any = true;
                    out.push(Chunk::ToolArguments { choice: 0, tool: *number, fragment });
                }
            }
            ("thinking_delta", block) => {
                if block.is_none() {
                    self.blocks.push((index, Block::Thinking { signature: String::new() }));
                }
                push_thinking(delta.thinking.unwrap_or_default(), out);
            }
            ("signature_delta", Some(Block::Thinking { signature })) => {
                signature.push_str(&delta.signature.unwrap_or_default());
            }
            ("citations_delta", _) => {
                let citation = citation(&value(Some(raw))["citation"]);
                out.extend(citation.map(|citation| Chunk::Citation { choice: 0, citation }));
            }
            _ => {}
        }
    }

    fn stop_block(&mut self, index: u64, out: &mut Vec<Chunk>) {
        let Some(at) = self.blocks.iter().position(|(each, _)| *each == index) else { return };
        match self.blocks.remove(at).1 {
            Block::Text => {}
            Block::Thinking { signature } => {
                let signature = Some(signature).filter(|signature| !signature.is_empty());
                let vendor = signature.is_some().then_some(Dialect::Anthropic);
                out.push(Chunk::ThinkingEnd { choice: 0, signature, encrypted: None, vendor, id: None });
            }
            Block::Tool { number, input, any } => {
                // Some send the arguments whole, with the block's start.
                let whole = input.as_object().is_some_and(|input| !input.is_empty());
                if !any {
                    let fragment = if whole { input.to_string() } else { "{}".to_owned() };
                    out.push(Chunk::ToolArguments { choice: 0, tool: number, fragment });
                }
            }
            Block::Native { mut value, json } => {
                if let Ok(input @ Value::Object(_)) = serde_json::from_str(&json) {
                    value.insert("input".into(), input);
                }
                let value = Value::Object(value);
                out.push(Chunk::Native { choice: 0, dialect: Dialect::Anthropic, value });
            }
        }
    }

    fn message_delta(&mut self, event: &Event<'_>, out: &mut Vec<Chunk>) {
        let delta = value(event.delta);
        if let Some(reason) = delta["stop_reason"].as_str() {
            let refusal = explanation(delta.get("stop_details")).filter(|_| !self.finished);
            out.extend(refusal.map(|text| Chunk::Refusal { choice: 0, text }));
            self.end(finish(reason, delta.get("stop_sequence")), out);
        }
        if event.usage.is_some() {
            self.usage.merge(usage_of(Some(value(event.usage))));
            out.extend(self.usage.normalise().map(Chunk::Usage));
        }
    }

    fn end(&mut self, finish: Finish, out: &mut Vec<Chunk>) {
        while let Some((index, _)) = self.blocks.first() {
            self.stop_block(*index, out);
        }
        if !std::mem::replace(&mut self.finished, true) {
            out.push(Chunk::Finish { choice: 0, finish });
        }
    }
}

fn push_text(text: String, out: &mut Vec<Chunk>) {
    if !text.is_empty() {
        out.push(Chunk::Text { choice: 0, text });
    }
}

fn push_thinking(text: String, out: &mut Vec<Chunk>) {
    if !text.is_empty() {
        out.push(Chunk::Thinking { choice: 0, text });
    }
}

/// Lets a block that is only passed on grow: its input by JSON text, other fields by theirs.
fn grow(block: &mut Map<String, Value>, json: &mut String, delta: &RawValue) {
    let Value::Object(delta) = value(Some(delta)) else { return };
    for (key, more) in delta.into_iter().filter(|(key, _)| key != "type") {
        let before = block.get_mut(&key);
        match (more, before) {
            (Value::String(more), _) if key == "partial_json" => json.push_str(&more),
            (Value::String(more), Some(Value::String(before))) => before.push_str(&more),
            (more, Some(before)) => *before = more,
            (more, None) => _ = block.insert(key, more),
        }
    }
}
