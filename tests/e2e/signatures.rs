//! Vendors sign thoughts and calls; an upstream that takes a signature for another's must not end a conversation.

use bursar::demo::{Behaviour, Demo};
use serde_json::{Value, json};

use crate::dialects::gateway;
use crate::harness::{at_first, scripted};

fn refusing(message: &str) -> Behaviour {
    let error = json!({"error": {"type": "invalid_request_error", "message": message}});
    Behaviour { body: Some(error.to_string().into()), ..Behaviour::status(400) }
}

const ANTHROPICS: &str = "messages.1.content.0: Invalid `signature` in `thinking` block";

/// A conversation whose thinking nobody signed that the demo knows.
fn messages(stream: bool) -> Value {
    json!({"model": "m", "max_tokens": 2000, "stream": stream, "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [
            {"role": "user", "content": "How is Rome?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"}, {"type": "text", "text": "Sunny."}]},
            {"role": "user", "content": "And Oslo?"}]})
}

fn bodies(demo: &Demo) -> Vec<String> {
    demo.exchanges().into_iter().map(|exchange| exchange.body.to_string()).collect()
}

#[test]
fn a_refused_signature_costs_the_thoughts_and_not_the_request() {
    for stream in [false, true] {
        let demo = at_first(1, refusing(ANTHROPICS));
        let bursar = gateway("anthropic", &demo);

        let answer = bursar.client().post("/v1/messages", &messages(stream));

        assert_eq!((answer.status, answer.header("x-bursar-attempts")), (200, Some("1")), "{}", answer.text());
        let [refused, taken] = &bodies(&demo)[..] else { panic!("{:?}", bodies(&demo)) };
        assert!(refused.contains("c2lnbmVk") && !taken.contains("c2lnbmVk"), "{taken}");
        assert!(taken.contains("Sunny.") && taken.contains("budget_tokens"), "{taken}");
        assert_eq!(bursar.books().endings(), (1, 0, 0));
    }
}

#[test]
fn a_signature_that_gemini_refuses_gives_way_to_the_stand_in() {
    let demo = at_first(1, refusing("Corrupted thought signature."));
    let bursar = gateway("gemini", &demo);
    let call = json!({"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "Y29ycnVwdA=="}}});
    let body = json!({"model": "u/gemini-3-flash", "messages": [{"role": "user", "content": "How is Rome?"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]});

    let answer = bursar.client().post("/v1/chat/completions", &body);

    assert_eq!(answer.status, 200, "{}", answer.text());
    let [refused, taken] = &bodies(&demo)[..] else { panic!("{:?}", bodies(&demo)) };
    assert!(refused.contains("Y29ycnVwdA==") && !taken.contains("Y29ycnVwdA=="), "{taken}");
    assert!(taken.contains("skip_thought_signature_validator"), "{taken}");
}

#[test]
fn who_refuses_without_signatures_too_is_not_asked_again() {
    let demo = scripted(refusing(ANTHROPICS));
    let bursar = gateway("anthropic", &demo);

    let answer = bursar.client().post("/v1/messages", &messages(false));

    assert_eq!((answer.status, bodies(&demo).len()), (400, 2), "{}", answer.text());
    assert!(answer.text().contains("signature"), "{}", answer.text());
}
