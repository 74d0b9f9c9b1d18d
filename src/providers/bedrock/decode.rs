//! A whole reply of `Converse`, and what its parts have in common with those of a stream.

use bursar_actors::{Tier, Usage};
use serde_json::{Map, Value};

use crate::providers::dialect::Nonsense;
use crate::providers::usage::RawUsage;
use crate::schema::chat::{ChatReply, Choice, Citation, Content, Dialect, Finish, Part, Thinking, ToolCall};

pub(super) fn decode(mut reply: Map<String, Value>) -> Result<ChatReply, Nonsense> {
    let Some(message) = reply.get_mut("output").and_then(|output| output.get_mut("message")) else {
        return Err(Nonsense::of("it has no `output.message`"));
    };
    let mut choice = Choice::default();
    if let Some(Value::Array(blocks)) = message.get_mut("content").map(Value::take) {
        let mut calls = 0;
        for block in blocks {
            read_block(block, &mut calls, &mut choice);
        }
    }
    choice.finish = Some(finish(reply.get("stopReason"), reply.get("additionalModelResponseFields"), &choice));
    Ok(ChatReply {
        choices: vec![choice],
        usage: reply.get("usage").and_then(|figures| usage(figures, reply.get("serviceTier"))),
        service_tier: service_tier(reply.get("serviceTier")),
        ..ChatReply::default()
    })
}

fn read_block(mut block: Value, calls: &mut u32, choice: &mut Choice) {
    let content = if let Some(text) = block.get_mut("text") {
        Content::Text(string(text))
    } else if let Some(call) = block.get_mut("toolUse").filter(|call| is_ours(call)) {
        let call = tool_call(call, *calls);
        *calls += 1;
        Content::ToolCall(call)
    } else if let Some(reasoning) = block.get_mut("reasoningContent") {
        Content::Thinking(thinking(reasoning))
    } else if let Some(cited) = block.get_mut("citationsContent") {
        let sources = cited.get("citations").and_then(Value::as_array);
        choice.citations.extend(sources.into_iter().flatten().map(citation));
        let texts = cited.get_mut("content").and_then(Value::as_array_mut);
        let texts = texts.into_iter().flatten().filter_map(|text| text.get_mut("text"));
        Content::Text(texts.map(string).collect())
    } else if block.is_object() {
        Content::Native { dialect: Dialect::Bedrock, value: block }
    } else {
        return;
    };
    choice.parts.push(Part::new(content));
}

/// Returns whether the client runs the tool; a `type` marks those that Bedrock runs itself.
pub(super) fn is_ours(call: &Value) -> bool {
    call.get("type").is_none_or(|kind| kind.is_null() || kind == "tool_use")
}

fn tool_call(call: &mut Value, number: u32) -> ToolCall {
    let (id, name) = call_names(call, number);
    let arguments = match call.get("input") {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(input) => input.to_string(),
    };
    ToolCall { id, name, arguments, ..ToolCall::default() }
}

/// Returns the id and the name of a call, the id made up where there is none.
pub(super) fn call_names(call: &mut Value, number: u32) -> (String, String) {
    let id = call.get_mut("toolUseId").map(string).filter(|id| !id.is_empty());
    let name = call.get_mut("name").map(string).unwrap_or_default();
    (id.unwrap_or_else(|| format!("call_{number}")), name)
}

fn thinking(reasoning: &mut Value) -> Thinking {
    let encrypted = reasoning.get_mut("redactedContent").map(string);
    let mut shown = reasoning.get_mut("reasoningText");
    let mut member = |key| shown.as_mut().and_then(|shown| shown.get_mut(key)).map(string);
    let text = member("text").unwrap_or_default();
    let signature = member("signature").filter(|signature| !signature.is_empty());
    let vendor = vendor(signature.is_some() || encrypted.is_some());
    Thinking { text, signature, encrypted, vendor, id: None }
}

/// The vendor of thinking in Converse: only Claude signs and encrypts it, in the way it does at Anthropic.
pub(super) fn vendor(is_proven: bool) -> Option<Dialect> {
    is_proven.then_some(Dialect::Anthropic)
}

pub(super) fn citation(source: &Value) -> Citation {
    let text = |path: &str| source.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let title = text("/title");
    let url = text("/location/web/url");
    Citation { title: if title.is_empty() { text("/source") } else { title }, url, start: None, end: None }
}

/// Returns whether the model's answer could not be made out; another attempt may do better.
pub(super) fn is_malformed(stop_reason: &str) -> bool {
    stop_reason.starts_with("malformed_")
}

fn finish(reason: Option<&Value>, additional: Option<&Value>, choice: &Choice) -> Finish {
    let calls = choice.parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    finish_of(reason, additional, calls)
}

pub(super) fn finish_of(reason: Option<&Value>, additional: Option<&Value>, calls: bool) -> Finish {
    match reason.and_then(Value::as_str).unwrap_or_default() {
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
        _ if calls => Finish::ToolCalls,
        _ => {
            let paths = ["/stop_sequence", "/delta/stop_sequence"];
            let sequence = paths.iter().find_map(|path| additional?.pointer(path)?.as_str());
            Finish::Stop { sequence: sequence.map(str::to_owned) }
        }
    }
}

/// Bedrock counts what was read from and written to the cache beside the input, not in it.
pub(super) fn usage(usage: &Value, tier: Option<&Value>) -> Option<Usage> {
    let figure = |key: &str| usage.get(key).and_then(Value::as_i64).map(i128::from);
    let cached = figure("cacheReadInputTokens");
    let cache_write = figure("cacheWriteInputTokens");
    let details = usage.get("cacheDetails").and_then(Value::as_array).into_iter().flatten();
    let long = details.filter(|detail| detail.get("ttl").is_some_and(|ttl| ttl == "1h"));
    let long = long.filter_map(|detail| detail.get("inputTokens")?.as_i64()).map(i128::from).sum();
    let raw = RawUsage {
        prompt: figure("inputTokens").map(|input| input + cached.unwrap_or(0) + cache_write.unwrap_or(0)),
        completion: figure("outputTokens"),
        cached,
        cache_write,
        cache_write_long: Some(long),
        tier: Tier::served(&service_tier(tier).unwrap_or_default()),
        ..RawUsage::default()
    };
    raw.normalise()
}

pub(super) fn service_tier(tier: Option<&Value>) -> Option<String> {
    tier?.get("type")?.as_str().map(str::to_owned)
}

/// Takes the text out of a value; anything but text counts as none.
pub(super) fn string(value: &mut Value) -> String {
    if let Value::String(text) = value { std::mem::take(text) } else { String::new() }
}
