//! Streams, read and written.

use bursar_actors::Usage;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::providers::anthropic::{Anthropic, Facts, PassReader, whole};
use crate::providers::dialect::{ClientDialect, Nonsense, Step, UpstreamDialect, Whole};
use crate::providers::framing::{Framer, Framing};
use crate::providers::sequence::Sequence;
use crate::providers::sse::{SseItem, SseReader};
use crate::schema::chat::{Accumulator, ChatReply, ChatRequest, Chunk, Citation, Content, Dialect, Finish, Part};

/// Frames events as Anthropic does.
fn framed(events: &[Value]) -> Vec<u8> {
    let event = |data: &Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap());
    events.iter().map(event).collect::<String>().into_bytes()
}

/// Reads a stream that comes in pieces: its chunks, how it ended, whether it was complete.
fn read(pieces: &[&[u8]]) -> Result<(Vec<Chunk>, Step, bool), Nonsense> {
    let (mut framer, mut reader, mut out) = (Framer::new(Framing::Sse), Anthropic.reader(), Vec::new());
    let mut step = Step::More;
    for piece in pieces {
        framer.feed(Bytes::copy_from_slice(piece));
        while let Some(frame) = framer.next_frame() {
            if step == Step::More {
                step = reader.frame(&frame.unwrap().frame(), &mut out)?;
            }
        }
    }
    Ok((out, step, reader.is_complete()))
}

/// Returns the whole reply that a stream amounts to.
fn gathered(chunks: Vec<Chunk>) -> ChatReply {
    let (mut sequence, mut out, mut accumulator) = (Sequence::default(), Vec::new(), Accumulator::default());
    chunks.into_iter().for_each(|chunk| sequence.push(chunk, &mut out));
    sequence.finish(&mut out);
    out.iter().for_each(|chunk| accumulator.push(chunk));
    accumulator.finish()
}

fn start(block: Value, index: u64) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn delta(index: u64, delta: Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn stop(index: u64) -> Value {
    json!({ "type": "content_block_stop", "index": index })
}

fn message_start(id: &str) -> Value {
    let usage =
        json!({ "input_tokens": 9, "cache_read_input_tokens": 2, "output_tokens": 1, "service_tier": "standard" });
    json!({ "type": "message_start", "message": { "id": id, "model": "m", "content": [], "usage": usage } })
}

fn ending(reason: &str) -> [Value; 2] {
    let usage = json!({ "input_tokens": 10, "output_tokens": 20, "output_tokens_details": { "thinking_tokens": 5 } });
    [
        json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null }, "usage": usage }),
        json!({ "type": "message_stop" }),
    ]
}

/// A stream of everything, and the message it is the stream of.
fn everything() -> (Vec<Value>, Value) {
    let mut events = vec![
        message_start("msg_1"),
        json!({ "type": "ping" }),
        start(json!({ "type": "thinking", "thinking": "", "signature": "" }), 0),
        delta(0, json!({ "type": "thinking_delta", "thinking": "h" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "m" })),
        delta(0, json!({ "type": "signature_delta", "signature": "sig" })),
        stop(0),
        start(json!({ "type": "redacted_thinking", "data": "x" }), 1),
        stop(1),
        start(json!({ "type": "text", "text": "" }), 2),
        delta(2, json!({ "type": "text_delta", "text": "a\u{1F680}" })),
        delta(2, json!({ "type": "citations_delta", "citation": { "url": "https://x", "title": "t" } })),
        json!({ "type": "something_new", "index": "odd" }),
        delta(2, json!({ "type": "something_new" })),
        stop(2),
        start(json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} }), 3),
        delta(3, json!({ "type": "input_json_delta", "partial_json": "{\"q\":" })),
        delta(3, json!({ "type": "input_json_delta", "partial_json": "1}" })),
        stop(3),
        start(json!({ "type": "compaction", "content": "" }), 4),
        delta(4, json!({ "type": "compaction_delta", "content": "so far" })),
        stop(4),
        start(json!({ "type": "tool_use", "id": "t1", "name": "f", "input": {} }), 5),
        delta(5, json!({ "type": "input_json_delta", "partial_json": "" })),
        delta(5, json!({ "type": "input_json_delta", "partial_json": "{\"x\":" })),
        delta(5, json!({ "type": "input_json_delta", "partial_json": "1}" })),
        stop(5),
        start(json!({ "type": "tool_use", "id": "t2", "name": "no_arguments", "input": {} }), 6),
        stop(6),
        start(json!({ "type": "tool_use", "id": "t3", "name": "whole", "input": { "y": 2 } }), 7),
        stop(7),
    ];
    events.remove(12);
    events.extend(ending("tool_use"));
    let message = json!({
        "id": "msg_1", "type": "message", "model": "m", "stop_reason": "tool_use",
        "content": [
            { "type": "thinking", "thinking": "hm", "signature": "sig" },
            { "type": "redacted_thinking", "data": "x" },
            { "type": "text", "text": "a\u{1F680}", "citations": [{ "url": "https://x", "title": "t" }] },
            { "type": "server_tool_use", "id": "s", "name": "web_search", "input": { "q": 1 } },
            { "type": "compaction", "content": "so far" },
            { "type": "tool_use", "id": "t1", "name": "f", "input": { "x": 1 } },
            { "type": "tool_use", "id": "t2", "name": "no_arguments", "input": {} },
            { "type": "tool_use", "id": "t3", "name": "whole", "input": { "y": 2 } },
        ],
        "usage": {
            "input_tokens": 10, "cache_read_input_tokens": 2, "output_tokens": 20, "service_tier": "standard",
            "output_tokens_details": { "thinking_tokens": 5 },
        },
    });
    (events, message)
}

#[test]
fn a_stream_amounts_to_the_message() {
    let (events, message) = everything();

    let (chunks, step, complete) = read(&[&framed(&events)]).unwrap();

    assert_eq!((step, complete), (Step::Done, true));
    assert_eq!(gathered(chunks), Anthropic.decode(message.to_string().as_bytes()).unwrap());
}

#[test]
fn errors_and_cut_streams_are_told() {
    let error = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "busy" } });
    let (_, step, complete) = read(&[&framed(&[message_start("a"), error])]).unwrap();
    assert_eq!((step, complete), (Step::Error, false));

    let (_, step, complete) = read(&[&framed(&[message_start("a"), start(json!({ "type": "text" }), 0)])]).unwrap();
    assert_eq!((step, complete), (Step::More, false));

    let repeated = framed(&[message_start("a"), message_start("a")]);
    assert_eq!(read(&[&repeated]).unwrap().0.iter().filter(|chunk| matches!(chunk, Chunk::Start { .. })).count(), 1);
    assert!(read(&[&framed(&[message_start("a"), message_start("b")])]).is_err());
    assert!(read(&[b"data: <html>\n\n"]).is_err());
}

#[test]
fn what_others_leave_out_is_no_matter() {
    // No block starts or stops, no names of events, no usage, and OpenAI's end.
    let lines = [
        r#"data: {"type":"message_start","message":{"id":"m"}}"#,
        r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}"#,
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":null}"#,
        "data: [DONE]",
    ];
    let text = lines.map(|line| format!("{line}\n\n")).concat();

    let (chunks, step, _) = read(&[text.as_bytes()]).unwrap();

    assert_eq!(step, Step::Done);
    let reply = gathered(chunks);
    assert_eq!((&reply.choices[0].parts, reply.usage), (&vec![Part::text("hi")], None));
}

#[test]
fn reading_along_sees_what_matters() {
    let (events, message) = everything();
    let bytes = framed(&events);
    let (mut sse, mut pass) = (SseReader::with_names(), PassReader::default());
    sse.feed(Bytes::from(bytes.clone()));
    let (mut seen, mut forwarded) = (Vec::new(), Vec::new());
    while let Some(Ok(SseItem::Event(event))) = sse.next_event() {
        forwarded.extend_from_slice(event.raw());
        seen.push(pass.event(&event).unwrap());
    }

    assert_eq!(forwarded, bytes);
    assert_eq!(seen[..2], [Facts::default(), Facts::default()]);
    assert!(seen[2].is_output);
    assert!(seen.last().unwrap().is_done && pass.is_complete());
    assert_eq!(seen.iter().filter_map(|facts| facts.finish.clone()).collect::<Vec<_>>(), [Finish::ToolCalls]);
    let usage = Anthropic.decode(message.to_string().as_bytes()).unwrap().usage;
    assert_eq!(pass.usage(), usage);
    let told = Whole { usage, finish: Some("tool_calls"), error: false };
    assert_eq!(whole(message.to_string().as_bytes()), Ok(told));
    assert_eq!(whole(br#"{"type":"error","error":{}}"#), Ok(Whole::error()));
    assert!(whole(b"{}").is_err());
}

/// Writes chunks for a client and returns the events.
fn written(chunks: Vec<Chunk>) -> (Vec<u8>, Vec<Value>) {
    let (mut sequence, mut sequenced, mut out) = (Sequence::default(), Vec::new(), Vec::new());
    chunks.into_iter().for_each(|chunk| sequence.push(chunk, &mut sequenced));
    sequence.finish(&mut sequenced);
    let mut writer = Anthropic.writer(&ChatRequest::default());
    sequenced.iter().for_each(|chunk| writer.chunk(chunk, &mut out));
    writer.finish(&mut out);
    let mut sse = SseReader::new();
    sse.feed(Bytes::from(out.clone()));
    let mut events = Vec::new();
    while let Some(Ok(SseItem::Event(event))) = sse.next_event() {
        let data: Value = serde_json::from_slice(event.data()).unwrap();
        assert_eq!(event.name(), data["type"].as_str().map(str::as_bytes));
        events.push(data);
    }
    (out, events)
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

/// Checks that blocks follow one upon the other, as clients rely on.
fn assert_sequential(events: &[Value]) {
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"message_start"));
    assert_eq!(kinds[kinds.len() - 2..], ["message_delta", "message_stop"]);
    let (mut next, mut open) = (0, false);
    for event in &events[1..events.len() - 2] {
        assert_eq!(event["index"], next, "{event}");
        match event["type"].as_str().unwrap() {
            "content_block_start" => assert!(!std::mem::replace(&mut open, true)),
            "content_block_delta" => assert!(open),
            "content_block_stop" => {
                assert!(std::mem::replace(&mut open, false));
                next += 1;
            }
            other => panic!("unexpected {other}"),
        }
    }
    assert!(!open);
}

#[test]
fn a_written_stream_reads_back_as_it_was() {
    let usage = Usage { prompt: 12, completion: 20, total: 32, cached: 2, ..Usage::default() };
    let end = |signature: Option<&str>, encrypted: Option<&str>| Chunk::ThinkingEnd {
        choice: 0,
        signature: signature.map(str::to_owned),
        encrypted: encrypted.map(str::to_owned),
        vendor: Some(Dialect::Anthropic),
        id: None,
    };
    let native = json!({ "type": "server_tool_use", "id": "s", "name": "w", "input": { "q": 1 } });
    let chunks = vec![
        Chunk::Start {
            id: "msg_1".into(),
            created: 0,
            model: "m".into(),
            service_tier: None,
            system_fingerprint: None,
        },
        Chunk::Thinking { choice: 0, text: "hm".into() },
        end(Some("sig"), None),
        end(None, Some("data")),
        text("a \"quoted\" \u{1F680}\n"),
        Chunk::Citation {
            choice: 0,
            citation: Citation { url: "https://x".into(), title: "t".into(), start: None, end: None },
        },
        Chunk::Native { choice: 0, dialect: Dialect::Anthropic, value: native },
        Chunk::Native { choice: 0, dialect: Dialect::Gemini, value: json!({}) },
        call(0, "t1"),
        arguments(0, "{\"x\":"),
        arguments(0, "1}"),
        Chunk::Finish { choice: 0, finish: Finish::ToolCalls },
        Chunk::Usage(usage),
    ];
    let mut expected = gathered(chunks.clone());
    expected.choices[0].parts.retain(|part| !matches!(&part.content, Content::Native { dialect: Dialect::Gemini, .. }));
    expected.service_tier = Some("default".into());

    let (bytes, events) = written(chunks);

    assert_sequential(&events);
    assert_eq!(gathered(read(&[&bytes]).unwrap().0), expected);
    assert_eq!(events[0]["message"]["content"], json!([]));
    assert_eq!(events[events.len() - 2]["usage"]["input_tokens"], 10);
}

#[test]
fn thinking_without_proof_has_an_empty_signature() {
    let thinking = Chunk::Thinking { choice: 0, text: "hm".into() };

    let (_, events) = written(vec![thinking, text("a")]);

    assert_eq!(events[1]["content_block"], json!({ "type": "thinking", "thinking": "", "signature": "" }));
    assert_eq!(events[3]["type"], "content_block_stop");
    assert_eq!(events[4]["content_block"], json!({ "type": "text", "text": "" }));
    assert_sequential(&events);
}

#[test]
fn a_refusal_is_said_and_explained() {
    let (_, events) = written(vec![
        Chunk::Refusal { choice: 0, text: "I ".into() },
        Chunk::Refusal { choice: 0, text: "won't".into() },
        Chunk::Finish { choice: 0, finish: Finish::Stop { sequence: None } },
    ]);

    let delta = &events[events.len() - 2]["delta"];
    assert_eq!((&delta["stop_reason"], &delta["stop_details"]["explanation"]), (&json!("refusal"), &json!("I won't")));
    assert_eq!(events[2]["delta"]["text"], "I ");
}

proptest! {
    #[test]
    fn pieces_of_a_stream_do_not_matter(at in any::<prop::sample::Index>()) {
        let bytes = framed(&everything().0);
        let at = at.index(bytes.len());

        prop_assert_eq!(read(&[&bytes[..at], &bytes[at..]]), read(&[&bytes]));
    }

    #[test]
    fn calls_that_grow_side_by_side_come_out_whole(order in prop::collection::vec(0u32..4, 0..60)) {
        // Three calls whose arguments come in any order, with text in between.
        let pieces = ["{\"a\":", "\"}{", "\\\"", "\",", "\"b\":[{", "}]", "}"];
        let mut at = [0; 3];
        let mut chunks = vec![call(0, "c0"), call(1, "c1"), call(2, "c2")];
        for which in order.into_iter().chain([0, 1, 2].repeat(pieces.len())) {
            match at.get_mut(which as usize) {
                Some(at) if *at < pieces.len() => {
                    chunks.push(arguments(which, pieces[*at]));
                    *at += 1;
                }
                Some(_) => {}
                None => chunks.push(text("t")),
            }
        }
        chunks.push(Chunk::Finish { choice: 0, finish: Finish::ToolCalls });
        let calls = |reply: &ChatReply| -> Vec<Part> {
            let is_call = |part: &&Part| matches!(part.content, Content::ToolCall(_));
            reply.choices[0].parts.iter().filter(is_call).cloned().collect()
        };
        let texts = |reply: &ChatReply| reply.choices[0].parts.iter().filter_map(|part| match &part.content {
            Content::Text(text) => Some(text.clone()),
            _ => None,
        }).collect::<String>();
        let expected = gathered(chunks.clone());

        let (bytes, events) = written(chunks);

        assert_sequential(&events);
        let reply = gathered(read(&[&bytes]).unwrap().0);
        prop_assert_eq!(calls(&reply), calls(&expected));
        prop_assert_eq!(texts(&reply), texts(&expected));
    }
}

#[test]
fn a_start_that_is_no_object_is_no_reason_to_panic() {
    let (chunks, ..) = read(&[&framed(&[json!({ "type": "message_start", "message": "x" })])]).unwrap();

    assert!(matches!(&chunks[..], [Chunk::Start { .. }]));
}
