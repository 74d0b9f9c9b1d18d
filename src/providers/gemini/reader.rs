//! Gemini's replies, streamed or whole, read into chunks.

use serde_json::Value;
use serde_json::value::RawValue;

use super::logprobs;
use super::partial::PartialArguments;
use super::wire::{
    Candidate, Ending, FunctionCall, Part, PromptFeedback, Response, ending, is_error, malformed, searches,
};
use crate::providers::dialect::{Nonsense, Step, StreamReader, object};
use crate::providers::framing::Frame;
use crate::schema::chat::{Chunk, Citation, Dialect, Finish};

/// The state of one reply.
#[derive(Debug, Default)]
pub(super) struct Reader {
    started: bool,
    /// What ids of calls are made of.
    reply_id: String,
    candidates: Vec<CandidateState>,
    /// Most searches that a piece has named.
    searches: u64,
}

#[derive(Debug, Default)]
struct CandidateState {
    index: u32,
    tools: u32,
    open: Option<OpenCall>,
    finished: bool,
    cited: Vec<String>,
}

/// A call whose arguments come in pieces.
#[derive(Debug)]
struct OpenCall {
    id: Option<String>,
    name: String,
    signature: Option<String>,
    arguments: PartialArguments,
}

impl StreamReader for Reader {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Chunk>) -> Result<Step, Nonsense> {
        let data = frame.data.trim_ascii();
        if data.is_empty() {
            return Ok(Step::More);
        }
        if data == b"[DONE]" {
            return Ok(Step::Done);
        }
        let response: Response<'_> = match serde_json::from_slice(data) {
            Ok(response) => response,
            Err(_) if is_error(data) => return Ok(Step::Error),
            Err(_) => {
                let told = object(data).err().unwrap_or_else(|| Nonsense::of("a field has an unexpected type"));
                return Err(Nonsense::of(format!("an event of the stream cannot be read: {told}")));
            }
        };
        if response.error.is_some() {
            return Ok(Step::Error);
        }
        self.take(response, out)?;
        Ok(Step::More)
    }

    fn is_complete(&self) -> bool {
        !self.candidates.is_empty() && self.candidates.iter().all(|candidate| candidate.finished)
    }
}

impl Reader {
    /// Takes one reply, or the next piece of one.
    pub(super) fn take(&mut self, response: Response<'_>, out: &mut Vec<Chunk>) -> Result<(), Nonsense> {
        if !self.started {
            self.started = true;
            self.start(&response, out);
        }
        for candidate in response.candidates.iter().flatten() {
            self.searches = self.searches.max(searches(candidate.grounding_metadata.as_ref()));
        }
        for (position, candidate) in response.candidates.into_iter().flatten().enumerate() {
            self.candidate(candidate, position, out)?;
        }
        if let Some(feedback) = response.prompt_feedback {
            self.blocked(feedback, out);
        }
        out.extend(response.usage_metadata.and_then(|usage| usage.usage(self.searches)).map(Chunk::Usage));
        Ok(())
    }

    /// The reply is over: a candidate that gave no reason has said all it had to.
    pub(super) fn close(&mut self, out: &mut Vec<Chunk>) {
        for at in 0..self.candidates.len() {
            if !self.candidates[at].finished {
                self.finish(at, Finish::Stop { sequence: None }, None, out);
            }
        }
    }

    /// Returns whether any candidate was seen.
    pub(super) fn has_candidates(&self) -> bool {
        !self.candidates.is_empty()
    }

    fn start(&mut self, response: &Response<'_>, out: &mut Vec<Chunk>) {
        let id = response.response_id.clone().unwrap_or_default();
        let fit = id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        self.reply_id = fit.take(24).collect();
        let created = response.create_time.as_deref().and_then(unix_seconds).unwrap_or(0);
        let model = response.model_version.clone().unwrap_or_default();
        let service_tier = response.usage_metadata.as_ref().and_then(|usage| usage.service_tier());
        out.push(Chunk::Start { id, created, model, service_tier, system_fingerprint: None });
    }

    fn candidate(&mut self, candidate: Candidate<'_>, position: usize, out: &mut Vec<Chunk>) -> Result<(), Nonsense> {
        let index = candidate.index.unwrap_or(position as u32);
        let at = self.state(index);
        if self.candidates[at].finished {
            return Ok(());
        }
        for raw in candidate.content.and_then(|content| content.parts).into_iter().flatten() {
            self.part(at, raw, out);
        }
        if let Some(value) = candidate.logprobs_result.as_ref().and_then(logprobs::to_openai) {
            out.push(Chunk::Logprobs { choice: index, value });
        }
        for value in [&candidate.grounding_metadata, &candidate.citation_metadata].into_iter().flatten() {
            self.cite(at, value, out);
        }
        let reason = candidate.finish_reason.unwrap_or_default();
        match ending(&reason) {
            Ending::Open => {}
            Ending::Malformed => return Err(malformed(&reason)),
            Ending::Finished(finish) => self.finish(at, finish, candidate.finish_message, out),
        }
        Ok(())
    }

    fn state(&mut self, index: u32) -> usize {
        self.candidates.iter().position(|candidate| candidate.index == index).unwrap_or_else(|| {
            self.candidates.push(CandidateState { index, ..CandidateState::default() });
            self.candidates.len() - 1
        })
    }

    fn part(&mut self, at: usize, raw: &RawValue, out: &mut Vec<Chunk>) {
        let choice = self.candidates[at].index;
        let part = serde_json::from_str::<Part<'_>>(raw.get()).unwrap_or_default();
        let signature = part.thought_signature.filter(|signature| !signature.is_empty());
        if let Some(call) = part.function_call {
            self.call(at, call, signature, out);
            return;
        }
        let text = part.text.unwrap_or_default();
        if !text.is_empty() {
            let thought = part.thought == Some(true);
            out.push(if thought { Chunk::Thinking { choice, text } } else { Chunk::Text { choice, text } });
        } else if let Some(value) = native(raw) {
            out.push(Chunk::Native { choice, dialect: Dialect::Gemini, value });
            return;
        }
        if signature.is_some() {
            let vendor = Some(Dialect::Gemini);
            out.push(Chunk::ThinkingEnd { choice, signature, encrypted: None, vendor, id: None });
        }
    }

    fn call(&mut self, at: usize, call: FunctionCall<'_>, signature: Option<String>, out: &mut Vec<Chunk>) {
        let name = call.name.unwrap_or_default();
        let more = call.will_continue == Some(true);
        let pieces = call.partial_args.unwrap_or_default();
        if !name.is_empty() {
            self.close_call(at, out);
            let id = call.id.filter(|id| !id.is_empty());
            if !more && pieces.is_empty() {
                self.emit(at, id, name, signature, arguments(call.args), out);
                return;
            }
            let whole = call.args.and_then(|args| serde_json::from_str(args.get()).ok());
            let arguments = PartialArguments::new(whole);
            self.candidates[at].open = Some(OpenCall { id, name, signature, arguments });
        }
        if let Some(open) = &mut self.candidates[at].open {
            pieces.iter().for_each(|piece| open.arguments.push(piece));
        }
        if !more {
            self.close_call(at, out);
        }
    }

    fn close_call(&mut self, at: usize, out: &mut Vec<Chunk>) {
        if let Some(OpenCall { id, name, signature, arguments }) = self.candidates[at].open.take() {
            self.emit(at, id, name, signature, arguments.finish(), out);
        }
    }

    fn emit(
        &mut self,
        at: usize,
        id: Option<String>,
        name: String,
        signature: Option<String>,
        fragment: String,
        out: &mut Vec<Chunk>,
    ) {
        let state = &mut self.candidates[at];
        let (choice, tool) = (state.index, state.tools);
        state.tools += 1;
        let id = id.unwrap_or_else(|| made_up_id(&self.reply_id, choice, tool, &name, &fragment));
        out.push(Chunk::ToolCall { choice, tool, id, name, custom: false, signature });
        out.push(Chunk::ToolArguments { choice, tool, fragment });
    }

    fn finish(&mut self, at: usize, finish: Finish, message: Option<String>, out: &mut Vec<Chunk>) {
        self.close_call(at, out);
        let state = &mut self.candidates[at];
        let (choice, called) = (state.index, state.tools > 0);
        state.finished = true;
        if let Some(text) = message.filter(|text| finish == Finish::ContentFilter && !text.is_empty()) {
            out.push(Chunk::Refusal { choice, text });
        }
        // Gemini says STOP even where it called tools.
        let finish = if called && matches!(finish, Finish::Stop { .. }) { Finish::ToolCalls } else { finish };
        out.push(Chunk::Finish { choice, finish });
    }

    fn blocked(&mut self, feedback: PromptFeedback, out: &mut Vec<Chunk>) {
        let reason = feedback.block_reason.unwrap_or_default();
        if reason.is_empty() || reason == "BLOCK_REASON_UNSPECIFIED" || self.has_candidates() {
            return;
        }
        let at = self.state(0);
        self.finish(at, Finish::ContentFilter, feedback.block_reason_message, out);
    }

    fn cite(&mut self, at: usize, metadata: &Value, out: &mut Vec<Chunk>) {
        let state = &mut self.candidates[at];
        let list = |name: &str| metadata.get(name).and_then(Value::as_array).into_iter().flatten();
        let web =
            list("groundingChunks").filter_map(|chunk| chunk.get("web").or_else(|| chunk.get("retrievedContext")));
        for source in web.chain(list("citationSources")).chain(list("citations")) {
            let word = |name: &str| source.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (url, title) = (word("uri"), word("title"));
            if !url.is_empty() && !state.cited.contains(&url) {
                state.cited.push(url.clone());
                // Gemini's places count bytes of the whole text, so they are not handed on as characters.
                let citation = Citation { url, title, start: None, end: None };
                out.push(Chunk::Citation { choice: state.index, citation });
            }
        }
    }
}

/// Returns a part that is neither text nor a call.
fn native(raw: &RawValue) -> Option<Value> {
    let value: Value = serde_json::from_str(raw.get()).ok()?;
    let plain = ["text", "thought", "thoughtSignature"];
    let says = value.as_object()?.iter().any(|(key, field)| !plain.contains(&key.as_str()) && !field.is_null());
    says.then_some(value)
}

/// Returns the JSON text of whole arguments, without the line breaks of pretty printing.
fn arguments(args: Option<&RawValue>) -> String {
    let text = args.map_or("", |args| args.get().trim());
    if !text.starts_with('{') {
        let other: Option<Value> = serde_json::from_str(text).ok().filter(|value: &Value| !value.is_null());
        return other.map_or_else(|| "{}".to_owned(), |value| serde_json::json!({ "input": value }).to_string());
    }
    if !text.contains('\n') {
        return text.to_owned();
    }
    let (mut compact, mut quoted, mut escaped) = (String::with_capacity(text.len()), false, false);
    for c in text.chars() {
        if quoted || !c.is_ascii_whitespace() {
            compact.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    compact
}

/// Makes up an id that is the same whenever the same reply is read, and differs between replies.
fn made_up_id(reply_id: &str, choice: u32, tool: u32, name: &str, arguments: &str) -> String {
    if reply_id.is_empty() {
        let digest = blake3::hash(format!("{name}\n{arguments}").as_bytes()).to_hex();
        return format!("call_{}_{choice}_{tool}", &digest.as_str()[..12]);
    }
    format!("call_{reply_id}_{choice}_{tool}")
}

fn unix_seconds(text: &str) -> Option<i64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
