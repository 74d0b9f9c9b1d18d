//! What the books say of requests that end in every way there is.

use std::time::Duration;

use bursar::demo::{Behaviour, Demo, DemoOptions};
use serde_json::{Value, json};

use super::{Ledger, Totals};
use crate::client::{Answer, Client, chat, stream};
use crate::forgetting::of_user;
use crate::harness::{Bursar, Setup, demo, scripted, until, wait_for};

const CHAT: &str = "/v1/chat/completions";
const PRICED: &str = "[catalog.models.\"a/demo-small\"]\nprice = { input = 0.1, output = 1 }\n";

fn begin(bursar: &Bursar, id: &str, body: &Value) -> Client {
    let mut client = bursar.client();
    client.begin("POST", CHAT, &[("x-bursar-request-id", id)], &body.to_string());
    client
}

fn ask(bursar: &Bursar, id: &str, body: &Value) -> Answer {
    begin(bursar, id, body).answer("POST")
}

/// Returns the fingerprint of what a client got or sent; ann has a key of her own for hers.
fn fingerprint(bursar: &Bursar, user: Option<&str>, bytes: &[u8]) -> String {
    bursar.gateway.books.as_ref().unwrap().vault.content_hash(&of_user(user), bytes).unwrap()
}

#[track_caller]
fn assert_hashed(bursar: &Bursar, ledger: &Ledger, id: &str, answer: &Answer) {
    let end = ledger.end_of(id);
    let user = end["user"].as_str().map(|_| "ann");
    assert_eq!(end["content"]["reply"], fingerprint(bursar, user, &answer.body), "{}\n{end}", answer.text());
}

#[test]
fn every_way_a_request_can_end_is_told_once() {
    let mid_stream = Behaviour { per_token: Some(Duration::from_secs(3600)), ..Behaviour::default() };
    let (well, failing) = (demo(), scripted(Behaviour::status(500)));
    let (silent, slow) = (scripted(Behaviour { stall_head: true, ..Behaviour::default() }), scripted(mid_stream));
    let breaking = scripted(Behaviour { error_after: Some(4), ..Behaviour::default() });
    let bursar = Setup::over(&[&well, &failing, &silent, &slow, &breaking]).more(PRICED).workers(2).start();

    let whole = ask(&bursar, "whole", &chat(json!({"user": "ann"})));
    let streamed = ask(&bursar, "streamed", &stream(json!({"stream_options": {"include_usage": true}})));
    let failed = ask(&bursar, "failed", &chat(json!({"model": "b/x"})));
    let broken = ask(&bursar, "broken", &stream(json!({"model": "e/x"})));
    let unknown = ask(&bursar, "unknown", &chat(json!({"model": "nobody/x"})));
    let before = begin(&bursar, "before", &stream(json!({"model": "c/x"})));
    let unanswered = begin(&bursar, "unanswered", &chat(json!({"model": "c/x"})));
    wait_for(&silent, |all| all.len() == 2);
    let mut within = begin(&bursar, "within", &stream(json!({"model": "d/x"})));
    assert_eq!(within.head().status, 200);
    within.chunk().unwrap().unwrap();
    drop((before, unanswered, within));

    let ledger = Ledger::settled(&bursar);
    let totals = ledger.totals();
    let expected = Totals { admitted: 7, served: 2, failed: 2, cancelled: 3, refused: 1, ..Totals::default() };
    assert_eq!(totals, expected);
    let metrics = bursar.books();
    assert_eq!(metrics.endings(), (totals.served, totals.failed + totals.refused, totals.cancelled));
    assert_eq!((whole.status, streamed.status, unknown.status), (200, 200, 404));
    assert!(failed.status >= 500 && broken.stream_error() != "", "{failed:?} {broken:?}");
    for (id, answer) in [("whole", &whole), ("streamed", &streamed), ("broken", &broken)] {
        assert_hashed(&bursar, &ledger, id, answer);
    }
    let admitted = ledger.of("whole", "admitted")[0];
    let asked = chat(json!({"user": "ann"})).to_string();
    assert_eq!(admitted["content"]["request"], fingerprint(&bursar, Some("ann"), asked.as_bytes()));
    assert!(admitted["user"].is_string() && admitted["user"] != "ann", "{admitted}");
    for id in ["failed", "unknown"] {
        let end = ledger.records.iter().rfind(|record| record["request"] == id).unwrap();
        assert!(end["error"].is_string() && end["content"]["reply"].is_null(), "{end}");
    }
    assert_eq!(ledger.end_of("before")["outcome"], "cancelled");
    plausible(ledger.end_of("whole"), whole.json()["usage"].clone());
    plausible(ledger.end_of("streamed"), streamed.events().pop().unwrap()["usage"].clone());
}

/// The figures of a request that `a` served at once.
#[track_caller]
fn plausible(end: &Value, usage: Value) {
    let figure = |name: &str| usage[name].as_u64().unwrap();
    assert_eq!(end["tokens"]["prompt"], figure("prompt_tokens"), "{end}");
    assert_eq!(end["tokens"]["completion"], figure("completion_tokens"), "{end}");
    assert_eq!(end["cost_nano"], figure("prompt_tokens") * 100 + figure("completion_tokens") * 1000, "{end}");
    let served = ["provider", "model", "endpoint", "key", "outcome", "alias"].map(|field| end[field].as_str().unwrap());
    assert_eq!(served, ["a", "demo-small", "a", "a1", "served", "m"]);
    assert_eq!((&end["attempts_made"], end["attempts"].as_array().unwrap().len()), (&json!(1), 1));
    let attempt = &end["attempts"][0];
    assert_eq!((attempt["target"].as_str(), attempt["outcome"].as_str()), (Some("a/demo-small"), Some("served")));
    let latency = |name: &str| end["latency_us"][name].as_u64().unwrap_or(0);
    assert!(latency("total") > 0 && latency("first_byte") <= latency("total"), "{end}");
    assert!(end["mono_us"].as_u64() > Some(0) && end["at_us"].as_u64() > Some(1_700_000_000_000_000), "{end}");
}

#[test]
fn a_late_stream_is_hashed_with_its_comments_and_its_preamble() {
    let late = Behaviour { first_token: Some(Duration::from_millis(200)), ..Behaviour::default() };
    let paced = DemoOptions { any_model: true, per_token: Duration::from_millis(25), ..DemoOptions::default() };
    let (late, paced) = (scripted(late), Demo::start(paced).unwrap());
    let bursar = Setup::over(&[&late, &paced]).set("server.sse_keepalive=20ms").start();

    let silence = ask(&bursar, "silence", &stream(json!({})));
    let preamble = ask(&bursar, "preamble", &stream(json!({"model": "b/x"})));

    assert!(silence.text().starts_with(": keep-alive\n\n") && silence.is_done(), "{}", silence.text());
    assert!(preamble.is_done(), "{}", preamble.text());
    let ledger = Ledger::settled(&bursar);
    assert_hashed(&bursar, &ledger, "silence", &silence);
    assert_hashed(&bursar, &ledger, "preamble", &preamble);
}

#[test]
fn after_a_failover_the_books_say_who_was_not_chosen_and_why() {
    let (refusing, serving) = (scripted(Behaviour::status(401)), demo());
    let bursar = Setup::over(&[&refusing, &serving]).start();

    for id in ["first", "second"] {
        assert_eq!(ask(&bursar, id, &chat(json!({}))).status, 200);
    }

    let ledger = Ledger::settled(&bursar);
    let first = ledger.end_of("first");
    let attempts: Vec<_> = first["attempts"].as_array().unwrap().iter().map(|one| one["target"].as_str()).collect();
    assert_eq!(attempts, [Some("a/demo-small"), Some("b/demo-small")], "{first}");
    assert_ne!(first["attempts"][0]["outcome"], "served", "{first}");
    let second = ledger.end_of("second");
    assert_eq!((&second["attempts_made"], second["provider"].as_str()), (&json!(1), Some("b")), "{second}");
    assert_eq!(second["rejected"][0]["target"], "a/demo-small", "{second}");
    assert!(second["rejected"][0]["why"].as_str().unwrap().contains("key"), "{second}");
    assert_eq!(second["rules"][0], "m: ordered", "{second}");
}

#[test]
fn strangers_are_counted_and_not_listed() {
    let demo = demo();
    let keys = "[[client_keys]]\nid = \"app\"\nvalue = \"bursar-of-the-tests-0123456789abcdef\"\n";
    let bursar = Setup::over(&[&demo]).more(keys).start();
    for _ in 0..40 {
        assert_eq!(ask(&bursar, "stranger", &chat(json!({}))).status, 401);
    }

    let books = bursar.gateway.books.as_ref().unwrap();
    books.flush_strangers();
    books.flush_strangers();
    until("the record is durable", || books.journal().durable() == 2);

    let ledger = Ledger::settled(&bursar);
    let record = &ledger.records[1];
    assert_eq!((record["phase"].as_str(), record["count"].as_u64()), (Some("auth"), Some(40)), "{record}");
    assert_eq!(record["network"], "127.0.0.0/24");
    assert_eq!(ledger.totals(), Totals::default());
}

#[test]
fn the_books_know_session_and_user_from_where_the_operator_says() {
    let demo = demo();
    let places = "[auth]\nend_user = [\"x-person\", \"body.user\"]\nsession = [\"x-thread\"]\n";
    let (usual, named) = (Setup::over(&[&demo]).start(), Setup::over(&[&demo]).more(places).start());
    let body = chat(json!({"user": "ann", "metadata": {"session_id": "s-1"}})).to_string();
    let ask = |bursar: &Bursar, id: &'static str, more: &[(&'static str, &'static str)]| {
        let headers = [&[("x-bursar-request-id", id)], more].concat();
        assert_eq!(bursar.client().request("POST", CHAT, &headers, &body).status, 200);
    };

    ask(&usual, "body", &[]);
    ask(&usual, "header", &[("x-claude-code-session-id", "c-1"), ("x-bursar-user", "bob")]);
    ask(&usual, "text", &[("x-bursar-session", "what ann said")]);
    ask(&named, "body", &[]);
    ask(&named, "header", &[("x-thread", "t-1"), ("x-person", "bob"), ("x-bursar-user", "eve")]);

    let told = |bursar: &Bursar, ids: &[&str]| {
        let (ledger, vault) = (Ledger::settled(bursar), &bursar.gateway.books.as_ref().unwrap().vault);
        let of = |id: &&str| {
            let (begin, end) = (ledger.of(id, "admitted")[0], ledger.end_of(id));
            assert_eq!((&begin["session"], &begin["user"]), (&end["session"], &end["user"]));
            let team = end["team"].as_str().unwrap_or_default();
            let who = ["ann", "bob"].into_iter().find(|user| end["user"] == vault.pseudonym(team, user));
            (end["session"].as_str().map(str::to_owned), who)
        };
        ids.iter().map(of).collect::<Vec<_>>()
    };
    let session = |name: &str| Some(name.to_owned());
    assert_eq!(
        told(&usual, &["body", "header", "text"]),
        [(session("s-1"), Some("ann")), (session("c-1"), Some("bob")), (session("s-1"), Some("ann"))]
    );
    assert_eq!(told(&named, &["body", "header"]), [(None, Some("ann")), (session("t-1"), Some("bob"))]);
}
