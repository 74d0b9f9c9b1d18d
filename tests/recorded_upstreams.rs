//! Reads recorded traffic of Bedrock, Cohere and Ollama, where the recordings lie beside the project: every reply and
//! stream must be readable, with its usage, wherever it is cut. Without the folder nothing runs.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bursar::providers::bedrock::Bedrock;
use bursar::providers::cohere::Cohere;
use bursar::providers::dialect::{Step, StreamReader, UpstreamDialect};
use bursar::providers::framing::{Frame, Framer};
use bursar::providers::ollama::Ollama;
use bursar::providers::sequence::Sequence;
use bursar::schema::chat::{Accumulator, ChatReply, Chunk, Content};
use bytes::Bytes;
use serde_json::Value;

/// Bytes of a body up to which it is cut at every one of them.
const CUT_EVERYWHERE: usize = 4096;

#[derive(Debug, Default)]
struct Tally {
    replies: usize,
    streams: usize,
    problems: Vec<String>,
}

#[test]
#[allow(clippy::print_stdout)]
fn recorded_replies_and_streams_are_read_with_their_usage() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/fixtures");
    let root = std::env::var_os("BURSAR_RECORDINGS").map_or(root, PathBuf::from);
    let mut tally = Tally::default();
    let dialects: [(&str, &dyn UpstreamDialect); 3] = [("bedrock", &Bedrock), ("cohere", &Cohere), ("ollama", &Ollama)];
    for (folder, dialect) in dialects {
        for path in [root.join(folder), root.join(folder).join("http")].iter().flat_map(|folder| files(folder)) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            if name.ends_with(".chunks.txt") {
                chunks(dialect, &name, &text, &mut tally);
            } else if let Ok(Value::Array(exchanges)) = serde_json::from_str(&text) {
                exchanges.iter().for_each(|exchange| replay(dialect, &name, exchange, &mut tally));
            } else {
                whole(dialect, &name, text.as_bytes(), &mut tally);
            }
        }
    }
    println!("read {} replies and {} streams", tally.replies, tally.streams);
    assert!(tally.problems.is_empty(), "{}", tally.problems.join("\n"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

fn replay(dialect: &dyn UpstreamDialect, name: &str, exchange: &Value, tally: &mut Tally) {
    let uri = exchange["request"]["uri"].as_str().unwrap_or_default();
    let ours = ["/converse", "/converse-stream", "/v2/chat", "/api/chat"];
    let response = &exchange["response"];
    if response["status"] != 200 || !ours.iter().any(|end| uri.ends_with(end)) {
        return;
    }
    let body = match response["body_base64"].as_str() {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => response["body"].as_str().map_or_else(|| response["body"].to_string(), str::to_owned).into_bytes(),
    };
    if serde_json::from_slice::<Value>(&body).is_ok() {
        whole(dialect, name, &body, tally);
    } else {
        stream(dialect, name, &body, tally);
    }
}

fn whole(dialect: &dyn UpstreamDialect, name: &str, body: &[u8], tally: &mut Tally) {
    tally.replies += 1;
    match dialect.decode(body) {
        Ok(_) if dialect.is_error(body) => tally.problems.push(format!("{name}: taken for an error")),
        Ok(reply) => check(name, &reply, tally),
        Err(nonsense) => tally.problems.push(format!("{name}: {nonsense}")),
    }
}

fn stream(dialect: &dyn UpstreamDialect, name: &str, body: &[u8], tally: &mut Tally) {
    tally.streams += 1;
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut framer, mut reading) = (Framer::new(dialect.framing()), Reading::new(dialect.reader()));
        for piece in pieces {
            framer.feed(Bytes::copy_from_slice(piece));
            while let Some(framed) = framer.next_frame() {
                reading.frame(&framed?.frame())?;
            }
        }
        if let Some(framed) = framer.finish() {
            reading.frame(&framed?.frame())?;
        }
        reading.finish()
    };
    let together = read(&mut [body].into_iter());
    match &together {
        Ok(reply) => check(name, reply, tally),
        Err(problem) => tally.problems.push(format!("{name}: {problem}")),
    }
    let cuts = if body.len() <= CUT_EVERYWHERE { 1 } else { body.len() / 500 };
    for at in (0..body.len()).step_by(cuts) {
        let (left, right) = body.split_at(at);
        if read(&mut [left, right].into_iter()) != together {
            tally.problems.push(format!("{name}: reads differently when cut at byte {at}"));
            return;
        }
    }
    if read(&mut body.chunks(1)) != together {
        tally.problems.push(format!("{name}: reads differently byte by byte"));
    }
}

/// Reads a stream whose framing was taken off: events with their type inside, or each as the only member of an object.
fn chunks(dialect: &dyn UpstreamDialect, name: &str, text: &str, tally: &mut Tally) {
    tally.streams += 1;
    let mut reading = Reading::new(dialect.reader());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_str(line).unwrap();
        let frame = match event.as_object().unwrap().iter().next() {
            Some((event, payload)) if payload.is_object() && name.contains("bedrock") => {
                reading.frame(&Frame { event: Some(event.as_bytes()), data: payload.to_string().as_bytes() })
            }
            _ => reading.frame(&Frame { event: None, data: line.as_bytes() }),
        };
        if let Err(problem) = frame {
            tally.problems.push(format!("{name}: {problem}"));
            return;
        }
    }
    match reading.finish() {
        Ok(reply) => check(name, &reply, tally),
        Err(problem) => tally.problems.push(format!("{name}: {problem}")),
    }
}

struct Reading {
    reader: Box<dyn StreamReader>,
    sequence: Sequence,
    out: Vec<Chunk>,
    is_done: bool,
}

impl Reading {
    fn new(reader: Box<dyn StreamReader>) -> Self {
        Self { reader, sequence: Sequence::default(), out: Vec::new(), is_done: false }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        if self.is_done {
            return Ok(());
        }
        let mut chunks = Vec::new();
        match self.reader.frame(frame, &mut chunks) {
            Ok(Step::More) => {}
            Ok(Step::Done) => self.is_done = true,
            Ok(Step::Error) => return Err(format!("an error: {}", String::from_utf8_lossy(frame.data))),
            Err(nonsense) => return Err(nonsense.to_string()),
        }
        chunks.into_iter().for_each(|chunk| self.sequence.push(chunk, &mut self.out));
        Ok(())
    }

    fn finish(mut self) -> Result<ChatReply, String> {
        if !self.is_done && !self.reader.is_complete() {
            return Err("read as cut off".into());
        }
        self.sequence.finish(&mut self.out);
        let mut accumulator = Accumulator::default();
        self.out.iter().for_each(|chunk| accumulator.push(chunk));
        Ok(accumulator.finish())
    }
}

fn check(name: &str, reply: &ChatReply, tally: &mut Tally) {
    if reply.usage.is_none_or(|usage| usage.prompt == 0 || usage.completion == 0 || usage.suspect) {
        tally.problems.push(format!("{name}: usage is {:?}", reply.usage));
    }
    let [choice] = reply.choices.as_slice() else {
        tally.problems.push(format!("{name}: {} choices", reply.choices.len()));
        return;
    };
    if choice.parts.is_empty() || choice.finish.is_none() {
        tally.problems.push(format!("{name}: nothing was said, or it did not end"));
    }
    for part in &choice.parts {
        if let Content::ToolCall(call) = &part.content {
            let arguments = serde_json::from_str::<Value>(&call.arguments);
            if call.id.is_empty() || call.name.is_empty() || !arguments.is_ok_and(|arguments| arguments.is_object()) {
                tally.problems.push(format!("{name}: a call cannot be made: {call:?}"));
            }
        }
    }
}
