//! The content blocks of a Messages request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::encode::Encoding;
use super::encode_messages::{is_own_thinking, mark, text};
use super::write::{call_id, input};
use crate::providers::losses::refusal;
use crate::schema::IntakeError;
use crate::schema::chat::{Content, Dialect, Part, Source, Thinking, ToolCall, ToolResult};

/// Where blocks stand, which decides what they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    System,
    User,
    Assistant,
    Result,
}

/// How images begin in base64, which says more than what they are declared as.
const IMAGES: [(&str, &str); 4] =
    [("iVBORw0KGgo", "image/png"), ("/9j/", "image/jpeg"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp")];

/// Returns the ids of the calls in a turn.
pub(super) fn call_ids(blocks: &[Value]) -> Vec<String> {
    let id = |block: &Value| (block["type"] == "tool_use").then(|| block["id"].as_str().map(str::to_owned)).flatten();
    blocks.iter().filter_map(id).collect()
}

/// Writes parts as the blocks of a turn.
pub(super) fn blocks(encoding: &mut Encoding<'_>, parts: &[Part], place: Place) -> Result<Vec<Value>, IntakeError> {
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        if let Some(mut block) = block(encoding, part, place)? {
            if !matches!(part.content, Content::Thinking(_)) {
                mark(&mut block, part.cache);
            }
            blocks.push(block);
        }
    }
    Ok(blocks)
}

/// Writes what a tool answered.
pub(super) fn result(encoding: &mut Encoding<'_>, answer: &ToolResult) -> Result<Value, IntakeError> {
    let mut content = blocks(encoding, &answer.parts, Place::Result)?;
    let mut block = json!({ "type": "tool_result", "tool_use_id": call_id(&answer.call_id) });
    if answer.is_error {
        block["is_error"] = true.into();
    }
    if let [only] = content.as_mut_slice()
        && only["type"] == "text"
    {
        block["content"] = only["text"].take();
    } else if !content.is_empty() {
        block["content"] = content.into();
    }
    Ok(block)
}

fn block(encoding: &mut Encoding<'_>, part: &Part, place: Place) -> Result<Option<Value>, IntakeError> {
    Ok(match &part.content {
        // Blank text blocks are refused.
        Content::Text(blank) | Content::Refusal(blank) if blank.trim().is_empty() => None,
        Content::Text(said) | Content::Refusal(said) => Some(text(said)),
        Content::Image { .. } | Content::File { .. } if matches!(place, Place::System | Place::Assistant) => {
            encoding.losses.note("messages", "has images or documents outside of user messages, which are not sent")?;
            None
        }
        Content::Image { source, .. } => Some(image(source)?),
        Content::File { source, name } => Some(document(source, name.as_deref())?),
        Content::Audio { .. } => {
            return Err(refusal("messages", "has audio, which this provider cannot hear; send text"));
        }
        Content::Thinking(thinking) if is_own_thinking(part) => Some(self::thinking(thinking)),
        Content::Thinking(_) => {
            encoding.losses.tell("messages", "has thinking that this provider did not sign, which is not sent");
            None
        }
        Content::ToolCall(call) => Some(tool_use(encoding, call)?),
        Content::ToolResult(answer) => Some(result(encoding, answer)?),
        Content::Native { dialect: Dialect::Anthropic, value } => Some(value.clone()),
        Content::Native { .. } => {
            encoding.losses.note("messages", "has content that only another provider knows, which is not sent")?;
            None
        }
    })
}

fn thinking(thinking: &Thinking) -> Value {
    match (&thinking.signature, &thinking.encrypted) {
        (None, Some(data)) => json!({ "type": "redacted_thinking", "data": data }),
        (signature, _) => json!({ "type": "thinking", "thinking": thinking.text, "signature": signature }),
    }
}

fn tool_use(encoding: &mut Encoding<'_>, call: &ToolCall) -> Result<Value, IntakeError> {
    let input = input(call);
    if !call.custom && input.get("_raw").is_some() && !call.arguments.contains("\"_raw\"") {
        let what = "has a tool call whose arguments are no JSON object; they were sent as text in `_raw`";
        encoding.losses.note("messages", what)?;
    }
    Ok(json!({ "type": "tool_use", "id": call_id(&call.id), "name": call.name, "input": input }))
}

fn image(source: &Source) -> Result<Value, IntakeError> {
    let source = match source {
        Source::Inline { media_type, data } => {
            let by_content = IMAGES.iter().find(|(start, _)| data.starts_with(start)).map(|(_, kind)| *kind);
            let declared = IMAGES.iter().find(|(_, kind)| kind == media_type).map(|(_, kind)| *kind);
            let Some(media_type) = by_content.or(declared) else {
                return Err(refusal("messages", "has an image that is no PNG, JPEG, GIF or WebP; send one of these"));
            };
            json!({ "type": "base64", "media_type": media_type, "data": data })
        }
        other => by_reference(other)?,
    };
    Ok(json!({ "type": "image", "source": source }))
}

fn document(source: &Source, name: Option<&str>) -> Result<Value, IntakeError> {
    let source = match source {
        Source::Text(text) => json!({ "type": "text", "media_type": "text/plain", "data": text }),
        Source::Inline { media_type, .. } if media_type.starts_with("image/") => return image(source),
        Source::Inline { media_type, data } if media_type == "application/pdf" || data.starts_with("JVBERi") => {
            json!({ "type": "base64", "media_type": "application/pdf", "data": data })
        }
        Source::Inline { data, .. } => {
            let text = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let Some(text) = text else {
                return Err(refusal("messages", "has a document that is neither PDF nor text; send one of these"));
            };
            json!({ "type": "text", "media_type": "text/plain", "data": text })
        }
        other => by_reference(other)?,
    };
    let mut document = json!({ "type": "document", "source": source });
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        document["title"] = name.into();
    }
    Ok(document)
}

fn by_reference(source: &Source) -> Result<Value, IntakeError> {
    match source {
        Source::Url(url) => Ok(json!({ "type": "url", "url": url })),
        Source::Id { dialect: Dialect::Anthropic, id } => Ok(json!({ "type": "file", "file_id": id })),
        Source::Id { .. } => {
            Err(refusal("messages", "names a file kept by another provider; send its content in base64 instead"))
        }
        Source::Text(_) | Source::Inline { .. } => {
            Err(refusal("messages", "has an image given as text; send it in base64"))
        }
    }
}
