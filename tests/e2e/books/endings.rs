//! The end of the process with many streams, and what they cost while they run.

use std::time::Duration;

use bursar::demo::Behaviour;
use serde_json::json;

use super::{Ledger, Totals};
use crate::client::{Client, stream};
use crate::harness::{Setup, demo, scripted};
use crate::process::{Place, Program};

/// Returns how many streams run at once: `BURSAR_STREAMS`, or 200.
fn streams() -> usize {
    std::env::var("BURSAR_STREAMS").map_or(200, |text| text.parse().expect("a number"))
}

/// Opens streams, each of which has begun when this returns.
fn begun(program: &Program, count: usize) -> Vec<Client> {
    let begin = |_| {
        let mut client = program.client();
        client.begin("POST", "/v1/chat/completions", &[], &stream(json!({})).to_string());
        client
    };
    let mut clients: Vec<Client> = (0..count).map(begin).collect();
    for client in &mut clients {
        let head = client.head();
        if head.status != 200 {
            panic!("{}", client.try_body(head).unwrap().text());
        }
        client.chunk().unwrap().expect("it has begun");
    }
    clients
}

#[test]
fn at_the_end_of_the_process_every_stream_is_closed_in_the_books() {
    let count = streams();
    let endless = scripted(Behaviour { per_token: Some(Duration::from_secs(3600)), ..Behaviour::default() });
    let settings =
        Setup::over(&[&endless]).more("[server]\nshutdown_grace = \"1s\"\nmemory_limit = \"1GB\"\nworkers = 2\n");
    let place = Place::with(&settings.file());
    let program = place.serve(&["--set", "providers.a.max_concurrency=2000"]);
    let mut clients = begun(&program, count);
    // Some read nothing more, and some hang up.
    let unread = clients.split_off(count - count / 10);
    let gone = clients.split_off(clients.len() - count / 10);

    drop(gone);
    program.signal("TERM");
    for client in &mut clients {
        let mut body = Vec::new();
        while let Some(chunk) = client.chunk().expect("an end in good order") {
            body.extend(chunk);
        }
        assert!(String::from_utf8(body).unwrap().contains("\"code\":\"shutting_down\""));
    }

    let (status, log) = program.wait();
    drop(unread);
    assert_eq!(status.code(), Some(0), "{log}");
    let ledger = Ledger::at_rest(&place.data());
    let totals = ledger.totals();
    let expected =
        Totals { admitted: count as u64, failed: totals.failed, cancelled: totals.cancelled, ..Totals::default() };
    assert_eq!(totals, expected, "{log}");
    assert_eq!(totals.failed + totals.cancelled, count as u64);
    assert_eq!(ledger.records.last().unwrap()["phase"], "stop");
    ledger.is_signed(&place);
}

#[test]
fn a_second_process_gets_no_hold_of_the_books() {
    let demo = demo();
    let place = Place::with(&Setup::over(&[&demo]).file());
    let program = place.serve(&[]);
    assert_eq!(program.client().chat(&stream(json!({}))).status, 200);

    let second = place.run(&["serve", "--listen", "127.0.0.1:0"]);

    let told = String::from_utf8(second.stderr).unwrap();
    assert!(second.status.code() == Some(1) && told.contains("another bursar runs with the data directory"), "{told}");
    program.signal("TERM");
    assert_eq!(program.wait().0.code(), Some(0));
    let ledger = Ledger::at_rest(&place.data());
    assert_eq!(ledger.records.iter().filter(|record| record["phase"] == "start").count(), 1);
    ledger.is_signed(&place);
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_kept_of_many_long_streams_is_bounded() {
    const STREAMED: usize = 512 * 1024;
    const MIB: f64 = 1024.0 * 1024.0;
    let event = |text: &str| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": null}]})
    };
    let events = (0..80).map(|_| event(&"long ".repeat(2_000)).to_string()).collect();
    let endless =
        scripted(Behaviour { events: Some(events), stall_after: Some(STREAMED + 64 * 1024), ..Behaviour::default() });
    let books = "[audit]\ncontent = \"full\"\ncontent_max = \"16KB\"\n[server]\nworkers = 1\n";
    let place = Place::with(&Setup::over(&[&endless]).more(books).file());
    let program = place.serve(&[]);
    let figure = |name: &str| {
        let metrics = program.client().get("/metrics").text();
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let before = figure("process_resident_memory_bytes");

    let mut clients = begun(&program, 200);
    for client in &mut clients {
        let (mut heard, mut last) = (0, String::new());
        while heard < STREAMED {
            let chunk = client.chunk().unwrap().unwrap_or_else(|| panic!("it ended after {heard} bytes: {last}"));
            heard += chunk.len();
            last = String::from_utf8_lossy(&chunk[chunk.len().saturating_sub(300)..]).into_owned();
        }
    }
    let grown = figure("process_resident_memory_bytes") - before;

    eprintln!("200 streams of {STREAMED} bytes, 16 KB kept of each: {:.1} MiB more", grown / MIB);
    assert!(grown < 64.0 * MIB, "{:.1} MiB more", grown / MIB);
    assert_eq!(figure("bursar_requests_in_flight"), 200.0);
    let counted = figure("bursar_bodies_held_bytes");
    assert!((200.0 * 16_000.0..=200.0 * 66_000.0).contains(&counted), "{counted} bytes are counted");
    drop(clients);
    let begun = std::time::Instant::now();
    while figure("bursar_requests_in_flight") > 0.0 {
        assert!(begun.elapsed() < crate::harness::SOON, "the streams do not end");
    }
    assert_eq!(figure("bursar_bodies_held_bytes"), 0.0);
}
