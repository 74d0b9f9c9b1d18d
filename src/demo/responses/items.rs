//! The input items of a Responses request: messages, calls, their outputs, reasoning.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::super::cache::Part;
use super::super::openai::parameters::present;
use super::super::reply::Refusal;
use super::super::{signature, text};

/// Tokens that each item costs beyond its text.
const TOKENS_PER_ITEM: usize = 3;
/// Tokens that an image or a file costs.
const TOKENS_PER_ATTACHMENT: usize = 85;
const OF_USERS: [&str; 3] = ["input_text", "input_image", "input_file"];
const OF_ASSISTANTS: [&str; 2] = ["output_text", "refusal"];
/// What OpenAI's own tools leave behind, which means nothing here.
const HOSTED: [&str; 22] = [
    "file_search_call",
    "web_search_call",
    "computer_call",
    "computer_call_output",
    "code_interpreter_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "compaction",
    "program",
    "program_output",
];

pub(super) struct Items<'a>(Vec<Cow<'a, Value>>);

/// Returns an item's type; a message may leave it out.
fn kind(item: &Value) -> &str {
    item["type"].as_str().unwrap_or(if item["role"].is_string() { "message" } else { "" })
}

fn is_output(item: &Value) -> bool {
    matches!(kind(item), "function_call_output" | "custom_tool_call_output")
}

fn is_call(item: &Value) -> bool {
    matches!(kind(item), "function_call" | "custom_tool_call")
}

fn is_users(item: &Value) -> bool {
    kind(item) == "message" && item["role"] == "user"
}

impl<'a> Items<'a> {
    pub(super) fn read(body: &'a Value, seed: u64) -> Result<Self, Refusal> {
        let missing = || Refusal::invalid("input", "missing_required_parameter", "`input` is missing or empty");
        let items: Vec<Cow<'a, Value>> = match present(body, "input") {
            Some(Value::String(text)) => vec![Cow::Owned(json!({"role": "user", "content": text}))],
            Some(Value::Array(items)) if !items.is_empty() => items.iter().map(Cow::Borrowed).collect(),
            None | Some(Value::Array(_)) => return Err(missing()),
            Some(_) => {
                let message = "`input` must be a string or an array of items";
                return Err(Refusal::invalid("input", "invalid_type", message));
            }
        };
        for (index, item) in items.iter().enumerate() {
            check(item, &format!("input[{index}]"), seed)?;
        }
        let items = Self(items);
        items.check_outputs()?;
        Ok(items)
    }

    fn check_outputs(&self) -> Result<(), Refusal> {
        let mut pending: Vec<&str> = Vec::new();
        let id = |item: &'_ Cow<'a, Value>| item["call_id"].as_str().unwrap_or_default().to_owned();
        for item in &self.0 {
            if is_call(item) {
                pending.push(item["call_id"].as_str().unwrap_or_default());
            } else if is_output(item) {
                let Some(place) = pending.iter().position(|pending| *pending == item["call_id"]) else {
                    let message = format!("No tool call found for function call output with call_id {}.", id(item));
                    return Err(Refusal::invalid("input", "invalid_value", message));
                };
                pending.swap_remove(place);
            }
        }
        match pending.first() {
            None => Ok(()),
            Some(id) => {
                let message = format!("No tool output found for function call {id}.");
                Err(Refusal::invalid("input", "invalid_value", message))
            }
        }
    }

    /// Returns the text of the last message of the user's.
    pub(super) fn user_text(&self) -> String {
        self.0
            .iter()
            .rev()
            .find(|item| is_users(item))
            .map_or_else(String::new, |item| text::content(item).into_owned())
    }

    /// Returns what the last message of the user's brought besides text.
    pub(super) fn brought(&self) -> Vec<&'static str> {
        let last = self.0.iter().rev().find(|item| is_users(item));
        let parts = last.and_then(|item| item["content"].as_array()).into_iter().flatten();
        let kind = |part: &Value| match part["type"].as_str()? {
            "input_image" => Some("image"),
            "input_file" => Some("file"),
            _ => None,
        };
        parts.filter_map(kind).collect()
    }

    /// Returns the outputs that stand at the end, oldest first.
    pub(super) fn results(&self) -> Vec<String> {
        let at_end = self.0.iter().rev().take_while(|item| is_output(item)).count();
        self.0[self.0.len() - at_end..].iter().map(|item| output(item)).collect()
    }

    pub(super) fn user_spoke_last(&self) -> bool {
        self.0.last().is_some_and(|item| is_users(item))
    }

    /// Returns the items as parts of the prompt.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        self.0.iter().map(|item| {
            let attachments =
                item["content"].as_array().into_iter().flatten().filter(|part| part["text"].is_null()).count();
            let said = match kind(item) {
                "message" => text::count(&text::content(item)),
                "function_call_output" | "custom_tool_call_output" => text::count(&output(item)),
                "function_call" => text::count(item["arguments"].as_str().unwrap_or_default()),
                _ => 0,
            };
            let tokens = TOKENS_PER_ITEM + said + attachments * TOKENS_PER_ATTACHMENT;
            Part { content: item.to_string(), tokens, marked: true }
        })
    }

    /// Returns the items as JSON: what the answer depends on.
    pub(super) fn content(&self) -> String {
        self.0.iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
    }
}

/// Returns the text of an output: a string, or parts.
fn output(item: &Value) -> String {
    text::content(&json!({"content": item["output"]})).into_owned()
}

fn check(item: &Value, at: &str, seed: u64) -> Result<(), Refusal> {
    match kind(item) {
        "message" => check_message(item, at),
        "function_call" => {
            ["call_id", "name", "arguments"].iter().try_for_each(|name| check_text(item, name, at))?;
            check_id(item, "fc", at)
        }
        "custom_tool_call" => {
            ["call_id", "name", "input"].iter().try_for_each(|name| check_text(item, name, at))?;
            check_id(item, "ctc", at)
        }
        "function_call_output" | "custom_tool_call_output" => {
            check_text(item, "call_id", at)?;
            match &item["output"] {
                Value::String(_) => Ok(()),
                Value::Array(parts) => check_parts(parts, &OF_USERS, &format!("{at}.output")),
                _ => Err(missing(&format!("{at}.output"))),
            }
        }
        "reasoning" => check_reasoning(item, at, seed),
        "item_reference" => Err(not_kept(item, at)),
        kind if HOSTED.contains(&kind) => Ok(()),
        kind => {
            let param = format!("{at}.type");
            Err(Refusal::invalid(
                &param,
                "invalid_value",
                format!("Invalid value: '{kind}' is no type of an input item"),
            ))
        }
    }
}

fn missing(param: &str) -> Refusal {
    Refusal::invalid(param, "missing_required_parameter", format!("Missing required parameter: '{param}'."))
}

fn check_text(item: &Value, name: &str, at: &str) -> Result<(), Refusal> {
    if item[name].is_string() { Ok(()) } else { Err(missing(&format!("{at}.{name}"))) }
}

/// Refuses an id, which an item need not have, of another kind of item.
fn check_id(item: &Value, prefix: &str, at: &str) -> Result<(), Refusal> {
    match item["id"].as_str() {
        Some(id) if !id.starts_with(prefix) => {
            let param = format!("{at}.id");
            let message = format!("Invalid '{param}': '{id}'. Expected an ID that begins with '{prefix}'.");
            Err(Refusal::invalid(&param, "invalid_value", message))
        }
        _ => Ok(()),
    }
}

fn check_message(item: &Value, at: &str) -> Result<(), Refusal> {
    let allowed = match item["role"].as_str().unwrap_or_default() {
        "user" | "system" | "developer" => &OF_USERS[..],
        "assistant" => &OF_ASSISTANTS[..],
        role => {
            let param = format!("{at}.role");
            let message = format!("Invalid value: '{role}'. Supported values are: assistant, developer, system, user.");
            return Err(Refusal::invalid(&param, "invalid_value", message));
        }
    };
    match &item["content"] {
        Value::String(_) => Ok(()),
        Value::Array(parts) => check_parts(parts, allowed, &format!("{at}.content")),
        _ => Err(missing(&format!("{at}.content"))),
    }
}

fn check_parts(parts: &[Value], allowed: &[&str], at: &str) -> Result<(), Refusal> {
    for (place, part) in parts.iter().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        if !allowed.contains(&kind) {
            let param = format!("{at}[{place}]");
            let message = format!("Invalid value: '{kind}'. Supported values are: {}.", allowed.join(", "));
            return Err(Refusal::invalid(&param, "invalid_value", message));
        }
        let needed: &[&str] = match kind {
            "input_image" => &["image_url", "file_id"],
            "input_file" => &["file_data", "file_id", "file_url"],
            "refusal" => &["refusal"],
            _ => &["text"],
        };
        if !needed.iter().any(|name| part[*name].is_string()) {
            return Err(missing(&format!("{at}[{place}].{}", needed[0])));
        }
    }
    Ok(())
}

/// Refuses reasoning that is not the demo provider's own, unchanged: it keeps none, so it must come back as it went.
fn check_reasoning(item: &Value, at: &str, seed: u64) -> Result<(), Refusal> {
    check_id(item, "rs", at)?;
    match item["encrypted_content"].as_str() {
        Some(sealed) if signature::is_sealed(seed, sealed) => Ok(()),
        Some(_) => {
            let message = format!("The encrypted content of {at} could not be verified.");
            Err(Refusal::invalid("input", "invalid_encrypted_content", message))
        }
        None => Err(not_kept(item, at)),
    }
}

fn not_kept(item: &Value, at: &str) -> Refusal {
    let id = item["id"].as_str().unwrap_or_default();
    Refusal {
        param: Some("input".to_owned()),
        ..Refusal::plain(404, format!("{at}: Item with id '{id}' not found; the demo provider keeps none."))
    }
}
