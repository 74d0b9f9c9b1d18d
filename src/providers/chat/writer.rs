//! Writes a streamed reply for a client that speaks chat completions.

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::{Value, json};

use super::details;
use super::write::{annotations, finish_word, known_tier, logprobs, model, signature_content, usage};
use crate::providers::dialect::StreamWriter;
use crate::schema::chat::{ChatRequest, Chunk, Dialect, Thinking};

/// The state of one stream.
#[derive(Debug)]
pub(super) struct ChatWriter {
    request: ChatRequest,
    /// What every chunk begins with, up to its choices.
    head: Vec<u8>,
    /// What every chunk ends with, behind its choices.
    tail: &'static [u8],
    choices: Vec<ChoiceState>,
}

#[derive(Debug, Default)]
struct ChoiceState {
    index: u32,
    /// The thought under way: what is signed must be sent as a whole with its signature.
    thought: String,
    /// Entries of `reasoning_details` so far.
    entries: usize,
    /// By number: whether it is a custom tool.
    tools: Vec<bool>,
}

impl ChatWriter {
    /// Begins a reply to `request`.
    pub(super) fn new(request: &ChatRequest) -> Self {
        // Only these few are needed; the messages may be megabytes.
        let request = ChatRequest {
            model: request.model.clone(),
            include_usage: request.include_usage,
            legacy_functions: request.legacy_functions,
            ..ChatRequest::default()
        };
        let tail: &[u8] = if request.include_usage { b",\"usage\":null}\n\n" } else { b"}\n\n" };
        Self { request, head: Vec::new(), tail, choices: Vec::new() }
    }

    fn start(&mut self, id: &str, created: i64, name: &str, tier: Option<&str>, fingerprint: Option<&str>) {
        let mut head = json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": model(name, &self.request),
        });
        if let Some(tier) = known_tier(tier) {
            head["service_tier"] = tier.into();
        }
        if let Some(fingerprint) = fingerprint {
            head["system_fingerprint"] = fingerprint.into();
        }
        let text = head.to_string();
        self.head = format!("data: {},\"choices\":", text.trim_end_matches('}')).into_bytes();
    }

    /// Returns the state of a choice; its first chunk names the role.
    fn choice(&mut self, index: u32, out: &mut Vec<u8>) -> &mut ChoiceState {
        if let Some(at) = self.choices.iter().position(|state| state.index == index) {
            return &mut self.choices[at];
        }
        self.event(index, &json!({ "role": "assistant", "content": "", "refusal": null }), None, None, out);
        self.choices.push(ChoiceState { index, ..ChoiceState::default() });
        let last = self.choices.len() - 1;
        &mut self.choices[last]
    }

    /// Writes one chunk with one choice.
    fn event(
        &self,
        index: u32,
        delta: &impl Serialize,
        finish: Option<&str>,
        logprobs: Option<&Value>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"[{\"index\":");
        put(&index, out);
        out.extend_from_slice(b",\"delta\":");
        put(delta, out);
        out.extend_from_slice(b",\"logprobs\":");
        put(&logprobs, out);
        out.extend_from_slice(b",\"finish_reason\":");
        put(&finish, out);
        out.extend_from_slice(b"}]");
        out.extend_from_slice(self.tail);
    }

    fn delta(&mut self, index: u32, delta: &impl Serialize, out: &mut Vec<u8>) {
        self.choice(index, out);
        self.event(index, delta, None, None, out);
    }

    fn end_thought(&mut self, index: u32, end: Thinking, out: &mut Vec<u8>) {
        let state = self.choice(index, out);
        let thought = Thinking { text: std::mem::take(&mut state.thought), ..end };
        if let Some(block) = details::block(&thought) {
            self.event(index, &json!({ "thinking_blocks": [block] }), None, None, out);
        } else if details::needs_entries(&thought) {
            let entries = details::entries(&thought, state.entries);
            state.entries += 1;
            self.event(index, &json!({ "reasoning_details": entries }), None, None, out);
        }
    }

    fn tool_call(&mut self, index: u32, call: &Chunk, out: &mut Vec<u8>) {
        let Chunk::ToolCall { tool, id, name, custom, signature, .. } = call else { return };
        let (legacy, state) = (self.request.legacy_functions, self.choice(index, out));
        state.thought.clear();
        state.tools.push(*custom);
        if legacy {
            // A legacy reply has room for one call.
            if *tool == 0 {
                self.event(index, &json!({ "function_call": { "name": name, "arguments": "" } }), None, None, out);
            }
            return;
        }
        let mut entry = if *custom {
            json!({ "index": tool, "id": id, "type": "custom", "custom": { "name": name, "input": "" } })
        } else {
            json!({ "index": tool, "id": id, "type": "function", "function": { "name": name, "arguments": "" } })
        };
        if let Some(signature) = signature {
            entry["extra_content"] = signature_content(signature);
        }
        self.event(index, &json!({ "tool_calls": [entry] }), None, None, out);
    }

    fn arguments(&mut self, index: u32, tool: u32, fragment: &str, out: &mut Vec<u8>) {
        let (legacy, state) = (self.request.legacy_functions, self.choice(index, out));
        let custom = state.tools.get(tool as usize) == Some(&true);
        if legacy && tool == 0 {
            self.event(index, &One("function_call", One("arguments", fragment)), None, None, out);
        } else if !legacy {
            let (body, field) = if custom { ("custom", "input") } else { ("function", "arguments") };
            let entry = Fragment { index: tool, body, field, text: fragment };
            self.event(index, &One("tool_calls", [entry]), None, None, out);
        }
    }
}

impl StreamWriter for ChatWriter {
    fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        match chunk {
            Chunk::Start { id, created, model, service_tier, system_fingerprint } => {
                self.start(id, *created, model, service_tier.as_deref(), system_fingerprint.as_deref());
                self.choice(0, out);
            }
            Chunk::Text { choice, text } => self.delta(*choice, &One("content", text), out),
            Chunk::Refusal { choice, text } => self.delta(*choice, &One("refusal", text), out),
            Chunk::Thinking { choice, text } => {
                self.choice(*choice, out).thought.push_str(text);
                self.event(*choice, &One("reasoning_content", text), None, None, out);
            }
            Chunk::ThinkingEnd { choice, signature, encrypted, vendor, id } => {
                let (signature, encrypted, id) = (signature.clone(), encrypted.clone(), id.clone());
                let end = Thinking { text: String::new(), signature, encrypted, vendor: *vendor, id };
                self.end_thought(*choice, end, out);
            }
            Chunk::ToolCall { choice, .. } => self.tool_call(*choice, chunk, out),
            Chunk::ToolArguments { choice, tool, fragment } => self.arguments(*choice, *tool, fragment, out),
            Chunk::Citation { choice, citation } => {
                let delta = json!({ "annotations": annotations(std::slice::from_ref(citation)) });
                self.delta(*choice, &delta, out);
            }
            Chunk::Logprobs { choice, value } => {
                self.choice(*choice, out);
                self.event(*choice, &json!({}), None, Some(&logprobs(value)), out);
            }
            Chunk::Native { choice, dialect: Dialect::OpenAi, value } => self.delta(*choice, value, out),
            Chunk::Native { .. } => {}
            Chunk::Finish { choice, finish } => {
                self.choice(*choice, out);
                let word = finish_word(finish, &self.request);
                self.event(*choice, &json!({}), Some(word), None, out);
            }
            Chunk::Usage(figures) if self.request.include_usage => {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(b"[],\"usage\":");
                put(&usage(figures), out);
                out.extend_from_slice(b"}\n\n");
            }
            Chunk::Usage(_) => {}
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

/// Appends a value as JSON.
fn put(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("texts, numbers and JSON values always serialise, and a Vec takes them");
}

/// An object of one field.
struct One<T>(&'static str, T);

impl<T: Serialize> Serialize for One<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

/// More of a call's arguments.
struct Fragment<'a> {
    index: u32,
    body: &'static str,
    field: &'static str,
    text: &'a str,
}

impl Serialize for Fragment<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("index", &self.index)?;
        map.serialize_entry(self.body, &One(self.field, self.text))?;
        map.end()
    }
}
