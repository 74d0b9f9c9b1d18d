//! What a client key may use: models, places, networks and time, and that no way leads around it.

use bursar::demo::Behaviour;
use serde_json::json;

use crate::client::{Answer, chat};
use crate::harness::{Bursar, Setup, demo, scripted};

const CHAT: &str = "/v1/chat/completions";
const KEY: &str = "client-key-of-the-tests-01";

fn ask(bursar: &Bursar, model: &str) -> Answer {
    let body = chat(json!({ "model": model })).to_string();
    bursar.client().request("POST", CHAT, &[("x-api-key", KEY)], &body)
}

fn listed(bursar: &Bursar) -> Vec<String> {
    let models = bursar.client().request("GET", "/v1/models", &[("x-api-key", KEY)], "").json();
    let data = models["data"].as_array().unwrap().clone();
    data.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

fn key(more: &str) -> String {
    format!("[[client_keys]]\nid = \"app\"\nteam = \"t\"\nvalue = \"{KEY}\"\n{more}\n")
}

#[test]
fn a_key_never_reaches_a_provider_outside_its_scope_not_even_when_the_other_fails() {
    let (failing, other) = (scripted(Behaviour::status(500)), demo());
    let more = format!("[teams.t]\nproviders = [\"a\"]\n{}", key(""));
    let bursar = Setup::over(&[&failing, &other]).more(&more).start();

    let answer = ask(&bursar, "m");
    let direct = ask(&bursar, "b/demo-small");

    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("`b`: not asked, the client key may not use it"), "{}", answer.text());
    assert_eq!((direct.status, direct.error_code().as_str()), (403, "target_not_allowed"));
    assert!(other.exchanges().is_empty());
    assert_eq!(listed(&bursar), ["m", "a/demo-small"]);
    bursar.books();
}

#[test]
fn a_fallback_outside_the_scope_is_no_fallback() {
    let (failing, other) = (scripted(Behaviour::status(500)), demo());
    let more = format!(
        "[models.alias.first]\ntargets = [{{ provider = \"a\", model = \"demo-small\" }}]\nfallback = [\"second\"]\n\
         [models.alias.second]\ntargets = [{{ provider = \"b\", model = \"demo-small\" }}]\n\
         [orgs.o]\nendpoints = [\"a*\"]\n[teams.t]\norg = \"o\"\n{}",
        key("")
    );
    let bursar = Setup::over(&[&failing, &other]).more(&more).start();

    assert_eq!(ask(&bursar, "first").status, 502);
    assert_eq!(ask(&bursar, "second").error_code(), "target_not_allowed");
    assert!(other.exchanges().is_empty());
    bursar.books();
}

#[test]
fn a_key_counts_only_in_its_networks_and_until_its_end() {
    let demo = demo();
    let with = |more: &str| Setup::over(&[&demo]).more(&format!("[teams.t]\n{}", key(more))).start();

    let inside = ask(&with("networks = [\"127.0.0.0/8\"]\nexpires = 2199-01-01"), "m");
    let outside = ask(&with("networks = [\"192.0.2.0/24\"]"), "m");
    let late = ask(&with("expires = 2020-01-01T00:00:00Z"), "m");

    assert_eq!(inside.status, 200, "{}", inside.text());
    assert_eq!((outside.status, outside.error_code().as_str()), (403, "network_not_allowed"));
    assert!(outside.text().contains("127.0.0.1"), "{}", outside.text());
    assert_eq!((late.status, late.error_code().as_str()), (401, "invalid_api_key"));
    assert_eq!(demo.exchanges().len(), 1);
}
