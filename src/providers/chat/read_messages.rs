//! Reads the messages of a client's chat request, with what the providers' own clients add to them.

use serde_json::{Map, Value, json};

use super::details;
use super::fields::{Fields, Path};
use crate::schema::IntakeError;
use crate::schema::chat::{CacheMark, Content, Dialect, Message, Part, Role, Source, ToolCall, ToolResult};

/// Reads `messages`.
pub(super) fn messages(list: Vec<Value>, path: &Path<'_>) -> Result<Vec<Message>, IntakeError> {
    let mut messages: Vec<Message> = Vec::with_capacity(list.len());
    // A legacy call has no id, so the result belongs to the last one.
    let mut legacy_id = String::new();
    for (index, value) in list.into_iter().enumerate() {
        let path = path.index(index);
        let mut fields = Fields::of(value, &path)?;
        let role = fields.required_text("role")?;
        let (role, parts) = match role.as_str() {
            "system" => (Role::System, content(&mut fields)?),
            "developer" => (Role::Developer, content(&mut fields)?),
            "user" => (Role::User, content(&mut fields)?),
            "assistant" => (Role::Assistant, assistant(&mut fields, index, &mut legacy_id)?),
            "tool" => (Role::Tool, vec![tool_result(&mut fields)?]),
            "function" => {
                let name = fields.text("name")?;
                let parts = content(&mut fields)?;
                let result = ToolResult { call_id: legacy_id.clone(), name, parts, is_error: false };
                (Role::Tool, vec![Part::new(Content::ToolResult(result))])
            }
            _ => {
                let known = "must be developer, system, user, assistant or tool";
                return Err(path.field("role").refuse("invalid_value", known));
            }
        };
        messages.push(Message { role, parts, name: fields.text("name")? });
    }
    name_results(&mut messages);
    Ok(messages)
}

/// Gives each tool's result the name that its call in the history has.
fn name_results(messages: &mut [Message]) {
    let mut calls: Vec<(String, String)> = Vec::new();
    for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
        match &mut part.content {
            Content::ToolCall(call) => calls.push((call.id.clone(), call.name.clone())),
            Content::ToolResult(result) if result.name.is_none() => {
                let call = calls.iter().rev().find(|(id, _)| *id == result.call_id);
                result.name = call.map(|(_, name)| name.clone());
            }
            _ => {}
        }
    }
}

/// Reads `content`: a text, parts, or nothing.
fn content(fields: &mut Fields<'_>) -> Result<Vec<Part>, IntakeError> {
    let path = fields.path.field("content");
    let mark = cache_mark(fields);
    let mut parts = match fields.take("content") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(list)) => {
            let read = |(index, value)| part(value, &path.index(index));
            list.into_iter().enumerate().map(read).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(path.wrong("a string, an array of parts, or null")),
    };
    if let (Some(mark), Some(last)) = (mark, parts.last_mut()) {
        last.cache.get_or_insert(mark);
    }
    Ok(parts)
}

/// Takes the mark that ends a cached prompt, in Anthropic's words or in OpenAI's.
pub(super) fn cache_mark(fields: &mut Fields<'_>) -> Option<CacheMark> {
    let found = fields.take("cache_control");
    let mark = fields.take("prompt_cache_breakpoint").or(found)?;
    let long = matches!(mark.get("ttl").and_then(Value::as_str), Some("1h" | "12h" | "24h"));
    Some(if long { CacheMark::Long } else { CacheMark::Default })
}

/// Reads one part of a message.
fn part(value: Value, path: &Path<'_>) -> Result<Part, IntakeError> {
    if let Value::String(text) = value {
        return Ok(Part::text(text));
    }
    let mut fields = Fields::of(value, path)?;
    let cache = cache_mark(&mut fields);
    let kind = match fields.peek("type") {
        Some(Value::String(kind)) => kind.clone(),
        None if fields.peek("text").is_some() => "text".to_owned(),
        _ => return Err(path.field("type").refuse("invalid_value", "must be a string such as text or image_url")),
    };
    let content = match kind.as_str() {
        "text" | "input_text" | "output_text" => Content::Text(fields.required_text("text")?),
        "refusal" => Content::Refusal(fields.required_text("refusal")?),
        "image_url" => image(fields)?,
        "input_audio" => {
            let path = path.field("input_audio");
            let inner = fields.take("input_audio").ok_or_else(|| path.missing())?;
            let mut inner = Fields::of(inner, &path)?;
            Content::Audio { data: inner.required_text("data")?, format: inner.required_text("format")? }
        }
        "file" => file(fields)?,
        "document_url" => {
            let source = source(fields.required_text("document_url")?);
            Content::File { source, name: fields.text("document_name")? }
        }
        _ => Content::Native { dialect: Dialect::OpenAi, value: Value::Object(fields.rest()) },
    };
    Ok(Part { content, cache })
}

fn image(mut fields: Fields<'_>) -> Result<Content, IntakeError> {
    let path = fields.path.field("image_url");
    match fields.take("image_url") {
        // Mistral's short form.
        Some(Value::String(url)) => Ok(Content::Image { source: source(url), detail: None }),
        Some(inner) => {
            let mut inner = Fields::of(inner, &path)?;
            Ok(Content::Image { source: source(inner.required_text("url")?), detail: inner.text("detail")? })
        }
        None => Err(path.missing()),
    }
}

fn file(mut fields: Fields<'_>) -> Result<Content, IntakeError> {
    let path = fields.path.field("file");
    let inner = fields.take("file").ok_or_else(|| path.missing())?;
    let mut inner = Fields::of(inner, &path)?;
    let name = inner.text("filename")?;
    let id = inner.text("file_id")?;
    let url = inner.text("file_url")?;
    let source = match (inner.text("file_data")?.or(url), id) {
        (Some(data), _) if data.starts_with("data:") || data.contains("://") => source(data),
        (Some(data), _) => Source::Inline { media_type: "application/pdf".to_owned(), data },
        (None, Some(id)) => Source::Id { dialect: Dialect::OpenAi, id },
        (None, None) => return Err(path.refuse("invalid_value", "must have `file_data` or `file_id`")),
    };
    Ok(Content::File { source, name })
}

/// Returns what a URL stands for; one that holds the bytes itself is taken apart.
fn source(url: String) -> Source {
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    match inline.and_then(|(head, data)| Some((head.strip_suffix(";base64")?, data))) {
        Some((head, data)) => {
            let media_type = head.split(';').next().unwrap_or_default();
            Source::Inline { media_type: media_type.to_owned(), data: data.to_owned() }
        }
        None => Source::Url(url),
    }
}

fn assistant(fields: &mut Fields<'_>, index: usize, legacy_id: &mut String) -> Result<Vec<Part>, IntakeError> {
    let reasoning = match (fields.take("reasoning_content"), fields.take("reasoning")) {
        (Some(Value::String(text)), _) | (_, Some(Value::String(text))) => Some(text),
        _ => None,
    };
    let blocks = fields.list("thinking_blocks")?;
    let thoughts = details::of_message(blocks, fields.list("reasoning_details")?, reasoning);
    let mut parts: Vec<Part> = thoughts.into_iter().map(|thought| Part::new(Content::Thinking(thought))).collect();
    parts.extend(content(fields)?.into_iter().flat_map(thought_of));
    if let Some(refusal) = fields.text("refusal")? {
        parts.push(Part::new(Content::Refusal(refusal)));
    }
    let path = fields.path.field("tool_calls");
    for (number, value) in fields.list("tool_calls")?.into_iter().flatten().enumerate() {
        let call = tool_call(value, &path.index(number))?;
        parts.push(Part::new(Content::ToolCall(call)));
    }
    let path = fields.path.field("function_call");
    if let Some(call) = fields.take("function_call") {
        let mut call = Fields::of(call, &path)?;
        *legacy_id = format!("call_{index}");
        let name = call.required_text("name")?;
        let call = ToolCall { id: legacy_id.clone(), name, arguments: arguments(&mut call), ..ToolCall::default() };
        parts.push(Part::new(Content::ToolCall(call)));
    }
    // What is said of the whole message goes back to this dialect only: a part without a `type`.
    let whole: Map<String, Value> = ["audio", "prefix", "partial"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), fields.take(name)?)))
        .collect();
    if !whole.is_empty() {
        parts.push(Part::new(Content::Native { dialect: Dialect::OpenAi, value: Value::Object(whole) }));
    }
    Ok(parts)
}

/// Turns Mistral's (and Anthropic's) part of thought into thought.
fn thought_of(part: Part) -> Vec<Part> {
    let Content::Native { value, .. } = &part.content else { return vec![part] };
    let kind = value.get("type").and_then(Value::as_str);
    if !matches!(kind, Some("thinking" | "redacted_thinking")) {
        return vec![part];
    }
    let text: Option<String> = value
        .get("thinking")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect());
    let thought = match text {
        Some(text) => details::from_block(&json!({ "type": "thinking", "thinking": text })),
        None => details::from_block(value),
    };
    thought.map(|thought| Part::new(Content::Thinking(thought))).into_iter().collect()
}

fn tool_call(value: Value, path: &Path<'_>) -> Result<ToolCall, IntakeError> {
    let mut fields = Fields::of(value, path)?;
    let id = fields.required_text("id")?;
    let signature = fields
        .take("extra_content")
        .and_then(|extra| extra.pointer("/google/thought_signature")?.as_str().map(str::to_owned));
    let custom = fields.peek("custom").is_some_and(Value::is_object);
    let path = path.field(if custom { "custom" } else { "function" });
    let body = fields.take(if custom { "custom" } else { "function" }).ok_or_else(|| path.missing())?;
    let mut body = Fields::of(body, &path)?;
    let name = body.required_text("name")?;
    let arguments = if custom { body.text("input")?.unwrap_or_default() } else { arguments(&mut body) };
    Ok(ToolCall { id, name, arguments, custom, signature })
}

/// Takes a call's arguments as JSON text, whatever they were sent as.
fn arguments(fields: &mut Fields<'_>) -> String {
    match fields.take("arguments") {
        None => "{}".to_owned(),
        Some(Value::String(text)) if text.trim().is_empty() => "{}".to_owned(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}

fn tool_result(fields: &mut Fields<'_>) -> Result<Part, IntakeError> {
    let mark = cache_mark(fields);
    let call_id = fields.required_text("tool_call_id")?;
    let name = fields.text("name")?;
    let result = ToolResult { call_id, name, parts: content(fields)?, is_error: false };
    Ok(Part { content: Content::ToolResult(result), cache: mark })
}
