//! The mapping rules of Ollama's own API, and its streams.

use bursar_actors::Usage;
use serde_json::{Value, json};

use super::*;
use crate::providers::dialect::ModelFacts;
use crate::providers::streams::{End, accumulate, asking, call, encode, encode_with, read, read_anyhow, result};
use crate::schema::chat::{
    Content, Dialect, Effort, Extra, Finish, Format, Function, Message, Part, Reasoning, Role, Source, Tool, ToolCall,
    ToolChoice,
};
use crate::schema::embeddings::{EmbeddingInput, EmbeddingRequest};

fn body(request: &ChatRequest) -> Value {
    encode(&Ollama, "qwen3", request).1
}

fn lines(lines: &[Value]) -> Vec<u8> {
    lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
}

#[test]
fn images_calls_and_results_stand_where_ollama_has_them() {
    let source = Source::Inline { media_type: "image/png".into(), data: "AAAA".into() };
    let image = Part::new(Content::Image { source, detail: None });
    let request = ChatRequest {
        messages: vec![
            Message::new(Role::User, vec![Part::text("see"), image]),
            Message::new(Role::Assistant, vec![call("a", r#"{"x":1}"#), call("b", "")]),
            Message::new(Role::Tool, vec![result("a", "1"), result("b", "2")]),
        ],
        ..ChatRequest::default()
    };

    let (path, body, warnings) = encode(&Ollama, "qwen3", &request);

    let called = |id: &str, index: u32, arguments: Value| json!({"id": id, "function": {"index": index, "name": "f", "arguments": arguments}});
    let calls = [called("a", 0, json!({"x": 1})), called("b", 1, json!({}))];
    let expected = json!({"model": "qwen3", "stream": false, "truncate": false, "messages": [
        {"role": "user", "content": "see", "images": ["AAAA"]},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "1", "tool_call_id": "a", "tool_name": "f"},
        {"role": "tool", "content": "2", "tool_call_id": "b", "tool_name": "f"},
    ]});
    assert_eq!(body, expected);
    assert_eq!((path.as_str(), warnings.len()), ("/api/chat", 0));
}

#[test]
fn parameters_are_options_and_own_fields_join_them() {
    let fields = json!({"keep_alive": "5m", "options": {"num_ctx": 8192, "seed": 1}}).as_object().cloned().unwrap();
    let request = ChatRequest {
        max_tokens: Some(9),
        temperature: Some(0.5),
        seed: Some(7),
        stop: vec!["END".into()],
        format: Some(Format::JsonObject),
        extra: Some(Extra { dialect: Dialect::Ollama, fields }),
        logit_bias: Some(json!({})),
        ..asking("hi")
    };

    let (_, body, warnings) = encode(&Ollama, "qwen3", &request);

    let options = json!({"num_predict": 9, "temperature": 0.5, "seed": 7, "stop": ["END"], "num_ctx": 8192});
    assert_eq!(body["options"], options);
    assert_eq!((&body["keep_alive"], &body["format"]), (&json!("5m"), &json!("json")));
    assert_eq!(warnings, ["`logit_bias` was left out: Ollama does not take it"]);
}

#[test]
fn thinking_has_degrees_with_gpt_oss_only() {
    let think = |model, effort| {
        let reasoning = Some(Reasoning { effort: Some(effort), ..Reasoning::default() });
        encode(&Ollama, model, &ChatRequest { reasoning, ..asking("hi") }).1["think"].clone()
    };

    assert_eq!(think("gpt-oss:20b", Effort::Minimal), "low");
    assert_eq!(think("gpt-oss:20b", Effort::Max), "high");
    assert_eq!(think("gpt-oss:20b", Effort::None), "low");
    assert_eq!(think("qwen3", Effort::Low), true);
    assert_eq!(think("qwen3", Effort::None), false);
    assert_eq!(body(&asking("hi"))["think"], Value::Null);
}

#[test]
fn no_tool_is_offered_where_none_may_be_called() {
    let offered = |tool_choice| {
        let tool = |name: &str| Tool::Function(Function { name: name.into(), ..Function::default() });
        let request = ChatRequest { tools: vec![tool("f"), tool("g")], tool_choice, ..asking("hi") };
        let (_, body, warnings) = encode(&Ollama, "qwen3", &request);
        (body["tools"].as_array().map_or(0, Vec::len), warnings.len())
    };

    assert_eq!(offered(None), (2, 0));
    assert_eq!(offered(Some(ToolChoice::None)), (0, 0));
    assert_eq!(offered(Some(ToolChoice::Named("g".into()))), (1, 1));
    assert_eq!(offered(Some(ToolChoice::Required)), (2, 1));
}

#[test]
fn an_image_that_would_have_to_be_fetched_is_refused() {
    let source = Source::Url("https://example.com/a.png".into());
    let parts = vec![Part::new(Content::Image { source, detail: None })];
    let request = ChatRequest { messages: vec![Message::new(Role::User, parts)], ..ChatRequest::default() };

    let error = encode_with(&Ollama, "qwen3", &ModelFacts::default(), &request).unwrap_err();

    assert_eq!(error.param.as_deref(), Some("messages[0].content"));
}

#[test]
fn a_stream_comes_to_the_same_as_the_whole_wherever_it_is_cut() {
    let stamp = "2026-01-01T00:00:00.5Z";
    let line = |message: Value| json!({"model": "qwen3", "created_at": stamp, "message": message, "done": false});
    let calls = json!([{"function": {"name": "f", "arguments": {"x": 1}}}, {"id": "b", "function": {"name": "g"}}]);
    let whole = json!({"model": "qwen3", "created_at": stamp, "done": true, "done_reason": "stop",
        "prompt_eval_count": 17, "eval_count": 50,
        "message": {"role": "assistant", "thinking": "hmm", "content": "Sure.", "tool_calls": calls}});
    let body = lines(&[
        line(json!({"role": "assistant", "content": "", "thinking": "h"})),
        line(json!({"role": "assistant", "content": "", "thinking": "mm"})),
        line(json!({"role": "assistant", "content": "Su"})),
        line(json!({"role": "assistant", "content": "re."})),
        line(json!({"role": "assistant", "content": "", "tool_calls": calls})),
        json!({"model": "qwen3", "created_at": "2026-01-01T00:00:09Z", "message": {"role": "assistant", "content": ""},
            "done": true, "done_reason": "stop", "prompt_eval_count": 17, "eval_count": 50}),
    ]);

    let whole = Ollama.decode(whole.to_string().as_bytes()).unwrap();
    let (chunks, end) = read_anyhow(&Ollama, &body);

    assert_eq!(end, End::Complete);
    assert_eq!(accumulate(&chunks), whole);
    assert_eq!(whole.usage, Some(Usage { prompt: 17, completion: 50, total: 67, ..Usage::default() }));
    assert_eq!((whole.created, &whole.choices[0].finish), (1_767_225_600, &Some(Finish::ToolCalls)));
    let (id, name, arguments) = ("call_202601010000005_0".into(), "f".into(), r#"{"x":1}"#.into());
    let called = Content::ToolCall(ToolCall { id, name, arguments, ..ToolCall::default() });
    assert_eq!(whole.choices[0].parts[2].content, called);
}

#[test]
fn an_error_within_a_stream_is_one_and_a_missing_end_is_noticed() {
    let first = json!({"model": "m", "message": {"content": "Hi"}, "done": false});
    let broken = lines(&[first.clone(), json!({"error": "it broke"})]);

    assert_eq!(read_anyhow(&Ollama, &broken).1, End::Error(r#"{"error":"it broke"}"#.into()));
    assert_eq!(read(&Ollama, [&lines(&[first])[..]]).1, End::CutOff);
    assert_eq!(read(&Ollama, [&b"{\"model\":"[..]]).1, End::Unreadable);
    assert!(Ollama.is_error(br#"{"error":"it broke"}"#));
}

#[test]
fn the_last_line_counts_without_its_end() {
    let body = br#"{"message":{"content":"Hi"},"done":true,"done_reason":"length"}"#;

    let (chunks, end) = read_anyhow(&Ollama, body);

    assert_eq!(end, End::Complete);
    assert_eq!(accumulate(&chunks).choices[0].finish, Some(Finish::Length));
}

#[test]
fn embeddings_are_never_shortened_without_a_word() {
    let inputs = vec![EmbeddingInput::Text("a".into())];
    let request = EmbeddingRequest { inputs, ..EmbeddingRequest::default() };
    let model_facts = &ModelFacts::default();
    let embeddings = Ollama.embeddings().unwrap();

    let wire = embeddings.encode(&request, &Target { model: "m", model_facts, strict: false }).unwrap();
    let reply = embeddings.decode(br#"{"model":"m","embeddings":[[0.5]],"prompt_eval_count":2}"#, &request).unwrap();

    let expected = json!({"model": "m", "input": ["a"], "truncate": false});
    assert_eq!(serde_json::from_slice::<Value>(&wire.body).unwrap(), expected);
    assert_eq!((reply.vectors, reply.usage.unwrap().prompt), (vec![vec![0.5]], 2));
}
