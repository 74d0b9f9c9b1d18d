//! A stream on its way to the client: each event is forwarded as it came, replaced by a sound one, or dropped.
//!
//! Text and well-formed tool calls are never rebuilt. What does need a rebuild is done in `slow`.

use bytes::Bytes;

use super::event;
use super::facts::{Arguments, ChunkFacts, Finish, Malformed, TOOLS_MAX, ToolDelta, chunk_facts};
use super::slow;
use crate::providers::sse::SseEvent;
use crate::schema::Operation;
use bursar_actors::{Tier, Usage};

/// What to do with one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send [`SseEvent::raw`].
    Forward,
    /// Send these bytes, one or more whole events.
    Replace(Bytes),
    /// Send nothing.
    Drop,
    /// The upstream reports an error: judge the payload, send the client an error of our own, and stop.
    Error,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// `[DONE]` came.
    Complete,
    /// Every choice had finished, only `[DONE]` was missing; send this instead.
    CompleteWithoutDone(Bytes),
    /// It broke off, or nothing came: the client must be told by an error event.
    Truncated,
}

/// One tool call under way.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) upstream_index: Option<u32>,
    pub(super) id: Option<u64>,
    pub(super) name: Option<u64>,
    pub(super) custom: bool,
    pub(super) has_arguments: bool,
}

/// One choice under way.
#[derive(Debug, Default)]
pub(super) struct ChoiceState {
    pub(super) index: u32,
    pub(super) tools: Vec<Tool>,
    /// Why it ended, as the client reads it.
    pub(super) finish: Option<Finish>,
}

/// The state of one stream.
#[derive(Debug)]
pub struct StreamRepair {
    operation: Operation,
    include_usage: bool,
    usage: Option<Usage>,
    tier: Option<Tier>,
    output_bytes: u64,
    usage_sent: bool,
    failed: bool,
    done: bool,
    /// The first chunk with a choice, the pattern for chunks of our own.
    first: Option<Bytes>,
    choices: Vec<ChoiceState>,
}

impl StreamRepair {
    /// Starts a stream; `include_usage` is what the client asked for, not what the upstream was asked for.
    pub fn new(operation: Operation, include_usage: bool) -> Self {
        Self {
            operation,
            include_usage,
            usage: None,
            tier: None,
            output_bytes: 0,
            usage_sent: false,
            failed: false,
            done: false,
            first: None,
            choices: Vec::new(),
        }
    }

    /// Returns the last usage the upstream reported, and by which tier.
    pub fn usage(&self) -> Option<Usage> {
        self.usage.map(|usage| Usage { tier: self.tier.unwrap_or(usage.tier), ..usage })
    }

    /// Returns how many bytes of output have passed.
    pub fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// Returns why the first choice ended, as the client reads it, once it has.
    pub fn finish(&self) -> Option<Finish> {
        self.choices.iter().find(|choice| choice.index == 0)?.finish
    }

    /// Takes the next event and says what becomes of it.
    pub fn on_event(&mut self, event: &SseEvent) -> Result<(Action, ChunkFacts), Malformed> {
        let data = event.data();
        if data.trim_ascii() == b"[DONE]" {
            return self.on_done();
        }
        if event.is_error() {
            self.failed = true;
            return Ok((Action::Error, ChunkFacts { error: true, ..ChunkFacts::default() }));
        }
        let facts = chunk_facts(data)?;
        if facts.error || facts.finish == Some(Finish::Error) {
            self.failed = true;
            return Ok((Action::Error, ChunkFacts { error: true, ..facts }));
        }
        self.usage = facts.usage.or(self.usage);
        self.tier = facts.tier.or(self.tier);
        self.output_bytes += u64::from(facts.output_bytes);
        let action = self.decide(event, &facts)?;
        Ok((action, facts))
    }

    /// Says how the stream ended, once the upstream's bytes are over.
    pub fn end(&mut self) -> StreamEnd {
        if self.done {
            return StreamEnd::Complete;
        }
        let finished = !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finish.is_some());
        if self.failed || !finished {
            return StreamEnd::Truncated;
        }
        let mut tail = self.owed_usage().map_or_else(Vec::new, |chunk| chunk.to_vec());
        tail.extend_from_slice(b"data: [DONE]\n\n");
        self.done = true;
        StreamEnd::CompleteWithoutDone(tail.into())
    }

    fn decide(&mut self, event: &SseEvent, facts: &ChunkFacts) -> Result<Action, Malformed> {
        if facts.choices == 0 {
            return Ok(self.without_choices(facts));
        }
        if self.first.is_none() {
            self.first = Some(event.raw().clone());
        }
        let chat = self.operation == Operation::ChatCompletions;
        // The facts follow one choice per chunk.
        if chat && (facts.odd || facts.choices > 1) {
            return self.rebuild(event);
        }
        let state = choice(&mut self.choices, facts.choice_index);
        if !chat {
            state.finish = facts.first_finish.or(facts.finish).or(state.finish);
            return Ok(Action::Forward);
        }
        if !state.accepts(facts) {
            return self.rebuild(event);
        }
        state.apply(facts);
        Ok(Action::Forward)
    }

    /// Judges a chunk that has nothing in `choices`.
    fn without_choices(&mut self, facts: &ChunkFacts) -> Action {
        let wanted = if facts.usage.is_some() { self.include_usage } else { !self.choices.is_empty() };
        if !facts.has_choices || !wanted {
            return Action::Drop;
        }
        self.usage_sent |= facts.usage.is_some();
        Action::Forward
    }

    fn rebuild(&mut self, event: &SseEvent) -> Result<Action, Malformed> {
        Ok(slow::chunk(event.data(), &mut self.choices)?.map_or(Action::Forward, Action::Replace))
    }

    fn on_done(&mut self) -> Result<(Action, ChunkFacts), Malformed> {
        let facts = ChunkFacts { done: true, ..ChunkFacts::default() };
        if self.choices.is_empty() {
            return Err(Malformed::NoChoices);
        }
        self.done = true;
        let mut ahead = Vec::new();
        if self.operation == Operation::ChatCompletions {
            let open = self.choices.iter_mut().filter(|choice| choice.finish.is_none());
            for choice in open {
                ahead.extend_from_slice(&slow::finish_chunk(self.first.as_deref().unwrap_or_default(), choice));
            }
        }
        if let Some(usage) = self.owed_usage() {
            ahead.extend_from_slice(&usage);
        }
        if ahead.is_empty() {
            return Ok((Action::Forward, facts));
        }
        ahead.extend_from_slice(b"data: [DONE]\n\n");
        Ok((Action::Replace(ahead.into()), facts))
    }

    /// Returns the usage chunk the client asked for and has not got.
    fn owed_usage(&mut self) -> Option<Bytes> {
        if !self.include_usage || self.usage_sent {
            return None;
        }
        let usage = self.usage?;
        self.usage_sent = true;
        let mut chunk = slow::pattern(self.first.as_deref().unwrap_or_default());
        chunk["choices"] = serde_json::json!([]);
        chunk["usage"] = serde_json::json!({
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.total,
            "prompt_tokens_details": { "cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write },
            "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
        });
        Some(event(&chunk))
    }
}

/// Returns the state of a choice, new if it has not been seen.
pub(super) fn choice(choices: &mut Vec<ChoiceState>, index: u32) -> &mut ChoiceState {
    let position = choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
        choices.push(ChoiceState { index, ..ChoiceState::default() });
        choices.len() - 1
    });
    &mut choices[position]
}

impl ChoiceState {
    /// Returns whether a chunk with one choice can pass as it is.
    fn accepts(&self, facts: &ChunkFacts) -> bool {
        if self.tools.is_empty() && facts.tool_count == 0 {
            return facts.finish != Some(Finish::ToolCalls);
        }
        if facts.tool_count as usize > TOOLS_MAX {
            return false;
        }
        let mut known = self.tools.len();
        for tool in facts.tools() {
            match tool.index {
                Some(index) if (index as usize) < self.tools.len() => {
                    let of = &self.tools[index as usize];
                    let follows = tool.id.is_none() && tool.name.is_none() && tool.arguments != Arguments::Odd;
                    if !follows || of.upstream_index != Some(index) {
                        return false;
                    }
                }
                Some(index) if index as usize == known => {
                    let whole = tool.id.is_some() && tool.name.is_some() && tool.typed;
                    if !whole || !(tool.custom || matches!(tool.arguments, Arguments::Empty | Arguments::Text)) {
                        return false;
                    }
                    known += 1;
                }
                _ => return false,
            }
        }
        match facts.finish {
            None | Some(Finish::Length | Finish::ContentFilter) => true,
            Some(Finish::ToolCalls) => self.all_have_arguments(facts),
            _ => false,
        }
    }

    fn all_have_arguments(&self, facts: &ChunkFacts) -> bool {
        let said = |index: usize| {
            let matches =
                |tool: &ToolDelta| tool.index == u32::try_from(index).ok() && tool.arguments == Arguments::Text;
            facts.tools().iter().any(matches)
        };
        let open = facts.tools().iter().all(|tool| {
            tool.custom || said(tool.index.unwrap_or(0) as usize) || {
                self.tools.get(tool.index.unwrap_or(0) as usize).is_some_and(|tool| tool.has_arguments)
            }
        });
        let earlier = self.tools.iter().enumerate();
        open && earlier.into_iter().all(|(index, tool)| tool.custom || tool.has_arguments || said(index))
    }

    fn apply(&mut self, facts: &ChunkFacts) {
        for tool in facts.tools() {
            let index = tool.index.unwrap_or(0) as usize;
            match self.tools.get_mut(index) {
                Some(known) => known.has_arguments |= tool.arguments == Arguments::Text,
                None => self.tools.push(Tool {
                    upstream_index: tool.index,
                    id: tool.id,
                    name: tool.name,
                    custom: tool.custom,
                    has_arguments: tool.arguments == Arguments::Text,
                }),
            }
        }
        self.finish = facts.finish.or(self.finish);
    }
}
