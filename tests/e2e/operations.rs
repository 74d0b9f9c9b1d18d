//! What clients ask besides chats: vectors, counts of tokens, completions of a prompt. Each at any upstream that can.

use bursar::demo::{Behaviour, Rule, When};
use serde_json::{Value, json};

use crate::dialects::gateway;
use crate::harness::demo;

/// Returns the vectors in a Gemini client's answer to a batch.
fn vectors(reply: &Value) -> Vec<Vec<f32>> {
    let embeddings = reply["embeddings"].as_array().unwrap_or_else(|| panic!("{reply}"));
    embeddings.iter().map(vector).collect()
}

fn vector(embedding: &Value) -> Vec<f32> {
    serde_json::from_value(embedding["values"].clone()).unwrap()
}

#[test]
fn a_gemini_client_gets_the_same_vectors_of_any_upstream() {
    let one = |text: &str| {
        json!({"model": "models/m", "content": {"parts": [{"text": text}]}, "output_dimensionality": 8,
        "task_type": "RETRIEVAL_QUERY"})
    };
    let batch = json!({"requests": [one("Rome"), one("Paris")]});
    let mut found = Vec::new();
    for kind in ["openai", "gemini"] {
        let demo = demo();
        let bursar = gateway(kind, &demo);

        let several = bursar.client().post("/v1beta/models/m:batchEmbedContents", &batch);
        let single = bursar.client().post("/gemini/v1beta/models/m:embedContent", &one("Rome"));

        assert_eq!((several.status, single.status), (200, 200), "{kind}: {} {}", several.text(), single.text());
        let vectors = vectors(&several.json());
        assert_eq!((vectors.len(), vectors[0].len()), (2, 8), "{kind}");
        assert_eq!(vector(&single.json()["embedding"]), vectors[0], "{kind}");
        let warned = several.header("x-bursar-warning").is_some_and(|warning| warning.contains("`taskType`"));
        assert_eq!(warned, kind == "openai", "{kind}");
        let sent = &demo.exchanges()[0];
        if kind == "gemini" {
            assert_eq!(sent.path, "/v1/models/demo-small:batchEmbedContents");
            assert_eq!(sent.body["requests"][1]["model"], "models/demo-small");
            assert_eq!(sent.body["requests"][1]["task_type"], "RETRIEVAL_QUERY");
        }
        assert_eq!(bursar.books().endings(), (2, 0, 0), "{kind}");
        found.push(vectors);
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn who_has_no_vectors_is_named_in_googles_shape() {
    let demo = demo();
    let bursar = gateway("anthropic", &demo);
    let rome = json!({"content": {"parts": [{"text": "Rome"}]}});

    let nowhere = bursar.client().post("/v1beta/models/m:embedContent", &rome);
    let empty = bursar.client().post("/v1beta/models/m:batchEmbedContents", &json!({"requests": []}));

    for refused in [nowhere, empty] {
        let reply = refused.json();
        assert_eq!((refused.status, reply["error"]["status"].as_str()), (400, Some("INVALID_ARGUMENT")), "{reply}");
    }
    assert!(demo.exchanges().is_empty());
}

/// A question for each client that can ask it, and where the answer stands.
fn questions() -> [(&'static str, Value, &'static str); 3] {
    [
        (
            "/v1/messages/count_tokens",
            json!({"model": "m", "messages": [{"role": "user", "content": "Hello, you there"}]}),
            "input_tokens",
        ),
        ("/v1/responses/input_tokens", json!({"model": "m", "input": "Hello, you there"}), "input_tokens"),
        (
            "/v1beta/models/m:countTokens",
            json!({"contents": [{"role": "user", "parts": [{"text": "Hello, you there"}]}]}),
            "totalTokens",
        ),
    ]
}

#[test]
fn tokens_are_counted_by_an_upstream_that_can() {
    for (kind, method) in [("anthropic", "/messages/count_tokens"), ("gemini", ":countTokens")] {
        let demo = demo();
        let bursar = gateway(kind, &demo);
        let mut counts = Vec::new();
        for (path, body, field) in questions() {
            let beta = [("anthropic-beta", "some-beta")];
            let answer = bursar.client().request("POST", path, &beta, &body.to_string());
            assert_eq!(answer.status, 200, "{path} to {kind}: {}", answer.text());
            assert!(answer.header("x-bursar-estimate").is_none(), "{path} to {kind}");
            counts.push(answer.json()[field].as_u64().unwrap());
            let sent = demo.exchanges().pop().unwrap();
            assert!(sent.path.ends_with(method), "{path} to {kind}: {}", sent.path);
            let own = kind == "anthropic" && path == "/v1/messages/count_tokens";
            assert_eq!(sent.header("anthropic-beta").is_some(), own, "{path} to {kind}");
        }
        assert!(counts[0] > 0 && counts.iter().all(|count| *count == counts[0]), "{kind}: {counts:?}");
        assert_eq!(demo.exchanges().len(), 3, "{kind}");
        // A count is no request that a model served.
        assert_eq!(bursar.books().admitted, 0, "{kind}");
    }
}

#[test]
fn a_count_that_fails_is_estimated_and_blames_nobody() {
    for status in [400, 404, 429, 500, 529] {
        let demo = demo();
        let counts = When { path: Some("/messages/count_tokens".into()), ..When::default() };
        demo.script(vec![Rule { when: counts, then: Behaviour::status(status) }]);
        let bursar = gateway("anthropic", &demo);
        let (path, body, _) = &questions()[0];

        let estimated = bursar.client().post(path, body);
        let hello = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
        let served = bursar.client().post("/v1/messages", &hello);

        assert_eq!((estimated.status, estimated.header("x-bursar-estimate")), (200, Some("by size")), "{status}");
        assert_eq!((served.status, served.header("x-bursar-attempts")), (200, Some("1")), "{status}");
        assert_eq!(demo.exchanges().len(), 2, "{status}");
        bursar.books();
    }
}

#[test]
fn a_count_waits_for_no_key_that_rests() {
    let demo = demo();
    let limited = Behaviour { headers: vec![("retry-after".into(), "30".into())], ..Behaviour::status(429) };
    demo.script(vec![Rule { when: When { path: Some("/messages".into()), ..When::default() }, then: limited }]);
    let bursar = gateway("anthropic", &demo);
    let hello = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
    let (path, body, _) = &questions()[0];

    let refused = bursar.client().post("/v1/messages", &hello);
    let estimated = bursar.client().post(path, body);

    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!((estimated.status, estimated.header("x-bursar-estimate")), (200, Some("by size")));
    assert_eq!(demo.exchanges().len(), 1);
}

/// Returns the text of a streamed completion, why it ended, and its tokens.
fn completed(body: &str) -> (String, Option<String>, u64) {
    let (mut text, mut finish, mut tokens) = (String::new(), None, 0);
    let data = body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    for chunk in data.map(|data| serde_json::from_str::<Value>(data).unwrap()) {
        assert_eq!(chunk["object"], "text_completion", "{chunk}");
        let choice = &chunk["choices"][0];
        text += choice["text"].as_str().unwrap_or_default();
        finish = choice["finish_reason"].as_str().map(str::to_owned).or(finish);
        tokens += chunk["usage"]["completion_tokens"].as_u64().unwrap_or_default();
    }
    (text, finish, tokens)
}

#[test]
fn a_prompt_is_completed_by_upstreams_that_only_chat() {
    for kind in ["anthropic", "gemini", "groq"] {
        let demo = demo();
        let bursar = gateway(kind, &demo);
        let mut asked = json!({"model": "m", "prompt": ["How is Rome?"], "max_tokens": 200, "logprobs": 1});

        let whole = bursar.client().post("/v1/completions", &asked);
        asked["stream"] = true.into();
        asked["stream_options"] = json!({"include_usage": true});
        let streamed = bursar.client().post("/v1/completions", &asked);

        assert_eq!((whole.status, streamed.status), (200, 200), "{kind}: {} {}", whole.text(), streamed.text());
        let reply = whole.json();
        let choice = &reply["choices"][0];
        assert_eq!(reply["object"], "text_completion", "{kind}: {reply}");
        assert!(choice["text"].as_str().unwrap().contains("Rome"), "{kind}: {reply}");
        let expected = (
            choice["text"].as_str().unwrap().to_owned(),
            choice["finish_reason"].as_str().map(str::to_owned),
            reply["usage"]["completion_tokens"].as_u64().unwrap(),
        );
        assert_eq!(completed(&streamed.text()), expected, "{kind}");
        assert!(streamed.text().ends_with("data: [DONE]\n\n"), "{kind}");
        for answer in [&whole, &streamed] {
            let warning = answer.header("x-bursar-warning").unwrap_or_default();
            assert!(warning.contains("`logprobs`"), "{kind}: {warning}");
        }
    }
}

#[test]
fn a_prompt_passes_to_who_has_the_endpoint_and_what_a_chat_cannot_do_is_refused_elsewhere() {
    let impossible = [
        ("echo", json!(true)),
        ("suffix", json!("The end.")),
        ("prompt", json!(["Once", "Twice"])),
        ("prompt", json!([1, 2, 3])),
        ("n", json!(2)),
        ("best_of", json!(2)),
    ];
    for kind in ["openai", "anthropic"] {
        let demo = demo();
        let bursar = gateway(kind, &demo);
        for (name, value) in &impossible {
            let mut asked = json!({"model": "m", "prompt": "Once"});
            asked[*name] = value.clone();

            let answer = bursar.client().post("/v1/completions", &asked);

            let param = answer.json()["error"]["param"].as_str().map(str::to_owned);
            let expected = if kind == "openai" { (200, None) } else { (400, Some((*name).to_owned())) };
            assert_eq!((answer.status, param), expected, "{kind}, {name}: {}", answer.text());
        }
        let calls = if kind == "openai" { impossible.len() } else { 0 };
        assert_eq!(demo.exchanges().len(), calls, "{kind}");
    }
}
