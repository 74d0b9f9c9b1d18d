//! A whole message of an upstream read into the gateway's own reply.

use serde_json::{Map, Value};

use super::usage::MessageUsage;
use crate::providers::dialect::{Nonsense, object};
use crate::schema::chat::{ChatReply, Choice, Citation, Content, Dialect, Finish, Part, Thinking, ToolCall};

/// Reads a message.
pub(super) fn decode(body: &[u8]) -> Result<ChatReply, Nonsense> {
    let mut message = object(body)?;
    let content = match message.remove("content") {
        Some(Value::Array(content)) => content,
        // Refusals may come without any.
        _ if message.get("stop_reason").is_some_and(Value::is_string) => Vec::new(),
        _ => return Err(Nonsense::of("it is no message: it has neither content nor a stop reason")),
    };
    let usage = usage_of(message.remove("usage"));
    let id = take_string(&mut message, "id");
    let mut choice = Choice::default();
    for block in content {
        block_part(block, &id, &mut choice);
    }
    let refusal = explanation(message.get("stop_details"));
    choice.parts.extend(refusal.map(|text| Part::new(Content::Refusal(text))));
    let calls = choice.parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    let reason = message.get("stop_reason").and_then(Value::as_str);
    let default = if calls { Finish::ToolCalls } else { Finish::Stop { sequence: None } };
    choice.finish = Some(reason.map_or(default, |reason| finish(reason, message.get("stop_sequence"))));
    Ok(ChatReply {
        id,
        model: take_string(&mut message, "model"),
        choices: vec![choice],
        usage: usage.normalise(),
        service_tier: usage.tier(),
        ..ChatReply::default()
    })
}

/// Reads a `usage` object, however odd.
pub(super) fn usage_of(value: Option<Value>) -> MessageUsage {
    value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
}

/// Reads why a message ended.
pub(super) fn finish(reason: &str, sequence: Option<&Value>) -> Finish {
    match reason {
        "tool_use" => Finish::ToolCalls,
        "max_tokens" | "model_context_window_exceeded" | "compaction" => Finish::Length,
        "refusal" => Finish::ContentFilter,
        // `pause_turn` too: the answer so far is all there is unless somebody asks on.
        _ => Finish::Stop { sequence: sequence.and_then(Value::as_str).map(str::to_owned) },
    }
}

/// Returns in which words the model declined, where it did.
pub(super) fn explanation(stop_details: Option<&Value>) -> Option<String> {
    let text = stop_details?.get("explanation")?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Reads the source that a citation names; only those of a search have one for others than Anthropic.
pub(super) fn citation(value: &Value) -> Option<Citation> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let url = text("url");
    (!url.is_empty()).then(|| Citation { url, title: text("title"), start: None, end: None })
}

/// Returns the id of a call that came without one, by its number in the message.
pub(super) fn made_up_id(message: &str, number: usize) -> String {
    format!("toolu_{}_{number}", message.strip_prefix("msg_").unwrap_or(message))
}

fn block_part(block: Value, message: &str, choice: &mut Choice) {
    let Value::Object(mut block) = block else { return };
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default();
    let content = match kind {
        "text" => {
            let citations = block.get("citations").and_then(Value::as_array);
            choice.citations.extend(citations.into_iter().flatten().filter_map(citation));
            let text = take_string(&mut block, "text");
            // Streams have one text, too, where cited passages are blocks of their own.
            if let Some(Part { content: Content::Text(before), .. }) = choice.parts.last_mut() {
                before.push_str(&text);
                return;
            }
            if text.is_empty() {
                return;
            }
            Content::Text(text)
        }
        "thinking" => {
            let signature = Some(take_string(&mut block, "signature")).filter(|signature| !signature.is_empty());
            let vendor = signature.is_some().then_some(Dialect::Anthropic);
            Content::Thinking(Thinking {
                text: take_string(&mut block, "thinking"),
                signature,
                vendor,
                ..Thinking::default()
            })
        }
        "redacted_thinking" => {
            let encrypted = Some(take_string(&mut block, "data"));
            Content::Thinking(Thinking { encrypted, vendor: Some(Dialect::Anthropic), ..Thinking::default() })
        }
        "tool_use" => {
            let id = Some(take_string(&mut block, "id")).filter(|id| !id.is_empty());
            let is_call = |part: &&Part| matches!(part.content, Content::ToolCall(_));
            let calls = choice.parts.iter().filter(is_call).count();
            let arguments = match block.remove("input") {
                None | Some(Value::Null) => "{}".to_owned(),
                Some(Value::String(text)) if text.trim().is_empty() => "{}".to_owned(),
                Some(Value::String(text)) => text,
                Some(input) => input.to_string(),
            };
            Content::ToolCall(ToolCall {
                id: id.unwrap_or_else(|| made_up_id(message, calls)),
                name: take_string(&mut block, "name"),
                arguments,
                ..ToolCall::default()
            })
        }
        _ => Content::Native { dialect: Dialect::Anthropic, value: Value::Object(block) },
    };
    choice.parts.push(Part::new(content));
}

fn take_string(map: &mut Map<String, Value>, key: &str) -> String {
    match map.remove(key) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}
