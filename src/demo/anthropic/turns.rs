//! The turns of a conversation: messages of one role in a row are one turn, and calls and results must meet.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::reply::Refusal;
use super::{Version, blocks, wrong};

pub(super) struct Turns<'a>(Vec<Turn<'a>>);

struct Turn<'a> {
    role: &'a str,
    blocks: Vec<Block<'a>>,
}

/// A block, and where it stands.
pub(super) struct Block<'a> {
    pub(super) at: String,
    pub(super) role: &'a str,
    pub(super) value: Cow<'a, Value>,
}

impl Block<'_> {
    pub(super) fn kind(&self) -> &str {
        self.value["type"].as_str().unwrap_or_default()
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.value[name].as_str().unwrap_or_default()
    }
}

/// Returns the blocks of a message's content; a text is one block.
pub(super) fn blocks_of(content: &Value) -> Vec<Cow<'_, Value>> {
    match content {
        Value::String(text) => vec![Cow::Owned(json!({"type": "text", "text": text}))],
        Value::Array(blocks) => blocks.iter().map(Cow::Borrowed).collect(),
        _ => Vec::new(),
    }
}

impl<'a> Turns<'a> {
    pub(super) fn read(messages: &'a Value, version: Version, seed: u64) -> Result<Self, Refusal> {
        let messages = messages.as_array().map_or(&[][..], Vec::as_slice);
        let role = |message: &'a Value| message["role"].as_str().unwrap_or_default();
        match messages.first() {
            None => return Err(wrong("messages: at least one message is required")),
            Some(first) if role(first) != "user" => {
                return Err(wrong("messages: first message must use the \"user\" role"));
            }
            Some(_) => {}
        }
        let mut turns: Vec<Turn<'a>> = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            let role = role(message);
            let blocks = blocks_of(&message["content"]);
            let last = index + 1 == messages.len();
            if blocks.is_empty() && !(last && role == "assistant") {
                return Err(wrong(format!("messages.{index}: all messages must have non-empty content")));
            }
            let blocks = blocks.into_iter().enumerate().map(|(place, value)| {
                let at = format!("messages.{index}.content.{place}");
                Block { at, role, value }
            });
            match turns.last_mut() {
                Some(turn) if turn.role == role => turn.blocks.extend(blocks),
                _ => turns.push(Turn { role, blocks: blocks.collect() }),
            }
        }
        let turns = Self(turns);
        turns.blocks().try_for_each(|block| blocks::check(block, version, seed))?;
        turns.check_results()?;
        turns.check_prefill()?;
        Ok(turns)
    }

    fn blocks(&self) -> impl Iterator<Item = &Block<'a>> {
        self.0.iter().flat_map(|turn| &turn.blocks)
    }

    /// Refuses calls without results right after them, and results without calls right before them.
    fn check_results(&self) -> Result<(), Refusal> {
        let mut pending: BTreeSet<&str> = BTreeSet::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for turn in &self.0 {
            let leading = turn.blocks.iter().take_while(|block| block.kind() == "tool_result").count();
            for (place, block) in turn.blocks.iter().enumerate().filter(|(_, block)| block.kind() == "tool_result") {
                if !pending.remove(block.text("tool_use_id")) {
                    let id = block.text("tool_use_id");
                    return Err(wrong(format!(
                        "{}: unexpected `tool_use_id` found in `tool_result` blocks: {id}; each must have its `tool_use` \
                        in the message before",
                        block.at
                    )));
                }
                if place >= leading {
                    return Err(wrong(format!("{}: `tool_result` blocks must come first in their message", block.at)));
                }
            }
            if !pending.is_empty() {
                return Err(unanswered(&pending));
            }
            for block in turn.blocks.iter().filter(|block| block.kind() == "tool_use") {
                let id = block.text("id");
                if !seen.insert(id) {
                    return Err(wrong(format!("{}.id: `tool_use` ids must be unique; `{id}` stands twice", block.at)));
                }
                pending.insert(id);
            }
        }
        if pending.is_empty() { Ok(()) } else { Err(unanswered(&pending)) }
    }

    fn check_prefill(&self) -> Result<(), Refusal> {
        let last = self.0.last().filter(|turn| turn.role == "assistant").and_then(|turn| turn.blocks.last());
        if last.is_some_and(|block| block.text("text").ends_with(char::is_whitespace)) {
            return Err(wrong("messages: final assistant content cannot end with trailing whitespace"));
        }
        Ok(())
    }

    /// Refuses a turn that goes on after tool results and whose calls came without the thoughts before them.
    pub(super) fn check_thoughts_lead(&self) -> Result<(), Refusal> {
        let [.., calls, last] = self.0.as_slice() else { return Ok(()) };
        let goes_on = last.blocks.iter().any(|block| block.kind() == "tool_result");
        match calls.blocks.first() {
            Some(first) if goes_on && !matches!(first.kind(), "thinking" | "redacted_thinking") => Err(wrong(format!(
                "{}.type: Expected `thinking` or `redacted_thinking`, but found `{}`; while thinking is enabled, an \
                assistant message before tool results must start with its thinking block",
                first.at,
                first.kind()
            ))),
            _ => Ok(()),
        }
    }

    /// Returns the last text of the user's, the blocks of a turn joined.
    pub(super) fn user_text(&self) -> String {
        let texts = |turn: &Turn<'_>| {
            let texts: Vec<&str> =
                turn.blocks.iter().filter(|block| block.kind() == "text").map(|block| block.text("text")).collect();
            texts.join("\n")
        };
        self.0
            .iter()
            .rev()
            .filter(|turn| turn.role == "user")
            .map(texts)
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    }

    /// Returns what the last turn of the user's brought besides text.
    pub(super) fn brought(&self) -> Vec<&'static str> {
        let last = self.0.iter().rev().find(|turn| turn.role == "user");
        let kind = |block: &Block<'_>| match block.kind() {
            "image" => Some("image"),
            "document" | "container_upload" => Some("file"),
            _ => None,
        };
        last.into_iter().flat_map(|turn| &turn.blocks).filter_map(kind).collect()
    }

    /// Returns the results of tools in the last turn.
    pub(super) fn results(&self) -> Vec<String> {
        let last = self.0.last().into_iter().flat_map(|turn| &turn.blocks);
        last.filter(|block| block.kind() == "tool_result")
            .map(|block| super::super::text::content(&block.value).into_owned())
            .collect()
    }

    pub(super) fn user_spoke_last(&self) -> bool {
        self.0.last().is_some_and(|turn| turn.role == "user")
    }
}

fn unanswered(pending: &BTreeSet<&str>) -> Refusal {
    let ids: Vec<&str> = pending.iter().copied().collect();
    wrong(format!(
        "`tool_use` ids were found without `tool_result` blocks immediately after: {}; each `tool_use` must have its \
        `tool_result` in the next message",
        ids.join(", ")
    ))
}
