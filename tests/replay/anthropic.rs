//! Recorded Messages traffic: every request is read, every reply and stream decodes with the usage it states.

use std::path::{Path, PathBuf};

use bursar::providers::anthropic::{Anthropic, PassReader, whole};
use bursar::providers::dialect::{ClientDialect, Step, UpstreamDialect, Whole};
use bursar::providers::framing::{Framer, Framing};
use bursar::providers::sse::{SseItem, SseReader};
use bursar::schema::chat::Finish;
use bytes::Bytes;
use serde_json::Value;

use super::files;

#[test]
fn recorded_messages_are_read_with_their_usage() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/fixtures");
    let root = std::env::var_os("BURSAR_RECORDINGS").map_or(root, PathBuf::from).join("anthropic");
    for path in files(&root).into_iter().chain(files(&root.join("http"))) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        if name.ends_with(".chunks.txt") {
            // Some files hold several streams, one behind the other.
            let mut events: Vec<&str> = Vec::new();
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                events.push(line);
                if line.contains("\"type\":\"message_stop\"") {
                    stream(&name, &framed(&events));
                    events.clear();
                }
            }
            // A second message that began inside the first is the one thing not to be read.
            assert!(events.is_empty() || name.contains("spliced"), "{name}: a stream has no end");
        } else if let Ok(Value::Array(exchanges)) = serde_json::from_str(&text) {
            exchanges.iter().for_each(|each| exchange(&name, each));
        } else {
            reply(&name, text.as_bytes());
        }
    }
}

fn exchange(name: &str, exchange: &Value) {
    let request = exchange["request"]["body"].as_str().unwrap();
    assert!(Anthropic.read(request.as_bytes()).is_ok(), "{name}: its request is not read");
    let Some(body) = exchange["response"]["body"].as_str() else { return };
    if exchange["response"]["status"] != 200 {
        assert!(Anthropic.is_error(body.as_bytes()), "{name}: its error is not known as one");
    } else if body.trim_start().starts_with('{') {
        reply(name, body.as_bytes());
    } else {
        stream(name, body.as_bytes());
    }
}

fn reply(name: &str, body: &[u8]) {
    let stated: Value = serde_json::from_slice(body).unwrap();
    let reply = Anthropic.decode(body).unwrap_or_else(|error| panic!("{name}: {error}"));
    let usage = reply.usage.unwrap();
    assert_eq!(usage.completion, stated["usage"]["output_tokens"].as_u64().unwrap(), "{name}");
    assert_eq!(usage.prompt, prompt(&stated["usage"]), "{name}");
    let finish = reply.choices[0].finish.as_ref().map(Finish::as_str);
    assert_eq!(whole(body), Ok(Whole { usage: Some(usage), finish, error: false }), "{name}");
}

fn prompt(usage: &Value) -> u64 {
    let keys = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
    keys.iter().map(|key| usage[key].as_u64().unwrap_or(0)).sum()
}

fn framed(events: &[&str]) -> Vec<u8> {
    let event = |line: &&str| {
        let data: Value = serde_json::from_str(line).unwrap();
        format!("event: {}\ndata: {line}\n\n", data["type"].as_str().unwrap())
    };
    events.iter().map(event).collect::<String>().into_bytes()
}

fn stream(name: &str, bytes: &[u8]) {
    let (mut reader, mut framer, mut chunks) = (Anthropic.reader(), Framer::new(Framing::Sse), Vec::new());
    framer.feed(Bytes::copy_from_slice(bytes));
    let mut last = Step::More;
    while let Some(frame) = framer.next_frame() {
        match reader.frame(&frame.unwrap().frame(), &mut chunks) {
            Ok(step) => last = step,
            Err(error) => return assert!(name.contains("spliced"), "{name}: {error}"),
        }
    }
    assert_eq!(last, Step::Done, "{name}");

    let (mut sse, mut pass, mut forwarded, mut stated) =
        (SseReader::with_names(), PassReader::default(), Vec::new(), Value::Null);
    sse.feed(Bytes::copy_from_slice(bytes));
    while let Some(Ok(SseItem::Event(event))) = sse.next_event() {
        forwarded.extend_from_slice(event.raw());
        pass.event(&event).unwrap();
        let data: Value = serde_json::from_slice(event.data()).unwrap();
        let usage = if data["type"] == "message_start" { &data["message"]["usage"] } else { &data["usage"] };
        for (key, value) in usage.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            if stated.is_null() {
                stated = Value::Object(serde_json::Map::new());
            }
            stated[key] = value.clone();
        }
    }
    assert!(pass.is_complete(), "{name}");
    let usage = pass.usage().unwrap();
    assert_eq!(
        (usage.prompt, usage.completion),
        (prompt(&stated), stated["output_tokens"].as_u64().unwrap()),
        "{name}"
    );
    if !bytes.contains(&b'\r') {
        assert_eq!(forwarded, bytes, "{name}");
    }
    let told = chunks.iter().rev().find_map(|chunk| match chunk {
        bursar::schema::chat::Chunk::Usage(usage) => Some(*usage),
        _ => None,
    });
    assert_eq!(told, Some(usage), "{name}");
}
