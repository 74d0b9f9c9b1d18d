//! Replies that came in one piece.

use bursar::providers::openai::{repair_whole, whole_facts};
use bursar::schema::Operation;
use bytes::Bytes;
use serde_json::Value;

use super::{is_json, steered};

/// The first byte steers (its last two bits: chat, completions or embeddings), the first line ends it, the rest is
/// the reply.
///
/// A reply that is served is valid JSON, its tool calls can be used, and repairing it twice changes nothing.
pub fn whole_reply(data: &[u8]) {
    let (steer, reply) = steered(data);
    let operation = match steer.first().unwrap_or(&0) % 4 {
        1 => Operation::Completions,
        2 => Operation::Embeddings,
        _ => Operation::ChatCompletions,
    };
    let reply = Bytes::copy_from_slice(reply);
    let Ok(facts) = whole_facts(operation, &reply) else { return };
    if let Some(usage) = facts.usage {
        assert!(usage.cached + usage.cache_write <= usage.prompt && usage.reasoning <= usage.completion, "{usage:?}");
    }
    if facts.error_in_200 {
        return;
    }
    assert!(is_json(&reply), "facts were read from what is no JSON");
    let client = if facts.needs_repair { repair_whole(&reply) } else { reply.clone() };

    assert!(is_json(&client), "the repair is no JSON");
    if facts.needs_repair {
        assert_eq!(repair_whole(&client), client, "a second repair changes something");
    }
    let Ok(value) = serde_json::from_slice::<Value>(&client) else { return };
    let choices = value.get("choices").and_then(Value::as_array);
    for choice in choices.into_iter().flatten() {
        check(choice);
    }
}

fn check(choice: &Value) {
    let calls = choice.pointer("/message/tool_calls").and_then(Value::as_array);
    for call in calls.into_iter().flatten() {
        assert!(call["id"].as_str().is_some_and(|id| !id.is_empty()), "a call without id: {choice}");
        assert!(call["type"].is_string(), "a call without type: {choice}");
        if !call["custom"].is_object() && call["type"] != "custom" {
            let arguments = call.pointer("/function/arguments").and_then(Value::as_str);
            assert!(arguments.is_some_and(|text| !text.is_empty()), "a call without arguments: {choice}");
        }
    }
    let called = calls.is_some_and(|calls| !calls.is_empty());
    match choice.get("finish_reason") {
        None | Some(Value::Null) => assert!(!called, "calls without a reason: {choice}"),
        Some(Value::String(reason)) => {
            let known = ["stop", "length", "tool_calls", "content_filter", "function_call"];
            assert!(known.contains(&reason.as_str()), "no client knows this reason: {choice}");
            assert!(!(called && reason == "stop"), "calls were made: {choice}");
        }
        Some(_) => panic!("the finish reason is no word: {choice}"),
    }
}
