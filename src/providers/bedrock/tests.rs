//! The mapping rules of Converse, and its streams.

use bursar_actors::Usage;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::event_stream::tests::message;
use super::*;
use crate::providers::dialect::ModelFacts;
use crate::providers::streams::{End, accumulate, asking, call, encode, encode_with, read, read_anyhow, result};
use crate::schema::chat::{
    CacheMark, Chunk, Content, Dialect, Effort, Extra, Finish, Format, Function, Message, Part, Reasoning, Role,
    Source, Thinking, Tool, ToolCall, ToolChoice,
};
use crate::schema::embeddings::{EmbeddingInput, EmbeddingRequest};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn event(name: &str, payload: &Value) -> Vec<u8> {
    let payload = payload.to_string();
    message(&[(":event-type", name), (":message-type", "event")], payload.as_bytes())
}

fn stream(events: &[(&str, Value)]) -> Vec<u8> {
    events.iter().flat_map(|(name, payload)| event(name, payload)).collect()
}

fn function() -> Tool {
    Tool::Function(Function { name: "f".into(), description: Some(String::new()), ..Function::default() })
}

fn body(request: &ChatRequest) -> Value {
    encode(&Bedrock, CLAUDE, request).1
}

#[test]
fn the_model_stands_encoded_in_the_path() {
    let arn = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.x";
    let streamed = ChatRequest { stream: true, ..asking("hi") };

    assert_eq!(encode(&Bedrock, "a.b-v1:0", &asking("hi")).0, "/model/a.b-v1%3A0/converse");
    let path = encode(&Bedrock, arn, &streamed).0;
    let encoded = "arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2Feu.x";
    assert_eq!(path, format!("/model/{encoded}/converse-stream"));
}

#[test]
fn turns_alternate_results_come_first_and_nothing_is_blank() {
    let request = ChatRequest {
        messages: vec![
            Message::new(Role::System, vec![Part::text("be brief"), Part::text(" ")]),
            Message::new(Role::User, vec![Part::text("one")]),
            Message::new(Role::User, vec![Part::text("two"), Part::text("")]),
            Message::new(Role::Assistant, vec![Part::text(""), call("a", r#"{"x":1}"#), call("b|", "")]),
            Message::new(Role::User, vec![Part::text("and")]),
            Message::new(Role::Tool, vec![result("a", "1")]),
            Message::new(Role::Tool, vec![result("b|", "")]),
            Message::new(Role::Assistant, vec![Part::text("I say \n")]),
        ],
        tools: vec![function()],
        ..ChatRequest::default()
    };

    let body = body(&request);

    let odd = body["messages"][1]["content"][1]["toolUse"]["toolUseId"].clone();
    let expected = json!([
        {"role": "user", "content": [{"text": "one"}, {"text": "two"}]},
        {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "a", "name": "f", "input": {"x": 1}}},
            {"toolUse": {"toolUseId": odd, "name": "f", "input": {}}},
        ]},
        {"role": "user", "content": [
            {"toolResult": {"toolUseId": "a", "content": [{"text": "1"}]}},
            {"toolResult": {"toolUseId": odd, "content": [{"text": "(no output)"}]}},
            {"text": "and"},
        ]},
        {"role": "assistant", "content": [{"text": "I say"}]},
    ]);
    assert_eq!(body["messages"], expected);
    assert_eq!(body["system"], json!([{"text": "be brief"}]));
    let spec = json!({"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}});
    assert_eq!(body["toolConfig"], json!({"tools": [spec]}));
}

#[test]
fn a_prompt_that_is_the_systems_alone_becomes_the_users() {
    let request =
        ChatRequest { messages: vec![Message::new(Role::System, vec![Part::text("hi")])], ..ChatRequest::default() };

    assert_eq!(body(&request), json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}));
}

#[test]
fn parameters_go_where_converse_has_them() {
    let request = ChatRequest {
        max_tokens: Some(9),
        temperature: Some(1.5),
        stop: vec!["END".into()],
        top_k: Some(5),
        seed: Some(1),
        service_tier: Some("flex".into()),
        metadata: json!({"team": "search"}).as_object().cloned(),
        ..asking("hi")
    };

    let (_, body, warnings) = encode(&Bedrock, CLAUDE, &request);

    assert_eq!(body["inferenceConfig"], json!({"maxTokens": 9, "temperature": 1.0, "stopSequences": ["END"]}));
    assert_eq!(body["additionalModelRequestFields"], json!({"top_k": 5}));
    assert_eq!(body["serviceTier"], json!({"type": "flex"}));
    assert_eq!(body["requestMetadata"], json!({"team": "search"}));
    assert_eq!(body["additionalModelResponseFieldPaths"], json!(["/stop_sequence", "/delta/stop_sequence"]));
    let expected = [
        "`temperature` was set to the nearest value that Bedrock takes (0 to 1)",
        "`seed` was left out: Bedrock does not take it",
    ];
    assert_eq!(warnings, expected);
    let nova = encode(&Bedrock, "amazon.nova-lite-v1:0", &request).1;
    assert_eq!(nova["additionalModelRequestFields"], json!({"inferenceConfig": {"topK": 5}}));
}

#[test]
fn what_is_lost_is_refused_where_the_client_is_strict() {
    let model_facts = &ModelFacts::default();
    let target = Target { model: CLAUDE, model_facts, strict: true };
    let request = ChatRequest { seed: Some(1), ..asking("hi") };

    let error = Bedrock.encode(&request, &target).unwrap_err();
    let choices = encode_with(&Bedrock, CLAUDE, model_facts, &ChatRequest { choices: Some(2), ..asking("hi") });

    assert_eq!(error.param.as_deref(), Some("seed"));
    assert_eq!(choices.unwrap_err().param.as_deref(), Some("n"));
}

#[test]
fn tools_are_chosen_as_converse_can() {
    let choices = [
        (None, Value::Null),
        (Some(ToolChoice::Auto), Value::Null),
        (Some(ToolChoice::Required), json!({"any": {}})),
        (Some(ToolChoice::Named("f".into())), json!({"tool": {"name": "f"}})),
        (Some(ToolChoice::Allowed { names: vec!["f".into()], required: true }), json!({"any": {}})),
    ];
    for (tool_choice, expected) in choices {
        let request = ChatRequest { tools: vec![function()], tool_choice, ..asking("hi") };
        assert_eq!(body(&request)["toolConfig"]["toolChoice"], expected);
    }
    let none = ChatRequest { tools: vec![function()], tool_choice: Some(ToolChoice::None), ..asking("hi") };
    assert_eq!(body(&none)["toolConfig"], Value::Null);
}

#[test]
fn a_history_of_calls_brings_its_tools_along() {
    let mut request = asking("hi");
    request.messages.push(Message::new(Role::Assistant, vec![call("a", "{}")]));
    request.messages.push(Message::new(Role::Tool, vec![result("a", "1")]));

    let body = body(&request);

    let spec = json!({"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}});
    assert_eq!(body["toolConfig"], json!({"tools": [spec]}));
    assert_eq!(body["system"], json!([{"text": "Answer without calling any tool."}]));
}

#[test]
fn thinking_goes_back_to_claude_with_its_signature_only() {
    let thinking = |vendor, signature: Option<&str>| {
        let (text, signature) = ("hm".to_owned(), signature.map(str::to_owned));
        Part::new(Content::Thinking(Thinking { text, signature, vendor, ..Thinking::default() }))
    };
    let mut request = asking("hi");
    let redacted = Thinking { encrypted: Some("xx".into()), vendor: Some(Dialect::Anthropic), ..Thinking::default() };
    let parts = vec![
        thinking(Some(Dialect::Anthropic), Some("sig")),
        Part::new(Content::Thinking(redacted)),
        thinking(None, None),
        thinking(Some(Dialect::Gemini), Some("foreign")),
        Part::text("yes"),
    ];
    request.messages.push(Message::new(Role::Assistant, parts));
    request.messages.push(Message::new(Role::User, vec![Part::text("go on")]));

    let (_, body, warnings) = encode(&Bedrock, CLAUDE, &request);

    let expected = json!([
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "xx"}},
        {"text": "yes"},
    ]);
    assert_eq!(body["messages"][1]["content"], expected);
    assert_eq!(warnings.len(), 1);
}

#[test]
fn thinking_by_budget_takes_away_what_it_does_not_allow() {
    let reasoning = Some(Reasoning { effort: Some(Effort::Medium), ..Reasoning::default() });
    let tool_choice = Some(ToolChoice::Required);
    let request =
        ChatRequest { reasoning, temperature: Some(0.5), tools: vec![function()], tool_choice, ..asking("hi") };

    let (_, body, warnings) = encode(&Bedrock, CLAUDE, &request);

    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 2048}});
    assert_eq!(body["additionalModelRequestFields"], thinking);
    assert_eq!(body["inferenceConfig"], json!({"maxTokens": 6144}));
    assert_eq!(body["toolConfig"]["toolChoice"], Value::Null);
    assert_eq!(warnings.len(), 2);
}

#[test]
fn files_and_cache_marks_are_blocks() {
    let inline = |media_type: &str| Source::Inline { media_type: media_type.into(), data: "AAAA".into() };
    let cached = Part { content: Content::Text("read".into()), cache: Some(CacheMark::Long) };
    let parts = vec![
        Part::new(Content::Image { source: inline("image/jpeg"), detail: None }),
        Part::new(Content::File { source: inline("application/pdf"), name: Some("a.pdf".into()) }),
        Part::new(Content::File { source: Source::Text("hi".into()), name: None }),
        cached,
    ];
    let request = ChatRequest { messages: vec![Message::new(Role::User, parts)], ..ChatRequest::default() };

    let content = body(&request)["messages"][0]["content"].clone();

    let expected = json!([
        {"image": {"format": "jpeg", "source": {"bytes": "AAAA"}}},
        {"document": {"format": "pdf", "name": "a-pdf", "source": {"bytes": "AAAA"}}},
        {"document": {"format": "txt", "name": "document", "source": {"bytes": "aGk="}}},
        {"text": "read"},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
    ]);
    assert_eq!(content, expected);
    let llama = encode(&Bedrock, "meta.llama3-1-70b-instruct-v1:0", &request).1;
    assert_eq!(llama["messages"][0]["content"].as_array().unwrap().len(), 4);
}

#[test]
fn an_image_that_would_have_to_be_fetched_is_refused() {
    let source = Source::Url("https://example.com/secret.png".into());
    let parts = vec![Part::new(Content::Image { source, detail: None })];
    let request = ChatRequest { messages: vec![Message::new(Role::User, parts)], ..ChatRequest::default() };

    let error = encode_with(&Bedrock, CLAUDE, &ModelFacts::default(), &request).unwrap_err();

    assert_eq!(error.param.as_deref(), Some("messages[0].content"));
    assert!(!error.message.contains("secret"));
}

#[test]
fn a_schema_is_sent_as_text_and_asked_for_in_words_where_the_model_takes_none() {
    let schema = json!({"type": "object"});
    let format = Format::JsonSchema { name: "n".into(), description: None, schema, strict: Some(true) };
    let request = ChatRequest { format: Some(format), ..asking("hi") };
    let without = ModelFacts { json_schema: Some(false), ..ModelFacts::default() };

    let native = body(&request);
    let (_, in_words, warnings) = encode_with(&Bedrock, CLAUDE, &without, &request).unwrap();

    let structure = json!({"jsonSchema": {"name": "n", "schema": r#"{"type":"object"}"#}});
    assert_eq!(native["outputConfig"], json!({"textFormat": {"type": "json_schema", "structure": structure}}));
    assert_eq!(in_words["outputConfig"], Value::Null);
    assert!(in_words["system"][0]["text"].as_str().unwrap().contains(r#"{"type":"object"}"#));
    assert_eq!(warnings.len(), 1);
}

#[test]
fn own_fields_go_through_and_those_of_others_do_not() {
    let fields = json!({"guardrailConfig": {"guardrailIdentifier": "g"}}).as_object().cloned().unwrap();
    let request = |dialect| ChatRequest { extra: Some(Extra { dialect, fields: fields.clone() }), ..asking("hi") };

    assert_eq!(body(&request(Dialect::Bedrock))["guardrailConfig"]["guardrailIdentifier"], "g");
    let (_, body, warnings) = encode(&Bedrock, CLAUDE, &request(Dialect::OpenAi));
    assert_eq!(body["guardrailConfig"], Value::Null);
    assert_eq!(warnings.len(), 1);
}

fn whole() -> Value {
    json!({
        "output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
            {"reasoningContent": {"redactedContent": "AAAA"}},
            {"text": "Sure"},
            {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"x": 1}}},
            {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}}},
        ]}},
        "stopReason": "tool_use",
        "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 35, "cacheReadInputTokens": 15,
            "cacheWriteInputTokens": 5, "cacheDetails": [{"ttl": "1h", "inputTokens": 2}]},
    })
}

fn streamed() -> Vec<u8> {
    let delta = |index: u32, delta: Value| ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}));
    let stop = |index: u32| ("contentBlockStop", json!({"contentBlockIndex": index, "p": "abcdef"}));
    let tool = |index: u32, id: &str, name: &str| {
        let start = json!({"toolUse": {"toolUseId": id, "name": name}});
        ("contentBlockStart", json!({"contentBlockIndex": index, "start": start}))
    };
    stream(&[
        ("messageStart", json!({"role": "assistant", "p": "ab"})),
        delta(0, json!({"reasoningContent": {"text": "h"}})),
        delta(0, json!({"reasoningContent": {"text": "m"}})),
        delta(0, json!({"reasoningContent": {"signature": "sig"}})),
        stop(0),
        delta(1, json!({"reasoningContent": {"redactedContent": "AAAA"}})),
        stop(1),
        delta(2, json!({"text": "Su"})),
        delta(2, json!({"text": "re"})),
        stop(2),
        tool(3, "t1", "f"),
        delta(3, json!({"toolUse": {"input": "{\"x\""}})),
        delta(3, json!({"toolUse": {"input": ":1}"}})),
        stop(3),
        tool(4, "t2", "g"),
        stop(4),
        ("novelty", json!({"x": 1})),
        ("messageStop", json!({"stopReason": "tool_use"})),
        ("metadata", json!({"usage": whole()["usage"], "metrics": {"latencyMs": 1}})),
    ])
}

#[test]
fn a_stream_comes_to_the_same_as_the_whole_wherever_it_is_cut() {
    let whole = Bedrock.decode(whole().to_string().as_bytes()).unwrap();
    let (chunks, end) = read_anyhow(&Bedrock, &streamed());

    assert_eq!(end, End::Complete);
    assert_eq!(accumulate(&chunks), whole);
    let usage = Usage {
        prompt: 30,
        completion: 5,
        total: 35,
        cached: 15,
        cache_write: 5,
        cache_write_long: 2,
        ..Usage::default()
    };
    assert_eq!(whole.usage, Some(usage));
    assert_eq!(whole.choices[0].finish, Some(Finish::ToolCalls));
    let called = ToolCall { id: "t1".into(), name: "f".into(), arguments: r#"{"x":1}"#.into(), ..ToolCall::default() };
    assert_eq!(whole.choices[0].parts[3].content, Content::ToolCall(called));
}

#[test]
fn a_stream_without_its_end_is_cut_off() {
    let body = stream(&[("messageStart", json!({})), ("contentBlockDelta", json!({"delta": {"text": "a"}}))]);

    assert_eq!(read(&Bedrock, [&body[..]]).1, End::CutOff);
    assert_eq!(read(&Bedrock, [&body[..body.len() - 1]]).1, End::Unreadable);
}

#[test]
fn exceptions_and_botched_answers_are_errors() {
    let exception = message(
        &[(":message-type", "exception"), (":exception-type", "modelStreamErrorException")],
        br#"{"message":"it broke"}"#,
    );
    let botched = stream(&[("messageStop", json!({"stopReason": "malformed_tool_use"}))]);

    let End::Error(error) = read(&Bedrock, [&exception[..]]).1 else { panic!("no error") };
    assert!(error.contains(r#""__type":"modelStreamErrorException""#) && error.contains("424"), "{error}");
    assert!(matches!(read(&Bedrock, [&botched[..]]).1, End::Error(_)));
    assert!(Bedrock.is_error(br#"{"stopReason":"malformed_model_output","output":{}}"#));
    assert!(Bedrock.is_error(br#"{"message":"no"}"#));
    assert!(!Bedrock.is_error(whole().to_string().as_bytes()));
}

#[test]
fn each_stop_reason_has_its_finish() {
    let stop = |sequence: Option<&str>| Finish::Stop { sequence: sequence.map(str::to_owned) };
    let reasons = [
        ("end_turn", stop(None)),
        ("stop_sequence", stop(Some("END"))),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Length),
        ("guardrail_intervened", Finish::ContentFilter),
        ("content_filtered", Finish::ContentFilter),
        ("something_new", stop(None)),
    ];
    for (reason, finish) in reasons {
        let sequence = if reason == "stop_sequence" { json!("END") } else { Value::Null };
        let body = json!({"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": reason,
            "additionalModelResponseFields": {"delta": {"stop_sequence": sequence}}});
        let reply = Bedrock.decode(body.to_string().as_bytes()).unwrap();
        assert_eq!(reply.choices[0].finish, Some(finish), "{reason}");
    }
}

#[test]
fn embeddings_are_asked_for_in_the_vendors_words() {
    let model_facts = &ModelFacts::default();
    let ask = |model, request: &EmbeddingRequest| {
        let wire = Bedrock.embeddings().unwrap().encode(request, &Target { model, model_facts, strict: false });
        wire.map(|wire| (wire.path, serde_json::from_slice::<Value>(&wire.body).unwrap()))
    };
    let one = EmbeddingRequest {
        inputs: vec![EmbeddingInput::Text("a".into())],
        dimensions: Some(256),
        ..EmbeddingRequest::default()
    };
    let two = EmbeddingRequest { inputs: vec![EmbeddingInput::Text("a".into()); 2], ..EmbeddingRequest::default() };

    let titan = ask("amazon.titan-embed-text-v2:0", &one).unwrap();
    let cohere = ask("cohere.embed-v4:0", &one).unwrap();
    let decode = |body: Value, request| Bedrock.embeddings().unwrap().decode(body.to_string().as_bytes(), request);

    assert_eq!(titan.0, "/model/amazon.titan-embed-text-v2%3A0/invoke");
    assert_eq!(titan.1, json!({"inputText": "a", "dimensions": 256}));
    let expected = json!({"texts": ["a"], "input_type": "search_document", "embedding_types": ["float"],
        "output_dimension": 256});
    assert_eq!(cohere.1, expected);
    assert_eq!(ask("amazon.titan-embed-text-v2:0", &two).unwrap_err().param.as_deref(), Some("input"));
    assert_eq!(ask("meta.llama", &one).unwrap_err().param.as_deref(), Some("model"));
    let reply = decode(json!({"embedding": [0.5, 1], "inputTextTokenCount": 3}), &one).unwrap();
    assert_eq!((reply.vectors, reply.usage.unwrap().prompt), (vec![vec![0.5, 1.0]], 3));
    assert_eq!(decode(json!({"embeddings": {"float": [[1], [2]]}}), &two).unwrap().vectors.len(), 2);
    assert!(decode(json!({"embeddings": [[1]]}), &two).is_err());
}

proptest! {
    #[test]
    fn a_stream_reads_the_same_in_any_pieces(sizes in proptest::collection::vec(1usize..90, 1..40)) {
        let body = streamed();
        let (mut pieces, mut rest, mut sizes) = (Vec::new(), &body[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            pieces.push(piece);
            rest = more;
        }

        prop_assert_eq!(read(&Bedrock, pieces), read(&Bedrock, [&body[..]]));
    }

    #[test]
    fn no_event_makes_the_reader_panic(name in "[a-zA-Z]{0,20}", payload in "\\PC{0,60}") {
        let mut out: Vec<Chunk> = Vec::new();
        for name in [name.as_str(), "contentBlockDelta", "messageStop", "metadata"] {
            let frame = crate::providers::framing::Frame { event: Some(name.as_bytes()), data: payload.as_bytes() };
            _ = Bedrock.reader().frame(&frame, &mut out);
        }
    }
}
