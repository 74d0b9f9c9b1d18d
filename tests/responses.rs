//! The Responses dialect as a whole: recorded traffic where it lies beside the project, and what must hold for any
//! stream: events counted without gaps, the end as whole as the reply, the same chunks wherever the bytes are cut.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use bursar::providers::dialect::{ClientDialect, Step, StreamFailure, UpstreamDialect, Whole};
use bursar::providers::framing::{Framed, Framer, Framing};
use bursar::providers::responses::{PassReader, Responses, error_body, error_events, whole};
use bursar::providers::sequence::Sequence;
use bursar::schema::chat::{Accumulator, ChatReply, ChatRequest, Chunk, Citation, Content, Dialect, Finish, Part};
use bursar_actors::Usage;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Cuts a stream's bytes into frames, fed in pieces that end at `cuts`.
fn frames(body: &[u8], cuts: &[usize]) -> Vec<Framed> {
    let (mut framer, mut frames, mut from) = (Framer::new(Framing::Sse), Vec::new(), 0);
    for cut in cuts.iter().copied().chain([body.len()]) {
        let cut = cut.clamp(from, body.len());
        framer.feed(Bytes::copy_from_slice(&body[from..cut]));
        from = cut;
        frames.extend(std::iter::from_fn(|| framer.next_frame()).map(Result::unwrap));
    }
    frames.extend(framer.finish().map(Result::unwrap));
    frames
}

/// Reads a stream as an upstream's; the last step says how it ended.
fn read_stream(body: &[u8], cuts: &[usize]) -> (Vec<Chunk>, Step) {
    let (mut reader, mut sequence) = (Responses.reader(), Sequence::default());
    let (mut chunks, mut last) = (Vec::new(), Step::More);
    for framed in frames(body, cuts) {
        let mut raw = Vec::new();
        last = reader.frame(&framed.frame(), &mut raw).unwrap();
        raw.into_iter().for_each(|chunk| sequence.push(chunk, &mut chunks));
        if last != Step::More {
            break;
        }
    }
    sequence.finish(&mut chunks);
    (chunks, last)
}

fn accumulated(chunks: &[Chunk]) -> ChatReply {
    let mut accumulator = Accumulator::default();
    chunks.iter().for_each(|chunk| accumulator.push(chunk));
    accumulator.finish()
}

fn request() -> ChatRequest {
    Responses.read(br#"{"model":"m","input":"hi"}"#).unwrap()
}

fn written(chunks: &[Chunk]) -> Vec<u8> {
    let (mut writer, mut out) = (Responses.writer(&request()), Vec::new());
    chunks.iter().for_each(|chunk| writer.chunk(chunk, &mut out));
    writer.finish(&mut out);
    out
}

fn events(body: &[u8]) -> Vec<Value> {
    let value = |framed: &Framed| {
        let frame = framed.frame();
        let value: Value = serde_json::from_slice(frame.data).unwrap();
        assert_eq!(frame.event, value["type"].as_str().map(str::as_bytes), "the event's line names its type");
        value
    };
    frames(body, &[]).iter().map(value).collect()
}

/// Checks what holds for every stream that is written, and returns the response of its last event.
fn check_stream(body: &[u8]) -> Value {
    let events = events(body);
    let mut items: Vec<Value> = Vec::new();
    let mut open: Option<u64> = None;
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
        let index = event["output_index"].as_u64();
        match event["type"].as_str().unwrap() {
            "response.output_item.added" => {
                assert_eq!(index, Some(items.len() as u64));
                assert_eq!(open.replace(items.len() as u64), None, "one item at a time");
                items.push(event["item"]["id"].clone());
            }
            "response.output_item.done" => {
                assert_eq!(open.take(), index);
                let at = items.len() - 1;
                assert_eq!(items[at], event["item"]["id"]);
                items[at] = event["item"].clone();
            }
            _ if index.is_some() => {
                assert_eq!(open, index);
                assert_eq!(event["item_id"], items[items.len() - 1]);
            }
            _ => {}
        }
    }
    let last = &events[events.len() - 1]["response"];
    assert_eq!(last["output"], Value::from(items), "the end holds every item as it was done");
    last.clone()
}

fn recordings() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/fixtures");
    let root = std::env::var_os("BURSAR_RECORDINGS").map_or(root, PathBuf::from).join("openai");
    let mut found = Vec::new();
    for folder in [root.clone(), root.join("http")] {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Ok(text) = fs::read_to_string(&path) else { continue };
            if name.ends_with(".chunks.txt") {
                // One of them was shortened by hand, within a JSON text.
                if text.lines().any(|line| serde_json::from_str::<Value>(line).is_err() && !line.is_empty()) {
                    continue;
                }
                let framed: String =
                    text.lines().filter(|line| !line.is_empty()).map(|line| format!("data: {line}\n\n")).collect();
                found.push((name, framed.into_bytes()));
            } else if let Ok(Value::Array(exchanges)) = serde_json::from_str(&text) {
                for exchange in exchanges {
                    let is_ours = exchange["request"]["uri"].as_str().is_some_and(|uri| uri.ends_with("/responses"));
                    if let Some(body) = exchange["response"]["body"].as_str().filter(|_| is_ours) {
                        found.push((name.clone(), body.as_bytes().to_vec()));
                    } else if is_ours && exchange["response"]["body"].is_object() {
                        found.push((name.clone(), exchange["response"]["body"].to_string().into_bytes()));
                    }
                }
            } else if name.ends_with(".json") {
                found.push((name, text.into_bytes()));
            }
        }
    }
    found
}

#[test]
fn recorded_streams_are_read_and_written_again_without_loss() {
    let is_stream = |body: &[u8]| body.windows(18).any(|window| window == b"\"response.created\"");
    for (name, body) in recordings().into_iter().filter(|(_, body)| is_stream(body)) {
        let mut pass = PassReader::default();
        let facts: Vec<_> = frames(&body, &[]).iter().map(|framed| pass.frame(&framed.frame()).unwrap()).collect();
        let (chunks, last) = read_stream(&body, &[]);
        if name.contains("error") {
            assert_eq!(last, Step::Error, "{name}");
            assert!(facts.iter().any(|facts| facts.error) && !pass.is_complete());
            continue;
        }
        assert_eq!(last, Step::Done, "{name}");
        let reply = accumulated(&chunks);
        // One recording holds several streams in a row.
        let passed = facts.iter().find(|facts| facts.done).unwrap();
        assert!(reply.usage.is_some_and(|usage| usage.prompt > 0 && !usage.suspect), "{name}: {:?}", reply.usage);
        assert_eq!(passed.usage, reply.usage, "{name}");
        assert_eq!(passed.finish, reply.choices[0].finish, "{name}");

        let again = written(&chunks);
        let response = check_stream(&again);
        let (chunks_again, _) = read_stream(&again, &[]);
        let reply_again = accumulated(&chunks_again);
        assert_eq!(reply_again.usage, reply.usage, "{name}");
        assert_eq!(shown(&reply_again), shown(&reply), "{name}");
        let whole: Value = serde_json::from_slice(&Responses.write(&reply, &request())).unwrap();
        assert_eq!(shown_items(&response), shown_items(&whole), "{name}");
    }
}

#[test]
fn recorded_replies_are_read_and_written_again_without_loss() {
    for (name, body) in recordings() {
        let Ok(Value::Object(top)) = serde_json::from_slice(&body) else { continue };
        if top.get("object").is_none_or(|object| object != "response") {
            if top.contains_key("error") {
                assert!(whole(&body).is_ok_and(|whole| whole.error), "{name}");
            }
            continue;
        }
        let reply = Responses.decode(&body).unwrap();
        assert!(reply.usage.is_some_and(|usage| usage.prompt > 0 && !usage.suspect), "{name}: {:?}", reply.usage);
        let finish = reply.choices[0].finish.as_ref().map(Finish::as_str);
        assert_eq!(whole(&body), Ok(Whole { usage: reply.usage, finish, error: false }), "{name}");

        let again = Responses.decode(&Responses.write(&reply, &request())).unwrap();
        assert_eq!(again.usage, reply.usage, "{name}");
        assert_eq!(shown(&again), shown(&reply), "{name}");
        assert_eq!((&again.id, again.created, &again.model), (&reply.id, reply.created, &reply.model), "{name}");
    }
}

/// Returns what a reply shows, texts in a row taken as one.
fn shown(reply: &ChatReply) -> (Vec<Content>, Vec<Citation>, Option<Finish>) {
    let mut contents: Vec<Content> = Vec::new();
    for part in &reply.choices[0].parts {
        match (contents.last_mut(), part.content.clone()) {
            (Some(Content::Text(before)), Content::Text(text)) => before.push_str(&text),
            // A thought written in a stream is not known by its vendor's id until its end.
            (_, Content::Thinking(mut thinking)) => {
                thinking.id = None;
                thinking.encrypted = thinking.encrypted.map(|text| text.rsplit(':').next().unwrap().to_owned());
                contents.push(Content::Thinking(thinking));
            }
            (_, content) => contents.push(content),
        }
    }
    (contents, reply.choices[0].citations.clone(), reply.choices[0].finish.clone())
}

fn shown_items(response: &Value) -> Vec<Value> {
    let mut items = response["output"].as_array().unwrap().clone();
    for item in items.iter_mut().filter(|item| item["type"] == "reasoning") {
        item["id"] = Value::Null;
        item["encrypted_content"] = Value::Null;
    }
    items
}

fn start() -> Chunk {
    let (id, model) = ("chatcmpl-7".into(), "m".into());
    Chunk::Start { id, created: 7, model, service_tier: None, system_fingerprint: None }
}

fn call(tool: u32, id: &str) -> Chunk {
    Chunk::ToolCall { choice: 0, tool, id: id.into(), name: "f".into(), custom: false, signature: None }
}

fn arguments(tool: u32, fragment: &str) -> Chunk {
    Chunk::ToolArguments { choice: 0, tool, fragment: fragment.into() }
}

fn text(text: &str) -> Chunk {
    Chunk::Text { choice: 0, text: text.into() }
}

fn finish(finish: Finish) -> Chunk {
    Chunk::Finish { choice: 0, finish }
}

#[test]
fn interleaved_calls_come_out_one_after_another() {
    let chunks = [
        start(),
        call(0, "a"),
        arguments(0, "{\"x\""),
        call(1, "b"),
        arguments(1, "{}"),
        text("late"),
        arguments(0, ":1}"),
        call(2, "c"),
        finish(Finish::ToolCalls),
    ];

    let response = check_stream(&written(&chunks));

    let of = |item: &Value| (item["type"].clone(), item["call_id"].clone(), item["arguments"].clone());
    let items: Vec<_> = response["output"].as_array().unwrap().iter().map(of).collect();
    let call = |id: &str, arguments: &str| (json!("function_call"), json!(id), json!(arguments));
    let message = (json!("message"), Value::Null, Value::Null);
    assert_eq!(items, [call("a", "{\"x\":1}"), call("b", "{}"), message, call("c", "")]);
}

#[test]
fn a_text_answer_has_the_events_of_openai_in_their_order() {
    let citation = Citation { url: "https://a.example".into(), title: "A".into(), start: Some(0), end: Some(2) };
    let chunks = [
        start(),
        Chunk::Thinking { choice: 0, text: "hm".into() },
        text("ok"),
        Chunk::Citation { choice: 0, citation },
        finish(Finish::Length),
        Chunk::Usage(Usage { prompt: 1, completion: 2, total: 3, ..Usage::default() }),
    ];

    let body = written(&chunks);

    let kinds: Vec<_> = events(&body).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    let expected = "created in_progress output_item.added reasoning_summary_part.added reasoning_summary_text.delta \
        reasoning_summary_text.done reasoning_summary_part.done output_item.done output_item.added \
        content_part.added output_text.delta output_text.annotation.added output_text.done content_part.done \
        output_item.done incomplete";
    let expected: Vec<_> = expected.split_whitespace().map(|kind| format!("response.{kind}")).collect();
    assert_eq!(kinds, expected);
    let last = check_stream(&body);
    assert_eq!(last["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(last["output"][1]["status"], "incomplete");
    assert_eq!(last["usage"]["total_tokens"], 3);
    assert_eq!(last["id"], "resp_7");
}

#[test]
fn a_stream_that_fails_says_so_as_an_event_and_in_the_response() {
    let failure = StreamFailure { message: "gone", kind: "server_error", code: Some("upstream_broken"), param: None };
    let (mut writer, mut out) = (Responses.writer(&request()), Vec::new());
    [start(), text("o")].iter().for_each(|chunk| writer.chunk(chunk, &mut out));

    assert!(writer.fail(&failure, &mut out));

    let written = events(&out);
    let [.., error, failed] = written.as_slice() else { panic!("two events at least") };
    assert_eq!((&error["code"], &error["error"]["code"]), (&json!("upstream_broken"), &json!("upstream_broken")));
    assert_eq!(failed["response"]["status"], "failed");
    assert_eq!(failed["response"]["error"], json!({ "code": "server_error", "message": "gone" }));
    assert_eq!(failed["response"]["output"][0]["content"][0]["text"], "o");
    for (number, event) in written.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
}

#[test]
fn a_stream_passed_on_can_fail_as_well() {
    let body = b"event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":4,\"response\":{\"id\":\"resp_1\",\"error\":null}}\n\n";
    let failure = StreamFailure { message: "gone", kind: "server_error", code: None, param: None };
    let mut pass = PassReader::default();
    let facts = pass.frame(&frames(body, &[])[0].frame()).unwrap();

    let out = error_events(pass.progress(), &failure);

    assert!(!facts.is_output && !facts.error && !pass.is_complete());
    let events = events(&out);
    assert_eq!((&events[0]["sequence_number"], &events[1]["sequence_number"]), (&json!(5), &json!(6)));
    assert_eq!(events[1]["response"]["id"], "resp_1");
    let first = error_events(PassReader::default().progress(), &failure);
    assert_eq!(frames(&first, &[]).len(), 1, "without a response only the error is told");
}

#[test]
fn errors_of_upstreams_are_read_in_every_form() {
    let expected = json!({ "error": { "type": "c", "code": "c", "message": "m", "param": null } });
    let nested = json!({ "type": "error", "error": { "type": "c", "code": "c", "message": "m", "param": null } });
    let flat = json!({ "type": "error", "code": "c", "message": "m", "param": null, "sequence_number": 1 });
    let failed = json!({ "type": "response.failed", "response": { "error": { "code": "c", "message": "m" } } });

    assert_eq!(error_body(nested.to_string().as_bytes()), Some(expected.clone()));
    assert_eq!(error_body(flat.to_string().as_bytes()), Some(expected));
    let read = error_body(failed.to_string().as_bytes()).unwrap();
    assert_eq!((&read["error"]["type"], &read["error"]["message"]), (&json!("c"), &json!("m")));
    assert_eq!(error_body(b"{}"), None);
}

/// Any stream of chunks that a decoder could hand out.
fn any_chunks() -> impl Strategy<Value = Vec<Chunk>> {
    let step = prop_oneof![
        "[a-z\u{e9}\"\\\\ ]{0,5}".prop_map(|text| Chunk::Text { choice: 0, text }),
        "[a-z]{0,4}".prop_map(|text| Chunk::Refusal { choice: 0, text }),
        "[a-z]{0,4}".prop_map(|text| Chunk::Thinking { choice: 0, text }),
        proptest::option::of("[a-z]{1,3}").prop_map(|encrypted| Chunk::ThinkingEnd {
            choice: 0,
            signature: None,
            encrypted,
            vendor: Some(Dialect::Responses),
            id: None,
        }),
        (0u32..4).prop_map(|tool| call(tool, &format!("call_{tool}"))),
        (0u32..4, prop_oneof![Just("{\"a\":"), Just("1}"), Just("{}"), Just("")])
            .prop_map(|(tool, fragment)| arguments(tool, fragment)),
        Just(Chunk::Text { choice: 1, text: "another".into() }),
        Just(Chunk::Native { choice: 0, dialect: Dialect::Responses, value: json!({ "type": "x_call", "id": "x" }) }),
    ];
    (proptest::collection::vec(step, 0..16), any::<bool>()).prop_map(|(steps, length)| {
        let mut sequence = Sequence::default();
        let mut chunks = Vec::new();
        let end = if length { Finish::Length } else { Finish::Stop { sequence: None } };
        let all = [start()].into_iter().chain(steps).chain([finish(end)]);
        all.for_each(|chunk| sequence.push(chunk, &mut chunks));
        sequence.finish(&mut chunks);
        chunks
    })
}

/// Returns all that is said and the arguments of all calls.
fn gist(reply: &ChatReply) -> (String, Vec<(String, String)>) {
    let parts = reply.choices.iter().filter(|choice| choice.index == 0).flat_map(|choice| &choice.parts);
    let (mut said, mut calls) = (String::new(), Vec::new());
    for Part { content, .. } in parts {
        match content {
            Content::Text(text) | Content::Refusal(text) => said.push_str(text),
            Content::ToolCall(call) => calls.push((call.id.clone(), call.arguments.clone())),
            _ => {}
        }
    }
    (said, calls)
}

proptest! {
    #[test]
    fn whatever_is_written_counts_without_gaps_and_loses_nothing(chunks in any_chunks()) {
        let body = written(&chunks);

        check_stream(&body);
        let (said, calls) = gist(&accumulated(&chunks));
        let (said_again, calls_again) = gist(&accumulated(&read_stream(&body, &[]).0));
        prop_assert_eq!(said, said_again);
        prop_assert_eq!(calls.len(), calls_again.len());
        for (before, after) in calls.iter().zip(&calls_again) {
            prop_assert_eq!(&before.0, &after.0);
            // What comes after arguments that were whole is not waited for.
            let is_whole = serde_json::from_str::<Value>(&before.1).is_ok();
            prop_assert!(!is_whole || before.1 == after.1, "{} {}", before.1, after.1);
        }
    }

    #[test]
    fn a_stream_reads_the_same_wherever_it_is_cut(chunks in any_chunks(), cuts in proptest::collection::vec(0usize..4_000, 0..6)) {
        let body = written(&chunks);
        let mut cuts = cuts;
        cuts.sort_unstable();

        prop_assert_eq!(read_stream(&body, &cuts), read_stream(&body, &[]));
    }
}
