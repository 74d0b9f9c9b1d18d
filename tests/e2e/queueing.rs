//! What a request does when no key is ready and the operator lets it wait.

use bursar::demo::Behaviour;
use serde_json::json;

use crate::client::{chat, stream};
use crate::harness::{Setup, at_first};

/// The upstream throttles its first call, for a second.
fn throttled_once() -> Behaviour {
    Behaviour { headers: vec![("retry-after-ms".into(), "1000".into())], ..Behaviour::status(429) }
}

#[test]
fn a_request_waits_for_the_soonest_key_and_says_how_long() {
    for request in [chat(json!({})), stream(json!({}))] {
        let demo = at_first(1, throttled_once());
        let bursar = Setup::over(&[&demo]).set("balancing.max_wait=\"5s\"").start();

        let answer = bursar.client().chat(&request);

        assert_eq!(answer.status, 200, "{}", answer.text());
        let queued_ms: u64 = answer.header("x-bursar-queued-ms").unwrap().parse().unwrap();
        assert!((1..=1001).contains(&queued_ms), "{queued_ms}");
        assert_eq!((answer.header("x-bursar-attempts"), demo.exchanges().len()), (Some("2"), 2));
        assert_eq!(bursar.books().endings(), (1, 0, 0));
    }
}

#[test]
fn nobody_waits_longer_than_the_operator_or_the_caller_allows() {
    let allowed = [("balancing.max_wait=\"100ms\"", None), ("balancing.max_wait=\"5s\"", Some("900ms"))];
    for (setting, deadline) in allowed {
        let demo = at_first(1, throttled_once());
        let bursar = Setup::over(&[&demo]).set(setting).start();
        let headers: Vec<_> = deadline.map(|deadline| ("x-bursar-timeout", deadline)).into_iter().collect();

        let body = chat(json!({})).to_string();
        let answer = bursar.client().request("POST", "/v1/chat/completions", &headers, &body);

        assert_eq!((answer.status, answer.error_code().as_str()), (429, "rate_limit_exceeded"));
        assert_eq!(demo.exchanges().len(), 1);
    }
}

#[test]
fn a_request_without_attempts_left_waits_for_nothing() {
    let demo = at_first(1, throttled_once());
    let bursar = Setup::over(&[&demo]).set("balancing.max_wait=\"5s\"").start();

    let body = chat(json!({})).to_string();
    let answer = bursar.client().request("POST", "/v1/chat/completions", &[("x-bursar-retries", "0")], &body);

    assert_eq!((answer.status, answer.error_code().as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(demo.exchanges().len(), 1);
}

#[test]
fn a_client_that_claims_endless_tokens_keeps_no_key_from_the_others() {
    let demo = crate::harness::demo();
    let key = "[[providers.a.keys]]\nid = \"only\"\nvalue = \"sk-a-only\"\ntpm = 100_000\n";
    let bursar = Setup::over(&[&demo]).keys(0).more(key).start();

    let greedy = bursar.client().chat(&chat(json!({ "max_tokens": u64::MAX })));
    let modest = bursar.client().chat(&chat(json!({})));

    assert!(greedy.status == 200 || greedy.status == 400, "{}", greedy.text());
    assert_eq!(modest.status, 200, "{}", modest.text());
}
