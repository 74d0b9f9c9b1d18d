//! As a client speaks it: requests read, replies written.

use bursar_actors::Usage;
use serde_json::{Value, json};

use super::{read, shown};
use crate::providers::anthropic::{Anthropic, own_history, strip_thinking};
use crate::providers::dialect::ClientDialect;
use crate::schema::chat::{
    CacheMark, ChatReply, ChatRequest, Choice, Citation, Content, Dialect, Effort, Finish, Format, Part, Reasoning,
    Thinking, Tool, ToolCall, ToolChoice,
};

fn asked(more: Value) -> ChatRequest {
    let mut body = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    read(body).unwrap()
}

#[test]
fn a_conversation_keeps_its_order_and_results_come_first() {
    let request = asked(json!({
        "system": [{ "type": "text", "text": "be brief", "cache_control": { "type": "ephemeral", "ttl": "1h" } }],
        "messages": [
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s" },
                { "type": "thinking", "thinking": "unsigned", "signature": "" },
                { "type": "redacted_thinking", "data": "x" },
                { "type": "text", "text": "b", "citations": null },
                { "type": "tool_use", "id": "t1", "name": "f", "input": { "x": 1 } },
                { "type": "server_tool_use", "id": "t2", "name": "web_search", "input": {} },
            ] },
            { "role": "system", "content": "now in French" },
            { "role": "user", "content": [
                { "type": "text", "text": "c" },
                { "type": "tool_result", "tool_use_id": "t1", "content": [{ "type": "text", "text": "r" }], "is_error": true },
            ] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1" }] },
        ],
    }));

    let expected = [
        "System: be brief",
        "User: a",
        "Assistant: Some(Anthropic) hm",
        "Assistant: None unsigned",
        "Assistant: Some(Anthropic) ",
        "Assistant: b",
        "Assistant: f({\"x\":1}) = t1",
        "Assistant: native \"server_tool_use\"",
        "System: now in French",
        "Tool: t1 f: 1",
        "User: c",
        "Tool: t1 f: 0",
    ];
    assert_eq!(shown(&request), expected);
    assert_eq!(request.messages[0].parts[0].cache, Some(CacheMark::Long));
}

#[test]
fn documents_and_images_are_read_from_every_source() {
    let source = |kind: &str, key: &str| json!({ "type": kind, key: "v", "media_type": "application/pdf" });
    let document = |source: Value| json!({ "type": "document", "source": source, "title": "t" });
    let request = asked(json!({ "messages": [{ "role": "user", "content": [
        { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "d" } },
        { "type": "image", "source": { "type": "url", "url": "https://x" } },
        document(source("base64", "data")),
        document(source("text", "data")),
        document(source("file", "file_id")),
        { "type": "document", "source": { "type": "content", "content": [{ "type": "text", "text": "in" }] }, "context": "c" },
        { "type": "search_result", "source": "https://s", "title": "found", "content": [{ "type": "text", "text": "it" }] },
        { "type": "container_upload", "file_id": "f" },
    ] }] }));

    let expected = [
        "User: image Inline { media_type: \"image/png\", data: \"d\" }",
        "User: image Url(\"https://x\")",
        "User: file Inline { media_type: \"application/pdf\", data: \"v\" } Some(\"t\")",
        "User: file Text(\"v\") Some(\"t\")",
        "User: file Id { dialect: Anthropic, id: \"v\" } Some(\"t\")",
        "User: c",
        "User: file Text(\"in\") None",
        "User: file Text(\"https://s\\nit\") Some(\"found\")",
        "User: native \"container_upload\"",
    ];
    assert_eq!(shown(&request), expected);
}

#[test]
fn parameters_are_read_and_unknown_ones_kept() {
    let request = asked(json!({
        "stop_sequences": ["END"], "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stream": true,
        "metadata": { "user_id": "u" }, "service_tier": "standard_only", "inference_geo": "eu", "container": null,
        "tools": [
            { "name": "f", "input_schema": { "type": "object" }, "strict": true, "cache_control": { "type": "ephemeral" } },
            { "type": "web_search_20250305", "name": "web_search" },
        ],
        "tool_choice": { "type": "tool", "name": "f", "disable_parallel_tool_use": true },
        "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } }, "task_budget": 5 },
        "cache_control": { "type": "ephemeral" }, "bursar": {},
    }));

    assert_eq!((request.temperature, request.top_p, request.top_k), (Some(0.5), Some(0.9), Some(40)));
    assert!(request.stream && request.include_usage);
    assert_eq!((request.stop, request.user.as_deref()), (vec!["END".to_owned()], Some("u")));
    assert_eq!(request.service_tier.as_deref(), Some("default"));
    assert_eq!((request.tool_choice, request.parallel_tool_calls), (Some(ToolChoice::Named("f".into())), Some(false)));
    assert!(
        matches!(&request.tools[0], Tool::Function(f) if f.strict == Some(true) && f.cache == Some(CacheMark::Default))
    );
    assert!(matches!(&request.tools[1], Tool::Native { dialect: Dialect::Anthropic, .. }));
    assert!(matches!(&request.format, Some(Format::JsonSchema { name, strict: Some(true), .. }) if name == "response"));
    assert_eq!(request.messages[0].parts[0].cache, Some(CacheMark::Default));
    let extra = Value::Object(request.extra.unwrap().fields);
    assert_eq!(extra, json!({ "inference_geo": "eu", "output_config": { "task_budget": 5 } }));
}

#[test]
fn thinking_is_read_in_all_its_forms() {
    let reasoning = |effort, budget, show| Some(Reasoning { effort, budget, show });
    let cases = [
        (json!({ "thinking": { "type": "enabled", "budget_tokens": 2000 } }), reasoning(None, Some(2000), None)),
        (json!({ "thinking": { "type": "disabled" } }), reasoning(Some(Effort::None), None, None)),
        (json!({ "thinking": { "type": "between_tools" } }), reasoning(Some(Effort::None), None, None)),
        (
            json!({ "thinking": { "type": "adaptive", "display": "omitted" }, "output_config": { "effort": "max" } }),
            reasoning(Some(Effort::Max), None, Some(false)),
        ),
        (json!({ "output_config": { "effort": "low" } }), reasoning(Some(Effort::Low), None, None)),
        (json!({}), None),
    ];
    for (body, expected) in cases {
        assert_eq!(asked(body.clone()).reasoning, expected, "{body}");
    }
}

#[test]
fn what_is_wrong_is_named_by_its_path_and_never_shown() {
    let cases = [
        (json!({ "messages": [] }), "model"),
        (json!({ "model": "m" }), "messages"),
        (json!({ "model": "m", "messages": ["SECRET"] }), "messages[0]"),
        (json!({ "model": "m", "messages": [{ "role": "SECRET", "content": "x" }] }), "messages[0].role"),
        (json!({ "model": "m", "messages": [{ "role": "user", "content": 7 }] }), "messages[0].content"),
        (json!({ "model": "m", "messages": [{ "role": "user", "content": [{}] }] }), "messages[0].content[0]"),
        (
            json!({ "model": "m", "messages": [{ "role": "user", "content": [{ "type": "text", "text": ["SECRET"] }] }] }),
            "messages[0].content[0].text",
        ),
        (
            json!({ "model": "m", "messages": [{ "role": "user", "content": [
                { "type": "image", "source": { "type": "SECRET" } }] }] }),
            "messages[0].content[0].source.type",
        ),
        (json!({ "model": "m", "messages": [{ "role": "user" }], "stop_sequences": "SECRET" }), "stop_sequences"),
        (json!({ "model": "m", "messages": [{ "role": "user" }], "tools": [{}] }), "tools[0].name"),
        (json!({ "model": "m", "messages": [{ "role": "user" }], "tool_choice": { "type": "x" } }), "tool_choice.type"),
    ];
    for (body, param) in cases {
        let error = read(body.clone()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{body}");
        assert!(error.message.contains(param) && !error.message.contains("SECRET"), "{}", error.message);
    }
    assert_eq!(Anthropic.read(b"{").unwrap_err().code, Some("invalid_json"));
    assert_eq!(Anthropic.read(b"[]").unwrap_err().code, Some("invalid_type"));
}

fn written(choice: Choice, usage: Option<Usage>) -> Value {
    let reply =
        ChatReply { id: "chatcmpl-7".into(), model: "m".into(), choices: vec![choice], usage, ..Default::default() };
    serde_json::from_slice(&Anthropic.write(&reply, &ChatRequest::default())).unwrap()
}

fn part(content: Content) -> Part {
    Part::new(content)
}

#[test]
fn a_reply_becomes_a_message() {
    let call = |id: &str, arguments: &str| {
        let (id, arguments) = (id.to_owned(), arguments.to_owned());
        part(Content::ToolCall(ToolCall { id, name: "f".into(), arguments, ..ToolCall::default() }))
    };
    let thinking = Thinking { text: "hm".into(), ..Thinking::default() };
    let parts = vec![
        part(Content::Thinking(thinking)),
        Part::text("b"),
        call("functions.f:0", "{\"x\":1}"),
        call("c2", "{\"x"),
    ];
    let citations = vec![Citation { url: "https://x".into(), title: "t".into(), start: None, end: None }];
    let usage = Usage { prompt: 10, completion: 5, total: 15, cached: 4, cache_write: 1, ..Usage::default() };
    let choice = Choice { parts, finish: Some(Finish::ToolCalls), citations, ..Choice::default() };

    let message = written(choice, Some(usage));

    assert_eq!(
        (&message["id"], &message["type"], &message["role"]),
        (&json!("msg_7"), &json!("message"), &json!("assistant"))
    );
    assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!("tool_use"), &Value::Null));
    assert_eq!(message["content"][0], json!({ "type": "thinking", "thinking": "hm", "signature": "" }));
    assert_eq!(message["content"][1]["citations"][0]["url"], "https://x");
    let call = json!({ "type": "tool_use", "id": "functions_f_0", "name": "f", "input": { "x": 1 } });
    assert_eq!(message["content"][2], call);
    assert_eq!(message["content"][3]["input"], json!({ "_raw": "{\"x" }));
    let used = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"];
    assert_eq!(used.map(|key| message["usage"][key].as_u64().unwrap()), [5, 4, 1, 5]);
}

#[test]
fn ends_have_their_reason() {
    let said = |text: &str| vec![Part::text(text)];
    let cases = [
        (Some(Finish::Stop { sequence: None }), said("a"), "end_turn", Value::Null),
        (Some(Finish::Stop { sequence: Some("END".into()) }), said("a"), "stop_sequence", json!("END")),
        (Some(Finish::Length), said("a"), "max_tokens", Value::Null),
        (Some(Finish::ContentFilter), Vec::new(), "refusal", Value::Null),
        (Some(Finish::Stop { sequence: None }), vec![part(Content::Refusal("no".into()))], "refusal", Value::Null),
        (None, Vec::new(), "end_turn", Value::Null),
    ];
    for (finish, parts, reason, sequence) in cases {
        let message = written(Choice { finish, parts, ..Choice::default() }, None);
        assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!(reason), &sequence));
        assert_eq!(message.get("stop_details").is_some(), reason == "refusal");
    }
}

#[test]
fn proofs_of_other_vendors_come_back_from_a_clients_history() {
    let thought = Thinking {
        text: "hm".into(),
        encrypted: Some("ab:c==".into()),
        vendor: Some(Dialect::Responses),
        id: Some("rs_1".into()),
        ..Thinking::default()
    };
    let hidden = Thinking { text: String::new(), ..thought.clone() };
    let signed = Thinking { signature: Some("g".into()), vendor: Some(Dialect::Gemini), ..Thinking::default() };
    let own = Thinking { signature: Some("s".into()), vendor: Some(Dialect::Anthropic), ..Thinking::default() };
    let call = ToolCall {
        id: "c".into(),
        name: "f".into(),
        arguments: "{}".into(),
        signature: Some("sig".into()),
        ..ToolCall::default()
    };
    let parts = vec![
        part(Content::Thinking(thought)),
        part(Content::Thinking(hidden)),
        part(Content::Thinking(signed)),
        part(Content::Thinking(own)),
        part(Content::ToolCall(call)),
    ];
    let message = written(Choice { parts: parts.clone(), ..Choice::default() }, None);
    let body = json!({ "model": "m", "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": message["content"] },
    ] });

    let mut request = read(body.clone()).unwrap();

    assert_eq!(request.messages[1].parts, parts);
    strip_thinking(&mut request, Dialect::Anthropic);
    assert_eq!(shown(&request)[1..], ["Assistant: Some(Anthropic) ", "Assistant: f({}) = c"]);
    let passed: Value = serde_json::from_slice(&own_history(body.to_string().as_bytes()).unwrap()).unwrap();
    let kinds: Vec<_> =
        passed["messages"][1]["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["thinking", "tool_use"]);
    assert_eq!(own_history(passed.to_string().as_bytes()), None);
}
