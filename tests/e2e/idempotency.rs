//! Requests with an idempotency key: served once, answered again, and refused where neither is possible.

use std::time::Duration;

use bursar::demo::{Behaviour, Raw};
use serde_json::{Value, json};

use crate::books::Ledger;
use crate::client::{Answer, Client, chat, stream};
use crate::harness::{Setup, at_first, demo, scripted, until, wait_for, wait_for_hang_up};
use crate::process::Place;

const CHAT: &str = "/v1/chat/completions";

fn ask(client: &mut Client, key: &str, body: &Value) -> Answer {
    client.request("POST", CHAT, &[("idempotency-key", key)], &body.to_string())
}

#[test]
fn a_repeated_request_gets_the_same_answer_and_costs_nothing() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    let first = ask(&mut client, "order-1", &chat(json!({})));
    let again = ask(&mut client, "order-1", &chat(json!({})));
    let other = ask(&mut client, "order-2", &chat(json!({})));

    assert_eq!((first.status, again.status, other.status), (200, 200, 200));
    assert_eq!(first.header("x-bursar-idempotent-replay"), None);
    assert_eq!(again.header("x-bursar-idempotent-replay"), Some("true"));
    assert_eq!(again.header("x-bursar-idempotent-request"), first.header("x-bursar-request-id"));
    assert_ne!(again.header("x-bursar-request-id"), first.header("x-bursar-request-id"));
    assert_eq!(again.header("x-bursar-model"), first.header("x-bursar-model"));
    assert_eq!((&again.body, again.header("content-type")), (&first.body, first.header("content-type")));
    assert_eq!(demo.exchanges().len(), 2);
    let ledger = Ledger::settled(&bursar);
    let of = |answer: &Answer| {
        let id = answer.header("x-bursar-request-id").unwrap().to_owned();
        let of = |record: &&Value| record["request"] == id.as_str() && record["phase"] == "completed";
        ledger.records.iter().find(of).unwrap().clone()
    };
    let (first, again) = (of(&first), of(&again));
    let rule = format!("idempotent replay of request {}", first["request"].as_str().unwrap());
    assert_eq!(again["rules"], json!([rule]));
    assert_eq!(again["content"]["reply"], first["content"]["reply"], "the hash of the same bytes");
    assert!(again.get("tokens").is_none() && again.get("cost_nano").is_none(), "{again}");
}

#[test]
fn a_stream_is_replayed_event_by_event() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    let first = ask(&mut client, "s", &stream(json!({})));
    let again = ask(&mut client, "s", &stream(json!({})));

    assert!(first.is_done() && first.streamed_text().contains("demo provider"));
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(again.header("x-bursar-idempotent-replay"), Some("true"));
    assert_eq!(demo.exchanges().len(), 1);
    assert_eq!(bursar.books().endings(), (2, 0, 0));
}

#[test]
fn another_request_under_the_key_is_refused_in_the_callers_dialect() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    assert_eq!(ask(&mut client, "k", &chat(json!({}))).status, 200);

    let changed = ask(&mut client, "k", &chat(json!({"temperature": 0.5})));
    let message =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    let elsewhere = client.request("POST", "/v1/messages", &[("x-bursar-idempotency-key", "k")], &message);

    assert_eq!((changed.status, changed.error_code().as_str()), (422, "idempotency_key_reused"));
    assert_eq!(changed.header("x-should-retry"), Some("false"));
    assert_eq!((elsewhere.status, &elsewhere.json()["type"]), (422, &json!("error")));
    assert_eq!(demo.exchanges().len(), 1);
}

#[test]
fn the_second_waits_while_the_first_is_served_and_the_first_outlives_its_client() {
    let demo = scripted(Behaviour { delay: Some(Duration::from_millis(300)), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    client.begin("POST", CHAT, &[("idempotency-key", "k")], &chat(json!({})).to_string());
    wait_for(&demo, |all| all.len() == 1);

    let second = ask(&mut bursar.client(), "k", &chat(json!({})));
    drop(client);

    assert_eq!((second.status, second.error_code().as_str()), (409, "idempotency_key_in_use"));
    assert_eq!((second.header("retry-after"), second.header("x-should-retry")), (Some("5"), Some("true")));
    until("the answer is there", || {
        let answer = ask(&mut bursar.client(), "k", &chat(json!({})));
        answer.status == 200 && answer.header("x-bursar-idempotent-replay") == Some("true")
    });
    assert_eq!(demo.exchanges().len(), 1);
}

#[test]
fn a_stream_whose_client_hangs_up_is_kept_to_its_end() {
    let demo = scripted(Behaviour { per_token: Some(Duration::from_millis(5)), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    client.begin("POST", CHAT, &[("idempotency-key", "k")], &stream(json!({})).to_string());
    assert_eq!(client.head().status, 200);
    client.chunk().unwrap().expect("the first token");
    drop(client);

    until("the answer is there", || ask(&mut bursar.client(), "k", &stream(json!({}))).status == 200);

    assert!(ask(&mut bursar.client(), "k", &stream(json!({}))).is_done());
    assert_eq!(demo.exchanges().len(), 1);
}

#[test]
fn what_may_pass_is_not_kept_and_what_is_the_requests_own_fault_is() {
    let demo = at_first(1, Behaviour::status(429));
    let bursar = Setup::over(&[&demo]).set("balancing.retry.max_attempts=1").start();
    let mut client = bursar.client();
    assert_eq!(ask(&mut client, "k", &chat(json!({}))).status, 429);
    // The key of the upstream rests, which is no fault of the request either.
    assert_eq!(ask(&mut client, "k", &chat(json!({}))).header("x-bursar-idempotent-replay"), None);

    let demo = scripted(Behaviour::status(400));
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    let first = ask(&mut client, "k", &chat(json!({})));
    let again = ask(&mut client, "k", &chat(json!({})));
    assert_eq!((first.status, again.status), (400, 400));
    assert_eq!(again.header("x-bursar-idempotent-replay"), Some("true"));
    assert_eq!(demo.exchanges().len(), 1);
}

#[test]
fn a_stream_that_breaks_leaves_the_key_free() {
    let demo = at_first(1, Behaviour { error_after: Some(3), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    assert!(!ask(&mut client, "k", &stream(json!({}))).is_done());

    let again = ask(&mut client, "k", &stream(json!({})));

    assert!(again.is_done() && again.header("x-bursar-idempotent-replay").is_none());
    assert_eq!(demo.exchanges().len(), 2);
}

#[test]
fn keys_belong_to_the_client_key_and_have_to_be_readable() {
    let demo = demo();
    let bursar = Setup::over(&[&demo])
        .more(
            "[[client_keys]]\nid = \"one\"\nvalue = \"one-key-0123456789\"\n\
             [[client_keys]]\nid = \"two\"\nvalue = \"two-key-0123456789\"\n",
        )
        .start();
    let mut client = bursar.client();
    let mut ask = |caller: &str, key: &str| {
        let headers = [("x-api-key", caller), ("idempotency-key", key)];
        client.request("POST", CHAT, &headers, &chat(json!({})).to_string())
    };

    let own = [ask("one-key-0123456789", "k"), ask("two-key-0123456789", "k"), ask("one-key-0123456789", "k")];
    let too_long = ask("one-key-0123456789", &"k".repeat(256));
    let empty = ask("one-key-0123456789", " ");

    let replayed = own.map(|answer| answer.header("x-bursar-idempotent-replay").is_some());
    assert_eq!(replayed, [false, false, true]);
    assert_eq!((too_long.status, empty.status), (400, 400));
    assert_eq!(too_long.json()["error"]["param"], "idempotency-key");
    assert_eq!(demo.exchanges().len(), 2);
}

#[test]
fn an_answer_too_large_to_be_kept_is_said_to_be_so() {
    let text = "x".repeat(5 << 20);
    let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "demo", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"},
    ]});
    let demo = scripted(Behaviour { body: Some(Raw::from(body.to_string())), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    assert_eq!(ask(&mut client, "k", &chat(json!({}))).status, 200);

    let again = ask(&mut client, "k", &chat(json!({})));

    assert_eq!((again.status, again.error_code().as_str()), (409, "idempotency_answer_too_large"));
    assert_eq!(demo.exchanges().len(), 1);
}

#[test]
fn answers_outlive_the_program_and_what_a_kill_cut_off_is_not_repeated() {
    let demo = scripted(Behaviour::default());
    let place = Place::with(&Setup::over(&[&demo]).file());
    let program = place.serve(&[]);
    let first = ask(&mut program.client(), "done", &chat(json!({})));
    program.signal("TERM");
    assert!(program.wait().0.success());

    let program = place.serve(&[]);
    let again = ask(&mut program.client(), "done", &chat(json!({})));
    assert_eq!((&again.body, again.header("x-bursar-idempotent-replay")), (&first.body, Some("true")));
    demo.script(vec![bursar::demo::Rule {
        when: Default::default(),
        then: Behaviour { stall_head: true, ..Behaviour::default() },
    }]);
    let mut client = program.client();
    client.begin("POST", CHAT, &[("idempotency-key", "cut")], &chat(json!({})).to_string());
    wait_for(&demo, |all| all.len() == 2);
    program.signal("KILL");
    drop(program);
    wait_for_hang_up(&demo);

    let program = place.serve(&[]);
    let cut = ask(&mut program.client(), "cut", &chat(json!({})));
    assert_eq!((cut.status, cut.error_code().as_str()), (409, "idempotency_outcome_unknown"));
    assert_eq!(cut.header("x-should-retry"), Some("false"));
    assert_eq!(demo.exchanges().len(), 2);
}
