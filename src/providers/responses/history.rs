//! The conversation as items of `input`.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::encode::own_extra;
use super::item::hash;
use crate::providers::dialect::Target;
use crate::providers::losses::{Losses, refusal, told};
use crate::schema::IntakeError;
use crate::schema::chat::{
    CacheMark, ChatRequest, Content, Dialect, Message, Part, Role, Source, Thinking, ToolCall, ToolResult, plain_text,
};

/// The longest id of a call that OpenAI takes, in bytes.
const CALL_ID_MAX: usize = 64;

/// The conversation, written.
pub(super) struct Items {
    pub(super) instructions: Option<String>,
    pub(super) input: Vec<Value>,
}

struct Writer<'a> {
    request: &'a ChatRequest,
    target: &'a Target<'a>,
    losses: &'a mut Losses,
    input: Vec<Value>,
}

impl Items {
    /// Writes the messages of `request`; a system message at the beginning becomes the instructions.
    pub(super) fn of(request: &ChatRequest, target: &Target<'_>, losses: &mut Losses) -> Result<Self, IntakeError> {
        let mut messages = request.messages.as_slice();
        let mut instructions = None;
        if let [first, rest @ ..] = messages
            && is_plain_system(first)
            && !rest.is_empty()
        {
            (instructions, messages) = (Some(first.plain_text()), rest);
        }
        let mut writer = Writer { request, target, losses, input: Vec::new() };
        messages.iter().try_for_each(|message| writer.message(message))?;
        Ok(Self { instructions, input: writer.input })
    }
}

fn is_plain_system(message: &Message) -> bool {
    let plain = |part: &Part| part.cache.is_none() && matches!(part.content, Content::Text(_));
    message.role == Role::System && message.parts.iter().all(plain)
}

impl Writer<'_> {
    fn message(&mut self, message: &Message) -> Result<(), IntakeError> {
        match message.role {
            Role::Assistant | Role::Tool => self.turn(message),
            Role::System => self.said(message, "system"),
            Role::Developer => self.said(message, "developer"),
            Role::User => self.said(message, "user"),
        }
    }

    /// Writes what was said to the model. Results of tools are items of their own, wherever they stand.
    fn said(&mut self, message: &Message, role: &str) -> Result<(), IntakeError> {
        let mut content = Vec::new();
        for part in &message.parts {
            match &part.content {
                Content::ToolResult(result) => self.result(result)?,
                _ => content.extend(self.part(part)?),
            }
        }
        if !content.is_empty() {
            self.input.push(json!({ "role": role, "content": simple(content) }));
        }
        Ok(())
    }

    /// Writes what the model said, thought and called, and what its tools answered, each as an item.
    fn turn(&mut self, message: &Message) -> Result<(), IntakeError> {
        let mut said = String::new();
        for part in &message.parts {
            if let Content::Text(text) | Content::Refusal(text) = &part.content {
                said.push_str(text);
                continue;
            }
            self.flush(&mut said);
            match &part.content {
                Content::Thinking(thinking) => self.thought(thinking),
                Content::ToolCall(call) => self.call(call),
                Content::ToolResult(result) => self.result(result)?,
                Content::Native { dialect: Dialect::Responses, value } => self.input.push(value.clone()),
                _ => self.losses.note("messages", "holds a part that this upstream does not know; it was left out")?,
            }
        }
        self.flush(&mut said);
        Ok(())
    }

    /// Writes what was said so far, as plain text: parts of the model's own would need the id that they had.
    fn flush(&mut self, said: &mut String) {
        if !said.is_empty() {
            self.input.push(json!({ "role": "assistant", "content": std::mem::take(said) }));
        }
    }

    /// Only what OpenAI encrypted itself is of use to it: nothing is kept there that an id alone could name.
    fn thought(&mut self, thinking: &Thinking) {
        match (&thinking.encrypted, thinking.vendor) {
            (Some(encrypted), Some(Dialect::Responses)) => {
                let summary = match thinking.text.as_str() {
                    "" => json!([]),
                    text => json!([{ "type": "summary_text", "text": text }]),
                };
                let mut item = json!({ "type": "reasoning", "summary": summary, "encrypted_content": encrypted });
                if let Some(id) = &thinking.id {
                    item["id"] = json!(id);
                }
                self.input.push(item);
            }
            (_, Some(vendor)) if vendor != Dialect::Responses => {
                self.losses.tell("messages", "holds reasoning of another provider, which was left out");
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &ToolCall) {
        let call_id = call_id(&call.id);
        self.input.push(if call.custom {
            json!({ "type": "custom_tool_call", "call_id": call_id, "name": call.name, "input": call.arguments })
        } else {
            json!({ "type": "function_call", "call_id": call_id, "name": call.name, "arguments": call.arguments })
        });
    }

    fn result(&mut self, result: &ToolResult) -> Result<(), IntakeError> {
        let parts = told(result);
        let output = if parts.iter().all(|part| matches!(part.content, Content::Text(_))) {
            json!(plain_text(&parts))
        } else {
            let mut written = Vec::new();
            for part in parts.iter() {
                written.extend(self.part(part)?);
            }
            written.into()
        };
        let kind = if self.is_custom(&result.call_id) { "custom_tool_call_output" } else { "function_call_output" };
        self.input.push(json!({ "type": kind, "call_id": call_id(&result.call_id), "output": output }));
        Ok(())
    }

    fn is_custom(&self, id: &str) -> bool {
        let mut parts = self.request.messages.iter().flat_map(|message| &message.parts);
        parts.any(|part| matches!(&part.content, Content::ToolCall(call) if call.custom && call.id == id))
    }

    /// Writes a part of what is told to the model.
    fn part(&mut self, part: &Part) -> Result<Option<Value>, IntakeError> {
        let mut value = match &part.content {
            Content::Text(text) | Content::Refusal(text) => json!({ "type": "input_text", "text": text }),
            Content::Image { source, detail } => self.image(source, detail.as_deref())?,
            Content::File { source, name } => file(source, name.as_deref())?,
            Content::Audio { .. } => {
                return Err(refusal("messages", "holds audio, which this model cannot hear; send text instead"));
            }
            Content::Native { dialect: Dialect::Responses, value } => value.clone(),
            _ => {
                self.losses.note("messages", "holds a part that this upstream does not know; it was left out")?;
                return Ok(None);
            }
        };
        // Marks of other dialects are left to OpenAI, which caches by itself.
        if let Some(mark) = part.cache.filter(|_| own_extra(self.request).is_some()) {
            value["prompt_cache_breakpoint"] = match mark {
                CacheMark::Default => json!({ "mode": "explicit" }),
                CacheMark::Long => json!({ "mode": "explicit", "ttl": "12h" }),
            };
        }
        Ok(Some(value))
    }

    fn image(&self, source: &Source, detail: Option<&str>) -> Result<Value, IntakeError> {
        if self.target.model_facts.vision == Some(false) {
            return Err(refusal("messages", "holds an image, which this model cannot see; choose another"));
        }
        let mut image = match source {
            Source::Id { dialect, id } if is_own(*dialect) => json!({ "type": "input_image", "file_id": id }),
            Source::Url(url) => json!({ "type": "input_image", "image_url": url }),
            Source::Inline { media_type, data } => {
                json!({ "type": "input_image", "image_url": format!("data:{media_type};base64,{data}") })
            }
            Source::Id { .. } => return Err(foreign_file()),
            Source::Text(_) => return Err(refusal("messages", "holds an image without bytes; send a URL or base64")),
        };
        image["detail"] = json!(detail.unwrap_or("auto"));
        Ok(image)
    }
}

fn file(source: &Source, name: Option<&str>) -> Result<Value, IntakeError> {
    Ok(match source {
        Source::Id { dialect, id } if is_own(*dialect) => json!({ "type": "input_file", "file_id": id }),
        Source::Id { .. } => return Err(foreign_file()),
        Source::Url(url) => json!({ "type": "input_file", "file_url": url }),
        Source::Inline { media_type, data } => json!({
            "type": "input_file",
            "filename": name.map_or_else(|| default_name(media_type), Cow::Borrowed),
            "file_data": format!("data:{media_type};base64,{data}"),
        }),
        Source::Text(text) => json!({ "type": "input_text", "text": text }),
    })
}

/// OpenAI wants a name with an ending that it knows.
fn default_name(media_type: &str) -> Cow<'static, str> {
    match media_type {
        "application/pdf" => Cow::Borrowed("document.pdf"),
        other => Cow::Owned(format!("document.{}", other.rsplit(['/', '+']).next().unwrap_or("txt"))),
    }
}

fn is_own(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::OpenAi | Dialect::Responses)
}

fn foreign_file() -> IntakeError {
    refusal("messages", "names a file kept by another provider; send its bytes in base64")
}

/// One text stands for itself.
fn simple(mut content: Vec<Value>) -> Value {
    match content.as_mut_slice() {
        [only] if only["type"] == "input_text" && only.get("prompt_cache_breakpoint").is_none() => only["text"].take(),
        _ => content.into(),
    }
}

/// Returns an id that OpenAI takes, the same for a call and its result.
fn call_id(id: &str) -> Cow<'_, str> {
    if id.len() <= CALL_ID_MAX { Cow::Borrowed(id) } else { Cow::Owned(format!("call_{:016x}", hash(id))) }
}
