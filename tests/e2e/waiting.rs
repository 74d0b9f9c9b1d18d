//! A silent upstream must not look like a dead gateway: comments before the first token and between two.

use std::time::Duration;

use bursar::demo::Behaviour;
use serde_json::json;

use crate::client::stream;
use crate::harness::{Setup, at_first, demo, scripted};

const COMMENT: &str = ": keep-alive\n\n";

#[test]
fn comments_come_until_the_first_token_and_then_the_answer() {
    let demo = scripted(Behaviour { first_token: Some(Duration::from_millis(250)), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).set("server.sse_keepalive=30ms").start();

    let answer = bursar.client().chat(&stream(json!({})));

    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with(&COMMENT.repeat(2)), "{}", answer.text());
    assert!(answer.streamed_text().contains("demo provider") && answer.is_done());
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(bursar.books().endings(), (1, 0, 0));
}

#[test]
fn a_failure_after_the_comments_began_is_told_by_an_error_event() {
    let late = Behaviour { delay: Some(Duration::from_millis(120)), ..Behaviour::status(400) };
    let demo = scripted(late);
    let bursar = Setup::over(&[&demo]).set("server.sse_keepalive=30ms").start();

    let answer = bursar.client().chat(&stream(json!({})));

    assert_eq!((answer.status, answer.stream_error().as_str()), (200, "context_length_exceeded"));
    assert!(answer.text().starts_with(COMMENT));
    assert_eq!(bursar.books().endings(), (0, 1, 0));
}

#[test]
fn retries_go_on_behind_the_comments() {
    let late = Behaviour { delay: Some(Duration::from_millis(100)), ..Behaviour::status(503) };
    let (failing, healthy) = (scripted(late), demo());
    let bursar = Setup::over(&[&failing, &healthy]).set("server.sse_keepalive=20ms").start();

    let answer = bursar.client().chat(&stream(json!({})));

    assert!(answer.text().starts_with(COMMENT) && answer.is_done(), "{}", answer.text());
    assert_eq!(bursar.books().endings(), (1, 0, 0));
}

#[test]
fn a_silence_between_two_tokens_is_filled_with_comments() {
    let demo = at_first(1, Behaviour { per_token: Some(Duration::from_millis(15)), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).set("server.sse_keepalive=4ms").start();
    let mut client = bursar.client();

    let with = client.chat(&stream(json!({})));
    let without = client.chat(&stream(json!({})));

    assert!(with.text().contains(COMMENT) && with.is_done());
    assert_eq!(with.streamed_text(), without.streamed_text(), "no comment splits an event");
}
