//! The mapping rules of Cohere's v2, and its streams.

use bursar_actors::Usage;
use serde_json::{Value, json};

use super::*;
use crate::providers::dialect::ModelFacts;
use crate::providers::streams::{End, accumulate, asking, call, encode, encode_with, read, read_anyhow, result};
use crate::schema::chat::{
    Citation, Content, Effort, Finish, Format, Function, Message, Part, Reasoning, Role, Source, Thinking, Tool,
    ToolCall, ToolChoice,
};
use crate::schema::embeddings::{EmbeddingInput, EmbeddingRequest};

const MODEL: &str = "command-a-03-2025";

fn function(name: &str, strict: Option<bool>) -> Tool {
    Tool::Function(Function { name: name.into(), strict, ..Function::default() })
}

fn body(request: &ChatRequest) -> Value {
    encode(&Cohere, MODEL, request).1
}

fn sse(events: &[Value]) -> Vec<u8> {
    let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(event).collect::<String>().into_bytes()
}

#[test]
fn the_history_keeps_its_plan_and_results_are_messages() {
    let thought = Content::Thinking(Thinking { text: "I will ask".into(), ..Thinking::default() });
    let source = Source::Inline { media_type: "image/png".into(), data: "AAAA".into() };
    let image = Part::new(Content::Image { source, detail: Some("high".into()) });
    let request = ChatRequest {
        messages: vec![
            Message::new(Role::Developer, vec![Part::text("be"), Part::text("brief")]),
            Message::new(Role::User, vec![Part::text("see"), image]),
            Message::new(Role::Assistant, vec![Part::new(thought), Part::text("now"), call("a", "")]),
            Message::new(Role::User, vec![result("a", "1"), Part::text("and?")]),
            Message::new(Role::Assistant, vec![Part::text("done")]),
        ],
        ..ChatRequest::default()
    };

    let (path, body, warnings) = encode(&Cohere, MODEL, &request);

    let called = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}});
    let expected = json!([
        {"role": "system", "content": "be\nbrief"},
        {"role": "user", "content": [{"type": "text", "text": "see"}, image]},
        {"role": "assistant", "tool_plan": "I will ask\nnow", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": "done"},
    ]);
    assert_eq!(body["messages"], expected);
    assert_eq!((path.as_str(), warnings.len()), ("/v2/chat", 0));
}

#[test]
fn parameters_have_coheres_names() {
    let schema = json!({"type": "object"});
    let format = Format::JsonSchema { name: "n".into(), description: None, schema: schema.clone(), strict: None };
    let request = ChatRequest {
        max_tokens: Some(9),
        temperature: Some(0.5),
        top_p: Some(0.5),
        top_k: Some(3),
        seed: Some(7),
        presence_penalty: Some(-1.0),
        stop: vec!["END".into()],
        format: Some(format),
        user: Some("u".into()),
        stream: true,
        ..asking("hi")
    };

    let (_, body, warnings) = encode(&Cohere, MODEL, &request);

    let expected = json!({
        "model": MODEL, "stream": true, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9,
        "temperature": 0.5, "p": 0.5, "k": 3, "seed": 7, "presence_penalty": 0.0, "stop_sequences": ["END"],
        "response_format": {"type": "json_object", "json_schema": schema},
    });
    assert_eq!(body, expected);
    assert_eq!(warnings.len(), 2);
}

#[test]
fn tools_are_chosen_as_cohere_can() {
    let cases = [
        (None, Value::Null, 2),
        (Some(ToolChoice::Auto), Value::Null, 2),
        (Some(ToolChoice::None), json!("NONE"), 2),
        (Some(ToolChoice::Required), json!("REQUIRED"), 2),
        (Some(ToolChoice::Named("g".into())), json!("REQUIRED"), 1),
        (Some(ToolChoice::Allowed { names: vec!["g".into()], required: false }), Value::Null, 1),
    ];
    for (tool_choice, expected, offered) in cases {
        let tools = vec![function("f", Some(true)), function("g", Some(true))];
        let body = body(&ChatRequest { tools, tool_choice: tool_choice.clone(), ..asking("hi") });
        assert_eq!(body["tool_choice"], expected, "{tool_choice:?}");
        assert_eq!(body["tools"].as_array().unwrap().len(), offered, "{tool_choice:?}");
        assert_eq!(body["strict_tools"], true);
    }
    let mixed = ChatRequest { tools: vec![function("f", Some(true)), function("g", None)], ..asking("hi") };
    let (_, body, warnings) = encode(&Cohere, MODEL, &mixed);
    assert_eq!((&body["strict_tools"], warnings.len()), (&Value::Null, 1));
}

#[test]
fn thinking_is_on_or_off_with_a_budget() {
    let cases = [
        (Some(Effort::None), None, json!({"type": "disabled"})),
        (Some(Effort::Low), None, json!({"type": "enabled", "token_budget": 1_024})),
        (Some(Effort::High), None, json!({"type": "enabled"})),
        (None, Some(500), json!({"type": "enabled", "token_budget": 500})),
        (None, None, Value::Null),
    ];
    for (effort, budget, expected) in cases {
        let reasoning = Some(Reasoning { effort, budget, show: None });
        assert_eq!(body(&ChatRequest { reasoning, ..asking("hi") })["thinking"], expected);
    }
}

#[test]
fn what_cohere_cannot_read_is_refused() {
    let source = Source::Inline { media_type: "application/pdf".into(), data: "AAAA".into() };
    let audio = Content::Audio { data: "AAAA".into(), format: "wav".into() };
    for content in [Content::File { source, name: None }, audio] {
        let messages = vec![Message::new(Role::User, vec![Part::new(content)])];
        let request = ChatRequest { messages, ..ChatRequest::default() };
        let error = encode_with(&Cohere, MODEL, &ModelFacts::default(), &request).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("messages[0].content"));
    }
}

fn usage() -> Value {
    json!({"billed_units": {"input_tokens": 7, "output_tokens": 3}, "cached_tokens": 448,
        "tokens": {"input_tokens": 502, "output_tokens": 24}})
}

#[test]
fn a_stream_of_calls_comes_to_the_same_as_the_whole() {
    let function = |name: &str, arguments: &str| json!({"name": name, "arguments": arguments});
    let whole = json!({"id": "r", "finish_reason": "TOOL_CALL", "usage": usage(), "message": {
    "tool_plan": "I ask.", "tool_calls": [
        {"id": "c0", "type": "function", "function": function("f", "{\"x\":1}")},
        {"id": "c1", "type": "function", "function": function("g", "null")},
        {"id": "c2", "type": "function", "function": function("h", "")},
    ]}});
    let start = |index: u32, name: &str| {
        let call = json!({"id": format!("c{index}"), "type": "function", "function": function(name, "")});
        json!({"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}})
    };
    let delta = |index: u32, fragment: &str| {
        let call = json!({"function": {"arguments": fragment}});
        json!({"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": call}}})
    };
    let plan = |text: &str| json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": text}}});
    let body = sse(&[
        json!({"type": "message-start", "id": "r", "delta": {"message": {"role": "assistant"}}}),
        plan("I "),
        plan("ask."),
        start(0, "f"),
        delta(0, "{\"x\""),
        delta(0, ":1}"),
        json!({"type": "tool-call-end", "index": 0}),
        start(1, "g"),
        delta(1, "nu"),
        delta(1, "ll"),
        start(2, "h"),
        json!({"type": "something-new", "delta": null}),
        json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": usage()}}),
    ]);

    let whole = Cohere.decode(whole.to_string().as_bytes()).unwrap();
    let (chunks, end) = read_anyhow(&Cohere, &body);

    assert_eq!(end, End::Complete);
    assert_eq!(accumulate(&chunks), whole);
    let arguments = whole.choices[0].parts.iter().filter_map(|part| match &part.content {
        Content::ToolCall(ToolCall { arguments, .. }) => Some(arguments.as_str()),
        _ => None,
    });
    assert_eq!(arguments.collect::<Vec<_>>(), ["{\"x\":1}", "{}", "{}"]);
    let usage = Usage { prompt: 502, completion: 24, total: 526, cached: 448, ..Usage::default() };
    assert_eq!(whole.usage, Some(usage));
}

#[test]
fn a_stream_of_thought_and_cited_text_comes_to_the_same_as_the_whole() {
    let cited = json!({"start": 0, "end": 2, "text": "It", "type": "TEXT_CONTENT", "sources": [
        {"type": "document", "id": "d0", "document": {"id": "d0", "title": "Facts", "url": "https://a.example"}}]});
    let whole = json!({"id": "r", "finish_reason": "MAX_TOKENS", "message": {"citations": [cited], "content": [
        {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "It is."}]}});
    let content = |kind: &str, index: u32, content: Value| json!({"type": kind, "index": index, "delta": {"message": {"content": content}}});
    let body = sse(&[
        json!({"type": "message-start", "id": "r"}),
        content("content-start", 0, json!({"type": "thinking", "thinking": ""})),
        content("content-delta", 0, json!({"thinking": "hm"})),
        json!({"type": "content-end", "index": 0}),
        content("content-start", 1, json!({"type": "text", "text": ""})),
        content("content-delta", 1, json!({"text": "It"})),
        json!({"type": "citation-start", "index": 0, "delta": {"message": {"citations": cited}}}),
        json!({"type": "citation-end", "index": 0}),
        content("content-delta", 1, json!({"text": " is."})),
        json!({"type": "content-end", "index": 1}),
        json!({"type": "message-end", "delta": {"finish_reason": "MAX_TOKENS"}}),
    ]);

    let whole = Cohere.decode(whole.to_string().as_bytes()).unwrap();
    let (chunks, end) = read_anyhow(&Cohere, &body);

    assert_eq!(end, End::Complete);
    assert_eq!(accumulate(&chunks), whole);
    assert_eq!(whole.choices[0].finish, Some(Finish::Length));
    let citation = Citation { url: "https://a.example".into(), title: "Facts".into(), start: Some(0), end: Some(2) };
    assert_eq!(whole.choices[0].citations, [citation]);
}

#[test]
fn what_went_wrong_at_coheres_end_is_an_error() {
    let start = json!({"type": "message-start", "id": "r"});
    let failed = json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "it broke"}});
    let cut = sse(std::slice::from_ref(&start));

    assert!(matches!(read(&Cohere, [&sse(&[start, failed])[..]]).1, End::Error(_)));
    assert!(matches!(read(&Cohere, [&b"data: {\"id\":\"x\",\"message\":\"no\"}\n\n"[..]]).1, End::Error(_)));
    assert_eq!(read(&Cohere, [&cut[..]]).1, End::CutOff);
    assert_eq!(read(&Cohere, [&b"data: {\n\n"[..]]).1, End::Unreadable);
    assert!(Cohere.is_error(br#"{"id":"x","message":"no"}"#));
    assert!(Cohere.is_error(br#"{"finish_reason":"TIMEOUT","message":{"content":[]}}"#));
    assert!(!Cohere.is_error(br#"{"finish_reason":"COMPLETE","message":{"content":null}}"#));
}

#[test]
fn embeddings_say_what_they_are_for() {
    let inputs = vec![EmbeddingInput::Text("a".into()), EmbeddingInput::Text("b".into())];
    let request = EmbeddingRequest { inputs, dimensions: Some(256), ..EmbeddingRequest::default() };
    let model_facts = &ModelFacts::default();
    let target = Target { model: "embed-v4.0", model_facts, strict: false };
    let embeddings = Cohere.embeddings().unwrap();

    let wire = embeddings.encode(&request, &target).unwrap();
    let body = br#"{"embeddings":{"float":[[0.5],[1]]},"meta":{"billed_units":{"input_tokens":2}}}"#;
    let reply = embeddings.decode(body, &request).unwrap();

    let expected = json!({"model": "embed-v4.0", "texts": ["a", "b"], "input_type": "search_document",
        "embedding_types": ["float"], "output_dimension": 256});
    assert_eq!(serde_json::from_slice::<Value>(&wire.body).unwrap(), expected);
    assert_eq!((reply.vectors, reply.usage.unwrap().prompt), (vec![vec![0.5], vec![1.0]], 2));
    let tokens = EmbeddingRequest { inputs: vec![EmbeddingInput::Tokens(vec![1])], ..EmbeddingRequest::default() };
    assert!(embeddings.encode(&tokens, &target).is_err());
}
