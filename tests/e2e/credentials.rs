//! Keys whose credentials expire, in a whole gateway: used, renewed, refused, exchanged by a reload, and shown nowhere.

use std::time::Instant;

use bursar::demo::{Behaviour, Demo, DemoOptions, Raw, Rule, When};
use serde_json::{Value, json};

use crate::client::{Answer, chat};
use crate::harness::{ADMIN, Bursar, SOON, Setup, demo, wait_for};
use crate::process::Place;

const SECRET: &str = "canary-client-secret-4811";

/// Who gives tokens: these answers in turn, the last one for ever.
fn issuer(answers: Vec<Behaviour>) -> Demo {
    let demo = demo();
    let last = answers.len() - 1;
    let rule = |(at, then): (usize, Behaviour)| {
        let times = (at < last).then_some(1);
        Rule { when: When { path: Some("/t/oauth2/v2.0/token".into()), times, ..When::default() }, then }
    };
    demo.script(answers.into_iter().enumerate().map(rule).collect());
    demo
}

fn token(token: &str, life_s: u64) -> Behaviour {
    let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": life_s });
    Behaviour { body: Some(Raw(body.to_string().into())), ..Behaviour::status(200) }
}

/// An entry for a key of provider `a`.
fn entra(issuer: &Demo) -> String {
    let authority = issuer.base_url().trim_end_matches("/v1").to_owned();
    format!(
        "[[providers.a.keys]]\nid = \"entra\"\n\
         entra = {{ tenant = \"t\", client_id = \"c\", client_secret = \"{SECRET}\", authority = \"{authority}\" }}\n"
    )
}

fn ask(bursar: &Bursar) -> Answer {
    bursar.client().chat(&chat(json!({})))
}

/// Chats until an answer pleases.
#[track_caller]
fn ask_until(bursar: &Bursar, pleases: impl Fn(&Answer) -> bool) {
    let begun = Instant::now();
    loop {
        let answer = ask(bursar);
        if pleases(&answer) {
            return;
        }
        assert!(begun.elapsed() < SOON, "it did not happen; last: {} {}", answer.status, answer.text());
    }
}

fn keys_used(upstream: &Demo) -> Vec<String> {
    upstream.exchanges().into_iter().filter_map(|exchange| exchange.key).collect()
}

fn key_state(bursar: &Bursar, key: &str) -> Value {
    let bearer = format!("Bearer {ADMIN}");
    let shown = bursar.client().request("GET", "/admin/api/providers", &[("authorization", &bearer)], "").json();
    let keys = shown[0]["keys"].as_array().unwrap().clone();
    keys.into_iter().find(|shown| shown["key"] == key).unwrap_or_default()
}

#[test]
fn a_token_serves_until_it_expires_and_then_the_other_key_does() {
    let upstream = demo();
    let issuer = issuer(vec![token("token-1", 2), Behaviour::status(503)]);
    let bursar = Setup::over(&[&upstream])
        .keys(0)
        .more(&entra(&issuer))
        .more("[[providers.a.keys]]\nid = \"static\"\nvalue = \"sk-static\"\n")
        .set("balancing.strategy=ordered")
        .start();

    let seen = |key: &str| keys_used(&upstream).iter().any(|used| used == key);
    ask_until(&bursar, |answer| answer.status == 200 && seen("token-1"));
    let before = keys_used(&upstream).len();
    ask_until(&bursar, |answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        keys_used(&upstream).last().is_some_and(|key| key == "sk-static")
    });

    assert!(keys_used(&upstream).len() > before);
    assert_eq!(key_state(&bursar, "entra")["last_error"], "credential_pending");
    bursar.books();
}

#[test]
fn a_refused_token_never_retires_its_key() {
    let keys = vec!["token-2".to_owned()];
    let upstream = Demo::start(DemoOptions { keys, any_model: true, ..DemoOptions::default() }).unwrap();
    let issuer = issuer(vec![token("token-1", 3600)]);
    let bursar = Setup::over(&[&upstream]).keys(0).more(&entra(&issuer)).start();

    ask_until(&bursar, |_| keys_used(&upstream).iter().any(|used| used == "token-1"));
    let refused = ask(&bursar);

    assert_eq!(refused.status, 503, "{}", refused.text());
    let shown = key_state(&bursar, "entra");
    assert_eq!((&shown["state"], &shown["last_error"]), (&json!("resting"), &json!("credential_pending")), "{shown}");
}

#[test]
fn without_a_token_the_client_is_told_to_come_again() {
    let upstream = demo();
    let issuer = issuer(vec![Behaviour { stall_head: true, ..Behaviour::default() }]);
    let bursar = Setup::over(&[&upstream]).keys(0).more(&entra(&issuer)).start();

    let answer = ask(&bursar);

    assert_eq!((answer.status, answer.error_code().as_str()), (503, "upstream_credential"), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("true"));
    assert!(upstream.exchanges().is_empty());
}

#[test]
fn a_reload_brings_a_credential_and_takes_another_away() {
    let upstream = demo();
    let (old, new) = (issuer(vec![token("token-old", 3600)]), issuer(vec![token("token-new", 3600)]));
    let setup = Setup::over(&[&upstream]).keys(0);
    let plain = setup.file();
    let bursar = setup.more(&entra(&old)).start();
    ask_until(&bursar, |answer| answer.status == 200);

    bursar.write(&(plain + &entra(&new)));
    let bearer = format!("Bearer {ADMIN}");
    let reloaded = bursar.client().request("POST", "/admin/api/reload", &[("authorization", &bearer)], "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    ask_until(&bursar, |answer| answer.status == 200);

    let used = keys_used(&upstream);
    assert_eq!((used[0].as_str(), used.last().map(String::as_str)), ("token-old", Some("token-new")));
    assert_eq!((old.exchanges().len(), new.exchanges().len()), (1, 1));
}

#[test]
fn draining_gives_up_what_is_being_minted() {
    let upstream = demo();
    let issuer = issuer(vec![Behaviour { stall_head: true, ..Behaviour::default() }]);
    let bursar = Setup::over(&[&upstream]).keys(0).more(&entra(&issuer)).start();
    wait_for(&issuer, |all| all.len() == 1);

    let gateway = bursar.drained();

    assert!(gateway.upgrade().is_none(), "something still holds the gateway");
    crate::harness::wait_for_hang_up(&issuer);
}

#[test]
fn neither_secret_nor_token_shows_in_logs_or_lists() {
    let upstream = demo();
    let leaky = json!({ "error": { "message": "bad token canary-token-4812", "type": "x", "code": null } });
    upstream.script(vec![Rule {
        when: When { skip: 1, times: Some(1), ..When::default() },
        then: Behaviour { body: Some(Raw(leaky.to_string().into())), ..Behaviour::status(500) },
    }]);
    let issuer = issuer(vec![
        Behaviour::status(500),
        token("canary-token-4812", 2),
        Behaviour::status(401),
        token("canary-token-4813", 3600),
    ]);
    let logs = "[telemetry.logs]\nlevel = \"trace\"\n[server]\nworkers = 1\n";
    let place = Place::with(&Setup::over(&[&upstream]).keys(0).more(&entra(&issuer)).more(logs).file());
    let mut program = place.serve(&[]);

    program.wait_for_line("cannot be minted");
    program.wait_for_line("the credential of key `a/entra` is there");
    let served = program.client().chat(&chat(json!({})));
    program.wait_for_line("cannot be minted");
    program.wait_for_line("was renewed");
    let mut written = String::new();
    for arguments in [&["config", "show", "--origin"][..], &["providers", "list", "--output", "json"], &["check"]] {
        written += &String::from_utf8(place.run(arguments).stdout).unwrap();
    }
    written += &program.client().get("/metrics").text();
    program.signal("TERM");
    let (_, log) = program.wait();

    assert_eq!(served.status, 200);
    assert!(written.contains("entra.client_secret") && written.contains("entra.tenant"), "{written}");
    for canary in ["canary", "u0001"] {
        assert!(!log.contains(canary), "`{canary}` stands in the log:\n{log}");
        assert!(!written.contains(canary), "`{canary}` stands in\n{written}");
    }
}
