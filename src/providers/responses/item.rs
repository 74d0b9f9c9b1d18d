//! The items of a reply's `output`.

use serde_json::{Value, json};

use super::foreign;
use crate::schema::chat::{Citation, Content, Dialect, Finish, Part, Thinking, ToolCall};

/// One item, whole or under way.
#[derive(Debug)]
pub(super) enum Item {
    Reasoning { id: String, text: String, encrypted: Option<String> },
    Message { id: String, parts: Vec<Said> },
    Call { id: String, call: ToolCall },
    Native(Value),
}

/// A part of a message.
#[derive(Debug)]
pub(super) enum Said {
    Text { text: String, annotations: Vec<Value>, logprobs: Vec<Value> },
    Refusal(String),
}

/// What the ids of a reply's items are made of.
#[derive(Debug, Default)]
pub(super) struct Ids {
    base: String,
}

impl Ids {
    /// Takes the reply's id, whatever dialect it is of; `seed` stands in for one that is missing.
    pub(super) fn of(reply_id: &str, seed: &str) -> Self {
        let bare = ["resp_", "chatcmpl-", "msg_", "gen-"].iter().find_map(|prefix| reply_id.strip_prefix(prefix));
        let kept = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
        let mut base: String = bare.unwrap_or(reply_id).chars().filter(kept).collect();
        if base.is_empty() {
            base = format!("{:016x}", hash(seed));
        }
        Self { base }
    }

    pub(super) fn reply(&self) -> String {
        format!("resp_{}", self.base)
    }

    /// Returns the id of the item at `index`, of the kind that `prefix` says.
    pub(super) fn item(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}_{index}", self.base)
    }
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Item {
    /// Begins a thought; `id` is the vendor's, where it is OpenAI's own.
    pub(super) fn reasoning(ids: &Ids, index: usize, id: Option<&str>) -> Self {
        let own = id.filter(|id| id.starts_with("rs_")).map(str::to_owned);
        let id = own.unwrap_or_else(|| ids.item("rs", index));
        Self::Reasoning { id, text: String::new(), encrypted: None }
    }

    pub(super) fn message(ids: &Ids, index: usize) -> Self {
        Self::Message { id: ids.item("msg", index), parts: Vec::new() }
    }

    pub(super) fn call(ids: &Ids, index: usize, call: ToolCall) -> Self {
        let prefix = if call.custom { "ctc" } else { "fc" };
        Self::Call { id: ids.item(prefix, index), call }
    }

    /// The item that carries a call's signature, before it.
    pub(super) fn call_signature(ids: &Ids, index: usize, signature: &str) -> Self {
        let encrypted = Some(foreign::seal_call(signature));
        Self::Reasoning { id: ids.item("rs", index), text: String::new(), encrypted }
    }

    /// Returns its id.
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Reasoning { id, .. } | Self::Message { id, .. } | Self::Call { id, .. } => id,
            Self::Native(value) => value.get("id").and_then(Value::as_str).unwrap_or_default(),
        }
    }

    /// Returns it as it is written, with what it has so far.
    pub(super) fn value(&self, status: &str) -> Value {
        match self {
            Self::Reasoning { id, text, encrypted } => {
                let summary = if text.is_empty() { json!([]) } else { json!([summary_part(text)]) };
                let mut item = json!({ "id": id, "type": "reasoning", "summary": summary });
                if let Some(encrypted) = encrypted {
                    item["encrypted_content"] = json!(encrypted);
                }
                item
            }
            Self::Message { id, parts } => {
                let content: Vec<Value> = parts.iter().map(Said::value).collect();
                json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
            }
            Self::Call { id, call } if call.custom => json!({
                "id": id, "type": "custom_tool_call", "status": status, "call_id": call.id, "name": call.name,
                "input": call.arguments,
            }),
            Self::Call { id, call } => json!({
                "id": id, "type": "function_call", "status": status, "call_id": call.id, "name": call.name,
                "arguments": call.arguments,
            }),
            Self::Native(value) => value.clone(),
        }
    }
}

impl Said {
    pub(super) fn text(text: &str) -> Self {
        Self::Text { text: text.to_owned(), annotations: Vec::new(), logprobs: Vec::new() }
    }

    /// Returns it as it is written.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Text { text, annotations, logprobs } => {
                json!({ "type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs })
            }
            Self::Refusal(refusal) => json!({ "type": "refusal", "refusal": refusal }),
        }
    }
}

/// Returns the part of a summary that `text` is.
pub(super) fn summary_part(text: &str) -> Value {
    json!({ "type": "summary_text", "text": text })
}

/// Returns a source as a text's annotation.
pub(super) fn annotation(citation: &Citation) -> Value {
    let start = citation.start.unwrap_or(0);
    json!({
        "type": "url_citation", "url": citation.url, "title": citation.title,
        "start_index": start, "end_index": citation.end.unwrap_or(start),
    })
}

/// Returns the entries of log probabilities as chat completions have them, for text: all fields there, no null.
pub(super) fn logprobs(value: &Value) -> Vec<Value> {
    let entries = value.get("content").and_then(Value::as_array);
    entries.into_iter().flatten().filter(|entry| entry.get("token").is_some()).map(logprob).collect()
}

fn logprob(entry: &Value) -> Value {
    let token = entry["token"].as_str().unwrap_or_default();
    let bytes = entry.get("bytes").filter(|bytes| bytes.is_array()).cloned();
    let mut whole = json!({
        "token": token,
        "logprob": entry["logprob"].as_f64().unwrap_or_default(),
        "bytes": bytes.unwrap_or_else(|| json!(token.as_bytes())),
    });
    if let Some(top) = entry.get("top_logprobs") {
        whole["top_logprobs"] = top.as_array().into_iter().flatten().map(logprob).collect();
    }
    whole
}

/// Returns the items that the parts of a reply are, and what each has come to.
pub(super) fn items(parts: &[Part], ids: &Ids) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for part in parts {
        let index = items.len();
        match &part.content {
            Content::Text(text) if !text.is_empty() => say(&mut items, ids, Said::text(text)),
            Content::Refusal(refusal) if !refusal.is_empty() => {
                say(&mut items, ids, Said::Refusal(refusal.clone()));
            }
            Content::Thinking(thinking) => items.extend(thought(thinking, ids, index)),
            Content::ToolCall(call) => {
                if let Some(signature) = &call.signature {
                    items.push(Item::call_signature(ids, index, signature));
                }
                items.push(Item::call(ids, items.len(), call.clone()));
            }
            Content::Native { dialect: Dialect::Responses, value } => items.push(Item::Native(value.clone())),
            _ => {}
        }
    }
    items
}

fn thought(thinking: &Thinking, ids: &Ids, index: usize) -> Option<Item> {
    let mut item = Item::reasoning(ids, index, thinking.id.as_deref());
    let encrypted = foreign::seal(thinking, item.id());
    if thinking.text.is_empty() && encrypted.is_none() && thinking.id.is_none() {
        return None;
    }
    if let Item::Reasoning { text, encrypted: sealed, .. } = &mut item {
        (*text, *sealed) = (thinking.text.clone(), encrypted);
    }
    Some(item)
}

/// Adds to the message under way, begun if there is none; text after text is one text.
fn say(items: &mut Vec<Item>, ids: &Ids, said: Said) {
    let Some(Item::Message { parts, .. }) = items.last_mut() else {
        items.push(Item::Message { id: ids.item("msg", items.len()), parts: vec![said] });
        return;
    };
    match (parts.last_mut(), said) {
        (Some(Said::Text { text: before, .. }), Said::Text { text, .. }) => before.push_str(&text),
        (Some(Said::Refusal(before)), Said::Refusal(more)) => before.push_str(&more),
        (_, said) => parts.push(said),
    }
}

/// Returns annotations and log probabilities of the last text.
pub(super) fn last_text(items: &mut [Item]) -> Option<(&mut Vec<Value>, &mut Vec<Value>)> {
    let messages = items.iter_mut().rev().filter_map(|item| match item {
        Item::Message { parts, .. } => Some(parts),
        _ => None,
    });
    messages.flat_map(|parts| parts.iter_mut().rev()).find_map(|said| match said {
        Said::Text { annotations, logprobs, .. } => Some((annotations, logprobs)),
        Said::Refusal(_) => None,
    })
}

/// Returns the status of the item that was being written when the reply ended.
pub(super) fn last_status(finish: Option<&Finish>) -> &'static str {
    match finish {
        Some(Finish::Length | Finish::ContentFilter) => "incomplete",
        _ => "completed",
    }
}
