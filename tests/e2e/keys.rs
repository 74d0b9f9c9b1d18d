//! Client keys, teams and organisations that are made, changed and revoked while the gateway runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bursar::demo::{Demo, DemoOptions};
use rand::RngExt;
use serde_json::{Value, json};

use crate::client::{Answer, Client, chat};
use crate::harness::{ADMIN, Bursar, Setup, demo, until};
use crate::process::{Place, Program};

const CHAT: &str = "/v1/chat/completions";

fn order(bursar: &Bursar, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    bursar.client().request(method, &format!("/admin/api/{path}"), &[("authorization", &bearer(ADMIN))], &body)
}

fn done(bursar: &Bursar, method: &str, path: &str, body: Value) -> Value {
    let answer = order(bursar, method, path, &body);
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    answer.json()
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// Asks over a connection of its own: a refusal ends it.
fn asked(bursar: &Bursar, key: &str) -> u16 {
    ask(&mut bursar.client(), key).status
}

fn ask(client: &mut Client, key: &str) -> Answer {
    client.request("POST", CHAT, &[("authorization", &bearer(key))], &chat(json!({})).to_string())
}

#[test]
fn a_key_made_by_the_admin_api_serves_until_it_is_revoked_on_every_worker() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).workers(3).more("[auth]\nrequire_key = true\n").start();
    done(&bursar, "POST", "teams", json!({ "id": "search", "models": ["m"] }));
    let made = done(&bursar, "POST", "keys", json!({ "id": "ci", "team": "search" }));
    let value = made["value"].as_str().unwrap();
    // Connections stay with the worker that accepted them.
    let mut clients: Vec<_> = (0..12).map(|_| bursar.client()).collect();

    assert!(clients.iter_mut().all(|client| ask(client, value).status == 200));
    let shown = done(&bursar, "GET", "keys/ci", Value::Null);
    done(&bursar, "POST", "keys/ci/revoke", Value::Null);
    let refused: Vec<_> = clients.iter_mut().map(|client| ask(client, value)).collect();
    let unknown = ask(&mut bursar.client(), "sk-bursar-of-nobody");

    assert_eq!((shown["state"].as_str(), shown["value"].as_str()), (Some("active"), None));
    for answer in refused {
        assert_eq!((answer.status, answer.error_code().as_str()), (401, "invalid_api_key"));
        assert_eq!(answer.json()["error"]["message"], unknown.json()["error"]["message"]);
    }
    let enabled = order(&bursar, "POST", "keys/ci/enable", &Value::Null);
    assert_eq!(enabled.status, 409, "{}", enabled.text());
    bursar.books();
}

#[test]
fn a_rotated_key_has_two_good_values_until_the_overlap_ends() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).more("[auth]\nrequire_key = true\n").start();
    let old = done(&bursar, "POST", "keys", json!({ "id": "ci" }))["value"].as_str().unwrap().to_owned();

    let new = done(&bursar, "POST", "keys/ci/rotate", json!({ "overlap": "1h" }))["value"].as_str().unwrap().to_owned();
    let overlapping = (asked(&bursar, &old), asked(&bursar, &new));
    let newest = done(&bursar, "POST", "keys/ci/rotate", json!({ "overlap": "0s" }));
    let ended = (asked(&bursar, &old), asked(&bursar, &new));

    assert_eq!((overlapping, ended), ((200, 200), (401, 401)));
    assert_eq!(asked(&bursar, newest["value"].as_str().unwrap()), 200);
    done(&bursar, "POST", "keys/ci/disable", Value::Null);
    assert_eq!(asked(&bursar, newest["value"].as_str().unwrap()), 401);
    done(&bursar, "POST", "keys/ci/enable", Value::Null);
    assert_eq!(asked(&bursar, newest["value"].as_str().unwrap()), 200);
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    let demo = demo();
    let more = "[teams.few]\nmodels = [\"m\"]\n[[client_keys]]\nid = \"app\"\nteam = \"few\"\n\
                value = \"client-key-of-the-tests-01\"\n";
    let bursar = Setup::over(&[&demo]).more(more).start();
    let refused = |method: &str, path: &str, body: Value, status: u16, words: &str| {
        let answer = order(&bursar, method, path, &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    };

    refused("POST", "keys", json!({ "tem": "few" }), 422, "`team`");
    refused("POST", "orgs", json!({ "id": "o", "team": "few" }), 422, "has `team`, which");
    refused("POST", "keys", json!({ "team": "none" }), 422, "known: few");
    refused("POST", "keys", json!({ "team": "few", "models": ["m", "a/demo-large"] }), 422, "models: a/demo-large");
    refused("POST", "keys", json!({ "team": "few", "expires": "soon" }), 422, "2027-06-30");
    refused("POST", "keys", json!({ "id": "Big" }), 422, "ids start with a-z");
    refused("POST", "keys", json!({ "id": "app", "team": "few" }), 409, "bursar.toml:");
    refused("POST", "keys/app/revoke", Value::Null, 409, "bursar.toml:");
    refused("DELETE", "teams/few", Value::Null, 409, "bursar.toml:");
    refused("GET", "keys/nobody", Value::Null, 404, "there is no client key `nobody`");
    refused("POST", "keys/app/explode", Value::Null, 422, "known: rotate");
    refused("POST", "keys", json!([]), 422, "");

    let listed = done(&bursar, "GET", "keys", Value::Null);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["read_only"]), (1, &json!(true)));
}

#[test]
fn a_key_is_in_no_file_and_each_order_is_in_the_books() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let value = done(&bursar, "POST", "keys", json!({ "id": "ci" }))["value"].as_str().unwrap().to_owned();
    done(&bursar, "POST", "keys/ci/revoke", Value::Null);
    let secret = &value["sk-bursar-".len() + 13..];

    let records = done(&bursar, "GET", "audit/records?phase=admin", Value::Null).to_string();
    let mut files = vec![bursar.folder.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
        }
    }

    assert!(records.contains("keys.create") && records.contains("keys.revoke"), "{records}");
    assert!(records.contains("client key ci") && !records.contains(secret), "{records}");
}

#[test]
fn the_command_line_makes_lists_and_revokes_keys_and_they_outlive_a_restart() {
    let demo = demo();
    let place = Place::with(&Setup::over(&[&demo]).file());
    let program = place.serve(&[]);
    let run = |arguments: &[&str]| {
        let output = place.run(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    run(&["orgs", "create", "acme", "--name", "Acme"]);
    run(&[
        "teams",
        "create",
        "search",
        "--org",
        "acme",
        "--models",
        "m",
        "--tag",
        "cost_center=4711",
        "--user-limit",
        "rpm=9",
    ]);
    let value = run(&["keys", "create", "ci", "--team", "search", "--expires", "2199-01-01"]).trim().to_owned();
    run(&["keys", "update", "ci", "--limit", "rpm=600", "--limit", "tpm=40000", "--limit", "cost_per_request=0.50"]);
    run(&["keys", "update", "ci", "--limit", "tpm="]);
    let wrong = place.run(&["keys", "update", "ci", "--limit", "rpm=many"]);
    let json: Value = serde_json::from_str(&run(&["keys", "list", "--output", "json"])).unwrap();
    let csv = run(&["keys", "list", "--team", "search", "--output", "csv"]);
    let table = run(&["teams", "list"]);

    assert_eq!(ask(&mut program.client(), &value).status, 200);
    assert_eq!((&json[0]["id"], &json[0]["models"]), (&json!("ci"), &json!(["*"])));
    assert!(csv.lines().nth(1).unwrap().starts_with("ci,search,ci,active,"), "{csv}");
    assert!(table.contains("acme") && table.contains("admin API"), "{table}");
    assert!(csv.contains("rpm=600 cost_per_request=0.5"), "{csv}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("limits.rpm is \"many\""), "{wrong:?}");
    drop(program);

    let program = place.serve(&[]);
    let answer = ask(&mut program.client(), &value);
    assert_eq!((answer.status, answer.header("x-ratelimit-limit-requests")), (200, Some("9")));
    assert!(run(&["keys", "show", "ci"]).contains("\"rpm\": 600"));
    run(&["keys", "revoke", "ci"]);
    assert_eq!(ask(&mut program.client(), &value).status, 401);
    assert!(run(&["keys", "show", "ci"]).contains("revoked"));
}

/// What was acknowledged of the keys, by id: the value, and whether it was revoked since.
type Acknowledged = BTreeMap<String, (String, bool)>;

#[test]
fn no_kill_leaves_a_key_half_made_or_loses_one_that_was_acknowledged() {
    let kills: usize = std::env::var("BURSAR_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8);
    let demo = Demo::start(DemoOptions { any_model: true, ..DemoOptions::default() }).unwrap();
    let place = Place::with(&Setup::over(&[&demo]).more("[auth]\nrequire_key = true\n").file());
    let mut known = Acknowledged::new();

    for round in 0..kills {
        let program = place.serve(&[]);
        let orders = rand::rng().random_range(1..60);
        order_until_killed(&place, program, round, orders, rand::rng().random_range(0..3_000), &mut known);
    }

    let program = place.serve(&[]);
    let listed = place.run(&["keys", "list", "--output", "json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let keys = listed.as_array().unwrap();
    for (id, (value, revoked)) in &known {
        assert!(keys.iter().any(|key| key["id"] == id.as_str()), "{id} is gone");
        let status = ask(&mut program.client(), value).status;
        assert!(status == if *revoked { 401 } else { 200 }, "{id}: {status}, revoked: {revoked}");
    }
    for key in keys {
        assert!(["active", "revoked"].contains(&key["state"].as_str().unwrap()), "{key}");
    }
    eprintln!("{kills} kills: {} keys acknowledged, {} there", known.len(), keys.len());
    assert!(!known.is_empty());
}

/// Makes, rotates and revokes keys from several sides until so many orders are done, and some microseconds more, then kills.
fn order_until_killed(
    place: &Place,
    program: Program,
    round: usize,
    orders: usize,
    more_us: u64,
    known: &mut Acknowledged,
) {
    let (seen, token) = (AtomicUsize::new(0), place.admin_token());
    let address = program.address;
    thread::scope(|scope| {
        let orderer = |part: usize| {
            let (seen, token) = (&seen, &token);
            move || {
                let (mut client, mut done) = (Client::of(address), Acknowledged::new());
                for number in 0.. {
                    let id = format!("k{round}_{part}_{number}");
                    let mut order = |path: &str, body: &str| {
                        client.begin("POST", &format!("/admin/api/{path}"), &[("authorization", &bearer(token))], body);
                        let answer = client.try_answer("POST").ok()?;
                        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                        seen.fetch_add(1, Ordering::Relaxed);
                        Some(answer.json())
                    };
                    let Some(made) = order("keys", &json!({ "id": id }).to_string()) else { return done };
                    let value = |answer: &Value| answer["value"].as_str().unwrap().to_owned();
                    done.insert(id.clone(), (value(&made), false));
                    // Until its answer is here, both values may be good, or the old one only.
                    if number % 3 == 1 {
                        let Some(turned) = order(&format!("keys/{id}/rotate"), "{\"overlap\":\"1h\"}") else {
                            return done;
                        };
                        done.insert(id.clone(), (value(&turned), false));
                    }
                    if number % 3 == 2 {
                        // Whether it counts is open until the answer is here.
                        let before = done.remove(&id);
                        let Some(_) = order(&format!("keys/{id}/revoke"), "") else { return done };
                        done.extend(before.map(|(value, _)| (id, (value, true))));
                    }
                }
                done
            }
        };
        let orderers: Vec<_> = (0..4).map(|part| scope.spawn(orderer(part))).collect();
        until("orders are done", || seen.load(Ordering::Relaxed) >= orders);
        let moment = Instant::now() + Duration::from_micros(more_us);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        drop(program);
        orderers.into_iter().for_each(|orderer| known.extend(orderer.join().unwrap()));
    });
}

#[test]
fn a_key_in_a_header_that_is_not_accepted_is_refused() {
    let demo = demo();
    let more =
        "[auth]\naccept = [\"x-api-key\"]\n[[client_keys]]\nid = \"ci\"\nvalue = \"bursar-of-the-tests-0123456789\"\n";
    let bursar = Setup::over(&[&demo]).more(more).start();
    let key = "bursar-of-the-tests-0123456789";
    let ask = |name: &str, value: &str| {
        bursar.client().request("POST", CHAT, &[(name, value)], &chat(json!({})).to_string()).status
    };

    assert_eq!([ask("x-api-key", key), ask("authorization", &bearer(key)), ask("api-key", key)], [200, 401, 401]);
}
