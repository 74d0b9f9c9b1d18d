//! The demo provider as Anthropic's clients see it.

use bursar::demo::{Behaviour, Demo, DemoOptions};
use serde_json::{Value, json};

use crate::client::{Client, Response, demo, extended, named_events, scripted};

const HEAD: &str = "POST /v1/messages?beta=true HTTP/1.1\r\nx-api-key: k1\r\nanthropic-version: 2023-06-01";

fn messages(more: Value) -> Value {
    let body = json!({
        "model": "demo-small",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": "Hello from ada@example.org"}],
    });
    extended(body, more)
}

fn send(demo: &Demo, head: &str, body: &Value) -> Response {
    let mut client = Client::of(demo);
    client.send(head, body.to_string().as_bytes());
    client.response().unwrap()
}

fn ask(demo: &Demo, more: Value) -> Response {
    send(demo, HEAD, &messages(more))
}

fn refusal(demo: &Demo, more: Value) -> String {
    let response = ask(demo, more);
    let body = response.json();
    assert_eq!((response.status, &body["type"]), (400, &json!("error")), "{body}");
    assert_eq!(body["error"]["type"], "invalid_request_error");
    body["error"]["message"].as_str().unwrap().to_owned()
}

fn weather() -> Value {
    json!({
        "name": "get_weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    })
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    kinds
}

#[test]
fn a_message_counts_its_tokens_and_names_its_request() {
    let demo = demo();

    let response = ask(&demo, json!({}));

    let body = response.json();
    assert_eq!((response.status, &body["type"], &body["stop_reason"]), (200, &json!("message"), &json!("end_turn")));
    assert!(body["content"][0]["text"].as_str().unwrap().contains("ada@example.org"), "{body}");
    assert!(
        body["usage"]["input_tokens"].as_u64().unwrap() > 0 && body["usage"]["output_tokens"].as_u64().unwrap() > 0
    );
    assert!(response.header("request-id").is_some() && response.header("openai-processing-ms").is_none());
    let exchange = demo.exchanges().remove(0);
    assert_eq!((exchange.key.as_deref(), exchange.model()), (Some("k1"), Some("demo-small")));
}

#[test]
fn a_stream_has_its_events_in_order_and_says_what_the_whole_answer_says() {
    let demo = demo();

    let whole = ask(&demo, json!({"thinking": {"type": "adaptive"}})).json();
    let events = named_events(&ask(&demo, json!({"thinking": {"type": "adaptive"}, "stream": true})));

    let block = ["content_block_start", "content_block_delta", "content_block_stop"];
    let expected: Vec<&str> =
        ["message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop"]
            .into_iter()
            .chain(block)
            .chain(["message_delta", "message_stop"])
            .collect();
    assert_eq!(kinds(&events), expected);
    let joined = |name: &str| -> String { events.iter().filter_map(|event| event["delta"][name].as_str()).collect() };
    assert_eq!(joined("thinking"), whole["content"][0]["thinking"].as_str().unwrap());
    assert_eq!(joined("signature"), whole["content"][0]["signature"].as_str().unwrap());
    assert_eq!(joined("text"), whole["content"][1]["text"].as_str().unwrap());
    let last = &events[events.len() - 2];
    assert_eq!(last["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
    assert_eq!(last["delta"]["stop_reason"], "end_turn");
}

#[test]
fn tools_are_called_in_parallel_and_their_results_answered() {
    let demo = demo();
    let clock = json!({"name": "get_time", "input_schema": {"type": "object", "properties": {}}});
    let question = json!({"role": "user", "content": "Use get_weather for Paris and get_time."});
    let more = json!({"tools": [weather(), clock], "messages": [question]});

    let called = ask(&demo, more.clone()).json();
    let events = named_events(&ask(&demo, extended(more.clone(), json!({"stream": true}))));

    assert_eq!(called["stop_reason"], "tool_use");
    assert_eq!((&called["content"][0]["name"], &called["content"][1]["input"]), (&json!("get_weather"), &json!({})));
    let parts = |index: u64| -> String {
        let of_block = events.iter().filter(|event| event["index"] == index);
        of_block.filter_map(|event| event["delta"]["partial_json"].as_str()).collect()
    };
    assert_eq!(serde_json::from_str::<Value>(&parts(0)).unwrap(), called["content"][0]["input"]);
    assert_eq!(parts(1), "");
    let result = |index: usize, text: &str| json!({"type": "tool_result", "tool_use_id": called["content"][index]["id"], "content": text});
    let history = |results: Value| {
        let turns = json!([question, {"role": "assistant", "content": called["content"]}, {"role": "user", "content": results}]);
        extended(more.clone(), json!({"messages": turns}))
    };
    let answered = ask(&demo, history(json!([result(0, "21 degrees"), result(1, "noon")]))).json();
    assert!(answered["content"][0]["text"].as_str().unwrap().contains("21 degrees"), "{answered}");
    assert!(refusal(&demo, history(json!([result(0, "21 degrees")]))).contains("without `tool_result`"));
    let late = json!([result(0, "a"), {"type": "text", "text": "and"}, result(1, "b")]);
    assert!(refusal(&demo, history(late)).contains("must come first"));
}

#[test]
fn a_signature_of_thoughts_is_checked_when_it_comes_back() {
    let demo = demo();
    let thinking = json!({"type": "enabled", "budget_tokens": 1024});
    let more = json!({"thinking": thinking, "tools": [weather()]});
    let called = ask(&demo, more.clone()).json();
    let turns = |blocks: Value| {
        let result = json!({"type": "tool_result", "tool_use_id": called["content"][1]["id"], "content": "21 degrees"});
        let first = messages(json!({}))["messages"][0].clone();
        let turns = json!([first, {"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]);
        extended(more.clone(), json!({"messages": turns}))
    };
    let mut forged = called["content"].clone();
    forged[0]["signature"] = json!("Zm9yZ2Vk");

    assert_eq!(ask(&demo, turns(called["content"].clone())).status, 200);
    assert!(refusal(&demo, turns(forged)).contains("Invalid `signature` in `thinking` block"));
    assert!(refusal(&demo, turns(json!([called["content"][1]]))).contains("Expected `thinking`"));
}

#[test]
fn redacted_thoughts_come_back_sealed_only() {
    let demo = demo();
    let question = json!({"role": "user", "content": "demo:redact"});
    let more = json!({"thinking": {"type": "adaptive"}, "messages": [question]});
    let block = ask(&demo, more).json()["content"][0].clone();
    let turns = |data: &Value| {
        let thoughts = json!({"type": "redacted_thinking", "data": data});
        let answer = json!({"role": "assistant", "content": [thoughts, {"type": "text", "text": "Hi"}]});
        json!({"messages": [question, answer, question]})
    };

    assert_eq!(block["type"], "redacted_thinking");
    assert_eq!(ask(&demo, turns(&block["data"])).status, 200);
    assert!(refusal(&demo, turns(&json!("x"))).contains("Invalid `data`"));
}

#[test]
fn a_marked_prompt_is_written_to_the_cache_first_and_read_from_it_next() {
    let demo = demo();
    let system = json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
    let usage = |system: &Value| ask(&demo, json!({"system": system})).json()["usage"].clone();

    let first = usage(&system);
    let second = usage(&system);

    let plain = usage(&json!([{"type": "text", "text": "Be brief."}]));
    let sum = |usage: &Value| -> u64 {
        let names = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
        names.iter().map(|name| usage[*name].as_u64().unwrap()).sum()
    };
    assert_eq!(first["cache_creation"]["ephemeral_1h_input_tokens"], first["cache_creation_input_tokens"]);
    assert!(first["cache_creation_input_tokens"].as_u64().unwrap() > 0);
    assert_eq!(first["cache_creation_input_tokens"], second["cache_read_input_tokens"]);
    assert_eq!((sum(&first), sum(&second)), (sum(&plain), sum(&plain)));
    assert_eq!(plain["cache_read_input_tokens"], 0);
}

#[test]
fn an_answer_ends_at_its_limit_at_a_stop_sequence_or_with_a_refusal() {
    let demo = demo();
    let user = |text: &str| json!({"messages": [{"role": "user", "content": text}]});

    let limited = ask(&demo, json!({"max_tokens": 3})).json();
    let stopped = ask(&demo, json!({"stop_sequences": ["never", "built-in"]})).json();
    let refused = ask(&demo, user("demo:refuse")).json();

    assert_eq!((&limited["stop_reason"], &limited["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(3)));
    assert_eq!((&stopped["stop_reason"], &stopped["stop_sequence"]), (&json!("stop_sequence"), &json!("built-in")));
    assert_eq!((&refused["stop_reason"], &refused["content"]), (&json!("refusal"), &json!([])));
    assert_eq!(refused["stop_details"]["type"], "refusal");
}

#[test]
fn a_schema_gets_json_that_fits_it_and_must_be_closed() {
    let demo = demo();
    let config = |closed: bool| {
        let mut schema = json!({"type": "object", "properties": {"city": {"const": "Paris"}}, "required": ["city"]});
        if closed {
            schema["additionalProperties"] = json!(false);
        }
        json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}})
    };

    assert_eq!(ask(&demo, config(true)).json()["content"][0]["text"], r#"{"city":"Paris"}"#);
    assert!(refusal(&demo, config(false)).contains("additionalProperties"));
}

#[test]
fn what_anthropic_refuses_is_refused() {
    let demo = demo();
    let without_limit = {
        let mut body = messages(json!({}));
        body.as_object_mut().unwrap().remove("max_tokens");
        send(&demo, HEAD, &body).json()
    };
    let turn = |role: &str, content: Value| json!({"messages": [{"role": role, "content": content}]});
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": "AAAA"}});

    assert_eq!(without_limit["error"]["message"], "max_tokens: Field required");
    assert!(refusal(&demo, json!({"n": 1})).starts_with("n: Extra inputs"));
    assert!(refusal(&demo, json!({"messages": []})).contains("at least one"));
    assert!(refusal(&demo, turn("assistant", json!("Hi"))).contains("first message"));
    assert!(refusal(&demo, turn("user", json!(""))).contains("non-empty"));
    assert!(refusal(&demo, turn("user", json!([{"type": "text", "text": "a", "x": 1}]))).contains("content.0.x"));
    assert!(refusal(&demo, turn("user", json!([image]))).contains("image/tiff"));
    assert!(refusal(&demo, json!({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]})).contains("a b"));
    assert!(refusal(&demo, json!({"tools": [{"type": "function", "function": {}}]})).contains("tools.0"));
    assert!(refusal(&demo, json!({"tool_choice": {"type": "any"}})).contains("tools"));
    assert!(refusal(&demo, json!({"temperature": 1.5})).contains("temperature"));
    assert_eq!(ask(&demo, json!({"model": "gpt-9"})).json()["error"]["type"], "not_found_error");
    assert_eq!(ask(&demo, json!({"temperature": 0.5, "top_k": 3})).status, 200);
}

#[test]
fn the_version_is_demanded_and_the_new_one_takes_no_sampling() {
    let demo = demo();
    let message =
        |head: &str| send(&demo, head, &messages(json!({"temperature": 1.0}))).json()["error"]["message"].clone();

    let new = HEAD.replace("2023-06-01", "2026-10-21");
    let none = HEAD.replace("\r\nanthropic-version: 2023-06-01", "");

    assert_eq!(message(&new), "temperature: Extra inputs are not permitted");
    assert_eq!(message(&none), "anthropic-version: header is required");
}

#[test]
fn tokens_are_counted_as_the_answer_counts_them_and_models_are_listed() {
    let demo = demo();
    let mut body = messages(json!({}));
    let answered = send(&demo, HEAD, &body).json();
    body.as_object_mut().unwrap().remove("max_tokens");

    let counted = send(&demo, &HEAD.replace("messages?", "messages/count_tokens?"), &body).json();
    let models = send(&demo, "GET /v1/models HTTP/1.1\r\nanthropic-version: 2023-06-01", &Value::Null).json();

    assert_eq!(counted, json!({"input_tokens": answered["usage"]["input_tokens"]}));
    assert_eq!((&models["has_more"], &models["data"][0]["type"]), (&json!(false), &json!("model")));
}

#[test]
fn a_key_outside_the_list_and_scripted_statuses_have_anthropics_shape() {
    let demo = Demo::start(DemoOptions { keys: vec!["good".into()], ..DemoOptions::default() }).unwrap();

    let wrong = ask(&demo, json!({}));
    let scripted = ask(&demo, json!({"demo": {"status": 529}}));

    assert_eq!((wrong.status, &wrong.json()["error"]["type"]), (401, &json!("authentication_error")));
    assert_eq!((scripted.status, &scripted.json()["error"]["type"]), (529, &json!("overloaded_error")));
}

#[test]
fn a_stream_breaks_off_with_an_error_event() {
    let demo = scripted(Behaviour { error_after: Some(3), ..Behaviour::default() });

    let events = named_events(&ask(&demo, json!({"stream": true})));

    assert_eq!((events.len(), &events[3]["error"]["type"]), (4, &json!("overloaded_error")));
}
