//! Responses that the gateway keeps: a request is given the conversation that it goes on from, an answer is marked as kept
//! and read for what is kept of it.
//!
//! What is kept belongs to the gateway alone. So the upstream is told to keep nothing, and no item goes out by an id that only
//! its keeper would know.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::fields::{error, invalid};
use crate::schema::IntakeError;

/// Where clients ask for what a model thought in a form that only its vendor reads.
const ENCRYPTED: &str = "reasoning.encrypted_content";

/// What is kept of one request and its answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The items of the request itself, without those that it goes on from.
    pub input: Vec<Value>,
    /// The answer, as the client has it.
    pub response: Map<String, Value>,
}

impl Turn {
    /// Returns the id of the answer.
    pub fn id(&self) -> &str {
        self.response.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    fn output(&self) -> &[Value] {
        self.response.get("output").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// Returns the request's own input as items.
pub fn input_items(body: &[u8]) -> Result<Vec<Value>, IntakeError> {
    let mut request = request(body)?;
    own_input(&mut request)
}

/// Returns the request as it goes out: with what was said `before`, the earliest first, and nothing to be kept upstream.
pub fn with_conversation(body: &[u8], before: &[Turn]) -> Result<Bytes, IntakeError> {
    let mut request = request(body)?;
    request.shift_remove("previous_response_id");
    if !before.is_empty() {
        let own = own_input(&mut request)?;
        let said = before.iter().flat_map(|turn| {
            let input = turn.input.iter().cloned();
            input.chain(turn.output().iter().filter_map(said_again))
        });
        let input: Vec<Value> = said.chain(own).collect();
        request.insert("input".into(), input.into());
    }
    request.insert("store".into(), json!(false));
    Ok(Value::Object(request).to_string().into())
}

/// Returns the request with the wish for thoughts in a form that can be sent back, because the upstream keeps none.
pub fn with_encrypted_thoughts(body: &Bytes) -> Bytes {
    let Ok(mut request) = request(body) else { return body.clone() };
    let include = request.entry("include").or_insert_with(|| json!([]));
    if include.is_null() {
        *include = json!([]);
    }
    match include.as_array_mut() {
        Some(include) if !include.iter().any(|wish| wish == ENCRYPTED) => include.push(json!(ENCRYPTED)),
        _ => return body.clone(),
    }
    Value::Object(request).to_string().into()
}

fn request(body: &[u8]) -> Result<Map<String, Value>, IntakeError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(request)) => Ok(request),
        _ => Err(IntakeError { message: "the body must be a JSON object".into(), param: None, code: None }),
    }
}

fn own_input(request: &mut Map<String, Value>) -> Result<Vec<Value>, IntakeError> {
    match request.get_mut("input").map(Value::take) {
        Some(Value::String(text)) => {
            let content = json!([{ "type": "input_text", "text": text }]);
            Ok(vec![json!({ "type": "message", "role": "user", "content": content })])
        }
        Some(Value::Array(items)) => Ok(items),
        _ => Err(invalid("input", "must be a string or a list of items")),
    }
}

/// Returns an item of an answer as the next request says it again; none where only its keeper could make use of it.
fn said_again(item: &Value) -> Option<Value> {
    let mut item = item.as_object()?.clone();
    match item.get("type").and_then(Value::as_str) {
        Some("reasoning") => {
            item.get("encrypted_content").filter(|content| content.is_string())?;
            item.shift_remove("status");
        }
        Some("message") => {
            let parts = item.get("content").and_then(Value::as_array).into_iter().flatten();
            let content: Vec<Value> = parts.map(said_part).collect();
            return Some(json!({ "type": "message", "role": "assistant", "content": content }));
        }
        Some("function_call" | "custom_tool_call") => {
            item.shift_remove("id");
            item.shift_remove("status");
        }
        _ => {}
    }
    Some(item.into())
}

fn said_part(part: &Value) -> Value {
    match part["type"].as_str() {
        Some("output_text") => json!({ "type": "output_text", "text": part["text"] }),
        Some("refusal") => json!({ "type": "refusal", "refusal": part["refusal"] }),
        _ => part.clone(),
    }
}

/// What an answer says of being kept, and of what it goes on from.
#[derive(Debug, Clone)]
pub struct Marks {
    /// Whether the answer is kept.
    pub store: bool,
    /// The id of the answer that the request went on from.
    pub previous: Option<String>,
}

impl Marks {
    /// Returns a whole answer with its marks, and the answer itself; nothing where it is none that can be kept.
    pub fn whole(&self, body: &[u8]) -> Option<(Bytes, Map<String, Value>)> {
        let Ok(Value::Object(mut response)) = serde_json::from_slice(body) else { return None };
        if !is_complete(&response) {
            return None;
        }
        self.mark(&mut response);
        let body = Value::Object(response.clone()).to_string();
        Some((body.into(), response))
    }

    /// Returns events with their marks, and the answer where one of them ends it.
    pub fn events(&self, events: Bytes) -> (Bytes, Option<Map<String, Value>>) {
        // Of all events only those that begin and end an answer carry it.
        if memchr::memmem::find(&events, b"\"response\":").is_none() {
            return (events, None);
        }
        let (mut out, mut ended) = (Vec::with_capacity(events.len() + 64), None);
        for line in events.split_inclusive(|byte| *byte == b'\n') {
            match self.event(line) {
                Some((event, response)) => {
                    out.extend_from_slice(format!("data: {event}\n").as_bytes());
                    ended = response.or(ended);
                }
                None => out.extend_from_slice(line),
            }
        }
        (out.into(), ended)
    }

    fn event(&self, line: &[u8]) -> Option<(Value, Option<Map<String, Value>>)> {
        let data = line.strip_prefix(b"data:")?;
        memchr::memmem::find(data, b"\"response\":")?;
        let mut event: Value = serde_json::from_slice(data).ok()?;
        let ends = matches!(event["type"].as_str(), Some("response.completed" | "response.incomplete"));
        let response = event.get_mut("response")?.as_object_mut()?;
        self.mark(response);
        let ended = (ends && is_complete(response)).then(|| response.clone());
        Some((event, ended))
    }

    fn mark(&self, response: &mut Map<String, Value>) {
        response.insert("store".into(), json!(self.store));
        response.insert("previous_response_id".into(), json!(self.previous));
    }
}

/// Returns whether an answer came to an end and has a name.
fn is_complete(response: &Map<String, Value>) -> bool {
    let text = |name: &str| response.get(name).and_then(Value::as_str);
    matches!(text("status"), Some("completed" | "incomplete")) && text("id").is_some_and(|id| !id.is_empty())
}

/// Which items of an input are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// At most so many.
    pub limit: usize,
    /// The latest first.
    pub descending: bool,
    /// Those behind this one.
    pub after: Option<&'a str>,
}

/// Returns a page of the items that `turns`, the earliest first, put before the model for the last of them: all that was
/// said before, and its own input.
pub fn item_list(turns: &[Turn], page: &Page<'_>) -> Result<Value, IntakeError> {
    let mut items: Vec<Value> = Vec::new();
    for (at, turn) in turns.iter().enumerate() {
        let bare = turn.id().strip_prefix("resp_").unwrap_or(turn.id());
        let named = |(index, item)| shown(item, bare, index);
        items.extend(turn.input.iter().enumerate().map(named));
        if at + 1 < turns.len() {
            items.extend(turn.output().iter().cloned());
        }
    }
    if page.descending {
        items.reverse();
    }
    let id = |item: &Value| item["id"].as_str().map(str::to_owned);
    let begin = match page.after {
        None => 0,
        Some(after) => {
            let found = items.iter().position(|item| item["id"] == after);
            1 + found.ok_or_else(|| {
                error("invalid_value", "after", "`after` names no item of this input; take an `id` out of it".into())
            })?
        }
    };
    let data: Vec<Value> = items.iter().skip(begin).take(page.limit).cloned().collect();
    let has_more = begin + data.len() < items.len();
    let (first, last) = (data.first().and_then(id), data.last().and_then(id));
    Ok(json!({ "object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more }))
}

/// Returns an item of the input as a list shows it: with an id, and content in parts.
fn shown(item: &Value, response: &str, index: usize) -> Value {
    let mut item = item.as_object().cloned().unwrap_or_default();
    let kind = item.get("type").and_then(Value::as_str).map_or(Cow::Borrowed("message"), |kind| kind.to_owned().into());
    let prefix = match &*kind {
        "message" => "msg",
        "function_call" | "function_call_output" => "fc",
        "custom_tool_call" | "custom_tool_call_output" => "ctc",
        "reasoning" => "rs",
        _ => "item",
    };
    item.entry("id").or_insert_with(|| json!(format!("{prefix}_{response}_in_{index}")));
    if let Some(Value::String(text)) = item.get("content") {
        let kind = if item.get("role").is_some_and(|role| role == "assistant") { "output_text" } else { "input_text" };
        let mut part = json!({ "type": kind, "text": text });
        if kind == "output_text" {
            part["annotations"] = json!([]);
        }
        item.insert("content".into(), json!([part]));
    }
    if kind == "message" || kind.ends_with("_call_output") || kind.ends_with("_call") {
        item.entry("status").or_insert_with(|| json!("completed"));
    }
    item.insert("type".into(), json!(kind));
    item.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(id: &str, input: Value, output: Value) -> Turn {
        let Value::Object(response) = json!({ "id": id, "status": "completed", "output": output }) else { panic!() };
        Turn { input: input.as_array().unwrap().clone(), response }
    }

    fn one() -> Turn {
        let said = json!([{
            "id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
            "content": [{ "type": "output_text", "text": "Hi", "annotations": [], "logprobs": [] }],
        }]);
        turn("resp_1", json!([{ "role": "user", "content": "Hello" }]), said)
    }

    #[test]
    fn a_request_goes_on_from_what_was_said() {
        let body = br#"{"model":"m","input":"And now?","previous_response_id":"resp_1","store":true}"#;

        let whole: Value = serde_json::from_slice(&with_conversation(body, &[one()]).unwrap()).unwrap();

        let expected = json!({
            "model": "m",
            "input": [
                { "role": "user", "content": "Hello" },
                { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Hi" }] },
                { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "And now?" }] },
            ],
            "store": false,
        });
        assert_eq!(whole, expected);
    }

    #[test]
    fn only_items_that_mean_something_to_others_are_said_again() {
        let output = json!([
            { "type": "reasoning", "id": "rs_1", "summary": [] },
            { "type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gA" },
            { "type": "function_call", "id": "fc_1", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}" },
        ]);
        let again: Vec<Value> = turn("resp_1", json!([]), output).output().iter().filter_map(said_again).collect();

        assert_eq!(
            again,
            [
                json!({ "type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gA" }),
                json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" }),
            ]
        );
    }

    #[test]
    fn encrypted_thoughts_are_asked_for_once() {
        let wish = |body: &'static str| -> Value {
            serde_json::from_slice(&with_encrypted_thoughts(&Bytes::from_static(body.as_bytes()))).unwrap()
        };

        assert_eq!(wish("{}")["include"], json!([ENCRYPTED]));
        assert_eq!(wish(r#"{"include":null}"#)["include"], json!([ENCRYPTED]));
        assert_eq!(wish(r#"{"include":["a"]}"#)["include"], json!(["a", ENCRYPTED]));
        assert_eq!(wish(r#"{"include":["reasoning.encrypted_content"]}"#)["include"], json!([ENCRYPTED]));
    }

    #[test]
    fn the_events_that_carry_an_answer_are_marked_and_the_last_one_is_it() {
        let marks = Marks { store: true, previous: Some("resp_0".into()) };
        let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"response\\\":\"}\n\n";
        let done = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"store\":false}}\n\n";

        let (events, ended) = marks.events(Bytes::from(format!("{delta}{done}")));

        let text = String::from_utf8(events.to_vec()).unwrap();
        assert!(text.starts_with(delta) && text.ends_with("}\n\n"), "{text}");
        assert!(text.contains("\"store\":true,\"previous_response_id\":\"resp_0\""), "{text}");
        assert_eq!(ended.unwrap()["id"], "resp_1");
    }

    #[test]
    fn a_failed_answer_is_not_kept() {
        let marks = Marks { store: true, previous: None };

        assert!(marks.whole(br#"{"id":"resp_1","status":"failed"}"#).is_none());
        assert!(marks.whole(br#"{"status":"completed"}"#).is_none());
        assert!(marks.whole(br#"{"id":"resp_1","status":"incomplete"}"#).is_some());
    }

    #[test]
    fn the_items_of_an_input_are_listed_by_pages() {
        let turns = [one(), turn("resp_2", json!([{ "role": "user", "content": "And now?" }]), json!([]))];
        let list = |limit, descending, after| item_list(&turns, &Page { limit, descending, after }).unwrap();

        let all = list(20, false, None);
        let ids: Vec<_> = all["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["msg_1_in_0", "msg_1", "msg_2_in_0"]);
        assert_eq!(all["data"][0]["content"], json!([{ "type": "input_text", "text": "Hello" }]));
        assert_eq!(all["has_more"], false);

        let page = list(1, true, Some("msg_2_in_0"));
        assert_eq!(
            (&page["first_id"], &page["last_id"], &page["has_more"]),
            (&json!("msg_1"), &json!("msg_1"), &json!(true))
        );
        assert!(item_list(&turns, &Page { limit: 1, descending: true, after: Some("x") }).is_err());
    }
}
