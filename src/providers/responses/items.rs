//! The items of `input`, put together to messages: what the model said and called in a row is one message, because
//! other dialects have its text and calls in one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, invalid, missing, unsupported};
use super::foreign::{self, Sealed};
use crate::schema::IntakeError;
use crate::schema::chat::{CacheMark, Content, Dialect, Message, Part, Role, Source, Thinking, ToolCall, ToolResult};

/// The conversation so far.
#[derive(Default)]
pub(super) struct History {
    pub(super) messages: Vec<Message>,
    /// By id of a call: the tool's name.
    calls: BTreeMap<String, String>,
    /// Belongs to the next call.
    call_signature: Option<String>,
}

impl History {
    /// Takes the next item, which stands at `at`.
    pub(super) fn item(&mut self, value: Value, at: String) -> Result<(), IntakeError> {
        let item = Fields::of(value, at)?;
        match item.peek("type") {
            None if item.get("type").is_some() => Err(item.wrong("type", "must be a string")),
            None if item.get("role").is_none() && item.get("id").is_some() => Err(reference(&item)),
            None | Some("message") => self.message(item),
            Some("function_call") => self.call(item, "arguments"),
            Some("custom_tool_call") => self.call(item, "input"),
            Some("function_call_output" | "custom_tool_call_output") => self.output(item),
            Some("reasoning") => self.reasoning(item),
            Some("item_reference") => Err(reference(&item)),
            // Of tools that OpenAI runs itself: of use to OpenAI alone.
            Some(_) => {
                let value = item.rest().into();
                self.assistant().push(Part::new(Content::Native { dialect: Dialect::Responses, value }));
                Ok(())
            }
        }
    }

    fn message(&mut self, mut item: Fields) -> Result<(), IntakeError> {
        let role = match item.text("role")?.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some("developer") => Role::Developer,
            _ => return Err(item.wrong("role", "must be user, assistant, system or developer")),
        };
        let at = item.path("content");
        let parts = match item.take("content") {
            None if role == Role::Assistant => Vec::new(),
            None => return Err(missing(&at)),
            Some(content) => parts(content, &at)?,
        };
        let is_open = role == Role::Assistant && self.messages.last().is_some_and(may_say_more);
        if is_open {
            self.assistant().extend(parts);
        } else {
            self.messages.push(Message::new(role, parts));
        }
        Ok(())
    }

    fn call(&mut self, mut item: Fields, arguments: &str) -> Result<(), IntakeError> {
        let custom = arguments == "input";
        let (id, name) = (item.needed_text("call_id")?, item.needed_text("name")?);
        let mut arguments = item.text(arguments)?.unwrap_or_default();
        if !custom && arguments.trim().is_empty() {
            arguments = "{}".into();
        }
        self.calls.insert(id.clone(), name.clone());
        let signature = self.call_signature.take();
        let call = ToolCall { id, name, arguments, custom, signature };
        self.assistant().push(Part::new(Content::ToolCall(call)));
        Ok(())
    }

    fn output(&mut self, mut item: Fields) -> Result<(), IntakeError> {
        let call_id = item.needed_text("call_id")?;
        let at = item.path("output");
        let parts = parts(item.take("output").ok_or_else(|| missing(&at))?, &at)?;
        let name = self.calls.get(&call_id).cloned();
        let result = ToolResult { call_id, name, parts, is_error: false };
        self.messages.push(Message::new(Role::Tool, vec![Part::new(Content::ToolResult(result))]));
        Ok(())
    }

    fn reasoning(&mut self, mut item: Fields) -> Result<(), IntakeError> {
        let mut thinking = Thinking { id: item.text("id")?, ..Thinking::default() };
        for list in ["summary", "content"] {
            for part in item.list(list)?.unwrap_or_default() {
                let Some(text) = part.get("text").and_then(Value::as_str) else { continue };
                thinking.text.push_str(if thinking.text.is_empty() { "" } else { "\n\n" });
                thinking.text.push_str(text);
            }
        }
        match item.text("encrypted_content")?.map(foreign::open) {
            Some(Sealed::Call(signature)) => {
                self.call_signature = Some(signature);
                return Ok(());
            }
            Some(Sealed::Own { encrypted, id }) => {
                (thinking.encrypted, thinking.vendor) = (Some(encrypted), Some(Dialect::Responses));
                thinking.id = id.or(thinking.id);
            }
            Some(Sealed::Signature(vendor, signature)) => {
                (thinking.signature, thinking.vendor, thinking.id) = (Some(signature), Some(vendor), None);
            }
            Some(Sealed::Encrypted(vendor, encrypted)) => {
                (thinking.encrypted, thinking.vendor, thinking.id) = (Some(encrypted), Some(vendor), None);
            }
            None => {}
        }
        self.assistant().push(Part::new(Content::Thinking(thinking)));
        Ok(())
    }

    /// Returns what the model said last, where it is its turn still.
    fn assistant(&mut self) -> &mut Vec<Part> {
        if self.messages.last().is_none_or(|last| last.role != Role::Assistant) {
            self.messages.push(Message::new(Role::Assistant, Vec::new()));
        }
        let last = self.messages.len() - 1;
        &mut self.messages[last].parts
    }
}

/// Returns whether a message of the assistant belongs to the one before: after mere thought, and after calls, whose
/// results must follow the message that holds them.
fn may_say_more(last: &Message) -> bool {
    let is_call = |part: &Part| matches!(part.content, Content::ToolCall(_));
    let is_said = |part: &Part| matches!(part.content, Content::Text(_) | Content::Refusal(_));
    last.role == Role::Assistant && (last.parts.iter().any(is_call) || !last.parts.iter().any(is_said))
}

fn reference(item: &Fields) -> IntakeError {
    unsupported(&item.path("id"), "items are not kept between requests; send the item itself (`store: false`)")
}

/// Reads content: a string, or parts.
fn parts(content: Value, at: &str) -> Result<Vec<Part>, IntakeError> {
    match content {
        Value::String(text) => Ok(vec![Part::text(text)]),
        Value::Array(parts) => {
            parts.into_iter().enumerate().map(|(index, part)| part_of(part, format!("{at}[{index}]"))).collect()
        }
        _ => Err(invalid(at, "must be a string or a list of parts")),
    }
}

fn part_of(value: Value, at: String) -> Result<Part, IntakeError> {
    let mut part = Fields::of(value, at)?;
    let cache = part
        .take("prompt_cache_breakpoint")
        .map(|mark| if mark.get("ttl").is_some_and(|ttl| ttl == "12h") { CacheMark::Long } else { CacheMark::Default });
    let content = match part.peek("type") {
        Some("input_text" | "output_text" | "text") => Content::Text(part.needed_text("text")?),
        Some("refusal") => Content::Refusal(part.needed_text("refusal")?),
        Some("input_image") => image(part)?,
        Some("input_file") => file(part)?,
        Some("input_audio") => {
            let at = part.path("input_audio");
            let mut audio = part.object("input_audio")?.ok_or_else(|| missing(&at))?;
            Content::Audio { data: audio.needed_text("data")?, format: audio.needed_text("format")? }
        }
        Some(_) => Content::Native { dialect: Dialect::Responses, value: part.rest().into() },
        None => return Err(part.wrong("type", "must name the kind of part, such as input_text")),
    };
    Ok(Part { content, cache })
}

fn image(mut part: Fields) -> Result<Content, IntakeError> {
    let detail = part.text("detail")?;
    if let Some(id) = part.text("file_id")? {
        return Ok(Content::Image { source: own(id), detail });
    }
    // An object with `url`, as in chat requests, is understood too.
    let url = match part.take("image_url") {
        Some(Value::Object(mut object)) => object.remove("url"),
        other => other,
    };
    match url {
        Some(Value::String(url)) => Ok(Content::Image { source: source(url), detail }),
        Some(_) => Err(part.wrong("image_url", "must be a string: a URL or a data URL")),
        None => Err(missing(&part.path("image_url"))),
    }
}

fn file(mut part: Fields) -> Result<Content, IntakeError> {
    let name = part.text("filename")?;
    if let Some(id) = part.text("file_id")? {
        return Ok(Content::File { source: own(id), name });
    }
    if let Some(url) = part.text("file_url")? {
        return Ok(Content::File { source: source(url), name });
    }
    let data = part.needed_text("file_data")?;
    let source = match source(data) {
        // Bare base64 is taken for what files mostly are.
        Source::Url(data) => Source::Inline { media_type: "application/pdf".into(), data },
        inline => inline,
    };
    Ok(Content::File { source, name })
}

fn own(id: String) -> Source {
    Source::Id { dialect: Dialect::Responses, id }
}

/// Returns what a URL stands for: the bytes themselves, where it is a data URL.
fn source(url: String) -> Source {
    let inline = url.strip_prefix("data:").and_then(|rest| {
        let (head, data) = rest.split_once(',')?;
        let media_type = head.strip_suffix(";base64")?;
        let media_type = media_type.split_once(';').map_or(media_type, |(bare, _)| bare);
        Some(Source::Inline { media_type: media_type.to_owned(), data: data.to_owned() })
    });
    inline.unwrap_or(Source::Url(url))
}
