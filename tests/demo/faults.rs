//! Every fault the demo provider can be scripted to have.

use std::io::Read;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bursar::demo::{Behaviour, Demo, DemoOptions, Ending, Rule, When};
use serde_json::json;

use crate::client::{Client, ask, block_on, chat, demo, hung_up, scripted, wait_for_ending};

#[test]
fn a_scripted_status_comes_with_the_error_and_headers_that_fit() {
    let demo = demo();
    let headers = vec![("retry-after".into(), "7".into()), ("x-ratelimit-remaining-requests".into(), "0".into())];
    let when = When { times: Some(1), key: Some("k1".into()), model: Some("demo-small".into()), ..When::default() };
    demo.script(vec![Rule { when, then: Behaviour { headers, ..Behaviour::status(429) } }]);
    let mut client = Client::of(&demo);
    let mut ask = || {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer k1";
        client.send(head, chat(json!({})).to_string().as_bytes());
        client.response().unwrap()
    };

    let refused = ask();
    let served = ask();

    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("7")));
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!((served.status, served.header("x-ratelimit-remaining-requests")), (200, None));
}

#[test]
fn a_request_brings_its_own_script() {
    let demo = demo();

    let response = ask(&demo, json!({"demo": {"status": 503}}));

    assert_eq!(response.status, 503);
    assert_eq!(response.json()["error"]["code"], "server_is_overloaded");
}

#[test]
fn a_cut_stream_ends_in_good_order_after_so_many_bytes_and_without_a_terminator() {
    let demo = scripted(Behaviour { cut_after: Some(500), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({"stream": true})).to_string().as_bytes());
    let head = client.head().unwrap();
    let mut bytes = 0;

    while let Ok(Some(chunk)) = client.chunk() {
        bytes += chunk.len();
    }

    assert_eq!((head.status, bytes), (200, 500));
    assert_eq!(client.rest(), (Vec::new(), false));
    assert_eq!(wait_for_ending(&demo, |ending| ending == Ending::Cut).status, Some(200));
}

#[test]
fn a_reset_arrives_as_a_reset_after_the_bytes_before_it() {
    let demo = scripted(Behaviour { reset_after: Some(20), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({})).to_string().as_bytes());
    client.head().unwrap();

    let (bytes, reset) = client.rest();

    assert_eq!((bytes.len(), reset), (20, true));
}

#[test]
fn a_stalled_stream_sends_its_share_then_notices_that_the_client_hangs_up() {
    let demo = scripted(Behaviour { stall_after: Some(300), close_delimited: true, ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({"stream": true})).to_string().as_bytes());
    client.head().unwrap();
    client.stream.read_exact(&mut [0; 300]).unwrap();
    assert_eq!(demo.exchanges()[0].ending, Ending::InProgress);

    drop(client);

    wait_for_ending(&demo, hung_up);
    block_on(demo.wait_for_open_connections(0));
}

#[test]
fn a_client_that_hangs_up_while_no_head_comes_is_noticed() {
    let demo = scripted(Behaviour { stall_head: true, ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({})).to_string().as_bytes());
    block_on(demo.wait_for(|exchanges| exchanges.len() == 1));

    client.stream.get_mut().shutdown(Shutdown::Both).unwrap();

    assert_eq!(wait_for_ending(&demo, hung_up).status, None);
}

#[test]
fn a_client_that_hangs_up_between_two_tokens_is_noticed_at_once() {
    let demo = scripted(Behaviour { per_token: Some(Duration::from_secs(3600)), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({"stream": true})).to_string().as_bytes());
    client.head().unwrap();
    client.chunk().unwrap();

    drop(client);

    let Ending::PeerClosed { after } = wait_for_ending(&demo, hung_up).ending else { unreachable!() };
    assert!(after < Duration::from_secs(10), "noticed after {after:?}");
}

#[test]
fn a_delay_holds_the_head_back() {
    let demo = scripted(Behaviour { delay: Some(Duration::from_millis(80)), ..Behaviour::default() });
    let begun = Instant::now();

    let response = ask(&demo, json!({}));

    assert!(begun.elapsed() >= Duration::from_millis(80));
    assert!(response.header("openai-processing-ms").unwrap().parse::<u64>().unwrap() >= 80);
}

#[test]
fn split_sends_the_body_byte_by_byte_and_loses_nothing() {
    let demo = scripted(Behaviour { split: Some(1), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({"stream": true})).to_string().as_bytes());
    let mut response = client.head().unwrap();

    while let Some(chunk) = client.chunk().unwrap() {
        assert_eq!(chunk.len(), 1);
        response.body.extend(chunk);
    }

    assert!(response.events().len() > 10);
}

#[test]
fn garbage_comes_instead_of_http_and_then_the_end() {
    let demo = scripted(Behaviour { garbage: Some("\u{1}what is HTTP?".into()), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("GET /v1/models HTTP/1.1", b"");

    assert_eq!(client.rest(), (b"\x01what is HTTP?".to_vec(), false));
}

#[test]
fn a_hang_up_without_an_answer_is_an_empty_garbage() {
    let demo = scripted(Behaviour { garbage: Some("".into()), ..Behaviour::default() });
    let mut client = Client::of(&demo);
    client.send("GET /v1/models HTTP/1.1", b"");

    assert_eq!(client.rest(), (Vec::new(), false));
    assert_eq!(wait_for_ending(&demo, |ending| ending == Ending::Cut).status, None);
}

#[test]
fn scripted_events_replace_the_answer_and_done_can_be_left_out() {
    let events = Some(vec![r#"{"a":1}"#.into(), r#"{"error":{"message":"x"}}"#.into()]);
    let demo = scripted(Behaviour { events, omit_done: true, ..Behaviour::default() });

    let response = ask(&demo, json!({"stream": true}));

    assert_eq!(response.body, b"data: {\"a\":1}\n\ndata: {\"error\":{\"message\":\"x\"}}\n\n");
}

#[test]
fn a_stream_breaks_off_with_an_error_and_without_done() {
    let demo = scripted(Behaviour { error_after: Some(2), ..Behaviour::default() });

    let body = String::from_utf8(ask(&demo, json!({"stream": true})).body).unwrap();

    let events: Vec<&str> = body.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 3);
    assert!(events[2].contains("server_is_overloaded"), "{body}");
}

#[test]
fn a_scripted_body_comes_as_it_is_with_its_content_type() {
    let demo = scripted(Behaviour {
        status: Some(502),
        body: Some("<html>".into()),
        content_type: Some("text/html".into()),
        chunked: true,
        ..Behaviour::default()
    });

    let response = ask(&demo, json!({}));

    assert_eq!((response.status, response.body.as_slice()), (502, &b"<html>"[..]));
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
}

#[test]
fn a_close_delimited_body_has_no_length_and_no_chunks() {
    let demo = scripted(Behaviour { close_delimited: true, ..Behaviour::default() });

    let response = ask(&demo, json!({}));

    assert_eq!(response.header("connection"), Some("close"));
    assert!(response.header("content-length").is_none() && response.header("transfer-encoding").is_none());
    assert!(response.json()["choices"].is_array());
}

#[test]
fn a_connection_is_closed_as_soon_as_it_is_accepted_and_the_next_one_is_served() {
    let demo = demo();
    let when = When { times: Some(1), ..When::default() };
    demo.script(vec![Rule { when, then: Behaviour { close_at_accept: true, ..Behaviour::default() } }]);

    assert_eq!(Client::of(&demo).rest(), (Vec::new(), false));
    assert_eq!(ask(&demo, json!({})).status, 200);
    assert_eq!((demo.connections_accepted(), demo.exchanges().len()), (2, 1));
}

#[test]
fn the_flaky_model_fails_now_and_then_and_the_same_way_with_the_same_seed() {
    let play = || {
        let demo = demo();
        let mut seen = Vec::new();
        for _ in 0..40 {
            let mut client = Client::of(&demo);
            client.send(
                "POST /v1/chat/completions HTTP/1.1",
                chat(json!({"model": "demo-flaky"})).to_string().as_bytes(),
            );
            seen.push(client.response().ok().map(|response| response.status));
        }
        seen
    };

    let seen = play();

    for wanted in [Some(200), Some(429), Some(500), Some(503), None] {
        assert!(seen.contains(&wanted), "{wanted:?} is missing in {seen:?}");
    }
    assert_eq!(seen, play());
}

#[test]
fn an_error_rate_of_one_fails_every_post_and_no_get() {
    let demo = Demo::start(DemoOptions { error_rate: 1.0, ..DemoOptions::default() }).unwrap();
    let mut client = Client::of(&demo);

    client.send("GET /v1/models HTTP/1.1", b"");

    assert_eq!(client.response().unwrap().status, 200);
    for _ in 0..8 {
        let mut client = Client::of(&demo);
        client.send("POST /v1/chat/completions HTTP/1.1", chat(json!({})).to_string().as_bytes());
        assert!(client.response().map_or(true, |response| response.status >= 429));
    }
}
