//! The conversation as Converse takes it: system apart, turns that alternate, results of tools first in theirs.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::model::Family;
use crate::providers::losses::{Losses, refusal};
use crate::schema::IntakeError;
use crate::schema::chat::{
    CacheMark, ChatRequest, Content, Dialect, Message, Part, Role, Source, Thinking, ToolCall, ToolResult,
};

/// Most characters of a tool call's id.
const ID_MAX: usize = 64;

/// The system's blocks and the turns.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) system: Vec<Value>,
    turns: Vec<Turn>,
    /// Names that documents have already.
    documents: Vec<String>,
    /// Tools that the history calls, by name.
    pub(super) called: Vec<String>,
    /// The history holds calls or results of tools.
    pub(super) has_tools: bool,
}

#[derive(Debug)]
struct Turn {
    is_user: bool,
    results: Vec<Value>,
    blocks: Vec<Value>,
}

impl Conversation {
    pub(super) fn read(
        request: &ChatRequest,
        family: Family,
        vision: Option<bool>,
        losses: &mut Losses,
    ) -> Result<Self, IntakeError> {
        let mut conversation = Self::default();
        for (at, message) in request.messages.iter().enumerate() {
            let mut blocks = Blocks { path: format!("messages[{at}].content"), family, vision, losses };
            conversation.message(message, &mut blocks)?;
        }
        conversation.close();
        Ok(conversation)
    }

    fn message(&mut self, message: &Message, writer: &mut Blocks<'_>) -> Result<(), IntakeError> {
        writer.losses.drop_if(message.name.is_some(), "messages.name")?;
        if matches!(message.role, Role::System | Role::Developer) {
            if !self.turns.is_empty() {
                let what =
                    "has a system message further down, which moved to the beginning, because Bedrock takes none there";
                writer.losses.note("messages", what)?;
            }
            return message.parts.iter().try_for_each(|part| self.system_part(part, writer));
        }
        let is_user = message.role != Role::Assistant;
        if self.turns.last().is_none_or(|turn| turn.is_user != is_user) {
            self.turns.push(Turn { is_user, results: Vec::new(), blocks: Vec::new() });
        }
        for part in &message.parts {
            if let Content::ToolCall(call) = &part.content
                && !self.called.contains(&call.name)
            {
                self.called.push(call.name.clone());
            }
            self.has_tools |= matches!(part.content, Content::ToolCall(_) | Content::ToolResult(_));
            let block = writer.block(&part.content, &mut self.documents)?;
            let Some(turn) = self.turns.last_mut() else { continue };
            // Converse wants the results of tools before anything else of their turn.
            let is_result = matches!(part.content, Content::ToolResult(_));
            let into = if is_result { &mut turn.results } else { &mut turn.blocks };
            into.extend(block);
            if !into.is_empty() {
                into.extend(writer.cache_point(part.cache));
            }
        }
        self.drop_empty_turn();
        Ok(())
    }

    fn system_part(&mut self, part: &Part, writer: &mut Blocks<'_>) -> Result<(), IntakeError> {
        match &part.content {
            Content::Text(text) if text.trim().is_empty() => return Ok(()),
            Content::Text(text) => self.system.push(json!({"text": text})),
            Content::Native { dialect: Dialect::Bedrock, value } => self.system.push(value.clone()),
            _ => return writer.losses.drop("messages.content of the system"),
        }
        self.system.extend(writer.cache_point(part.cache));
        Ok(())
    }

    /// A message of nothing but blank text leaves no turn behind, so that its neighbours can merge.
    fn drop_empty_turn(&mut self) {
        if self.turns.last().is_some_and(|turn| turn.results.is_empty() && turn.blocks.is_empty()) {
            self.turns.pop();
        }
    }

    fn close(&mut self) {
        if self.turns.is_empty() {
            // Converse wants a user's turn; a prompt that came as the system's can be one without loss.
            let blocks = std::mem::take(&mut self.system);
            self.turns.push(Turn { is_user: true, results: Vec::new(), blocks });
        }
        // What the model is to continue may not end in white space.
        if let Some(last) = self.turns.last_mut().filter(|turn| !turn.is_user)
            && let Some(Value::String(text)) = last.blocks.last_mut().and_then(|block| block.get_mut("text"))
        {
            text.truncate(text.trim_end().len());
        }
    }

    /// Returns whether the last turn is the model's, to be continued.
    pub(super) fn is_prefilled(&self) -> bool {
        self.turns.last().is_some_and(|turn| !turn.is_user)
    }

    /// Adds a sentence to the system's prompt.
    pub(super) fn instruct(&mut self, sentence: String) {
        self.system.push(json!({"text": sentence}));
    }

    pub(super) fn messages(&mut self) -> Value {
        let turns = std::mem::take(&mut self.turns);
        let messages = turns.into_iter().map(|turn| {
            let role = if turn.is_user { "user" } else { "assistant" };
            let mut content = turn.results;
            content.extend(turn.blocks);
            json!({"role": role, "content": content})
        });
        messages.collect()
    }
}

/// Writes the blocks of one message.
struct Blocks<'l> {
    path: String,
    family: Family,
    vision: Option<bool>,
    losses: &'l mut Losses,
}

impl Blocks<'_> {
    fn block(&mut self, content: &Content, documents: &mut Vec<String>) -> Result<Option<Value>, IntakeError> {
        Ok(match content {
            // Converse refuses blank text.
            Content::Text(text) | Content::Refusal(text) if text.trim().is_empty() => None,
            Content::Text(text) | Content::Refusal(text) => Some(json!({"text": text})),
            Content::Image { source, .. } => Some(self.image(source)?),
            Content::File { source, name } => Some(self.document(source, name.as_deref(), documents)?),
            Content::Audio { .. } => {
                return Err(refusal(&self.path, "holds audio, which Bedrock does not take; send text"));
            }
            Content::Thinking(thinking) => self.thinking(thinking)?,
            Content::ToolCall(call) => Some(tool_use(call)),
            Content::ToolResult(result) => Some(self.tool_result(result, documents)?),
            Content::Native { dialect: Dialect::Bedrock, value } => Some(value.clone()),
            Content::Native { .. } => {
                self.losses.drop("messages.content of another provider's own type")?;
                None
            }
        })
    }

    fn cache_point(&self, mark: Option<CacheMark>) -> Option<Value> {
        // Only a hint: to leave it out changes the price, not the answer.
        match mark.filter(|_| self.family.caches())? {
            CacheMark::Default => Some(json!({"cachePoint": {"type": "default"}})),
            CacheMark::Long => Some(json!({"cachePoint": {"type": "default", "ttl": "1h"}})),
        }
    }

    fn thinking(&mut self, thinking: &Thinking) -> Result<Option<Value>, IntakeError> {
        let signed = thinking.signature.is_some() || thinking.encrypted.is_some();
        // A signature in Converse is Claude's, and the same at Anthropic.
        let own = matches!(thinking.vendor, Some(Dialect::Anthropic | Dialect::Bedrock)) && self.family.is_claude();
        if signed && !own {
            self.losses.tell("messages.content", "held another provider's thinking, which was left out");
            return Ok(None);
        }
        let block = |reasoning| Some(json!({"reasoningContent": reasoning}));
        Ok(match thinking {
            Thinking { signature: Some(signature), text, .. } => {
                block(json!({"reasoningText": {"text": text, "signature": signature}}))
            }
            Thinking { encrypted: Some(encrypted), .. } => block(json!({"redactedContent": encrypted})),
            // Without a proof the model would refuse it as not its own.
            _ => None,
        })
    }

    fn image(&self, source: &Source) -> Result<Value, IntakeError> {
        if self.vision == Some(false) {
            return Err(refusal(&self.path, "holds an image, which this model cannot see; choose another model"));
        }
        let (format, source) = match source {
            Source::Inline { media_type, data } => match media_type.as_str() {
                "image/png" => ("png", json!({"bytes": data})),
                "image/jpeg" | "image/jpg" => ("jpeg", json!({"bytes": data})),
                "image/gif" => ("gif", json!({"bytes": data})),
                "image/webp" => ("webp", json!({"bytes": data})),
                _ => return Err(self.unreadable("an image", "send PNG, JPEG, GIF or WebP")),
            },
            Source::Url(url) if url.starts_with("s3://") => (s3_format(url, "jpeg"), s3(url)),
            _ => return Err(self.unreadable("an image", "send its bytes, inline")),
        };
        Ok(json!({"image": {"format": format, "source": source}}))
    }

    fn document(&self, source: &Source, name: Option<&str>, documents: &mut Vec<String>) -> Result<Value, IntakeError> {
        let (format, source) = match source {
            Source::Text(text) => ("txt", json!({"bytes": STANDARD.encode(text)})),
            Source::Inline { media_type, data } => {
                let unknown =
                    || self.unreadable("a document", "send PDF, CSV, Word, Excel, HTML, Markdown or plain text");
                (document_format(media_type).ok_or_else(unknown)?, json!({"bytes": data}))
            }
            Source::Url(url) if url.starts_with("s3://") => (s3_format(url, "pdf"), s3(url)),
            _ => return Err(self.unreadable("a document", "send its bytes, inline")),
        };
        let name = document_name(name.unwrap_or_default(), documents);
        Ok(json!({"document": {"format": format, "name": name, "source": source}}))
    }

    fn unreadable(&self, what: &str, then: &str) -> IntakeError {
        refusal(&self.path, &format!("holds {what} in a form that Bedrock does not take; {then}"))
    }

    fn tool_result(&mut self, result: &ToolResult, documents: &mut Vec<String>) -> Result<Value, IntakeError> {
        let mut content = Vec::new();
        for part in &result.parts {
            match &part.content {
                Content::Thinking(_) | Content::ToolCall(_) | Content::ToolResult(_) => {
                    self.losses.drop("messages.content of a tool's result that is neither text nor file")?;
                }
                other => content.extend(self.block(other, documents)?),
            }
        }
        if content.is_empty() {
            // Blank text is refused there as everywhere.
            content.push(json!({"text": "(no output)"}));
        }
        let mut block = json!({"toolUseId": tool_use_id(&result.call_id), "content": content});
        // Only some models know `status`, and `success` is what they assume.
        if result.is_error {
            block["status"] = "error".into();
        }
        Ok(json!({"toolResult": block}))
    }
}

fn tool_use(call: &ToolCall) -> Value {
    let input = match serde_json::from_str(&call.arguments) {
        Ok(Value::Object(input)) if !call.custom => Value::Object(input),
        _ if call.arguments.trim().is_empty() => json!({}),
        // Not an object, which Converse wants: a custom tool's text, or what the model once got wrong.
        _ => json!({"input": call.arguments}),
    };
    json!({"toolUse": {"toolUseId": tool_use_id(&call.id), "name": call.name, "input": input}})
}

/// Returns the id if Converse takes it, else one made from it, the same for call and result.
fn tool_use_id(id: &str) -> Cow<'_, str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(fits) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(format!("call_{}", &blake3::hash(id.as_bytes()).to_hex()[..32]))
}

fn s3(url: &str) -> Value {
    json!({"s3Location": {"uri": url}})
}

fn s3_format<'u>(url: &'u str, otherwise: &'u str) -> &'u str {
    match url.rsplit_once('.') {
        Some((_, "jpg")) => "jpeg",
        Some((_, end)) if end.len() <= 4 && end.bytes().all(|byte| byte.is_ascii_lowercase()) => end,
        _ => otherwise,
    }
}

fn document_format(media_type: &str) -> Option<&'static str> {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    Some(match essence {
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/markdown" => "md",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        _ if essence.starts_with("text/") || essence == "application/json" => "txt",
        _ => return None,
    })
}

/// Returns a name that Converse takes and no other document of the request has.
fn document_name(name: &str, taken: &mut Vec<String>) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || " -()[]".contains(c) { c } else { '-' };
    let words: String = name.chars().map(fits).collect();
    let words: Vec<_> = words.split_ascii_whitespace().collect();
    let base = if words.is_empty() { "document".to_owned() } else { words.join(" ") };
    let numbered = |n: usize| if n == 1 { base.clone() } else { format!("{base} ({n})") };
    let free = (1..).map(numbered).find(|name| !taken.contains(name)).unwrap_or_default();
    taken.push(free.clone());
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_does_not_fit_is_replaced_the_same_way_everywhere() {
        assert_eq!(tool_use_id("tooluse_a.b:c-1"), "tooluse_a.b:c-1");
        assert_eq!(tool_use_id("a|b"), tool_use_id("a|b"));
        assert_ne!(tool_use_id("a|b"), tool_use_id("a/b"));
        assert!(tool_use_id(&"x".repeat(65)).len() <= ID_MAX);
    }

    #[test]
    fn documents_have_names_that_are_allowed_and_their_own() {
        let mut taken = Vec::new();

        assert_eq!(document_name("report_2026.pdf", &mut taken), "report-2026-pdf");
        assert_eq!(document_name("report_2026.pdf", &mut taken), "report-2026-pdf (2)");
        assert_eq!(document_name("", &mut taken), "document");
        assert_eq!(document_name("a \t b", &mut taken), "a - b");
    }
}
