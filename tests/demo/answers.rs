//! What the demo provider answers: text, tool calls, structured outputs, embeddings; whole and streamed.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::client::{Client, ask, demo};

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

#[test]
fn reasoning_is_shown_beside_the_answer_and_counted() {
    let demo = demo();

    let whole = ask(&demo, json!({"reasoning_effort": "low"})).json();
    let streamed = ask(&demo, json!({"reasoning_effort": "low", "stream": true})).events();

    let joined: String =
        streamed.iter().filter_map(|event| event["choices"][0]["delta"]["reasoning_content"].as_str()).collect();
    assert_eq!(whole["choices"][0]["message"]["reasoning_content"], json!(joined));
    assert!(whole["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn keywords_bring_a_refusal_or_the_filter_and_an_image_is_acknowledged() {
    let demo = demo();
    let choice = |content: Value| {
        ask(&demo, json!({"messages": [{"role": "user", "content": content}]})).json()["choices"][0].clone()
    };

    let refused = choice(json!("demo:refuse"));
    let blocked = choice(json!("demo:block"));
    let seen =
        choice(json!([{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "https://x"}}]));

    assert_eq!((&refused["message"]["content"], &refused["finish_reason"]), (&Value::Null, &json!("stop")));
    assert!(refused["message"]["refusal"].is_string());
    assert_eq!(blocked["finish_reason"], "content_filter");
    assert!(seen["message"]["content"].as_str().unwrap().contains("1 image"), "{seen}");
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
        "properties": {
            "kind": {"enum": ["greeting", "question"]},
            "score": {"type": "integer", "minimum": 1, "maximum": 5},
        },
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
