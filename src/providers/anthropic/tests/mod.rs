//! Tests of the mapping rules, by direction.

mod client;
mod streams;
mod upstream;

use serde_json::Value;

use super::Anthropic;
use crate::providers::dialect::{ClientDialect, ModelFacts, Target, UpstreamDialect, WireRequest};
use crate::schema::IntakeError;
use crate::schema::chat::{ChatRequest, Content};

/// Reads a client's request.
fn read(body: Value) -> Result<ChatRequest, IntakeError> {
    Anthropic.read(body.to_string().as_bytes())
}

/// Writes a request for a model of which nothing more is known.
fn encode(request: &ChatRequest, model: &str, strict: bool) -> Result<WireRequest, IntakeError> {
    let facts = ModelFacts::default();
    Anthropic.encode(request, &Target { model, model_facts: &facts, strict })
}

/// Returns the body that goes out, and the warnings.
fn sent(request: &ChatRequest, model: &str) -> (Value, Vec<String>) {
    let wire = encode(request, model, false).unwrap();
    (serde_json::from_slice(&wire.body).unwrap(), wire.warnings)
}

/// Returns the kinds and texts of all parts, for short comparisons.
fn shown(request: &ChatRequest) -> Vec<String> {
    let parts = request.messages.iter().flat_map(|message| {
        message.parts.iter().map(move |part| {
            let content = match &part.content {
                Content::Text(text) => text.clone(),
                Content::ToolCall(call) => format!("{}({}) = {}", call.name, call.arguments, call.id),
                Content::ToolResult(answer) => {
                    format!("{} {}: {}", answer.call_id, answer.name.as_deref().unwrap_or("?"), answer.parts.len())
                }
                Content::Thinking(thinking) => format!("{:?} {}", thinking.vendor, thinking.text),
                Content::Image { source, .. } => format!("image {source:?}"),
                Content::File { source, name } => format!("file {source:?} {name:?}"),
                Content::Native { value, .. } => format!("native {}", value["type"]),
                other => format!("{other:?}"),
            };
            format!("{:?}: {content}", message.role)
        })
    });
    parts.collect()
}
