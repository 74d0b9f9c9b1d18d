//! What one streamed chunk, or one whole reply, says about itself: read in a single pass, without allocating.

use std::marker::PhantomData;

use serde::de::{DeserializeSeed, MapAccess};

use super::fold::{Array, Fold, Items, Object, raw, skip};
use super::usage::UsageFold;
use bursar_actors::{Tier, Usage};

use crate::providers::usage::RawUsage;

/// Why bytes that should be a reply are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the provider answered with nothing")]
    Empty,
    #[error("the provider answered with a web page, not JSON")]
    Html,
    #[error("the provider's answer is not valid JSON")]
    NotJson,
    #[error("the provider's answer has no choices")]
    NoChoices,
}

/// Why a choice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    Stop,
    Length,
    ToolCalls,
    FunctionCall,
    ContentFilter,
    /// The provider gave up; never shown to a client as a finish reason.
    Error,
    /// An empty string, or a word no client knows.
    Unknown,
}

impl Finish {
    /// Reads a reason from the text between its quotes; the OpenAI words and those of the providers that differ.
    pub(in crate::providers) fn read(reason: &str) -> (Self, Shape) {
        match reason {
            "stop" => (Self::Stop, Shape::Sound),
            "length" => (Self::Length, Shape::Sound),
            "tool_calls" => (Self::ToolCalls, Shape::Sound),
            "function_call" => (Self::FunctionCall, Shape::Sound),
            "content_filter" => (Self::ContentFilter, Shape::Sound),
            "error" | "network_error" => (Self::Error, Shape::Odd),
            "sensitive" | "safety" | "SAFETY" => (Self::ContentFilter, Shape::Odd),
            "max_tokens" | "MAX_TOKENS" | "model_length" => (Self::Length, Shape::Odd),
            "" => (Self::Unknown, Shape::Odd),
            // eos, eos_token, end_turn, STOP …: the model was done.
            _ => (Self::Stop, Shape::Odd),
        }
    }

    /// Returns the word clients know.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stop | Self::Unknown | Self::Error => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::FunctionCall => "function_call",
            Self::ContentFilter => "content_filter",
        }
    }

    /// Returns the word for records and logs, as [`Finish::as_str`](crate::schema::chat::Finish::as_str) says it: an old
    /// client's function is a tool like any other.
    pub fn as_str(self) -> &'static str {
        if self == Self::FunctionCall { Self::ToolCalls.word() } else { self.word() }
    }
}

/// Whether something is as clients expect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::providers) enum Shape {
    Sound,
    Odd,
}

/// How the arguments of a tool call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Arguments {
    #[default]
    Missing,
    Empty,
    Text,
    /// An object, null or anything else that is not a string.
    Odd,
}

/// One entry of `tool_calls`; id and name as hashes of their JSON text, so that nothing need be copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ToolDelta {
    pub(super) index: Option<u32>,
    pub(super) id: Option<u64>,
    pub(super) name: Option<u64>,
    pub(super) typed: bool,
    pub(super) custom: bool,
    pub(super) arguments: Arguments,
    /// Something only the slow path can judge.
    odd: bool,
    /// A body, of either kind, has been seen.
    body_seen: bool,
    output_bytes: u32,
}

/// Tool deltas of one chunk that are looked at without building the chunk.
pub(super) const TOOLS_MAX: usize = 4;

/// What one chunk says.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChunkFacts {
    /// It carries output: text, reasoning, a refusal, a tool call, audio.
    pub meaningful: bool,
    /// The last choice in it that ended.
    pub finish: Option<Finish>,
    /// The first choice, whose index is 0, where it ended.
    pub first_finish: Option<Finish>,
    /// It carries an error in place of, or beside, its choices.
    pub error: bool,
    pub usage: Option<Usage>,
    /// It has usage and `choices: []`.
    pub usage_only: bool,
    pub has_tool_calls: bool,
    /// `choices` is there and an array or null.
    pub has_choices: bool,
    pub choices_empty: bool,
    /// It is the mark `[DONE]`, not a chunk.
    pub done: bool,
    pub(super) choices: u32,
    pub(super) choice_index: u32,
    pub(super) tools: [ToolDelta; TOOLS_MAX],
    pub(super) tool_count: u32,
    /// Something only the slow path can judge.
    pub(super) odd: bool,
    pub(super) raw_usage: Option<RawUsage>,
    /// The tier that served, where it names one.
    pub tier: Option<Tier>,
    /// Bytes of output in it, as JSON text: what an estimate of its tokens goes by.
    pub output_bytes: u32,
    pub(super) place: UsagePlace,
    /// `data` of an embeddings reply.
    pub(super) has_data: bool,
}

/// Where usage was found; a later place in this list counts more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UsagePlace {
    #[default]
    None,
    Groq,
    Choice,
    Top,
}

/// Reads one chunk's payload.
pub fn chunk_facts(payload: &[u8]) -> Result<ChunkFacts, Malformed> {
    let mut facts = ChunkFacts::default();
    let mut parser = serde_json::Deserializer::from_slice(payload);
    let read = Object(&mut facts).deserialize(&mut parser).and_then(|()| parser.end());
    if read.is_err() {
        return Err(malformed(payload));
    }
    let tier = facts.tier.unwrap_or_default();
    facts.usage = facts.raw_usage.and_then(|raw| RawUsage { tier, ..raw }.normalise());
    facts.choices_empty = facts.has_choices && facts.choices == 0;
    facts.usage_only = facts.choices_empty && facts.usage.is_some();
    facts.has_tool_calls = facts.tool_count > 0;
    facts.odd |= facts.choices > 1 && (facts.has_tool_calls || facts.finish.is_some());
    Ok(facts)
}

/// Says what bytes are that are no JSON.
pub(super) fn malformed(payload: &[u8]) -> Malformed {
    match payload.trim_ascii_start().first() {
        None => Malformed::Empty,
        Some(b'<') => Malformed::Html,
        Some(_) => Malformed::NotJson,
    }
}

impl ChunkFacts {
    /// Returns the tool deltas that were kept.
    pub(super) fn tools(&self) -> &[ToolDelta] {
        &self.tools[..(self.tool_count as usize).min(TOOLS_MAX)]
    }

    fn take_usage<'de, A: MapAccess<'de>>(&mut self, map: &mut A, place: UsagePlace) -> Result<(), A::Error> {
        let mut found = UsageFold::default();
        map.next_value_seed(Object(&mut found))?;
        if found.seen && place >= self.place {
            (self.raw_usage, self.place) = (Some(found.usage), place);
        }
        Ok(())
    }
}

impl<'de> Fold<'de> for ChunkFacts {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "choices" => {
                // Given twice, both would be counted here while a client sees the last only.
                self.odd |= self.has_choices;
                self.has_choices = true;
                map.next_value_seed(Array(self, PhantomData::<Choice>))
            }
            "usage" => self.take_usage(map, UsagePlace::Top),
            "x_groq" => {
                let mut groq = Groq(self);
                map.next_value_seed(Object(&mut groq))
            }
            "error" => {
                let value = raw(map)?;
                self.error |= !matches!(value, "null" | "false" | "\"\"" | "0" | "{}");
                Ok(())
            }
            "service_tier" => {
                let word = raw(map)?.trim_matches('"');
                self.tier = (word != "null").then(|| Tier::served(word));
                Ok(())
            }
            "object" => {
                self.error |= raw(map)? == "\"error\"";
                Ok(())
            }
            "data" => {
                self.has_data = raw(map)?.starts_with('[');
                Ok(())
            }
            _ => skip(map),
        }
    }
}

impl Items<Choice> for ChunkFacts {
    fn begin(&mut self) -> Choice {
        Choice::default()
    }

    fn end(&mut self, choice: Choice) {
        if self.choices == 0 {
            self.choice_index = choice.index.unwrap_or(0);
        }
        if choice.index.unwrap_or(self.choices) == 0 {
            self.first_finish = choice.finish.or(self.first_finish);
        }
        self.choices += 1;
        self.odd |= choice.index.is_none() || choice.odd || self.tool_count > 0 && choice.tool_count > 0;
        self.meaningful |= choice.meaningful;
        self.output_bytes = self.output_bytes.saturating_add(choice.output_bytes);
        let failed = self.finish == Some(Finish::Error);
        self.finish = choice.finish.filter(|_| !failed).or(self.finish);
        if choice.tool_count > 0 {
            (self.tools, self.tool_count) = (choice.tools, choice.tool_count);
        }
        if let Some(usage) = choice.usage.filter(|_| self.place <= UsagePlace::Choice) {
            (self.raw_usage, self.place) = (Some(usage), UsagePlace::Choice);
        }
    }

    fn misshapen(&mut self) {
        self.has_choices = false;
    }
}

struct Groq<'f>(&'f mut ChunkFacts);

impl<'de> Fold<'de> for Groq<'_> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "usage" => self.0.take_usage(map, UsagePlace::Groq),
            "error" => {
                self.0.error |= raw(map)? != "null";
                Ok(())
            }
            _ => skip(map),
        }
    }
}

/// One choice, and its delta or message.
#[derive(Default)]
pub(super) struct Choice {
    index: Option<u32>,
    meaningful: bool,
    output_bytes: u32,
    finish: Option<Finish>,
    odd: bool,
    delta_seen: bool,
    tools_seen: bool,
    tools: [ToolDelta; TOOLS_MAX],
    tool_count: u32,
    usage: Option<RawUsage>,
}

impl<'de> Fold<'de> for Choice {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "index" => self.index = raw(map)?.parse().ok(),
            "delta" | "message" => {
                self.odd |= self.delta_seen;
                self.delta_seen = true;
                let mut delta = Delta(self);
                map.next_value_seed(Object(&mut delta))?;
            }
            "text" => self.output(raw(map)?),
            "finish_reason" => self.finish_reason(raw(map)?),
            "usage" => {
                let mut found = UsageFold::default();
                map.next_value_seed(Object(&mut found))?;
                self.usage = found.seen.then_some(found.usage);
            }
            _ => skip(map)?,
        }
        Ok(())
    }

    fn misshapen(&mut self) {
        self.odd = true;
    }
}

impl Choice {
    /// Notes a field that may hold output.
    fn output(&mut self, value: &str) {
        if has_text(value) {
            self.meaningful = true;
            self.output_bytes = self.output_bytes.saturating_add(unquoted(value));
        }
    }

    fn finish_reason(&mut self, value: &str) {
        let Some(reason) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            self.odd |= value != "null";
            return;
        };
        let (finish, shape) = Finish::read(reason);
        self.odd |= shape == Shape::Odd;
        self.finish = (finish != Finish::Unknown).then_some(finish);
    }
}

impl Items<ToolDelta> for Choice {
    fn begin(&mut self) -> ToolDelta {
        ToolDelta::default()
    }

    fn end(&mut self, tool: ToolDelta) {
        match self.tools.get_mut(self.tool_count as usize) {
            Some(slot) => *slot = tool,
            None => self.odd = true,
        }
        self.tool_count += 1;
        self.meaningful = true;
        self.output_bytes = self.output_bytes.saturating_add(tool.output_bytes);
        self.odd |= tool.odd;
    }

    fn misshapen(&mut self) {
        self.odd = true;
    }
}

struct Delta<'f>(&'f mut Choice);

impl<'de> Fold<'de> for Delta<'_> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "content" => {
                let value = raw(map)?;
                self.0.odd |= value.starts_with(['[', '{']);
                self.0.output(value);
            }
            "reasoning_content" | "reasoning" | "refusal" | "reasoning_details" | "audio" | "function_call" => {
                self.0.output(raw(map)?);
            }
            "tool_calls" => {
                self.0.odd |= self.0.tools_seen;
                self.0.tools_seen = true;
                map.next_value_seed(Array(&mut *self.0, PhantomData::<ToolDelta>))?;
            }
            _ => skip(map)?,
        }
        Ok(())
    }

    fn misshapen(&mut self) {
        self.0.odd = true;
    }
}

impl<'de> Fold<'de> for ToolDelta {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "index" => self.index = raw(map)?.parse().ok(),
            "id" => {
                let value = raw(map)?;
                self.odd |= !is_plain(value);
                self.id = identity(value);
            }
            "type" => {
                let value = raw(map)?;
                self.typed = value.starts_with('"');
                self.odd |= !is_plain(value);
                self.custom |= value == "\"custom\"";
            }
            "function" | "custom" => {
                let kind = if key == "custom" { Body::Custom } else { Body::Function };
                self.odd |= self.body_seen;
                self.body_seen = true;
                self.custom |= kind == Body::Custom;
                let mut body = Function(self, kind);
                map.next_value_seed(Object(&mut body))?;
            }
            _ => skip(map)?,
        }
        Ok(())
    }

    fn misshapen(&mut self) {
        self.odd = true;
    }
}

/// Which of its two bodies a tool call has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Function,
    Custom,
}

struct Function<'f>(&'f mut ToolDelta, Body);

impl<'de> Fold<'de> for Function<'_> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => {
                let value = raw(map)?;
                self.0.odd |= !is_plain(value);
                self.0.name = identity(value);
            }
            "arguments" | "input" if (key == "input") == (self.1 == Body::Custom) => {
                let value = raw(map)?;
                self.0.output_bytes = unquoted(value);
                self.0.arguments = match value {
                    "\"\"" => Arguments::Empty,
                    _ if value.starts_with('"') => Arguments::Text,
                    _ => Arguments::Odd,
                };
            }
            _ => skip(map)?,
        }
        Ok(())
    }

    fn misshapen(&mut self) {
        self.0.odd = true;
    }
}

/// Returns whether a JSON text is null, or a string in the one spelling that needs no escapes: what is spelt otherwise
/// has another [`identity`] once it is parsed.
fn is_plain(value: &str) -> bool {
    value == "null" || value.starts_with('"') && !value.contains('\\')
}

/// Returns the length of a JSON text in bytes, without the quotes of a string.
fn unquoted(value: &str) -> u32 {
    u32::try_from(value.len().saturating_sub(2)).unwrap_or(u32::MAX)
}

/// Returns whether a JSON text holds any output: not null, not empty.
fn has_text(value: &str) -> bool {
    !matches!(value, "null" | "\"\"" | "[]" | "{}" | "false")
}

/// Returns the FNV-1a hash of a JSON text, or `None` for null and the empty string.
pub(super) fn identity(value: &str) -> Option<u64> {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    has_text(value).then(|| value.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
}
