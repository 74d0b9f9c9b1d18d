//! A whole reply written for an Anthropic client.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{signature, usage};
use crate::schema::chat::{ChatReply, ChatRequest, Choice, Citation, Content, Dialect, Finish, Thinking, ToolCall};

/// Writes a message. Only the first choice has a place in it.
pub(super) fn write(reply: &ChatReply, request: &ChatRequest) -> Bytes {
    let none = Choice::default();
    let choice = reply.choices.first().unwrap_or(&none);
    let mut content = blocks(choice);
    cite(&mut content, &choice.citations);
    let refusals = choice.parts.iter().filter_map(|part| match &part.content {
        Content::Refusal(text) => Some(text.as_str()),
        _ => None,
    });
    let refusal: String = refusals.collect();
    let calls = choice.parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    let mut message =
        message(&reply.id, if reply.model.is_empty() { request.model.as_deref() } else { Some(&reply.model) });
    message.insert("content".into(), content.into());
    message.extend(stop(choice.finish.as_ref(), calls, &refusal));
    let used = reply.usage.unwrap_or_default();
    message.insert("usage".into(), usage::write(&used, reply.service_tier.as_deref()));
    serde_json::to_vec(&message).map(Bytes::from).expect("an object of JSON values can be written")
}

/// Returns the head of a message without content, as streams begin with it, too.
pub(super) fn message(id: &str, model: Option<&str>) -> Map<String, Value> {
    let Value::Object(message) = json!({
        "id": message_id(id),
        "type": "message",
        "role": "assistant",
        "model": model.unwrap_or_default(),
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
    }) else {
        return Map::new();
    };
    message
}

fn message_id(id: &str) -> String {
    match id {
        "" => "msg_0".to_owned(),
        id if id.starts_with("msg_") => id.to_owned(),
        id => format!("msg_{}", id.strip_prefix("chatcmpl-").unwrap_or(id)),
    }
}

/// Returns a call's id in the letters that Anthropic allows. What it changes stays changed in all of a conversation.
pub(super) fn call_id(id: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if !id.is_empty() && id.chars().all(allowed) {
        return id.to_owned();
    }
    let kept: String = id.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect();
    if kept.is_empty() { "toolu_0".to_owned() } else { kept }
}

/// Returns `stop_reason`, `stop_sequence` and, for a refusal, `stop_details`.
pub(super) fn stop(finish: Option<&Finish>, calls: bool, refusal: &str) -> Map<String, Value> {
    let (reason, sequence) = match finish {
        Some(Finish::ContentFilter) => ("refusal", None),
        _ if !refusal.is_empty() => ("refusal", None),
        Some(Finish::Stop { sequence: Some(sequence) }) => ("stop_sequence", Some(sequence)),
        Some(Finish::Length) => ("max_tokens", None),
        Some(Finish::ToolCalls) => ("tool_use", None),
        Some(Finish::Stop { sequence: None }) | None => (if calls { "tool_use" } else { "end_turn" }, None),
    };
    let mut stop = Map::new();
    stop.insert("stop_reason".into(), reason.into());
    stop.insert("stop_sequence".into(), json!(sequence));
    if reason == "refusal" {
        let explanation = (!refusal.is_empty()).then_some(refusal);
        stop.insert("stop_details".into(), json!({ "type": "refusal", "category": null, "explanation": explanation }));
    }
    stop
}

fn blocks(choice: &Choice) -> Vec<Value> {
    let mut blocks = Vec::with_capacity(choice.parts.len());
    for part in &choice.parts {
        match &part.content {
            Content::Text(text) | Content::Refusal(text) if !text.is_empty() => {
                blocks.push(json!({ "type": "text", "text": text }));
            }
            Content::Thinking(thinking) => blocks.push(thinking_block(thinking)),
            Content::ToolCall(call) => {
                blocks.extend(call.signature.as_deref().map(call_signature));
                let (id, input) = (call_id(&call.id), input(call));
                blocks.push(json!({ "type": "tool_use", "id": id, "name": call.name, "input": input }));
            }
            Content::Native { dialect: Dialect::Anthropic, value } => blocks.push(value.clone()),
            _ => {}
        }
    }
    blocks
}

fn thinking_block(thinking: &Thinking) -> Value {
    let Thinking { text, signature, encrypted, vendor, id } = thinking;
    let proof = signature::of_thinking(*vendor, id.as_deref(), signature.as_deref(), encrypted.as_deref());
    if text.is_empty() && signature.is_none() && encrypted.is_some() {
        return json!({ "type": "redacted_thinking", "data": proof });
    }
    json!({ "type": "thinking", "thinking": text, "signature": proof })
}

/// Returns the block that carries the signature of the call behind it.
pub(super) fn call_signature(proof: &str) -> Value {
    json!({ "type": "thinking", "thinking": "", "signature": signature::of_call(proof) })
}

/// Returns a call's arguments as the object they have to be.
pub(super) fn input(call: &ToolCall) -> Value {
    if call.custom {
        return json!({ "input": call.arguments });
    }
    match serde_json::from_str(&call.arguments) {
        Ok(input @ Value::Object(_)) => input,
        _ if call.arguments.trim().is_empty() => json!({}),
        // What a model wrote is not lost for being no JSON; the tool will say what is wrong with it.
        _ => json!({ "_raw": call.arguments }),
    }
}

/// Returns a citation as a search result is cited.
pub(super) fn citation(citation: &Citation) -> Value {
    json!({
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title,
        "cited_text": "",
        "encrypted_index": "",
    })
}

/// Puts the citations on the last text, because nothing says on which they belong.
fn cite(blocks: &mut [Value], citations: &[Citation]) {
    let last = blocks.iter_mut().rev().find(|block| block["type"] == "text");
    if let Some(last) = last.filter(|_| !citations.is_empty()) {
        last["citations"] = citations.iter().map(citation).collect();
    }
}
