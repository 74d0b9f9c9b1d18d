//! A client that hangs up ends its upstream call, wherever the request stands.

use std::time::{Duration, Instant};

use bursar::demo::{Behaviour, Demo};
use serde_json::{Value, json};

use crate::client::{Client, chat, stream};
use crate::harness::{Bursar, Setup, scripted, wait_for, wait_for_hang_up};

/// What the upstream call may outlive its client at most; measured it is a few milliseconds.
const PROMPTLY: Duration = Duration::from_secs(2);

fn begin(bursar: &Bursar, body: &Value) -> Client {
    let mut client = bursar.client();
    client.begin("POST", "/v1/chat/completions", &[], &body.to_string());
    client
}

/// Hangs up, and checks that the upstream notices and the books say so.
#[track_caller]
fn hang_up(client: Client, demo: &Demo, bursar: &Bursar, when: &str) {
    let begun = Instant::now();
    drop(client);
    wait_for_hang_up(demo);
    let took = begun.elapsed();

    eprintln!("hang-up {when}: the upstream is released after {took:?}");
    assert!(took < PROMPTLY, "{when}: {took:?}");
    assert_eq!(bursar.books().endings(), (0, 0, 1), "{when}");
    assert_eq!(demo.exchanges().len(), 1, "{when}: no retry for nobody");
}

#[test]
fn before_the_head_of_a_whole_answer() {
    let demo = scripted(Behaviour { stall_head: true, ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let client = begin(&bursar, &chat(json!({})));
    wait_for(&demo, |all| all.len() == 1);

    hang_up(client, &demo, &bursar, "before the head of a whole answer");
}

#[test]
fn before_the_head_of_a_stream() {
    let demo = scripted(Behaviour { stall_head: true, ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let client = begin(&bursar, &stream(json!({})));
    wait_for(&demo, |all| all.len() == 1);

    hang_up(client, &demo, &bursar, "before the head of a stream");
}

#[test]
fn in_the_middle_of_a_whole_answer() {
    let demo = scripted(Behaviour { stall_after: Some(50), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let client = begin(&bursar, &chat(json!({})));
    wait_for(&demo, |all| all.len() == 1);

    hang_up(client, &demo, &bursar, "in the middle of a whole answer");
}

#[test]
fn while_the_first_token_is_awaited() {
    let demo = scripted(Behaviour { first_token: Some(Duration::from_secs(3600)), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let client = begin(&bursar, &stream(json!({})));
    wait_for(&demo, |all| all.len() == 1);

    hang_up(client, &demo, &bursar, "while the first token is awaited");
}

#[test]
fn in_the_middle_of_a_stream() {
    let demo = scripted(Behaviour { per_token: Some(Duration::from_secs(3600)), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let mut client = begin(&bursar, &stream(json!({})));
    assert_eq!(client.head().status, 200);
    client.chunk().unwrap().expect("the first token");

    hang_up(client, &demo, &bursar, "in the middle of a stream");
}

#[test]
fn while_a_late_stream_gets_comments() {
    let demo = scripted(Behaviour { stall_head: true, ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).set("server.sse_keepalive=20ms").start();
    let mut client = begin(&bursar, &stream(json!({})));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().unwrap().unwrap(), b": keep-alive\n\n");

    hang_up(client, &demo, &bursar, "while a late stream gets comments");
}

#[test]
fn while_the_wait_before_a_retry_runs() {
    let demo = scripted(Behaviour::status(503));
    let bursar =
        Setup::over(&[&demo]).set("balancing.retry.backoff.base=1h").set("balancing.retry.backoff.max=1h").start();
    let client = begin(&bursar, &chat(json!({})));
    wait_for(&demo, |all| all.iter().any(|exchange| exchange.status == Some(503)));

    drop(client);

    let books = bursar.books();
    assert_eq!((books.endings(), demo.exchanges().len()), ((0, 0, 1), 1));
}

#[test]
fn a_client_that_reads_nothing_holds_back_the_upstream_instead_of_filling_memory() {
    let event = format!(
        "data: {{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\
         \"delta\":{{\"content\":\"{}\"}},\"finish_reason\":null}}]}}\n\n",
        "x".repeat(1000)
    );
    let body = event.repeat(30_000);
    let demo = scripted(Behaviour { body: Some(body.into()), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).start();
    let mut client = begin(&bursar, &stream(json!({})));
    assert_eq!(client.head().status, 200);
    client.chunk().unwrap().expect("the first event");

    // Other requests go on while this one's upstream waits for its reader.
    let mut other = bursar.client();
    for _ in 0..50 {
        assert_eq!(other.get("/healthz").status, 200);
    }

    hang_up(client, &demo, &bursar, "while thirty megabytes wait for their reader");
}
