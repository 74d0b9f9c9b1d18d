//! How much a caller may use: never more, told in its dialect, settled by what it used, given back when it hangs up.

use std::thread;

use bursar::demo::Behaviour;
use serde_json::{Value, json};

use crate::books::Ledger;
use crate::client::{Answer, Client, chat, stream};
use crate::harness::{ADMIN, Bursar, Setup, demo, scripted, wait_for, wait_for_hang_up};

const CHAT: &str = "/v1/chat/completions";
const KEY: &str = "client-key-of-the-tests-01";

fn key(limits: &str) -> String {
    format!("[[client_keys]]\nid = \"app\"\nteam = \"t\"\nvalue = \"{KEY}\"\nlimits = {{ {limits} }}\n")
}

fn post(client: &mut Client, path: &str, body: &Value) -> Answer {
    client.request("POST", path, &[("x-api-key", KEY)], &body.to_string())
}

fn ask(bursar: &Bursar, more: Value) -> Answer {
    post(&mut bursar.client(), CHAT, &chat(more))
}

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).unwrap_or_else(|| panic!("no {header}")).parse().unwrap()
}

#[test]
fn sixty_four_callers_together_never_pass_the_limit_of_their_team() {
    let demo = demo();
    let more = format!("[teams.t]\nlimits = {{ rpm = 40 }}\n{}", key("rpm = 1000"));
    let bursar = Setup::over(&[&demo]).workers(2).more(&more).start();

    let statuses: Vec<u16> = thread::scope(|scope| {
        let callers: Vec<_> =
            (0..64).map(|_| scope.spawn(|| [ask(&bursar, json!({})).status, ask(&bursar, json!({})).status])).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });

    let served = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!((served, refused), (40, 88));
    assert_eq!(demo.exchanges().len(), 40);
    let ledger = Ledger::settled(&bursar);
    let of = |phase: &str| ledger.records.iter().filter(|record| record["phase"] == phase).count();
    assert_eq!((of("completed"), of("refused")), (40, 88));
    let metrics = bursar.client().get("/metrics").text();
    assert!(metrics.contains("bursar_limits_denied_total{holder=\"team\",limit=\"rpm\"} 88"), "{metrics}");
}

#[test]
fn every_answer_tells_how_the_limits_stand_and_a_refusal_when_to_come_back() {
    let demo = demo();
    let more = format!("[teams.t]\n{}", key("rpm = 2, tpm = 100_000"));
    let bursar = Setup::over(&[&demo]).more(&more).start();
    let mut client = bursar.client();

    let first = ask(&bursar, json!({}));
    let streamed = post(&mut client, CHAT, &stream(json!({})));
    let refused = ask(&bursar, json!({}));
    let message = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
    let in_anthropics = post(&mut client, "/v1/messages", &message);

    assert_eq!((first.status, streamed.status, refused.status, in_anthropics.status), (200, 200, 429, 429));
    assert_eq!(
        (number(&first, "x-ratelimit-limit-requests"), number(&first, "x-ratelimit-remaining-requests")),
        (2, 1)
    );
    assert!(first.header("x-ratelimit-reset-requests").unwrap().ends_with('s'));
    assert_eq!(number(&streamed, "x-ratelimit-remaining-requests"), 0);
    assert!(number(&streamed, "x-ratelimit-remaining-tokens") > 90_000);
    assert_eq!(refused.error_code(), "rate_limit_exceeded");
    assert!(
        refused.text().contains("client key `app` may make 2 requests in a minute (limits.rpm)"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.header("x-should-retry"), Some("true"));
    assert!((1..=61).contains(&number(&refused, "retry-after")) && number(&refused, "retry-after-ms") <= 61_000);
    assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 0);
    assert_eq!(in_anthropics.json()["error"]["type"], "rate_limit_error");
    assert_eq!(number(&in_anthropics, "anthropic-ratelimit-requests-limit"), 2);
    assert!(in_anthropics.header("anthropic-ratelimit-requests-reset").unwrap().ends_with('Z'));
    assert_eq!(in_anthropics.header("x-ratelimit-limit-requests"), None);
    bursar.books();
}

#[test]
fn a_stream_is_settled_by_what_it_used() {
    let demo = demo();
    let more = format!("[teams.t]\n{}", key("tpm = 2_000"));
    let bursar = Setup::over(&[&demo]).more(&more).start();

    let asked = stream(json!({"max_tokens": 1_500, "stream_options": {"include_usage": true}}));
    let first = post(&mut bursar.client(), CHAT, &asked);
    bursar.books();
    let used = first.events().iter().find_map(|event| event["usage"]["total_tokens"].as_u64()).expect("the usage");
    let second = ask(&bursar, json!({"max_tokens": 10}));
    let never = ask(&bursar, json!({"max_tokens": 2_000}));

    assert_eq!((first.status, second.status), (200, 200));
    let taken = 2_000 - number(&first, "x-ratelimit-remaining-tokens");
    assert!((1_500..1_600).contains(&taken), "{taken}");
    let taken = 2_000 - number(&second, "x-ratelimit-remaining-tokens");
    assert!((used + 10..used + 100).contains(&taken), "{taken} after {used}");
    assert_eq!((never.status, never.header("x-should-retry"), never.header("retry-after")), (429, Some("false"), None));
    assert!(never.text().contains("can never pass"), "{}", never.text());
    bursar.books();
}

#[test]
fn who_hangs_up_gives_back_its_place() {
    let demo = scripted(Behaviour { stall_head: true, ..Behaviour::default() });
    let more = format!("[teams.t]\n{}", key("concurrency = 1"));
    let bursar = Setup::over(&[&demo]).more(&more).start();

    let mut hanging = bursar.client();
    hanging.begin("POST", CHAT, &[("x-api-key", KEY)], &stream(json!({})).to_string());
    wait_for(&demo, |all| all.len() == 1);
    let refused = ask(&bursar, json!({}));
    drop(hanging);
    wait_for_hang_up(&demo);
    bursar.books();
    let mut next = bursar.client();
    next.begin("POST", CHAT, &[("x-api-key", KEY)], &stream(json!({})).to_string());

    assert_eq!((refused.status, refused.error_code().as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    wait_for(&demo, |all| all.len() == 2);
}

#[test]
fn each_user_of_a_team_each_tag_and_each_model_has_its_own() {
    let demo = demo();
    let more = format!(
        "[models.alias.m.limits]\nrpm = 5\n[limits.models.\"a/demo-small\"]\nrpm = 1\n[limits.tags.\"env=ci\"]\nrpm = 4\n\
         [teams.t]\nuser_limits = {{ rpm = 1 }}\ntags = {{ env = \"ci\" }}\n{}",
        key("")
    );
    let bursar = Setup::over(&[&demo]).more(&more).start();
    let of = |user: &str, model: &str| ask(&bursar, json!({"user": user, "model": model}));
    let holder =
        |answer: &Answer| answer.json()["error"]["message"].as_str().unwrap().split(" may ").next().unwrap().to_owned();

    assert_eq!((of("ann", "m").status, of("bob", "a/demo-small").status), (200, 200));
    assert_eq!(holder(&of("ann", "m")), "this user of team `t`");
    assert_eq!(holder(&of("cid", "a/demo-small")), "model `a/demo-small`");
    assert_eq!((of("dan", "m").status, of("eve", "m").status), (200, 200));
    assert_eq!(holder(&of("fay", "m")), "tag `env=ci`");
    bursar.books();
}

#[test]
fn a_request_that_might_cost_too_much_is_told_what_would_pass() {
    let demo = demo();
    let price = "[catalog.models.\"a/demo-small\"]\nprice = { input = 1, output = 10 }\nmax_output = 4000\n";
    let more = format!("{price}[teams.t]\n{}", key("cost_per_request = \"0.02\""));
    let bursar = Setup::over(&[&demo]).more(&more).start();

    let unbounded = ask(&bursar, json!({}));
    let text = unbounded.text();
    let bound: u64 = text.split("max_tokens = ").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    let passing = ask(&bursar, json!({"max_tokens": bound}));
    // A bound itself adds to the request.
    let beyond = ask(&bursar, json!({"max_tokens": bound + 2}));

    assert_eq!((unbounded.status, unbounded.error_code().as_str()), (400, "cost_limit"));
    assert!(text.contains("more than the 0.02 that client key `app` allows"), "{text}");
    assert!((1_900..2_000).contains(&bound), "{bound}");
    assert_eq!((passing.status, beyond.status), (200, 400));
    bursar.books();
}

#[test]
fn a_reload_keeps_what_was_used() {
    let demo = demo();
    let file = |rpm: u32| Setup::over(&[&demo]).more(&format!("[teams.t]\n{}", key(&format!("rpm = {rpm}"))));
    let bursar = file(3).start();
    assert_eq!((ask(&bursar, json!({})).status, ask(&bursar, json!({})).status), (200, 200));

    bursar.write(&file(2).file());
    let bearer = format!("Bearer {ADMIN}");
    let reloaded = bursar.client().request("POST", "/admin/api/reload", &[("authorization", &bearer)], "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(ask(&bursar, json!({})).status, 429);

    assert_eq!(demo.exchanges().len(), 2);
    bursar.books();
}

#[test]
fn limits_set_by_hand_hold_from_the_next_request_on() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).workers(2).start();
    let order = |method: &str, path: &str, body: Value| {
        let bearer = format!("Bearer {ADMIN}");
        let path = format!("/admin/api/{path}");
        bursar.client().request(method, &path, &[("authorization", &bearer)], &body.to_string())
    };
    let done = |path: &str, body: Value| {
        let answer = order("POST", path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    };
    done("orgs", json!({ "id": "acme", "limits": { "rpd": 1_000 } }));
    done(
        "teams",
        json!({ "id": "t", "org": "acme", "limits": { "tpm": 100_000 }, "user_limits": { "concurrency": 3 } }),
    );
    let made = done("keys", json!({ "id": "app", "team": "t", "limits": { "rpm": 2, "cost_per_request": "0.50" } }));
    let value = made["value"].as_str().unwrap().to_owned();
    let ask = || bursar.client().request("POST", CHAT, &[("x-api-key", &value)], &chat(json!({})).to_string());

    assert_eq!(made["limits"], json!({ "rpm": 2, "cost_per_request": "0.5" }));
    assert_eq!([ask().status, ask().status, ask().status], [200, 200, 429]);
    done("keys/app", json!({ "limits": { "rpm": 3 } }));
    assert_eq!([ask().status, ask().status], [200, 429]);
    done("keys/app", json!({ "limits": null }));
    let of_org = done("orgs/acme", json!({ "limits": { "rpd": 4 } }));
    // Three requests went before it, which count.
    let answers = [ask(), ask()];
    let (key, team) = (order("GET", "keys/app", Value::Null).json(), order("GET", "teams", Value::Null).json());
    let fault = order("POST", "teams/t", json!({ "limits": { "tpm": 0 } }));
    let foreign = order("POST", "keys/app", json!({ "user_limits": null }));

    assert_eq!(of_org["limits"], json!({ "rpd": 4 }));
    assert_eq!([answers[0].status, answers[1].status], [200, 429]);
    assert!(answers[1].text().contains("organisation `acme` may make 4 requests in a day"), "{}", answers[1].text());
    assert_eq!((&key["limits"], &team[0]["user_limits"]), (&json!({}), &json!({ "concurrency": 3 })));
    assert_eq!((fault.status, foreign.status), (422, 422));
    assert!(fault.text().contains("limits.tpm is 0") && foreign.text().contains("`user_limits`"), "{}", fault.text());
    let records = order("GET", "audit/records?phase=admin", Value::Null).text();
    assert!(records.contains("limits = rpm = 2, cost_per_request = 0.5 USD"), "{records}");
    bursar.books();
}

#[test]
fn a_count_of_tokens_takes_a_request_and_no_tokens() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).more(&format!("[teams.t]\n{}", key("rpm = 4, tpm = 200"))).start();
    let message = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
    let count = |path: &str, body: &Value| post(&mut bursar.client(), path, body);

    let served = ask(&bursar, json!({"max_tokens": 150}));
    let beyond = ask(&bursar, json!({"max_tokens": 190}));
    let of_messages = count("/v1/messages/count_tokens", &message);
    let of_responses = count("/v1/responses/input_tokens", &json!({"model": "m", "input": "Hello"}));
    let contents = json!({"contents": [{"parts": [{"text": "Hello"}]}]});
    let of_contents = count("/v1beta/models/m:countTokens", &contents);
    let refused = count("/v1/messages/count_tokens", &message);

    assert_eq!((served.status, beyond.status), (200, 429));
    assert_eq!((of_messages.status, of_responses.status, of_contents.status), (200, 200, 200));
    assert_eq!(number(&of_messages, "anthropic-ratelimit-requests-remaining"), 2);
    assert_eq!(number(&of_responses, "x-ratelimit-remaining-requests"), 1);
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    assert!((1..=61).contains(&number(&refused, "retry-after")));
    let metrics = bursar.client().get("/metrics").text();
    assert!(metrics.contains("bursar_limits_denied_total{holder=\"key\",limit=\"rpm\"} 1"), "{metrics}");
    bursar.books();
}
