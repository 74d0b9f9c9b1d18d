//! The conversation as Gemini's `contents`: two roles in turn, results beside each other, calls with their signatures.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::media;
use crate::providers::dialect::Target;
use crate::providers::losses::{Losses, refusal};
use crate::schema::IntakeError;
use crate::schema::chat::{
    ChatRequest, Content, Dialect, Message, Part, Role, Source, Thinking, ToolCall, ToolResult, plain_text,
};

/// The signature that Google documents for calls that come from elsewhere.
const DUMMY_SIGNATURE: &str = "skip_thought_signature_validator";

/// The conversation in Gemini's shape.
pub(super) struct Conversation {
    pub(super) system: Option<Value>,
    pub(super) contents: Vec<Value>,
}

/// Whether calls must be signed, and whether results may hold media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// Before Gemini 3.
    Older,
    Three,
}

/// One entry of `contents` under construction.
#[derive(Debug)]
struct Turn {
    role: &'static str,
    /// With the place of the call that each answers.
    results: Vec<(usize, Value)>,
    parts: Vec<Value>,
    /// Ids of the calls in it.
    calls: Vec<String>,
}

struct Builder<'a> {
    target: &'a Target<'a>,
    generation: Generation,
    names: HashMap<&'a str, &'a str>,
    turns: Vec<Turn>,
    losses: &'a mut Losses,
}

/// Writes the messages of `request`.
pub(super) fn conversation(
    request: &ChatRequest,
    target: &Target<'_>,
    generation: Generation,
    losses: &mut Losses,
) -> Result<Conversation, IntakeError> {
    let leading = request.messages.iter().take_while(|message| is_system(message)).count();
    let (head, rest) = request.messages.split_at(leading);
    let mut system: Vec<Value> =
        head.iter().map(Message::plain_text).filter(|text| !text.is_empty()).map(text).collect();
    let mut builder = Builder { target, generation, names: names(request), turns: Vec::new(), losses };
    for (index, message) in rest.iter().enumerate() {
        builder.message(message, &format!("messages[{}]", leading + index))?;
    }
    let mut turns = builder.turns;
    turns.retain(|turn| !turn.results.is_empty() || !turn.parts.is_empty());
    if turns.is_empty() {
        // Gemini wants contents: what only instructs is then said by the user.
        turns.push(Turn::new("user", std::mem::take(&mut system)));
    } else if turns[0].role == "model" {
        turns.insert(0, Turn::new("user", vec![text(" ".to_owned())]));
    }
    if turns[0].parts.is_empty() && turns[0].results.is_empty() {
        return Err(refusal("messages", "has nothing to answer; send a message with content"));
    }
    if generation == Generation::Three {
        sign(&mut turns);
    }
    let system = (!system.is_empty()).then(|| json!({ "parts": system }));
    Ok(Conversation { system, contents: turns.into_iter().map(Turn::finish).collect() })
}

fn is_system(message: &Message) -> bool {
    matches!(message.role, Role::System | Role::Developer)
}

fn text(text: String) -> Value {
    json!({ "text": text })
}

fn names(request: &ChatRequest) -> HashMap<&str, &str> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let calls = parts.filter_map(|part| match &part.content {
        Content::ToolCall(call) => Some((call.id.as_str(), call.name.as_str())),
        _ => None,
    });
    calls.collect()
}

/// Gives the first call of each step of the current turn a signature where it has none; Gemini 3 refuses it otherwise.
fn sign(turns: &mut [Turn]) {
    let begins = turns.iter().rposition(|turn| turn.role == "user" && turn.results.is_empty()).unwrap_or(0);
    for turn in turns.iter_mut().skip(begins).filter(|turn| turn.role == "model") {
        let first = turn.parts.iter_mut().find(|part| part.get("functionCall").is_some());
        if let Some(part) = first.filter(|part| part.get("thoughtSignature").is_none()) {
            part["thoughtSignature"] = DUMMY_SIGNATURE.into();
        }
    }
}

impl Turn {
    fn new(role: &'static str, parts: Vec<Value>) -> Self {
        Self { role, results: Vec::new(), parts, calls: Vec::new() }
    }

    fn finish(mut self) -> Value {
        self.results.sort_by_key(|(place, _)| *place);
        let results = self.results.into_iter().map(|(_, part)| part);
        let parts: Vec<Value> = results.chain(self.parts).collect();
        json!({ "role": self.role, "parts": parts })
    }
}

impl Builder<'_> {
    /// Returns the turn of `role` under way, or a new one.
    fn turn(&mut self, role: &'static str) -> &mut Turn {
        let last = self.turns.last().map(|turn| turn.role);
        if last != Some(role) {
            self.turns.push(Turn::new(role, Vec::new()));
        }
        self.turns.last_mut().expect("a turn of this role has just been pushed where there was none")
    }

    fn message(&mut self, message: &Message, path: &str) -> Result<(), IntakeError> {
        if message.name.as_ref().is_some_and(|name| !name.is_empty()) {
            self.losses.leave_out("messages[].name", "Gemini knows no names of speakers")?;
        }
        if is_system(message) {
            let said = message.plain_text();
            if !said.is_empty() {
                self.turn("user").parts.push(text(format!("<system>\n{said}\n</system>")));
            }
            return Ok(());
        }
        let role = if message.role == Role::Assistant { "model" } else { "user" };
        for (index, part) in message.parts.iter().enumerate() {
            let path = format!("{path}.content[{index}]");
            match &part.content {
                Content::ToolResult(result) => self.result(result, &path)?,
                content => {
                    if let Some(value) = self.part(content, &path)? {
                        let turn = self.turn(role);
                        if let Content::ToolCall(call) = content {
                            turn.calls.push(call.id.clone());
                        }
                        turn.parts.push(value);
                    }
                }
            }
        }
        Ok(())
    }

    fn part(&mut self, content: &Content, path: &str) -> Result<Option<Value>, IntakeError> {
        let part = match content {
            Content::Text(said) | Content::Refusal(said) => (!said.is_empty()).then(|| text(said.clone())),
            Content::Image { source, detail } => {
                if detail.as_deref().is_some_and(|detail| detail != "auto") {
                    self.losses.leave_out("detail", "Gemini chooses the resolution of images itself")?;
                }
                Some(self.image(source, path)?)
            }
            Content::Audio { data, format } => Some(media::audio(format, data)),
            Content::File { source, .. } => Some(media::part(source, path, "application/pdf")?),
            Content::Thinking(thinking) => thought(thinking),
            Content::ToolCall(call) => Some(function_call(call)),
            Content::Native { dialect: Dialect::Gemini, value } => Some(value.clone()),
            Content::Native { .. } => {
                self.losses.leave_out("messages[].content", "a part is known to its own vendor only")?;
                None
            }
            Content::ToolResult(_) => None,
        };
        Ok(part)
    }

    fn image(&self, source: &Source, path: &str) -> Result<Value, IntakeError> {
        if self.target.model_facts.vision == Some(false) {
            return Err(refusal(path, "is an image, which the model cannot see; choose a model with vision"));
        }
        media::part(source, path, "image/jpeg")
    }

    fn result(&mut self, result: &ToolResult, path: &str) -> Result<(), IntakeError> {
        let name = result.name.as_deref().or_else(|| self.names.get(result.call_id.as_str()).copied());
        let Some(name) = name.map(str::to_owned) else {
            return Err(refusal(
                path,
                "answers a call that is not in the conversation; send the call before its result",
            ));
        };
        let mut media = Vec::new();
        for (index, part) in result.parts.iter().enumerate() {
            if !matches!(part.content, Content::Text(_) | Content::ToolResult(_)) {
                media.extend(self.part(&part.content, &format!("{path}.content[{index}]"))?);
            }
        }
        let mut response = json!({ "name": name, "response": response(&result.parts, result.is_error) });
        if !result.call_id.is_empty() {
            response["id"] = result.call_id.as_str().into();
        }
        if self.generation == Generation::Three && !media.is_empty() {
            let (nested, beside): (Vec<_>, Vec<_>) = media.into_iter().partition(|part| part.get("text").is_none());
            response["parts"] = nested.into();
            media = beside;
        }
        let answered = self.turns.iter().rev().find(|turn| turn.role == "model");
        let place = answered.and_then(|turn| turn.calls.iter().position(|id| *id == result.call_id));
        let turn = self.turn("user");
        turn.results.push((place.unwrap_or(usize::MAX), json!({ "functionResponse": response })));
        turn.parts.append(&mut media);
        Ok(())
    }
}

/// Returns what a tool answered as the object that Gemini wants.
fn response(parts: &[Part], is_error: bool) -> Value {
    let text = plain_text(parts);
    if is_error {
        return json!({ "error": text });
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(object @ Value::Object(_)) => object,
        Ok(list @ Value::Array(_)) => json!({ "output": list }),
        _ => json!({ "output": text }),
    }
}

/// Returns a thought that Gemini can check to be its own; others are of no use to it.
fn thought(thinking: &Thinking) -> Option<Value> {
    let signature = thinking.signature.as_ref().filter(|_| thinking.vendor == Some(Dialect::Gemini))?;
    if thinking.text.is_empty() {
        return Some(json!({ "text": "", "thoughtSignature": signature }));
    }
    Some(json!({ "text": thinking.text, "thought": true, "thoughtSignature": signature }))
}

fn function_call(call: &ToolCall) -> Value {
    let mut value = json!({ "functionCall": { "id": call.id, "name": call.name, "args": arguments(call) } });
    if let Some(signature) = &call.signature {
        value["thoughtSignature"] = signature.as_str().into();
    }
    value
}

/// Returns a call's arguments as an object; free text stands under `input`.
pub(super) fn arguments(call: &ToolCall) -> Value {
    match serde_json::from_str::<Value>(&call.arguments) {
        Ok(object @ Value::Object(_)) if !call.custom => object,
        Ok(Value::Null) if !call.custom => json!({}),
        _ if call.arguments.trim().is_empty() && !call.custom => json!({}),
        _ => json!({ "input": call.arguments }),
    }
}

#[cfg(test)]
#[path = "contents_tests.rs"]
mod tests;
