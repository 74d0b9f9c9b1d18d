//! A whole reply of an upstream that speaks Responses.

use bursar_actors::{Tier, Usage};
use serde_json::{Map, Value, json};

use crate::providers::dialect::{Nonsense, object};
use crate::providers::usage::RawUsage;
use crate::schema::chat::{ChatReply, Choice, Citation, Content, Dialect, Finish, Part, Thinking, ToolCall};

/// Reads a whole reply.
pub(super) fn decode(body: &[u8]) -> Result<ChatReply, Nonsense> {
    let response = object(body)?;
    if !response.get("output").is_some_and(Value::is_array) {
        return Err(Nonsense::of("it has no output"));
    }
    Ok(reply(&response))
}

/// Returns the reply that a response object is.
pub(super) fn reply(response: &Map<String, Value>) -> ChatReply {
    let mut choice = Choice::default();
    for item in response.get("output").and_then(Value::as_array).into_iter().flatten() {
        take_item(item, &mut choice);
    }
    let has_calls = choice.parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    choice.finish = Some(finish(response, has_calls));
    ChatReply {
        id: text(response.get("id")),
        created: created(response),
        model: text(response.get("model")),
        choices: vec![choice],
        usage: usage(response),
        service_tier: response.get("service_tier").and_then(Value::as_str).map(str::to_owned),
        system_fingerprint: None,
    }
}

/// Returns when a response was made, in Unix seconds; 0 where it does not say.
pub(super) fn created(response: &Map<String, Value>) -> i64 {
    let created = response.get("created_at");
    // Some servers send fractions of seconds.
    created.and_then(|at| at.as_i64().or_else(|| at.as_f64().map(|at| at as i64))).unwrap_or(0)
}

/// Returns why a response ended.
pub(super) fn finish(response: &Map<String, Value>, has_calls: bool) -> Finish {
    let reason = response.get("incomplete_details").and_then(|details| details.get("reason")).and_then(Value::as_str);
    let incomplete = response.get("status").is_some_and(|status| status == "incomplete");
    match reason {
        Some("content_filter") => Finish::ContentFilter,
        Some(reason) if reason.starts_with("max_") => Finish::Length,
        None if incomplete => Finish::Length,
        _ if has_calls => Finish::ToolCalls,
        _ => Finish::Stop { sequence: None },
    }
}

/// Returns what a response says it used.
pub(super) fn usage(response: &Map<String, Value>) -> Option<Usage> {
    let usage = response.get("usage")?;
    let output = response.get("output").and_then(Value::as_array).into_iter().flatten();
    // Opening a page that was found, or looking within it, is no search.
    let searched = |item: &&Value| {
        item["type"] == "web_search_call"
            && item["status"] != "failed"
            && matches!(item["action"]["type"].as_str(), None | Some("search"))
    };
    let searches = output.filter(searched).count();
    let figure = |value: Option<&Value>| value.and_then(|value| value.as_i64().map(i128::from));
    let detail = |list: &str, name: &str| figure(usage.get(list).and_then(|details| details.get(name)));
    RawUsage {
        prompt: figure(usage.get("input_tokens")),
        completion: figure(usage.get("output_tokens")),
        total: figure(usage.get("total_tokens")),
        cached: detail("input_tokens_details", "cached_tokens"),
        cache_write: detail("input_tokens_details", "cache_write_tokens"),
        reasoning: detail("output_tokens_details", "reasoning_tokens"),
        audio_prompt: detail("input_tokens_details", "audio_tokens"),
        image_prompt: detail("input_tokens_details", "image_tokens"),
        audio_completion: detail("output_tokens_details", "audio_tokens"),
        image_completion: detail("output_tokens_details", "image_tokens"),
        searches: i128::try_from(searches).ok(),
        tier: Tier::served(response.get("service_tier").and_then(Value::as_str).unwrap_or_default()),
        ..RawUsage::default()
    }
    .normalise()
}

/// Takes an item of `output`.
pub(super) fn take_item(item: &Value, choice: &mut Choice) {
    let content = match item.get("type").and_then(Value::as_str) {
        Some("message") => return message(item, choice),
        Some("reasoning") => Content::Thinking(thinking(item)),
        Some("function_call") => Content::ToolCall(call(item, "arguments")),
        Some("custom_tool_call") => Content::ToolCall(call(item, "input")),
        Some(_) => Content::Native { dialect: Dialect::Responses, value: item.clone() },
        None => return,
    };
    choice.parts.push(Part::new(content));
}

fn message(item: &Value, choice: &mut Choice) {
    for part in item.get("content").and_then(Value::as_array).into_iter().flatten() {
        match part.get("type").and_then(Value::as_str) {
            Some("output_text" | "text") => {
                choice.parts.push(Part::text(text(part.get("text"))));
                let annotations = part.get("annotations").and_then(Value::as_array);
                choice.citations.extend(annotations.into_iter().flatten().filter_map(citation));
                if let Some(more) = part.get("logprobs").and_then(Value::as_array).filter(|list| !list.is_empty()) {
                    let all = choice.logprobs.get_or_insert_with(|| json!({ "content": [] }));
                    if let Some(entries) = all["content"].as_array_mut() {
                        entries.extend(more.iter().cloned());
                    }
                }
            }
            Some("refusal") => choice.parts.push(Part::new(Content::Refusal(text(part.get("refusal"))))),
            _ => {}
        }
    }
}

/// Returns the source that an annotation names, if it is one on the web.
pub(super) fn citation(annotation: &Value) -> Option<Citation> {
    let url = annotation.get("url")?.as_str()?.to_owned();
    let figure = |name: &str| annotation.get(name).and_then(Value::as_u64);
    let (start, end) = (figure("start_index"), figure("end_index"));
    Some(Citation { url, title: text(annotation.get("title")), start, end })
}

/// Returns the thought that a reasoning item is.
pub(super) fn thinking(item: &Value) -> Thinking {
    let list = |name: &str| item.get(name).and_then(Value::as_array).into_iter().flatten();
    let texts: Vec<&str> =
        list("summary").chain(list("content")).filter_map(|part| part.get("text")?.as_str()).collect();
    let field = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    Thinking {
        text: texts.join("\n\n"),
        signature: None,
        encrypted: field("encrypted_content"),
        vendor: Some(Dialect::Responses),
        id: field("id"),
    }
}

/// Returns the call that an item is; `input` names the field with what is passed.
pub(super) fn call(item: &Value, input: &str) -> ToolCall {
    let custom = input == "input";
    let id = item.get("call_id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let mut arguments = text(item.get(input));
    if !custom && arguments.trim().is_empty() {
        arguments = "{}".into();
    }
    ToolCall {
        id: id.map_or_else(|| text(item.get("id")), str::to_owned),
        name: text(item.get("name")),
        arguments,
        custom,
        signature: None,
    }
}

pub(super) fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}
