//! What fails before any output is the gateway's own affair: another key, another endpoint, a fallback alias.

use std::time::{Duration, Instant, SystemTime};

use bursar::demo::{Behaviour, Demo, Ending, Rule, When};
use serde_json::{Value, json};

use crate::client::{Answer, chat, stream};
use crate::harness::{Bursar, Closed, Setup, at_first, demo, scripted};

fn keyed(key: &str, then: Behaviour) -> Demo {
    let demo = demo();
    demo.script(vec![Rule { when: When { key: Some(key.into()), ..When::default() }, then }]);
    demo
}

fn status_with(status: u16, name: &str, value: &str) -> Behaviour {
    Behaviour { headers: vec![(name.into(), value.into())], ..Behaviour::status(status) }
}

fn keys_used(demo: &Demo) -> Vec<String> {
    demo.exchanges().into_iter().filter_map(|exchange| exchange.key).collect()
}

/// Asks with more headers.
fn ask(bursar: &Bursar, headers: &[(&str, &str)], body: &Value) -> Answer {
    bursar.client().request("POST", "/v1/chat/completions", headers, &body.to_string())
}

#[test]
fn a_refused_key_costs_no_client_an_error_and_is_never_used_again() {
    let demo = keyed("sk-a-1", Behaviour::status(401));
    let bursar = Setup::over(&[&demo]).keys(3).set("balancing.strategy=ordered").start();

    for round in 0..10 {
        let body = if round % 2 == 0 { chat(json!({})) } else { stream(json!({})) };
        assert_eq!(ask(&bursar, &[], &body).status, 200);
    }

    let used = keys_used(&demo);
    assert_eq!(used.iter().filter(|key| *key == "sk-a-1").count(), 1, "{used:?}");
    assert_eq!(bursar.books().endings(), (10, 0, 0));
}

#[test]
fn a_throttled_key_rests_for_as_long_as_the_provider_says_and_another_serves_at_once() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
    for (name, value) in [("retry-after", "30"), ("retry-after", date.as_str()), ("retry-after-ms", "30000")] {
        let demo = keyed("sk-a-1", status_with(429, name, value));
        let bursar = Setup::over(&[&demo]).keys(2).set("balancing.strategy=ordered").start();

        let first = ask(&bursar, &[], &chat(json!({})));
        let second = ask(&bursar, &[], &chat(json!({})));

        assert_eq!((first.status, first.header("x-bursar-attempts")), (200, Some("2")), "{name}: {value}");
        assert_eq!((second.status, second.header("x-bursar-attempts")), (200, Some("1")), "{name}: {value}");
        assert_eq!(keys_used(&demo), ["sk-a-1", "sk-a-2", "sk-a-2"]);
        assert_eq!(bursar.books().endings(), (2, 0, 0));
    }
}

#[test]
fn a_key_without_quota_is_left_alone() {
    let quota = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
    let then = Behaviour { body: Some(quota.into()), ..Behaviour::status(429) };
    let demo = keyed("sk-a-1", then);
    let bursar = Setup::over(&[&demo]).keys(2).set("balancing.strategy=ordered").start();

    let statuses: Vec<u16> = (0..3).map(|_| ask(&bursar, &[], &chat(json!({}))).status).collect();

    assert_eq!(statuses, [200; 3]);
    assert_eq!(keys_used(&demo), ["sk-a-1", "sk-a-2", "sk-a-2", "sk-a-2"]);
    let keys = bursar.client().request("GET", "/admin/api/providers", &[("x-api-key", crate::harness::ADMIN)], "");
    assert_eq!(keys.json()[0]["keys"][0]["state"], "exhausted");
    assert!(keys.json()[0]["keys"][0]["back_in_s"].as_f64().unwrap() > 3_500.0);
}

#[test]
fn a_refused_connection_leads_to_another_endpoint_at_once() {
    let (closed, demo) = (Closed::port(), demo());
    let bursar = Setup::at(vec![closed.url.clone(), demo.base_url()]).keys(3).start();

    for body in [chat(json!({})), stream(json!({}))] {
        let answer = ask(&bursar, &[], &body);
        assert_eq!((answer.status, answer.header("x-bursar-attempts")), (200, Some("2")));
    }

    assert_eq!(bursar.books().endings(), (2, 0, 0));
}

#[test]
fn server_errors_lead_to_another_endpoint() {
    for status in [500, 502, 503, 504, 529] {
        let (failing, healthy) = (scripted(Behaviour::status(status)), demo());
        let bursar = Setup::over(&[&failing, &healthy]).start();

        for body in [chat(json!({})), stream(json!({}))] {
            let answer = ask(&bursar, &[], &body);
            assert_eq!((answer.status, answer.header("x-bursar-model")), (200, Some("b/demo-small")), "{status}");
        }

        assert_eq!(failing.exchanges().len(), 2, "{status}");
        assert_eq!(bursar.books().endings(), (2, 0, 0));
    }
}

#[test]
fn a_lone_endpoint_that_fails_once_is_asked_again() {
    for status in [500, 503] {
        let demo = at_first(1, Behaviour::status(status));
        let bursar = Setup::over(&[&demo]).start();

        let answer = ask(&bursar, &[], &chat(json!({})));

        assert_eq!((answer.status, answer.header("x-bursar-attempts")), (200, Some("2")), "{status}");
    }
}

#[test]
fn an_upstream_that_never_begins_is_given_up_for_another() {
    let silent = Behaviour { stall_head: true, ..Behaviour::default() };
    for (body, timeout) in [(chat(json!({})), "reply_timeout=150ms"), (stream(json!({})), "first_token_timeout=150ms")]
    {
        let (stalled, healthy) = (scripted(silent.clone()), demo());
        let bursar = Setup::over(&[&stalled, &healthy]).each(timeout).start();

        let answer = ask(&bursar, &[], &body);

        assert_eq!((answer.status, answer.header("x-bursar-model")), (200, Some("b/demo-small")));
        crate::harness::wait_for_hang_up(&stalled);
        assert_eq!(bursar.books().endings(), (1, 0, 0));
    }
}

/// Everything that may go wrong with an answer before the client has seen any of it.
fn broken_beginnings() -> Vec<(&'static str, Behaviour)> {
    let none = Behaviour::default;
    let html = "<!doctype html><html><body>Sign in to the network</body></html>";
    let error = r#"{"error":{"message":"boom","type":"server_error","param":null,"code":null}}"#;
    vec![
        ("hangs up without an answer", Behaviour { garbage: Some("".into()), ..none() }),
        ("resets before the head", Behaviour { garbage: Some("".into()), reset_after: Some(0), ..none() }),
        ("speaks no HTTP", Behaviour { garbage: Some("SSH-2.0-OpenSSH\r\n".into()), ..none() }),
        ("sends half a head", Behaviour { garbage: Some("HTTP/1.1 200 OK\r\ncontent-ty".into()), ..none() }),
        ("closes behind the head", Behaviour { cut_after: Some(0), ..none() }),
        ("cuts the first bytes", Behaviour { cut_after: Some(10), ..none() }),
        ("resets after the first bytes", Behaviour { reset_after: Some(10), ..none() }),
        ("answers 200 with an error", Behaviour { body: Some(error.into()), ..none() }),
        (
            "answers 200 with a web page",
            Behaviour { body: Some(html.into()), content_type: Some("text/html".into()), ..none() },
        ),
        ("answers 200 with nothing", Behaviour { body: Some("".into()), ..none() }),
        ("answers 204", Behaviour { status: Some(204), ..none() }),
        ("marks no end of the body", Behaviour { close_delimited: true, ..none() }),
        (
            "redirects",
            Behaviour { headers: vec![("location".into(), "http://127.0.0.1:9/".into())], status: Some(302), ..none() },
        ),
    ]
}

#[test]
fn an_answer_that_breaks_before_its_first_output_is_made_up_for_by_another_endpoint() {
    for (what, then) in broken_beginnings() {
        let (broken, healthy) = (scripted(then), demo());
        let bursar = Setup::over(&[&broken, &healthy]).start();

        let whole = ask(&bursar, &[], &chat(json!({})));
        let streamed = ask(&bursar, &[], &stream(json!({})));

        assert_eq!((whole.status, whole.header("x-bursar-attempts")), (200, Some("2")), "{what}: {whole:?}");
        assert_eq!((streamed.status, streamed.header("x-bursar-attempts")), (200, Some("2")), "{what}: {streamed:?}");
        assert!(streamed.is_done(), "{what}");
        assert_eq!(broken.exchanges().len(), 2, "{what}");
        assert_eq!(bursar.books().endings(), (2, 0, 0), "{what}");
    }
}

#[test]
fn with_nobody_else_left_a_broken_answer_becomes_a_clear_502() {
    for (what, then) in broken_beginnings() {
        let broken = scripted(then);
        let bursar = Setup::over(&[&broken]).set("balancing.retry.max_attempts=1").start();

        for body in [chat(json!({})), stream(json!({}))] {
            let answer = ask(&bursar, &[], &body);
            assert_eq!(answer.status, 502, "{what}: {answer:?}");
            assert!(answer.error_code().starts_with("upstream_"), "{what}: {answer:?}");
            assert_eq!(answer.header("x-should-retry"), Some("false"), "{what}");
        }

        assert_eq!(bursar.books().endings(), (0, 2, 0), "{what}");
    }
}

const FALLBACK: &str =
    "fallback = [\"spare\"]\n[models.alias.spare]\ntargets = [{ provider = \"b\", model = \"demo-large\" }]\n";

/// A gateway whose alias `m` has the first endpoint only, with the second behind the alias `spare`.
fn with_fallback(first: &Demo, second: &Demo) -> Bursar {
    let targets = "models.alias.m.targets=[{ provider = \"a\", model = \"demo-small\" }]";
    Setup::over(&[first, second]).more(FALLBACK).set(targets).start()
}

#[test]
fn a_fallback_alias_takes_over_and_is_named() {
    let (failing, spare) = (scripted(Behaviour::status(503)), demo());
    let bursar = with_fallback(&failing, &spare);

    let answer = ask(&bursar, &[], &chat(json!({})));

    assert_eq!((answer.status, answer.header("x-bursar-fallback")), (200, Some("spare")));
    assert_eq!(answer.header("x-bursar-model"), Some("b/demo-large"));
    assert_eq!(spare.exchanges()[0].model(), Some("demo-large"));
    assert_eq!(bursar.books().endings(), (1, 0, 0));
}

#[test]
fn a_client_may_forbid_the_fallback() {
    let (failing, spare) = (scripted(Behaviour::status(503)), demo());
    let bursar = with_fallback(&failing, &spare);

    let answer = ask(&bursar, &[("x-bursar-fallback", "off")], &chat(json!({})));

    assert_eq!((answer.status, answer.error_code().as_str()), (503, "server_is_overloaded"));
    assert!(spare.exchanges().is_empty());
}

#[test]
fn a_client_may_forbid_retries() {
    let (failing, healthy) = (scripted(Behaviour::status(500)), demo());
    let bursar = Setup::over(&[&failing, &healthy]).start();

    let answer = ask(&bursar, &[("x-bursar-retries", "0")], &chat(json!({})));

    assert_eq!((answer.status, failing.exchanges().len(), healthy.exchanges().len()), (502, 1, 0));
}

#[test]
fn while_every_key_rests_the_answer_is_an_immediate_503_with_the_time_to_wait() {
    let demo = scripted(status_with(429, "retry-after", "40"));
    let bursar = Setup::over(&[&demo]).keys(2).start();
    let throttled = ask(&bursar, &[], &chat(json!({})));

    let begun = Instant::now();
    let resting = ask(&bursar, &[], &chat(json!({})));
    let took = begun.elapsed();

    assert_eq!((throttled.status, throttled.error_code().as_str()), (429, "rate_limit_exceeded"));
    assert_eq!((resting.status, resting.error_code().as_str()), (503, "no_healthy_target"));
    let wait: u64 = resting.header("retry-after").unwrap().parse().unwrap();
    assert!((35..=40).contains(&wait), "{wait}");
    assert_eq!(demo.exchanges().len(), 2, "no call was made for the second");
    assert!(took < Duration::from_secs(10), "{took:?}");
    eprintln!("all keys resting: 503 after {took:?}");
    assert_eq!(bursar.books().endings(), (0, 2, 0));
}

#[test]
fn the_clients_own_faults_come_back_in_the_upstreams_words_after_one_call() {
    let body = |code: &str| json!({"error": {"message": "the words", "type": "invalid_request_error", "param": "messages", "code": code}});
    for (status, code, expected) in
        [(400, "context_length_exceeded", 400), (400, "unsupported_value", 400), (422, "invalid_value", 422)]
    {
        let then = Behaviour { body: Some(body(code).to_string().into()), ..Behaviour::status(status) };
        let (refusing, other) = (scripted(then), demo());
        let bursar = Setup::over(&[&refusing, &other]).keys(3).start();

        for request in [chat(json!({})), stream(json!({}))] {
            let answer = ask(&bursar, &[], &request);
            assert_eq!((answer.status, answer.error_code().as_str()), (expected, code));
            assert_eq!(answer.json()["error"]["message"], "the words");
            assert_eq!(answer.json()["error"]["param"], "messages");
        }

        assert_eq!((refusing.exchanges().len(), other.exchanges().len()), (2, 0));
        assert_eq!(bursar.books().endings(), (0, 2, 0));
    }
}

#[test]
fn a_deadline_ends_in_a_504_and_blames_no_endpoint() {
    let stalls = [
        ("no head", Behaviour { stall_head: true, ..Behaviour::default() }),
        ("no more after the first bytes", Behaviour { stall_after: Some(20), ..Behaviour::default() }),
    ];
    for (what, then) in stalls {
        for body in [chat(json!({})), stream(json!({}))] {
            let demo = scripted(then.clone());
            let bursar = Setup::over(&[&demo]).start();

            let answer = ask(&bursar, &[("x-bursar-timeout", "150ms")], &body);

            assert_eq!((answer.status, answer.error_code().as_str()), (504, "deadline_exceeded"), "{what}: {answer:?}");
            crate::harness::wait_for_hang_up(&demo);
            assert_eq!(bursar.books().endings(), (0, 1, 0), "{what}");
            assert_eq!(bursar.error_share("a"), 0.0, "{what}");
        }
    }
}

#[test]
fn a_clients_own_haste_moves_on_to_another_endpoint_and_blames_none() {
    let (slow, quick) = (scripted(Behaviour { stall_head: true, ..Behaviour::default() }), demo());
    let bursar = Setup::over(&[&slow, &quick]).start();

    for _ in 0..6 {
        let answer = ask(&bursar, &[("x-bursar-first-token-timeout", "40ms")], &stream(json!({})));
        assert_eq!((answer.status, answer.header("x-bursar-model")), (200, Some("b/demo-small")));
    }

    // Otherwise one hasty client could open the breaker for everybody.
    assert_eq!(slow.exchanges().len(), 6);
    assert_eq!(bursar.error_share("a"), 0.0);
    assert_eq!(bursar.books().endings(), (6, 0, 0));
}

#[test]
fn a_wait_beyond_all_clocks_is_no_wait_at_all() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();

    for name in ["x-bursar-first-token-timeout", "x-bursar-timeout"] {
        for value in ["18446744073709551615s", "500000000000y", "99999999h"] {
            let answer = ask(&bursar, &[(name, value)], &chat(json!({})));
            assert!(matches!(answer.status, 200 | 400), "{name}: {value}: {answer:?}");
        }
    }

    bursar.books();
}

#[test]
fn under_total_failure_the_retry_budget_bounds_what_the_upstreams_get() {
    let (one, two) = (scripted(Behaviour::status(500)), scripted(Behaviour::status(500)));
    let never = ["balancing.breaker.open_after=1000000", "balancing.breaker.min_requests=1000000"];
    let setup = never.iter().fold(Setup::over(&[&one, &two]), |setup, never| setup.set(never));
    let bursar = setup.start();
    let begun = Instant::now();

    const REQUESTS: usize = 300;
    let mut client = bursar.client();
    for _ in 0..REQUESTS {
        assert_eq!(client.chat(&chat(json!({}))).status, 502);
    }

    // A fifth of the requests, three a second, and the ten seconds' worth of those that a quiet gateway has saved up.
    let calls = one.exchanges().len() + two.exchanges().len();
    let allowed = REQUESTS as f64 * 1.2 + 30.0 + 3.0 * begun.elapsed().as_secs_f64();
    assert!(calls as f64 <= allowed + 1.0, "{calls} calls, {allowed} allowed");
    assert!(calls > REQUESTS, "{calls}");
    eprintln!("total failure: {calls} upstream calls for {REQUESTS} requests");
    let books = bursar.books();
    assert_eq!((books.endings(), books.granted), ((0, REQUESTS as u64, 0), calls as u64));
}

#[test]
fn an_endpoint_that_keeps_failing_is_left_alone() {
    let (failing, healthy) = (scripted(Behaviour::status(500)), demo());
    let bursar = Setup::over(&[&failing, &healthy]).start();

    for _ in 0..20 {
        assert_eq!(ask(&bursar, &[], &chat(json!({}))).status, 200);
    }

    assert_eq!(failing.exchanges().len(), 5, "the breaker opens after five failures in a row");
    assert!(failing.exchanges().iter().all(|exchange| exchange.ending == Ending::Complete));
    let metrics = bursar.client().get("/metrics").text();
    assert!(metrics.contains("bursar_endpoint_breaker_open{endpoint=\"a\"} 1"), "{metrics}");
}
