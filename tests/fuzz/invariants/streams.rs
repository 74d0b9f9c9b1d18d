//! Event streams: the reader alone, and the reader with the repair behind it, as the pipeline joins them.

use bursar::providers::openai::{Action, StreamEnd, StreamRepair};
use bursar::providers::sse::{EVENT_MAX, SseError, SseItem, SseReader};
use bursar::schema::Operation;
use bytes::Bytes;
use serde_json::Value;

use super::{is_json, steered};

/// The first line gives the lengths of the pieces, one byte each (in turn); the rest is the stream.
///
/// Pieces do not matter, what is handed on is canonical, and reading it again changes nothing.
pub fn sse_reader(data: &[u8]) {
    let (lengths, stream) = steered(data);
    let whole = read(&[stream]);

    assert_eq!(read(&pieces(stream, lengths)), whole, "pieces matter");
    assert_eq!(read(&stream.chunks(1).collect::<Vec<_>>()), whole, "single bytes matter");

    for item in whole.into_iter().flatten() {
        let SseItem::Event(event) = item else { continue };
        let raw = event.raw();
        assert!(raw.len() <= EVENT_MAX + 8, "an event is longer than the limit");
        assert_eq!(canonical(raw), Some(event.data().to_vec().into_iter().map(flat).collect()), "{raw:?}");
        let again = read(&[raw]);
        assert!(matches!(&again[..], [Ok(SseItem::Event(again))] if again.raw() == raw), "{raw:?} is read differently");
    }
}

fn flat(byte: u8) -> u8 {
    if byte == b'\n' { b' ' } else { byte }
}

/// Returns the payload of bytes that are exactly `data: `, one line, a blank line.
fn canonical(raw: &[u8]) -> Option<Vec<u8>> {
    let payload = raw.strip_prefix(b"data: ")?.strip_suffix(b"\n\n")?;
    (!payload.contains(&b'\n') && !payload.contains(&b'\r')).then(|| payload.to_vec())
}

pub(super) fn read(pieces: &[&[u8]]) -> Vec<Result<SseItem, SseError>> {
    let mut reader = SseReader::new();
    let mut items = Vec::new();
    for piece in pieces {
        reader.feed(Bytes::copy_from_slice(piece));
        items.extend(std::iter::from_fn(|| reader.next_event()));
    }
    items.extend(reader.finish());
    assert_eq!(reader.next_event(), None, "something comes after the end");
    items
}

/// Cuts `bytes` into pieces of the given lengths, over and over; empty pieces come too.
pub(super) fn pieces<'d>(bytes: &'d [u8], lengths: &[u8]) -> Vec<&'d [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    if lengths.iter().any(|&length| length > 0) {
        for &length in lengths.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at(rest.len().min(usize::from(length)));
            pieces.push(piece);
            rest = behind;
        }
    }
    pieces.push(rest);
    pieces
}

/// The first byte of the first line says what was asked for (bit 0: usage wanted; bit 1: legacy completions), the
/// others are lengths of pieces; the rest is the stream.
///
/// The client gets valid events only, the same ones however the bytes were cut, and tool calls it can put together.
pub fn reply_stream(data: &[u8]) {
    let (steer, stream) = steered(data);
    let (asked, lengths) = steer.split_first().map_or((0, steer), |(asked, lengths)| (*asked, lengths));
    let include_usage = asked & 1 != 0;
    let operation = if asked & 2 != 0 { Operation::Completions } else { Operation::ChatCompletions };

    let (out, end) = repaired(&[stream], operation, include_usage);

    assert_eq!(repaired(&pieces(stream, lengths), operation, include_usage), (out.clone(), end), "pieces matter");
    let mut client = Client { chat: operation == Operation::ChatCompletions, ..Client::of_chat() };
    let mut done = false;
    for item in read(&[&out]) {
        let SseItem::Event(event) = item.expect("what goes out is within the limit") else {
            panic!("a comment goes out")
        };
        assert!(!done, "something follows [DONE]");
        done = event.data().trim_ascii() == b"[DONE]";
        if !done {
            assert!(is_json(event.data()), "{:?} is no JSON", event.raw());
            client.take(event.data());
        }
    }
    assert_eq!(done, end == Ending::Done, "[DONE] goes out exactly where the stream is complete");
}

/// How a stream ended for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done,
    Failed,
}

/// Does what the pipeline does with an upstream's bytes.
fn repaired(pieces: &[&[u8]], operation: Operation, include_usage: bool) -> (Vec<u8>, Ending) {
    let mut reader = SseReader::new();
    let mut repair = StreamRepair::new(operation, include_usage);
    let mut out = Vec::new();
    for piece in pieces {
        reader.feed(Bytes::copy_from_slice(piece));
        while let Some(item) = reader.next_event() {
            if let Some(end) = take(item, &mut repair, &mut out) {
                return (out, end);
            }
        }
    }
    if let Some(item @ Ok(_)) = reader.finish()
        && let Some(Ending::Done) = take(item, &mut repair, &mut out)
    {
        return (out, Ending::Done);
    }
    let end = match repair.end() {
        StreamEnd::Complete => Ending::Done,
        StreamEnd::CompleteWithoutDone(tail) => {
            out.extend_from_slice(&tail);
            Ending::Done
        }
        StreamEnd::Truncated => Ending::Failed,
    };
    if let Some(usage) = repair.usage() {
        assert!(usage.cached + usage.cache_write <= usage.prompt && usage.reasoning <= usage.completion, "{usage:?}");
    }
    (out, end)
}

fn take(item: Result<SseItem, SseError>, repair: &mut StreamRepair, out: &mut Vec<u8>) -> Option<Ending> {
    let Ok(item) = item else { return Some(Ending::Failed) };
    let SseItem::Event(event) = item else { return None };
    let (action, facts) = match repair.on_event(&event) {
        Ok(decided) => decided,
        Err(_) => return Some(Ending::Failed),
    };
    match action {
        Action::Forward => out.extend_from_slice(event.raw()),
        Action::Replace(bytes) => out.extend_from_slice(&bytes),
        Action::Drop => {}
        Action::Error => return Some(Ending::Failed),
    }
    facts.done.then_some(Ending::Done)
}

/// A client that puts tool calls together as the official SDKs do, and accepts nothing they would stumble over.
pub(super) struct Client {
    choices: Vec<(u64, Vec<Call>)>,
    chat: bool,
}

/// One tool call as far as it has come.
struct Call {
    custom: bool,
    arguments: String,
}

impl Client {
    /// Returns a client of chat completions.
    pub(super) fn of_chat() -> Self {
        Self { choices: Vec::new(), chat: true }
    }

    pub(super) fn take(&mut self, data: &[u8]) {
        // Figures beyond a double and half surrogate pairs are JSON, but no value; whole texts only are understood.
        let Ok(chunk) = serde_json::from_slice::<Value>(data) else {
            self.chat = false;
            return;
        };
        if !self.chat {
            return;
        }
        let choices = chunk.get("choices").unwrap_or_else(|| panic!("no choices: {chunk}"));
        assert!(choices.is_array() || choices.is_null(), "choices are no array: {chunk}");
        for choice in choices.as_array().into_iter().flatten() {
            self.choice(choice);
        }
    }

    fn choice(&mut self, choice: &Value) {
        let index = choice["index"].as_u64().unwrap_or_else(|| panic!("no index: {choice}"));
        let known = self.choices.iter().position(|(known, _)| *known == index).unwrap_or_else(|| {
            self.choices.push((index, Vec::new()));
            self.choices.len() - 1
        });
        let calls = &mut self.choices[known].1;
        if let Some(delta) = choice.get("delta") {
            assert!(delta.is_object(), "the delta is no object: {choice}");
            match delta.get("tool_calls") {
                None | Some(Value::Null) => {}
                Some(Value::Array(deltas)) => deltas.iter().for_each(|delta| take_call(calls, delta)),
                Some(_) => panic!("tool_calls is no array: {choice}"),
            }
            let content = delta.get("content").unwrap_or(&Value::Null);
            assert!(!content.is_array() && !content.is_object(), "content is no text: {choice}");
        }
        match choice.get("finish_reason") {
            None | Some(Value::Null) => {}
            Some(Value::String(reason)) => finish(calls, reason, choice),
            Some(_) => panic!("the finish reason is no word: {choice}"),
        }
    }
}

fn take_call(calls: &mut Vec<Call>, delta: &Value) {
    let index = delta["index"].as_u64().unwrap_or_else(|| panic!("no index: {delta}"));
    let index = usize::try_from(index).expect("an index fits");
    let arguments = delta.pointer("/function/arguments");
    let custom = delta["custom"].is_object() || delta["type"] == "custom";
    assert!(custom || arguments.is_none_or(Value::is_string), "arguments are no text: {delta}");
    if index == calls.len() {
        let has = |key: &str| delta[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(has("id"), "a call begins without id: {delta}");
        assert!(delta["type"].is_string(), "a call begins without type: {delta}");
        assert!(custom || arguments.is_some(), "a call begins without arguments: {delta}");
        calls.push(Call { custom, arguments: String::new() });
    } else {
        assert!(delta.get("id").is_none_or(Value::is_null), "a call begins twice: {delta}");
    }
    let call = calls.get_mut(index).unwrap_or_else(|| panic!("a call was skipped: {delta}"));
    call.arguments.push_str(arguments.and_then(Value::as_str).unwrap_or_default());
}

fn finish(calls: &[Call], reason: &str, choice: &Value) {
    let known = ["stop", "length", "tool_calls", "content_filter", "function_call"];
    assert!(known.contains(&reason), "no client knows this reason: {choice}");
    match reason {
        "tool_calls" => {
            assert!(!calls.is_empty(), "no call was made: {choice}");
            let whole = calls.iter().all(|call| call.custom || !call.arguments.is_empty());
            assert!(whole, "a call has no arguments: {choice}");
        }
        "stop" => assert!(calls.is_empty(), "calls were made: {choice}"),
        _ => {}
    }
}
