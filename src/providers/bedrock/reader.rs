//! The events of `ConverseStream` as chunks.

use serde_json::Value;

use super::decode::{call_names, citation, finish_of, is_malformed, is_ours, string, usage, vendor};
use crate::providers::dialect::{Nonsense, Step, StreamReader};
use crate::providers::framing::Frame;
use crate::schema::chat::{Chunk, Dialect};

/// The state of one stream. Blocks come one after another and are told apart by their index.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Of the call under way: its block, and its number or none where Bedrock runs the tool itself.
    call: Option<(u64, Option<u32>)>,
    calls: u32,
    thinking: Option<Proof>,
    stopped: bool,
}

/// What proves the thinking under way.
#[derive(Debug, Default)]
struct Proof {
    block: u64,
    signature: String,
    encrypted: String,
}

impl StreamReader for Reader {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Chunk>) -> Result<Step, Nonsense> {
        let name = frame.event.unwrap_or_default();
        if name == b"exception" {
            return Ok(Step::Error);
        }
        let mut event = match serde_json::from_slice(frame.data) {
            Ok(event @ Value::Object(_)) => event,
            _ => return Err(Nonsense::of("an event of the stream is no JSON object")),
        };
        let block = event.get("contentBlockIndex").and_then(Value::as_u64).unwrap_or_default();
        match name {
            b"messageStart" => out.push(start()),
            b"contentBlockStart" => {
                self.end_thinking(out);
                if let Some(call) = event.pointer_mut("/start/toolUse") {
                    self.begin_call(block, call, out);
                }
            }
            b"contentBlockDelta" => {
                if let Some(delta) = event.get_mut("delta") {
                    self.delta(block, delta, out);
                }
            }
            b"contentBlockStop" => self.end_thinking(out),
            b"messageStop" => {
                let reason = event.get("stopReason");
                if reason.and_then(Value::as_str).is_some_and(is_malformed) {
                    return Ok(Step::Error);
                }
                self.end_thinking(out);
                self.stopped = true;
                let finish = finish_of(reason, event.get("additionalModelResponseFields"), self.calls > 0);
                out.push(Chunk::Finish { choice: 0, finish });
            }
            // It comes last, after `messageStop`.
            b"metadata" => {
                let told = event.get("usage").and_then(|figures| usage(figures, event.get("serviceTier")));
                out.extend(told.map(Chunk::Usage));
                return Ok(if self.stopped { Step::Done } else { Step::More });
            }
            _ => {}
        }
        Ok(Step::More)
    }

    fn is_complete(&self) -> bool {
        self.stopped
    }
}

impl Reader {
    fn begin_call(&mut self, block: u64, call: &mut Value, out: &mut Vec<Chunk>) {
        if !is_ours(call) {
            self.call = Some((block, None));
            return;
        }
        let tool = self.calls;
        self.calls += 1;
        self.call = Some((block, Some(tool)));
        let (id, name) = call_names(call, tool);
        out.push(Chunk::ToolCall { choice: 0, tool, id, name, custom: false, signature: None });
    }

    fn delta(&mut self, block: u64, delta: &mut Value, out: &mut Vec<Chunk>) {
        if let Some(reasoning) = delta.get_mut("reasoningContent") {
            self.reasoning(block, reasoning, out);
            return;
        }
        self.end_thinking(out);
        if let Some(text) = delta.get_mut("text") {
            out.push(Chunk::Text { choice: 0, text: string(text) });
        } else if let Some(input) = delta.pointer_mut("/toolUse/input") {
            if let Some((_, Some(tool))) = self.call.filter(|(of, _)| *of == block) {
                out.push(Chunk::ToolArguments { choice: 0, tool, fragment: string(input) });
            }
        } else if let Some(source) = delta.get("citation") {
            out.push(Chunk::Citation { choice: 0, citation: citation(source) });
        } else if delta.get("image").is_some() {
            out.push(Chunk::Native { choice: 0, dialect: Dialect::Bedrock, value: delta.take() });
        }
    }

    fn reasoning(&mut self, block: u64, reasoning: &mut Value, out: &mut Vec<Chunk>) {
        if self.thinking.as_ref().is_some_and(|open| open.block != block) {
            self.end_thinking(out);
        }
        let proof = self.thinking.get_or_insert_with(|| Proof { block, ..Proof::default() });
        let mut member = |key| reasoning.get_mut(key).map(string).unwrap_or_default();
        let text = member("text");
        proof.signature.push_str(&member("signature"));
        proof.encrypted.push_str(&member("redactedContent"));
        if !text.is_empty() {
            out.push(Chunk::Thinking { choice: 0, text });
        }
    }

    fn end_thinking(&mut self, out: &mut Vec<Chunk>) {
        let Some(proof) = self.thinking.take() else { return };
        let some = |text: String| (!text.is_empty()).then_some(text);
        let (signature, encrypted) = (some(proof.signature), some(proof.encrypted));
        let vendor = vendor(signature.is_some() || encrypted.is_some());
        out.push(Chunk::ThinkingEnd { choice: 0, signature, encrypted, vendor, id: None });
    }
}

/// Bedrock names neither reply nor model in a stream.
fn start() -> Chunk {
    let (id, model) = Default::default();
    Chunk::Start { id, created: 0, model, service_tier: None, system_fingerprint: None }
}
