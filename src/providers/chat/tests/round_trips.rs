//! What was written is read back the same: whole, streamed, and streamed in pieces.

use bursar_actors::Usage;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::providers::chat::{Compatible, OpenAiChat, row};
use crate::providers::dialect::{ClientDialect, Step, UpstreamDialect};
use crate::providers::framing::{Framer, Framing};
use crate::providers::sequence::Sequence;
use crate::schema::chat::*;

fn upstream() -> Compatible {
    Compatible { row: row("openai").expect("it has a row") }
}

fn chunks_of(reply: &ChatReply) -> Vec<Chunk> {
    let mut chunks = vec![Chunk::Start {
        id: reply.id.clone(),
        created: reply.created,
        model: reply.model.clone(),
        service_tier: reply.service_tier.clone(),
        system_fingerprint: reply.system_fingerprint.clone(),
    }];
    for found in &reply.choices {
        let (choice, mut tools) = (found.index, 0..);
        for part in &found.parts {
            match &part.content {
                Content::Text(text) => chunks.push(Chunk::Text { choice, text: text.clone() }),
                Content::Thinking(thought) => {
                    chunks.push(Chunk::Thinking { choice, text: thought.text.clone() });
                    let (signature, encrypted) = (thought.signature.clone(), thought.encrypted.clone());
                    chunks.push(Chunk::ThinkingEnd {
                        choice,
                        signature,
                        encrypted,
                        vendor: thought.vendor,
                        id: thought.id.clone(),
                    });
                }
                Content::ToolCall(call) => {
                    let tool = tools.next().unwrap_or_default();
                    let (id, name, signature) = (call.id.clone(), call.name.clone(), call.signature.clone());
                    chunks.push(Chunk::ToolCall { choice, tool, id, name, custom: call.custom, signature });
                    chunks.push(Chunk::ToolArguments { choice, tool, fragment: call.arguments.clone() });
                }
                _ => {}
            }
        }
        chunks.extend(found.citations.iter().cloned().map(|citation| Chunk::Citation { choice, citation }));
        chunks.push(Chunk::Finish { choice, finish: found.finish.clone().unwrap_or(Finish::Length) });
    }
    chunks.extend(reply.usage.map(Chunk::Usage));
    chunks
}

fn written(chunks: &[Chunk], request: &ChatRequest) -> Vec<u8> {
    let (mut writer, mut out) = (OpenAiChat.writer(request), Vec::new());
    chunks.iter().for_each(|chunk| writer.chunk(chunk, &mut out));
    writer.finish(&mut out);
    out
}

fn read_back(bytes: &[u8], cuts: &[usize]) -> ChatReply {
    let (mut framer, mut reader) = (Framer::new(Framing::Sse), upstream().reader());
    let (mut chunks, mut ordered, mut from) = (Vec::new(), Vec::new(), 0);
    for cut in cuts.iter().map(|cut| cut % bytes.len()).chain([bytes.len()]).collect::<std::collections::BTreeSet<_>>()
    {
        framer.feed(Bytes::copy_from_slice(&bytes[from..cut]));
        from = cut;
        while let Some(framed) = framer.next_frame() {
            let framed = framed.expect("the stream is sound");
            assert_ne!(reader.frame(&framed.frame(), &mut chunks), Ok(Step::Error));
        }
    }
    let (mut sequence, mut accumulator) = (Sequence::default(), Accumulator::default());
    chunks.into_iter().for_each(|chunk| sequence.push(chunk, &mut ordered));
    sequence.finish(&mut ordered);
    ordered.iter().for_each(|chunk| accumulator.push(chunk));
    accumulator.finish()
}

fn usage() -> Usage {
    Usage { prompt: 9, completion: 5, total: 14, cached: 3, cache_write: 2, reasoning: 1, ..Usage::default() }
}

fn choice(index: u32) -> impl Strategy<Value = Choice> {
    let thought = prop_oneof![
        Just(None),
        "[a-z<]{1,9}".prop_map(|text| Some(Thinking { text, ..Thinking::default() })),
        "[a-z\"\\\\]{1,9}".prop_map(|text| Some(Thinking {
            text,
            signature: Some("sig".into()),
            vendor: Some(Dialect::Anthropic),
            ..Thinking::default()
        })),
        "[a-z]{1,9}".prop_map(|text| Some(Thinking {
            text,
            encrypted: Some("enc".into()),
            vendor: Some(Dialect::Responses),
            id: Some("rs_1".into()),
            ..Thinking::default()
        })),
    ];
    let call = (
        "[a-z_]{1,8}",
        prop_oneof![Just("{}".to_owned()), "[a-z\"\u{e9}\n]{0,5}".prop_map(|x| json!({ "x": x }).to_string())],
        any::<bool>(),
        any::<bool>(),
    );
    (thought, proptest::option::of("[ -~\u{1f600}\n]{1,20}"), proptest::collection::vec(call, 0..3), any::<bool>())
        .prop_map(move |(thought, text, calls, cited)| {
            let mut parts: Vec<Part> =
                thought.into_iter().map(|thought| Part::new(Content::Thinking(thought))).collect();
            parts.extend(text.map(Part::text));
            let finish = if calls.is_empty() { Finish::Length } else { Finish::ToolCalls };
            for (number, (name, arguments, custom, signed)) in calls.into_iter().enumerate() {
                let signature = (signed && !custom).then(|| "g".to_owned());
                parts.push(Part::new(Content::ToolCall(ToolCall {
                    id: format!("call_{number}"),
                    name,
                    arguments,
                    custom,
                    signature,
                })));
            }
            let citation = Citation { url: "https://a".into(), title: "A".into(), start: Some(1), end: Some(2) };
            Choice {
                index,
                parts,
                finish: Some(finish),
                citations: cited.then_some(citation).into_iter().collect(),
                logprobs: None,
            }
        })
}

proptest! {
    #[test]
    fn a_reply_passes_whole_and_in_pieces(first in choice(0), second in choice(1), cuts in proptest::collection::vec(0usize..5_000, 0..5)) {
        let reply = ChatReply {
            id: "chatcmpl-1".into(), created: 7, model: "m".into(), choices: vec![first, second],
            usage: Some(usage()), service_tier: Some("default".into()), system_fingerprint: Some("fp".into()),
        };
        let request = ChatRequest { include_usage: true, ..ChatRequest::default() };

        let whole = upstream().decode(&OpenAiChat.write(&reply, &request));
        let streamed = read_back(&written(&chunks_of(&reply), &request), &cuts);

        prop_assert_eq!(whole.as_ref(), Ok(&reply));
        prop_assert_eq!(&streamed, &reply);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(data in "[\\[\\]{}:,\"a-z0-9]{0,60}") {
        let body = format!("{{\"choices\":[{{\"delta\":{data}}}]}}");
        for data in [data.as_bytes(), body.as_bytes()] {
            _ = upstream().decode(data);
        }
    }
}

#[test]
fn a_stream_is_written_in_the_order_that_clients_expect() {
    let call = Chunk::ToolCall {
        choice: 0,
        tool: 0,
        id: "call_a".into(),
        name: "get_time".into(),
        custom: false,
        signature: None,
    };
    let start = Chunk::Start {
        id: "c".into(),
        created: 9,
        model: "m".into(),
        service_tier: Some("on_demand".into()),
        system_fingerprint: None,
    };
    let chunks = [
        start,
        call,
        Chunk::ToolArguments { choice: 0, tool: 0, fragment: "{\"tz\":1}".into() },
        Chunk::Finish { choice: 0, finish: Finish::ToolCalls },
        Chunk::Usage(usage()),
    ];
    let payloads = |include_usage| -> Vec<Value> {
        let out = written(&chunks, &ChatRequest { include_usage, ..ChatRequest::default() });
        let text = String::from_utf8(out).expect("it is UTF-8");
        let body = text.strip_suffix("data: [DONE]\n\n").expect("it ends so");
        body.split_terminator("\n\n")
            .map(|event| serde_json::from_str(&event["data: ".len()..]).expect("it is JSON"))
            .collect()
    };
    let event = |delta: Value, finish: Value| {
        json!({ "id": "c", "object": "chat.completion.chunk", "created": 9, "model": "m", "usage": null,
            "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }] })
    };

    let asked = payloads(true);

    let first =
        json!({ "index": 0, "id": "call_a", "type": "function", "function": { "name": "get_time", "arguments": "" } });
    let more = json!({ "index": 0, "function": { "arguments": "{\"tz\":1}" } });
    assert_eq!(
        asked[..4],
        [
            event(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null),
            event(json!({ "tool_calls": [first] }), Value::Null),
            event(json!({ "tool_calls": [more] }), Value::Null),
            event(json!({}), "tool_calls".into()),
        ]
    );
    assert_eq!(
        (&asked[4]["choices"], &asked[4]["usage"]["prompt_tokens_details"]["cached_tokens"]),
        (&json!([]), &json!(3))
    );
    let plain = payloads(false);
    assert_eq!(plain.len(), 4);
    assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[test]
fn a_client_of_functions_gets_a_function_call() {
    let call = ToolCall { id: "a".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() };
    let choice = Choice {
        parts: vec![Part::new(Content::ToolCall(call))],
        finish: Some(Finish::ToolCalls),
        ..Choice::default()
    };
    let reply = ChatReply { choices: vec![choice], ..ChatReply::default() };
    let request = ChatRequest { legacy_functions: true, model: Some("m".into()), ..ChatRequest::default() };

    let written: Value = serde_json::from_slice(&OpenAiChat.write(&reply, &request)).expect("it is JSON");

    let message = json!({ "role": "assistant", "content": null, "refusal": null, "function_call": { "name": "f", "arguments": "{}" } });
    assert_eq!(
        written["choices"][0],
        json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": "function_call" })
    );
    assert_eq!(written["model"], "m");
}
