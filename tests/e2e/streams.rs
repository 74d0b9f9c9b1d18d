//! A stream that breaks after its first output: an error event, no `[DONE]`, and no word twice.

use std::time::Duration;

use bursar::demo::{Behaviour, Demo, DemoOptions, Rule};
use serde_json::json;

use crate::client::stream;
use crate::harness::{Setup, demo, scripted};

fn chunk(content: &str) -> String {
    let delta = json!({"role": "assistant", "content": content});
    let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
    json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}).to_string()
}

fn finish() -> String {
    let choice = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
    json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}).to_string()
}

fn events(payloads: &[&str]) -> Behaviour {
    let events = payloads.iter().map(|payload| (*payload).to_owned()).collect();
    Behaviour { events: Some(events), ..Behaviour::default() }
}

fn error_event() -> String {
    json!({"error": {"message": "the engine died", "type": "server_error", "param": null, "code": null}}).to_string()
}

#[test]
fn a_stream_that_breaks_after_output_ends_in_an_error_event_and_is_not_begun_anew() {
    let (one, two) = (chunk("one "), chunk("two "));
    let whole = events(&[&one, &two, &finish()]);
    let after_two = one.len() + two.len() + 2 * "data: \n\n".len();
    let breaks = [
        ("cut", Behaviour { cut_after: Some(after_two), ..whole.clone() }),
        ("cut in the middle of an event", Behaviour { cut_after: Some(after_two + 9), ..whole.clone() }),
        ("reset", Behaviour { reset_after: Some(after_two), ..whole.clone() }),
        ("stall", Behaviour { stall_after: Some(after_two), ..whole.clone() }),
        ("error event", events(&[&one, &two, &error_event()])),
        ("no JSON", events(&[&one, &two, "{\"choices\": [oops"])),
        ("ends without a finish", Behaviour { omit_done: true, ..events(&[&one, &two]) }),
    ];
    for (what, then) in breaks {
        let (broken, other) = (scripted(then), demo());
        let bursar = Setup::over(&[&broken, &other]).each("idle_timeout=200ms").start();

        let answer = bursar.client().chat(&stream(json!({})));

        assert_eq!(answer.status, 200, "{what}");
        assert!(!answer.stream_error().is_empty(), "{what}: {}", answer.text());
        assert_eq!(answer.streamed_text(), "one two ", "{what}");
        assert!(other.exchanges().is_empty(), "{what}: no other upstream may say it again");
        assert_eq!(bursar.books().endings(), (0, 1, 0), "{what}");
        assert!(bursar.error_share("a") > 0.0, "{what}: the endpoint is to blame");
    }
}

#[test]
fn an_error_event_before_any_output_leads_to_another_upstream() {
    for payloads in [vec![error_event()], vec![]] {
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        let (broken, other) = (scripted(events(&payloads)), demo());
        let bursar = Setup::over(&[&broken, &other]).start();

        let answer = bursar.client().chat(&stream(json!({})));

        assert_eq!((answer.status, answer.header("x-bursar-attempts")), (200, Some("2")), "{payloads:?}");
        assert!(answer.is_done() && !answer.text().contains("error"), "{}", answer.text());
        assert_eq!(bursar.books().endings(), (1, 0, 0));
    }
}

fn opening() -> String {
    chunk("")
}

#[test]
fn what_comes_before_the_output_is_passed_on_at_once_and_another_upstream_may_still_answer() {
    let stalls =
        Behaviour { stall_after: Some(opening().len() + "data: \n\n".len()), ..events(&[&opening(), &finish()]) };
    // Whether the opening is read by itself or together with the error is chance.
    for (then, attempts) in [(stalls, Some("1")), (events(&[&opening(), &error_event()]), None)] {
        let (broken, other) = (scripted(then), scripted(events(&[&opening(), &chunk("all of it"), &finish()])));
        let bursar = Setup::over(&[&broken, &other]).each("first_token_timeout=150ms").start();

        let answer = bursar.client().chat(&stream(json!({})));

        assert!(answer.is_done() && !answer.text().contains("error"), "{}", answer.text());
        assert_eq!(answer.streamed_text(), "all of it");
        assert_eq!(answer.text().matches(&opening()).count(), 1, "{}", answer.text());
        if attempts.is_some() {
            assert_eq!(answer.header("x-bursar-attempts"), attempts, "the head went out with the first opening");
        }
        assert_eq!(bursar.books().endings(), (1, 0, 0));
    }
}

#[test]
fn a_failure_behind_the_opening_that_nobody_can_mend_comes_as_an_error_event() {
    let stalls =
        Behaviour { stall_after: Some(opening().len() + "data: \n\n".len()), ..events(&[&opening(), &finish()]) };
    let broken = scripted(stalls);
    let bursar = Setup::over(&[&broken]).each("first_token_timeout=100ms").start();
    let headers = [("x-bursar-retries", "0")];

    let answer = bursar.client().request("POST", "/v1/chat/completions", &headers, &stream(json!({})).to_string());

    assert_eq!(answer.status, 200);
    assert!(!answer.is_done() && !answer.stream_error().is_empty(), "{}", answer.text());
    assert_eq!(bursar.books().endings(), (0, 1, 0));
}

#[test]
fn a_stall_before_the_first_token_leads_to_another_upstream() {
    let then = Behaviour { first_token: Some(Duration::from_secs(3600)), ..Behaviour::default() };
    let head_only = Behaviour { stall_after: Some(0), ..Behaviour::default() };
    let role_only = Behaviour { stall_after: Some(60), ..Behaviour::default() };
    for then in [then, head_only, role_only] {
        let (stalled, other) = (scripted(then), demo());
        let bursar = Setup::over(&[&stalled, &other]).each("first_token_timeout=150ms").start();

        let answer = bursar.client().chat(&stream(json!({})));

        assert_eq!((answer.status, answer.header("x-bursar-model")), (200, Some("b/demo-small")));
        assert!(answer.is_done());
        crate::harness::wait_for_hang_up(&stalled);
        assert_eq!(bursar.books().endings(), (1, 0, 0));
    }
}

#[test]
fn a_stream_that_said_everything_but_done_is_complete() {
    let (one, end) = (chunk("all of it"), finish());
    let complete = events(&[&one, &end]);
    for then in [
        Behaviour { omit_done: true, ..complete.clone() },
        Behaviour { omit_done: true, cut_after: Some(usize::MAX), ..complete },
    ] {
        let bursar_demo = scripted(then);
        let bursar = Setup::over(&[&bursar_demo]).start();

        let answer = bursar.client().chat(&stream(json!({})));

        assert!(answer.is_done(), "{}", answer.text());
        assert_eq!(answer.streamed_text(), "all of it");
        assert_eq!(bursar.books().endings(), (1, 0, 0));
    }
}

#[test]
fn the_deadline_ends_a_running_stream_with_an_error_event_and_blames_no_endpoint() {
    let one = chunk("one ");
    let then = Behaviour { stall_after: Some(one.len() + 8), ..events(&[&one, &finish()]) };
    let demo = scripted(then);
    let bursar = Setup::over(&[&demo]).start();
    let headers = [("x-bursar-timeout", "200ms")];

    let answer = bursar.client().request("POST", "/v1/chat/completions", &headers, &stream(json!({})).to_string());

    assert_eq!((answer.status, answer.stream_error().as_str()), (200, "deadline_exceeded"));
    assert_eq!(answer.streamed_text(), "one ");
    crate::harness::wait_for_hang_up(&demo);
    assert_eq!(bursar.books().endings(), (0, 1, 0));
    assert_eq!(bursar.error_share("a"), 0.0);
}

#[test]
fn what_a_broken_stream_had_used_is_still_counted() {
    let usage = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}});
    let (one, usage) = (chunk("one"), usage.to_string());
    let length = one.len() + usage.len() + 2 * "data: \n\n".len();
    let demo = scripted(Behaviour { cut_after: Some(length), ..events(&[&one, &usage, &finish()]) });
    let bursar = Setup::over(&[&demo]).start();

    let answer = bursar.client().chat(&stream(json!({})));

    assert!(!answer.stream_error().is_empty());
    bursar.books();
    let metrics = bursar.client().get("/metrics").text();
    assert!(metrics.contains(r#"bursar_tokens_total{alias="m",kind="prompt",team="none"} 11"#), "{metrics}");
}

#[test]
fn a_flaky_upstream_never_makes_a_stream_end_in_silence() {
    let demo = Demo::start(DemoOptions { any_model: true, error_rate: 0.5, ..DemoOptions::default() }).unwrap();
    demo.script(vec![] as Vec<Rule>);
    let never = ["balancing.breaker.open_after=1000000", "balancing.breaker.min_requests=1000000"];
    let bursar = never.iter().fold(Setup::over(&[&demo]).keys(4), |setup, never| setup.set(never)).start();
    let mut client = bursar.client();

    let (mut good, mut bad) = (0, 0);
    for _ in 0..60 {
        let answer = client.chat(&stream(json!({})));
        match answer.status {
            200 if answer.is_done() => good += 1,
            200 => {
                answer.stream_error();
                bad += 1;
            }
            _ => {
                answer.error_code();
                bad += 1;
            }
        }
    }

    let books = bursar.books();
    assert_eq!((books.served, books.failed), (good, bad));
}
