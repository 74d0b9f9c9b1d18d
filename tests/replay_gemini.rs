//! Replays recorded Gemini traffic, where the recordings lie beside the project: requests and replies, whole and streamed,
//! must be read, with their usage. Without the folder nothing runs.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use bursar::providers::dialect::{ClientDialect, Step, StreamReader, UpstreamDialect};
use bursar::providers::framing::{Frame, Framer, Framing};
use bursar::providers::gemini::{Gemini, PassReader, whole};
use bursar::schema::chat::{Accumulator, ChatReply, Chunk, Content, Finish};
use bytes::Bytes;
use serde_json::Value;

const GEMINI: Gemini = Gemini { vertex: false };

#[test]
#[allow(clippy::print_stdout)]
fn recorded_gemini_traffic_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/fixtures");
    let root = std::env::var_os("BURSAR_RECORDINGS").map_or(root, PathBuf::from);
    let mut read = 0;
    for path in ["gemini", "gemini/http", "synthetic"].iter().flat_map(|folder| files(&root.join(folder))) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.parent().unwrap().ends_with("synthetic") && !name.starts_with("gemini") {
            continue;
        }
        read += replay(&name, &fs::read_to_string(&path).unwrap());
    }
    println!("read {read} requests and replies");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

/// Returns how many requests and replies were read.
fn replay(name: &str, text: &str) -> usize {
    if name.ends_with(".chunks.txt") {
        let lines = text.lines().filter(|line| !line.is_empty());
        let framed: String = lines.map(|line| format!("data: {line}\n\n")).collect();
        check_stream(name, &framed);
        return 1;
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(exchanges)) => exchanges.iter().map(|exchange| replay_exchange(name, exchange)).sum(),
        Ok(reply) if reply.get("candidates").is_some() => {
            check_whole(name, text);
            1
        }
        _ => 0,
    }
}

fn replay_exchange(name: &str, exchange: &Value) -> usize {
    let uri = exchange["request"]["uri"].as_str().unwrap_or_default();
    if !uri.contains("enerateContent") {
        return 0;
    }
    let asked = exchange["request"]["body"].as_str().unwrap_or_default();
    let request = GEMINI.read(asked.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!request.messages.is_empty(), "{name}");
    let Some(body) = exchange["response"]["body"].as_str() else { return 1 };
    if exchange["response"]["status"] != 200 {
        assert!(GEMINI.is_error(body.as_bytes()), "{name}");
    } else if body.starts_with("data:") {
        check_stream(name, body);
    } else {
        check_whole(name, body);
    }
    2
}

fn check_whole(name: &str, body: &str) {
    let told = whole(body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let reply = GEMINI.decode(body.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));

    assert!(!told.error && !GEMINI.is_error(body.as_bytes()), "{name}");
    assert_eq!((reply.usage, finish(&reply)), (told.usage, told.finish), "{name}");
    check_reply(name, &reply);
}

fn finish(reply: &ChatReply) -> Option<&'static str> {
    reply.choices.first()?.finish.as_ref().map(Finish::as_str)
}

fn check_stream(name: &str, stream: &str) {
    let (mut framer, mut reader, mut pass) = (Framer::new(Framing::Sse), GEMINI.reader(), PassReader::default());
    let (mut chunks, mut usage) = (Vec::new(), None);
    framer.feed(Bytes::copy_from_slice(stream.as_bytes()));
    while let Some(framed) = framer.next_frame() {
        let framed = framed.unwrap();
        usage = event(name, &framed.frame(), reader.as_mut(), &mut pass, &mut chunks).or(usage);
    }

    assert!(reader.is_complete() && pass.is_complete(), "{name}: the end was not seen");
    let mut accumulator = Accumulator::default();
    chunks.iter().for_each(|chunk| accumulator.push(chunk));
    let reply = accumulator.finish();
    assert_eq!((reply.usage, finish(&reply)), (usage, pass.finish()), "{name}");
    check_reply(name, &reply);
}

fn event(
    name: &str,
    frame: &Frame<'_>,
    reader: &mut dyn StreamReader,
    pass: &mut PassReader,
    chunks: &mut Vec<Chunk>,
) -> Option<bursar_actors::Usage> {
    let step = reader.frame(frame, chunks).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(step, Step::More, "{name}");
    pass.event(frame.data).unwrap_or_else(|error| panic!("{name}: {error}")).usage
}

fn check_reply(name: &str, reply: &ChatReply) {
    let blocked = name.contains("blocked");
    assert!(
        blocked || reply.usage.is_some_and(|usage| usage.prompt > 0 && !usage.suspect),
        "{name}: {:?}",
        reply.usage
    );
    assert!(!reply.choices.is_empty() && reply.choices.iter().all(|choice| choice.finish.is_some()), "{name}");
    for part in reply.choices.iter().flat_map(|choice| &choice.parts) {
        if let Content::ToolCall(call) = &part.content {
            assert!(!call.id.is_empty() && !call.name.is_empty(), "{name}");
            assert!(serde_json::from_str::<Value>(&call.arguments).is_ok_and(|value| value.is_object()), "{name}");
        }
    }
}
