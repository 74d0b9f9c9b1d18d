//! Bad input of every kind: a clear 4xx in the shape that OpenAI's clients read, never a 500, never an upstream call.

use bursar::demo::{Behaviour, Demo};
use serde_json::json;

use crate::client::{Answer, chat, stream};
use crate::harness::{Bursar, Setup, demo, scripted};

/// Sends a body to a route and checks the refusal's status and code, then that the gateway is unharmed.
#[track_caller]
fn refused(bursar: &Bursar, path: &str, body: &str, status: u16, code: &str) -> Answer {
    let answer = bursar.client().request("POST", path, &[], body);
    let shown: String = body.chars().take(80).collect();
    assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{shown}: {}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"), "{shown}");
    answer
}

const CHAT: &str = "/v1/chat/completions";

fn idle() -> (Demo, Bursar) {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    (demo, bursar)
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let (demo, bursar) = idle();

    for body in ["", "   ", "{", "nonsense", "{\"model\":\"m\"", "{\"model\":\"m\",}", "{}x", "{\"a\":NaN}", "{'a':1}"]
    {
        refused(&bursar, CHAT, body, 400, "invalid_json");
    }
    for body in ["[]", "7", "\"text\"", "null", "true"] {
        let answer = bursar.client().request("POST", CHAT, &[], body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(!answer.error_code().is_empty(), "{body}");
    }

    assert!(demo.exchanges().is_empty());
    bursar.books();
}

#[test]
fn bytes_that_are_no_utf8_are_refused() {
    let (_demo, bursar) = idle();
    let mut client = bursar.client();

    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n");
    client.send(&[head.as_bytes(), b"{\"\xff}"].concat());

    let answer = client.answer("POST");
    assert_eq!((answer.status, answer.error_code().as_str()), (400, "invalid_json"));
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let (demo, bursar) = idle();
    let fields = [
        ("model", json!(7)),
        ("model", json!(null)),
        ("messages", json!("hello")),
        ("stream", json!("yes")),
        ("n", json!(1.5)),
        ("max_tokens", json!("many")),
        ("temperature", json!("hot")),
        ("tools", json!({})),
        ("stream_options", json!([])),
        ("response_format", json!("json")),
        ("user", json!(5)),
    ];

    for (name, value) in fields {
        let mut body = chat(json!({}));
        body[name] = value;
        let answer = bursar.client().post(CHAT, &body);
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(name), "{}", answer.text());
        assert!(answer.json()["error"]["param"].as_str().is_some_and(|param| param.starts_with(name)), "{name}");
    }
    for (path, body, param) in [
        (CHAT, json!({"model": "m"}), "messages"),
        ("/v1/completions", json!({"model": "m"}), "prompt"),
        ("/v1/embeddings", json!({"model": "m"}), "input"),
        ("/v1/embeddings", json!({"model": "m", "input": {}}), "input"),
    ] {
        let answer = bursar.client().post(path, &body);
        assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (400, Some(param)));
    }

    assert!(demo.exchanges().is_empty());
}

#[test]
fn a_body_that_could_be_read_in_two_ways_is_refused() {
    let (demo, bursar) = idle();
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));

    refused(&bursar, CHAT, &format!(r#"{{"model":"m","model":"x",{messages}}}"#), 400, "duplicate_parameter");
    refused(&bursar, CHAT, &format!(r#"{{"model":"m","mod\u0065l":"x",{messages}}}"#), 400, "duplicate_parameter");
    refused(&bursar, CHAT, &format!(r#"{{"model":"m",{messages},"x":"\ud83d"}}"#), 400, "invalid_json");
    refused(&bursar, CHAT, &format!(r#"{{"model":"m",{messages},"x":{deep}}}"#), 400, "invalid_json");

    assert!(demo.exchanges().is_empty());
}

#[test]
fn nesting_of_ten_thousand_is_refused_wherever_it_stands() {
    let (demo, bursar) = idle();
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let (arrays, objects) = (deep("[", "]"), deep("{\"a\":", "}"));

    for deep in [&arrays, &objects] {
        let chat =
            |field: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"{field}":{deep}}}"#);
        for field in ["tools", "stop", "metadata", "response_format", "stream_options", "stream", "unheard_of"] {
            let answer = bursar.client().request("POST", CHAT, &[], &chat(field));
            assert_eq!(answer.status, 400, "{field}: {}", answer.text());
        }
        for (path, field) in
            [(CHAT, "messages"), ("/v1/completions", "prompt"), ("/v1/embeddings", "input"), (CHAT, "model")]
        {
            let answer = bursar.client().request("POST", path, &[], &format!(r#"{{"model":"m","{field}":{deep}}}"#));
            assert_eq!(answer.status, 400, "{field}: {}", answer.text());
        }
        assert_eq!(bursar.client().request("POST", CHAT, &[], deep).status, 400);
    }

    assert!(demo.exchanges().is_empty());
}

#[test]
fn an_answer_nested_ten_thousand_deep_harms_nobody() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let whole = format!(r#"{{"choices":[{{"message":{{"content":"x"}},"x":{deep}}}],"usage":{deep}}}"#);
    let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{deep}}}}}]}}\n\n");
    let deep_whole = scripted(Behaviour { body: Some(whole.into()), ..Behaviour::default() });
    let deep_event = scripted(Behaviour { body: Some(event.into()), ..Behaviour::default() });

    for (demo, body) in [(&deep_whole, chat(json!({}))), (&deep_event, stream(json!({})))] {
        let bursar = Setup::over(&[demo]).start();
        let answer = bursar.client().chat(&body);
        assert!([200, 502].contains(&answer.status), "{}", answer.status);
        assert_eq!(bursar.client().get("/healthz").status, 200);
        bursar.books();
    }
}

#[test]
fn options_for_a_stream_without_a_stream_are_refused() {
    let (_demo, bursar) = idle();
    let body = chat(json!({"stream_options": {"include_usage": true}}));

    let answer = refused(&bursar, CHAT, &body.to_string(), 400, "invalid_value");

    assert_eq!(answer.json()["error"]["param"], "stream_options");
}

#[test]
fn a_model_that_does_not_exist_is_a_404_with_near_names() {
    let (one, two) = (demo(), demo());
    let bursar = Setup::over(&[&one, &two]).start();
    let body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "x"}]}).to_string();

    let near = refused(&bursar, CHAT, &body("n"), 404, "model_not_found");
    let foreign = refused(&bursar, CHAT, &body("b-demo"), 404, "model_not_found");

    assert!(near.text().contains("near names: m, "), "{}", near.text());
    assert!(foreign.text().contains("b/demo-small"), "{}", foreign.text());
    assert_eq!(near.json()["error"]["param"], "model");
    assert_eq!(bursar.books().endings(), (0, 2, 0));
}

#[test]
fn a_model_with_a_line_break_is_refused_and_splits_no_header() {
    let (demo, bursar) = idle();

    for model in ["m\\r\\nx-evil: 1", "a/x\\ny", "\\u0000", "a/\\u007f"] {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}]}}"#);
        let answer = refused(&bursar, CHAT, &body, 400, "invalid_value");
        assert_eq!(answer.header("x-evil"), None);
    }
    // A line separator that is no control character may stand in JSON, but not in a header.
    let odd = json!({"model": "a/\u{2028}\u{e9}", "messages": [{"role": "user", "content": "x"}]});
    let answer = bursar.client().post(CHAT, &odd);
    assert!(answer.status < 500, "{answer:?}");

    assert!(demo.exchanges().len() <= 1);
    bursar.books();
}

#[test]
fn a_body_over_the_limit_is_a_413_announced_or_not() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).set("server.max_body=100KB").start();
    let body = "x".repeat(200_000);

    let announced = bursar.client().request("POST", CHAT, &[], &body);
    let mut client = bursar.client();
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes());
    for part in body.as_bytes().chunks(10_000) {
        client.send(format!("{:x}\r\n", part.len()).as_bytes());
        client.send(part);
        client.send(b"\r\n");
    }
    client.send(b"0\r\n\r\n");
    let chunked = client.answer("POST");
    let mut liar = bursar.client();
    liar.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n").as_bytes());
    let liar = liar.answer("POST");

    for answer in [announced, chunked, liar] {
        assert_eq!((answer.status, answer.error_code().as_str()), (413, "request_too_large"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert!(demo.exchanges().is_empty());
}

#[test]
fn a_body_that_is_compressed_is_refused_with_the_reason() {
    let (_demo, bursar) = idle();

    for coding in ["gzip", "br", "zstd", "deflate"] {
        let headers = [("content-encoding", coding)];
        let answer = bursar.client().request("POST", CHAT, &headers, &chat(json!({})).to_string());
        assert_eq!((answer.status, answer.error_code().as_str()), (415, "unsupported_content_encoding"));
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
        assert!(answer.text().contains("content-encoding"));
    }
}

#[test]
fn a_wish_that_makes_no_sense_is_refused_by_its_name() {
    let (demo, bursar) = idle();
    let wishes = [
        ("x-bursar-timeout", "soon"),
        ("x-bursar-timeout", "-1s"),
        ("x-bursar-first-token-timeout", "0s"),
        ("x-bursar-retries", "-1"),
        ("x-bursar-retries", "many"),
        ("x-bursar-fallback", "on"),
    ];

    for (name, value) in wishes {
        let answer = bursar.client().request("POST", CHAT, &[(name, value)], &chat(json!({})).to_string());
        assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (400, Some(name)), "{value}");
    }

    assert!(demo.exchanges().is_empty());
}

const KEY: &str = "client-key-0123456789";

#[test]
fn without_a_valid_client_key_nothing_is_answered() {
    let demo = demo();
    let more = format!("[[client_keys]]\nid = \"app\"\nvalue = \"{KEY}\"\n");
    let bursar = Setup::over(&[&demo]).more(&more).start();
    let ask = |headers: &[(&str, &str)]| bursar.client().request("POST", CHAT, headers, &chat(json!({})).to_string());
    let bearer = format!("Bearer {KEY}");
    let wrong = format!("Bearer {KEY}0");

    for headers in
        [&[][..], &[("authorization", wrong.as_str())], &[("authorization", "Bearer ")], &[("x-api-key", "")]]
    {
        let answer = ask(headers);
        assert_eq!((answer.status, answer.error_code().as_str()), (401, "invalid_api_key"), "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for path in ["/v1/models", "/v1/models/m"] {
        assert_eq!(bursar.client().get(path).status, 401, "{path}");
    }
    assert!(demo.exchanges().is_empty());
    assert_eq!(ask(&[("authorization", &bearer)]).status, 200);
    assert_eq!(ask(&[("x-api-key", KEY)]).status, 200);
    bursar.books();
}

#[test]
fn a_team_gets_only_the_models_it_may_use() {
    let demo = demo();
    let more =
        format!("[teams.few]\nmodels = [\"m\"]\n[[client_keys]]\nid = \"app\"\nteam = \"few\"\nvalue = \"{KEY}\"\n");
    let bursar = Setup::over(&[&demo]).more(&more).start();
    let mut client = bursar.client();
    let headers = [("x-api-key", KEY)];
    let mut ask = |method: &str, path: &str, body: &str| client.request(method, path, &headers, body);

    let other = json!({"model": "a/demo-large", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let refused = ask("POST", CHAT, &other);
    let served = ask("POST", CHAT, &chat(json!({})).to_string());
    let listed = ask("GET", "/v1/models", "");
    let shown = ask("GET", "/v1/models/a/demo-large", "");

    assert_eq!((refused.status, refused.error_code().as_str()), (403, "model_not_allowed"));
    assert_eq!((served.status, shown.status), (200, 404));
    assert_eq!(listed.json()["data"].as_array().unwrap().len(), 1);
}

#[test]
fn a_wrong_method_and_an_unknown_route_are_told_apart() {
    let (_demo, bursar) = idle();

    for path in [CHAT, "/v1/completions", "/openai/v1/embeddings"] {
        let mut client = bursar.client();
        let answer = client.get(path);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")), "{path}");
        answer.error_code();
        let options = client.request("OPTIONS", path, &[], "");
        assert_eq!((options.status, options.header("allow")), (204, Some("POST, OPTIONS")));
    }
    let posted = bursar.client().post("/v1/models", &json!({}));
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    // The body was not read, so the connection cannot go on, and says so.
    assert_eq!(posted.header("connection"), Some("close"));
    for path in ["/v1/chat", "/v2/chat/completions", "/v1/v1/chat/completions", "/admin", "/v1/"] {
        let answer = bursar.client().post(path, &chat(json!({})));
        assert_eq!((answer.status, answer.error_code().as_str()), (404, "unknown_url"), "{path}");
    }
}

#[test]
fn ambiguous_framing_never_reaches_an_upstream() {
    let (demo, bursar) = idle();
    let body = chat(json!({})).to_string();
    let length = body.len();
    let framings = [
        format!("content-length: {length}\r\ncontent-length: {}\r\n", length - 1),
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
        "transfer-encoding: xchunked\r\n".to_owned(),
        format!("content-length: +{length}\r\n"),
        format!("content-length : {length}\r\n"),
    ];

    for framing in framings {
        let mut client = bursar.client();
        client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\n{framing}\r\n{body}").as_bytes());
        let answer = client.head();
        assert_eq!(answer.status, 400, "{framing:?}");
    }

    assert!(demo.exchanges().is_empty());
}
