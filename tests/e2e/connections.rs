//! Connections to upstreams: reused where they can be, replaced where they died, never led elsewhere.

use std::sync::Arc;

use bursar::demo::{Behaviour, Rule, When};
use serde_json::json;

use crate::client::{chat, stream};
use crate::harness::{Setup, demo, scripted, wait_for};

#[test]
fn one_connection_serves_whole_answers_streams_and_errors_one_after_the_other() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    for round in 0..5 {
        assert!(client.chat(&stream(json!({}))).is_done(), "{round}");
        // The rest behind `[DONE]` is read in the background; the upstream has then ended the exchange.
        wait_for(&demo, |all| all.iter().all(|exchange| exchange.ending == bursar::demo::Ending::Complete));
        assert_eq!(client.chat(&chat(json!({}))).status, 200);
        let refused = json!({"demo": {"status": 400}});
        assert_eq!(client.chat(&chat(refused)).status, 400);
    }

    assert_eq!((demo.exchanges().len(), demo.connections_accepted()), (15, 1));
}

#[test]
fn a_connection_that_the_upstream_closed_meanwhile_is_replaced_without_a_trace() {
    // Everything is sent, then the connection closes, which a keep-alive answer does not announce.
    let demo = scripted(Behaviour { cut_after: Some(usize::MAX), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    for round in 1..=5 {
        let answer = client.chat(&chat(json!({})));
        assert_eq!((answer.status, answer.header("x-bursar-attempts")), (200, Some("1")), "{round}");
    }

    assert_eq!(demo.exchanges().len(), 5);
    assert_eq!(bursar.books().endings(), (5, 0, 0));
}

#[test]
fn an_old_connection_that_closes_under_a_request_is_retried_once_in_silence() {
    let demo = demo();
    let when = When { skip: 1, times: Some(1), ..When::default() };
    demo.script(vec![Rule { when, then: Behaviour { garbage: Some("".into()), ..Behaviour::default() } }]);
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();

    let first = client.chat(&chat(json!({})));
    let second = client.chat(&chat(json!({})));

    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(second.header("x-bursar-attempts"), Some("1"));
    assert_eq!((demo.exchanges().len(), demo.connections_accepted()), (3, 2));
    let books = bursar.books();
    assert_eq!((books.endings(), books.granted), ((2, 0, 0), 2));
}

#[test]
fn a_redirect_is_not_followed_and_the_key_stays_home() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = demo();
        let location = format!("{}/chat/completions", elsewhere.base_url());
        let headers = vec![("location".into(), location)];
        let demo = scripted(Behaviour { status: Some(status), headers, ..Behaviour::default() });
        let bursar = Setup::over(&[&demo]).start();

        let answer = bursar.client().chat(&chat(json!({})));

        assert_eq!((answer.status, answer.header("location")), (502, None), "{status}");
        assert_eq!(elsewhere.connections_accepted(), 0, "{status}");
    }
}

#[test]
fn more_than_a_hundred_calls_run_at_once_over_one_worker() {
    const CALLS: usize = 150;
    let demo = Arc::new(scripted(Behaviour { stall_head: true, ..Behaviour::default() }));
    let bursar = Setup::over(&[&demo]).start();

    let clients: Vec<_> = (0..CALLS)
        .map(|_| {
            let mut client = bursar.client();
            client.begin("POST", "/v1/chat/completions", &[], &chat(json!({})).to_string());
            client
        })
        .collect();

    wait_for(&demo, |all| all.len() == CALLS);
    drop(clients);
    assert_eq!(bursar.books().endings(), (0, 0, CALLS as u64));
}

#[test]
fn calls_beyond_an_endpoints_concurrency_are_refused_at_once_or_go_elsewhere() {
    let demo = scripted(Behaviour { stall_head: true, ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).each("max_concurrency=2").start();
    let mut held: Vec<_> = (0..2).map(|_| bursar.client()).collect();
    for client in &mut held {
        client.begin("POST", "/v1/chat/completions", &[], &chat(json!({})).to_string());
    }
    wait_for(&demo, |all| all.len() == 2);

    let third = bursar.client().chat(&chat(json!({})));

    assert_eq!((third.status, third.error_code().as_str()), (503, "no_healthy_target"));
    assert_eq!(third.header("retry-after"), Some("1"));
    drop(held);
    assert_eq!(bursar.books().endings(), (0, 1, 2));
}

#[test]
fn an_answer_of_small_pieces_is_passed_on_piece_by_piece() {
    let demo = scripted(Behaviour { per_token: Some(std::time::Duration::from_millis(3)), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    client.begin("POST", "/v1/chat/completions", &[], &stream(json!({})).to_string());
    client.head();

    let mut chunks = 0;
    while client.chunk().unwrap().is_some() {
        chunks += 1;
    }

    // Small writes that wait for each other's acknowledgement would arrive in a few large lumps.
    assert!(chunks > 10, "{chunks}");
}
