//! Replies: what providers make of the dialect, and what is read of it.

use serde_json::{Value, json};

use crate::providers::chat::{Compatible, row};
use crate::providers::dialect::{Step, UpstreamDialect};
use crate::providers::framing::Frame;
use crate::providers::sequence::Sequence;
use crate::schema::chat::*;

fn upstream(provider: &str) -> Compatible {
    Compatible { row: row(provider).expect("the provider has a row") }
}

fn frame(data: &[u8]) -> Frame<'_> {
    Frame { event: None, data }
}

/// The reply that a stream of these payloads amounts to.
fn streamed(provider: &str, payloads: &[Value]) -> ChatReply {
    let (mut reader, mut chunks, mut ordered) = (upstream(provider).reader(), Vec::new(), Vec::new());
    for payload in payloads {
        let step = reader.frame(&frame(payload.to_string().as_bytes()), &mut chunks);
        assert_eq!(step, Ok(Step::More));
    }
    assert_eq!(reader.frame(&frame(b"[DONE]"), &mut chunks), Ok(Step::Done));
    let (mut sequence, mut accumulator) = (Sequence::default(), Accumulator::default());
    chunks.into_iter().for_each(|chunk| sequence.push(chunk, &mut ordered));
    sequence.finish(&mut ordered);
    ordered.iter().for_each(|chunk| accumulator.push(chunk));
    accumulator.finish()
}

fn delta(delta: Value) -> Value {
    json!({ "id": "chatcmpl-77", "model": "m", "created": 5, "choices": [{ "index": 0, "delta": delta }] })
}

fn parts(provider: &str, deltas: Vec<Value>) -> Vec<Content> {
    let payloads: Vec<Value> = deltas.into_iter().map(delta).collect();
    streamed(provider, &payloads).choices.remove(0).parts.into_iter().map(|part| part.content).collect()
}

fn text(text: &str) -> Content {
    Content::Text(text.into())
}

fn thinking(text: &str) -> Content {
    Content::Thinking(Thinking { text: text.into(), ..Thinking::default() })
}

fn call(id: &str, name: &str, arguments: &str) -> Content {
    let (id, name, arguments) = (id.into(), name.into(), arguments.into());
    Content::ToolCall(ToolCall { id, name, arguments, ..ToolCall::default() })
}

fn tool(index: Value, id: &str, name: Value, arguments: Value) -> Value {
    let mut entry = json!({ "function": { "name": name, "arguments": arguments } });
    if !id.is_empty() {
        entry["id"] = id.into();
    }
    if !index.is_null() {
        entry["index"] = index;
    }
    json!({ "tool_calls": [entry] })
}

#[test]
fn tool_calls_are_told_apart_whatever_their_numbers() {
    let null = Value::Null;
    let both = [call("a", "f", "{\"x\":1}"), call("b", "g", "{}")];

    // No numbers at all.
    let deltas = vec![
        tool(null.clone(), "a", "f".into(), "".into()),
        tool(null.clone(), "", null.clone(), "{\"x\":".into()),
        tool(null.clone(), "", null.clone(), "1}".into()),
        tool(null.clone(), "b", "g".into(), "".into()),
    ];
    assert_eq!(parts("vllm", deltas), both);
    // All of them 0; arguments as an object.
    let deltas = vec![tool(json!(0), "a", "f".into(), json!({ "x": 1 })), tool(json!(0), "b", "g".into(), json!({}))];
    assert_eq!(parts("mistral", deltas), both);
    // Id and name with every delta, numbers with gaps.
    let deltas = vec![
        tool(json!(3), "a", "f".into(), "{\"x\"".into()),
        tool(json!(3), "a", "f".into(), ":1}".into()),
        tool(json!(7), "b", "g".into(), null.clone()),
    ];
    assert_eq!(parts("openai_compatible", deltas), both);
    // A name in two pieces, an id that is missing or empty.
    let deltas = vec![
        tool(json!(0), "", "get_".into(), "".into()),
        tool(json!(0), "", "time".into(), "".into()),
        tool(json!(0), "", null.clone(), "{}".into()),
    ];
    assert_eq!(parts("openai_compatible", deltas), [call("call_chatcmpl77_0", "get_time", "{}")]);
}

#[test]
fn thought_is_found_wherever_it_stands() {
    let answer = [thinking("hm so"), text("Yes.")];
    let say = |content: &str| json!({ "content": content });

    assert_eq!(
        parts(
            "deepseek",
            vec![
                json!({ "content": null, "reasoning_content": "hm" }),
                json!({ "reasoning_content": " so" }),
                say("Yes.")
            ]
        ),
        answer
    );
    assert_eq!(parts("groq", vec![json!({ "content": "", "reasoning": "hm so" }), say("Yes.")]), answer);
    assert_eq!(parts("groq", vec![say("<thi"), say("nk>hm so</th"), say("ink>\n\nYes.")]), answer);
    assert_eq!(parts("openai", vec![say("<think>x")]), [text("<think>x")]);
    let part = |text: &str| json!({ "type": "thinking", "thinking": [{ "type": "text", "text": text }] });
    let last = json!({ "content": [part(" so"), { "type": "text", "text": "Yes" }] });
    assert_eq!(parts("mistral", vec![json!({ "content": [part("hm")] }), last, say(".")]), answer);
    let details = |fields: Value| json!({ "content": "", "reasoning": fields["text"], "reasoning_details": [fields] });
    let signed = parts(
        "openrouter",
        vec![
            details(json!({ "type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "index": 0 })),
            details(json!({ "type": "reasoning.text", "signature": "s", "format": "anthropic-claude-v1", "index": 0 })),
            say("Yes."),
        ],
    );
    let proven = Thinking {
        text: "hm".into(),
        signature: Some("s".into()),
        vendor: Some(Dialect::Anthropic),
        ..Thinking::default()
    };
    assert_eq!(signed, [Content::Thinking(proven), text("Yes.")]);
}

#[test]
fn misshapen_chunks_cost_no_answer() {
    let odd = [
        json!({ "id": 7, "choices": [{ "index": "0", "delta": null }] }),
        json!({ "choices": null }),
        json!({ "choices": [] }),
        json!({ "choices": [{ "delta": "x" }, 7] }),
        json!({ "choices": [{ "delta": { "content": "Hi", "tool_calls": {}, "role": 3 }, "logprobs": false, "finish_reason": "" }] }),
        json!({ "choices": [{ "delta": { "tool_calls": [null] }, "message": { "content": "Hi" }, "finish_reason": "eos" }], "usage": "none" }),
    ];

    let reply = streamed("openai_compatible", &odd);

    assert_eq!((reply.id.as_str(), reply.choices[0].parts.as_slice()), ("7", &[Part::text("Hi")][..]));
    assert_eq!(reply.choices[0].finish, Some(Finish::Stop { sequence: None }));
    let mut reader = upstream("openai_compatible").reader();
    assert!(reader.frame(&frame(b"<html>"), &mut Vec::new()).is_err());
    assert_eq!(reader.frame(&frame(b" "), &mut Vec::new()), Ok(Step::More));
    assert_eq!(
        reader.frame(&frame(br#"{"choices":[{"delta":{"content":"\ud83d"}}]}"#), &mut Vec::new()),
        Ok(Step::More)
    );
}

#[test]
fn errors_within_a_stream_are_told() {
    let step = |event: Option<&'static str>, data: Value| {
        let frame_data = data.to_string();
        let frame = Frame { event: event.map(str::as_bytes), data: frame_data.as_bytes() };
        upstream("openai_compatible").reader().frame(&frame, &mut Vec::new())
    };

    assert_eq!(step(None, json!({ "error": { "message": "x" } })), Ok(Step::Error));
    assert_eq!(step(None, json!({ "error": "x", "code": "y" })), Ok(Step::Error));
    assert_eq!(step(Some("error"), json!({ "status_code": 400 })), Ok(Step::Error));
    assert_eq!(step(None, json!({ "object": "error", "message": "x" })), Ok(Step::Error));
    assert_eq!(step(None, json!({ "choices": [{ "delta": {}, "finish_reason": "error" }] })), Ok(Step::Error));
    assert_eq!(step(None, json!({ "error": null, "choices": [{ "delta": {} }] })), Ok(Step::More));
    assert!(upstream("openai_compatible").is_error(br#"{"error":{"message":"x"}}"#));
    assert!(!upstream("openai_compatible").is_error(br#"{"error":null,"choices":[{"message":{"content":"x"}}]}"#));
}

#[test]
fn a_stream_is_complete_once_every_choice_has_ended() {
    let mut reader = upstream("openai_compatible").reader();
    let mut feed = |value: Value| reader.frame(&frame(value.to_string().as_bytes()), &mut Vec::new());

    assert_eq!(feed(delta(json!({ "content": "a" }))), Ok(Step::More));
    assert_eq!(feed(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] })), Ok(Step::More));

    assert!(reader.is_complete());
    let mut cut = upstream("openai_compatible").reader();
    assert_eq!(
        cut.frame(&frame(delta(json!({ "content": "a" })).to_string().as_bytes()), &mut Vec::new()),
        Ok(Step::More)
    );
    assert!(!cut.is_complete());
}

#[test]
fn usage_comes_from_wherever_it_is_told_and_in_one_arithmetic() {
    let usage = |provider: &str, more: Value| {
        let mut payload = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
        payload.as_object_mut().expect("it is an object").extend(more.as_object().expect("it is an object").clone());
        streamed(provider, &[delta(json!({ "content": "x" })), payload])
            .usage
            .map(|usage| (usage.prompt, usage.completion, usage.cached))
    };

    assert_eq!(
        usage("groq", json!({ "x_groq": { "usage": { "prompt_tokens": 3, "completion_tokens": 4 } } })),
        Some((3, 4, 0))
    );
    let xai = json!({ "usage": { "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 17, "completion_tokens_details": { "reasoning_tokens": 10 } } });
    assert_eq!(usage("xai", xai), Some((3, 14, 0)));
    let deepseek = json!({ "usage": { "prompt_tokens": 30, "completion_tokens": 4, "prompt_cache_hit_tokens": 20 } });
    assert_eq!(usage("deepseek", deepseek), Some((30, 4, 20)));
    assert_eq!(usage("openai_compatible", json!({ "usage": null })), None);
}

#[test]
fn sources_are_told_once() {
    let chunk = |text: &str, finish: Value| {
        json!({ "citations": ["https://a"], "search_results": [{ "url": "https://a", "title": "A" }],
        "choices": [{ "index": 0, "delta": { "content": text }, "message": { "content": "all" }, "finish_reason": finish }] })
    };

    let reply = streamed("perplexity", &[chunk("x", Value::Null), chunk("y", "stop".into())]);

    let citation = Citation { url: "https://a".into(), title: "A".into(), start: None, end: None };
    assert_eq!(
        (&reply.choices[0].citations[..], &reply.choices[0].parts[..]),
        (&[citation][..], &[Part::text("xy")][..])
    );
}

#[test]
fn a_whole_reply_is_read_by_the_same_rules() {
    let body = json!({ "id": "chatcmpl-7", "created": 5, "model": "m", "service_tier": "default", "choices": [{
        "index": 0, "finish_reason": "stop", "logprobs": null,
        "message": { "role": "assistant", "content": "  ", "refusal": null, "reasoning_content": "hm",
            "tool_calls": [{ "type": "function", "function": { "name": "f", "arguments": "" } }] },
    }], "usage": { "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3 } });

    let reply = upstream("openai").decode(body.to_string().as_bytes()).expect("it is a reply");

    assert_eq!(reply.choices[0].finish, Some(Finish::ToolCalls));
    let expected = [thinking("hm"), text("  "), call("call_chatcmpl7_0", "f", "{}")];
    assert_eq!(reply.choices[0].parts, expected.map(Part::new));
    assert_eq!(reply.usage.map(|usage| usage.total), Some(3));
    assert!(upstream("openai").decode(b"{\"choices\":[]}").is_err());
    assert!(upstream("openai").decode(b"<html>").is_err());
}
