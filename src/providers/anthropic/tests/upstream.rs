//! As an upstream is spoken to: requests written, whole replies read.

use serde_json::{Value, json};

use super::{encode, sent};
use crate::providers::anthropic::Anthropic;
use crate::providers::dialect::UpstreamDialect;
use crate::schema::chat::{
    CacheMark, ChatRequest, Citation, Content, Dialect, Effort, Extra, Finish, Format, Function, Message, Part,
    Reasoning, Role, Source, Thinking, Tool, ToolCall, ToolChoice, ToolResult,
};

const OLD: &str = "claude-sonnet-4-5";
const NEW: &str = "claude-opus-5-5";

fn said(role: Role, text: &str) -> Message {
    Message::new(role, vec![Part::text(text)])
}

fn call(id: &str, arguments: &str) -> Message {
    let (id, arguments) = (id.to_owned(), arguments.to_owned());
    let call = ToolCall { id, name: "f".into(), arguments, ..ToolCall::default() };
    Message::new(Role::Assistant, vec![Part::new(Content::ToolCall(call))])
}

fn result(id: &str, text: &str) -> Message {
    let answer = ToolResult { call_id: id.into(), parts: vec![Part::text(text)], ..ToolResult::default() };
    Message::new(Role::Tool, vec![Part::new(Content::ToolResult(answer))])
}

fn asking(messages: Vec<Message>) -> ChatRequest {
    ChatRequest { messages, ..ChatRequest::default() }
}

fn hello() -> ChatRequest {
    asking(vec![said(Role::User, "hi")])
}

#[test]
fn results_stand_right_behind_their_calls_and_nothing_blank_is_sent() {
    let request = asking(vec![
        said(Role::System, "s"),
        said(Role::Developer, "d"),
        said(Role::User, "a"),
        said(Role::Assistant, " "),
        call("c.1", "{\"x\":1}"),
        call("c2", ""),
        said(Role::User, "wait"),
        result("c2", "two"),
        result("c.1", "one"),
        said(Role::User, "b"),
        said(Role::User, ""),
    ]);

    let (body, warnings) = sent(&request, OLD);

    assert_eq!(body["system"], json!([{ "type": "text", "text": "s" }, { "type": "text", "text": "d" }]));
    let expected = json!([
        { "role": "user", "content": [{ "type": "text", "text": "a" }] },
        { "role": "assistant", "content": [
            { "type": "tool_use", "id": "c_1", "name": "f", "input": { "x": 1 } },
            { "type": "tool_use", "id": "c2", "name": "f", "input": {} },
        ] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "c2", "content": "two" },
            { "type": "tool_result", "tool_use_id": "c_1", "content": "one" },
            { "type": "text", "text": "wait" },
            { "type": "text", "text": "b" },
        ] },
    ]);
    assert_eq!(body["messages"], expected);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn a_conversation_that_anthropic_would_refuse_is_mended_or_refused() {
    let orphan = asking(vec![said(Role::User, "a"), call("c", "{}"), said(Role::User, "b")]);
    let (body, warnings) = sent(&orphan, OLD);
    assert_eq!(body["messages"][2]["content"][0]["is_error"], true);
    assert_eq!(warnings.len(), 1);
    assert!(encode(&orphan, OLD, true).is_err());

    let unknown = asking(vec![said(Role::User, "a"), result("c", "x")]);
    assert_eq!(encode(&unknown, OLD, false).unwrap_err().param.as_deref(), Some("messages"));

    let assistant_first = asking(vec![said(Role::Assistant, "a"), said(Role::User, "b")]);
    assert_eq!(sent(&assistant_first, OLD).0["messages"][0]["role"], "user");

    let broken = asking(vec![said(Role::User, "a"), call("c", "{\"x"), result("c", "x")]);
    let (body, warnings) = sent(&broken, OLD);
    assert_eq!(body["messages"][1]["content"][0]["input"], json!({ "_raw": "{\"x" }));
    assert_eq!(warnings.len(), 1);
    assert!(encode(&broken, OLD, true).is_err());
}

#[test]
fn later_instructions_stay_where_they_stand() {
    let request =
        asking(vec![said(Role::User, "a"), said(Role::Assistant, "b"), said(Role::System, "s"), said(Role::User, "c")]);

    assert_eq!(sent(&request, "claude-opus-5").0["messages"][2]["role"], "system");
    let (body, _) = sent(&request, OLD);
    assert_eq!(body["messages"][2]["content"][0]["text"], "<system>\ns\n</system>");
    assert_eq!(body.get("system"), None);
}

#[test]
fn a_started_answer_goes_on_by_role_or_by_words() {
    let request = asking(vec![said(Role::User, "a"), said(Role::Assistant, "{ ")]);

    assert_eq!(sent(&request, OLD).0["messages"][1]["content"][0]["text"], "{");
    let (body, warnings) = sent(&request, NEW);
    assert_eq!((body["messages"].as_array().unwrap().len(), warnings.len()), (3, 1));
    assert!(encode(&request, NEW, true).is_err());
}

#[test]
fn only_thinking_that_anthropic_signed_is_sent() {
    let thinking = |vendor, signature: Option<&str>, encrypted: Option<&str>| {
        let (signature, encrypted) = (signature.map(str::to_owned), encrypted.map(str::to_owned));
        Part::new(Content::Thinking(Thinking { text: "t".into(), signature, encrypted, vendor, id: None }))
    };
    let parts = vec![
        thinking(Some(Dialect::Anthropic), Some("s"), None),
        thinking(Some(Dialect::Anthropic), None, Some("d")),
        thinking(Some(Dialect::Gemini), Some("g"), None),
        thinking(None, None, None),
        Part::text("b"),
    ];
    let request = asking(vec![said(Role::User, "a"), Message::new(Role::Assistant, parts), said(Role::User, "c")]);

    let (body, warnings) = sent(&request, NEW);

    let expected = json!([
        { "type": "thinking", "thinking": "t", "signature": "s" },
        { "type": "redacted_thinking", "data": "d" },
        { "type": "text", "text": "b" },
    ]);
    assert_eq!(body["messages"][1]["content"], expected);
    assert_eq!(warnings.len(), 1);
    assert!(encode(&request, NEW, true).is_ok());
}

#[test]
fn sampling_goes_only_to_models_that_take_it_and_decides_the_version() {
    let version = |request: &ChatRequest, model: &str| encode(request, model, false).unwrap().headers[0].1.clone();
    let mut request = ChatRequest { temperature: Some(1.5), top_p: Some(0.9), top_k: Some(5), ..hello() };

    let (body, warnings) = sent(&request, OLD);
    assert_eq!((&body["temperature"], body.get("top_p"), &body["top_k"]), (&json!(1.0), None, &json!(5)));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(version(&request, OLD), "2023-06-01");
    assert!(encode(&request, OLD, true).is_err());

    let (body, warnings) = sent(&request, NEW);
    assert!(["temperature", "top_p", "top_k"].iter().all(|key| body.get(*key).is_none()));
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(version(&request, NEW), "2026-10-21");

    (request.temperature, request.top_p, request.top_k) = (Some(1.0), None, None);
    assert!(sent(&request, NEW).1.is_empty());
    assert_eq!(version(&hello(), OLD), "2026-10-21");
}

#[test]
fn efforts_become_what_the_model_understands() {
    let with = |effort, model: &str| {
        let reasoning = Some(Reasoning { effort: Some(effort), ..Reasoning::default() });
        let (body, warnings) = sent(&ChatRequest { reasoning, max_tokens: Some(6_000), ..hello() }, model);
        (body["thinking"].clone(), body["output_config"]["effort"].clone(), warnings.len())
    };
    let adaptive = json!({ "type": "adaptive", "display": "summarized" });
    let enabled = |budget: u64| json!({ "type": "enabled", "budget_tokens": budget });
    let nothing = Value::Null;
    let cases = [
        (Effort::None, OLD, nothing.clone(), nothing.clone(), 0),
        (Effort::Low, OLD, enabled(1_024), nothing.clone(), 0),
        (Effort::Max, OLD, enabled(5_999), nothing.clone(), 0),
        (Effort::None, "claude-opus-4-7", json!({ "type": "disabled" }), nothing.clone(), 0),
        (Effort::Minimal, "claude-sonnet-4-6", adaptive.clone(), json!("low"), 0),
        (Effort::XHigh, "claude-sonnet-4-6", adaptive.clone(), json!("max"), 1),
        (Effort::XHigh, NEW, adaptive, json!("xhigh"), 0),
        (Effort::None, "claude-sonnet-5-5", json!({ "type": "between_tools" }), nothing.clone(), 0),
        (Effort::None, NEW, nothing.clone(), json!("low"), 1),
        (Effort::High, "claude-3-5-haiku-latest", nothing.clone(), nothing, 1),
    ];
    for (effort, model, thinking, word, warnings) in cases {
        assert_eq!(with(effort, model), (thinking, word, warnings), "{effort:?} to {model}");
    }
}

#[test]
fn a_budget_leaves_room_for_the_answer_and_keeps_out_where_thinking_is_missing() {
    let reasoning = Some(Reasoning { effort: Some(Effort::Max), ..Reasoning::default() });
    let (body, _) = sent(&ChatRequest { reasoning: reasoning.clone(), ..hello() }, OLD);
    assert_eq!((&body["thinking"]["budget_tokens"], &body["max_tokens"]), (&json!(16_384), &json!(20_480)));

    let (body, warnings) = sent(&ChatRequest { reasoning: reasoning.clone(), max_tokens: Some(500), ..hello() }, OLD);
    assert_eq!((body.get("thinking"), warnings.len()), (None, 1));

    let turns = vec![said(Role::User, "a"), call("c", "{}"), result("c", "r")];
    let (body, warnings) = sent(&ChatRequest { reasoning, ..asking(turns) }, OLD);
    assert_eq!((body.get("thinking"), warnings.len()), (None, 1));
}

fn with_tool(tool_choice: Option<ToolChoice>) -> ChatRequest {
    let function = |name: &str| Tool::Function(Function { name: name.into(), ..Function::default() });
    ChatRequest { tools: vec![function("f"), function("g")], tool_choice, ..hello() }
}

#[test]
fn tool_choices_have_their_words_or_are_asked_for_in_words() {
    let allowed = ToolChoice::Allowed { names: vec!["g".into()], required: true };
    let cases = [
        (None, OLD, Value::Null, 2, 0),
        (Some(ToolChoice::None), NEW, json!({ "type": "none" }), 2, 0),
        (Some(ToolChoice::Auto), OLD, json!({ "type": "auto" }), 2, 0),
        (Some(ToolChoice::Required), OLD, json!({ "type": "any" }), 2, 0),
        (Some(ToolChoice::Named("f".into())), OLD, json!({ "type": "tool", "name": "f" }), 2, 0),
        (Some(allowed), OLD, json!({ "type": "any" }), 1, 0),
        (Some(ToolChoice::Named("f".into())), NEW, json!({ "type": "auto" }), 2, 1),
    ];
    for (choice, model, expected, tools, warnings) in cases {
        let (body, told) = sent(&with_tool(choice.clone()), model);
        assert_eq!(body["tool_choice"], expected, "{choice:?}");
        assert_eq!((body["tools"].as_array().unwrap().len(), told.len()), (tools, warnings), "{choice:?}");
        assert_eq!(body.get("system").is_some(), warnings == 1);
    }
    let one_by_one = ChatRequest { parallel_tool_calls: Some(false), ..with_tool(None) };
    assert_eq!(sent(&one_by_one, OLD).0["tool_choice"], json!({ "type": "auto", "disable_parallel_tool_use": true }));
    assert!(encode(&with_tool(Some(ToolChoice::Required)), NEW, true).is_err());
}

#[test]
fn formats_are_enforced_where_the_model_can() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string", "maxLength": 3 } } });
    let format = Format::JsonSchema { name: "n".into(), description: None, schema, strict: Some(true) };
    let request = ChatRequest { format: Some(format), ..hello() };

    let (body, warnings) = sent(&request, OLD);
    let schema = &body["output_config"]["format"]["schema"];
    assert_eq!((&schema["additionalProperties"], warnings.len()), (&json!(false), 0));
    let (body, warnings) = sent(&request, "claude-3-5-haiku-latest");
    assert!(body["system"][0]["text"].as_str().unwrap().contains("maxLength"));
    assert_eq!(warnings.len(), 1);
    let (body, warnings) = sent(&ChatRequest { format: Some(Format::JsonObject), ..hello() }, NEW);
    assert_eq!((body["system"].as_array().unwrap().len(), warnings.len()), (1, 1));
}

#[test]
fn limits_are_filled_in_and_held() {
    let tokens = |max_tokens, stream, model: &str| {
        sent(&ChatRequest { max_tokens, stream, ..hello() }, model).0["max_tokens"].as_u64().unwrap()
    };

    assert_eq!(tokens(None, false, NEW), 16_000);
    assert_eq!(tokens(None, true, NEW), 128_000);
    assert_eq!(tokens(Some(999_999), false, OLD), 64_000);
    assert_eq!(tokens(Some(7), false, OLD), 7);
}

#[test]
fn media_are_sent_as_what_they_are() {
    let user = |content: Content| asking(vec![Message::new(Role::User, vec![Part::new(content)])]);
    let inline = |media_type: &str, data: &str| Source::Inline { media_type: media_type.into(), data: data.into() };
    let block = |content: Content| sent(&user(content), OLD).0["messages"][0]["content"][0].clone();

    let image = block(Content::Image { source: inline("image/jpeg", "iVBORw0KGgoAAA"), detail: None });
    assert_eq!(image["source"]["media_type"], "image/png");
    let text = block(Content::File { source: inline("text/csv", "YSxi"), name: Some("t.csv".into()) });
    assert_eq!((&text["source"]["data"], &text["title"]), (&json!("a,b"), &json!("t.csv")));
    let pdf = block(Content::File { source: inline("application/pdf", "JVBERi0x"), name: None });
    assert_eq!(pdf["source"]["type"], "base64");
    let refused = [
        Content::Audio { data: "x".into(), format: "wav".into() },
        Content::Image { source: inline("image/svg+xml", "PHN2"), detail: None },
        Content::File { source: Source::Id { dialect: Dialect::OpenAi, id: "file-1".into() }, name: None },
    ];
    for content in refused {
        assert!(encode(&user(content.clone()), OLD, false).is_err(), "{content:?}");
    }
}

#[test]
fn what_has_no_place_is_told_or_refused() {
    let fields = json!({ "store": true }).as_object().unwrap().clone();
    let request = ChatRequest {
        seed: Some(1),
        presence_penalty: Some(0.0),
        logprobs: Some(true),
        user: Some("u".into()),
        stop: vec!["END".into(), "\n".into()],
        service_tier: Some("flex".into()),
        extra: Some(Extra { dialect: Dialect::OpenAi, fields }),
        ..hello()
    };

    let (body, warnings) = sent(&request, OLD);

    assert_eq!((&body["metadata"], &body["stop_sequences"]), (&json!({ "user_id": "u" }), &json!(["END"])));
    let named: Vec<_> = warnings.iter().filter_map(|warning| warning.split(' ').next()).collect();
    assert_eq!(named, ["`stop`", "`service_tier`", "`seed`", "`logprobs`", "`store`"]);
    assert!(encode(&request, OLD, true).is_err());
    let many = ChatRequest { choices: Some(2), ..hello() };
    assert_eq!(encode(&many, OLD, false).unwrap_err().param.as_deref(), Some("n"));
}

#[test]
fn the_last_four_cache_marks_are_kept() {
    let marked = |text: &str| Part { cache: Some(CacheMark::Long), ..Part::text(text) };
    let head = Message::new(Role::System, vec![marked("s")]);
    let turn = Message::new(Role::User, ["a", "b", "c", "d"].map(marked).to_vec());

    let (body, _) = sent(&asking(vec![head, turn]), OLD);

    assert_eq!(body["system"][0].get("cache_control"), None);
    let blocks = body["messages"][0]["content"].as_array().unwrap();
    assert!(blocks.iter().all(|block| block["cache_control"] == json!({ "type": "ephemeral", "ttl": "1h" })));
}

#[test]
fn a_message_becomes_a_reply() {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [
            { "type": "thinking", "thinking": "hm", "signature": "s" },
            { "type": "text", "text": "a", "citations": [
                { "type": "web_search_result_location", "url": "https://x", "title": "t", "encrypted_index": "e" },
                { "type": "char_location", "document_index": 0 },
            ] },
            { "type": "text", "text": "b" },
            { "type": "server_tool_use", "id": "srv", "name": "web_search", "input": {} },
            { "type": "tool_use", "name": "f", "input": { "x": 1 } },
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": { "input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 5, "service_tier": "standard" },
    });

    let reply = Anthropic.decode(message.to_string().as_bytes()).unwrap();

    let choice = &reply.choices[0];
    assert_eq!((reply.id.as_str(), reply.service_tier.as_deref()), ("msg_1", Some("default")));
    assert_eq!(choice.finish, Some(Finish::ToolCalls));
    let citation = Citation { url: "https://x".into(), title: "t".into(), start: None, end: None };
    assert_eq!(choice.citations, [citation]);
    let kinds = ["Thinking", "Text(\"ab\")", "Native", "ToolCall(ToolCall { id: \"toolu_1_0\""];
    for (part, kind) in choice.parts.iter().zip(kinds) {
        assert!(format!("{:?}", part.content).starts_with(kind), "{part:?}");
    }
    let usage = reply.usage.unwrap();
    assert_eq!((usage.prompt, usage.cached, usage.completion), (7, 4, 5));
}

#[test]
fn ends_are_told_apart() {
    let stop = |sequence: Option<&str>| Finish::Stop { sequence: sequence.map(str::to_owned) };
    let cases = [
        ("end_turn", stop(None)),
        ("stop_sequence", stop(Some("END"))),
        ("pause_turn", stop(None)),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Length),
        ("compaction", Finish::Length),
        ("refusal", Finish::ContentFilter),
        ("something_new", stop(None)),
    ];
    for (reason, expected) in cases {
        let sequence = (reason == "stop_sequence").then_some("END");
        let message = json!({ "content": [], "stop_reason": reason, "stop_sequence": sequence });
        let reply = Anthropic.decode(message.to_string().as_bytes()).unwrap();
        assert_eq!(reply.choices[0].finish, Some(expected), "{reason}");
    }
    let refused = json!({ "content": [], "stop_reason": "refusal", "stop_details": { "explanation": "no" } });
    let reply = Anthropic.decode(refused.to_string().as_bytes()).unwrap();
    assert_eq!(reply.choices[0].parts, [Part::new(Content::Refusal("no".into()))]);
}

#[test]
fn what_is_no_message_is_nonsense_or_an_error() {
    for body in [&b"<html>"[..], b"", b"{}", b"[1]", br#"{"content":"x"}"#] {
        assert!(Anthropic.decode(body).is_err(), "{}", String::from_utf8_lossy(body));
    }
    assert!(Anthropic.is_error(br#"{"type":"error","error":{"type":"api_error","message":"x"}}"#));
    assert!(!Anthropic.is_error(br#"{"type":"message","content":[]}"#));
}
