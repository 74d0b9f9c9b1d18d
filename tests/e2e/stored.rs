//! Stored Responses: gone on from with any upstream, shown, listed, deleted, and nobody else's.

use bursar::demo::{Behaviour, Demo};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::dialects::{KINDS, gateway};
use crate::harness::{Setup, at_first, demo, until};
use crate::process::Place;

fn ask(client: &mut Client, more: Value) -> Answer {
    let mut body = json!({"model": "m", "input": "My name is Ann"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post("/v1/responses", &body)
}

fn id(answer: &Answer) -> String {
    answer.json()["id"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

/// The response object of the events of that name.
fn event(answer: &Answer, name: &str) -> Value {
    let text = answer.text();
    let mut events = text.split("\n\n").filter(|event| event.starts_with(&format!("event: {name}\n")));
    let data = events.next().and_then(|event| event.split_once("data: ")).unwrap_or_else(|| panic!("{name}: {text}")).1;
    serde_json::from_str::<Value>(data).unwrap()["response"].clone()
}

/// What the last request to the upstream said, in whatever dialect.
fn sent(demo: &Demo) -> String {
    demo.exchanges().last().unwrap().body.to_string()
}

#[test]
fn a_conversation_goes_on_with_every_upstream() {
    for kind in KINDS {
        let demo = demo();
        let bursar = gateway(kind, &demo);
        let mut client = bursar.client();
        let first = ask(&mut client, json!({"store": true, "user": "u1"}));
        let said = first.json()["output"].as_array().unwrap().iter().rfind(|item| item["type"] == "message").unwrap()
            ["content"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!((&first.json()["store"], &first.json()["previous_response_id"]), (&json!(true), &json!(null)));

        let more = json!({"input": "Who am I?", "store": true, "stream": true, "previous_response_id": id(&first)});
        let second = ask(&mut client, more);
        let ended = event(&second, "response.completed");
        let begun = event(&second, "response.created");
        let more = json!({"input": "And now?", "previous_response_id": ended["id"]});
        let third = ask(&mut client, more);

        assert_eq!((&begun["store"], &begun["id"]), (&json!(true), &ended["id"]), "{kind}");
        assert_eq!(ended["previous_response_id"], first.json()["id"], "{kind}");
        assert_eq!((third.status, &third.json()["store"]), (200, &json!(false)), "{kind}: {}", third.text());
        assert_eq!(third.json()["previous_response_id"], ended["id"]);
        let sent = sent(&demo);
        for told in ["My name is Ann", "Who am I?", "And now?", &serde_json::to_string(&said).unwrap()] {
            assert!(sent.contains(told.trim_matches('"')), "{kind}: {told} in {sent}");
        }
        assert!(!sent.contains("previous_response_id"), "{kind}: {sent}");
        if kind == "openai" {
            let body = demo.exchanges().last().unwrap().body.clone();
            assert_eq!((&body["store"], &body["include"]), (&json!(false), &json!(["reasoning.encrypted_content"])));
        }
        assert_eq!(bursar.books().endings(), (3, 0, 0), "{kind}");
    }
}

#[test]
fn what_is_stored_is_shown_listed_and_deleted() {
    let demo = demo();
    let bursar = gateway("openai", &demo);
    let mut client = bursar.client();
    let first = ask(&mut client, json!({"store": true}));
    let second = ask(&mut client, json!({"store": true, "input": "Who am I?", "previous_response_id": id(&first)}));
    let path = format!("/v1/responses/{}", id(&second));

    let shown = client.get(&path);
    let items = client.get(&format!("{path}/input_items?limit=2&order=asc"));
    let last = items.json()["last_id"].as_str().unwrap().to_owned();
    let rest = client.get(&format!("{path}/input_items?order=asc&after={last}"));

    assert_eq!((shown.status, shown.json()), (200, second.json()));
    let (items, rest) = (items.json(), rest.json());
    assert_eq!(items["data"][0]["content"], json!([{"type": "input_text", "text": "My name is Ann"}]));
    assert_eq!((items["data"].as_array().unwrap().len(), &items["has_more"]), (2, &json!(true)));
    let rest = rest["data"].as_array().unwrap();
    assert_eq!(rest.last().unwrap()["content"][0]["text"], "Who am I?");
    let latest = client.get(&format!("{path}/input_items?limit=1")).json();
    assert_eq!(latest["first_id"], rest.last().unwrap()["id"], "the latest first");
    for (query, param) in [("limit=0", Some("limit")), ("after=x", Some("after")), ("order=up", None)] {
        let refused = client.get(&format!("{path}/input_items?{query}"));
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, param), "{query}");
    }
    assert_eq!(client.get(&format!("{path}?stream=true")).status, 400);

    let deleted = client.request("DELETE", &format!("/v1/responses/{}", id(&first)), &[], "");
    assert_eq!(deleted.json(), json!({"id": id(&first), "object": "response", "deleted": true}));
    let again = client.request("DELETE", &format!("/v1/responses/{}", id(&first)), &[], "");
    assert_eq!((again.status, again.error_code().as_str()), (404, "response_not_found"));
    let cut = ask(&mut client, json!({"previous_response_id": id(&second)}));
    assert_eq!((cut.status, cut.json()["error"]["param"].as_str()), (400, Some("previous_response_id")));
    assert!(cut.text().contains("beginning of this conversation"), "{}", cut.text());
    assert_eq!(client.get(&path).status, 200, "what remains is still there");
    assert_eq!(client.request("PUT", &path, &[], "").status, 405);
}

#[test]
fn nothing_is_stored_that_nobody_asked_for_unless_the_settings_say_so() {
    let demo = demo();
    for (setting, more, stored) in [
        ("on_request", json!({}), false),
        ("on_request", json!({"store": true}), true),
        ("on_request", json!({"store": false}), false),
        ("always", json!({}), true),
        ("always", json!({"store": false}), false),
        ("never", json!({"store": true}), false),
    ] {
        let bursar = Setup::over(&[&demo]).set(&format!("responses.store={setting}")).start();
        let mut client = bursar.client();
        let answer = ask(&mut client, more.clone());
        assert_eq!(answer.json()["store"], stored, "{setting} {more}");

        let shown = client.get(&format!("/v1/responses/{}", id(&answer)));
        let next = ask(&mut client, json!({"previous_response_id": id(&answer)}));

        assert_eq!(shown.status, if stored { 200 } else { 404 }, "{setting} {more}");
        assert_eq!(next.status, if stored { 200 } else { 400 }, "{setting} {more}");
    }
}

#[test]
fn another_team_has_none_of_it() {
    let demo = demo();
    let bursar = Setup::over(&[&demo])
        .more(
            "[teams.one]\n[teams.two]\n[[client_keys]]\nid = \"a\"\nteam = \"one\"\nvalue = \"one-key-0123456789\"\n\
             [[client_keys]]\nid = \"b\"\nteam = \"two\"\nvalue = \"two-key-0123456789\"\n\
             [[client_keys]]\nid = \"c\"\nteam = \"one\"\nvalue = \"own-key-0123456789\"\n",
        )
        .start();
    let mut client = bursar.client();
    let mut send = |key: &str, method: &str, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        client.request(method, path, &[("authorization", &format!("Bearer {key}"))], &body)
    };
    let body = json!({"model": "m", "input": "My name is Ann", "store": true});
    let stored = id(&send("one-key-0123456789", "POST", "/v1/responses", body));
    let path = format!("/v1/responses/{stored}");
    let next = json!({"model": "m", "input": "Who am I?", "previous_response_id": stored});

    assert_eq!(send("two-key-0123456789", "GET", &path, json!(null)).status, 404);
    assert_eq!(send("two-key-0123456789", "GET", &format!("{path}/input_items"), json!(null)).status, 404);
    assert_eq!(send("two-key-0123456789", "DELETE", &path, json!(null)).status, 404);
    let foreign = send("two-key-0123456789", "POST", "/v1/responses", next.clone());
    assert_eq!((foreign.status, foreign.error_code().as_str()), (400, "previous_response_not_found"));
    assert_eq!(send("no-key-at-all-012345", "GET", &path, json!(null)).status, 401);
    assert_eq!(send("own-key-0123456789", "GET", &path, json!(null)).status, 200);
    assert_eq!(send("own-key-0123456789", "POST", "/v1/responses", next).status, 200);
}

#[test]
fn what_is_stored_of_a_user_goes_with_an_erasure() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    let ann = id(&ask(&mut client, json!({"store": true, "user": "ann"})));
    let bob = id(&ask(&mut client, json!({"store": true, "user": "bob"})));

    bursar.gateway.books.as_ref().unwrap().destroy("", "ann").unwrap();

    assert_eq!(client.get(&format!("/v1/responses/{ann}")).status, 404);
    assert_eq!(client.get(&format!("/v1/responses/{bob}")).status, 200);
}

#[test]
fn a_stream_that_breaks_is_not_stored_and_what_needs_a_vendor_is_refused() {
    let demo = at_first(1, Behaviour { error_after: Some(4), ..Behaviour::default() });
    let bursar = gateway("openai", &demo);
    let mut client = bursar.client();
    let broken = ask(&mut client, json!({"store": true, "stream": true}));
    let begun = event(&broken, "response.created");
    assert_eq!(client.get(&format!("/v1/responses/{}", begun["id"].as_str().unwrap())).status, 404);

    let calls = demo.exchanges().len();
    for (name, value) in [("conversation", json!("conv_1")), ("background", json!(true))] {
        let refused = ask(&mut client, json!({name: value}));
        assert_eq!((refused.status, refused.error_code().as_str()), (400, "unsupported_parameter"), "{name}");
        assert_eq!(refused.json()["error"]["param"], name);
    }
    assert_eq!(demo.exchanges().len(), calls);
}

#[test]
fn stored_answers_outlive_a_kill_and_lie_sealed() {
    let demo = demo();
    let place = Place::with(&Setup::over(&[&demo]).file());
    let program = place.serve(&[]);
    let stored = ask(&mut program.client(), json!({"store": true}));
    program.signal("KILL");
    drop(program);

    let mut plain = 0;
    for entry in std::fs::read_dir(place.data().join("stored")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(path).unwrap() } else { vec![] };
        plain += usize::from(bytes.windows(14).any(|part| part == b"My name is Ann"));
    }
    assert_eq!(plain, 0);
    let program = place.serve(&[]);
    let shown = program.client().get(&format!("/v1/responses/{}", id(&stored)));
    assert_eq!((shown.status, shown.json()), (200, stored.json()));
    until("it can be gone on from", || {
        ask(&mut program.client(), json!({"previous_response_id": id(&stored)})).status == 200
    });
}
