//! Requests: what clients send, and what upstreams get of it.

use serde_json::{Value, json};

use crate::providers::chat::{Compatible, OpenAiChat, read_embeddings, row, write_embeddings};
use crate::providers::dialect::{ClientDialect, EmbeddingsDialect, ModelFacts, Target, UpstreamDialect};
use crate::schema::chat::*;
use crate::schema::embeddings::{EmbeddingInput, EmbeddingReply};

fn read(body: &Value) -> ChatRequest {
    OpenAiChat.read(body.to_string().as_bytes()).expect("the request is sound")
}

/// What a provider gets of a request: the body without model and messages, the messages, the warnings.
fn sent(provider: &str, model: &str, request: &ChatRequest) -> (Value, Value, Vec<String>) {
    let facts = ModelFacts::default();
    let target = Target { model, model_facts: &facts, strict: false };
    let row = row(provider).expect("the provider has a row");
    let wire = UpstreamDialect::encode(&Compatible { row }, request, &target).expect("the request can be sent");
    let mut body: Value = serde_json::from_slice(&wire.body).expect("the body is JSON");
    let fields = body.as_object_mut().expect("the body is an object");
    fields.remove("model");
    let messages = fields.remove("messages").expect("there are messages");
    (body, messages, wire.warnings)
}

fn with(fields: Value) -> ChatRequest {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    let more = fields.as_object().expect("the test gives fields").clone();
    body.as_object_mut().expect("it is an object").extend(more);
    read(&body)
}

fn fields(provider: &str, model: &str, given: Value) -> (Value, usize) {
    let (body, _, warnings) = sent(provider, model, &with(given));
    (body, warnings.len())
}

#[test]
fn openai_gets_back_what_its_client_sent() {
    let messages = json!([
        { "role": "system", "content": "s" },
        { "role": "developer", "content": [{ "type": "text", "text": "d" }, { "type": "text", "text": "e", "prompt_cache_breakpoint": { "mode": "explicit" } }] },
        { "role": "user", "name": "ann", "content": [
            { "type": "text", "text": "look" },
            { "type": "image_url", "image_url": { "url": "https://x/y.png", "detail": "low" } },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
            { "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } },
            { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" } },
            { "type": "file", "file": { "file_id": "file-1" } },
        ] },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } },
            { "id": "call_2", "type": "custom", "custom": { "name": "c", "input": "free" } },
        ] },
        { "role": "tool", "tool_call_id": "call_1", "content": "one" },
        { "role": "tool", "tool_call_id": "call_2", "content": "two" },
        { "role": "assistant", "content": null, "refusal": "no", "audio": { "id": "audio_1" } },
    ]);
    let rest = json!({
        "max_completion_tokens": 9, "temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": 0.2,
        "seed": 7, "stop": ["a"], "n": 2, "logprobs": true, "top_logprobs": 3, "logit_bias": { "1": 2 },
        "verbosity": "low", "service_tier": "flex", "user": "u", "metadata": { "k": "v" }, "prompt_cache_key": "p",
        "parallel_tool_calls": false, "stream": true, "store": true, "modalities": ["text"],
        "stream_options": { "include_usage": true, "include_obfuscation": false },
        "tools": [
            { "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" }, "strict": true } },
            { "type": "custom", "custom": { "name": "c", "format": { "type": "text" } } },
        ],
        "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [{ "type": "function", "function": { "name": "f" } }] } },
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" }, "strict": true } },
    });
    let mut body = rest.clone();
    body["messages"] = messages.clone();

    let (fields, written, warnings) = sent("openai", "gpt-4o", &read(&body));

    assert_eq!(written, messages);
    assert_eq!(fields, rest);
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn openai_models_get_what_they_take() {
    let effort = |word: &str| json!({ "reasoning_effort": word, "temperature": 0.1, "max_tokens": 5 });
    let low = |fields: Value| (fields, 1);

    assert_eq!(
        fields("openai", "gpt-5-mini", effort("low")),
        low(json!({ "reasoning_effort": "low", "max_completion_tokens": 5 }))
    );
    assert_eq!(
        fields("openai", "o3-mini", effort("xhigh")).0,
        json!({ "reasoning_effort": "high", "max_completion_tokens": 5 })
    );
    assert_eq!(fields("openai", "gpt-5.1", json!({ "temperature": 0.1 })), (json!({ "temperature": 0.1 }), 0));
    assert_eq!(
        fields("openai", "gpt-4o", effort("low")),
        low(json!({ "temperature": 0.1, "max_completion_tokens": 5 }))
    );
    assert_eq!(fields("azure_openai", "my-deployment", effort("low")).0["reasoning_effort"], "low");
}

#[test]
fn every_provider_gets_its_own_words() {
    let tools = json!([{ "type": "function", "function": { "name": "f", "strict": true } }]);
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } });

    assert_eq!(
        fields(
            "mistral",
            "mistral-large",
            json!({ "seed": 1, "max_completion_tokens": 2, "user": "u", "store": true, "temperature": 1.9, "stream": true })
        ),
        (json!({ "random_seed": 1, "max_tokens": 2, "temperature": 1.5, "stream": true }), 3)
    );
    assert_eq!(fields("mistral", "m", json!({ "tools": tools, "tool_choice": "required" })).0["tool_choice"], "any");
    assert_eq!(
        fields("groq", "qwen3-32b", json!({ "reasoning_effort": "none" })).0,
        json!({ "reasoning_effort": "none" })
    );
    assert_eq!(
        fields("groq", "qwen3-32b", json!({ "reasoning_effort": "high" })).0,
        json!({ "reasoning_effort": "default" })
    );
    assert_eq!(
        fields("groq", "gpt-oss-20b", json!({ "reasoning_effort": "max", "logprobs": true })),
        (json!({ "reasoning_effort": "high" }), 2)
    );
    assert_eq!(
        fields("deepseek", "v4", json!({ "reasoning_effort": "none" })).0,
        json!({ "thinking": { "type": "disabled" } })
    );
    assert_eq!(
        fields("moonshot", "kimi-k2.5", json!({ "reasoning_effort": "low" })).0,
        json!({ "thinking": { "type": "enabled" } })
    );
    let (deepseek, warnings) =
        fields("deepseek", "v4", json!({ "tools": tools, "tool_choice": "required", "response_format": schema }));
    assert_eq!(
        (&deepseek["tool_choice"], &deepseek["response_format"]),
        (&json!("auto"), &json!({ "type": "json_object" }))
    );
    assert!(deepseek["tools"][0]["function"].get("strict").is_none());
    assert_eq!(warnings, 3);
    assert_eq!(
        fields("openrouter", "x", json!({ "reasoning": { "max_tokens": 900, "exclude": true } })).0,
        json!({ "reasoning": { "max_tokens": 900, "exclude": true }, "usage": { "include": true } })
    );
    assert_eq!(
        fields("together", "x", json!({ "logprobs": true, "top_logprobs": 4 })).0,
        json!({ "logprobs": 4, "context_length_exceeded_behavior": "error" })
    );
    assert_eq!(
        fields("perplexity", "sonar", json!({ "stream": true, "tools": tools })),
        (json!({ "stream": true }), 1)
    );
    assert_eq!(fields("vllm", "x", json!({ "top_k": 4, "min_p": 0.1 })).0, json!({ "top_k": 4, "min_p": 0.1 }));
    let custom = json!([{ "type": "custom", "custom": { "name": "c" } }]);
    let choice = json!({ "type": "custom", "custom": { "name": "c" } });
    let (groq, warnings) = fields("groq", "x", json!({ "tools": custom, "tool_choice": choice }));
    assert_eq!((&groq["tools"][0]["type"], &groq["tools"][0]["function"]["name"]), (&json!("function"), &json!("c")));
    assert_eq!(groq["tool_choice"], json!({ "type": "function", "function": { "name": "c" } }));
    assert_eq!(warnings, 0);
}

#[test]
fn what_a_provider_documents_to_ignore_or_refuse_is_left_out_with_a_warning() {
    let low = json!({ "reasoning_effort": "low" });
    let penalties = json!({ "presence_penalty": 1.0, "frequency_penalty": 1.0, "seed": 7 });

    assert_eq!(fields("xai", "grok-4.20-reasoning", low.clone()), (json!({}), 1));
    assert_eq!(fields("xai", "grok-4.5", low.clone()), (low, 0));
    assert_eq!(fields("sambanova", "gpt-oss-120b", penalties), (json!({ "seed": 7 }), 2));
}

#[test]
fn allowed_tools_are_the_only_ones_that_a_plain_upstream_sees() {
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let allowed = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [tool("b")] } });

    let (body, _) =
        fields("openai_compatible", "x", json!({ "tools": [tool("a"), tool("b")], "tool_choice": allowed }));

    assert_eq!((&body["tools"][0]["function"]["name"], &body["tool_choice"]), (&json!("b"), &json!("required")));
    assert_eq!(body["tools"].as_array().map(Vec::len), Some(1));
}

#[test]
fn messages_are_bent_to_what_the_provider_takes() {
    let call = json!({ "id": "call_abc", "type": "function", "function": { "name": "f", "arguments": "" } });
    let request = read(&json!({ "messages": [
        { "role": "system", "content": "a" },
        { "role": "user", "content": [{ "type": "text", "text": "x" }, { "type": "text", "text": "y" }], "name": "ann" },
        { "role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "call_abc", "content": [
            { "type": "text", "text": "see" }, { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA" } } ] },
        { "role": "developer", "content": "b" },
        { "role": "assistant", "content": "So" },
    ] }));

    let (_, vllm, _) = sent("vllm", "x", &request);
    let (_, mistral, _) = sent("mistral", "magistral-small", &request);
    let (_, deepseek, _) = sent("deepseek", "x", &request);

    assert_eq!(vllm[0], json!({ "role": "system", "content": "a\n\nb" }));
    assert_eq!(vllm[1], json!({ "role": "user", "content": "x\ny", "name": "ann" }));
    assert_eq!(vllm[2]["tool_calls"][0]["function"]["arguments"], "{}");
    assert_eq!(vllm[2]["reasoning_content"], "hm");
    assert_eq!(vllm[3], json!({ "role": "tool", "tool_call_id": "call_abc", "content": "see" }));
    assert_eq!(vllm[4]["content"][1]["image_url"]["url"], "data:image/png;base64,AA");
    assert_eq!(vllm[5], json!({ "role": "assistant", "content": "So" }));
    let id = mistral[2]["tool_calls"][0]["id"].as_str().unwrap_or_default().to_owned();
    assert!(id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    assert_eq!(mistral[3]["tool_call_id"], json!(id));
    assert_eq!(mistral[2]["content"][0], json!({ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }));
    assert_eq!(mistral[6], json!({ "role": "assistant", "content": "So", "prefix": true }));
    assert_eq!(deepseek[2]["reasoning_content"], "hm");
}

#[test]
fn signed_thought_and_signatures_of_calls_are_read() {
    let request = read(&json!({ "messages": [{ "role": "assistant", "content": "a",
        "reasoning_content": "t",
        "thinking_blocks": [{ "type": "thinking", "thinking": "t", "signature": "s" }, { "type": "redacted_thinking", "data": "d" }],
        "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": { "x": 1 } }, "extra_content": { "google": { "thought_signature": "g" } } }],
    }] }));

    let vendor = Some(Dialect::Anthropic);
    let signed = Thinking { text: "t".into(), signature: Some("s".into()), vendor, ..Thinking::default() };
    let redacted = Thinking { encrypted: Some("d".into()), vendor, ..Thinking::default() };
    let call = ToolCall {
        id: "c".into(),
        name: "f".into(),
        arguments: "{\"x\":1}".into(),
        custom: false,
        signature: Some("g".into()),
    };
    let expected =
        [Content::Thinking(signed), Content::Thinking(redacted), Content::Text("a".into()), Content::ToolCall(call)];
    assert_eq!(request.messages[0].parts, expected.map(Part::new));
    let (_, openrouter, _) = sent("openrouter", "x", &request);
    assert_eq!(
        openrouter[0]["reasoning_details"][0],
        json!({ "type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic-claude-v1", "index": 0 })
    );
    assert_eq!(openrouter[0]["reasoning_details"][1]["data"], "d");
}

#[test]
fn a_deprecated_function_call_is_read_as_a_tool_call() {
    let request = read(&json!({ "functions": [{ "name": "f" }], "function_call": { "name": "f" }, "messages": [
        { "role": "assistant", "content": null, "function_call": { "name": "f", "arguments": "{}" } },
        { "role": "function", "name": "f", "content": "r" },
    ] }));

    let (body, messages, _) = sent("openai", "gpt-4o", &request);

    assert!(request.legacy_functions);
    assert_eq!(body["tool_choice"], json!({ "type": "function", "function": { "name": "f" } }));
    assert_eq!(messages[0]["tool_calls"][0]["id"], messages[1]["tool_call_id"]);
}

#[test]
fn a_wrong_kind_is_refused_with_its_path() {
    let path = |body: Value| {
        let error = OpenAiChat.read(body.to_string().as_bytes()).expect_err("the request is wrong");
        (error.param.unwrap_or_default(), error.message)
    };
    let message = |message: Value| path(json!({ "messages": [{ "role": "user", "content": "x" }, message] })).0;

    assert_eq!(path(json!({})).0, "messages");
    assert_eq!(
        path(json!({ "messages": [], "temperature": "hot" })),
        ("temperature".into(), "`temperature` must be a number".into())
    );
    assert_eq!(message(json!({ "role": "robot" })), "messages[1].role");
    assert_eq!(message(json!({ "role": "user", "content": 7 })), "messages[1].content");
    assert_eq!(
        message(json!({ "role": "user", "content": [{ "type": "image_url" }] })),
        "messages[1].content[0].image_url"
    );
    assert_eq!(message(json!({ "role": "tool", "content": "x" })), "messages[1].tool_call_id");
    assert_eq!(
        message(json!({ "role": "assistant", "tool_calls": [{ "id": "a" }] })),
        "messages[1].tool_calls[0].function"
    );
    assert_eq!(
        path(json!({ "messages": [], "tools": [{ "type": "function", "function": {} }] })).0,
        "tools[0].function.name"
    );
}

#[test]
fn what_makes_no_sense_at_an_upstream_is_refused_and_strict_refuses_any_loss() {
    let facts = ModelFacts::default();
    let refused = |provider: &str, given: Value, strict| {
        let target = Target { model: "m", model_facts: &facts, strict };
        let row = row(provider).expect("the provider has a row");
        UpstreamDialect::encode(&Compatible { row }, &with(given), &target).err().and_then(|error| error.param)
    };
    let audio = json!([{ "role": "user", "content": [{ "type": "input_audio", "input_audio": { "data": "A", "format": "wav" } }] }]);

    assert_eq!(refused("groq", json!({ "n": 2 }), false).as_deref(), Some("n"));
    assert_eq!(refused("groq", json!({ "messages": audio }), false).as_deref(), Some("messages"));
    assert_eq!(refused("openai", json!({ "top_k": 2 }), false), None);
    assert_eq!(refused("openai", json!({ "top_k": 2 }), true).as_deref(), Some("top_k"));
}

#[test]
fn embeddings_go_both_ways() {
    let body = json!({ "model": "e", "input": ["a", [1, 2]], "encoding_format": "base64", "dimensions": 2 });
    let request = read_embeddings(body.to_string().as_bytes()).expect("the request is sound");
    let facts = ModelFacts::default();
    let target = Target { model: "up", model_facts: &facts, strict: false };
    let openai = Compatible { row: row("openai").expect("it has a row") };
    let groq = Compatible { row: row("groq").expect("it has a row") };

    let sent = EmbeddingsDialect::encode(&openai, &request, &target).expect("it can be sent");
    let refused = EmbeddingsDialect::encode(&groq, &request, &target);
    let reply = json!({ "model": "up", "usage": { "prompt_tokens": 3, "total_tokens": 3 }, "data": [
        { "index": 1, "embedding": "AACAPwAAAMA=" }, { "index": 0, "embedding": [0.5, 1] } ] });
    let decoded = EmbeddingsDialect::decode(&openai, reply.to_string().as_bytes(), &request).expect("it is a reply");
    let written: Value = serde_json::from_slice(&write_embeddings(&decoded, &request)).expect("it is JSON");

    assert_eq!(request.inputs, [EmbeddingInput::Text("a".into()), EmbeddingInput::Tokens(vec![1, 2])]);
    let expected = json!({ "model": "up", "input": ["a", [1, 2]], "encoding_format": "float", "dimensions": 2 });
    assert_eq!(serde_json::from_slice::<Value>(&sent.body).expect("it is JSON"), expected);
    assert_eq!(refused.err().and_then(|error| error.param).as_deref(), Some("input"));
    let vectors = vec![vec![0.5, 1.0], vec![1.0, -2.0]];
    assert_eq!(decoded, EmbeddingReply { model: "up".into(), vectors, usage: decoded.usage });
    assert_eq!(written["data"][1], json!({ "object": "embedding", "index": 1, "embedding": "AACAPwAAAMA=" }));
    assert_eq!(written["usage"], json!({ "prompt_tokens": 3, "total_tokens": 3 }));
}
