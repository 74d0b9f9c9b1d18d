//! The built-in demo provider as a client sees it: raw HTTP over a socket, whole, streamed, and with every fault.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bursar::demo::{Behaviour, Demo, DemoOptions, Ending, Exchange, Rule, When};
use serde_json::{Value, json};

/// A client that sees bytes: one connection, no retries.
struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Client {
    fn of(demo: &Demo) -> Self {
        let stream = TcpStream::connect(demo.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, head: &str, body: &[u8]) {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
    }

    fn post(&mut self, path: &str, body: &Value) -> Response {
        self.send(&format!("POST {path} HTTP/1.1\r\nhost: demo"), body.to_string().as_bytes());
        self.response().unwrap()
    }

    fn response(&mut self) -> std::io::Result<Response> {
        let mut response = self.head()?;
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut response.body)?;
        } else {
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    fn head(&mut self) -> std::io::Result<Response> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        Ok(Response { status, headers, body: Vec::new() })
    }

    fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.line()?, 16).unwrap();
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk)?;
        assert_eq!(self.line()?, "");
        Ok((size > 0).then_some(chunk))
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches("\r\n").to_owned()),
        }
    }

    /// Reads until the provider closes: all bytes, and whether it closed with a reset.
    fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let reset = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            Err(error) => panic!("neither an end nor a reset: {error}"),
        };
        (bytes, reset)
    }
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the payloads of the events before `[DONE]`, which must come last.
    fn events(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).unwrap();
        let payloads: Vec<&str> =
            text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
        let (last, before) = payloads.split_last().unwrap();
        assert_eq!(*last, "[DONE]");
        before.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect()
    }
}

fn demo() -> Demo {
    Demo::start(DemoOptions::default()).unwrap()
}

fn scripted(then: Behaviour) -> Demo {
    let demo = demo();
    demo.script(vec![Rule { then, ..Rule::default() }]);
    demo
}

fn chat(more: Value) -> Value {
    let mut body =
        json!({"model": "demo-small", "messages": [{"role": "user", "content": "Hello from ada@example.org"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn ask(demo: &Demo, more: Value) -> Response {
    Client::of(demo).post("/v1/chat/completions", &chat(more))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn wait_for_ending(demo: &Demo, wanted: impl Fn(Ending) -> bool) -> Exchange {
    block_on(demo.wait_for(|exchanges| exchanges.last().is_some_and(|exchange| wanted(exchange.ending))));
    demo.exchanges().pop().unwrap()
}

fn hung_up(ending: Ending) -> bool {
    matches!(ending, Ending::PeerClosed { .. })
}

#[test]
fn a_whole_answer_greets_the_newcomer_and_counts_its_tokens() {
    let demo = demo();

    let response = ask(&demo, json!({}));

    let body = response.json();
    let message = &body["choices"][0]["message"];
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    assert!(response.header("x-request-id").is_some() && response.header("openai-processing-ms").is_some());
    assert!(message["content"].as_str().unwrap().contains("ada@example.org"), "{message}");
    assert_eq!((&message["refusal"], &body["choices"][0]["finish_reason"]), (&Value::Null, &json!("stop")));
    let usage = |name: &str| body["usage"][name].as_u64().unwrap();
    assert!(usage("prompt_tokens") > 0 && usage("completion_tokens") > 0);
    assert_eq!(usage("prompt_tokens") + usage("completion_tokens"), usage("total_tokens"));
}

#[test]
fn the_same_request_gets_the_same_answer_whole_or_streamed() {
    let demo = demo();

    let whole = ask(&demo, json!({})).json();
    let again = ask(&demo, json!({})).json();
    let streamed = ask(&demo, json!({"stream": true})).events();

    let joined: String = streamed
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!((&whole["choices"], &whole["id"]), (&again["choices"], &again["id"]));
    assert_eq!(whole["choices"][0]["message"]["content"], json!(joined));
}

#[test]
fn a_stream_gives_the_role_then_content_then_the_finish_reason_then_done() {
    let demo = demo();

    let response = ask(&demo, json!({"stream": true}));

    let events = response.events();
    let (last, before) = events.split_last().unwrap();
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[0]["choices"][0]["delta"]["content"], "");
    assert!(before[1..].iter().all(|event| event["choices"][0]["delta"]["content"].is_string()));
    assert!(before.iter().all(|event| event["choices"][0]["finish_reason"].is_null()));
    assert_eq!((&last["choices"][0]["delta"], &last["choices"][0]["finish_reason"]), (&json!({}), &json!("stop")));
    assert!(events.iter().all(|event| event.get("usage").is_none() && event["id"] == events[0]["id"]));
}

#[test]
fn a_stream_tells_its_usage_last_and_only_when_asked() {
    let demo = demo();

    let events = ask(&demo, json!({"stream": true, "stream_options": {"include_usage": true}})).events();

    let (last, before) = events.split_last().unwrap();
    assert!(before.iter().all(|event| event.get("usage") == Some(&Value::Null)));
    assert_eq!(last["choices"], json!([]));
    let tokens =
        before.iter().filter(|event| event["choices"][0]["delta"]["content"].as_str().is_some_and(|c| !c.is_empty()));
    assert_eq!(last["usage"]["completion_tokens"], json!(tokens.count()));
}

#[test]
fn the_token_limit_cuts_with_length_and_a_stop_sequence_with_stop() {
    let demo = demo();

    let limited = ask(&demo, json!({"max_completion_tokens": 3})).json();
    let stopped = ask(&demo, json!({"stop": "demo provider"})).json();

    assert_eq!(limited["choices"][0]["finish_reason"], "length");
    assert_eq!(limited["usage"]["completion_tokens"], 3);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert!(!stopped["choices"][0]["message"]["content"].as_str().unwrap().contains("demo provider"));
}

#[test]
fn several_choices_are_told_apart_by_their_index_whole_and_streamed() {
    let demo = demo();

    let whole = ask(&demo, json!({"n": 3})).json();
    let streamed = ask(&demo, json!({"n": 3, "stream": true})).events();

    assert_eq!(whole["choices"].as_array().unwrap().len(), 3);
    for index in 0..3 {
        let of_choice = |event: &&Value| event["choices"][0]["index"] == json!(index);
        let finished = streamed.iter().filter(of_choice).filter(|event| event["choices"][0]["finish_reason"] == "stop");
        assert_eq!(finished.count(), 1, "choice {index}");
    }
}

#[test]
fn the_large_model_says_more_than_the_small_one() {
    let demo = demo();

    let tokens =
        |model: &str| ask(&demo, json!({"model": model})).json()["usage"]["completion_tokens"].as_u64().unwrap();

    assert!(tokens("demo-large") > 2 * tokens("demo-small"));
}

fn weather_tool() -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!({"type": "function", "function": {"name": "get_weather", "parameters": parameters}})
}

fn clock_tool() -> Value {
    json!({"type": "function", "function": {"name": "get_time"}})
}

fn question(text: &str, tools: Value) -> Value {
    json!({"messages": [{"role": "user", "content": text}], "tools": tools})
}

#[test]
fn a_tool_that_fits_the_question_is_called_with_arguments_from_it() {
    let demo = demo();

    let body = ask(&demo, question("How is the weather in Paris?", json!([clock_tool(), weather_tool()]))).json();

    let choice = &body["choices"][0];
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    assert_eq!(call["function"], json!({"name": "get_weather", "arguments": r#"{"city":"Paris"}"#}));
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
}

#[test]
fn a_forced_tool_without_parameters_is_called_with_an_empty_object() {
    let demo = demo();
    let mut more = question("How is the weather?", json!([weather_tool(), clock_tool()]));
    more["tool_choice"] = json!({"type": "function", "function": {"name": "get_time"}});

    let call = ask(&demo, more).json()["choices"][0]["message"]["tool_calls"][0].clone();

    assert_eq!(call["function"], json!({"name": "get_time", "arguments": "{}"}));
}

#[test]
fn streamed_calls_name_themselves_once_and_their_arguments_join_to_json() {
    let demo = demo();
    let mut more = question("Use get_weather for Paris and get_time.", json!([weather_tool(), clock_tool()]));
    more["stream"] = json!(true);

    let events = ask(&demo, more).events();

    let mut arguments = [String::new(), String::new()];
    let mut names = Vec::new();
    for delta in events.iter().filter_map(|event| event["choices"][0]["delta"].get("tool_calls")) {
        let call = &delta[0];
        names.extend(call["function"].get("name").cloned());
        assert_eq!(call.get("id").is_some(), call["function"].get("name").is_some());
        arguments[call["index"].as_u64().unwrap() as usize] += call["function"]["arguments"].as_str().unwrap();
    }
    assert_eq!(names, ["get_weather", "get_time"]);
    assert!(serde_json::from_str::<Value>(&arguments[0]).unwrap()["city"].is_string());
    assert_eq!(arguments[1], "{}");
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn after_a_tool_result_the_answer_is_text_that_uses_it() {
    let demo = demo();
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}});
    let messages = json!([
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
    ]);

    let body = ask(&demo, json!({"messages": messages, "tools": [weather_tool()]})).json();

    assert!(body["choices"][0]["message"]["content"].as_str().unwrap().contains("21 degrees"), "{body}");
}

#[test]
fn a_json_schema_gets_json_that_fits_it() {
    let demo = demo();
    let schema = json!({
        "type": "object",
        "properties": {"kind": {"enum": ["greeting", "question"]}, "score": {"type": "integer", "minimum": 1, "maximum": 5}},
        "required": ["kind", "score"],
        "additionalProperties": false,
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "verdict", "strict": true, "schema": schema}});

    let body = ask(&demo, json!({"response_format": format})).json();

    let content: Value = serde_json::from_str(body["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["kind"], "greeting");
    assert!((1..=5).contains(&content["score"].as_i64().unwrap()));
}

#[test]
fn json_mode_gets_a_json_object() {
    let demo = demo();

    let body = ask(&demo, json!({"response_format": {"type": "json_object"}})).json();

    let content: Value = serde_json::from_str(body["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert!(content.is_object());
}

#[test]
fn embeddings_as_base64_are_the_floats_in_little_endian() {
    let demo = demo();
    let embed = |more: Value| {
        let mut body = json!({"model": "demo-embed", "input": ["hello", "world"], "dimensions": 8});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Client::of(&demo).post("/v1/embeddings", &body).json()
    };

    let floats = embed(json!({}));
    let encoded = embed(json!({"encoding_format": "base64"}));

    let bytes =
        base64::engine::general_purpose::STANDARD.decode(encoded["data"][1]["embedding"].as_str().unwrap()).unwrap();
    let decoded: Vec<f32> = bytes.as_chunks().0.iter().map(|entry| f32::from_le_bytes(*entry)).collect();
    let plain: Vec<f32> = serde_json::from_value(floats["data"][1]["embedding"].clone()).unwrap();
    assert_eq!(decoded.len(), 8);
    assert_eq!(decoded, plain);
    assert_eq!(floats["usage"]["prompt_tokens"], floats["usage"]["total_tokens"]);
}

#[test]
fn embeddings_take_token_numbers_and_have_256_dimensions_by_default() {
    let demo = demo();

    let body = Client::of(&demo).post("/v1/embeddings", &json!({"model": "demo-embed", "input": [[1, 2], [3]]})).json();

    assert_eq!(body["data"][1]["embedding"].as_array().unwrap().len(), 256);
    assert_eq!(body["usage"]["prompt_tokens"], 3);
}

#[test]
fn legacy_completions_answer_whole_and_streamed() {
    let demo = demo();
    let ask = |stream: bool| {
        Client::of(&demo).post("/v1/completions", &json!({"model": "demo-small", "prompt": "Once", "stream": stream}))
    };

    let whole = ask(false).json()["choices"][0]["text"].clone();
    let streamed: String =
        ask(true).events().iter().map(|event| event["choices"][0]["text"].as_str().unwrap().to_owned()).collect();

    assert_eq!(whole, json!(streamed));
}

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
    let chunked = format!(
        "POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\na\r\n{left}\r\n{:x};x=y\r\n{right}\r\n0\r\nx: y\r\n\r\n",
        right.len()
    );

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
fn a_scripted_status_comes_with_the_error_and_headers_that_fit() {
    let demo = demo();
    let headers = vec![("retry-after".into(), "7".into()), ("x-ratelimit-remaining-requests".into(), "0".into())];
    let when = When { times: Some(1), key: Some("k1".into()), model: Some("demo-small".into()), ..When::default() };
    demo.script(vec![Rule { when, then: Behaviour { headers, ..Behaviour::status(429) } }]);
    let mut client = Client::of(&demo);
    let mut ask = || {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer k1";
        client.send(head, chat(json!({})).to_string().as_bytes());
        client.response().unwrap()
    };

    let refused = ask();
    let served = ask();

    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("7")));
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!((served.status, served.header("x-ratelimit-remaining-requests")), (200, None));
}

#[test]
fn a_request_brings_its_own_script() {
    let demo = demo();

    let response = ask(&demo, json!({"demo": {"status": 503}}));

    assert_eq!(response.status, 503);
    assert_eq!(response.json()["error"]["code"], "server_is_overloaded");
}

#[test]
fn a_cut_stream_ends_in_good_order_after_so_many_bytes_and_without_a_terminator() {
    let demo = scripted(Behaviour { cut_after: Some(500), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({"stream": true})).to_string().as_bytes());
    let head = client.head().unwrap();
    let mut bytes = 0;

    while let Ok(Some(chunk)) = client.chunk() {
        bytes += chunk.len();
    }

    assert_eq!((head.status, bytes), (200, 500));
    assert_eq!(client.rest(), (Vec::new(), false));
    assert_eq!(wait_for_ending(&demo, |ending| ending == Ending::Cut).status, Some(200));
}

#[test]
fn a_reset_arrives_as_a_reset_after_the_bytes_before_it() {
    let demo = scripted(Behaviour { reset_after: Some(20), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({})).to_string().as_bytes());
    client.head().unwrap();

    let (bytes, reset) = client.rest();

    assert_eq!((bytes.len(), reset), (20, true));
}

#[test]
fn a_stalled_stream_sends_its_share_then_notices_that_the_client_hangs_up() {
    let demo = scripted(Behaviour { stall_after: Some(300), close_delimited: true, ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({"stream": true})).to_string().as_bytes());
    client.head().unwrap();
    client.stream.read_exact(&mut [0; 300]).unwrap();
    assert_eq!(demo.exchanges()[0].ending, Ending::InProgress);

    drop(client);

    wait_for_ending(&demo, hung_up);
    block_on(demo.wait_for_open_connections(0));
}

#[test]
fn a_client_that_hangs_up_while_no_head_comes_is_noticed() {
    let demo = scripted(Behaviour { stall_head: true, ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({})).to_string().as_bytes());
    block_on(demo.wait_for(|exchanges| exchanges.len() == 1));

    client.stream.get_mut().shutdown(Shutdown::Both).unwrap();

    assert_eq!(wait_for_ending(&demo, hung_up).status, None);
}

#[test]
fn a_client_that_hangs_up_between_two_tokens_is_noticed_at_once() {
    let demo = scripted(Behaviour { per_token: Some(Duration::from_secs(3600)), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({"stream": true})).to_string().as_bytes());
    client.head().unwrap();
    client.chunk().unwrap();

    drop(client);

    let Ending::PeerClosed { after } = wait_for_ending(&demo, hung_up).ending else { unreachable!() };
    assert!(after < Duration::from_secs(10), "noticed after {after:?}");
}

#[test]
fn a_delay_holds_the_head_back() {
    let demo = scripted(Behaviour { delay: Some(Duration::from_millis(80)), ..Behaviour::default() });
    let begun = Instant::now();

    let response = ask(&demo, json!({}));

    assert!(begun.elapsed() >= Duration::from_millis(80));
    assert!(response.header("openai-processing-ms").unwrap().parse::<u64>().unwrap() >= 80);
}

#[test]
fn split_sends_the_body_byte_by_byte_and_loses_nothing() {
    let demo = scripted(Behaviour { split: Some(1), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({"stream": true})).to_string().as_bytes());
    let mut response = client.head().unwrap();

    while let Some(chunk) = client.chunk().unwrap() {
        assert_eq!(chunk.len(), 1);
        response.body.extend(chunk);
    }

    assert!(response.events().len() > 10);
}

#[test]
fn garbage_comes_instead_of_http_and_then_the_end() {
    let demo = scripted(Behaviour { garbage: Some("\u{1}what is HTTP?".into()), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("GET /v1/models HTTP/1.1", b"");

    assert_eq!(client.rest(), (b"\x01what is HTTP?".to_vec(), false));
}

#[test]
fn a_hang_up_without_an_answer_is_an_empty_garbage() {
    let demo = scripted(Behaviour { garbage: Some(String::new()), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("GET /v1/models HTTP/1.1", b"");

    assert_eq!(client.rest(), (Vec::new(), false));
    assert_eq!(wait_for_ending(&demo, |ending| ending == Ending::Cut).status, None);
}

#[test]
fn scripted_events_replace_the_answer_and_done_can_be_left_out() {
    let events = Some(vec![r#"{"a":1}"#.into(), r#"{"error":{"message":"x"}}"#.into()]);
    let demo = scripted(Behaviour { events, omit_done: true, ..Behaviour::default() });

    let response = ask(&demo, json!({"stream": true}));

    assert_eq!(response.body, b"data: {\"a\":1}\n\ndata: {\"error\":{\"message\":\"x\"}}\n\n");
}

#[test]
fn a_scripted_body_comes_as_it_is_with_its_content_type() {
    let demo = scripted(Behaviour {
        status: Some(502),
        body: Some("<html>".into()),
        content_type: Some("text/html".into()),
        chunked: true,
        ..Behaviour::default()
    });

    let response = ask(&demo, json!({}));

    assert_eq!((response.status, response.body.as_slice()), (502, &b"<html>"[..]));
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
}

#[test]
fn a_close_delimited_body_has_no_length_and_no_chunks() {
    let demo = scripted(Behaviour { close_delimited: true, ..Behaviour::default() });

    let response = ask(&demo, json!({}));

    assert_eq!(response.header("connection"), Some("close"));
    assert!(response.header("content-length").is_none() && response.header("transfer-encoding").is_none());
    assert!(response.json()["choices"].is_array());
}

#[test]
fn a_connection_is_closed_as_soon_as_it_is_accepted_and_the_next_one_is_served() {
    let demo = demo();
    let when = When { times: Some(1), ..When::default() };
    demo.script(vec![Rule { when, then: Behaviour { close_at_accept: true, ..Behaviour::default() } }]);

    assert_eq!(Client::of(&demo).rest(), (Vec::new(), false));
    assert_eq!(ask(&demo, json!({})).status, 200);
    assert_eq!((demo.connections_accepted(), demo.exchanges().len()), (2, 1));
}

#[test]
fn the_flaky_model_fails_now_and_then_and_the_same_way_with_the_same_seed() {
    let play = || {
        let demo = demo();
        let mut seen = Vec::new();
        for _ in 0..40 {
            let mut client = Client::of(&demo);
            client.send(
                "POST /v1/chat/completions HTTP/1.1",
                chat(json!({"model": "demo-flaky"})).to_string().as_bytes(),
            );
            seen.push(client.response().ok().map(|response| response.status));
        }
        seen
    };

    let seen = play();

    for wanted in [Some(200), Some(429), Some(500), Some(503), None] {
        assert!(seen.contains(&wanted), "{wanted:?} is missing in {seen:?}");
    }
    assert_eq!(seen, play());
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
