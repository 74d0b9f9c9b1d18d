//! The end of the process: nothing new begins, what runs may finish, and whoever cannot is told.

use std::time::Duration;

use bursar::demo::{Behaviour, Demo, DemoOptions};
use serde_json::json;

use crate::client::{Client, chat, stream};
use crate::harness::{Setup, demo, scripted, wait_for};
use crate::process::{Place, Program};

/// The program over one upstream.
fn serve(demo: &Demo, grace: &str) -> (Place, Program) {
    let settings = Setup::over(&[demo]).more(&format!("[server]\nshutdown_grace = \"{grace}\"\nworkers = 1\n")).file();
    let place = Place::with(&settings);
    let program = place.serve(&[]);
    (place, program)
}

fn begin(program: &Program, body: &serde_json::Value) -> Client {
    let mut client = program.client();
    client.begin("POST", "/v1/chat/completions", &[], &body.to_string());
    client
}

#[test]
fn a_running_stream_finishes_after_sigterm_and_the_program_ends_well() {
    let slow = DemoOptions { any_model: true, per_token: Duration::from_millis(10), ..DemoOptions::default() };
    let demo = Demo::start(slow).unwrap();
    let (_place, mut program) = serve(&demo, "20s");
    let mut streaming = begin(&program, &stream(json!({})));
    assert_eq!(streaming.head().status, 200);
    let mut body = streaming.chunk().unwrap().unwrap();

    program.signal("TERM");
    program.wait_for_line("stopping");
    while let Some(chunk) = streaming.chunk().unwrap() {
        body.extend(chunk);
    }

    let text = String::from_utf8(body).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("\"message\":\"stopped\""), "{log}");
}

#[test]
fn idle_connections_do_not_hold_the_end() {
    let demo = demo();
    let (_place, program) = serve(&demo, "60s");
    let mut used = program.client();
    assert_eq!(used.chat(&chat(json!({}))).status, 200);
    let fresh = program.client();

    let begun = std::time::Instant::now();
    program.signal("TERM");
    let (status, _) = program.wait();

    eprintln!("with idle connections the program ended after {:?}", begun.elapsed());
    assert_eq!(status.code(), Some(0));
    drop((used, fresh));
}

#[test]
fn whoever_outlasts_the_grace_is_told_so() {
    let mid_stream = Behaviour { per_token: Some(Duration::from_secs(3600)), ..Behaviour::default() };
    let no_head = Behaviour { stall_head: true, ..Behaviour::default() };
    let (talking, silent) = (scripted(mid_stream), scripted(no_head));
    let settings = Setup::over(&[&talking, &silent])
        .more("[server]\nshutdown_grace = \"300ms\"\nsse_keepalive = \"100ms\"\nworkers = 1\n");
    let place = Place::with(&settings.file());
    let program = place.serve(&[]);
    let mut running = begin(&program, &stream(json!({})));
    assert_eq!(running.head().status, 200);
    let mut late = begin(&program, &stream(json!({"model": "b/x"})));
    assert_eq!(late.head().status, 200);
    let mut whole = begin(&program, &chat(json!({"model": "b/x"})));
    wait_for(&silent, |all| all.len() == 2);

    program.signal("TERM");
    let ends = [&mut running, &mut late].map(|client| {
        let mut body = Vec::new();
        while let Some(chunk) = client.chunk().expect("an end in good order") {
            body.extend(chunk);
        }
        String::from_utf8(body).unwrap()
    });
    let whole = whole.answer("POST");

    for end in ends {
        assert!(end.contains("\"code\":\"shutting_down\"") && !end.contains("[DONE]"), "{end}");
    }
    assert_eq!((whole.status, whole.error_code().as_str()), (503, "shutting_down"));
    assert_eq!(whole.header("connection"), Some("close"));
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let demo = scripted(Behaviour { stall_head: true, ..Behaviour::default() });
    let (_place, mut program) = serve(&demo, "60s");
    let client = begin(&program, &chat(json!({})));
    wait_for(&demo, |all| all.len() == 1);

    program.signal("TERM");
    program.wait_for_line("stopping");
    program.signal("INT");

    let (status, _) = program.wait();
    assert_eq!(status.code(), Some(0));
    drop(client);
}

#[test]
fn while_draining_readiness_is_lost_and_new_requests_are_sent_elsewhere() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    assert_eq!(bursar.client().get("/readyz").status, 200);

    bursar.gateway.drain.start();

    assert_eq!(bursar.client().get("/readyz").status, 503);
    assert_eq!(bursar.client().get("/healthz").status, 200);
    let refused = bursar.client().chat(&chat(json!({})));
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "shutting_down"));
    assert_eq!((refused.header("x-should-retry"), refused.header("connection")), (Some("true"), Some("close")));
    assert!(demo.exchanges().is_empty());
}
