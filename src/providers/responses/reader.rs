//! A streamed reply of an upstream that speaks Responses.
//!
//! What the deltas leave out, because a server sends none or too few, is taken from the events that close a part, an item
//! or the response.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::decode;
use crate::providers::dialect::{Nonsense, Step, StreamReader};
use crate::providers::framing::Frame;
use crate::schema::chat::{Choice, Chunk, Citation, Content, ToolCall};

/// The state of one stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    items: Vec<Seen>,
    tools: u32,
    complete: bool,
}

/// What has come of one item.
#[derive(Debug, Default)]
struct Seen {
    index: u64,
    /// Its number among the calls.
    tool: Option<u32>,
    said: bool,
    thought: bool,
    cited: bool,
    closed: bool,
}

/// Any event; a field of the wrong type is as good as missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    #[serde(rename = "type")]
    kind: Value,
    output_index: Value,
    summary_index: Value,
    delta: Value,
    logprobs: Value,
    item: Value,
    annotation: Value,
    response: Value,
    error: Value,
}

impl Reader {
    fn seen(&mut self, event: &Event) -> &mut Seen {
        let last = self.items.last().map_or(0, |item| item.index);
        let index = event.output_index.as_u64().unwrap_or(last);
        let at = self.items.iter().rposition(|item| item.index == index).unwrap_or_else(|| {
            self.items.push(Seen { index, ..Seen::default() });
            self.items.len() - 1
        });
        &mut self.items[at]
    }

    fn delta(&mut self, kind: &str, mut event: Event, out: &mut Vec<Chunk>) {
        let seen = self.seen(&event);
        let Value::String(delta) = event.delta.take() else { return };
        let choice = 0;
        match kind {
            "response.output_text.delta" => {
                seen.said = true;
                out.push(Chunk::Text { choice, text: delta });
                out.extend(logprobs(event.logprobs.take()));
            }
            "response.refusal.delta" => {
                seen.said = true;
                out.push(Chunk::Refusal { choice, text: delta });
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                seen.thought = true;
                out.push(Chunk::Thinking { choice, text: delta });
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                if let Some(tool) = seen.tool {
                    seen.said = true;
                    out.push(Chunk::ToolArguments { choice, tool, fragment: delta });
                }
            }
            _ => {}
        }
    }

    fn added(&mut self, event: &Event, out: &mut Vec<Chunk>) {
        let call = match event.item.get("type").and_then(Value::as_str) {
            Some("function_call") => decode::call(&event.item, "arguments"),
            Some("custom_tool_call") => decode::call(&event.item, "input"),
            _ => {
                self.seen(event);
                return;
            }
        };
        let number = self.tools;
        let seen = self.seen(event);
        if seen.tool.is_none() {
            seen.tool = Some(number);
            self.tools += 1;
            let ToolCall { id, name, custom, .. } = call;
            out.push(Chunk::ToolCall { choice: 0, tool: number, id, name, custom, signature: None });
        }
    }

    fn done(&mut self, event: &Event, out: &mut Vec<Chunk>) {
        self.added(event, out);
        let seen = self.seen(event);
        if std::mem::replace(&mut seen.closed, true) {
            return;
        }
        let mut whole = Choice::default();
        decode::take_item(&event.item, &mut whole);
        let choice = 0;
        for part in whole.parts {
            match part.content {
                Content::Text(text) if !seen.said => out.push(Chunk::Text { choice, text }),
                Content::Refusal(text) if !seen.said => out.push(Chunk::Refusal { choice, text }),
                Content::Thinking(thinking) => {
                    if !seen.thought && !thinking.text.is_empty() {
                        out.push(Chunk::Thinking { choice, text: thinking.text });
                    }
                    let (signature, encrypted, vendor, id) = (None, thinking.encrypted, thinking.vendor, thinking.id);
                    out.push(Chunk::ThinkingEnd { choice, signature, encrypted, vendor, id });
                }
                Content::ToolCall(call) => {
                    if let Some(tool) = seen.tool.filter(|_| !seen.said) {
                        out.push(Chunk::ToolArguments { choice, tool, fragment: call.arguments });
                    }
                }
                Content::Native { dialect, value } => out.push(Chunk::Native { choice, dialect, value }),
                _ => {}
            }
        }
        if !seen.said {
            out.extend(whole.logprobs.map(|value| Chunk::Logprobs { choice, value }));
        }
        let citations = whole.citations.into_iter().filter(|_| !seen.cited);
        out.extend(citations.map(cite));
    }

    /// The last event: what was never streamed, why it ended, what it used.
    fn end(&mut self, mut event: Event, out: &mut Vec<Chunk>) {
        let Value::Object(mut response) = event.response.take() else { return self.finish(&Map::new(), out) };
        let Some(Value::Array(output)) = response.remove("output") else { return self.finish(&response, out) };
        if self.items.is_empty() {
            for (index, item) in output.into_iter().enumerate() {
                self.done(&Event { item, output_index: json!(index), ..Event::default() }, out);
            }
        }
        self.finish(&response, out);
    }

    fn finish(&mut self, response: &Map<String, Value>, out: &mut Vec<Chunk>) {
        self.complete = true;
        let finish = decode::finish(response, self.tools > 0);
        out.push(Chunk::Finish { choice: 0, finish });
        out.extend(decode::usage(response).map(Chunk::Usage));
    }
}

impl StreamReader for Reader {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Chunk>) -> Result<Step, Nonsense> {
        if frame.data.trim_ascii() == b"[DONE]" {
            return Ok(Step::Done);
        }
        let mut event: Event = serde_json::from_slice(frame.data)
            .map_err(|_| Nonsense::of("an event of its stream is not a JSON object"))?;
        let kind = match event.kind.take() {
            Value::String(kind) => kind,
            _ => String::from_utf8_lossy(frame.event.unwrap_or_default()).into_owned(),
        };
        match kind.as_str() {
            "error" | "response.failed" => return Ok(Step::Error),
            _ if !event.error.is_null() => return Ok(Step::Error),
            "response.created" | "response.queued" | "response.in_progress" => {
                let (fields, none) = (event.response.as_object(), Map::new());
                out.push(start(fields.unwrap_or(&none)));
            }
            "response.output_item.added" => self.added(&event, out),
            "response.output_item.done" => self.done(&event, out),
            "response.output_text.annotation.added" => {
                if let Some(citation) = decode::citation(&event.annotation) {
                    self.seen(&event).cited = true;
                    out.push(cite(citation));
                }
            }
            "response.reasoning_summary_part.added" => {
                let is_later = event.summary_index.as_u64().is_some_and(|index| index > 0);
                if self.seen(&event).thought && is_later {
                    out.push(Chunk::Thinking { choice: 0, text: "\n\n".into() });
                }
            }
            "response.completed" | "response.incomplete" => {
                self.end(event, out);
                return Ok(Step::Done);
            }
            delta if delta.ends_with(".delta") => self.delta(delta, event, out),
            _ => {}
        }
        Ok(Step::More)
    }

    fn is_complete(&self) -> bool {
        self.complete
    }
}

fn start(response: &Map<String, Value>) -> Chunk {
    Chunk::Start {
        id: decode::text(response.get("id")),
        created: decode::created(response),
        model: decode::text(response.get("model")),
        service_tier: response.get("service_tier").and_then(Value::as_str).map(str::to_owned),
        system_fingerprint: None,
    }
}

fn cite(citation: Citation) -> Chunk {
    Chunk::Citation { choice: 0, citation }
}

fn logprobs(entries: Value) -> Option<Chunk> {
    let any = entries.as_array().is_some_and(|entries| !entries.is_empty());
    any.then(|| Chunk::Logprobs { choice: 0, value: json!({ "content": entries }) })
}
