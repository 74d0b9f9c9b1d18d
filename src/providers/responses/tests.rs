//! The rules of reading, writing and encoding, one by one.

use serde_json::{Value, json};

use super::*;
use crate::providers::dialect::ModelFacts;
use crate::schema::chat::{
    CacheMark, ChatRequest, Choice, Content, Dialect, Effort, Extra, Finish, Format, Message, Part, Reasoning, Role,
    Source, Thinking, Tool, ToolCall, ToolChoice, ToolResult,
};

fn read(body: &Value) -> ChatRequest {
    Responses.read(body.to_string().as_bytes()).unwrap()
}

fn encoded(request: &ChatRequest, facts: &ModelFacts) -> (Value, Vec<String>) {
    let target = Target { model: "gpt", model_facts: facts, strict: false };
    let wire = Responses.encode(request, &target).unwrap();
    assert_eq!(wire.path, "/responses");
    (serde_json::from_slice(&wire.body).unwrap(), wire.warnings)
}

fn call(id: &str) -> Part {
    let (id, name, arguments) = (id.into(), "f".into(), "{}".into());
    Part::new(Content::ToolCall(ToolCall { id, name, arguments, ..ToolCall::default() }))
}

#[test]
fn what_a_model_says_and_calls_in_a_row_is_one_message() {
    let call_item = |id: &str| json!({ "type": "function_call", "call_id": id, "name": "f", "arguments": "" });
    let output = |id: &str| json!({ "type": "function_call_output", "call_id": id, "output": "r" });
    let request = read(&json!({ "instructions": "i", "input": [
        { "role": "user", "content": "u" },
        { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "s" }], "encrypted_content": "gA" },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "a", "annotations": [] }] },
        call_item("1"), call_item("2"), output("1"), output("2"),
        { "role": "assistant", "content": "b" },
        { "role": "assistant", "content": "c" },
    ]}));

    let thinking = Thinking {
        text: "s".into(),
        encrypted: Some("gA".into()),
        vendor: Some(Dialect::Responses),
        id: Some("rs_1".into()),
        signature: None,
    };
    let result = |id: &str| {
        let (call_id, name, parts) = (id.into(), Some("f".into()), vec![Part::text("r")]);
        let result = ToolResult { call_id, name, parts, is_error: false };
        Message::new(Role::Tool, vec![Part::new(Content::ToolResult(result))])
    };
    let turn = vec![Part::new(Content::Thinking(thinking)), Part::text("a"), call("1"), call("2")];
    let expected = [
        Message::new(Role::System, vec![Part::text("i")]),
        Message::new(Role::User, vec![Part::text("u")]),
        Message::new(Role::Assistant, turn),
        result("1"),
        result("2"),
        Message::new(Role::Assistant, vec![Part::text("b")]),
        Message::new(Role::Assistant, vec![Part::text("c")]),
    ];
    assert_eq!(request.messages, expected);
}

#[test]
fn parts_of_messages_are_read() {
    let cases = [
        (json!({ "type": "input_text", "text": "t" }), Content::Text("t".into())),
        (json!({ "type": "refusal", "refusal": "no" }), Content::Refusal("no".into())),
        (
            json!({ "type": "input_image", "image_url": "https://a.example/x", "detail": "low" }),
            Content::Image { source: Source::Url("https://a.example/x".into()), detail: Some("low".into()) },
        ),
        (
            json!({ "type": "input_image", "image_url": "data:image/png;base64,QQ==" }),
            Content::Image {
                source: Source::Inline { media_type: "image/png".into(), data: "QQ==".into() },
                detail: None,
            },
        ),
        (
            json!({ "type": "input_file", "filename": "a.pdf", "file_data": "QQ==" }),
            Content::File {
                source: Source::Inline { media_type: "application/pdf".into(), data: "QQ==".into() },
                name: Some("a.pdf".into()),
            },
        ),
        (
            json!({ "type": "input_file", "file_id": "file-1" }),
            Content::File { source: Source::Id { dialect: Dialect::Responses, id: "file-1".into() }, name: None },
        ),
    ];
    for (part, content) in cases {
        let request = read(&json!({ "input": [{ "role": "user", "content": [part] }] }));

        assert_eq!(request.messages[0].parts, [Part::new(content)]);
    }
    let marked = json!({ "type": "input_text", "text": "t", "prompt_cache_breakpoint": { "ttl": "12h" } });
    let request = read(&json!({ "input": [{ "role": "user", "content": [marked] }] }));
    assert_eq!(request.messages[0].parts[0].cache, Some(CacheMark::Long));
}

#[test]
fn what_cannot_be_served_names_its_field() {
    let with = |name: &str, value: Value| {
        let mut body = json!({ "input": "x" });
        body[name] = value;
        body
    };
    let input = |item: Value| json!({ "input": [item] });
    let cases = [
        (with("previous_response_id", json!("resp_1")), "previous_response_id", "unsupported_parameter"),
        (with("conversation", json!({ "id": "c" })), "conversation", "unsupported_parameter"),
        (with("background", json!(true)), "background", "unsupported_parameter"),
        (with("prompt", json!({ "id": "p" })), "prompt", "unsupported_parameter"),
        (with("tools", json!([{ "type": "web_search" }])), "tools[0].type", "unsupported_parameter"),
        (with("tool_choice", json!({ "type": "file_search" })), "tool_choice", "unsupported_parameter"),
        (input(json!({ "type": "item_reference", "id": "x" })), "input[0].id", "unsupported_parameter"),
        (input(json!({ "id": "x" })), "input[0].id", "unsupported_parameter"),
        (json!({ "input": null }), "input", "missing_required_parameter"),
        (json!({ "input": 1 }), "input", "invalid_type"),
        (input(json!({ "role": "user", "content": 1 })), "input[0].content", "invalid_type"),
        (
            input(json!({ "role": "user", "content": [{ "type": "input_text" }] })),
            "input[0].content[0].text",
            "missing_required_parameter",
        ),
        (input(json!({ "type": "function_call", "name": "f" })), "input[0].call_id", "missing_required_parameter"),
        (with("temperature", json!("hot")), "temperature", "invalid_type"),
        (with("reasoning", json!({ "effort": "secret" })), "reasoning.effort", "invalid_value"),
        (
            with("text", json!({ "format": { "type": "json_schema", "name": "n" } })),
            "text.format.schema",
            "missing_required_parameter",
        ),
    ];
    for (body, param, code) in cases {
        let error = Responses.read(body.to_string().as_bytes()).unwrap_err();

        assert_eq!((error.param.as_deref(), error.code), (Some(param), Some(code)), "{body}");
        assert!(error.message.starts_with(&format!("`{param}`")) && !error.message.contains("secret"), "{error:?}");
    }
    let allowed = json!({ "input": "x", "previous_response_id": null, "background": false, "conversation": null });
    assert!(Responses.read(allowed.to_string().as_bytes()).is_ok());
}

#[test]
fn settings_are_read_and_what_only_openai_knows_is_kept() {
    let request = read(&json!({
        "input": "x", "model": "m", "max_output_tokens": 9, "text": { "verbosity": "low", "format": {
            "type": "json_schema", "name": "n", "schema": {}, "strict": true } },
        "reasoning": { "effort": "low", "summary": "auto" }, "safety_identifier": "s", "truncation": "auto",
        "tools": [{ "type": "function", "name": "f", "parameters": {}, "strict": null },
            { "type": "custom", "name": "g", "format": { "type": "grammar", "syntax": "lark", "definition": "d" } }],
        "tool_choice": { "type": "allowed_tools", "mode": "required", "tools": [{ "type": "function", "name": "f" }] },
        "include": ["message.output_text.logprobs"], "unheard_of": 1,
    }));

    let format = Format::JsonSchema { name: "n".into(), description: None, schema: json!({}), strict: Some(true) };
    assert_eq!(request.format, Some(format));
    let reasoning = Reasoning { effort: Some(Effort::Low), budget: None, show: Some(true) };
    assert_eq!(request.reasoning, Some(reasoning));
    assert_eq!((request.max_tokens, request.user.as_deref(), request.logprobs), (Some(9), Some("s"), Some(true)));
    let grammar = json!({ "type": "grammar", "grammar": { "syntax": "lark", "definition": "d" } });
    assert_eq!(request.tools[1], Tool::Custom { name: "g".into(), description: None, format: Some(grammar) });
    assert_eq!(request.tool_choice, Some(ToolChoice::Allowed { names: vec!["f".into()], required: true }));
    let extra = request.extra.unwrap();
    let kept: Vec<_> = extra.fields.keys().map(String::as_str).collect();
    assert_eq!(kept, ["reasoning", "safety_identifier", "unheard_of", "include", "truncation"]);
}

#[test]
fn a_request_goes_out_as_it_was_read() {
    let body = json!({
        "model": "gpt", "instructions": "i", "stream": true, "store": false, "temperature": 0.5, "metadata": { "a": "b" },
        "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": "u" },
                { "type": "input_image", "image_url": "https://a.example/x", "detail": "auto" }] },
            { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA" },
            { "type": "function_call", "call_id": "1", "name": "f", "arguments": "{}" },
            { "type": "custom_tool_call", "call_id": "2", "name": "g", "input": "sql" },
            { "type": "function_call_output", "call_id": "1", "output": "r" },
            { "type": "custom_tool_call_output", "call_id": "2", "output": "s" },
            { "role": "assistant", "content": "a" },
            { "role": "developer", "content": "d" },
        ],
        "include": ["reasoning.encrypted_content", "file_search_call.results"],
        "reasoning": { "effort": "low", "summary": "detailed" },
        "text": { "format": { "type": "json_schema", "name": "n", "schema": {}, "strict": true }, "verbosity": "low" },
        "tools": [{ "type": "function", "name": "f", "parameters": {}, "strict": null },
            { "type": "custom", "name": "g", "format": { "type": "grammar", "syntax": "lark", "definition": "d" } }],
        "tool_choice": { "type": "custom", "name": "g" }, "truncation": "auto", "unheard_of": 1,
    });

    let (again, warnings) = encoded(&read(&body), &ModelFacts::default());

    assert_eq!(again, body);
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn what_responses_cannot_do_is_left_out_with_a_warning_or_refused() {
    let facts = ModelFacts { sampling: Some(false), efforts: vec![Effort::Low, Effort::High], ..ModelFacts::default() };
    let request = ChatRequest {
        messages: vec![Message::new(Role::User, vec![Part::text("u")])],
        stop: vec!["x".into()],
        seed: Some(1),
        temperature: Some(1.0),
        max_tokens: Some(1),
        reasoning: Some(Reasoning { effort: Some(Effort::Minimal), ..Reasoning::default() }),
        extra: Some(Extra {
            dialect: Dialect::Anthropic,
            fields: [("context".to_owned(), json!(1))].into_iter().collect(),
        }),
        ..ChatRequest::default()
    };

    let (body, warnings) = encoded(&request, &facts);

    assert_eq!((&body["reasoning"]["effort"], &body["max_output_tokens"]), (&json!("low"), &json!(16)));
    let named: Vec<_> = warnings.iter().filter_map(|warning| warning.split('`').nth(1)).collect();
    assert_eq!(named, ["context", "max_tokens", "temperature", "reasoning.effort", "stop", "seed"]);
    let target = Target { model: "gpt", model_facts: &facts, strict: true };
    assert_eq!(Responses.encode(&request, &target).unwrap_err().param.as_deref(), Some("context"));
    let several = ChatRequest { choices: Some(2), ..ChatRequest::default() };
    let target = Target { strict: false, ..target };
    assert_eq!(Responses.encode(&several, &target).unwrap_err().param.as_deref(), Some("n"));
}

#[test]
fn a_chat_clients_functions_stay_without_strictness_and_long_ids_are_shortened_alike() {
    let long = "x".repeat(80);
    let result = ToolResult { call_id: long.clone(), ..ToolResult::default() };
    let request = ChatRequest {
        messages: vec![
            Message::new(Role::Assistant, vec![call(&long)]),
            Message::new(Role::Tool, vec![Part::new(Content::ToolResult(result))]),
        ],
        tools: vec![Tool::Function(crate::schema::chat::Function { name: "f".into(), ..Default::default() })],
        ..ChatRequest::default()
    };

    let (body, _) = encoded(&request, &ModelFacts::default());

    assert_eq!(body["tools"][0]["strict"], false);
    assert_eq!(body["input"][0]["call_id"], body["input"][1]["call_id"]);
    assert!(body["input"][0]["call_id"].as_str().is_some_and(|id| id.len() <= 64));
}

#[test]
fn another_vendors_signatures_come_back_through_the_client() {
    let thinking = Thinking {
        text: "hm".into(),
        signature: Some("sig".into()),
        vendor: Some(Dialect::Anthropic),
        ..Thinking::default()
    };
    let signed = ToolCall {
        id: "c".into(),
        name: "f".into(),
        arguments: "{}".into(),
        custom: false,
        signature: Some("g".into()),
    };
    let parts = vec![Part::new(Content::Thinking(thinking)), Part::text("t"), Part::new(Content::ToolCall(signed))];
    let choice = Choice { parts: parts.clone(), finish: Some(Finish::ToolCalls), ..Choice::default() };
    let reply = ChatReply { id: "msg_1".into(), choices: vec![choice], ..ChatReply::default() };

    let written: Value = serde_json::from_slice(&Responses.write(&reply, &read(&json!({ "input": "x" })))).unwrap();
    let again = read(&json!({ "input": written["output"] }));

    assert_eq!(again.messages, [Message::new(Role::Assistant, parts)]);
}

#[test]
fn a_reply_echoes_its_request_with_openais_defaults() {
    let reply = ChatReply { id: "chatcmpl-9".into(), created: 7, model: "m".into(), ..ChatReply::default() };

    let plain: Value = serde_json::from_slice(&Responses.write(&reply, &read(&json!({ "input": "x" })))).unwrap();
    let asked = read(&json!({ "input": "x", "instructions": "i", "top_p": 0.5, "reasoning": { "effort": "high" } }));
    let echoed: Value = serde_json::from_slice(&Responses.write(&reply, &asked)).unwrap();

    let defaults = [
        ("temperature", json!(1.0)),
        ("top_p", json!(1.0)),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("parallel_tool_calls", json!(true)),
        ("truncation", json!("disabled")),
        ("metadata", json!({})),
        ("status", json!("completed")),
        ("instructions", Value::Null),
        ("id", json!("resp_9")),
        ("output", json!([])),
    ];
    for (name, value) in defaults {
        assert_eq!(plain[name], value, "{name}");
    }
    assert!(plain.get("output_text").is_none());
    assert_eq!((&echoed["instructions"], &echoed["top_p"]), (&json!("i"), &json!(0.5)));
    assert_eq!(echoed["reasoning"], json!({ "effort": "high", "summary": null }));
}

#[test]
fn tokens_of_an_input_are_told() {
    assert_eq!(&write_input_tokens(12)[..], br#"{"object":"response.input_tokens","input_tokens":12}"#);
}
