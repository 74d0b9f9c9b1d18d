//! Golden files of the OpenAI dialect: what comes in, and byte for byte what must go out.
//!
//! | file in `tests/golden/openai/<case>/` | gives                                             |
//! |---------------------------------------|---------------------------------------------------|
//! | `request.json`                        | `upstream.json`: the body sent as model `up-1`    |
//! | `reply.json`                          | `client.json`, `verdict.json`                     |
//! | `stream.sse`                          | `client.sse`, `verdict.json`; also in all pieces  |
//! | `error.json`                          | `verdict.json`                                    |
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes what goes out; the diff is the review.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bursar::error::Failure;
use bursar::providers::openai::{
    Action, Malformed, Quirks, StreamEnd, StreamRepair, encode, error_chunk, repair_whole, whole_facts,
};
use bursar::providers::sse::{SseItem, SseReader};
use bursar::schema::{Operation, read};
use bursar::upstream::judge::{judge_error_value, judge_status};
use bytes::Bytes;
use serde_json::{Value, json};

#[test]
fn every_case_gives_what_its_golden_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openai");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();

    let wrong: Vec<String> = cases.iter().flat_map(|case| run(case)).collect();

    assert!(cases.len() >= 20, "only {} cases were found", cases.len());
    assert!(wrong.is_empty(), "{} files differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs one case and returns what differs.
fn run(case: &Path) -> Vec<String> {
    let load = |name: &str| fs::read(case.join(name)).ok().map(Bytes::from);
    let mut out: Vec<(&str, Vec<u8>)> = Vec::new();
    let request = load("request.json");
    let include_usage = request.as_ref().is_some_and(|body| {
        let head = read(Operation::ChatCompletions, body).unwrap();
        out.push(("upstream.json", encode(body, &head, "up-1", Quirks::default()).to_vec()));
        head.include_usage
    });
    if let Some(reply) = load("reply.json") {
        let (client, verdict) = whole(&reply);
        out.push(("client.json", client));
        out.push(("verdict.json", pretty(&verdict)));
    }
    if let Some(stream) = load("stream.sse") {
        let whole = streamed(&[&stream], include_usage);
        for at in 0..=stream.len() {
            let halves = streamed(&[&stream[..at], &stream[at..]], include_usage);
            assert_eq!(halves, whole, "{}: split at byte {at}", case.display());
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(streamed(&bytes, include_usage), whole, "{}: byte by byte", case.display());
        out.push(("client.sse", whole.0));
        out.push(("verdict.json", pretty(&whole.1)));
    }
    if let Some(error) = load("error.json") {
        out.push(("verdict.json", pretty(&verdict(&judge(&serde_json::from_slice(&error).unwrap())))));
    }
    assert!(!out.is_empty(), "{} holds no case", case.display());
    out.into_iter().filter_map(|(name, bytes)| differs(&case.join(name), &bytes)).collect()
}

fn differs(path: &Path, bytes: &[u8]) -> Option<String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, bytes).unwrap();
        return None;
    }
    let expected = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy;
    (expected != bytes).then(|| format!("--- {}\n{}\n+++ now\n{}", path.display(), text(&expected), text(bytes)))
}

fn whole(reply: &Bytes) -> (Vec<u8>, Value) {
    let facts = match whole_facts(Operation::ChatCompletions, reply) {
        Ok(facts) => facts,
        Err(malformed) => return (Vec::new(), json!({ "malformed": malformed.to_string() })),
    };
    if facts.error_in_200 {
        return (Vec::new(), verdict(&judge_error_value(reply)));
    }
    let client = if facts.needs_repair { repair_whole(reply) } else { reply.clone() };
    (client.to_vec(), json!({ "finish": facts.finish, "usage": facts.usage, "repaired": client != *reply }))
}

/// Sends a stream through reader and repair, as the gateway does.
fn streamed(pieces: &[&[u8]], include_usage: bool) -> (Vec<u8>, Value) {
    let mut reader = SseReader::new();
    let mut repair = StreamRepair::new(Operation::ChatCompletions, include_usage);
    let mut out = Vec::new();
    for piece in pieces {
        reader.feed(Bytes::copy_from_slice(piece));
        while let Some(item) = reader.next_event() {
            if let Some(stop) = take(item.unwrap(), &mut repair, &mut out) {
                return (out, stop);
            }
        }
    }
    // A last event that is cut says no more than the end of the stream does.
    if let Some(item) = reader.finish()
        && let Some(stop) = take(item.unwrap(), &mut repair, &mut out)
        && stop.get("malformed").is_none()
    {
        return (out, stop);
    }
    let end = match repair.end() {
        StreamEnd::Complete => "complete",
        StreamEnd::CompleteWithoutDone(tail) => {
            out.extend_from_slice(&tail);
            "complete_without_done"
        }
        StreamEnd::Truncated => {
            out.extend_from_slice(&error_chunk("the provider's stream broke off", "server_error", None, None));
            "truncated"
        }
    };
    (out, json!({ "end": end, "usage": repair.usage() }))
}

fn take(item: SseItem, repair: &mut StreamRepair, out: &mut Vec<u8>) -> Option<Value> {
    let SseItem::Event(event) = item else { return None };
    match repair.on_event(&event) {
        Ok((Action::Forward, _)) => out.extend_from_slice(event.raw()),
        Ok((Action::Replace(bytes), _)) => out.extend_from_slice(&bytes),
        Ok((Action::Drop, _)) => {}
        Ok((Action::Error, _)) => {
            let failure = judge_error_value(event.data());
            let kind = failure.kind.as_deref().unwrap_or("server_error");
            out.extend_from_slice(&error_chunk(&failure.message, kind, failure.code.as_deref(), None));
            return Some(verdict(&failure));
        }
        Err(malformed @ (Malformed::Empty | Malformed::Html | Malformed::NotJson | Malformed::NoChoices)) => {
            return Some(json!({ "malformed": malformed.to_string() }));
        }
    }
    None
}

/// Judges `{"status": …, "headers": {…}, "body": text or JSON}` at a fixed moment.
fn judge(case: &Value) -> Failure {
    let status = case["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
    let body = case["body"].as_str().map_or_else(|| case["body"].to_string(), str::to_owned);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    judge_status(status, &|name| case["headers"].get(name)?.as_str(), body.as_bytes(), now)
}

fn verdict(failure: &Failure) -> Value {
    json!({
        "class": failure.class,
        "retry_after_ms": failure.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap()),
        "status": failure.status,
        "message": failure.message,
        "type": failure.kind,
        "code": failure.code,
        "param": failure.param,
    })
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
