//! A whole reply of Cohere's, and what its parts have in common with those of a stream.

use bursar_actors::Usage;
use serde_json::{Map, Value, json};

use crate::providers::dialect::Nonsense;
use crate::providers::usage::RawUsage;
use crate::schema::chat::{ChatReply, Choice, Citation, Content, Dialect, Finish, Part, Thinking, ToolCall};

pub(super) fn decode(mut reply: Map<String, Value>) -> Result<ChatReply, Nonsense> {
    let id = reply.get_mut("id").map(string).unwrap_or_default();
    let Some(Value::Object(mut message)) = reply.get_mut("message").map(Value::take) else {
        return Err(Nonsense::of("it has no `message`"));
    };
    let mut choice = Choice::default();
    let mut add = |content| choice.parts.push(Part::new(content));
    if let Some(plan) = message.get_mut("tool_plan").map(string).filter(|plan| !plan.is_empty()) {
        add(Content::Thinking(Thinking { text: plan, ..Thinking::default() }));
    }
    match message.get_mut("content").map(Value::take) {
        Some(Value::String(text)) => add(Content::Text(text)),
        Some(Value::Array(parts)) => parts.into_iter().filter_map(part).for_each(&mut add),
        _ => {}
    }
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for (number, call) in calls.into_iter().flatten().enumerate() {
        add(Content::ToolCall(tool_call(call, &id, number)));
    }
    let sources = message.get("citations").and_then(Value::as_array).into_iter().flatten();
    choice.citations = sources.flat_map(citations).collect();
    let called = choice.parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    choice.finish = Some(finish(reply.get("finish_reason"), called));
    let probabilities = reply.get("logprobs").and_then(Value::as_array).into_iter().flatten();
    let probabilities: Vec<_> = probabilities.filter_map(logprob).collect();
    if !probabilities.is_empty() {
        choice.logprobs = Some(json!({"content": probabilities}));
    }
    let usage = reply.get("usage").and_then(usage);
    Ok(ChatReply { id, choices: vec![choice], usage, ..ChatReply::default() })
}

fn part(mut part: Value) -> Option<Content> {
    if let Some(thinking) = part.get_mut("thinking") {
        return Some(Content::Thinking(Thinking { text: string(thinking), ..Thinking::default() }));
    }
    match part.get_mut("text") {
        Some(text) => Some(Content::Text(string(text))),
        None => part.is_object().then_some(Content::Native { dialect: Dialect::Cohere, value: part }),
    }
}

fn tool_call(call: &mut Value, reply: &str, number: usize) -> ToolCall {
    let (id, name) = call_names(call, reply, number);
    let arguments = call.pointer_mut("/function/arguments").map(arguments);
    let arguments = arguments.filter(|text| !is_nothing(text)).unwrap_or_else(|| "{}".into());
    ToolCall { id, name, arguments, ..ToolCall::default() }
}

/// Returns arguments as text, even where they came as an object.
pub(super) fn arguments(value: &mut Value) -> String {
    if value.is_object() { value.to_string() } else { string(value) }
}

/// Returns whether arguments are Cohere's way to say that there are none.
pub(super) fn is_nothing(arguments: &str) -> bool {
    matches!(arguments.trim(), "" | "null")
}

/// Returns the id and the name of a call, the id made from the reply's where there is none.
pub(super) fn call_names(call: &mut Value, reply: &str, number: usize) -> (String, String) {
    let id = call.get_mut("id").map(string).filter(|id| !id.is_empty());
    let name = call.pointer_mut("/function/name").map(string).unwrap_or_default();
    (id.unwrap_or_else(|| format!("call_{}_{number}", reply.get(..8).unwrap_or(reply))), name)
}

/// Returns one citation per source. What stands for thinking or the plan is left out: its place is in another text.
pub(super) fn citations(citation: &Value) -> Vec<Citation> {
    let of_text = citation.get("type").is_none_or(|kind| kind.is_null() || kind == "TEXT_CONTENT");
    let place = |key| citation.get(key).and_then(Value::as_u64);
    let sources = citation.get("sources").and_then(Value::as_array).filter(|_| of_text);
    let read = |source: &Value| {
        let text = |path: &str| source.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
        let url = ["/document/url", "/tool_output/url"].into_iter().find_map(text);
        let title = ["/document/title", "/tool_output/title", "/document/id", "/id"].into_iter().find_map(text);
        let (url, title) = (url.unwrap_or_default().to_owned(), title.unwrap_or_default().to_owned());
        Citation { url, title, start: place("start"), end: place("end") }
    };
    sources.into_iter().flatten().map(read).collect()
}

/// Returns whether a body is an error: a flat one, or a reply that ended in one.
pub(super) fn is_error(body: &Map<String, Value>) -> bool {
    let flat = body.get("message").is_some_and(Value::is_string);
    flat || body.get("error").is_some_and(|error| !error.is_null()) || failed(body.get("finish_reason"))
}

/// Returns whether a finish reason says that it went wrong at Cohere's end.
pub(super) fn failed(reason: Option<&Value>) -> bool {
    reason.and_then(Value::as_str).is_some_and(|reason| matches!(reason, "ERROR" | "TIMEOUT"))
}

pub(super) fn finish(reason: Option<&Value>, called: bool) -> Finish {
    match reason.and_then(Value::as_str).unwrap_or_default() {
        "MAX_TOKENS" | "ERROR_LIMIT" => Finish::Length,
        "ERROR_TOXIC" => Finish::ContentFilter,
        "TOOL_CALL" => Finish::ToolCalls,
        _ if called => Finish::ToolCalls,
        _ => Finish::Stop { sequence: None },
    }
}

pub(super) fn usage(usage: &Value) -> Option<Usage> {
    let figure = |path: &str| usage.pointer(path).and_then(Value::as_f64).map(|figure| figure as i128);
    let either = |key: &str| figure(&format!("/tokens/{key}")).or_else(|| figure(&format!("/billed_units/{key}")));
    let raw = RawUsage {
        prompt: either("input_tokens"),
        completion: either("output_tokens"),
        cached: figure("/cached_tokens"),
        ..RawUsage::default()
    };
    raw.normalise()
}

/// Returns OpenAI's form of a piece of text and how probable it was; several tokens count as one.
pub(super) fn logprob(item: &Value) -> Option<Value> {
    let text = item.get("text").and_then(Value::as_str)?;
    let logprobs = item.get("logprobs").and_then(Value::as_array).filter(|logprobs| !logprobs.is_empty())?;
    let logprob: f64 = logprobs.iter().filter_map(Value::as_f64).sum();
    Some(json!({"token": text, "logprob": logprob, "bytes": text.as_bytes(), "top_logprobs": []}))
}

/// Takes the text out of a value; anything but text counts as none.
pub(super) fn string(value: &mut Value) -> String {
    if let Value::String(text) = value { std::mem::take(text) } else { String::new() }
}
