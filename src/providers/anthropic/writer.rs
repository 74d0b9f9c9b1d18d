//! A streamed reply written for an Anthropic client.
//!
//! Blocks follow one upon the other there, while others may let tool calls grow side by side. The block in front is written
//! as it grows; what belongs to others waits until the call in front is whole.

use bursar_actors::Usage;
use serde_json::{Value, json};

use super::write::{call_id, call_signature, citation, message, stop};
use super::{estimate_tokens, put_event, signature, usage};
use crate::providers::dialect::StreamWriter;
use crate::schema::chat::{ChatRequest, Chunk, Dialect, Finish};

/// The block in front.
#[derive(Debug)]
enum Open {
    Text,
    Thinking,
    Tool { number: u32, custom: bool, input: Extent },
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct Writer {
    model: Option<String>,
    prompt_estimate: u64,
    tier: Option<String>,
    /// Number of the next block.
    next: u64,
    open: Option<Open>,
    /// Waits for the block in front.
    held: Vec<Chunk>,
    calls: bool,
    refusal: String,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Writer {
    pub(super) fn new(request: &ChatRequest) -> Self {
        Self {
            model: request.model.clone(),
            prompt_estimate: estimate_tokens(request),
            tier: None,
            next: 0,
            open: None,
            held: Vec::new(),
            calls: false,
            refusal: String::new(),
            finish: None,
            usage: None,
        }
    }
}

impl StreamWriter for Writer {
    fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        match chunk {
            Chunk::Start { id, model, service_tier, .. } => {
                self.tier.clone_from(service_tier);
                let model = if model.is_empty() { self.model.as_deref() } else { Some(model.as_str()) };
                let mut message = message(id, model);
                // The true figures come at the end; up to then a client may want to know what to expect.
                let used = Usage { prompt: self.prompt_estimate, ..Usage::default() };
                message.insert("usage".into(), usage::write(&used, service_tier.as_deref()));
                put(out, "message_start", json!({ "type": "message_start", "message": message }));
            }
            Chunk::Usage(usage) => self.usage = Some(*usage),
            Chunk::Finish { choice: 0, finish } => self.finish = Some(finish.clone()),
            Chunk::Finish { .. } | Chunk::Logprobs { .. } => {}
            _ if choice_of(chunk) != 0 => {}
            _ if self.must_wait(chunk) => self.held.push(chunk.clone()),
            _ => {
                self.content(chunk, out);
                if !self.held.is_empty() && self.is_whole() {
                    self.release(out);
                }
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        while !self.held.is_empty() {
            self.release(out);
            self.close(out);
        }
        let mut usage = match self.usage {
            Some(used) => usage::write(&used, self.tier.as_deref()),
            None => json!({ "output_tokens": 0 }),
        };
        if let Value::Object(usage) = &mut usage {
            // They stand in `message_start` and nowhere else.
            usage.retain(|key, _| key != "service_tier");
        }
        let delta = stop(self.finish.as_ref(), self.calls, &self.refusal);
        put(out, "message_delta", json!({ "type": "message_delta", "delta": delta, "usage": usage }));
        put(out, "message_stop", json!({ "type": "message_stop" }));
    }
}

impl Writer {
    /// Returns whether `chunk` belongs to another block than the one in front, which is not whole.
    fn must_wait(&self, chunk: &Chunk) -> bool {
        match (&self.open, chunk) {
            (Some(Open::Tool { number, .. }), Chunk::ToolArguments { tool, .. }) if number == tool => false,
            (Some(Open::Tool { .. }), _) => !self.held.is_empty() || !self.is_whole(),
            _ => false,
        }
    }

    fn is_whole(&self) -> bool {
        match &self.open {
            Some(Open::Tool { custom, input, .. }) => !custom && input.is_whole(),
            _ => true,
        }
    }

    /// The block in front is whole, or has to be: writes what waited for it, as far as the next call lets it.
    fn release(&mut self, out: &mut Vec<u8>) {
        loop {
            self.close(out);
            for chunk in std::mem::take(&mut self.held) {
                if self.must_wait(&chunk) {
                    self.held.push(chunk);
                } else {
                    self.content(&chunk, out);
                }
            }
            if self.held.is_empty() || !self.is_whole() {
                return;
            }
        }
    }

    fn content(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        match chunk {
            Chunk::Text { text, .. } => self.text(text, out),
            Chunk::Refusal { text, .. } => {
                self.refusal.push_str(text);
                self.text(text, out);
            }
            Chunk::Thinking { text, .. } => {
                self.thinking(out);
                self.delta("thinking_delta", "thinking", text, out);
            }
            Chunk::ThinkingEnd { signature, encrypted, vendor, id, .. } => {
                let proof = signature::of_thinking(*vendor, id.as_deref(), signature.as_deref(), encrypted.as_deref());
                self.thinking_end(signature.is_none() && encrypted.is_some(), &proof, out);
            }
            Chunk::ToolCall { tool, id, name, custom, signature, .. } => {
                self.close(out);
                if let Some(proof) = signature {
                    self.start(call_signature(proof), out);
                    self.end(out);
                }
                self.calls = true;
                self.start(json!({ "type": "tool_use", "id": call_id(id), "name": name, "input": {} }), out);
                self.open = Some(Open::Tool { number: *tool, custom: *custom, input: Extent::default() });
                if *custom {
                    self.delta("input_json_delta", "partial_json", "{\"input\":\"", out);
                }
            }
            Chunk::ToolArguments { tool, fragment, .. } => self.arguments(*tool, fragment, out),
            Chunk::Citation { citation: cited, .. } if matches!(self.open, Some(Open::Text)) => {
                let delta = json!({ "type": "citations_delta", "citation": citation(cited) });
                put(
                    out,
                    "content_block_delta",
                    json!({ "type": "content_block_delta", "index": self.next, "delta": delta }),
                );
            }
            Chunk::Native { dialect: Dialect::Anthropic, value, .. } => self.native(value, out),
            _ => {}
        }
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if !matches!(self.open, Some(Open::Text)) {
            self.close(out);
            self.start(json!({ "type": "text", "text": "" }), out);
            self.open = Some(Open::Text);
        }
        self.delta("text_delta", "text", text, out);
    }

    fn thinking(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Thinking)) {
            self.close(out);
            self.start(json!({ "type": "thinking", "thinking": "", "signature": "" }), out);
            self.open = Some(Open::Thinking);
        }
    }

    fn thinking_end(&mut self, only_encrypted: bool, proof: &str, out: &mut Vec<u8>) {
        let is_open = matches!(self.open, Some(Open::Thinking));
        if only_encrypted && !is_open {
            self.close(out);
            self.start(json!({ "type": "redacted_thinking", "data": proof }), out);
            self.end(out);
            return;
        }
        if !is_open && proof.is_empty() {
            return;
        }
        self.thinking(out);
        if !proof.is_empty() {
            self.delta("signature_delta", "signature", proof, out);
        }
        self.close(out);
    }

    fn arguments(&mut self, tool: u32, fragment: &str, out: &mut Vec<u8>) {
        // Arguments of a call that is closed were whole before.
        let Some(Open::Tool { number, custom, input }) = &mut self.open else { return };
        if *number != tool {
            return;
        }
        if *custom {
            let quoted = json!(fragment).to_string();
            let inside = quoted[1..quoted.len() - 1].to_owned();
            self.delta("input_json_delta", "partial_json", &inside, out);
        } else {
            input.extend(fragment);
            self.delta("input_json_delta", "partial_json", fragment, out);
        }
    }

    /// Writes a block that came whole; the input of a call goes out as streams have it.
    fn native(&mut self, value: &Value, out: &mut Vec<u8>) {
        self.close(out);
        let mut block = value.clone();
        let is_call = block["type"].as_str().is_some_and(|kind| kind.ends_with("tool_use"));
        let input = block.get_mut("input").filter(|_| is_call).map(|input| std::mem::replace(input, json!({})));
        self.start(block, out);
        if let Some(input) = input {
            self.delta("input_json_delta", "partial_json", &input.to_string(), out);
        }
        self.end(out);
    }

    fn start(&mut self, block: Value, out: &mut Vec<u8>) {
        let start = json!({ "type": "content_block_start", "index": self.next, "content_block": block });
        put(out, "content_block_start", start);
    }

    /// Writes one step of the block in front; by hand, because there are so many of them.
    fn delta(&self, kind: &str, field: &str, text: &str, out: &mut Vec<u8>) {
        let text = serde_json::to_string(text).unwrap_or_default();
        put_event(
            out,
            "content_block_delta",
            format_args!(
                r#"{{"type":"content_block_delta","index":{},"delta":{{"type":"{kind}","{field}":{text}}}}}"#,
                self.next
            ),
        );
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        match self.open.take() {
            None => return,
            Some(Open::Tool { custom: true, .. }) => self.delta("input_json_delta", "partial_json", "\"}", out),
            Some(_) => {}
        }
        self.end(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        put(out, "content_block_stop", json!({ "type": "content_block_stop", "index": self.next }));
        self.next += 1;
    }
}

/// How far the JSON text of an object has come.
#[derive(Debug, Default)]
struct Extent {
    depth: usize,
    begun: bool,
    in_string: bool,
    escaped: bool,
}

impl Extent {
    fn extend(&mut self, fragment: &str) {
        for byte in fragment.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => {
                    self.depth += 1;
                    self.begun = true;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.begun && self.depth == 0
    }
}

fn put(out: &mut Vec<u8>, name: &str, data: Value) {
    put_event(out, name, format_args!("{data}"));
}

fn choice_of(chunk: &Chunk) -> u32 {
    match chunk {
        Chunk::Start { .. } | Chunk::Usage(_) => 0,
        Chunk::Text { choice, .. }
        | Chunk::Refusal { choice, .. }
        | Chunk::Thinking { choice, .. }
        | Chunk::ThinkingEnd { choice, .. }
        | Chunk::ToolCall { choice, .. }
        | Chunk::ToolArguments { choice, .. }
        | Chunk::Citation { choice, .. }
        | Chunk::Logprobs { choice, .. }
        | Chunk::Native { choice, .. }
        | Chunk::Finish { choice, .. } => *choice,
    }
}
