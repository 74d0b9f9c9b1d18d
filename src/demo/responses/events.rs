//! The events of a streamed response, in OpenAI's order and numbered without a gap.

use serde_json::{Value, json};

use super::super::reply::{Pace, Piece};
use super::super::text;
use super::DIALECT;
use super::response::Response;

/// Returns the events from `response.created` to `response.completed` or `response.incomplete`.
pub(super) fn stream(response: &Response, pace: Pace) -> Vec<Piece> {
    let mut stream = Stream { pieces: Vec::new(), pace };
    stream.token(json!({"type": "response.created", "response": response.begun()}));
    stream.at_once(json!({"type": "response.in_progress", "response": response.begun()}));
    for (index, item) in response.output.iter().enumerate() {
        stream.item(index, item);
    }
    let kind = format!("response.{}", response.status().0);
    stream.at_once(json!({"type": kind, "response": response.whole()}));
    stream.pieces
}

struct Stream {
    pieces: Vec<Piece>,
    pace: Pace,
}

impl Stream {
    fn numbered(&self, mut event: Value) -> bytes::Bytes {
        event["sequence_number"] = json!(self.pieces.len());
        DIALECT.json_event(&event)
    }

    fn at_once(&mut self, event: Value) {
        let bytes = self.numbered(event);
        self.pieces.push(Pace::at_once(bytes));
    }

    /// Adds an event after the wait of a token.
    fn token(&mut self, event: Value) {
        let bytes = self.numbered(event);
        self.pieces.push(self.pace.piece(bytes));
    }

    fn item(&mut self, index: usize, item: &Value) {
        let mut opened = item.clone();
        match item["type"].as_str() {
            Some("message") => opened["content"] = json!([]),
            Some("reasoning") => opened["summary"] = json!([]),
            Some("function_call") => opened["arguments"] = json!(""),
            _ => opened["input"] = json!(""),
        }
        if !item["status"].is_null() {
            opened["status"] = json!("in_progress");
        }
        self.at_once(json!({"type": "response.output_item.added", "output_index": index, "item": opened}));
        let at = json!({"item_id": item["id"], "output_index": index});
        match item["type"].as_str() {
            Some("message") => self.contents(&at, &item["content"]),
            Some("reasoning") => self.summaries(&at, &item["summary"]),
            Some("function_call") => self.text(&at, "function_call_arguments", "arguments", &item["arguments"]),
            _ => self.text(&at, "custom_tool_call_input", "input", &item["input"]),
        }
        self.at_once(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    }

    fn contents(&mut self, at: &Value, contents: &Value) {
        for (index, part) in contents.as_array().into_iter().flatten().enumerate() {
            let mut at = at.clone();
            at["content_index"] = json!(index);
            let (name, field) =
                if part["type"] == "refusal" { ("refusal", "refusal") } else { ("output_text", "text") };
            self.part(&at, "content_part", name, field, part);
        }
    }

    fn summaries(&mut self, at: &Value, summaries: &Value) {
        for (index, part) in summaries.as_array().into_iter().flatten().enumerate() {
            let mut at = at.clone();
            at["summary_index"] = json!(index);
            self.part(&at, "reasoning_summary_part", "reasoning_summary_text", "text", part);
        }
    }

    /// Adds the events of a part: that it begins, its text, that it ends.
    fn part(&mut self, at: &Value, kind: &str, name: &str, field: &str, part: &Value) {
        let mut opened = part.clone();
        opened[field] = json!("");
        let whole =
            |state: &str, part: Value| merged(at, json!({"type": format!("response.{kind}.{state}"), "part": part}));
        let (added, done) = (whole("added", opened), whole("done", part.clone()));
        self.at_once(added);
        self.text(at, name, field, &part[field]);
        self.at_once(done);
    }

    /// Adds a text token by token, then as a whole.
    fn text(&mut self, at: &Value, name: &str, field: &str, whole: &Value) {
        for token in text::tokens(whole.as_str().unwrap_or_default()) {
            let mut delta = merged(at, json!({"type": format!("response.{name}.delta"), "delta": token}));
            if name == "output_text" {
                delta["logprobs"] = json!([]);
            }
            self.token(delta);
        }
        let mut done = merged(at, json!({"type": format!("response.{name}.done"), field: whole}));
        if name == "output_text" {
            done["logprobs"] = json!([]);
        }
        self.at_once(done);
    }
}

/// Returns an event with where it belongs.
fn merged(at: &Value, mut event: Value) -> Value {
    for (name, value) in at.as_object().into_iter().flatten() {
        event[name] = value.clone();
    }
    event
}
