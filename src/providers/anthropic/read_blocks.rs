//! The content blocks of a client's request.

use serde_json::Value;

use super::fields::{Fields, fault, wrong_type};
use super::signature;
use crate::schema::IntakeError;
use crate::schema::chat::{CacheMark, Content, Dialect, Part, Source, ToolCall, ToolResult};

/// Which tool each call so far was to, by the call's id.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    fn of(&self, id: &str) -> Option<String> {
        self.0.iter().rev().find(|(call, _)| call == id).map(|(_, name)| name.clone())
    }
}

/// Takes `cache_control`, which any block and the body itself can have.
pub(super) fn cache_mark(fields: &mut Fields) -> Result<Option<CacheMark>, IntakeError> {
    let Some(mut control) = fields.object("cache_control")? else { return Ok(None) };
    let long = control.string("ttl")?.is_some_and(|ttl| ttl == "1h");
    Ok(Some(if long { CacheMark::Long } else { CacheMark::Default }))
}

/// Reads a string or an array of text blocks.
pub(super) fn text_blocks(value: Value, path: &str) -> Result<Vec<Part>, IntakeError> {
    let parts = content(value, path, &mut Names::default())?;
    let other = parts.iter().position(|part| !matches!(part.content, Content::Text(_)));
    match other {
        None => Ok(parts),
        Some(index) => Err(fault("invalid_value", &format!("{path}[{index}].type"), "must be \"text\"")),
    }
}

/// Reads the content of a message: a string or an array of blocks.
pub(super) fn content(value: Value, path: &str, names: &mut Names) -> Result<Vec<Part>, IntakeError> {
    let blocks = match value {
        Value::String(text) if text.is_empty() => return Ok(Vec::new()),
        Value::String(text) => return Ok(vec![Part::text(text)]),
        Value::Array(blocks) => blocks,
        _ => return Err(wrong_type(path, "a string or an array of blocks")),
    };
    let mut parts = Vec::with_capacity(blocks.len());
    for (index, value) in blocks.into_iter().enumerate() {
        block(value, format!("{path}[{index}]"), names, &mut parts)?;
    }
    Ok(parts)
}

fn block(value: Value, path: String, names: &mut Names, parts: &mut Vec<Part>) -> Result<(), IntakeError> {
    let Some(kind) = value.get("type").and_then(Value::as_str) else {
        let what = if value.is_object() { "needs a string `type`" } else { "must be an object" };
        return Err(fault("invalid_type", &path, what));
    };
    let reads: fn(&mut Fields, &mut Names, &mut Vec<Part>) -> Result<Content, IntakeError> = match kind {
        "text" => |fields, _, _| Ok(Content::Text(fields.required("text")?)),
        "image" => |fields, _, _| image(fields),
        "document" => |fields, _, before| document(fields, before),
        "search_result" => |fields, _, _| search_result(fields),
        "thinking" => |fields, _, _| thinking(fields),
        "redacted_thinking" => |fields, _, _| Ok(Content::Thinking(signature::encrypted(fields.required("data")?))),
        "tool_use" => |fields, names, _| tool_use(fields, names),
        "tool_result" => |fields, names, _| tool_result(fields, names),
        _ => {
            parts.push(Part::new(Content::Native { dialect: Dialect::Anthropic, value }));
            return Ok(());
        }
    };
    let mut fields = Fields::of(value, path)?;
    let cache = cache_mark(&mut fields)?;
    let content = reads(&mut fields, names, parts)?;
    parts.push(Part { content, cache });
    Ok(())
}

fn source(fields: &mut Fields) -> Result<Fields, IntakeError> {
    let missing = fault("missing_required_parameter", &fields.at("source"), "is missing; send an object");
    fields.object("source")?.ok_or(missing)
}

/// Reads the sources that images and documents share.
fn common_source(kind: &str, mut fields: Fields) -> Result<Source, IntakeError> {
    match kind {
        "base64" => Ok(Source::Inline { media_type: fields.required("media_type")?, data: fields.required("data")? }),
        "url" => Ok(Source::Url(fields.required("url")?)),
        "file" => Ok(Source::Id { dialect: Dialect::Anthropic, id: fields.required("file_id")? }),
        _ => {
            let what = "is not known; send \"base64\", \"url\" or \"file\", for documents also \"text\" or \"content\"";
            Err(fault("invalid_value", &fields.at("type"), what))
        }
    }
}

fn image(fields: &mut Fields) -> Result<Content, IntakeError> {
    let mut source = source(fields)?;
    let kind = source.required("type")?;
    Ok(Content::Image { source: common_source(&kind, source)?, detail: None })
}

/// Reads a document. What it says of the document's context comes as text in front of it, its blocks one by one.
fn document(fields: &mut Fields, before: &mut Vec<Part>) -> Result<Content, IntakeError> {
    let name = fields.string("title")?;
    before.extend(fields.string("context")?.filter(|context| !context.is_empty()).map(Part::text));
    let mut source = source(fields)?;
    let source = match source.required("type")?.as_str() {
        "text" => Source::Text(source.required("data")?),
        "content" => {
            let path = source.at("content");
            let value = source.take("content").unwrap_or_else(|| Value::String(String::new()));
            let parts = content(value, &path, &mut Names::default())?;
            let text = crate::schema::chat::plain_text(&parts);
            before.extend(parts.into_iter().filter(|part| !matches!(part.content, Content::Text(_))));
            Source::Text(text)
        }
        kind => common_source(kind, source)?,
    };
    Ok(Content::File { source, name })
}

/// Reads a search result as the text document that it is; its source stands in the first line.
fn search_result(fields: &mut Fields) -> Result<Content, IntakeError> {
    let path = fields.at("content");
    let parts = text_blocks(fields.take("content").unwrap_or_else(|| Value::String(String::new())), &path)?;
    let source = fields.string("source")?.unwrap_or_default();
    let text = format!("{source}\n{}", crate::schema::chat::plain_text(&parts));
    Ok(Content::File { source: Source::Text(text), name: fields.string("title")? })
}

fn thinking(fields: &mut Fields) -> Result<Content, IntakeError> {
    let text = fields.string("thinking")?.unwrap_or_default();
    let signature = fields.string("signature")?.unwrap_or_default();
    Ok(Content::Thinking(signature::signed(text, signature)))
}

fn tool_use(fields: &mut Fields, names: &mut Names) -> Result<Content, IntakeError> {
    let (id, name) = (fields.required("id")?, fields.required("name")?);
    names.0.push((id.clone(), name.clone()));
    let arguments = match fields.take("input") {
        None => "{}".to_owned(),
        Some(input @ Value::Object(_)) => input.to_string(),
        Some(_) => return Err(wrong_type(&fields.at("input"), "an object")),
    };
    Ok(Content::ToolCall(ToolCall { id, name, arguments, ..ToolCall::default() }))
}

fn tool_result(fields: &mut Fields, names: &mut Names) -> Result<Content, IntakeError> {
    let call_id = fields.required("tool_use_id")?;
    let path = fields.at("content");
    let parts = match fields.take("content") {
        None => Vec::new(),
        Some(value) => content(value, &path, names)?,
    };
    if parts.iter().any(|part| matches!(part.content, Content::ToolResult(_) | Content::ToolCall(_))) {
        return Err(fault(
            "invalid_value",
            fields.path(),
            "holds tool calls or results; send text, images and documents",
        ));
    }
    let name = names.of(&call_id);
    Ok(Content::ToolResult(ToolResult { call_id, name, parts, is_error: fields.boolean("is_error")?.unwrap_or(false) }))
}
