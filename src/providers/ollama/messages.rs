//! The conversation as Ollama takes it: text in one piece, images beside it, results of tools as messages of their own.

use serde_json::{Map, Value, json};

use crate::providers::losses::{Losses, document_text, refusal, told};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Content, Dialect, Message, Part, Role, Source, Thinking, ToolCall, ToolResult};

/// Writes the messages of one request.
pub(super) struct Messages<'r> {
    pub(super) request: &'r ChatRequest,
    pub(super) vision: Option<bool>,
    pub(super) losses: &'r mut Losses,
}

/// What a message holds, by kind.
#[derive(Default)]
struct Gathered {
    texts: Vec<String>,
    images: Vec<String>,
    thinking: String,
    calls: Vec<Value>,
}

impl Messages<'_> {
    /// Returns the messages.
    pub(super) fn write(&mut self) -> Result<Vec<Value>, IntakeError> {
        let mut out = Vec::new();
        for (at, message) in self.request.messages.iter().enumerate() {
            self.losses.drop_if(message.name.is_some(), "messages.name")?;
            self.message(message, &format!("messages[{at}].content"), &mut out)?;
        }
        Ok(out)
    }

    fn message(&mut self, message: &Message, path: &str, out: &mut Vec<Value>) -> Result<(), IntakeError> {
        let role = match message.role {
            Role::System | Role::Developer => "system",
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        let mut own = Gathered::default();
        let mut only_results = !message.parts.is_empty();
        for part in &message.parts {
            if let Content::ToolResult(result) = &part.content {
                out.push(self.tool_result(result, path)?);
            } else {
                only_results = false;
                self.part(part, path, &mut own)?;
            }
        }
        if !only_results {
            out.push(own.write(role));
        }
        Ok(())
    }

    fn part(&mut self, part: &Part, path: &str, into: &mut Gathered) -> Result<(), IntakeError> {
        match &part.content {
            Content::Text(text) | Content::Refusal(text) => into.texts.push(text.clone()),
            Content::Image { source, .. } => into.images.push(self.image(source, path)?),
            Content::File { source, name } => {
                let Some(text) = document_text(source) else {
                    return Err(refusal(
                        path,
                        "holds a document that is not plain text, which Ollama does not take; send text",
                    ));
                };
                into.texts.push(name.as_ref().map_or_else(|| text.clone(), |name| format!("{name}\n\n{text}")));
            }
            Content::Audio { .. } => {
                return Err(refusal(path, "holds audio, which Ollama does not take; send text"));
            }
            Content::Thinking(Thinking { vendor: None | Some(Dialect::Ollama), text, .. }) => {
                into.thinking.push_str(text);
            }
            Content::Thinking(_) => {
                self.losses.tell("messages.content", "held another provider's thinking, which was left out")
            }
            Content::ToolCall(call) => into.calls.push(tool_call(call, into.calls.len())),
            Content::ToolResult(_) => self.losses.drop("messages.content of a tool's result within another")?,
            Content::Native { .. } => self.losses.drop("messages.content of another provider's own type")?,
        }
        Ok(())
    }

    fn image(&self, source: &Source, path: &str) -> Result<String, IntakeError> {
        if self.vision == Some(false) {
            return Err(refusal(path, "holds an image, which this model cannot see; choose another model"));
        }
        match source {
            Source::Inline { data, .. } => Ok(data.clone()),
            _ => Err(refusal(path, "names an image that Ollama would not fetch; send its bytes, inline")),
        }
    }

    fn tool_result(&mut self, result: &ToolResult, path: &str) -> Result<Value, IntakeError> {
        let mut gathered = Gathered::default();
        for part in told(result).iter() {
            self.part(part, path, &mut gathered)?;
        }
        let mut message = gathered.write("tool");
        message["tool_call_id"] = result.call_id.as_str().into();
        let name = result.name.as_deref().or_else(|| self.request.tool_of_call(&result.call_id));
        if let Some(name) = name {
            message["tool_name"] = name.into();
        }
        Ok(message)
    }
}

impl Gathered {
    fn write(self, role: &str) -> Value {
        let mut message = Map::new();
        message.insert("role".into(), role.into());
        message.insert("content".into(), self.texts.join("\n").into());
        if !self.images.is_empty() {
            message.insert("images".into(), self.images.into());
        }
        if !self.thinking.is_empty() {
            message.insert("thinking".into(), self.thinking.into());
        }
        if !self.calls.is_empty() {
            message.insert("tool_calls".into(), self.calls.into());
        }
        Value::Object(message)
    }
}

fn tool_call(call: &ToolCall, index: usize) -> Value {
    let arguments = match serde_json::from_str(&call.arguments) {
        Ok(Value::Object(arguments)) if !call.custom => Value::Object(arguments),
        _ if call.arguments.trim().is_empty() => json!({}),
        // Not an object, which Ollama wants: a custom tool's text, or what the model once got wrong.
        _ => json!({"input": call.arguments}),
    };
    json!({"id": call.id, "function": {"index": index, "name": call.name, "arguments": arguments}})
}
