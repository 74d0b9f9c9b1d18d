//! How many tokens a request has, for routes on which nobody can count them.

use bytes::Bytes;
use serde_json::json;

use crate::schema::chat::{ChatRequest, Content, Part, Source, Tool};

/// Tokens an image costs at most with the providers in use.
const IMAGE: u64 = 1_600;
/// Tokens around each message: its role and its borders.
const MESSAGE: u64 = 4;
/// Base64 letters of a document per token: a page of 3,000 tokens has some 50 KB.
const LETTERS_PER_TOKEN: u64 = 24;

/// Returns about how many tokens `request` has: 4 ASCII bytes, or 2 of other writing, per token. Within some tens of per
/// cent for plain text; nobody's tokenizer is asked.
pub fn estimate_tokens(request: &ChatRequest) -> u64 {
    let messages = request.messages.iter().map(|message| MESSAGE + parts(&message.parts));
    let tools = request.tools.iter().map(|tool| MESSAGE + self::tool(tool));
    (messages.sum::<u64>() + tools.sum::<u64>()).max(1)
}

/// Returns the reply to a request to count tokens.
pub fn count_tokens_body(tokens: u64) -> Bytes {
    json!({ "input_tokens": tokens }).to_string().into()
}

fn text(text: &str) -> u64 {
    let wide = text.bytes().filter(|byte| !byte.is_ascii()).count();
    ((text.len() - wide).div_ceil(4) + wide.div_ceil(2)) as u64
}

fn parts(parts: &[Part]) -> u64 {
    let tokens = parts.iter().map(|part| match &part.content {
        Content::Text(said) | Content::Refusal(said) => text(said),
        Content::Image { .. } => IMAGE,
        Content::Audio { data, .. } => data.len() as u64 / LETTERS_PER_TOKEN,
        Content::File { source, .. } => match source {
            Source::Text(said) => text(said),
            Source::Inline { data, .. } => data.len() as u64 / LETTERS_PER_TOKEN,
            Source::Url(_) | Source::Id { .. } => IMAGE,
        },
        Content::Thinking(thinking) => text(&thinking.text),
        Content::ToolCall(call) => text(&call.name) + text(&call.arguments) + MESSAGE,
        Content::ToolResult(answer) => self::parts(&answer.parts) + MESSAGE,
        Content::Native { value, .. } => text(&value.to_string()),
    });
    tokens.sum()
}

fn tool(tool: &Tool) -> u64 {
    let words = |words: &Option<String>| words.as_deref().map_or(0, text);
    match tool {
        Tool::Function(function) => {
            let schema = function.parameters.as_ref().map_or(0, |schema| text(&schema.to_string()));
            text(&function.name) + words(&function.description) + schema
        }
        Tool::Custom { name, description, .. } => text(name) + words(description),
        Tool::Native { value, .. } => text(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::chat::{Message, Role};

    #[test]
    fn every_kind_of_content_counts() {
        let said = |content: Content| {
            let message = Message::new(Role::User, vec![Part::new(content)]);
            estimate_tokens(&ChatRequest { messages: vec![message], ..ChatRequest::default() })
        };

        assert_eq!(said(Content::Text("four and four".into())), MESSAGE + 4);
        assert_eq!(said(Content::Text("\u{4f60}\u{597d}".into())), MESSAGE + 3);
        assert_eq!(said(Content::Image { source: Source::Url("x".into()), detail: None }), MESSAGE + IMAGE);
        assert_eq!(estimate_tokens(&ChatRequest::default()), 1);
        assert_eq!(&count_tokens_body(7)[..], b"{\"input_tokens\":7}");
    }
}
