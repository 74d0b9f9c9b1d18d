//! Writes a whole reply for a client that speaks chat completions, valid by OpenAI's own schema; thought goes into the
//! extensions that most clients know.

use bursar_actors::Usage;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::details;
use crate::schema::chat::{ChatReply, ChatRequest, Choice, Citation, Content, Dialect, Finish, Part, ToolCall};

/// The service tiers that OpenAI's clients know.
const TIERS: &[&str] = &["auto", "default", "flex", "scale", "priority", "fast"];

/// Writes `reply` to `request`.
pub(super) fn reply(reply: &ChatReply, request: &ChatRequest) -> Bytes {
    let choices: Vec<Value> = reply.choices.iter().map(|written| choice(written, request)).collect();
    let mut body = json!({
        "id": reply.id,
        "object": "chat.completion",
        "created": reply.created,
        "model": model(&reply.model, request),
        "choices": choices,
    });
    if let Some(figures) = &reply.usage {
        body["usage"] = usage(figures);
    }
    if let Some(tier) = known_tier(reply.service_tier.as_deref()) {
        body["service_tier"] = tier.into();
    }
    if let Some(fingerprint) = &reply.system_fingerprint {
        body["system_fingerprint"] = fingerprint.as_str().into();
    }
    body.to_string().into()
}

/// Returns the model to name: the provider's name for it, or else the client's.
pub(super) fn model<'a>(model: &'a str, request: &'a ChatRequest) -> &'a str {
    if model.is_empty() { request.model.as_deref().unwrap_or_default() } else { model }
}

/// Returns the tier, if clients know the word.
pub(super) fn known_tier(tier: Option<&str>) -> Option<&str> {
    tier.filter(|tier| TIERS.contains(tier))
}

/// Returns the word for why a choice ended.
pub(super) fn finish_word(finish: &Finish, request: &ChatRequest) -> &'static str {
    match finish {
        Finish::Stop { .. } => "stop",
        Finish::Length => "length",
        Finish::ToolCalls if request.legacy_functions => "function_call",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

/// Writes usage with its details.
pub(super) fn usage(usage: &Usage) -> Value {
    let mut written = json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": { "cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
    });
    let audio = [("prompt_tokens_details", usage.audio_prompt), ("completion_tokens_details", usage.audio_completion)];
    for (details, tokens) in audio.into_iter().filter(|(_, tokens)| *tokens > 0) {
        written[details]["audio_tokens"] = tokens.into();
    }
    written
}

/// Writes sources as annotations. Where the place in the text is not known, it is the beginning.
pub(super) fn annotations(citations: &[Citation]) -> Value {
    let annotation = |citation: &Citation| {
        json!({ "type": "url_citation", "url_citation": {
            "url": citation.url, "title": citation.title,
            "start_index": citation.start.unwrap_or(0), "end_index": citation.end.unwrap_or(0),
        } })
    };
    citations.iter().map(annotation).collect()
}

/// Completes logprobs: both lists must be there.
pub(super) fn logprobs(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.entry("content").or_insert(Value::Null);
        fields.entry("refusal").or_insert(Value::Null);
    }
    value
}

fn choice(choice: &Choice, request: &ChatRequest) -> Value {
    let calls: Vec<&ToolCall> = choice.parts.iter().filter_map(as_call).collect();
    let finish = choice.finish.clone().unwrap_or(Finish::Stop { sequence: None });
    json!({
        "index": choice.index,
        "message": message(choice, &calls, request),
        "logprobs": choice.logprobs.as_ref().map_or(Value::Null, logprobs),
        "finish_reason": finish_word(&finish, request),
    })
}

fn as_call(part: &Part) -> Option<&ToolCall> {
    match &part.content {
        Content::ToolCall(call) => Some(call),
        _ => None,
    }
}

fn message(choice: &Choice, calls: &[&ToolCall], request: &ChatRequest) -> Value {
    let (mut text, mut refusal, mut reasoning) = (String::new(), None::<String>, String::new());
    let (mut blocks, mut entries): (Vec<Value>, Vec<Value>) = Default::default();
    let mut message = Map::new();
    for part in &choice.parts {
        match &part.content {
            Content::Text(more) => text.push_str(more),
            Content::Refusal(more) => refusal.get_or_insert_default().push_str(more),
            Content::Thinking(thinking) => {
                reasoning.push_str(&thinking.text);
                blocks.extend(details::block(thinking));
                if details::needs_entries(thinking) {
                    entries.extend(details::entries(thinking, entries.len()));
                }
            }
            // What the dialect itself says of a whole message, such as its audio.
            Content::Native { dialect: Dialect::OpenAi, value: Value::Object(fields) } => {
                message.extend(fields.clone());
            }
            _ => {}
        }
    }
    let silent = text.is_empty() && (!calls.is_empty() || refusal.is_some());
    message.insert("role".into(), "assistant".into());
    message.insert("content".into(), if silent { Value::Null } else { text.into() });
    message.insert("refusal".into(), refusal.map_or(Value::Null, Value::from));
    if !reasoning.is_empty() {
        message.insert("reasoning_content".into(), reasoning.into());
    }
    for (name, list) in [("thinking_blocks", blocks), ("reasoning_details", entries)] {
        if !list.is_empty() {
            message.insert(name.into(), list.into());
        }
    }
    if !choice.citations.is_empty() {
        message.insert("annotations".into(), annotations(&choice.citations));
    }
    match calls {
        [] => {}
        [first, ..] if request.legacy_functions => {
            let call = json!({ "name": first.name, "arguments": first.arguments });
            message.insert("function_call".into(), call);
        }
        calls => _ = message.insert("tool_calls".into(), calls.iter().map(|call| tool_call(call)).collect()),
    }
    Value::Object(message)
}

fn tool_call(call: &ToolCall) -> Value {
    if call.custom {
        let custom = json!({ "name": call.name, "input": call.arguments });
        return json!({ "id": call.id, "type": "custom", "custom": custom });
    }
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let function = json!({ "name": call.name, "arguments": arguments });
    let mut written = json!({ "id": call.id, "type": "function", "function": function });
    if let Some(signature) = &call.signature {
        written["extra_content"] = signature_content(signature);
    }
    written
}

/// Writes Gemini's signature of a call the way Google's own surface for OpenAI's clients does.
pub(super) fn signature_content(signature: &str) -> Value {
    json!({ "google": { "thought_signature": signature } })
}
