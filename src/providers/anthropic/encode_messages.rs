//! The conversation of a Messages request: turns of user and assistant, each result of a tool right behind its call.

use serde_json::{Value, json};

use super::encode::Encoding;
use super::encode_parts::{Place, blocks, call_ids, result};
use super::write::call_id;
use crate::providers::losses::refusal;
use crate::schema::IntakeError;
use crate::schema::chat::{CacheMark, ChatRequest, Content, Dialect, Message, Part, Role, ToolResult};

/// What stands in for a turn that must not be empty.
const NOTHING: &str = ".";
/// Asks for what a started answer asks for where a model does not take one.
const GO_ON: &str = "Go on with your last message right where it ends; repeat nothing of it.";

/// One turn under way.
#[derive(Debug)]
struct Turn {
    role: &'static str,
    /// How many results of tools it begins with.
    results: usize,
    blocks: Vec<Value>,
}

/// Writes `system` and `messages`.
pub(super) fn messages(encoding: &mut Encoding<'_>) -> Result<(), IntakeError> {
    let request = encoding.request;
    let is_system = |message: &&Message| matches!(message.role, Role::System | Role::Developer);
    let leading = request.messages.iter().take_while(is_system).count();
    let (head, rest) = request.messages.split_at(leading);
    let mut system = Vec::new();
    for message in head {
        system.extend(blocks(encoding, &message.parts, Place::System)?);
    }
    let mut turns: Vec<Turn> = Vec::new();
    for message in rest {
        match message.role {
            Role::System | Role::Developer => mid_system(encoding, message, &mut turns)?,
            Role::User => {
                let blocks = blocks(encoding, &message.parts, Place::User)?;
                push(&mut turns, "user", blocks);
            }
            Role::Assistant => {
                let blocks = blocks(encoding, &message.parts, Place::Assistant)?;
                push(&mut turns, "assistant", blocks);
            }
            Role::Tool => results(encoding, message, &mut turns)?,
        }
    }
    answer_orphans(encoding, &mut turns)?;
    if turns.first().is_none_or(|turn| turn.role != "user") {
        turns.insert(0, Turn { role: "user", results: 0, blocks: vec![text(NOTHING)] });
    }
    prefill(encoding, &mut turns)?;
    system.extend(encoding.instructions.iter().map(|instruction| text(instruction)));
    if !system.is_empty() {
        encoding.put("system", system);
    }
    let turns: Vec<Value> =
        turns.into_iter().map(|turn| json!({ "role": turn.role, "content": turn.blocks })).collect();
    encoding.put("messages", turns);
    Ok(())
}

pub(super) fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// Marks a block or tool for the cache.
pub(super) fn mark(block: &mut Value, cache: Option<CacheMark>) {
    match cache {
        None => {}
        Some(CacheMark::Default) => block["cache_control"] = json!({ "type": "ephemeral" }),
        Some(CacheMark::Long) => block["cache_control"] = json!({ "type": "ephemeral", "ttl": "1h" }),
    }
}

/// Returns whether the conversation is in the middle of tool calls that came without Anthropic's thinking: then models that
/// think by budget must not start to.
pub(super) fn continues_without_thinking(request: &ChatRequest) -> bool {
    let says = |role: Role| move |message: &Message| message.role == role;
    let last_said = request.messages.iter().rposition(says(Role::User));
    let last_result = request.messages.iter().rposition(says(Role::Tool));
    if last_result.is_none() || last_result < last_said {
        return false;
    }
    let calls = |message: &&Message| message.parts.iter().any(|part| matches!(part.content, Content::ToolCall(_)));
    request.messages.iter().rfind(calls).is_some_and(|message| !message.parts.first().is_some_and(is_own_thinking))
}

/// Returns whether a part is thinking that Anthropic will know as its own.
pub(super) fn is_own_thinking(part: &Part) -> bool {
    match &part.content {
        Content::Thinking(thinking) => {
            thinking.vendor == Some(Dialect::Anthropic)
                && (thinking.signature.is_some() || thinking.encrypted.is_some())
        }
        _ => false,
    }
}

/// Adds to the last turn if that is the same role's, else begins one.
fn push(turns: &mut Vec<Turn>, role: &'static str, blocks: Vec<Value>) {
    if blocks.is_empty() {
        return;
    }
    match turns.last_mut() {
        Some(turn) if turn.role == role => turn.blocks.extend(blocks),
        _ => turns.push(Turn { role, results: 0, blocks }),
    }
}

/// Keeps an instruction where it stands, because in front it would mean something else.
fn mid_system(encoding: &mut Encoding<'_>, message: &Message, turns: &mut Vec<Turn>) -> Result<(), IntakeError> {
    let mut blocks = blocks(encoding, &message.parts, Place::System)?;
    let awaits_results = turns.last().is_some_and(|turn| !call_ids(&turn.blocks).is_empty());
    if encoding.model.mid_system && !awaits_results {
        push(turns, "system", blocks);
        return Ok(());
    }
    for block in &mut blocks {
        let wrapped = format!("<system>\n{}\n</system>", block["text"].as_str().unwrap_or_default());
        block["text"] = wrapped.into();
    }
    push(turns, "user", blocks);
    Ok(())
}

/// Puts results in front of the turn behind their calls.
fn results(encoding: &mut Encoding<'_>, message: &Message, turns: &mut Vec<Turn>) -> Result<(), IntakeError> {
    for part in &message.parts {
        let Content::ToolResult(answer) = &part.content else { continue };
        let caller = turns.iter().rposition(|turn| turn.role == "assistant");
        let known = caller.is_some_and(|at| call_ids(&turns[at].blocks).contains(&call_id(&answer.call_id)));
        if !known {
            let what = "has the result of a tool that the assistant's turn before does not call; send that call first";
            return Err(refusal("messages", what));
        }
        let mut block = result(encoding, answer)?;
        mark(&mut block, part.cache);
        if turns.last().is_some_and(|turn| turn.role != "user") {
            turns.push(Turn { role: "user", results: 0, blocks: Vec::new() });
        }
        if let Some(turn) = turns.last_mut() {
            turn.blocks.insert(turn.results, block);
            turn.results += 1;
        }
    }
    Ok(())
}

/// Answers calls that nobody answered, without which the conversation is refused.
fn answer_orphans(encoding: &mut Encoding<'_>, turns: &mut Vec<Turn>) -> Result<(), IntakeError> {
    let mut at = 0;
    while at < turns.len() {
        let calls = if turns[at].role == "assistant" { call_ids(&turns[at].blocks) } else { Vec::new() };
        at += 1;
        if calls.is_empty() {
            continue;
        }
        if turns.get(at).is_none_or(|turn| turn.role != "user") {
            turns.insert(at, Turn { role: "user", results: 0, blocks: Vec::new() });
        }
        let turn = &mut turns[at];
        for id in calls {
            let answered = turn.blocks[..turn.results].iter().any(|block| block["tool_use_id"] == id.as_str());
            if !answered {
                encoding
                    .losses
                    .note("messages", "has a tool call without a result; an error was sent as its result")?;
                let (call_id, parts) = (id, vec![Part::text("(no result)")]);
                let missing = result(encoding, &ToolResult { call_id, name: None, parts, is_error: true })?;
                turn.blocks.insert(turn.results, missing);
                turn.results += 1;
            }
        }
    }
    Ok(())
}

/// Lets the model go on with an answer that the client started, by the role or, where it does not take that, by words.
fn prefill(encoding: &mut Encoding<'_>, turns: &mut Vec<Turn>) -> Result<(), IntakeError> {
    let Some(last) = turns.last_mut().filter(|turn| turn.role == "assistant") else { return Ok(()) };
    if encoding.model.prefill && !encoding.thinks {
        // White space at its end is refused.
        if let Some(block) = last.blocks.last_mut().filter(|block| block["type"] == "text") {
            let trimmed = block["text"].as_str().unwrap_or_default().trim_end().to_owned();
            block["text"] = trimmed.into();
        }
        return Ok(());
    }
    encoding
        .losses
        .note("messages", "ends with an assistant message, which the model is only asked in words to go on with")?;
    turns.push(Turn { role: "user", results: 0, blocks: vec![text(GO_ON)] });
    Ok(())
}
