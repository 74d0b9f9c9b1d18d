//! The demo provider as clients of OpenAI's Responses see it.

use bursar::demo::{Behaviour, Demo};
use serde_json::{Value, json};

use crate::client::{Client, Response, demo, extended, named_events, scripted};

fn ask(demo: &Demo, more: Value) -> Response {
    let body = extended(json!({"model": "demo-small", "input": "Hello from ada@example.org"}), more);
    Client::of(demo).post("/v1/responses", &body)
}

fn refusal(demo: &Demo, more: Value) -> (Value, Value) {
    let response = ask(demo, more);
    let body = response.json();
    assert_eq!(response.status, 400, "{body}");
    (body["error"]["code"].clone(), body["error"]["param"].clone())
}

fn function(name: &str) -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!({"type": "function", "name": name, "parameters": parameters})
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> =
        events.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect();
    kinds.dedup();
    kinds
}

#[test]
fn a_stream_has_its_events_in_order_and_ends_with_the_whole_response() {
    let demo = demo();
    let more = json!({"reasoning": {"effort": "low", "summary": "auto"}});

    let whole = ask(&demo, more.clone()).json();
    let events = named_events(&ask(&demo, extended(more, json!({"stream": true}))));

    let text = ["content_part.added", "output_text.delta", "output_text.done", "content_part.done"];
    let summary = [
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ];
    let item = |inner: [&'static str; 4]| {
        ["output_item.added"].into_iter().chain(inner).chain(["output_item.done"]).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&events), [vec!["created", "in_progress"], item(summary), item(text), vec!["completed"]].concat());
    assert!(events.iter().enumerate().all(|(number, event)| event["sequence_number"] == number));
    let last = &events.last().unwrap()["response"];
    let said = |response: &Value| response["output"][1]["content"][0]["text"].clone();
    assert!(said(&whole).as_str().unwrap().contains("ada@example.org"));
    assert_eq!((said(last), &last["usage"], &last["status"]), (said(&whole), &whole["usage"], &json!("completed")));
    let usage = &whole["usage"];
    assert!(usage["output_tokens_details"]["reasoning_tokens"].as_u64().unwrap() > 0);
    assert_eq!(
        usage["total_tokens"].as_u64().unwrap(),
        usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap()
    );
}

#[test]
fn functions_are_called_in_parallel_and_their_outputs_answered() {
    let demo = demo();
    let question = json!({"role": "user", "content": "Use get_weather for Paris and get_time."});
    let more = json!({"tools": [function("get_weather"), function("get_time")], "input": [question]});

    let called = ask(&demo, more.clone()).json()["output"].clone();
    let events = named_events(&ask(&demo, extended(more.clone(), json!({"stream": true}))));

    assert_eq!((&called[0]["name"], &called[1]["name"]), (&json!("get_weather"), &json!("get_time")));
    let arguments = |index: usize| -> String {
        let of_call = events.iter().filter(|event| event["output_index"] == index);
        of_call.filter_map(|event| event["delta"].as_str()).collect()
    };
    assert_eq!(
        (json!(arguments(0)), json!(arguments(1))),
        (called[0]["arguments"].clone(), called[1]["arguments"].clone())
    );
    let output = |index: usize| json!({"type": "function_call_output", "call_id": called[index]["call_id"], "output": format!("result {index}")});
    let history = |outputs: Vec<Value>| {
        let items: Vec<Value> =
            [question.clone(), called[0].clone(), called[1].clone()].into_iter().chain(outputs).collect();
        extended(more.clone(), json!({"input": items}))
    };
    let answered = ask(&demo, history(vec![output(0), output(1)])).json();
    assert!(answered["output"][0]["content"][0]["text"].as_str().unwrap().contains("result 1"), "{answered}");
    assert_eq!(refusal(&demo, history(vec![output(0)])), (json!("invalid_value"), json!("input")));
    let mut foreign = history(vec![output(0), output(1)]);
    foreign["input"][1]["id"] = json!("call_1");
    assert_eq!(refusal(&demo, foreign), (json!("invalid_value"), json!("input[1].id")));
}

#[test]
fn reasoning_must_come_back_as_it_went() {
    let demo = demo();
    let reasoning = ask(&demo, json!({"reasoning": {"effort": "high"}})).json()["output"][0].clone();
    let user = json!({"role": "user", "content": "Again"});
    let mut forged = reasoning.clone();
    forged["encrypted_content"] = json!("Zm9yZ2Vk");
    let mut bare = reasoning.clone();
    bare.as_object_mut().unwrap().remove("encrypted_content");

    assert_eq!((&reasoning["type"], &reasoning["summary"]), (&json!("reasoning"), &json!([])));
    assert_eq!(ask(&demo, json!({"input": [reasoning, user]})).status, 200);
    assert_eq!(refusal(&demo, json!({"input": [forged, user]})).0, "invalid_encrypted_content");
    assert_eq!(ask(&demo, json!({"input": [bare, user]})).status, 404);
}

#[test]
fn an_answer_ends_incomplete_at_its_limit_and_at_the_filter_and_may_be_a_refusal() {
    let demo = demo();

    let limited = named_events(&ask(&demo, json!({"max_output_tokens": 16, "stream": true})));
    let blocked = ask(&demo, json!({"input": "demo:block"})).json();
    let refused = named_events(&ask(&demo, json!({"input": "demo:refuse", "stream": true})));

    let last = limited.last().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["usage"]["output_tokens"]),
        (&json!("response.incomplete"), &json!(16))
    );
    assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(blocked["incomplete_details"]["reason"], "content_filter");
    assert!(kinds(&refused).windows(2).any(|pair| pair == ["refusal.delta", "refusal.done"]));
}

#[test]
fn a_schema_gets_json_that_fits_it() {
    let demo = demo();
    let format = |schema: Value| json!({"text": {"format": {"type": "json_schema", "name": "x", "strict": true, "schema": schema}}});
    let mut schema = json!({"type": "object", "properties": {"city": {"const": "Paris"}}, "required": ["city"]});

    let open = refusal(&demo, format(schema.clone()));
    schema["additionalProperties"] = json!(false);

    assert_eq!(open.0, "invalid_function_parameters");
    assert_eq!(ask(&demo, format(schema)).json()["output"][0]["content"][0]["text"], r#"{"city":"Paris"}"#);
}

#[test]
fn what_openai_refuses_is_refused() {
    let demo = demo();
    let wrong = |more: Value| refusal(&demo, more);
    let invalid = |param: &str| (json!("invalid_value"), json!(param));
    let part = |role: &str, kind: &str| json!({"input": [{"role": role, "content": [{"type": kind, "text": "a"}]}]});

    assert_eq!(wrong(json!({"messages": []})), (json!("unknown_parameter"), json!("messages")));
    assert_eq!(wrong(json!({"tools": [{"type": "magic"}]})), invalid("tools[0].type"));
    let nested = json!({"type": "function", "function": {"name": "f"}});
    assert_eq!(wrong(json!({"tools": [nested]})), (json!("missing_required_parameter"), json!("tools[0].name")));
    assert_eq!(wrong(part("assistant", "input_text")), invalid("input[0].content[0]"));
    assert_eq!(wrong(part("user", "text")), invalid("input[0].content[0]"));
    assert_eq!(wrong(part("tool", "input_text")), invalid("input[0].role"));
    assert_eq!(wrong(json!({"max_output_tokens": 1})), (json!("integer_below_min_value"), json!("max_output_tokens")));
    assert_eq!(wrong(json!({"previous_response_id": "resp_1"})).0, "previous_response_not_found");
    assert_eq!(ask(&demo, part("user", "input_text")).status, 200);
}

#[test]
fn a_stream_breaks_off_with_an_error_event() {
    let demo = scripted(Behaviour { error_after: Some(3), ..Behaviour::default() });

    let events = named_events(&ask(&demo, json!({"stream": true})));

    assert_eq!((&events[3]["type"], &events[3]["sequence_number"], events.len()), (&json!("error"), &json!(3), 4));
}
