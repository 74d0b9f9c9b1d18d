//! Which requests the demo provider takes and which it refuses, and what it does with the connection.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use bursar::demo::{Demo, DemoOptions};
use serde_json::{Value, json};

use crate::client::{Client, ask, chat, demo};

#[test]
fn models_are_listed_and_told_one_by_one() {
    let demo = demo();
    let mut client = Client::of(&demo);
    let mut get = |path: &str| {
        client.send(&format!("GET {path} HTTP/1.1"), b"");
        client.response().unwrap()
    };

    assert_eq!(get("/v1/models").json()["data"].as_array().unwrap().len(), 5);
    assert_eq!(get("/models/demo-small").json()["id"], "demo-small");
    assert_eq!(get("/v1/models/gpt-9").status, 404);
}

#[test]
fn wrong_requests_are_refused_in_openais_shape() {
    let demo = demo();
    let refused = |more: Value| {
        let response = ask(&demo, more);
        (response.status, response.json()["error"]["code"].clone())
    };

    assert_eq!(refused(json!({"model": "gpt-9"})), (404, json!("model_not_found")));
    assert_eq!(refused(json!({"messages": []})), (400, json!("missing_required_parameter")));
    assert_eq!(refused(json!({"temperature": 3})), (400, json!("decimal_above_max_value")));
    assert_eq!(refused(json!({"max_tokens": 0})), (400, json!("integer_below_min_value")));
    assert_eq!(refused(json!({"stream_options": {}})), (400, json!("invalid_value")));
    assert_eq!(refused(json!({"demo": {"cut_afer": 1}})), (400, json!("invalid_value")));
    let orphan = json!({"messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]});
    assert_eq!(refused(orphan), (400, json!("invalid_value")));
    let long = json!({"messages": [{"role": "user", "content": "a ".repeat(130_000)}]});
    assert_eq!(refused(long), (400, json!("context_length_exceeded")));
}

#[test]
fn wrong_paths_methods_and_bodies_are_refused() {
    let demo = demo();
    let status = |head: &str, body: &str| {
        let mut client = Client::of(&demo);
        client.send(head, body.as_bytes());
        client.response().unwrap().status
    };

    assert_eq!(status("POST /v1/nothing HTTP/1.1", "{}"), 404);
    assert_eq!(status("GET /v1/chat/completions HTTP/1.1", ""), 405);
    assert_eq!(status("POST /v1/chat/completions HTTP/1.1", "{"), 400);
    assert_eq!(status("this is no HTTP", ""), 400);
}

#[test]
fn a_key_outside_the_list_is_refused() {
    let demo = Demo::start(DemoOptions { keys: vec!["good".into()], ..DemoOptions::default() }).unwrap();
    let ask = |key: &str| {
        let mut client = Client::of(&demo);
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {key}");
        client.send(&head, chat(json!({})).to_string().as_bytes());
        client.response().unwrap()
    };

    assert_eq!(ask("good").status, 200);
    assert_eq!(ask("bad").json()["error"]["code"], "invalid_api_key");
    assert_eq!(demo.exchanges()[1].key.as_deref(), Some("bad"));
}

#[test]
fn any_model_is_served_when_the_options_say_so() {
    let demo = Demo::start(DemoOptions { any_model: true, ..DemoOptions::default() }).unwrap();

    assert_eq!(ask(&demo, json!({"model": "gpt-9"})).json()["model"], "gpt-9");
}

#[test]
fn a_connection_serves_one_request_after_another_sent_whole_or_in_chunks() {
    let demo = demo();
    let mut client = Client::of(&demo);
    let body = chat(json!({})).to_string();
    let (left, right) = body.split_at(10);
    let head = "POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = format!("{head}a\r\n{left}\r\n{:x};x=y\r\n{right}\r\n0\r\nx: y\r\n\r\n", right.len());

    let first = client.post("/v1/chat/completions", &chat(json!({})));
    client.stream.get_mut().write_all(chunked.as_bytes()).unwrap();
    let second = client.response().unwrap();

    assert_eq!(first.json()["choices"], second.json()["choices"]);
    assert_eq!(demo.connections_accepted(), 1);
    assert_eq!(demo.exchanges()[1].raw_body, body.as_bytes());
}

#[test]
fn a_body_over_the_bound_is_refused_and_the_refusal_arrives() {
    let demo = demo();
    let mut client = Client::of(&demo);
    client.stream.get_mut().write_all(b"POST /v1/embeddings HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n").unwrap();
    client.stream.get_mut().write_all(&[b' '; 100_000]).unwrap();

    let response = client.response().unwrap();

    assert_eq!((response.status, response.header("connection")), (413, Some("close")));
}

#[test]
fn only_the_last_exchanges_are_remembered() {
    let demo = Demo::start(DemoOptions { remembered: 1, ..DemoOptions::default() }).unwrap();

    ask(&demo, json!({}));
    ask(&demo, json!({}));

    let numbers: Vec<usize> = demo.exchanges().iter().map(|exchange| exchange.number).collect();
    assert_eq!(numbers, [1]);
}

#[test]
fn dropping_the_provider_closes_its_connections_and_its_port() {
    let demo = demo();
    let address = demo.address();
    let mut client = Client::of(&demo);
    assert_eq!(client.post("/v1/chat/completions", &chat(json!({}))).status, 200);

    drop(demo);

    assert_eq!(client.rest().0, b"");
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
