//! Replays recorded provider traffic of the OpenAI chat type, where the recordings lie beside the project: every
//! whole reply and stream must be readable, every failure must get its class. Without the folder nothing runs.

#![allow(clippy::unwrap_used)]

#[path = "replay/chat.rs"]
mod chat;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bursar::providers::openai::{Action, StreamEnd, StreamRepair, repair_whole, whole_facts};
use bursar::providers::sse::{SseItem, SseReader};
use bursar::schema::{Operation, read};
use bursar::upstream::judge::{judge_error_value, judge_status};
use bytes::Bytes;
use serde_json::Value;

/// Part of a file's name, and the class its failure must have.
const CLASSES: &[(&str, &str)] = &[
    ("system_role_developer", "client_invalid"),
    ("context_length", "context_length"),
    ("tool_use_failed", "model_malformed"),
    ("tool_regular_error", "config_missing"),
    ("auth_error", "auth_invalid"),
    ("openrouter_errors_raised", "rate_limited"),
    ("openrouter_stream_error", "server_error"),
    ("groq-498-flex", "overloaded"),
    ("400-context", "context_length"),
    ("credit_balance_exhausted", "quota_exhausted"),
    ("insufficient_quota", "quota_exhausted"),
    ("spend_limit_exceeded", "quota_exhausted"),
    ("usage_limit_exceeded", "quota_exhausted"),
    ("rate_limit_exceeded", "rate_limited"),
    ("slow_down", "ramp"),
    ("server_is_overloaded", "overloaded"),
    ("in_flight_budget", "rate_limited"),
    ("midstream-error", "server_error"),
];

#[derive(Debug, Default)]
struct Tally {
    requests: usize,
    replies: usize,
    streams: usize,
    failures: usize,
    problems: Vec<String>,
}

#[test]
#[allow(clippy::print_stdout)]
fn recorded_traffic_is_read_without_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/fixtures");
    let root = std::env::var_os("BURSAR_RECORDINGS").map_or(root, PathBuf::from);
    let mut tally = Tally::default();
    for folder in
        ["openai", "openai-compatible", "groq", "openrouter", "perplexity", "mistral", "xai", "ollama", "synthetic"]
    {
        for sub in ["", "http"] {
            for path in files(&root.join(folder).join(sub)) {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let ours = ["openai", "groq", "vllm", "llamacpp", "openrouter"];
                if folder != "synthetic" || ours.iter().any(|prefix| name.starts_with(prefix)) {
                    replay(&path, &name, &mut tally);
                }
            }
        }
    }
    println!(
        "replayed {} requests, {} replies, {} streams, {} failures",
        tally.requests, tally.replies, tally.streams, tally.failures
    );
    assert!(tally.problems.is_empty(), "{}", tally.problems.join("\n"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

fn replay(path: &Path, name: &str, tally: &mut Tally) {
    let text = fs::read_to_string(path).unwrap();
    if name.ends_with(".sse") {
        stream(name, &text, Operation::ChatCompletions, tally);
    } else if name.ends_with(".chunks.txt") {
        let framed: String =
            text.lines().filter(|line| !line.is_empty()).map(|line| format!("data: {line}\n\n")).collect();
        let operation =
            if name.contains("completion-text") { Operation::Completions } else { Operation::ChatCompletions };
        if framed.contains("\"choices\"") {
            stream(name, &framed, operation, tally);
        }
    } else if let Ok(value) = serde_json::from_str::<Value>(&text) {
        match value.as_array() {
            Some(exchanges) => exchanges.iter().for_each(|exchange| replay_exchange(name, exchange, tally)),
            None if value.get("choices").is_some() => whole(name, &text, tally),
            None => {}
        }
    }
}

fn replay_exchange(name: &str, exchange: &Value, tally: &mut Tally) {
    let uri = exchange["request"]["uri"].as_str().unwrap_or_default();
    if !(uri.ends_with("/chat/completions") || uri == "synthetic" || exchange["response"]["status"] != 200) {
        return;
    }
    let request = &exchange["request"]["body"];
    if uri.ends_with("/chat/completions") && !request.is_null() {
        let body = request.as_str().map_or_else(|| request.to_string(), str::to_owned);
        tally.requests += 1;
        if let Err(error) = read(Operation::ChatCompletions, body.as_bytes()) {
            tally.problems.push(format!("{name}: the request is refused: {error}"));
        }
    }
    let response = &exchange["response"];
    let body = response["body"].as_str().map_or_else(|| response["body"].to_string(), str::to_owned);
    let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
    if status != 200 {
        let header = |name: &str| {
            let found = response["headers"].as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1;
            found.as_str().or_else(|| found.get(0)?.as_str())
        };
        let failure = judge_status(status, &header, body.as_bytes(), SystemTime::UNIX_EPOCH);
        check(name, failure.class.as_str(), tally);
    } else if body.trim_start().starts_with("{") && body.contains("\"choices\"") {
        whole(name, &body, tally);
    } else if body.contains("data:") {
        stream(name, &body, Operation::ChatCompletions, tally);
    }
}

/// Returns the provider that a file's name names; others are read as anybody.
fn provider_of(name: &str) -> &'static str {
    const NAMES: [&str; 6] = ["groq", "openrouter", "perplexity", "mistral", "xai", "deepseek"];
    NAMES.into_iter().find(|provider| name.contains(provider)).unwrap_or("plain")
}

fn check(name: &str, class: &str, tally: &mut Tally) {
    tally.failures += 1;
    let expected = CLASSES.iter().find(|(part, _)| name.contains(part)).map(|(_, class)| *class);
    if expected != Some(class) && !(name.contains("tool_use_failed") || name.contains("stream_error")) {
        tally.problems.push(format!("{name}: judged {class}, expected {expected:?}"));
    }
}

fn whole(name: &str, body: &str, tally: &mut Tally) {
    tally.replies += 1;
    if let Err(problem) = chat::whole(provider_of(name), body) {
        tally.problems.push(format!("{name}: decoded: {problem}"));
    }
    match whole_facts(Operation::ChatCompletions, body.as_bytes()) {
        Ok(facts) if facts.error_in_200 => tally.problems.push(format!("{name}: read as an error")),
        Ok(facts) => {
            if facts.usage.is_none_or(|usage| usage.prompt == 0 || usage.suspect) {
                tally.problems.push(format!("{name}: usage is {:?}", facts.usage));
            }
            let repaired = repair_whole(&Bytes::from(body.to_owned()));
            let again = whole_facts(Operation::ChatCompletions, &repaired).unwrap();
            if again.needs_repair {
                tally.problems.push(format!("{name}: still needs repair: {again:?}"));
            }
        }
        Err(malformed) => tally.problems.push(format!("{name}: {malformed}")),
    }
}

fn stream(name: &str, body: &str, operation: Operation, tally: &mut Tally) {
    tally.streams += 1;
    if operation == Operation::ChatCompletions
        && let Err(problem) = chat::stream(provider_of(name), body)
    {
        tally.problems.push(format!("{name}: decoded: {problem}"));
    }
    let mut reader = SseReader::new();
    let mut repair = StreamRepair::new(operation, true);
    reader.feed(Bytes::from(body.to_owned()));
    let mut items: Vec<_> = std::iter::from_fn(|| reader.next_event()).collect();
    items.extend(reader.finish());
    for item in items {
        let SseItem::Event(event) = item.unwrap() else { continue };
        match repair.on_event(&event) {
            Ok((Action::Error, _)) => {
                let failure = judge_error_value(event.data());
                check(name, failure.class.as_str(), tally);
                return;
            }
            Ok(_) => {}
            Err(malformed) => tally.problems.push(format!("{name}: {malformed}")),
        }
    }
    if repair.end() == StreamEnd::Truncated {
        tally.problems.push(format!("{name}: read as truncated"));
    }
}
