//! Endpoints that nobody uses: asked for their models, found dead or without a key, and listed.

use std::time::Instant;

use bursar::demo::{Behaviour, Demo, DemoOptions, Exchange, Rule, When};
use serde_json::{Value, json};

use crate::client::{Client, chat};
use crate::harness::{ADMIN, Bursar, Closed, SOON, Setup, demo, wait_for, wait_for_hang_up};
use crate::process::Place;

fn probes(all: &[Exchange]) -> usize {
    all.iter().filter(|exchange| exchange.path == "/v1/models").count()
}

/// A demo whose path `path` behaves so.
fn at_path(path: &str, then: Behaviour) -> Demo {
    let demo = demo();
    demo.script(vec![Rule { when: When { path: Some(path.into()), ..When::default() }, then }]);
    demo
}

fn providers(client: &mut Client) -> Value {
    let bearer = format!("Bearer {ADMIN}");
    client.request("GET", "/admin/api/providers", &[("authorization", &bearer)], "").json()
}

/// Asks on one connection until the answer pleases, and returns it.
#[track_caller]
fn until<T: std::fmt::Debug>(bursar: &Bursar, ask: impl Fn(&mut Client) -> T, pleases: impl Fn(&T) -> bool) -> T {
    let (begun, mut client) = (Instant::now(), bursar.client());
    loop {
        let answer = ask(&mut client);
        if pleases(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < SOON, "it did not happen; last: {answer:?}");
    }
}

fn metric(client: &mut Client, outcome: &str) -> u64 {
    let metrics = client.get("/metrics").text();
    let series = format!("bursar_probes_total{{endpoint=\"a\",outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |value| value.parse().unwrap())
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[test]
fn a_quiet_endpoint_is_probed_again_and_again_with_its_key_and_no_lease() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).probes("1s").start();

    wait_for(&demo, |all| probes(all) >= 3);

    let seen = demo.exchanges();
    assert!(seen.iter().all(|exchange| exchange.method == "GET" && exchange.key.as_deref() == Some("sk-a-1")));
    assert!(seen.iter().all(|exchange| exchange.raw_body.is_empty()));
    let books = bursar.books();
    assert_eq!((books.granted, books.admitted), (0, 0));
    until(&bursar, |client| metric(client, "ok"), |count| *count >= 3);
}

#[test]
fn without_probes_no_upstream_is_asked_before_a_request_comes() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();

    assert_eq!(bursar.client().chat(&chat(json!({}))).status, 200);

    assert_eq!(probes(&demo.exchanges()), 0);
    assert_eq!(providers(&mut bursar.client())[0]["probe"], Value::Null);
}

#[test]
fn a_provider_that_is_not_to_be_probed_is_not() {
    let (one, two) = (demo(), demo());
    let bursar = Setup::over(&[&one, &two]).probes("1s").set("providers.a.probe=false").start();

    wait_for(&two, |all| probes(all) >= 2);

    assert!(one.exchanges().is_empty());
    assert_eq!(providers(&mut bursar.client())[0]["probe"], Value::Null);
}

#[test]
fn a_wrong_key_is_known_before_the_first_request() {
    let keys = vec!["sk-a-2".to_owned()];
    let demo = Demo::start(DemoOptions { keys, any_model: true, ..DemoOptions::default() }).unwrap();
    let bursar = Setup::over(&[&demo]).keys(2).probes("1h").start();

    let shown = until(&bursar, providers, |shown| shown[0]["probe"] == "ok");
    let answer = bursar.client().chat(&chat(json!({})));

    let states = [0, 1].map(|key| shown[0]["keys"][key]["state"].clone());
    assert_eq!(states, ["retired", "up"]);
    assert_eq!(shown[0]["keys"][0]["last_error"], "auth_invalid");
    assert_eq!((answer.status, answer.header("x-bursar-attempts")), (200, Some("1")));
    assert_eq!((metric(&mut bursar.client(), "auth_invalid"), metric(&mut bursar.client(), "ok")), (1, 1));
}

#[test]
fn an_open_breaker_is_not_closed_by_a_probe() {
    let demo = at_path("/chat/completions", Behaviour::status(500));
    let bursar = Setup::over(&[&demo])
        .probes("1s")
        .set("balancing.breaker.open_after=1")
        .set("balancing.breaker.open_for=\"1h\"")
        .set("balancing.breaker.open_for_max=\"1h\"")
        .start();
    assert_eq!(bursar.client().chat(&chat(json!({}))).status, 502);
    until(&bursar, providers, |shown| shown[0]["breaker"] == "open");

    let before = metric(&mut bursar.client(), "ok");
    until(&bursar, |client| metric(client, "ok"), |count| *count >= before + 2);

    assert_eq!(providers(&mut bursar.client())[0]["breaker"], "open");
    let refused = bursar.client().chat(&chat(json!({})));
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "no_healthy_target"));
}

#[test]
fn what_upstreams_list_is_listed_to_whoever_may_use_it() {
    let (one, two) = (demo(), at_path("/models", Behaviour::status(404)));
    let keys = "[[client_keys]]\nid = \"all\"\nvalue = \"all-models-0123456\"\n\
                [[client_keys]]\nid = \"few\"\nvalue = \"few-models-0123456\"\nmodels = [\"m\", \"a/demo-slow\"]\n";
    let bursar = Setup::over(&[&one, &two]).probes("1h").more(keys).start();
    let ask = |client: &mut Client, key: &str, path: &str| {
        client.request("GET", path, &[("authorization", &format!("Bearer {key}"))], "")
    };
    let get = |key: &str, path: &str| ask(&mut bursar.client(), key, path);

    let all =
        until(&bursar, |client| ask(client, "all-models-0123456", "/v1/models").json(), |list| ids(list).len() > 3);
    until(&bursar, providers, |shown| shown[1]["probe"] == "no_model_list");

    assert_eq!(
        ids(&all),
        ["m", "a/demo-small", "b/demo-small", "a/demo-embed", "a/demo-flaky", "a/demo-large", "a/demo-slow"]
    );
    assert_eq!(ids(&get("few-models-0123456", "/v1/models").json()), ["m", "a/demo-slow"]);
    let shown = get("all-models-0123456", "/v1/models/a/demo-slow").json();
    assert_eq!(
        (&shown["id"], &shown["owned_by"], &shown["object"]),
        (&json!("a/demo-slow"), &json!("a"), &json!("model"))
    );
    assert_eq!(get("few-models-0123456", "/v1/models/a/demo-large").status, 404);
    let listed = providers(&mut bursar.client());
    assert_eq!((&listed[0]["models"], &listed[1]["models"]), (&json!(5), &Value::Null));
    assert!(listed[1]["probe_error"].is_string(), "{listed}");
    assert_eq!(listed[1]["breaker"], "closed");
}

#[test]
fn a_list_larger_than_any_is_not_read_to_its_end() {
    let entry = format!("{{\"id\":\"{}\"}},", "x".repeat(200));
    let body = format!("{{\"data\":[{}{{\"id\":\"y\"}}]}}", entry.repeat(9 * 1024 * 1024 / entry.len()));
    let demo = at_path("/models", Behaviour { body: Some(body.into()), ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).probes("1h").start();

    let shown = until(&bursar, providers, |shown| !shown[0]["probe"].is_null());

    assert_eq!((&shown[0]["probe"], &shown[0]["models"]), (&json!("no_model_list"), &Value::Null));
    assert!(shown[0]["probe_error"].as_str().unwrap().contains("exceeds"), "{shown}");
}

#[test]
fn draining_gives_up_the_probe_that_is_out() {
    let demo = at_path("/models", Behaviour { stall_head: true, ..Behaviour::default() });
    let bursar = Setup::over(&[&demo]).probes("1s").start();
    wait_for(&demo, |all| all.len() == 1);

    bursar.gateway.drain.start();
    wait_for_hang_up(&demo);

    let metrics = bursar.client().get("/metrics").text();
    assert!(!metrics.contains("bursar_probes_total{"), "it was given up and not judged: {metrics}");
    assert_eq!(demo.exchanges().len(), 1);
}

#[test]
fn a_dead_endpoint_is_shown_as_such_before_anybody_asks_it() {
    let closed = Closed::port();
    let place = Place::with(&Setup::at(vec![closed.url.clone()]).probes("1h").file());
    let mut program = place.serve(&[]);

    program.wait_for_line("a probe of `a` failed");
    let list = |form: &str| String::from_utf8(place.run(&["providers", "list", "--output", form]).stdout).unwrap();

    let json: Value = serde_json::from_str(&list("json")).unwrap();
    assert_eq!((&json[0]["probe"], &json[0]["probe_key"]), (&json!("connect_failed"), &json!("a1")));
    assert!(json[0]["probe_error"].as_str().unwrap().contains("127.0.0.1"), "{json}");
    let csv = list("csv");
    assert!(csv.lines().next().unwrap().ends_with("LAST PROBE,PROBED (s ago)"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().contains(",connect_failed,"), "{csv}");
    let table = list("table");
    assert!(table.contains("LAST PROBE") && table.contains("connect_failed"), "{table}");
}
