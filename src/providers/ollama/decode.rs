//! Replies of Ollama's: a whole one is a single object, a stream is many of the same kind, one per line.

use std::time::UNIX_EPOCH;

use bursar_actors::Usage;
use serde_json::{Map, Value, json};

use crate::providers::dialect::{Nonsense, Step, StreamReader};
use crate::providers::framing::Frame;
use crate::providers::usage::RawUsage;
use crate::schema::chat::{ChatReply, Choice, Chunk, Content, Dialect, Finish, Part, Thinking, ToolCall};

pub(super) fn decode(mut reply: Map<String, Value>) -> Result<ChatReply, Nonsense> {
    let stamp = member(&mut reply, "created_at");
    let Some(Value::Object(mut message)) = reply.get_mut("message").map(Value::take) else {
        return Err(Nonsense::of("it has no `message`"));
    };
    let mut choice = Choice::default();
    let mut add = |content| choice.parts.push(Part::new(content));
    let thought = member(&mut message, "thinking");
    if !thought.is_empty() {
        add(Content::Thinking(Thinking { text: thought, ..Thinking::default() }));
    }
    let text = member(&mut message, "content");
    if !text.is_empty() {
        add(Content::Text(text));
    }
    let calls = calls(&mut message);
    let called = !calls.is_empty();
    for (number, call) in calls.into_iter().enumerate() {
        add(Content::ToolCall(tool_call(call, &stamp, number)));
    }
    if let Some(value) = images(&mut message) {
        add(Content::Native { dialect: Dialect::Ollama, value });
    }
    choice.finish = Some(finish(reply.get("done_reason"), called));
    choice.logprobs = logprobs(&mut reply);
    Ok(ChatReply {
        created: unix_seconds(&stamp),
        model: member(&mut reply, "model"),
        choices: vec![choice],
        usage: usage(&reply),
        ..ChatReply::default()
    })
}

/// The state of one stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// When the first line was written; tells the calls of this reply from others.
    stamp: Option<String>,
    thinking: bool,
    calls: u32,
    done: bool,
}

impl StreamReader for Reader {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Chunk>) -> Result<Step, Nonsense> {
        let Ok(Value::Object(mut line)) = serde_json::from_slice(frame.data) else {
            return Err(Nonsense::of("a line of the stream is no JSON object"));
        };
        if line.get("error").is_some_and(|error| !error.is_null()) {
            return Ok(Step::Error);
        }
        if self.stamp.is_none() {
            let stamp = member(&mut line, "created_at");
            let (id, model, created) = (String::new(), member(&mut line, "model"), unix_seconds(&stamp));
            out.push(Chunk::Start { id, created, model, service_tier: None, system_fingerprint: None });
            self.stamp = Some(stamp);
        }
        let probabilities = logprobs(&mut line);
        if let Some(Value::Object(message)) = line.get_mut("message") {
            self.message(message, probabilities, out);
        }
        if line.get("done").and_then(Value::as_bool) != Some(true) {
            return Ok(Step::More);
        }
        self.end_thinking(out);
        self.done = true;
        out.push(Chunk::Finish { choice: 0, finish: finish(line.get("done_reason"), self.calls > 0) });
        out.extend(usage(&line).map(Chunk::Usage));
        Ok(Step::Done)
    }

    fn is_complete(&self) -> bool {
        self.done
    }
}

impl Reader {
    fn message(&mut self, message: &mut Map<String, Value>, probabilities: Option<Value>, out: &mut Vec<Chunk>) {
        let thought = member(message, "thinking");
        if !thought.is_empty() {
            self.thinking = true;
            out.push(Chunk::Thinking { choice: 0, text: thought });
        }
        let text = member(message, "content");
        if !text.is_empty() {
            self.end_thinking(out);
            out.push(Chunk::Text { choice: 0, text });
        }
        out.extend(probabilities.map(|value| Chunk::Logprobs { choice: 0, value }));
        for call in calls(message) {
            self.end_thinking(out);
            let tool = self.calls;
            self.calls += 1;
            let ToolCall { id, name, arguments, .. } =
                tool_call(call, self.stamp.as_deref().unwrap_or_default(), tool as usize);
            out.push(Chunk::ToolCall { choice: 0, tool, id, name, custom: false, signature: None });
            out.push(Chunk::ToolArguments { choice: 0, tool, fragment: arguments });
        }
        if let Some(value) = images(message) {
            out.push(Chunk::Native { choice: 0, dialect: Dialect::Ollama, value });
        }
    }

    fn end_thinking(&mut self, out: &mut Vec<Chunk>) {
        if std::mem::take(&mut self.thinking) {
            let (signature, encrypted) = (None, None);
            out.push(Chunk::ThinkingEnd { choice: 0, signature, encrypted, vendor: None, id: None });
        }
    }
}

fn calls(message: &mut Map<String, Value>) -> Vec<Value> {
    match message.get_mut("tool_calls").map(Value::take) {
        Some(Value::Array(calls)) => calls,
        _ => Vec::new(),
    }
}

/// Older versions send calls without an id: one is made of the time of the reply, which is told to the nanosecond.
fn tool_call(mut call: Value, stamp: &str, number: usize) -> ToolCall {
    let id = call.get_mut("id").map(string).filter(|id| !id.is_empty());
    let made_up = || {
        let digits: String = stamp.chars().filter(char::is_ascii_digit).collect();
        format!("call_{digits}_{number}")
    };
    let name = call.pointer_mut("/function/name").map(string).unwrap_or_default();
    let arguments = match call.pointer_mut("/function/arguments") {
        Some(Value::String(text)) if !text.trim().is_empty() => std::mem::take(text),
        None | Some(Value::Null | Value::String(_)) => "{}".to_owned(),
        Some(arguments) => arguments.to_string(),
    };
    ToolCall { id: id.unwrap_or_else(made_up), name, arguments, ..ToolCall::default() }
}

fn images(message: &mut Map<String, Value>) -> Option<Value> {
    let images = message.remove("images").filter(|images| images.as_array().is_some_and(|list| !list.is_empty()))?;
    Some(json!({"images": images}))
}

fn finish(reason: Option<&Value>, called: bool) -> Finish {
    match reason.and_then(Value::as_str).unwrap_or_default() {
        "length" => Finish::Length,
        _ if called => Finish::ToolCalls,
        _ => Finish::Stop { sequence: None },
    }
}

/// A prompt that was in the cache is not counted at all by some versions.
fn usage(reply: &Map<String, Value>) -> Option<Usage> {
    let figure = |key: &str| reply.get(key).and_then(Value::as_i64).map(i128::from);
    let (prompt, completion) = (figure("prompt_eval_count"), figure("eval_count"));
    RawUsage { prompt, completion, ..RawUsage::default() }.normalise()
}

/// Ollama's entries have the form of OpenAI's.
fn logprobs(reply: &mut Map<String, Value>) -> Option<Value> {
    let entries = reply.remove("logprobs").filter(|entries| entries.as_array().is_some_and(|list| !list.is_empty()))?;
    Some(json!({"content": entries}))
}

fn unix_seconds(stamp: &str) -> i64 {
    let time = humantime::parse_rfc3339_weak(stamp).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

/// Takes a member's text; anything but text counts as none.
fn member(object: &mut Map<String, Value>, key: &str) -> String {
    object.get_mut(key).map(string).unwrap_or_default()
}

fn string(value: &mut Value) -> String {
    if let Value::String(text) = value { std::mem::take(text) } else { String::new() }
}
