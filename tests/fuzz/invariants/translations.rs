//! Requests and streams from one dialect into another.

use std::rc::Rc;
use std::sync::Arc;

use bursar::call::RequestId;
use bursar::pipeline::flow::{Flow, TranslateFlow};
use bursar::pipeline::translation::{Goal, Thoughts, Translation};
use bursar::providers::dialect::{ModelFacts, StreamFailure, Target};
use bursar::providers::framing::{Framed, Framer, Framing};
use bursar::providers::{clients, upstreams};
use bursar::schema::Operation;
use bursar::schema::chat::{ChatRequest, Dialect};
use bytes::Bytes;
use serde_json::Value;

use super::steered;
use super::streams::{Client, pieces, read};

/// Every upstream that is translated for: its kind in the configuration, its dialect, and a model of it.
pub const UPSTREAMS: [(&str, Dialect, &str); 9] = [
    ("openai", Dialect::OpenAi, "gpt-5.1"),
    ("mistral", Dialect::OpenAi, "magistral-medium-latest"),
    ("anthropic", Dialect::Anthropic, "claude-sonnet-4-5"),
    ("bedrock", Dialect::Bedrock, "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("cohere", Dialect::Cohere, "command-a-reasoning-08-2025"),
    ("gemini", Dialect::Gemini, "gemini-3.7-flash"),
    ("vertex", Dialect::Gemini, "gemini-3.7-flash"),
    ("ollama", Dialect::Ollama, "gpt-oss:20b"),
    ("openai", Dialect::Responses, "gpt-5.1"),
];

/// Every client, and a request of it.
const CLIENTS: [(Operation, &str); 4] = [
    (
        Operation::ChatCompletions,
        r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true,"stream_options":{"include_usage":true}}"#,
    ),
    (Operation::Messages, r#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"Hi"}],"stream":true}"#),
    (Operation::Responses, r#"{"model":"m","input":"Hi","stream":true}"#),
    (Operation::GenerateContent, r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#),
];

/// The first byte of the first line says which client (its last two bits) and which upstream (the others), the rest of the
/// line gives the lengths of pieces; what follows is the stream. Bedrock's may be written as lines of `{"event", "data"}`.
///
/// The client gets the same whole events however the bytes were cut, valid in its own dialect up to the end or an error.
pub fn translated_stream(data: &[u8]) {
    let (steer, stream) = steered(data);
    let (chosen, lengths) = steer.split_first().map_or((0, steer), |(chosen, lengths)| (*chosen, lengths));
    let (client, upstream) = (usize::from(chosen & 3), usize::from(chosen >> 2) % UPSTREAMS.len());
    let framed = if UPSTREAMS[upstream].1 == Dialect::Bedrock { framed(stream) } else { None };
    let stream = framed.as_deref().unwrap_or(stream);
    let translation = translation(client, upstream);

    let (out, complete) = streamed(&translation, client, &[stream]);

    let cut = streamed(&translation, client, &pieces(stream, lengths));
    assert_eq!(cut, (out.clone(), complete), "pieces matter");
    check(CLIENTS[client].0, &out, complete);
}

fn translation(client: usize, upstream: usize) -> Translation {
    let (operation, request) = CLIENTS[client];
    let (kind, dialect, model) = UPSTREAMS[upstream];
    let client = clients::of(operation);
    let request = client.read(request.as_bytes()).expect("the requests here are sound");
    let request = Rc::new(ChatRequest { stream: true, ..request });
    let goal = Goal { dialect, upstream: upstreams::of(kind, dialect), model, thoughts: Thoughts::Own };
    let named = (RequestId::from_client("fuzz").expect("a plain word"), 1_790_000_000);
    Translation::between(client, request, &goal, &Arc::default(), named)
}

/// Does what the pipeline does with an upstream's bytes, and says whether the stream came to its end.
fn streamed(translation: &Translation, client: usize, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut flow = TranslateFlow::new(translation.clone(), None);
    let mut out = Vec::new();
    let mut pieces = pieces.iter();
    loop {
        let piece = pieces.next();
        let mut batch = match piece {
            Some(piece) => flow.feed(Bytes::copy_from_slice(piece)),
            None => flow.end(),
        };
        out.extend_from_slice(&batch.bytes.take());
        if batch.failure.is_none() && !batch.done && piece.is_some() {
            continue;
        }
        if let Some(usage) = flow.usage() {
            assert!(
                usage.cached + usage.cache_write <= usage.prompt && usage.reasoning <= usage.completion,
                "{usage:?}"
            );
            assert!(
                usage.audio_prompt + usage.image_prompt <= usage.prompt && usage.total >= usage.prompt,
                "{usage:?}"
            );
        }
        let Some(failure) = batch.failure else {
            assert!(batch.done, "a stream ends neither well nor ill");
            return (out, true);
        };
        assert!(!failure.message.is_empty());
        let code = failure.class.as_str();
        let told = StreamFailure { message: "it broke", kind: "server_error", code: Some(code), param: None };
        let event = flow.fail(&told).unwrap_or_else(|| clients::error_event(CLIENTS[client].0, 502, &told));
        out.extend_from_slice(&event);
        return (out, false);
    }
}

fn check(operation: Operation, out: &[u8], complete: bool) {
    let text = std::str::from_utf8(out).expect("what goes out is text");
    let datas = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<&str> = datas.filter(|data| *data != "[DONE]").collect();
    let values: Vec<Value> = events
        .iter()
        .map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{data:?} is no JSON: {error}")))
        .collect();
    match operation {
        Operation::Messages => messages(&values, complete),
        Operation::Responses => responses(&values, complete),
        Operation::GenerateContent => {}
        _ => {
            assert_eq!(text.ends_with("data: [DONE]\n\n"), complete, "[DONE] goes out exactly at a good end");
            let mut client = Client::of_chat();
            let answers = values.iter().zip(&events).filter(|(value, _)| value.get("error").is_none());
            answers.for_each(|(_, data)| client.take(data.as_bytes()));
            assert_eq!(read(&[out]).len(), events.len() + usize::from(complete), "something else goes out");
        }
    }
}

/// Blocks are opened in order, one at a time, and closed; a good end is told once.
fn messages(events: &[Value], complete: bool) {
    let (mut open, mut next) = (None, 0);
    for (place, event) in events.iter().enumerate() {
        let index = event["index"].as_u64();
        match event["type"].as_str().expect("every event has a type") {
            "message_start" => assert_eq!(place, 0, "a message begins twice"),
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(next)), "a block begins out of order");
                (open, next) = (index, next + 1);
            }
            "content_block_delta" => assert!(open.is_some() && open == index, "a delta of no block: {event}"),
            "content_block_stop" => {
                assert!(open.is_some() && open == index, "no such block is open: {event}");
                open = None;
            }
            "message_delta" | "message_stop" => assert_eq!(open, None, "a block is left open"),
            _ => {}
        }
    }
    let ended = events.last().is_some_and(|event| event["type"] == "message_stop");
    assert_eq!(ended, complete, "the end goes out exactly where it is one");
}

/// Events are numbered without a gap, and the last says how it ended.
fn responses(events: &[Value], complete: bool) {
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"].as_u64(), Some(place as u64), "{event}");
    }
    let last = events.last().map_or("", |event| event["type"].as_str().unwrap_or_default());
    assert_eq!(matches!(last, "response.completed" | "response.incomplete"), complete, "{last}");
}

/// Returns the messages of AWS that lines of `{"event": name, "data": …}` or `{"exception": name, "data": …}` are.
fn framed(lines: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(lines).ok()?;
    let mut out = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).ok()?;
        let kind = if line.get("exception").is_some() { "exception" } else { "event" };
        let typed = format!(":{kind}-type");
        let name = line.get(kind)?.as_str().filter(|name| name.len() < 100)?;
        let headers = [(&typed[..], name), (":message-type", kind)];
        out.extend(message(&headers, line.get("data")?.to_string().as_bytes()));
    }
    Some(out)
}

fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut named = Vec::new();
    for (name, value) in headers {
        named.push(name.len() as u8);
        named.extend_from_slice(name.as_bytes());
        named.push(7);
        named.extend_from_slice(&(value.len() as u16).to_be_bytes());
        named.extend_from_slice(value.as_bytes());
    }
    let mut out = Vec::new();
    out.extend_from_slice(&(16 + named.len() as u32 + payload.len() as u32).to_be_bytes());
    out.extend_from_slice(&(named.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.extend_from_slice(&named);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out
}

/// CRC-32 as IEEE 802.3 has it, the slow way.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, &byte| (0..8).fold(sum ^ u32::from(byte), step))
}

/// The first byte of the first line says what the input is (its last bit: 0 for a stream of AWS's messages as it is, 1 for the
/// headers and payload of one message, which is framed soundly), the rest of the line gives the lengths of pieces.
///
/// Pieces do not matter, nothing comes after the end, no more comes out than went in, and what was framed soundly is read or
/// refused by its headers, never lost.
pub fn event_stream(data: &[u8]) {
    let (steer, body) = steered(data);
    let (form, lengths) = steer.split_first().map_or((0, steer), |(form, lengths)| (*form, lengths));
    let sound = form & 1 == 1;
    let stream = if sound {
        let (name, payload) = steered(body);
        let name = String::from_utf8_lossy(&name[..name.len().min(40)]);
        message(&[(":message-type", "event"), (":event-type", &name)], payload)
    } else {
        body.to_vec()
    };

    let whole = messages_of(&[&stream]);

    assert_eq!(messages_of(&pieces(&stream, lengths)), whole, "pieces matter");
    let payloads: usize = whole.iter().flatten().map(|framed| framed.frame().data.len()).sum();
    let exceptions = whole.iter().flatten().filter(|framed| framed.frame().event == Some(b"exception")).count();
    // An exception comes out with its name and status added.
    assert!(payloads <= stream.len() * 8 + exceptions * 1_000, "more comes out than went in");
    if sound {
        assert_eq!(whole.len(), 1, "a message is lost");
        let frame = whole[0].as_ref().map(Framed::frame).expect("it is sound");
        assert_eq!(frame.data, steered(body).1, "the payload is changed");
    }
}

fn messages_of(pieces: &[&[u8]]) -> Vec<Result<Framed, String>> {
    let mut framer = Framer::new(Framing::EventStream);
    let mut messages = Vec::new();
    for piece in pieces {
        framer.feed(Bytes::copy_from_slice(piece));
        while let Some(framed) = framer.next_frame() {
            let broken = framed.is_err();
            messages.push(framed.map_err(|error| error.to_string()));
            if broken {
                return messages;
            }
        }
    }
    messages.extend(framer.finish().map(|framed| framed.map_err(|error| error.to_string())));
    messages
}

/// The first byte of the first line says whose body it is (its last two bits), what follows is the body.
///
/// A body is read or refused in few words that do not repeat it; what was read can be said to every upstream, as JSON, or is
/// refused; and what is said to OpenAI is understood again, and by the second time said in the same words.
pub fn client_body(data: &[u8]) {
    let (steer, body) = steered(data);
    let (operation, _) = CLIENTS[usize::from(steer.first().unwrap_or(&0) & 3)];
    let request = match clients::of(operation).read(body) {
        Ok(request) => request,
        Err(refusal) => {
            assert!(!refusal.message.is_empty() && refusal.message.len() < 1_000, "{refusal}");
            return;
        }
    };
    for (kind, dialect, model) in UPSTREAMS {
        let target = Target { model, model_facts: &ModelFacts::default(), strict: false };
        let Ok(wire) = upstreams::of(kind, dialect).encode(&request, &target) else { continue };
        let sent: Value = serde_json::from_slice(&wire.body).expect("what goes out is JSON");
        assert!(sent.is_object() && wire.path.starts_with('/'));
        assert!(wire.warnings.iter().all(|warning| !warning.is_empty() && warning.len() < 1_000));
        if (kind, dialect) == ("openai", Dialect::OpenAi) {
            let chat = clients::of(Operation::ChatCompletions);
            let again = match chat.read(&wire.body) {
                Ok(again) => again,
                // What other clients may say in a place is not always what OpenAI's may.
                Err(_) if operation != Operation::ChatCompletions => continue,
                Err(error) => panic!("it is not understood again: {error}: {sent}"),
            };
            // One thing can be spelt in two ways; the gateway's own spelling is kept from then on.
            let say = |request: &ChatRequest| upstreams::of(kind, dialect).encode(request, &target);
            let second = say(&again).expect("it could be said before").body;
            let third = say(&chat.read(&second).expect("it is our own")).expect("it could be said before").body;
            assert_eq!(third, second, "it is said differently");
        }
    }
}
