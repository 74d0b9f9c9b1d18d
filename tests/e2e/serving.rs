//! What a client gets when nothing goes wrong: every route, byte for byte.

use bursar::demo::{Behaviour, Raw};
use serde_json::json;

use crate::client::{chat, stream};
use crate::harness::{Setup, demo, scripted};

#[test]
fn chat_completions_and_embeddings_are_answered_whole() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    let whole = client.chat(&chat(json!({})));
    let completion = client.post("/v1/completions", &json!({"model": "m", "prompt": "Once"}));
    let embedding = client.post("/v1/embeddings", &json!({"model": "m", "input": ["a", "b"]}));

    assert_eq!((whole.status, completion.status, embedding.status), (200, 200, 200));
    assert!(whole.json()["choices"][0]["message"]["content"].as_str().unwrap().contains("demo provider"));
    assert!(completion.json()["choices"][0]["text"].as_str().unwrap().contains("demo provider"));
    assert_eq!(embedding.json()["data"].as_array().unwrap().len(), 2);
    assert_eq!(bursar.books().endings(), (3, 0, 0));
}

#[test]
fn chat_and_completions_are_streamed() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    let chatted = client.chat(&stream(json!({})));
    let completed = client.post("/v1/completions", &json!({"model": "m", "prompt": "Once", "stream": true}));

    assert!(chatted.streamed_text().contains("demo provider") && chatted.is_done());
    assert!(completed.is_done());
    assert_eq!(chatted.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(chatted.header("cache-control"), Some("no-cache"));
    assert_eq!(chatted.header("x-accel-buffering"), Some("no"));
    assert_eq!(bursar.books().endings(), (2, 0, 0));
}

#[test]
fn a_usage_chunk_comes_only_when_it_was_asked_for() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    let without = client.chat(&stream(json!({})));
    let with = client.chat(&stream(json!({"stream_options": {"include_usage": true}})));

    let asked = |exchange: usize| demo.exchanges()[exchange].body["stream_options"]["include_usage"].clone();
    assert_eq!((asked(0), asked(1)), (json!(true), json!(true)));
    assert!(without.events().iter().all(|event| event["choices"][0].is_object()));
    let last = with.events().pop().unwrap();
    assert!(last["choices"] == json!([]) && last["usage"]["total_tokens"].as_u64().unwrap() > 0, "{last}");
}

#[test]
fn every_route_answers_under_all_three_prefixes() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    for prefix in ["/v1", "/openai/v1", ""] {
        assert_eq!(client.post(&format!("{prefix}/chat/completions"), &chat(json!({}))).status, 200, "{prefix}");
        let completion = json!({"model": "m", "prompt": "x"});
        assert_eq!(client.post(&format!("{prefix}/completions"), &completion).status, 200, "{prefix}");
        let embedding = json!({"model": "m", "input": "x"});
        assert_eq!(client.post(&format!("{prefix}/embeddings"), &embedding).status, 200, "{prefix}");
        assert_eq!(client.get(&format!("{prefix}/models")).status, 200, "{prefix}");
        assert_eq!(client.get(&format!("{prefix}/models/m")).json()["id"], "m", "{prefix}");
    }
}

#[test]
fn models_are_listed_and_shown_even_with_a_slash() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    let list = client.get("/v1/models").json();
    let direct = client.get("/v1/models/a/meta/llama-3");
    let unknown = client.get("/v1/models/zz/top");
    let head = client.request("HEAD", "/v1/models", &[], "");
    let options = client.request("OPTIONS", "/v1/models", &[], "");

    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert_eq!((list["object"].clone(), ids), (json!("list"), vec![json!("m"), json!("a/demo-small")]));
    assert_eq!((direct.status, direct.json()["id"].clone()), (200, json!("a/meta/llama-3")));
    // The only provider there is owns every bare name, and a name with a slash as well.
    assert_eq!(unknown.status, 200);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
    assert_eq!(client.get("/v1/models").status, 200, "the connection is still in step");
}

#[test]
fn a_whole_answer_passes_byte_for_byte() {
    let body = concat!(
        "{ \"id\" : \"x\",\n\t\"object\":\"chat.completion\", \"created\":1, \"model\":\"demo-small\", \"odd\" : [1.0e0],",
        " \"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"caf\\u00e9 \u{1F680}\",\"refusal\":null},",
        "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,",
        "\"total_tokens\":3}}\n"
    );
    let demo = scripted(Behaviour { body: Some(body.into()), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();

    let answer = bursar.client().chat(&chat(json!({})));

    assert_eq!(answer.text(), body);
    let metrics = bursar.client().get("/metrics").text();
    assert!(metrics.contains(r#"bursar_tokens_total{alias="m",kind="completion",team="none"} 2"#), "{metrics}");
}

/// A stream with an odd field order, multi-byte text and a usage chunk.
const STREAM: &str = concat!(
    "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",",
    "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: { \"choices\" : [{\"delta\":{\"content\":\"h\u{e9}\u{1F680}\"},\"index\":0,\"finish_reason\":null}], ",
    "\"object\":\"chat.completion.chunk\",\"id\":\"x\",\"extra\":{\"a\":1.50},\"created\":1,\"model\":\"m\"}\n\n",
    "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",",
    "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
);
const USAGE: &str = concat!(
    "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],",
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n",
);
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn a_stream_passes_byte_for_byte_but_for_a_usage_chunk_nobody_asked_for() {
    let sent = format!("{STREAM}{USAGE}{DONE}");
    let demo = scripted(Behaviour { body: Some(sent.clone().into()), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    let unasked = client.chat(&stream(json!({})));
    let asked = client.chat(&stream(json!({"stream_options": {"include_usage": true}})));

    assert_eq!(unasked.text(), format!("{STREAM}{DONE}"));
    assert_eq!(asked.text(), sent);
}

#[test]
fn a_stream_split_at_every_byte_comes_out_the_same() {
    let sent = format!("{STREAM}{USAGE}{DONE}");
    for size in [1, 2, 3, 7] {
        let then = Behaviour { body: Some(sent.clone().into()), split: Some(size), ..Behaviour::default() };
        let demo = scripted(then);
        let bursar = Setup::over(&[&demo]).start();

        let answer = bursar.client().chat(&stream(json!({})));

        assert_eq!(answer.text(), format!("{STREAM}{DONE}"), "in pieces of {size}");
    }
}

#[test]
fn line_ends_of_every_kind_and_comments_are_understood() {
    let odd = format!(": hello\r\n\r\n{}", format!("{STREAM}{DONE}").replace('\n', "\r\n"));
    let demo = scripted(Behaviour { body: Some(odd.into()), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();

    let answer = bursar.client().chat(&stream(json!({})));

    assert_eq!(answer.text(), format!("{STREAM}{DONE}"));
}

#[test]
fn an_answer_larger_than_two_mebibytes_passes() {
    let text = "x".repeat(3 * 1024 * 1024);
    let body = format!(
        "{{\"id\":\"x\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\
         \"message\":{{\"role\":\"assistant\",\"content\":\"{text}\",\"refusal\":null}},\"finish_reason\":\"stop\"}}]}}"
    );
    for chunked in [false, true] {
        let demo = scripted(Behaviour { body: Some(Raw(body.clone().into())), chunked, ..Behaviour::default() });
        let bursar = Setup::over(&[&demo]).start();

        let answer = bursar.client().chat(&chat(json!({})));

        assert_eq!(answer.status, 200);
        assert!(answer.body == body.as_bytes(), "{} bytes of {}", answer.body.len(), body.len());
    }
}

#[test]
fn the_upstream_gets_the_clients_bytes_with_its_own_models_name() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let body = concat!(
        "{\"x_unknown\" : {\"deep\":[1,2.50,\"\\u00e9\"]},\n \"model\" : \"m\", ",
        "\"messages\":[{\"role\":\"user\",\"content\":\"a\\/b\"}] }"
    );

    let answer = bursar.client().request("POST", "/v1/chat/completions", &[], body);

    assert_eq!(answer.status, 200);
    let sent = demo.exchanges().pop().unwrap();
    assert_eq!(String::from_utf8_lossy(&sent.raw_body), body.replace("\"m\"", "\"demo-small\""));
}

#[test]
fn nothing_of_the_clients_headers_reaches_the_upstream() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let headers = [
        ("authorization", "Bearer client-secret"),
        ("x-api-key", "client-secret"),
        ("cookie", "session=client-secret"),
        ("openai-organization", "client-secret"),
        ("x-forwarded-for", "10.9.8.7"),
        ("accept-encoding", "gzip, br, zstd"),
        ("user-agent", "client-agent"),
        ("x-bursar-request-id", "client-request"),
    ];

    bursar.client().request("POST", "/v1/chat/completions", &headers, &chat(json!({})).to_string());

    let sent = demo.exchanges().pop().unwrap();
    assert_eq!(sent.header("authorization"), Some("Bearer sk-a-1"));
    assert_eq!(sent.header("accept-encoding"), Some("identity"));
    assert!(sent.header("user-agent").unwrap().starts_with("bursar/"));
    let names: Vec<&str> = sent.headers.iter().map(|(name, _)| name.as_str()).collect();
    for (name, value) in &sent.headers {
        assert!(!value.contains("client") && !value.contains("10.9.8.7"), "{name}: {value}");
    }
    for leaked in ["x-api-key", "cookie", "openai-organization", "x-forwarded-for", "x-bursar-request-id"] {
        assert!(!names.contains(&leaked), "{leaked}");
    }
}

#[test]
fn the_answer_says_what_served_it_under_the_clients_own_request_id() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    let mut ask = |id: &str| {
        let headers = [("x-bursar-request-id", id)];
        client.request("POST", "/v1/chat/completions", &headers, &chat(json!({})).to_string())
    };

    let named = ask("mine-1.2_3");
    let odd = ask("evil id\"<>");

    assert_eq!(named.header("x-request-id"), Some("mine-1.2_3"));
    assert_eq!(named.header("x-bursar-request-id"), Some("mine-1.2_3"));
    assert_eq!(named.header("x-bursar-model"), Some("a/demo-small"));
    assert_eq!(named.header("x-bursar-alias"), Some("m"));
    assert_eq!(named.header("x-bursar-attempts"), Some("1"));
    assert!(named.header("x-bursar-overhead-ms").unwrap().parse::<f64>().unwrap() >= 0.0);
    assert!(named.header("server-timing").unwrap().starts_with("gw;dur="));
    assert_eq!(named.header("x-bursar-fallback"), None);
    assert_eq!(odd.header("x-request-id").unwrap().len(), 26, "a new one in place of a harmful one");
    for header in &named.headers {
        assert!(!header.1.contains("sk-"), "{header:?}");
    }
}

#[test]
fn a_name_that_no_header_can_carry_is_escaped_and_still_served() {
    let demo = demo();
    let alias = "[models.alias.\"größe\"]\ntargets = [{ provider = \"a\", model = \"demo-small\" }]\n";
    let bursar = Setup::over(&[&demo]).more(alias).start();

    for streamed in [false, true] {
        let answer = bursar.client().chat(&chat(json!({ "model": "größe", "stream": streamed })));

        assert_eq!((answer.status, answer.header("x-bursar-alias")), (200, Some("gr%C3%B6%C3%9Fe")));
    }
    assert_eq!(bursar.books().endings(), (2, 0, 0));
}
