//! The gateway runs out of something of its own: it says so, blames no upstream, and goes on by itself.

use bursar::demo::{Behaviour, Demo, Rule, When};
use serde_json::{Value, json};

use crate::client::{Answer, Client, chat};
use crate::harness::{Books, Bursar, Setup, demo, wait_for};
use crate::process::Place;

/// A chat of about so many bytes.
fn large(bytes: usize) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "x".repeat(bytes)}]})
}

#[track_caller]
fn assert_overloaded(answer: &Answer) {
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "gateway_overloaded"), "{}", answer.text());
    assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("1"), Some("true")));
}

fn metric(bursar: &Bursar, name: &str) -> u64 {
    let metrics = bursar.client().get("/metrics").text();
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// An upstream that leaves its first requests without an answer, and two clients whose large bodies wait there.
fn with_two_waiting(then: Option<Behaviour>) -> (Demo, Bursar, [Client; 2]) {
    let demo = demo();
    let stall = Behaviour { stall_head: true, ..Behaviour::default() };
    let stall = Rule { when: When { times: Some(2), ..When::default() }, then: stall };
    let then = then.map(|then| Rule { when: When::default(), then });
    demo.script([Some(stall), then].into_iter().flatten().collect());
    let bursar = Setup::over(&[&demo]).set("server.memory_limit=3MiB").start();
    let waiting = [(); 2].map(|()| {
        let mut client = bursar.client();
        client.begin("POST", "/v1/chat/completions", &[], &large(400_000).to_string());
        client
    });
    wait_for(&demo, |all| all.len() == 2);
    (demo, bursar, waiting)
}

#[test]
fn a_body_that_finds_no_room_is_shed_until_there_is_room_again() {
    let (demo, bursar, waiting) = with_two_waiting(None);

    let shed = bursar.client().chat(&large(400_000));
    let small = bursar.client().chat(&chat(json!({})));

    assert_overloaded(&shed);
    assert_eq!(shed.header("connection"), Some("close"));
    assert_eq!(small.status, 200);
    assert_eq!(metric(&bursar, "bursar_requests_shed_total"), 1);
    assert!(metric(&bursar, "bursar_bodies_held_bytes") >= 4 * 400_000);
    assert_eq!(demo.exchanges().len(), 3);
    drop(waiting);
    assert_eq!(bursar.books().endings(), (1, 0, 2));
    assert_eq!(bursar.client().chat(&large(400_000)).status, 200);
    bursar.books();
    assert_eq!(metric(&bursar, "bursar_bodies_held_bytes"), 0);
}

#[test]
fn an_answer_that_finds_no_room_is_the_gateways_fault_and_not_the_upstreams() {
    let reply = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{
        "index": 0, "message": {"role": "assistant", "content": "x".repeat(700_000)}, "finish_reason": "stop"}]});
    let (demo, bursar, waiting) =
        with_two_waiting(Some(Behaviour { body: Some(reply.to_string().into()), ..Behaviour::default() }));

    for _ in 0..6 {
        assert_overloaded(&bursar.client().chat(&chat(json!({}))));
    }

    assert_eq!((demo.exchanges().len(), bursar.error_share("a")), (8, 0.0));
    drop(waiting);
    assert_eq!(bursar.books().endings(), (0, 6, 2));
    assert_eq!(bursar.client().chat(&chat(json!({}))).status, 200);
}

#[test]
fn many_clients_with_large_bodies_are_served_or_told_to_come_again() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).workers(2).set("server.memory_limit=4MiB").start();

    let (served, shed) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(|| bursar.client().chat(&large(500_000)))).collect();
        let answers = clients.into_iter().map(|client| client.join().unwrap());
        answers.fold((0, 0), |(served, shed), answer| match answer.status {
            200 => (served + 1, shed),
            _ => {
                assert_overloaded(&answer);
                (served, shed + 1)
            }
        })
    });

    assert!(served > 0, "{served} served, {shed} shed");
    assert_eq!(metric(&bursar, "bursar_requests_shed_total"), shed);
    assert_eq!(bursar.books().served, served);
    assert_eq!(metric(&bursar, "bursar_bodies_held_bytes"), 0);
}

/// Settings with one upstream, `demo`, by the address or name of this machine.
fn place(demo: &Demo, host: &str) -> Place {
    let upstream =
        format!("kind = \"openai_compatible\"\nbase_url = \"{}\"", demo.base_url().replace("127.0.0.1", host));
    let alias = "[models.alias.m]\ntargets = [{ provider = \"a\", model = \"demo-small\" }]";
    let key = "[[providers.a.keys]]\nid = \"a1\"\nvalue = \"sk-a-1\"";
    Place::with(&format!("[server]\nworkers = 1\n[providers.a]\n{upstream}\n{key}\n{alias}\n"))
}

/// Lets the program open no further file, or so many again.
#[cfg(target_os = "linux")]
fn limit_files(program: &crate::process::Program, files: u64) {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let pid = Pid::from_raw(program.id().try_into().unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
}

/// Fewer than are open, so that every further one is refused.
#[cfg(target_os = "linux")]
const NONE_LEFT: u64 = 3;

#[test]
#[cfg(target_os = "linux")]
fn a_call_for_which_no_file_is_left_blames_no_endpoint() {
    blames_no_endpoint("127.0.0.1");
}

#[test]
#[cfg(target_os = "linux")]
fn a_name_that_cannot_be_looked_up_for_want_of_files_is_looked_up_again() {
    blames_no_endpoint("localhost");
}

#[cfg(target_os = "linux")]
#[track_caller]
fn blames_no_endpoint(host: &str) {
    let demo = demo();
    let place = place(&demo, host);
    let program = place.serve(&[]);
    let mut client = program.client();
    assert_eq!(client.get("/healthz").status, 200);

    limit_files(&program, NONE_LEFT);
    // More than would open the breaker.
    for _ in 0..8 {
        assert_overloaded(&client.chat(&chat(json!({}))));
    }
    limit_files(&program, 500);

    assert_eq!(client.chat(&chat(json!({}))).status, 200);
    assert_eq!(Books::closed(program.client()).endings(), (1, 8, 0));
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("bursar_attempts_total{endpoint=\"a\",outcome=\"gateway_overloaded\"} 8"), "{metrics}");
    assert!(metrics.contains("bursar_endpoint_error_ratio{endpoint=\"a\"} 0\n"), "{metrics}");
}

#[test]
#[cfg(target_os = "linux")]
fn without_files_accepting_pauses_and_goes_on_by_itself() {
    let demo = demo();
    let place = place(&demo, "127.0.0.1");
    let mut program = place.serve(&[]);
    let mut old = program.client();
    assert_eq!(old.chat(&chat(json!({}))).status, 200);

    limit_files(&program, NONE_LEFT);
    let mut new = program.client();
    new.begin("GET", "/healthz", &[], "");
    program.wait_for_line("Error accepting connection");
    // The connection to the upstream is open already.
    assert_eq!(old.chat(&chat(json!({}))).status, 200);
    limit_files(&program, 500);

    assert_eq!(new.answer("GET").status, 200);
    assert_eq!(Books::closed(program.client()).endings(), (2, 0, 0));
}

#[test]
fn more_clients_than_files_wait_their_turn() {
    let demo = demo();
    let place = place(&demo, "127.0.0.1");
    let program = place.serve_with_files(128);
    let mut clients: Vec<_> = (0..200).map(|_| program.client()).collect();
    let body = chat(json!({}));

    for client in &mut clients {
        client.begin("POST", "/v1/chat/completions", &[("connection", "close")], &body.to_string());
    }
    for mut client in clients {
        assert_eq!(client.answer("POST").status, 200);
    }

    assert_eq!(Books::closed(program.client()).endings(), (200, 0, 0));
}
