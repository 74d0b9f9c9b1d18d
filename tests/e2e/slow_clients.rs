//! Clients that send slowly or not at all, and would hold a connection and its memory for ever.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::chat;
use crate::harness::{SOON, Setup, demo};
use crate::process::Place;

/// Between two bytes of a slow client; also its longest wait for an answer.
const TICK: Duration = Duration::from_millis(20);

#[test]
fn a_head_that_does_not_end_is_cut() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).set("server.client_timeout=2s").start();
    let mut slow = bursar.client();
    slow.send(b"GET /healthz HTTP/1.1\r\nhost: ");

    assert_eq!(bursar.client().get("/healthz").status, 200);
    let rest = slow.rest();

    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_body_that_stops_is_answered_with_a_408_and_closed() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).set("server.client_timeout=2s").start();
    let mut slow = bursar.client();
    slow.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"model\"");

    assert_eq!(bursar.client().chat(&chat(json!({}))).status, 200);
    let answer = slow.answer("POST");

    assert_eq!((answer.status, answer.error_code().as_str()), (408, "request_timeout"));
    assert_eq!((answer.header("connection"), answer.header("x-should-retry")), (Some("close"), Some("true")));
    assert!(slow.rest().is_empty());
    assert_eq!(bursar.books().endings(), (1, 0, 0));
}

#[test]
fn a_body_that_trickles_is_cut_although_no_pause_in_it_is_long() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).set("server.client_timeout=2s").start();
    let mut slow = TcpStream::connect(bursar.address).unwrap();
    slow.set_read_timeout(Some(TICK)).unwrap();
    slow.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n").unwrap();

    let (begun, mut sent, mut answer) = (Instant::now(), 0, [0; 512]);
    let length = loop {
        assert!(begun.elapsed() < SOON, "still taken after {sent} bytes");
        match slow.read(&mut answer) {
            Ok(length) => break length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
        sent += slow.write(b"x").unwrap();
    };

    assert!(answer[..length].starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer[..length]));
    assert!(sent > 1, "the first pause ended it");
    assert!(demo.exchanges().is_empty());
    bursar.books();
}

#[test]
fn hundreds_of_idle_connections_cost_little_and_keep_nobody_waiting() {
    const IDLE: usize = 400;
    const EACH_MAX: f64 = 64.0 * 1024.0;
    let place = Place::with("");
    let program = place.serve(&[]);
    let resident = || {
        let metrics = program.client().get("/metrics").text();
        let line = metrics.lines().find(|line| line.starts_with("process_resident_memory_bytes "));
        line.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    };
    assert_eq!(program.client().get("/healthz").status, 200);
    let before = resident();

    let mut idle: Vec<_> = (0..IDLE).map(|_| program.client()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/healthz").status, 200);
    }
    let after = resident();
    let mut served = chat(json!({}));
    served["model"] = "auto".into();

    assert_eq!(program.client().chat(&served).status, 200);
    for client in idle.iter_mut().step_by(50) {
        assert_eq!(client.get("/healthz").status, 200);
    }
    if let (Some(before), Some(after)) = (before, after) {
        let each = (after - before) / IDLE as f64;
        eprintln!("an idle connection costs {each:.0} bytes");
        assert!(each < EACH_MAX, "{each}");
    }
}
