//! A streamed reply as the client gets it.
//!
//! One item is under way at a time, as at OpenAI. A call is over when the next thing comes and its arguments are whole;
//! if they are not, what comes is kept until they are, because clients count items by their place.

use bursar_actors::Usage;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::error::{event, write_failure};
use super::foreign;
use super::item::{Ids, Item, Said, annotation, last_status, last_text, logprobs, summary_part};
use super::write::Response;
use crate::providers::dialect::{StreamFailure, StreamWriter};
use crate::providers::sequence::choice_of;
use crate::schema::chat::{ChatRequest, Chunk, Dialect, Finish, Thinking, ToolCall};

/// The state of one stream.
pub(super) struct Writer {
    response: Response,
    started: bool,
    sequence_number: u64,
    ids: Ids,
    items: Vec<Item>,
    /// How each item that is done was said to have ended.
    statuses: Vec<&'static str>,
    /// The last item is under way.
    open: bool,
    /// The number of the call under way, or of the last one.
    tool: Option<u32>,
    /// What came while a call's arguments were not whole.
    waiting: Vec<Chunk>,
    /// Sources that came while no text was under way.
    citations: Vec<Value>,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

/// A delta: the one kind of event that comes often, so it is written without being built.
#[derive(Serialize)]
struct Delta<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    sequence_number: u64,
    item_id: &'a str,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<usize>,
    delta: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[u8; 0]>,
}

impl Writer {
    pub(super) fn new(request: &ChatRequest) -> Self {
        Self {
            response: Response::begin(request),
            started: false,
            sequence_number: 0,
            ids: Ids::default(),
            items: Vec::new(),
            statuses: Vec::new(),
            open: false,
            tool: None,
            waiting: Vec::new(),
            citations: Vec::new(),
            finish: None,
            usage: None,
        }
    }

    fn next_number(&mut self) -> u64 {
        self.sequence_number += 1;
        self.sequence_number - 1
    }

    /// Appends an event of that name with these fields.
    fn event(&mut self, name: &str, mut fields: Value, out: &mut Vec<u8>) {
        fields["type"] = json!(name);
        fields["sequence_number"] = json!(self.next_number());
        event(name, &fields, out);
    }

    /// Appends an event of the item under way.
    fn item_event(&mut self, name: &str, mut fields: Value, out: &mut Vec<u8>) {
        let index = self.items.len().saturating_sub(1);
        fields["output_index"] = json!(index);
        fields["item_id"] = json!(self.items.last().map(Item::id));
        self.event(name, fields, out);
    }

    fn delta(&mut self, kind: &str, content: Option<usize>, summary: Option<usize>, delta: &str, out: &mut Vec<u8>) {
        let sequence_number = self.next_number();
        let Some(item) = self.items.last() else { return };
        let delta = Delta {
            kind,
            sequence_number,
            item_id: item.id(),
            output_index: self.items.len() - 1,
            content_index: content,
            summary_index: summary,
            delta,
            logprobs: (kind == "response.output_text.delta").then_some([]),
        };
        for piece in ["event: ", kind, "\ndata: "] {
            out.extend_from_slice(piece.as_bytes());
        }
        serde_json::to_writer(&mut *out, &delta).expect("text and numbers are JSON and a Vec takes them");
        out.extend_from_slice(b"\n\n");
    }

    fn start(&mut self, id: &str, created: i64, model: &str, tier: Option<&str>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        self.ids = Ids::of(id, &format!("{model} {created}"));
        self.response.head(&self.ids.reply(), created, model, tier);
        for name in ["response.created", "response.in_progress"] {
            let response = self.response.snapshot();
            self.event(name, json!({ "response": response }), out);
        }
    }

    /// Begins an item; the one before must be closed.
    fn open(&mut self, item: Item, out: &mut Vec<u8>) {
        let fields = json!({ "output_index": self.items.len(), "item": item.value("in_progress") });
        self.items.push(item);
        self.open = true;
        self.event("response.output_item.added", fields, out);
    }

    /// Ends the item under way, if there is one.
    fn close(&mut self, status: &'static str, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        self.statuses.push(status);
        match self.items.last() {
            Some(Item::Reasoning { text, .. }) if !text.is_empty() => {
                let part = summary_part(text);
                let text = json!({ "summary_index": 0, "text": text });
                self.item_event("response.reasoning_summary_text.done", text, out);
                let part = json!({ "summary_index": 0, "part": part });
                self.item_event("response.reasoning_summary_part.done", part, out);
            }
            Some(Item::Message { .. }) => self.close_part(out),
            Some(Item::Call { call, .. }) if call.custom => {
                let fields = json!({ "input": call.arguments });
                self.item_event("response.custom_tool_call_input.done", fields, out);
            }
            Some(Item::Call { call, .. }) => {
                let fields = json!({ "name": call.name, "arguments": call.arguments });
                self.item_event("response.function_call_arguments.done", fields, out);
            }
            _ => {}
        }
        let Some(item) = self.items.last() else { return };
        let fields = json!({ "output_index": self.items.len() - 1, "item": item.value(status) });
        self.event("response.output_item.done", fields, out);
    }

    /// Ends the last part of the message under way.
    fn close_part(&mut self, out: &mut Vec<u8>) {
        let Some(Item::Message { parts, .. }) = self.items.last() else { return };
        let Some(said) = parts.last() else { return };
        let (at, part) = (parts.len() - 1, said.value());
        match said {
            Said::Text { text, logprobs, .. } => {
                let fields = json!({ "content_index": at, "text": text, "logprobs": logprobs });
                self.item_event("response.output_text.done", fields, out);
            }
            Said::Refusal(refusal) => {
                let fields = json!({ "content_index": at, "refusal": refusal });
                self.item_event("response.refusal.done", fields, out);
            }
        }
        self.item_event("response.content_part.done", json!({ "content_index": at, "part": part }), out);
    }

    /// Begins a part of a message, and the message if need be.
    fn open_part(&mut self, said: Said, out: &mut Vec<u8>) {
        if self.open && matches!(self.items.last(), Some(Item::Message { .. })) {
            self.close_part(out);
        } else {
            self.close("completed", out);
            self.open(Item::message(&self.ids, self.items.len()), out);
        }
        let part = said.value();
        let Some(Item::Message { parts, .. }) = self.items.last_mut() else { return };
        parts.push(said);
        let at = parts.len() - 1;
        self.item_event("response.content_part.added", json!({ "content_index": at, "part": part }), out);
    }

    /// Returns the part of a message that is under way, and its place.
    fn part(&mut self) -> Option<(usize, &mut Said)> {
        match self.items.last_mut().filter(|_| self.open) {
            Some(Item::Message { parts, .. }) => Some((parts.len().checked_sub(1)?, parts.last_mut()?)),
            _ => None,
        }
    }

    fn text(&mut self, more: &str, out: &mut Vec<u8>) {
        if !matches!(self.part(), Some((_, Said::Text { .. }))) {
            self.open_part(Said::text(""), out);
            for citation in std::mem::take(&mut self.citations) {
                self.annotate(citation, out);
            }
        }
        if let Some((at, Said::Text { text, .. })) = self.part() {
            text.push_str(more);
            self.delta("response.output_text.delta", Some(at), None, more, out);
        }
    }

    fn refusal(&mut self, more: &str, out: &mut Vec<u8>) {
        if !matches!(self.part(), Some((_, Said::Refusal(_)))) {
            self.open_part(Said::Refusal(String::new()), out);
        }
        if let Some((at, Said::Refusal(refusal))) = self.part() {
            refusal.push_str(more);
            self.delta("response.refusal.delta", Some(at), None, more, out);
        }
    }

    fn annotate(&mut self, citation: Value, out: &mut Vec<u8>) {
        let Some((at, Said::Text { annotations, .. })) = self.part() else {
            self.citations.push(citation);
            return;
        };
        annotations.push(citation.clone());
        let fields = json!({ "content_index": at, "annotation_index": annotations.len() - 1, "annotation": citation });
        self.item_event("response.output_text.annotation.added", fields, out);
    }

    fn think(&mut self, id: Option<&str>, more: &str, out: &mut Vec<u8>) {
        if !self.open || !matches!(self.items.last(), Some(Item::Reasoning { .. })) {
            self.close("completed", out);
            self.open(Item::reasoning(&self.ids, self.items.len(), id), out);
        }
        let Some(Item::Reasoning { text, .. }) = self.items.last_mut().filter(|_| !more.is_empty()) else { return };
        let is_first = text.is_empty();
        text.push_str(more);
        if is_first {
            let fields = json!({ "summary_index": 0, "part": summary_part("") });
            self.item_event("response.reasoning_summary_part.added", fields, out);
        }
        self.delta("response.reasoning_summary_text.delta", None, Some(0), more, out);
    }

    fn call(&mut self, number: u32, call: ToolCall, out: &mut Vec<u8>) {
        self.close("completed", out);
        if let Some(signature) = &call.signature {
            self.open(Item::call_signature(&self.ids, self.items.len(), signature), out);
            self.close("completed", out);
        }
        self.open(Item::call(&self.ids, self.items.len(), call), out);
        self.tool = Some(number);
    }

    fn arguments(&mut self, fragment: &str, out: &mut Vec<u8>) {
        let Some(Item::Call { call, .. }) = self.items.last_mut().filter(|_| self.open) else { return };
        call.arguments.push_str(fragment);
        let custom = call.custom;
        let kind =
            if custom { "response.custom_tool_call_input.delta" } else { "response.function_call_arguments.delta" };
        self.delta(kind, None, None, fragment, out);
    }

    /// Returns whether a call is under way whose arguments are not whole. Free text may always go on.
    fn is_in_call(&self) -> bool {
        match self.items.last().filter(|_| self.open) {
            Some(Item::Call { call, .. }) => {
                let may_be_whole = !call.custom && call.arguments.trim_end().ends_with('}');
                !may_be_whole || serde_json::from_str::<IgnoredAny>(&call.arguments).is_err()
            }
            _ => false,
        }
    }

    /// Takes what came while a call's arguments were not whole.
    fn release(&mut self, out: &mut Vec<u8>) {
        for chunk in std::mem::take(&mut self.waiting) {
            self.take(&chunk, out);
        }
    }

    fn take(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        match chunk {
            // What comes late for a call that was whole has no place in it.
            Chunk::ToolArguments { tool, .. } if self.tool.is_some_and(|current| *tool < current) => {}
            Chunk::ToolArguments { tool, fragment, .. } if self.tool == Some(*tool) => {
                self.arguments(fragment, out);
                if !self.waiting.is_empty() && !self.is_in_call() {
                    self.release(out);
                }
            }
            _ if !self.waiting.is_empty() || self.is_in_call() => self.waiting.push(chunk.clone()),
            Chunk::Text { text, .. } if !text.is_empty() => self.text(text, out),
            Chunk::Refusal { text, .. } if !text.is_empty() => self.refusal(text, out),
            Chunk::Thinking { text, .. } if !text.is_empty() => self.think(None, text, out),
            Chunk::ThinkingEnd { signature, encrypted, vendor, id, .. } => {
                let (signature, encrypted) = (signature.clone(), encrypted.clone());
                let thinking =
                    Thinking { signature, encrypted, vendor: *vendor, id: id.clone(), ..Thinking::default() };
                self.end_thought(&thinking, out);
            }
            Chunk::ToolCall { tool, id, name, custom, signature, .. } => {
                let (id, name, signature) = (id.clone(), name.clone(), signature.clone());
                self.call(*tool, ToolCall { id, name, arguments: String::new(), custom: *custom, signature }, out);
            }
            Chunk::Citation { citation, .. } => self.annotate(annotation(citation), out),
            Chunk::Logprobs { value, .. } => {
                if let Some((_, Said::Text { logprobs: entries, .. })) = self.part() {
                    entries.extend(logprobs(value));
                }
            }
            Chunk::Native { dialect: Dialect::Responses, value, .. } => {
                self.close("completed", out);
                self.open(Item::Native(value.clone()), out);
                self.close("completed", out);
            }
            _ => {}
        }
    }

    fn end_thought(&mut self, thinking: &Thinking, out: &mut Vec<u8>) {
        let is_open = self.open && matches!(self.items.last(), Some(Item::Reasoning { .. }));
        if !is_open && foreign::seal(thinking, "").is_none() && thinking.id.is_none() {
            return;
        }
        self.think(thinking.id.as_deref(), "", out);
        if let Some(Item::Reasoning { id, encrypted, .. }) = self.items.last_mut() {
            *encrypted = foreign::seal(thinking, id);
        }
        self.close("completed", out);
    }

    fn end(&mut self, finish: &Finish, out: &mut Vec<u8>) {
        // What waits is no longer held back by calls that will never be whole.
        while !self.waiting.is_empty() {
            self.close("completed", out);
            self.release(out);
        }
        self.close(last_status(Some(finish)), out);
        let citations = std::mem::take(&mut self.citations);
        if let Some((annotations, _)) = last_text(&mut self.items) {
            annotations.extend(citations);
        }
        self.finish = Some(finish.clone());
    }

    /// Returns the items as they are at the end.
    fn output(&self) -> Vec<Value> {
        let status = |at: usize| self.statuses.get(at).copied().unwrap_or_else(|| last_status(self.finish.as_ref()));
        self.items.iter().enumerate().map(|(at, item)| item.value(status(at))).collect()
    }
}

impl StreamWriter for Writer {
    fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        match chunk {
            Chunk::Start { id, created, model, service_tier, .. } => {
                self.start(id, *created, model, service_tier.as_deref(), out);
            }
            Chunk::Usage(usage) => self.usage = Some(*usage),
            // A response has one answer.
            Chunk::Finish { choice: 0, finish } => self.end(finish, out),
            chunk if choice_of(chunk).is_some_and(|choice| choice > 0) => {}
            chunk => self.take(chunk, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.finish.is_none() {
            self.end(&Finish::Stop { sequence: None }, out);
        }
        let output = self.output();
        let mut response = std::mem::take(&mut self.response);
        response.end(self.finish.as_ref(), output, self.usage);
        let incomplete = last_status(self.finish.as_ref()) == "incomplete";
        let name = if incomplete { "response.incomplete" } else { "response.completed" };
        self.event(name, json!({ "response": response.value() }), out);
    }

    fn fail(&mut self, failure: &StreamFailure<'_>, out: &mut Vec<u8>) -> bool {
        let output = self.items.iter().map(|item| item.value("incomplete")).collect();
        let response = self.started.then(|| std::mem::take(&mut self.response));
        write_failure(self.sequence_number, response, output, failure, out);
        true
    }
}
