//! A stream that another upstream takes over behind the first one's preamble.

use std::collections::BTreeSet;

use bursar::demo::{Behaviour, Demo};
use serde_json::{Value, json};

use crate::dialects::KINDS;
use crate::harness::{Bursar, Setup, demo, scripted};

/// An upstream that says who speaks and no more.
fn speechless(event: &Value) -> Demo {
    scripted(Behaviour {
        events: Some(vec![event.to_string()]),
        stall_after: Some(1 << 20),
        omit_done: true,
        ..Behaviour::default()
    })
}

fn gateway(first: &Demo, kind: &str, second: &Demo) -> Bursar {
    let second_url = if kind == "anthropic" { second.base_url().replace("/v1", "") } else { second.base_url() };
    let first_url = first.base_url();
    let provider = |name: &str, kind: &str, url: &str| {
        format!(
            "[providers.{name}]\nkind = \"{kind}\"\nbase_url = \"{url}\"\nfirst_token_timeout = \"300ms\"\n\
             [[providers.{name}.keys]]\nid = \"k\"\nvalue = \"sk-u\"\n"
        )
    };
    let (a, b) = (provider("a", "openai", &first_url), provider("b", kind, &second_url));
    let targets = "{ provider = \"a\", model = \"demo-small\" }, { provider = \"b\", model = \"demo-small\" }";
    Setup::from_file(&format!(
        "[probes]\nevery = \"0s\"\n[balancing]\nstrategy = \"ordered\"\n{a}{b}[models.alias.m]\ntargets = [{targets}]\n"
    ))
    .start()
}

/// Returns every name that the events give the reply.
fn names(text: &str) -> BTreeSet<String> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let ids =
        events.flat_map(|event| [event["id"].clone(), event["response"]["id"].clone(), event["message"]["id"].clone()]);
    ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

#[test]
fn the_reply_keeps_the_name_that_was_announced() {
    let role = json!({"id": "chatcmpl-first", "object": "chat.completion.chunk", "created": 7, "model": "one",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]});
    let created = json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_first",
        "object": "response", "created_at": 7, "status": "in_progress", "model": "one", "output": []}});
    let said = json!([{"role": "user", "content": "Hi"}]);
    let cases = [
        ("/v1/chat/completions", &role, json!({"messages": said}), "chatcmpl-first", "[DONE]"),
        ("/v1/responses", &created, json!({"input": said}), "resp_first", "response.completed"),
        ("/v1/messages", &role, json!({"messages": said, "max_tokens": 99}), "msg_first", "message_stop"),
    ];
    for (path, preamble, mut body, name, end) in cases {
        for kind in KINDS {
            let (first, second) = (speechless(preamble), demo());
            let bursar = gateway(&first, kind, &second);
            (body["model"], body["stream"]) = ("m".into(), true.into());

            let answer = bursar.client().post(path, &body);

            let text = answer.text();
            assert_eq!((answer.status, second.exchanges().len()), (200, 1), "{path} {kind}: {text}");
            assert_eq!(names(&text), [name.to_owned()].into(), "{path} {kind}: {text}");
            assert!(text.contains(end), "{path} {kind}: {text}");
        }
    }
}
