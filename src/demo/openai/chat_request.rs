//! A chat request, checked: what OpenAI would refuse is refused here, so that a gateway's mistakes show.

use serde_json::Value;

use super::super::reply::Refusal;
use super::super::speech::Format;
use super::super::text;
use super::super::tools::Callable;
use super::parameters::{self, Streaming, present};
use super::tools;

const MAX_CHOICES: u64 = 16;
/// Tokens that each message costs beyond its text.
const TOKENS_PER_MESSAGE: usize = 3;
/// Tokens that an image, a file or a sound costs.
const TOKENS_PER_ATTACHMENT: usize = 85;

pub(super) struct ChatRequest<'a> {
    pub(super) messages: &'a [Value],
    /// Most tokens of an answer.
    pub(super) limit: usize,
    pub(super) stop: Vec<&'a str>,
    pub(super) choices: usize,
    pub(super) streaming: Streaming,
    pub(super) tools: Callable<'a>,
    pub(super) format: Format<'a>,
    /// Whether the model is to think before it answers.
    pub(super) thinks: bool,
    pub(super) prompt_tokens: usize,
}

/// Bounds on the search for a schema in a prompt.
const SCHEMA_TEXT_MAX: usize = 64 * 1024;
const SCHEMA_STARTS_MAX: usize = 16;

impl<'a> ChatRequest<'a> {
    /// Returns the JSON Schema that a message describes the wanted object with, as libraries write it that ask for
    /// `json_object` and put the schema into the prompt.
    pub(super) fn schema_in_words(&self) -> Option<Value> {
        let texts = self.messages.iter().filter_map(|message| message["content"].as_str());
        texts.filter(|text| text.len() <= SCHEMA_TEXT_MAX).find_map(|text| {
            let starts = text.match_indices('{').map(|(at, _)| at);
            starts.take(SCHEMA_STARTS_MAX).find_map(|at| {
                let first = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>().next()?.ok()?;
                first["properties"].is_object().then_some(first)
            })
        })
    }

    pub(super) fn read(body: &'a Value) -> Result<Self, Refusal> {
        let messages = parameters::list(body, "messages")?.unwrap_or_default();
        if messages.is_empty() {
            let message = "`messages` is missing or empty";
            return Err(Refusal::invalid("messages", "missing_required_parameter", message));
        }
        check_messages(messages)?;
        parameters::check_sampling(body)?;
        let limit = match parameters::whole(body, "max_completion_tokens", 1..=u64::MAX)? {
            Some(limit) => Some(limit),
            None => parameters::whole(body, "max_tokens", 1..=u64::MAX)?,
        };
        Ok(Self {
            messages,
            limit: limit.unwrap_or(usize::MAX),
            stop: parameters::stop(body)?,
            choices: parameters::whole(body, "n", 1..=MAX_CHOICES)?.unwrap_or(1),
            streaming: parameters::streaming(body)?,
            tools: tools::read(body)?,
            format: format(body)?,
            thinks: parameters::text(body, "reasoning_effort")?.is_some_and(|effort| effort != "none"),
            prompt_tokens: messages.iter().map(message_tokens).sum::<usize>() + tools::tokens(body),
        })
    }

    /// Returns the text of the last message of the user's.
    pub(super) fn user_text(&self) -> std::borrow::Cow<'a, str> {
        self.messages.iter().rev().find(|message| role(message) == "user").map(text::content).unwrap_or_default()
    }

    /// Returns what the last message of the user's brought besides text.
    pub(super) fn brought(&self) -> Vec<&'static str> {
        let last = self.messages.iter().rev().find(|message| role(message) == "user");
        let parts = last.and_then(|message| message["content"].as_array()).into_iter().flatten();
        let kind = |part: &Value| match part["type"].as_str()? {
            "image_url" => Some("image"),
            "input_audio" => Some("sound"),
            "file" => Some("file"),
            _ => None,
        };
        parts.filter_map(kind).collect()
    }

    /// Returns the results of tools that stand at the end of the messages, oldest first.
    pub(super) fn tool_results(&self) -> Vec<String> {
        let at_end =
            self.messages.iter().rev().take_while(|message| matches!(role(message), "tool" | "function")).count();
        let results = &self.messages[self.messages.len() - at_end..];
        results.iter().map(|message| text::content(message).into_owned()).collect()
    }

    /// Whether it is the user who spoke last.
    pub(super) fn user_spoke_last(&self) -> bool {
        self.messages.last().is_some_and(|message| role(message) == "user")
    }
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

fn message_tokens(message: &Value) -> usize {
    let parts = message.get("content").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let attachments = parts.iter().filter(|part| part.get("text").is_none()).count();
    let calls = message.get("tool_calls").map_or(0, |calls| text::count(&calls.to_string()));
    TOKENS_PER_MESSAGE + text::count(&text::content(message)) + attachments * TOKENS_PER_ATTACHMENT + calls
}

fn check_messages(messages: &[Value]) -> Result<(), Refusal> {
    let mut pending: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        match role(message) {
            "tool" => {
                let id = message.get("tool_call_id").and_then(Value::as_str).unwrap_or_default();
                let Some(place) = pending.iter().position(|pending| *pending == id) else {
                    let reason = format!("{at} answers tool call `{id}`, which no message before it makes");
                    return Err(Refusal::invalid(&at, "invalid_value", reason));
                };
                pending.swap_remove(place);
            }
            "assistant" => {
                check_answered(&pending, &at)?;
                let calls = message.get("tool_calls").and_then(Value::as_array);
                pending = calls.into_iter().flatten().filter_map(|call| call.get("id")?.as_str()).collect();
                if pending.is_empty() {
                    continue; // An assistant's content may be null for many reasons, such as a refusal.
                }
            }
            "user" | "system" | "developer" => {
                check_answered(&pending, &at)?;
                check_content(message, &at)?;
            }
            "function" => {}
            other => {
                let reason =
                    format!("{at} has the role `{other}`; known: developer, system, user, assistant, tool, function");
                return Err(Refusal::invalid(&format!("{at}.role"), "invalid_value", reason));
            }
        }
    }
    check_answered(&pending, "the end")
}

/// Refuses messages that go on while a tool call waits for its result.
fn check_answered(pending: &[&str], at: &str) -> Result<(), Refusal> {
    match pending.first() {
        None => Ok(()),
        Some(id) => {
            let reason = format!("tool call `{id}` has no message with its result before {at}");
            Err(Refusal::invalid("messages", "invalid_value", reason))
        }
    }
}

fn check_content(message: &Value, at: &str) -> Result<(), Refusal> {
    let param = format!("{at}.content");
    match message.get("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) => {
            match parts.iter().find(|part| part.get("type").is_none_or(|kind| !kind.is_string())) {
                None => Ok(()),
                Some(part) => {
                    let reason =
                        format!("{param} has a part without a `type`: {}", text::excerpt(&part.to_string(), 60));
                    Err(Refusal::invalid(&param, "invalid_value", reason))
                }
            }
        }
        _ => Err(Refusal::invalid(&param, "invalid_type", format!("{param} must be a string or an array of parts"))),
    }
}

fn format(body: &Value) -> Result<Format<'_>, Refusal> {
    let Some(format) = present(body, "response_format") else { return Ok(Format::Text) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::JsonObject),
        Some("json_schema") => {
            let described = format.get("json_schema");
            if described.and_then(|described| described.get("name")?.as_str()).is_none() {
                let param = "response_format.json_schema.name";
                return Err(Refusal::invalid(param, "missing_required_parameter", format!("`{param}` is missing")));
            }
            Ok(described.and_then(|described| described.get("schema")).map_or(Format::JsonObject, Format::Schema))
        }
        _ => {
            let reason = "`response_format.type` must be `text`, `json_object` or `json_schema`";
            Err(Refusal::invalid("response_format.type", "invalid_value", reason))
        }
    }
}
