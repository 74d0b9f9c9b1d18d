//! Tools that take free text, before upstreams that know them and upstreams that do not.

use serde_json::{Value, json};

use crate::dialects::{KINDS, gateway};
use crate::harness::demo;

/// Returns the data of each event.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

#[test]
fn a_chat_client_gets_free_text_of_every_upstream_and_may_send_it_back() {
    for kind in KINDS {
        let demo = demo();
        let bursar = gateway(kind, &demo);
        let tools = json!([{"type": "custom", "custom": {"name": "note", "description": "Writes down"}}]);
        let user = json!({"role": "user", "content": "Note it."});
        let mut body = json!({"model": "m", "messages": [user], "tools": tools, "tool_choice": "required"});

        let whole = bursar.client().post("/v1/chat/completions", &body);
        body["stream"] = true.into();
        let streamed = bursar.client().post("/v1/chat/completions", &body);

        assert_eq!((whole.status, streamed.status), (200, 200), "{kind}: {} {}", whole.text(), streamed.text());
        let call = whole.json()["choices"][0]["message"]["tool_calls"][0].clone();
        let text = call["custom"]["input"].as_str().unwrap_or_else(|| panic!("{kind}: {}", whole.text()));
        assert!(call["type"] == "custom" && !text.is_empty() && !text.contains("\"input\""), "{kind}: {call}");
        let events = events(&streamed.text());
        let deltas = events.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]);
        let pieces = deltas.clone().filter_map(|delta| delta["custom"]["input"].as_str());
        assert_eq!(pieces.collect::<String>(), text, "{kind}: {}", streamed.text());
        assert!(deltas.clone().any(|delta| delta["type"] == "custom"), "{kind}: {}", streamed.text());
        let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "noted"});
        let calling = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        let body = json!({"model": "m", "messages": [user, calling, result], "tools": tools});
        let answer = bursar.client().post("/v1/chat/completions", &body);
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    }
}

#[test]
fn a_responses_client_gets_free_text_of_every_upstream_and_may_send_it_back() {
    for kind in KINDS {
        let demo = demo();
        let bursar = gateway(kind, &demo);
        let tools = json!([{"type": "custom", "name": "note", "description": "Writes down"}]);
        let user = json!({"role": "user", "content": "Note it."});
        let mut body = json!({"model": "m", "input": [user], "tools": tools, "tool_choice": "required"});

        let whole = bursar.client().post("/v1/responses", &body);
        body["stream"] = true.into();
        let streamed = bursar.client().post("/v1/responses", &body);

        assert_eq!((whole.status, streamed.status), (200, 200), "{kind}: {} {}", whole.text(), streamed.text());
        let output = whole.json()["output"].as_array().cloned().unwrap_or_default();
        let call = output.into_iter().find(|item| item["type"] == "custom_tool_call");
        let call = call.unwrap_or_else(|| panic!("{kind}: {}", whole.text()));
        let text = call["input"].as_str().unwrap_or_default();
        assert!(!text.is_empty() && !text.contains("\"input\""), "{kind}: {call}");
        let events = events(&streamed.text());
        let deltas = events.iter().filter(|event| event["type"] == "response.custom_tool_call_input.delta");
        assert_eq!(deltas.filter_map(|event| event["delta"].as_str()).collect::<String>(), text, "{kind}");
        let last = events.last().map(|event| event["response"]["output"].clone()).unwrap_or_default();
        let calls = |item: &&Value| item["type"] == "custom_tool_call" && item["input"] == text;
        assert!(last.as_array().is_some_and(|items| items.iter().any(|item| calls(&item))), "{kind}: {last}");
        let result = json!({"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "noted"});
        let body = json!({"model": "m", "input": [user, call, result], "tools": tools});
        let answer = bursar.client().post("/v1/responses", &body);
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    }
}
