//! Golden files of the translations: every canonical request for every provider, every provider's answers as clients get
//! them, and every other client's requests and answers.
//!
//! | file below `tests/golden/`         | gives                                                                     |
//! |------------------------------------|---------------------------------------------------------------------------|
//! | `requests/<case>.json`             | for each provider `<provider>/<case>/wire.json`                           |
//! | `<provider>/<case>/reply.json`     | `client.json`, as OpenAI chat                                             |
//! | `<provider>/<case>/request.json`   | what was asked, where the answer depends on it                            |
//! | `<provider>/<case>/stream.txt`     | `client.sse`, also in all pieces; the same answer as `reply.json` beside  |
//! | `<provider>/<case>/stream.jsonl`   | the same, a line per message of AWS's binary framing                      |
//! | `<provider>/<case>/error.json`     | `verdict.json`                                                            |
//! | `clients/<client>/<case>/request.json` | `chat.json`: what OpenAI gets                                         |
//! | `chat/<case>/{reply.json,stream.txt}`  | for each client `clients/<client>/<case>/client.{json,sse}`           |
//!
//! `UPDATE_GOLDEN=1 cargo test --test translations` writes what comes out; the diff is the review.

#![allow(clippy::unwrap_used)]

#[path = "golden/event_stream.rs"]
mod event_stream;

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bursar::call::RequestId;
use bursar::error::Failure;
use bursar::pipeline::flow::{Flow, TranslateFlow};
use bursar::pipeline::translation::{Goal, Thoughts, Translation};
use bursar::providers::dialect::{ModelFacts, StreamFailure, Target, UpstreamDialect};
use bursar::providers::framing::Framer;
use bursar::providers::sequence::{Sequence, in_order};
use bursar::providers::{clients, upstreams};
use bursar::schema::Operation;
use bursar::schema::chat::{Accumulator, ChatRequest, Dialect};
use bursar::upstream::judge::judge_status;
use bytes::Bytes;
use serde_json::{Value, json};

/// Its folder, its kind in the configuration, its dialect, and a model of it.
struct Provider(&'static str, &'static str, Dialect, &'static str);

const OPENAI: Provider = Provider("chat", "openai", Dialect::OpenAi, "gpt-5.1");
const PROVIDERS: [Provider; 8] = [
    OPENAI,
    Provider("anthropic", "anthropic", Dialect::Anthropic, "claude-sonnet-4-5"),
    Provider("bedrock", "bedrock", Dialect::Bedrock, "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    Provider("cohere", "cohere", Dialect::Cohere, "command-a-reasoning-08-2025"),
    Provider("gemini", "gemini", Dialect::Gemini, "gemini-3.7-flash"),
    Provider("mistral", "mistral", Dialect::OpenAi, "magistral-medium-latest"),
    Provider("ollama", "ollama", Dialect::Ollama, "gpt-oss:20b"),
    Provider("responses", "openai", Dialect::Responses, "gpt-5.1"),
];

/// Its folder, its operation, and what it asks where only the answer matters.
struct Client(&'static str, Operation, &'static str);

const CHAT: Client = Client(
    "chat",
    Operation::ChatCompletions,
    r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true,"stream_options":{"include_usage":true}}"#,
);
const CLIENTS: [Client; 4] = [
    Client(
        "anthropic",
        Operation::Messages,
        r#"{"model":"m","max_tokens":2048,"messages":[{"role":"user","content":"Hi"}],
            "thinking":{"type":"enabled","budget_tokens":1024}}"#,
    ),
    Client(
        "completions",
        Operation::Completions,
        r#"{"model":"m","prompt":"Hi","stream":true,"stream_options":{"include_usage":true}}"#,
    ),
    Client(
        "gemini",
        Operation::GenerateContent,
        r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],
            "generationConfig":{"thinkingConfig":{"includeThoughts":true}}}"#,
    ),
    Client(
        "responses",
        Operation::Responses,
        r#"{"model":"m","input":"Hi","reasoning":{"effort":"low","summary":"auto"}}"#,
    ),
];

#[test]
fn every_request_reaches_every_provider_as_its_golden_file_says() {
    let mut golden = Golden::default();
    for path in entries(&root().join("requests")) {
        let case = path.file_stem().unwrap().to_str().unwrap();
        let request = clients::of(Operation::ChatCompletions).read(&fs::read(&path).unwrap());
        let request = request.unwrap_or_else(|error| panic!("{case}: {error}"));
        for provider in &PROVIDERS {
            golden.json(&root().join(provider.0).join(case).join("wire.json"), &wire(provider, &request));
        }
    }
    golden.check(15 * PROVIDERS.len());
}

#[test]
fn every_answer_of_a_provider_comes_out_as_its_golden_files_say() {
    let mut golden = Golden::default();
    for provider in &PROVIDERS {
        for case in entries(&root().join(provider.0)) {
            answers(&case, provider, &CHAT, &case, &mut golden);
            if let Ok(error) = fs::read(case.join("error.json")) {
                let verdict = judge(&serde_json::from_slice(&error).unwrap());
                golden.json(&case.join("verdict.json"), &verdict);
            }
        }
    }
    golden.check(12 * PROVIDERS.len());
}

#[test]
fn every_other_client_is_understood_and_answered_as_its_golden_files_say() {
    let mut golden = Golden::default();
    for client in &CLIENTS {
        let folder = root().join("clients").join(client.0);
        for case in entries(&folder) {
            let Ok(body) = fs::read(case.join("request.json")) else { continue };
            let wire = clients::of(client.1).read(&body).map_or_else(|error| refused(&error), |r| wire(&OPENAI, &r));
            golden.json(&case.join("chat.json"), &wire);
        }
        for case in entries(&root().join(OPENAI.0)) {
            answers(&case, &OPENAI, client, &folder.join(case.file_name().unwrap()), &mut golden);
        }
    }
    golden.check(20 * CLIENTS.len());
}

/// What comes out, and what differs from the files.
#[derive(Default)]
struct Golden {
    files: usize,
    wrong: Vec<String>,
}

impl Golden {
    fn json(&mut self, path: &Path, value: &Value) {
        self.bytes(path, format!("{value:#}\n").as_bytes());
    }

    fn bytes(&mut self, path: &Path, bytes: &[u8]) {
        self.files += 1;
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            return fs::write(path, bytes).unwrap();
        }
        let expected = fs::read(path).unwrap_or_default();
        if expected != bytes {
            let [expected, now] = [&expected[..], bytes].map(String::from_utf8_lossy);
            self.wrong.push(format!("--- {}\n{expected}\n+++ now\n{now}", path.display()));
        }
    }

    fn holds(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
        }
    }

    #[track_caller]
    fn check(&self, at_least: usize) {
        assert!(self.files >= at_least, "only {} files were found", self.files);
        assert!(self.wrong.is_empty(), "{} files differ:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn upstream(provider: &Provider) -> &'static dyn UpstreamDialect {
    upstreams::of(provider.1, provider.2)
}

fn wire(provider: &Provider, request: &ChatRequest) -> Value {
    let target = Target { model: provider.3, model_facts: &ModelFacts::default(), strict: false };
    match upstream(provider).encode(request, &target) {
        Ok(wire) => json!({
            "path": wire.path,
            "headers": wire.headers.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "body": serde_json::from_slice::<Value>(&wire.body).unwrap(),
            "warnings": wire.warnings,
        }),
        Err(error) => refused(&error),
    }
}

fn refused(error: &bursar::schema::IntakeError) -> Value {
    json!({ "refused": { "message": error.message, "param": error.param, "code": error.code } })
}

/// What `client` gets of the answers in `case`, which are `provider`'s; goes to the folder `out`.
fn answers(case: &Path, provider: &Provider, client: &Client, out: &Path, golden: &mut Golden) {
    let asked = fs::read(case.join("request.json")).ok().filter(|_| client.1 == CHAT.1);
    let request = clients::of(client.1).read(asked.as_deref().unwrap_or(client.2.as_bytes())).unwrap();
    let request = Rc::new(ChatRequest { stream: true, ..request });
    let goal = Goal { dialect: provider.2, upstream: upstream(provider), model: provider.3, thoughts: Thoughts::Own };
    let named = (RequestId::from_client("golden").unwrap(), 1_790_000_000);
    let translation = Translation::between(clients::of(client.1), request.clone(), &goal, &Arc::default(), named);
    let reply = fs::read(case.join("reply.json")).ok().map(|reply| match translation.whole(&reply.into()) {
        Ok(whole) => serde_json::from_slice(&whole.body).unwrap(),
        Err(failure) => json!({ "failure": verdict(&failure) }),
    });
    if let Some(reply) = &reply {
        golden.json(&out.join("client.json"), reply);
    }
    let text = fs::read(case.join("stream.txt")).ok();
    let binary = || fs::read_to_string(case.join("stream.jsonl")).ok().map(|lines| event_stream::framed(&lines));
    let Some(stream) = text.or_else(binary) else { return };
    let whole = streamed(&translation, client.1, [&stream[..]]);
    for at in 0..stream.len() {
        let halves = streamed(&translation, client.1, [&stream[..at], &stream[at..]]);
        golden.holds(halves == whole, || format!("{}: it differs when split at byte {at}", case.display()));
    }
    let bytewise = streamed(&translation, client.1, stream.chunks(1));
    golden.holds(bytewise == whole, || format!("{}: it differs byte by byte", case.display()));
    if let Some(reply) = reply {
        let amount = accumulated(&translation, &stream);
        golden.holds(amount == reply, || format!("{}: the stream amounts to\n{amount:#}", out.display()));
    }
    golden.bytes(&out.join("client.sse"), &whole);
}

/// Sends a stream through the gateway's own flow, to the end that the client sees.
fn streamed<'p>(
    translation: &Translation,
    operation: Operation,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> Vec<u8> {
    let mut flow = TranslateFlow::new(translation.clone(), None);
    let mut out = Vec::new();
    let mut pieces = pieces.into_iter().map(Bytes::copy_from_slice);
    loop {
        let piece = pieces.next();
        let over = piece.is_none();
        let mut batch = if let Some(piece) = piece { flow.feed(piece) } else { flow.end() };
        out.extend_from_slice(&batch.bytes.take());
        if let Some(failure) = batch.failure {
            let code = failure.class.as_str();
            let told = StreamFailure { message: &failure.message, kind: "server_error", code: Some(code), param: None };
            let event = flow.fail(&told).unwrap_or_else(|| clients::error_event(operation, 502, &told));
            out.extend_from_slice(&event);
            return out;
        }
        if batch.done || over {
            return out;
        }
    }
}

/// What the stream amounts to, written as a whole reply.
fn accumulated(translation: &Translation, stream: &[u8]) -> Value {
    let mut framer = Framer::new(translation.upstream.framing());
    let (mut reader, mut sequence) = (translation.upstream.reader(), Sequence::default());
    let (mut read, mut ordered) = (Vec::new(), Vec::new());
    framer.feed(Bytes::copy_from_slice(stream));
    while let Some(framed) = framer.next_frame().or_else(|| framer.finish()) {
        reader.frame(&framed.unwrap().frame(), &mut read).unwrap();
    }
    read.into_iter().for_each(|chunk| sequence.push(chunk, &mut ordered));
    sequence.finish(&mut ordered);
    if let Some(mut custom) = translation.custom.stream() {
        std::mem::take(&mut ordered).into_iter().for_each(|chunk| custom.push(chunk, &mut ordered));
    }
    let mut accumulator = Accumulator::default();
    for chunk in &mut ordered {
        translation.note(chunk);
        accumulator.push(chunk);
    }
    let mut reply = accumulator.finish();
    in_order(&mut reply);
    serde_json::from_slice(&translation.client.write(&reply, &translation.request)).unwrap()
}

/// Judges `{"status": …, "headers": {…}, "body": text or JSON}` at a fixed moment.
fn judge(case: &Value) -> Value {
    let status = case["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
    let body = case["body"].as_str().map_or_else(|| case["body"].to_string(), str::to_owned);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    verdict(&judge_status(status, &|name| case["headers"].get(name)?.as_str(), body.as_bytes(), now))
}

fn verdict(failure: &Failure) -> Value {
    json!({
        "class": failure.class,
        "retry_after_ms": failure.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap()),
        "status": failure.status,
        "message": failure.message,
        "type": failure.kind,
        "code": failure.code,
    })
}
