//! Replies in Gemini's shape, whole; the pieces that streams are written from as well.

use bursar_actors::Usage;
use bytes::Bytes;
use serde_json::{Value, json};

use super::contents::arguments;
use super::logprobs;
use crate::schema::chat::{ChatReply, ChatRequest, Choice, Citation, Content, Dialect, Finish, Thinking, ToolCall};

/// Whether the client asked to see thoughts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thoughts {
    Shown,
    Hidden,
}

impl Thoughts {
    /// Reads it from the request; Gemini shows none unless asked.
    pub(super) fn wanted(request: &ChatRequest) -> Self {
        let shown = request.reasoning.as_ref().is_some_and(|reasoning| reasoning.show == Some(true));
        if shown { Self::Shown } else { Self::Hidden }
    }
}

/// Writes a whole reply.
pub(super) fn write(reply: &ChatReply, request: &ChatRequest) -> Bytes {
    let thoughts = Thoughts::wanted(request);
    let candidates: Vec<Value> = reply.choices.iter().map(|choice| candidate(choice, thoughts)).collect();
    let mut whole = json!({ "candidates": candidates, "modelVersion": reply.model });
    if let Some(usage) = &reply.usage {
        whole["usageMetadata"] = usage_metadata(usage);
    }
    if !reply.id.is_empty() {
        whole["responseId"] = reply.id.as_str().into();
    }
    whole.to_string().into()
}

fn candidate(choice: &Choice, thoughts: Thoughts) -> Value {
    let parts: Vec<Value> = choice.parts.iter().filter_map(|part| self::part(&part.content, thoughts)).collect();
    let mut candidate = json!({
        "index": choice.index,
        "content": { "role": "model", "parts": parts },
        "finishReason": choice.finish.as_ref().map_or("STOP", finish_reason),
    });
    if !choice.citations.is_empty() {
        candidate["groundingMetadata"] = grounding(&choice.citations);
    }
    if let Some(result) = choice.logprobs.as_ref().and_then(logprobs::from_openai) {
        candidate["logprobsResult"] = result;
    }
    candidate
}

fn part(content: &Content, thoughts: Thoughts) -> Option<Value> {
    match content {
        Content::Text(text) | Content::Refusal(text) => Some(json!({ "text": text })),
        Content::Thinking(thinking) => thought(thinking, thoughts),
        Content::ToolCall(call) => Some(function_call(call)),
        Content::Image { source: crate::schema::chat::Source::Inline { media_type, data }, .. } => {
            Some(json!({ "inlineData": { "mimeType": media_type, "data": data } }))
        }
        Content::Native { dialect: Dialect::Gemini, value } => Some(value.clone()),
        _ => None,
    }
}

fn thought(thinking: &Thinking, thoughts: Thoughts) -> Option<Value> {
    // A client that knows only Gemini's signatures would send another vendor's back as one of them.
    let signature = thinking.signature.as_ref().filter(|_| thinking.vendor == Some(Dialect::Gemini));
    let shown = thoughts == Thoughts::Shown && !thinking.text.is_empty();
    let mut part = match (shown, signature) {
        (true, _) => json!({ "text": thinking.text, "thought": true }),
        (false, Some(_)) => json!({ "text": "" }),
        (false, None) => return None,
    };
    if let Some(signature) = signature {
        part["thoughtSignature"] = signature.as_str().into();
    }
    Some(part)
}

/// Returns the part of a whole call.
pub(super) fn function_call(call: &ToolCall) -> Value {
    let mut part = json!({ "functionCall": { "id": call.id, "name": call.name, "args": arguments(call) } });
    if let Some(signature) = &call.signature {
        part["thoughtSignature"] = signature.as_str().into();
    }
    part
}

/// Returns the sources an answer names.
pub(super) fn grounding(citations: &[Citation]) -> Value {
    let chunk = |citation: &Citation| json!({ "web": { "uri": citation.url, "title": citation.title } });
    json!({ "groundingChunks": citations.iter().map(chunk).collect::<Vec<_>>() })
}

/// Returns the usage in Gemini's arithmetic: candidates without thoughts, the total with everything.
pub(super) fn usage_metadata(usage: &Usage) -> Value {
    let mut metadata = json!({
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.completion.saturating_sub(usage.reasoning),
        "totalTokenCount": usage.total,
    });
    if usage.reasoning > 0 {
        metadata["thoughtsTokenCount"] = usage.reasoning.into();
    }
    if usage.cached > 0 {
        metadata["cachedContentTokenCount"] = usage.cached.into();
    }
    metadata
}

/// Returns Gemini's word for an end.
pub(super) fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop { .. } | Finish::ToolCalls => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::ContentFilter => "SAFETY",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::dialect::UpstreamDialect;
    use crate::providers::gemini::Gemini;
    use crate::schema::chat::{Part, Reasoning};

    fn reply() -> ChatReply {
        let call = ToolCall {
            id: "c".into(),
            name: "f".into(),
            arguments: r#"{"a":1}"#.into(),
            custom: false,
            signature: Some("s".into()),
        };
        let vendor = Some(Dialect::Gemini);
        let thinking = Thinking { text: "hm".into(), signature: Some("t".into()), vendor, ..Thinking::default() };
        let parts = [Content::Thinking(thinking), Content::Text("hi".into()), Content::ToolCall(call)];
        let choice = Choice {
            parts: parts.into_iter().map(Part::new).collect(),
            finish: Some(Finish::ToolCalls),
            citations: vec![Citation { url: "https://a.b".into(), title: "t".into(), start: None, end: None }],
            ..Choice::default()
        };
        let usage = Usage { prompt: 10, completion: 30, total: 40, cached: 4, reasoning: 20, ..Usage::default() };
        ChatReply {
            id: "r".into(),
            model: "m".into(),
            choices: vec![choice],
            usage: Some(usage),
            ..ChatReply::default()
        }
    }

    fn request(show: bool) -> ChatRequest {
        let reasoning = Some(Reasoning { show: Some(show), ..Reasoning::default() });
        ChatRequest { reasoning, ..ChatRequest::default() }
    }

    #[test]
    fn what_is_written_is_read_the_same_again() {
        let written = write(&reply(), &request(true));

        assert_eq!(Gemini { vertex: false }.decode(&written).unwrap(), reply());
    }

    #[test]
    fn figures_stand_in_gemini_s_arithmetic() {
        let written: Value = serde_json::from_slice(&write(&reply(), &request(false))).unwrap();

        let expected = json!({
            "promptTokenCount": 10, "candidatesTokenCount": 10, "thoughtsTokenCount": 20, "totalTokenCount": 40,
            "cachedContentTokenCount": 4,
        });
        assert_eq!(written["usageMetadata"], expected);
        assert_eq!(written["candidates"][0]["finishReason"], "STOP");
    }

    #[test]
    fn thoughts_are_hidden_unless_asked_for_but_their_signature_is_not() {
        let written: Value = serde_json::from_slice(&write(&reply(), &request(false))).unwrap();

        let parts = &written["candidates"][0]["content"]["parts"];
        assert_eq!(parts[0], json!({"text": "", "thoughtSignature": "t"}));
    }
}
