//! The events of a stream of Cohere's as chunks.

use serde_json::{Value, json};

use super::decode::{arguments, call_names, citations, failed, finish, is_nothing, logprob, string, usage};
use crate::providers::dialect::{Nonsense, Step, StreamReader};
use crate::providers::framing::Frame;
use crate::schema::chat::Chunk;

/// The state of one stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    id: String,
    /// Thinking, or a plan, is under way.
    thinking: bool,
    calls: Vec<Call>,
    ended: bool,
}

#[derive(Debug)]
struct Call {
    index: u64,
    /// Arguments that may yet turn out to be `null`, which stands for none.
    held: Option<String>,
}

impl StreamReader for Reader {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Chunk>) -> Result<Step, Nonsense> {
        if frame.data.trim_ascii() == b"[DONE]" {
            return Ok(Step::Done);
        }
        let mut event = match serde_json::from_slice(frame.data) {
            Ok(event @ Value::Object(_)) => event,
            _ => return Err(Nonsense::of("an event of the stream is no JSON object")),
        };
        let kind = event.get_mut("type").map(string).unwrap_or_default();
        let named = frame.event.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
        let kind = if kind.is_empty() { named } else { kind.as_str() };
        let is_error = |event: &Value| event.get("error").is_some_and(|error| !error.is_null());
        if kind == "error" || is_error(&event) || (kind.is_empty() && event.get("message").is_some()) {
            return Ok(Step::Error);
        }
        match kind {
            "message-start" => {
                self.id = event.get_mut("id").map(string).unwrap_or_default();
                let (id, model) = (self.id.clone(), String::new());
                out.push(Chunk::Start { id, created: 0, model, service_tier: None, system_fingerprint: None });
            }
            "message-end" => return Ok(self.end(&event, out)),
            "content-end" => self.end_thinking(out),
            _ => self.delta(kind, &mut event, out),
        }
        Ok(Step::More)
    }

    fn is_complete(&self) -> bool {
        self.ended
    }
}

impl Reader {
    fn delta(&mut self, kind: &str, event: &mut Value, out: &mut Vec<Chunk>) {
        let index = event.get("index").and_then(Value::as_u64).unwrap_or_default();
        let logprobs = event.get("logprobs").and_then(logprob);
        let Some(message) = event.pointer_mut("/delta/message") else { return };
        match kind {
            "tool-plan-delta" => self.think(message.get_mut("tool_plan").map(string), out),
            "content-start" | "content-delta" => {
                let Some(content) = message.get_mut("content") else { return };
                let thought = content.get_mut("thinking").map(string);
                if kind == "content-start" {
                    self.end_thinking(out);
                }
                self.think(thought, out);
                if let Some(text) = content.get_mut("text").map(string).filter(|text| !text.is_empty()) {
                    self.end_thinking(out);
                    out.push(Chunk::Text { choice: 0, text });
                    let value = |item| json!({"content": [item]});
                    out.extend(logprobs.map(|item| Chunk::Logprobs { choice: 0, value: value(item) }));
                }
            }
            "tool-call-start" => {
                self.end_thinking(out);
                let Some(call) = message.get_mut("tool_calls") else { return };
                let tool = self.calls.len();
                let (id, name) = call_names(call, &self.id, tool);
                out.push(Chunk::ToolCall { choice: 0, tool: tool as u32, id, name, custom: false, signature: None });
                self.calls.push(Call { index, held: Some(String::new()) });
                self.arguments(index, call, out);
            }
            "tool-call-delta" => {
                if let Some(call) = message.get_mut("tool_calls") {
                    self.arguments(index, call, out);
                }
            }
            "citation-start" => {
                let found = match message.get("citations") {
                    Some(Value::Array(several)) => several.iter().flat_map(citations).collect(),
                    Some(one) => citations(one),
                    None => Vec::new(),
                };
                out.extend(found.into_iter().map(|citation| Chunk::Citation { choice: 0, citation }));
            }
            _ => {}
        }
    }

    fn think(&mut self, text: Option<String>, out: &mut Vec<Chunk>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.thinking = true;
            out.push(Chunk::Thinking { choice: 0, text });
        }
    }

    fn end_thinking(&mut self, out: &mut Vec<Chunk>) {
        if std::mem::take(&mut self.thinking) {
            let (signature, encrypted) = (None, None);
            out.push(Chunk::ThinkingEnd { choice: 0, signature, encrypted, vendor: None, id: None });
        }
    }

    fn arguments(&mut self, index: u64, call: &mut Value, out: &mut Vec<Chunk>) {
        let Some(mut fragment) = call.pointer_mut("/function/arguments").map(arguments) else { return };
        let Some(tool) = self.calls.iter().rposition(|call| call.index == index) else { return };
        let call = &mut self.calls[tool];
        if let Some(held) = &mut call.held {
            held.push_str(&fragment);
            if "null".starts_with(held.trim()) {
                return;
            }
            fragment = std::mem::take(held);
            call.held = None;
        }
        if !fragment.is_empty() {
            out.push(Chunk::ToolArguments { choice: 0, tool: tool as u32, fragment });
        }
    }

    fn end(&mut self, event: &Value, out: &mut Vec<Chunk>) -> Step {
        let delta = event.get("delta").unwrap_or(event);
        let reason = delta.get("finish_reason");
        if failed(reason) || delta.get("error").is_some_and(|error| !error.is_null()) {
            return Step::Error;
        }
        self.end_thinking(out);
        for (tool, call) in self.calls.iter_mut().enumerate() {
            // What was held back and is not `null` was cut off: it is handed on as it came.
            if let Some(fragment) = call.held.take().filter(|held| !is_nothing(held)) {
                out.push(Chunk::ToolArguments { choice: 0, tool: tool as u32, fragment });
            }
        }
        self.ended = true;
        out.push(Chunk::Finish { choice: 0, finish: finish(reason, !self.calls.is_empty()) });
        out.extend(delta.get("usage").and_then(usage).map(Chunk::Usage));
        Step::Done
    }
}
