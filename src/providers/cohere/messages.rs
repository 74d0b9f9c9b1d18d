//! The conversation as Cohere takes it.

use serde_json::{Map, Value, json};

use crate::providers::losses::{Losses, document_text, refusal, told};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Content, Dialect, Message, Role, Source, Thinking, ToolCall, ToolResult};

/// Returns the messages.
pub(super) fn messages(
    request: &ChatRequest,
    vision: Option<bool>,
    losses: &mut Losses,
) -> Result<Vec<Value>, IntakeError> {
    let mut out = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        let path = format!("messages[{at}].content");
        losses.drop_if(message.name.is_some(), "messages.name")?;
        match message.role {
            Role::System | Role::Developer => out.push(json!({"role": "system", "content": plain(message, losses)?})),
            Role::Assistant => out.extend(assistant(message, losses)?),
            Role::User | Role::Tool => user(message, &path, vision, losses, &mut out)?,
        }
    }
    Ok(out)
}

fn plain(message: &Message, losses: &mut Losses) -> Result<String, IntakeError> {
    let mut texts = Vec::new();
    for part in &message.parts {
        match &part.content {
            Content::Text(text) => texts.push(text.as_str()),
            _ => losses.drop("messages.content of the system")?,
        }
    }
    Ok(texts.join("\n"))
}

/// Writes a user's message; results of tools are messages of their own and come first, as they answer what was before.
fn user(
    message: &Message,
    path: &str,
    vision: Option<bool>,
    losses: &mut Losses,
    out: &mut Vec<Value>,
) -> Result<(), IntakeError> {
    let mut parts = Vec::new();
    let mut results = Vec::new();
    for part in &message.parts {
        match &part.content {
            Content::Text(text) | Content::Refusal(text) => parts.push(json!({"type": "text", "text": text})),
            Content::Image { source, detail } => parts.push(image(source, detail.as_deref(), path, vision)?),
            Content::File { source, name } => {
                parts.push(json!({"type": "text", "text": document(source, name.as_deref(), path)?}));
            }
            Content::ToolResult(result) => results.push(tool_result(result, losses)?),
            Content::Native { dialect: Dialect::Cohere, value } => parts.push(value.clone()),
            Content::Native { .. } => losses.drop("messages.content of another provider's own type")?,
            Content::Audio { .. } => {
                return Err(refusal(path, "holds audio, which Cohere does not take; send text"));
            }
            Content::Thinking(_) | Content::ToolCall(_) => losses.drop("messages.content that only a model writes")?,
        }
    }
    let had_results = !results.is_empty();
    out.extend(results);
    match parts.as_slice() {
        [] if had_results => {}
        [] => out.push(json!({"role": "user", "content": ""})),
        [Value::Object(only)] if only["type"] == "text" => {
            out.push(json!({"role": "user", "content": only["text"]}));
        }
        _ => out.push(json!({"role": "user", "content": parts})),
    }
    Ok(())
}

fn image(source: &Source, detail: Option<&str>, path: &str, vision: Option<bool>) -> Result<Value, IntakeError> {
    if vision == Some(false) {
        return Err(refusal(path, "holds an image, which this model cannot see; choose another model"));
    }
    let url = match source {
        Source::Url(url) => url.clone(),
        Source::Inline { media_type, data } => format!("data:{media_type};base64,{data}"),
        Source::Text(_) | Source::Id { .. } => {
            return Err(refusal(path, "holds an image by an id that Cohere does not know; send its bytes, inline"));
        }
    };
    let mut image = json!({"url": url});
    if let Some(detail @ ("auto" | "low" | "high")) = detail {
        image["detail"] = detail.into();
    }
    Ok(json!({"type": "image_url", "image_url": image}))
}

/// Returns a document as text, below its name.
fn document(source: &Source, name: Option<&str>, path: &str) -> Result<String, IntakeError> {
    let Some(text) = document_text(source) else {
        return Err(refusal(path, "holds a document that is not plain text, which Cohere does not take; send text"));
    };
    Ok(name.map_or_else(|| text.clone(), |name| format!("{name}\n\n{text}")))
}

fn assistant(message: &Message, losses: &mut Losses) -> Result<Option<Value>, IntakeError> {
    let (mut texts, mut thoughts, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for part in &message.parts {
        match &part.content {
            Content::Text(text) | Content::Refusal(text) => texts.push(text.as_str()),
            Content::Thinking(Thinking { vendor: None | Some(Dialect::Cohere), text, .. }) => {
                thoughts.push(text.as_str())
            }
            Content::Thinking(_) => {
                losses.tell("messages.content", "held another provider's thinking, which was left out")
            }
            Content::ToolCall(call) => calls.push(tool_call(call)),
            Content::Native { .. } => losses.drop("messages.content of another provider's own type")?,
            _ => losses.drop("messages.content of the assistant that is no text")?,
        }
    }
    let mut out = Map::from_iter([("role".to_owned(), Value::from("assistant"))]);
    if calls.is_empty() {
        if texts.is_empty() {
            return Ok(None);
        }
        // What it thought is of no use to it once it has answered.
        out.insert("content".into(), texts.concat().into());
    } else {
        // What a model says before it calls a tool is its plan here.
        let plan = thoughts.into_iter().chain(texts).filter(|text| !text.is_empty());
        let plan = plan.collect::<Vec<_>>().join("\n");
        if !plan.is_empty() {
            out.insert("tool_plan".into(), plan.into());
        }
        out.insert("tool_calls".into(), calls.into());
    }
    Ok(Some(Value::Object(out)))
}

fn tool_call(call: &ToolCall) -> Value {
    let arguments = match () {
        () if call.custom => json!({"input": call.arguments}).to_string(),
        () if call.arguments.trim().is_empty() => "{}".to_owned(),
        () => call.arguments.clone(),
    };
    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
}

fn tool_result(result: &ToolResult, losses: &mut Losses) -> Result<Value, IntakeError> {
    let mut texts = Vec::new();
    for part in told(result).iter() {
        match &part.content {
            Content::Text(text) => texts.push(text.clone()),
            Content::File { source, .. } if document_text(source).is_some() => texts.extend(document_text(source)),
            _ => losses.drop("messages.content of a tool's result that is no text")?,
        }
    }
    Ok(json!({"role": "tool", "tool_call_id": result.call_id, "content": texts.join("\n")}))
}
