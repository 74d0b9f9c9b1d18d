//! A Messages prompt as the cache sees it: tools, then the system prompt, then the messages, block by block.

use serde_json::Value;

use super::super::cache::Part;
use super::super::text;
use super::turns::blocks_of;

/// Tokens that each message costs beyond its blocks.
const TOKENS_PER_MESSAGE: usize = 3;
/// Tokens that an image or a document costs.
const TOKENS_PER_ATTACHMENT: usize = 85;

/// Returns the parts of a prompt; a `cache_control` of the whole request marks the last.
pub(super) fn parts(body: &Value) -> Vec<Part> {
    let mut parts: Vec<Part> = body["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| part("tool", tool, text::count(&tool.to_string())))
        .collect();
    for block in blocks_of(&body["system"]) {
        parts.push(part("system", &block, tokens(&block)));
    }
    for message in body["messages"].as_array().into_iter().flatten() {
        let role = message["role"].as_str().unwrap_or_default();
        let mut extra = TOKENS_PER_MESSAGE;
        for block in blocks_of(&message["content"]) {
            parts.push(part(role, &block, std::mem::take(&mut extra) + tokens(&block)));
        }
    }
    if let Some(last) = parts.last_mut() {
        last.marked |= !body["cache_control"].is_null();
    }
    parts
}

fn part(role: &str, block: &Value, tokens: usize) -> Part {
    let mut bare = block.clone();
    let mark = bare.as_object_mut().and_then(|fields| fields.remove("cache_control"));
    Part { content: format!("{role} {bare}"), tokens, marked: mark.is_some_and(|mark| !mark.is_null()) }
}

fn tokens(block: &Value) -> usize {
    match block["type"].as_str() {
        Some("text") => text::count(block["text"].as_str().unwrap_or_default()),
        Some("thinking") => text::count(block["thinking"].as_str().unwrap_or_default()),
        Some("tool_use") => {
            text::count(&block["input"].to_string()) + text::count(block["name"].as_str().unwrap_or_default())
        }
        Some("tool_result") => {
            let attached = block["content"].as_array().into_iter().flatten().filter(|inner| inner["type"] != "text");
            text::count(&text::content(block)) + attached.count() * TOKENS_PER_ATTACHMENT
        }
        _ => TOKENS_PER_ATTACHMENT,
    }
}
