//! Writes the messages of a request for an upstream of the chat dialect.

use serde_json::{Map, Value, json};

use super::details;
use super::encode::Encoding;
use super::table::{CacheStyle, Files, ThoughtStyle, by_model};
use crate::providers::losses::told;
use crate::schema::IntakeError;
use crate::schema::chat::{
    CacheMark, Content, Dialect, Format, Message, Part, Role, Source, Thinking, ToolCall, ToolResult,
};

/// Sets `messages`.
pub(super) fn put(encoding: &mut Encoding<'_>) -> Result<(), IntakeError> {
    let request = encoding.request;
    let mut list: Vec<Value> = Vec::with_capacity(request.messages.len() + 1);
    let mut systems: Vec<String> = schema_in_words(encoding).into_iter().collect();
    // Images that tools answered with: only users may send some, once all results have been told.
    let mut owed: Vec<Value> = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        if message.role != Role::Tool && !owed.is_empty() {
            list.push(json!({ "role": "user", "content": std::mem::take(&mut owed) }));
        }
        for part in &message.parts {
            if let Content::ToolResult(result) = &part.content {
                list.push(tool_message(encoding, result, part.cache, &mut owed)?);
            }
        }
        match message.role {
            Role::Tool => {}
            Role::System | Role::Developer if encoding.row.messages.one_system => {
                systems.push(joined(&message.parts, "\n"));
                if !list.is_empty() {
                    encoding.losses.note("messages", "had a later system message, which was moved to the beginning")?;
                }
            }
            Role::Assistant => {
                let mut written = assistant(encoding, message)?;
                let last = index + 1 == request.messages.len() && !written.contains_key("tool_calls");
                if let Some(field) = encoding.row.messages.prefill.filter(|_| last) {
                    written.insert(field.into(), true.into());
                }
                list.push(Value::Object(written));
            }
            Role::System | Role::Developer | Role::User => list.extend(said(encoding, message)?),
        }
    }
    if !owed.is_empty() {
        list.push(json!({ "role": "user", "content": owed }));
    }
    if !systems.is_empty() {
        list.insert(0, json!({ "role": "system", "content": systems.join("\n\n") }));
    }
    encoding.body.insert("messages".into(), Value::Array(list));
    Ok(())
}

/// Returns the schema of the answer in words, for an upstream that cannot be held to one.
fn schema_in_words(encoding: &Encoding<'_>) -> Option<String> {
    match &encoding.request.format {
        Some(Format::JsonSchema { schema, .. }) if !encoding.knows_schema() => {
            Some(format!("Answer with nothing but a JSON object that is valid by this JSON Schema: {schema}"))
        }
        _ => None,
    }
}

/// Writes what a user, a developer or the system says.
fn said(encoding: &mut Encoding<'_>, message: &Message) -> Result<Option<Value>, IntakeError> {
    let content = content(encoding, &message.parts, "\n")?;
    let only_results = message.parts.iter().all(|part| matches!(part.content, Content::ToolResult(_)));
    if only_results && !message.parts.is_empty() {
        return Ok(None);
    }
    let role = match message.role {
        Role::System => "system",
        Role::Developer if encoding.row.messages.developer => "developer",
        Role::Developer => "system",
        _ => "user",
    };
    let mut written = Map::from_iter([("role".to_owned(), role.into()), ("content".to_owned(), content)]);
    name(encoding, message, &mut written)?;
    Ok(Some(Value::Object(written)))
}

fn name(encoding: &mut Encoding<'_>, message: &Message, into: &mut Map<String, Value>) -> Result<(), IntakeError> {
    let Some(name) = &message.name else { return Ok(()) };
    if !encoding.row.messages.names {
        return encoding.losses.drop("messages[].name");
    }
    into.insert("name".into(), name.as_str().into());
    Ok(())
}

/// Writes parts as a text where they are nothing else, joined by `between`; as an array otherwise.
fn content(encoding: &mut Encoding<'_>, parts: &[Part], between: &str) -> Result<Value, IntakeError> {
    let rules = &encoding.row.messages;
    let marked = rules.cache != CacheStyle::Automatic && parts.iter().any(|part| part.cache.is_some());
    let text = |part: &Part| matches!(part.content, Content::Text(_) | Content::Refusal(_));
    if !marked && parts.iter().all(text) && (parts.len() <= 1 || !rules.text_parts) {
        return Ok(joined(parts, between).into());
    }
    let mut list = Vec::with_capacity(parts.len());
    for part in parts {
        if let Some(mut value) = part_value(encoding, part)? {
            mark(encoding, part.cache, &mut value);
            list.push(value);
        }
    }
    // Where nothing is left of them: a list without parts is refused, an empty text is not.
    Ok(if list.is_empty() { "".into() } else { Value::Array(list) })
}

/// Returns the text of all parts, refusals included.
fn joined(parts: &[Part], between: &str) -> String {
    let text = |part: &'_ Part| match &part.content {
        Content::Text(text) | Content::Refusal(text) => Some(text.clone()),
        _ => None,
    };
    parts.iter().filter_map(text).collect::<Vec<_>>().join(between)
}

/// Marks a part as the end of a cached prompt.
fn mark(encoding: &Encoding<'_>, cache: Option<CacheMark>, part: &mut Value) {
    let Some(cache) = cache else { return };
    let long = cache == CacheMark::Long;
    match encoding.row.messages.cache {
        CacheStyle::Automatic => {}
        CacheStyle::Breakpoint => {
            part["prompt_cache_breakpoint"] =
                if long { json!({ "mode": "explicit", "ttl": "12h" }) } else { json!({ "mode": "explicit" }) };
        }
        CacheStyle::CacheControl => {
            part["cache_control"] =
                if long { json!({ "type": "ephemeral", "ttl": "1h" }) } else { json!({ "type": "ephemeral" }) };
        }
    }
}

/// Writes one part, unless it stands elsewhere in the message or is lost.
fn part_value(encoding: &mut Encoding<'_>, part: &Part) -> Result<Option<Value>, IntakeError> {
    match &part.content {
        Content::Text(text) | Content::Refusal(text) => Ok(Some(text_part(text))),
        Content::Image { source, detail } => image(encoding, source, detail.as_deref()).map(Some),
        Content::Audio { data, format } => {
            if !encoding.row.messages.audio {
                return Err(encoding.losses.impossible("messages", "it hears no audio; send text"));
            }
            Ok(Some(json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } })))
        }
        Content::File { source, name } => file(encoding, source, name.as_deref()).map(Some),
        Content::Native { dialect: Dialect::OpenAi, value } if value.get("type").is_some() => Ok(Some(value.clone())),
        Content::Native { dialect, .. } if *dialect != Dialect::OpenAi => {
            let what = "held a part that only another API knows, which was left out";
            encoding.losses.note("messages", what).map(|()| None)
        }
        Content::Native { .. } | Content::Thinking(_) | Content::ToolCall(_) | Content::ToolResult(_) => Ok(None),
    }
}

fn text_part(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn image(encoding: &Encoding<'_>, source: &Source, detail: Option<&str>) -> Result<Value, IntakeError> {
    let url = match source {
        Source::Url(url) if encoding.row.messages.image_urls => url.clone(),
        Source::Url(_) => {
            return Err(encoding
                .losses
                .impossible("messages", "it fetches no images; send the image itself as base64"));
        }
        Source::Inline { media_type, data } => format!("data:{media_type};base64,{data}"),
        Source::Text(_) | Source::Id { .. } => {
            return Err(encoding.losses.impossible("messages", "it knows no image by an id; send the image itself"));
        }
    };
    let mut inner = json!({ "url": url });
    if let Some(detail) = detail {
        inner["detail"] = detail.into();
    }
    Ok(json!({ "type": "image_url", "image_url": inner }))
}

fn file(encoding: &Encoding<'_>, source: &Source, name: Option<&str>) -> Result<Value, IntakeError> {
    let data_url = |media_type: &str, data: &str| format!("data:{media_type};base64,{data}");
    let filename = || name.unwrap_or("document.pdf");
    let file = |data: String| json!({ "type": "file", "file": { "filename": filename(), "file_data": data } });
    match (source, encoding.row.messages.files) {
        (Source::Text(text), _) => Ok(text_part(text)),
        (Source::Inline { media_type, data }, Files::OpenAi | Files::OpenAiAndUrls) => {
            Ok(file(data_url(media_type, data)))
        }
        (Source::Url(url), Files::OpenAiAndUrls) => Ok(file(url.clone())),
        (Source::Id { dialect: Dialect::OpenAi | Dialect::Responses, id }, Files::OpenAi) => {
            Ok(json!({ "type": "file", "file": { "file_id": id } }))
        }
        (Source::Inline { media_type, data }, Files::DocumentUrl) => {
            Ok(json!({ "type": "document_url", "document_url": data_url(media_type, data) }))
        }
        (Source::Url(url), Files::DocumentUrl) => Ok(json!({ "type": "document_url", "document_url": url })),
        (_, Files::No) => Err(encoding.losses.impossible("messages", "it reads no documents; send their text")),
        _ => Err(encoding.losses.impossible("messages", "send the document itself as base64")),
    }
}

fn assistant(encoding: &mut Encoding<'_>, message: &Message) -> Result<Map<String, Value>, IntakeError> {
    let mut written = Map::from_iter([("role".to_owned(), "assistant".into())]);
    let is_refusal = |part: &&Part| matches!(part.content, Content::Refusal(_));
    let refusals = encoding.row.messages.refusals && message.parts.iter().any(|part| is_refusal(&part));
    let mut spoken = Vec::new();
    let (mut calls, mut thoughts) = (Vec::new(), Vec::new());
    for part in &message.parts {
        match &part.content {
            Content::ToolCall(call) => calls.push(tool_call(encoding, call)),
            Content::Thinking(thinking) => thoughts.push(thinking),
            Content::Refusal(_) if refusals => {}
            Content::Native { dialect: Dialect::OpenAi, value: Value::Object(fields) }
                if !fields.contains_key("type") && encoding.row.openai_models =>
            {
                written.extend(fields.clone());
            }
            _ => spoken.push(part.clone()),
        }
    }
    let text = content(encoding, &spoken, "")?;
    let empty = text.as_str().is_some_and(str::is_empty);
    written.insert("content".into(), if empty && (!calls.is_empty() || refusals) { Value::Null } else { text });
    if refusals {
        let refusal: Vec<Part> = message.parts.iter().filter(is_refusal).cloned().collect();
        written.insert("refusal".into(), joined(&refusal, "").into());
    }
    thought(encoding, &thoughts, !calls.is_empty(), &mut written)?;
    if !calls.is_empty() {
        written.insert("tool_calls".into(), Value::Array(calls));
    }
    name(encoding, message, &mut written)?;
    Ok(written)
}

/// Gives thought of an earlier turn back, the way the upstream wants it.
fn thought(
    encoding: &mut Encoding<'_>,
    thoughts: &[&Thinking],
    calls_tools: bool,
    into: &mut Map<String, Value>,
) -> Result<(), IntakeError> {
    if thoughts.is_empty() {
        return Ok(());
    }
    let text: String = thoughts.iter().map(|thinking| thinking.text.as_str()).collect();
    let style = by_model(encoding.row.thoughts, encoding.target.model).unwrap_or(ThoughtStyle::Never);
    match style {
        ThoughtStyle::Details => {
            let written = thoughts.iter().enumerate().flat_map(|(index, thinking)| details::entries(thinking, index));
            into.insert("reasoning_details".into(), written.collect());
            return Ok(());
        }
        // What is not wanted back is no loss.
        ThoughtStyle::ToolTurns(_) if !calls_tools => return Ok(()),
        _ if text.is_empty() || style == ThoughtStyle::Never => {
            let provider = encoding.row.name;
            let what = format!("held thinking of earlier turns, which was left out: {provider} takes none back");
            encoding.losses.tell("messages", &what);
            return Ok(());
        }
        ThoughtStyle::Field(field) | ThoughtStyle::ToolTurns(field) => _ = into.insert(field.into(), text.into()),
        ThoughtStyle::Tags => {
            let content = into.get("content").and_then(Value::as_str).unwrap_or_default();
            let tagged = format!("<think>{text}</think>{content}");
            into.insert("content".into(), tagged.into());
        }
        ThoughtStyle::Parts => {
            let mut parts = vec![json!({ "type": "thinking", "thinking": [text_part(&text)] })];
            match into.remove("content") {
                Some(Value::String(content)) if !content.is_empty() => parts.push(text_part(&content)),
                Some(Value::Array(content)) => parts.extend(content),
                _ => {}
            }
            into.insert("content".into(), Value::Array(parts));
        }
        ThoughtStyle::Never => {}
    }
    Ok(())
}

fn tool_call(encoding: &Encoding<'_>, call: &ToolCall) -> Value {
    let id = encoding.tool_id(&call.id);
    if call.custom && encoding.row.tools.custom {
        return json!({ "id": id, "type": "custom", "custom": { "name": call.name, "input": call.arguments } });
    }
    let arguments = match (call.custom, call.arguments.as_str()) {
        (true, input) => json!({ "input": input }).to_string(),
        (false, "") => "{}".to_owned(),
        (false, arguments) => arguments.to_owned(),
    };
    let mut written =
        json!({ "id": id, "type": "function", "function": { "name": call.name, "arguments": arguments } });
    if let Some(signature) = call.signature.as_deref().filter(|_| encoding.row.tools.signatures) {
        written["extra_content"] = json!({ "google": { "thought_signature": signature } });
    }
    written
}

fn tool_message(
    encoding: &mut Encoding<'_>,
    result: &ToolResult,
    cache: Option<CacheMark>,
    owed: &mut Vec<Value>,
) -> Result<Value, IntakeError> {
    let parts = told(result);
    let is_text = |part: &&Part| matches!(part.content, Content::Text(_) | Content::Refusal(_));
    let mut texts: Vec<Part> = parts.iter().filter(is_text).cloned().collect();
    let others: Vec<&Part> = parts.iter().filter(|part| !is_text(part)).collect();
    if let (Some(cache), Some(last)) = (cache, texts.last_mut()) {
        last.cache.get_or_insert(cache);
    }
    let before = owed.len();
    for part in others {
        owed.extend(part_value(encoding, part)?);
    }
    let id = encoding.tool_id(&result.call_id);
    if owed.len() > before {
        owed.insert(before, text_part(&format!("The result of tool call {id} holds this:")));
        if texts.is_empty() {
            texts.push(Part::text("The result follows in the next message."));
        }
    }
    let content = content(encoding, &texts, "\n")?;
    Ok(json!({ "role": "tool", "tool_call_id": id, "content": content }))
}
