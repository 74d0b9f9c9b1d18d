//! Reads a streamed reply, whatever its provider makes of the dialect: numbers of calls that are missing, ids told over and
//! over, thought in one of five places, a stream that ends without an end.

use bursar_actors::{Tier, Usage};
use serde_json::Value;
use serde_json::value::RawValue;

use super::delta::{self, ChoiceIn, ChunkIn, FunctionIn, Loose, MessageIn, ToolIn};
use super::details;
use super::table::Row;
use super::think::{Piece, ThinkTags};
use crate::providers::dialect::{Nonsense, Step, StreamReader};
use crate::providers::framing::Frame;
use crate::providers::openai::{Finish as Word, chunk_facts};
use crate::schema::chat::{Chunk, Citation, Dialect, Finish, Thinking};

/// The state of one stream.
#[derive(Debug)]
pub(super) struct ChatReader {
    row: &'static Row,
    started: bool,
    /// Of the reply's id, for ids that have to be made up.
    seed: String,
    choices: Vec<ChoiceState>,
    /// Perplexity's sources as they came last; they belong to all of the text.
    sources: Option<Box<RawValue>>,
    /// The tier that some chunk named.
    tier: Option<Tier>,
}

#[derive(Debug)]
struct ChoiceState {
    index: u32,
    /// Follows `<think>` tags, where the provider may use them.
    tags: Option<ThinkTags>,
    /// Thought is under way, and what was thought so far.
    thinking: bool,
    thought: String,
    /// A delta has said something, so that a whole message is a repetition.
    spoke: bool,
    tools: Vec<ToolState>,
    finished: bool,
}

#[derive(Debug)]
struct ToolState {
    /// As the provider counts.
    number: Option<i64>,
    id: String,
    name: String,
    custom: bool,
    signature: Option<String>,
    /// A call is told once its name is complete: with its first arguments.
    told: bool,
}

impl StreamReader for ChatReader {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<Chunk>) -> Result<Step, Nonsense> {
        let data = frame.data.trim_ascii();
        if data == b"[DONE]" {
            self.end(out);
            return Ok(Step::Done);
        }
        if frame.event == Some(b"error") {
            return Ok(Step::Error);
        }
        if data.is_empty() {
            return Ok(Step::More);
        }
        self.take(data, out)
    }

    fn is_complete(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finished)
    }
}

impl ChatReader {
    /// Starts at the beginning of a stream.
    pub(super) fn new(row: &'static Row) -> Self {
        Self { row, started: false, seed: String::new(), choices: Vec::new(), sources: None, tier: None }
    }

    /// Takes one chunk, or a whole reply.
    pub(super) fn take(&mut self, data: &[u8], out: &mut Vec<Chunk>) -> Result<Step, Nonsense> {
        delta::read(data, |chunk, text| Ok(self.chunk(chunk, text, out)))
    }

    /// The provider says that this was all: ends the choices that it forgot to end.
    pub(super) fn end(&mut self, out: &mut Vec<Chunk>) {
        let sources = self.sources.take();
        for state in &mut self.choices {
            if !state.finished {
                state.finish(Finish::Stop { sequence: None }, sources.as_deref(), out);
            }
        }
    }

    fn chunk(&mut self, chunk: ChunkIn<'_>, text: &[u8], out: &mut Vec<Chunk>) -> Step {
        let choices = chunk.choices.unwrap_or_default();
        let failed = |choice: &ChoiceIn<'_>| {
            choice.error.is_some() || choice.finish_reason.text().is_some_and(|word| Word::read(word).0 == Word::Error)
        };
        let told = chunk.error.is_some() || chunk.x_groq.is_some() || chunk.object.text() == Some("error");
        let has_usage =
            chunk.usage.is_some() || chunk.x_groq.is_some() || choices.iter().any(|choice| choice.usage.is_some());
        let facts = (told || has_usage).then(|| chunk_facts(text).ok()).flatten();
        if facts.is_some_and(|facts| facts.error) || choices.iter().any(failed) {
            return Step::Error;
        }
        self.tier = chunk.service_tier.text().map(Tier::served).or(self.tier);
        if !choices.is_empty() && !std::mem::replace(&mut self.started, true) {
            let id = chunk.id.into_text();
            let plain = id.bytes().filter(u8::is_ascii_alphanumeric).map(char::from).collect::<String>();
            self.seed = plain[plain.len().saturating_sub(12)..].to_owned();
            out.push(Chunk::Start {
                id,
                created: chunk.created.integer().unwrap_or(0),
                model: chunk.model.into_text(),
                service_tier: chunk.service_tier.text().map(str::to_owned),
                system_fingerprint: chunk.system_fingerprint.text().map(str::to_owned),
            });
        }
        if let Some(sources) = chunk.search_results.or(chunk.citations)
            && self.sources.as_ref().is_none_or(|before| before.get().len() < sources.get().len())
        {
            self.sources = Some(sources.to_owned());
        }
        for (place, choice) in choices.into_iter().enumerate() {
            self.choice(choice, place, out);
        }
        let usage = facts.and_then(|facts| facts.usage);
        out.extend(usage.map(|usage| Chunk::Usage(Usage { tier: self.tier.unwrap_or_default(), ..usage })));
        Step::More
    }

    fn choice(&mut self, choice: ChoiceIn<'_>, place: usize, out: &mut Vec<Chunk>) {
        let index = choice.index.integer().and_then(|index| u32::try_from(index).ok()).unwrap_or(place as u32);
        let at = self.choices.iter().position(|state| state.index == index).unwrap_or_else(|| {
            self.choices.push(ChoiceState::new(index, self.row));
            self.choices.len() - 1
        });
        let state = &mut self.choices[at];
        let message = choice.delta.or_else(|| choice.message.filter(|_| !state.spoke));
        if let Some(message) = message {
            state.message(message, &self.seed, out);
        }
        if let Some(value) = choice.logprobs.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok())
            && value.is_object()
        {
            out.push(Chunk::Logprobs { choice: index, value });
        }
        let finish = match choice.finish_reason.text().map(|word| Word::read(word).0) {
            None | Some(Word::Unknown | Word::Error) => return,
            Some(Word::Stop) => Finish::Stop { sequence: None },
            Some(Word::Length) => Finish::Length,
            Some(Word::ToolCalls | Word::FunctionCall) if state.tools.is_empty() => Finish::Stop { sequence: None },
            Some(Word::ToolCalls | Word::FunctionCall) => Finish::ToolCalls,
            Some(Word::ContentFilter) => Finish::ContentFilter,
        };
        state.finish(finish, self.sources.as_deref(), out);
    }
}

impl ChoiceState {
    fn new(index: u32, row: &Row) -> Self {
        let tags = row.think_tags.then(ThinkTags::new);
        Self { index, tags, thinking: false, thought: String::new(), spoke: false, tools: Vec::new(), finished: false }
    }

    fn message(&mut self, message: MessageIn<'_>, seed: &str, out: &mut Vec<Chunk>) {
        let before = out.len();
        self.thoughts(&message, out);
        match message.content {
            Loose::Text(text) if !text.is_empty() => self.content(text.into_owned(), out),
            Loose::Json(Value::Array(parts)) => parts.iter().for_each(|part| self.part(part, out)),
            Loose::Json(part) => self.part(&part, out),
            _ => {}
        }
        if let Loose::Text(text) = message.refusal
            && !text.is_empty()
        {
            self.speak(out);
            out.push(Chunk::Refusal { choice: self.index, text: text.into_owned() });
        }
        for tool in message.tool_calls.into_iter().flatten() {
            self.tool(tool, seed, out);
        }
        if let Some(function) = message.function_call {
            let tool = ToolIn { index: Loose::Number(0.0), function: Some(function), ..ToolIn::default() };
            self.tool(tool, seed, out);
        }
        for citation in message.annotations.map(citations).unwrap_or_default() {
            out.push(Chunk::Citation { choice: self.index, citation });
        }
        if let Some(audio) = message.audio.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()) {
            self.speak(out);
            let value = serde_json::json!({ "audio": audio });
            out.push(Chunk::Native { choice: self.index, dialect: Dialect::OpenAi, value });
        }
        self.spoke |= out.len() > before;
    }

    /// Reads thought from the fields it may stand in. Where entries have the text, the plain field repeats it.
    fn thoughts(&mut self, message: &MessageIn<'_>, out: &mut Vec<Chunk>) {
        let plain = message.reasoning_content.text().or(message.reasoning.text());
        if plain.is_none() && message.reasoning_details.is_none() && message.thinking_blocks.is_none() {
            return;
        }
        self.tags = None;
        let list = |raw: Option<&RawValue>| {
            raw.and_then(|raw| serde_json::from_str::<Vec<Value>>(raw.get()).ok()).unwrap_or_default()
        };
        let mut entries: Vec<Thinking> = list(message.thinking_blocks).iter().filter_map(details::from_block).collect();
        if entries.is_empty() {
            entries = list(message.reasoning_details).iter().filter_map(details::from_detail).collect();
        }
        if entries.iter().all(|entry| entry.text.is_empty()) {
            self.think(plain.unwrap_or_default().to_owned(), out);
        }
        // Some tell all of the thought once more, with its proof.
        let proven = entries.iter().any(|entry| entry.signature.is_some() || entry.encrypted.is_some());
        let repeated = proven && plain.is_none() && self.thinking;
        for mut entry in entries {
            if repeated && entry.text == self.thought {
                entry.text.clear();
            }
            let (signature, encrypted, vendor, id) = (entry.signature, entry.encrypted, entry.vendor, entry.id);
            self.think(entry.text, out);
            if signature.is_none() && encrypted.is_none() {
                continue;
            }
            // Anthropic's encrypted blocks stand alone.
            if encrypted.is_some() && vendor == Some(Dialect::Anthropic) {
                self.end_thought(out);
            }
            self.thinking = false;
            self.thought.clear();
            out.push(Chunk::ThinkingEnd { choice: self.index, signature, encrypted, vendor, id });
        }
    }

    fn think(&mut self, text: String, out: &mut Vec<Chunk>) {
        if !text.is_empty() {
            self.thinking = true;
            self.thought.push_str(&text);
            out.push(Chunk::Thinking { choice: self.index, text });
        }
    }

    fn end_thought(&mut self, out: &mut Vec<Chunk>) {
        if std::mem::replace(&mut self.thinking, false) {
            self.thought.clear();
            let (signature, encrypted, vendor, id) = (None, None, None, None);
            out.push(Chunk::ThinkingEnd { choice: self.index, signature, encrypted, vendor, id });
        }
    }

    /// Ends what must be over before something else is said.
    fn speak(&mut self, out: &mut Vec<Chunk>) {
        self.end_thought(out);
        self.tell_tools(out);
    }

    fn content(&mut self, text: String, out: &mut Vec<Chunk>) {
        let Some(tags) = &mut self.tags else {
            self.speak(out);
            out.push(Chunk::Text { choice: self.index, text });
            return;
        };
        let mut pieces = Vec::new();
        tags.push(text, &mut pieces);
        self.pieces(pieces, out);
    }

    fn pieces(&mut self, pieces: Vec<Piece>, out: &mut Vec<Chunk>) {
        for piece in pieces {
            match piece {
                Piece::Thinking(text) => self.think(text, out),
                Piece::Text(text) => {
                    self.speak(out);
                    out.push(Chunk::Text { choice: self.index, text });
                }
            }
        }
    }

    /// Reads one of Mistral's parts of content.
    fn part(&mut self, part: &Value, out: &mut Vec<Chunk>) {
        let text = |value: &Value| value.as_str().or_else(|| value.get("text")?.as_str()).map(str::to_owned);
        match part.get("thinking") {
            Some(Value::Array(inner)) => self.think(inner.iter().filter_map(text).collect(), out),
            Some(inner) => self.think(text(inner).unwrap_or_default(), out),
            None => {
                if let Some(text) = text(part).filter(|text| !text.is_empty()) {
                    self.content(text, out);
                }
            }
        }
    }

    fn tool(&mut self, tool: ToolIn<'_>, seed: &str, out: &mut Vec<Chunk>) {
        if let Some(tags) = &mut self.tags {
            let mut pieces = Vec::new();
            tags.finish(&mut pieces);
            self.pieces(pieces, out);
        }
        self.end_thought(out);
        let custom = tool.custom.is_some() && tool.function.is_none();
        let body = tool.function.or(tool.custom).unwrap_or_default();
        let number = tool.index.integer();
        let id = tool.id.into_text();
        let at = self.find(number, &id, body.name.text()).unwrap_or_else(|| {
            self.tell_tools(out);
            let id = self.own_id(id, seed);
            self.tools.push(ToolState { number, id, name: String::new(), custom, signature: None, told: false });
            self.tools.len() - 1
        });
        let FunctionIn { name, arguments, input } = body;
        let state = &mut self.tools[at];
        if let Some(name) = name.text().filter(|name| !state.told && *name != state.name) {
            state.name.push_str(name);
        }
        if let Some(extra) = tool.extra_content.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()) {
            let signature = extra.pointer("/google/thought_signature").and_then(Value::as_str);
            state.signature = signature.map(str::to_owned).or(state.signature.take());
        }
        let fragment = if custom || state.custom { input.into_json_text() } else { arguments.into_json_text() };
        if !fragment.is_empty() {
            self.tell_tools(out);
            out.push(Chunk::ToolArguments { choice: self.index, tool: at as u32, fragment });
        }
    }

    /// Returns which call a delta continues, or `None` if it opens one.
    fn find(&self, number: Option<i64>, id: &str, name: Option<&str>) -> Option<usize> {
        let Some(number) = number else {
            if !id.is_empty() {
                return self.tools.iter().rposition(|tool| tool.id == id);
            }
            return if name.is_some() { None } else { self.tools.len().checked_sub(1) };
        };
        let found = self.tools.iter().rposition(|tool| tool.number == Some(number))?;
        // Some servers number all parallel calls 0 and tell them apart by id only.
        let another = !id.is_empty() && id != self.tools[found].id && name.is_some();
        (!another).then_some(found)
    }

    /// Returns the id of a new call: the provider's, unless it is empty or taken.
    fn own_id(&self, id: String, seed: &str) -> String {
        if !id.is_empty() && self.tools.iter().all(|tool| tool.id != id) {
            return id;
        }
        let number = self.tools.len();
        match self.index {
            0 => format!("call_{seed}_{number}"),
            choice => format!("call_{seed}_{choice}_{number}"),
        }
    }

    /// Tells the calls that were not told yet; no more of their names can come.
    fn tell_tools(&mut self, out: &mut Vec<Chunk>) {
        for (at, tool) in self.tools.iter_mut().enumerate().filter(|(_, tool)| !tool.told) {
            tool.told = true;
            out.push(Chunk::ToolCall {
                choice: self.index,
                tool: at as u32,
                id: tool.id.clone(),
                name: tool.name.clone(),
                custom: tool.custom,
                signature: tool.signature.take(),
            });
        }
    }

    fn finish(&mut self, finish: Finish, sources: Option<&RawValue>, out: &mut Vec<Chunk>) {
        if let Some(tags) = &mut self.tags {
            let mut pieces = Vec::new();
            tags.finish(&mut pieces);
            self.pieces(pieces, out);
        }
        self.speak(out);
        let choice = self.index;
        let sources = sources.map(citations).unwrap_or_default();
        out.extend(sources.into_iter().map(|citation| Chunk::Citation { choice, citation }));
        self.finished = true;
        out.push(Chunk::Finish { choice, finish });
    }
}

/// Reads sources: OpenAI's annotations, Perplexity's results, or plain addresses.
fn citations(raw: &RawValue) -> Vec<Citation> {
    let list: Vec<Value> = serde_json::from_str(raw.get()).unwrap_or_default();
    let citation = |value: &Value| {
        if let Some(url) = value.as_str() {
            return Some(Citation { url: url.to_owned(), ..Citation::default() });
        }
        let inner = value.get("url_citation").unwrap_or(value);
        let text = |name: &str| inner.get(name).and_then(Value::as_str).map(str::to_owned);
        let place = |name: &str| inner.get(name).and_then(Value::as_u64);
        let title = text("title").unwrap_or_default();
        Some(Citation { url: text("url")?, title, start: place("start_index"), end: place("end_index") })
    };
    list.iter().filter_map(citation).collect()
}
