//! What teams may spend: never more, a cheaper model near the limit, a wait for room, and an honest refusal at the end.

use std::thread;

use bursar::demo::{Behaviour, Demo};
use serde_json::{Value, json};

use crate::books::Ledger;
use crate::client::{Answer, Client, chat, stream};
use crate::harness::{Bursar, Setup, at_first, demo, scripted, until};

const KEY: &str = "client-key-of-the-tests-01";
const DOLLAR: u64 = 1_000_000_000;

/// A key of team `t`, whose budget is this.
fn team(budget: &str) -> String {
    format!("[teams.t]\nbudget = {{ {budget} }}\n[[client_keys]]\nid = \"app\"\nteam = \"t\"\nvalue = \"{KEY}\"\n")
}

/// A price for each call to the model, whatever it uses.
fn price(model: &str, dollars: &str) -> String {
    format!(
        "[catalog.models.\"{model}\"]\nmax_output = 4_096\nprice = {{ input = 0, output = 0 }}\nrequest_price = {dollars}\n"
    )
}

fn alias(name: &str, provider: &str, model: &str) -> String {
    format!("[models.alias.{name}]\ntargets = [{{ provider = \"{provider}\", model = \"{model}\" }}]\n")
}

fn post(client: &mut Client, path: &str, body: &Value) -> Answer {
    client.request("POST", path, &[("x-api-key", KEY)], &body.to_string())
}

fn ask(bursar: &Bursar, more: Value) -> Answer {
    post(&mut bursar.client(), "/v1/chat/completions", &chat(more))
}

fn smart(bursar: &Bursar) -> Answer {
    ask(bursar, json!({"model": "smart"}))
}

/// What all records say that was spent, in nano-dollars.
fn spent(ledger: &Ledger) -> u64 {
    ledger
        .records
        .iter()
        .filter(|record| record["phase"] == "completed")
        .filter_map(|record| record["cost_nano"].as_u64())
        .sum()
}

#[test]
fn near_its_limit_a_team_is_served_for_less_then_waits_and_is_refused_at_last() {
    let (dear, cheap) = (demo(), demo());
    let steps = r#"amount = 20, period = "month", timezone = "Europe/Berlin", steps = [{ at = 0.70, do = "notify" },
        { at = 0.85, do = "downgrade", to = "fast" }, { at = 0.95, do = "queue", max_wait = "10s" }, { at = 1.00, do = "block" }]"#;
    let more = [
        team(&steps.replace('\n', " ")),
        price("a/demo-small", "1"),
        price("b/demo-small", "0.1"),
        price("a/demo-embed", "2"),
        alias("smart", "a", "demo-small"),
        alias("fast", "b", "demo-small"),
    ];
    let bursar = Setup::over(&[&dear, &cheap]).workers(2).more(&more.concat()).start();

    for call in 0..17 {
        let answer = smart(&bursar);
        assert_eq!((answer.status, answer.header("x-bursar-cost-usd")), (200, Some("1")), "{call}: {}", answer.text());
        assert_eq!(answer.header("x-bursar-downgraded-from"), None);
    }
    assert_eq!((dear.exchanges().len(), cheap.exchanges().len()), (17, 0));
    for call in 0..20 {
        let answer = smart(&bursar);
        assert_eq!((answer.status, answer.header("x-bursar-cost-usd")), (200, Some("0.1")), "{call}");
        assert_eq!(answer.header("x-bursar-downgraded-from"), Some("smart"));
        assert_eq!(
            (answer.header("x-bursar-alias"), answer.header("x-bursar-model")),
            (Some("fast"), Some("b/demo-small"))
        );
        let told = answer.header("x-bursar-budget").unwrap();
        assert!(told.starts_with("team t;spent=1") && told.ends_with(";limit=20;step=downgrade"), "{told}");
    }
    // Two dollars are more than the one that is left, and nothing embeds for less.
    let refused = post(&mut bursar.client(), "/v1/embeddings", &json!({"model": "a/demo-embed", "input": "x"}));
    assert_eq!((refused.status, refused.error_code().as_str()), (429, "budget_exceeded"));

    thread::scope(|scope| {
        let waiting = scope.spawn(|| smart(&bursar));
        until("it waits", || bursar.gateway.budgets.waiting() == 1);
        let raised =
            bursar_actors::budget::Override { extra_nano: 20 * DOLLAR, until_s: i64::MAX, ..Default::default() };
        let team = bursar_actors::limits::Holder::Team("t".into());
        assert!(bursar.gateway.budgets.accounts.raise(&team, "month", Some(raised), bursar::call::unix_s()));
        let served = waiting.join().unwrap();
        assert_eq!((served.status, served.header("x-bursar-cost-usd")), (200, Some("0.1")));
        assert!(served.header("x-bursar-queued-ms").is_some());
    });
    let ledger = Ledger::settled(&bursar);
    assert_eq!(spent(&ledger), 17 * DOLLAR + 21 * DOLLAR / 10);
    let of = "{holder=\"team\",name=\"t\",budget=\"month\"}";
    // The ledger reads the books behind the answers.
    let held = format!("\nbursar_budget_held_usd{of} 0\n");
    until("the ledger has read them all", || bursar.client().get("/metrics").text().contains(&held));
    let metrics = bursar.client().get("/metrics").text();
    for (name, figure) in [("limit", "40"), ("spent", "19.1"), ("held", "0")] {
        let line = format!("\nbursar_budget_{name}_usd{of} {figure}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(metrics.contains("\nbursar_budget_waiting_requests 0\n"), "{metrics}");
    let downgraded = ledger.records.iter().filter(|record| record["downgraded_from"] == "smart");
    assert_eq!(downgraded.filter(|record| record["phase"] == "completed" && record["alias"] == "fast").count(), 21);
}

#[test]
fn a_spent_budget_is_refused_in_the_callers_dialect_and_says_when_it_begins_anew() {
    let demo = demo();
    let more =
        [team(r#"amount = 0.5, period = "month", timezone = "Europe/Berlin""#), price("a/demo-small", "1")].concat();
    let bursar = Setup::over(&[&demo]).more(&more).start();
    let mut client = bursar.client();

    let refused = ask(&bursar, json!({}));
    let message = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
    let anthropic = post(&mut client, "/v1/messages", &message);
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]});
    let gemini = post(&mut client, "/v1beta/models/m:generateContent", &gemini);
    let streamed = post(&mut client, "/v1/chat/completions", &stream(json!({})));

    for answer in [&refused, &anthropic, &gemini, &streamed] {
        assert_eq!((answer.status, answer.header("x-should-retry")), (429, Some("false")), "{}", answer.text());
        assert!(answer.text().contains("the budget `month` of team `t` has no room"), "{}", answer.text());
    }
    assert_eq!(refused.error_code(), "budget_exceeded");
    assert_eq!(anthropic.json()["error"]["type"], "rate_limit_error");
    assert_eq!(gemini.json()["error"]["status"], "RESOURCE_EXHAUSTED");
    // A dollar is more than any window has.
    assert_eq!(refused.header("retry-after"), None);
    assert!(demo.exchanges().is_empty());
    assert_eq!(bursar.books().endings(), (0, 4, 0));
}

#[test]
fn two_teams_of_one_organisation_share_what_it_has() {
    let demo = demo();
    let keys = |team: &str| {
        format!(
            "[teams.{team}]\norg = \"acme\"\nbudget = {{ amount = 8, period = \"year\" }}\n\
        [[client_keys]]\nid = \"{team}\"\nteam = \"{team}\"\nvalue = \"client-key-of-the-tests-{team}\"\n"
        )
    };
    let more = [
        "[orgs.acme]\nbudget = { amount = 10, period = \"year\", timezone = \"Asia/Kathmandu\" }\n".to_owned(),
        keys("t1"),
        keys("t2"),
        price("a/demo-small", "1"),
    ];
    let bursar = Setup::over(&[&demo]).more(&more.concat()).start();
    let ask = |team: &str| {
        let key = format!("client-key-of-the-tests-{team}");
        bursar.client().request("POST", "/v1/chat/completions", &[("x-api-key", &key)], &chat(json!({})).to_string())
    };

    let first: Vec<u16> = (0..9).map(|_| ask("t1").status).collect();
    let second: Vec<Answer> = (0..3).map(|_| ask("t2")).collect();

    assert_eq!(first, [[200; 8].as_slice(), &[429]].concat());
    assert_eq!(second.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 429]);
    let told = second[2].text();
    assert!(told.contains("of organisation `acme`") && told.contains("(Asia/Kathmandu)"), "{told}");
    assert!(second[2].header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
}

/// Serves, fails, is silent and breaks off by turns.
fn moody() -> Demo {
    let event = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "x".repeat(200)}, "finish_reason": null}]});
    let broken = Behaviour { events: Some(vec![event.to_string()]), omit_done: true, ..Behaviour::default() };
    at_first(20, broken)
}

#[test]
fn sixty_four_callers_with_failures_and_hang_ups_never_pass_the_limit_and_the_books_agree() {
    let (failing, moody) = (at_first(40, Behaviour::status(503)), moody());
    let more = [
        "[orgs.acme]\nbudget = { amount = 0.09, period = \"day\" }\n".to_owned(),
        "[teams.t]\norg = \"acme\"\nbudget = { amount = 0.1, period = \"month\" }\n".to_owned(),
        format!(
            "[[client_keys]]\nid = \"app\"\nteam = \"t\"\nvalue = \"{KEY}\"\nbudget = {{ amount = 0.08, period = \"30d\" }}\n"
        ),
        "[catalog.models.\"a/demo-small\"]\nmax_output = 64\nprice = { input = 1, output = 20 }\n".to_owned(),
        "[catalog.models.\"b/demo-small\"]\nmax_output = 64\nprice = { input = 1, output = 20 }\n".to_owned(),
    ];
    let bursar = Setup::over(&[&failing, &moody]).workers(2).more(&more.concat()).start();

    thread::scope(|scope| {
        for caller in 0..64 {
            let bursar = &bursar;
            scope.spawn(move || {
                for turn in 0..4 {
                    let body = if (caller + turn) % 2 == 0 { chat(json!({})) } else { stream(json!({})) };
                    let mut client = bursar.client();
                    if caller % 8 == 7 {
                        client.begin("POST", "/v1/chat/completions", &[("x-api-key", KEY)], &body.to_string());
                        drop(client);
                    } else {
                        let status = post(&mut client, "/v1/chat/completions", &body).status;
                        assert!([200, 429, 502, 503].contains(&status), "{status}");
                    }
                }
            });
        }
    });

    let ledger = Ledger::settled(&bursar);
    let overrun: u64 = ledger.records.iter().filter_map(|record| record["overrun_nano"].as_u64()).sum();
    let statements = bursar.gateway.budgets.accounts.statements(bursar::call::unix_s());
    assert_eq!(statements.len(), 3);
    for statement in statements {
        let used = statement.standing.used_nano();
        assert_eq!(used, spent(&ledger), "{}", statement.holder);
        assert!(used <= statement.standing.limit_nano + overrun, "{}: {used}, {overrun} over", statement.holder);
    }
}

#[test]
fn what_has_no_price_is_refused_guessed_or_flagged_as_the_settings_say() {
    let demo = demo();
    let over = |policy: &str| {
        let more = [team(r#"amount = 5, period = "month""#), format!("[budgets]\n{policy}\n")].concat();
        Setup::over(&[&demo]).more(&more).start()
    };
    let (block, flag) = (over(r#"unpriced = "block""#), over(r#"unpriced = "flag""#));
    let guess = over("unpriced = \"estimate\"\nunpriced_price = { input = 1_000, output = 2_000 }");

    let refused = ask(&block, json!({}));
    assert_eq!((refused.status, refused.error_code().as_str()), (400, "model_unpriced"));
    assert_eq!(demo.exchanges().len(), 0);
    for (bursar, costs) in [(&flag, false), (&guess, true)] {
        let answer = ask(bursar, json!({"max_tokens": 50}));
        assert_eq!((answer.status, answer.header("x-bursar-cost-usd").is_some()), (200, costs), "{}", answer.text());
        let ledger = Ledger::settled(bursar);
        let record = ledger.records.iter().find(|record| record["phase"] == "completed").unwrap();
        assert_eq!((record["unpriced"] == true, record["cost_nano"].is_u64()), (true, costs), "{record}");
    }
}

#[test]
fn where_there_is_room_for_a_short_answer_only_the_upstream_is_told_so() {
    let demo = demo();
    // At worst 8,000 tokens for 40 cents; there are 10.
    let more = [
        team(r#"amount = 0.1, period = "month""#),
        "[catalog.models.\"a/demo-small\"]\nmax_output = 8_000\nprice = { input = 0, output = 50 }\n".to_owned(),
    ];
    let bursar = Setup::over(&[&demo]).more(&more.concat()).start();

    let answer = ask(&bursar, json!({}));
    let bounded_by_itself = ask(&bursar, json!({"max_tokens": 1_000}));
    let too_much = ask(&bursar, json!({"max_tokens": 7_000}));

    assert_eq!((answer.status, bounded_by_itself.status, too_much.status), (200, 200, 429), "{}", too_much.text());
    let warning = answer.header("x-bursar-warning").unwrap();
    assert!(warning.starts_with("the answer has at most 2000 tokens"), "{warning}");
    assert_eq!(bounded_by_itself.header("x-bursar-warning"), None);
    let sent: Vec<Value> = demo.exchanges().iter().map(|one| one.body["max_tokens"].clone()).collect();
    assert_eq!(sent, [json!(2_000), json!(1_000)]);
}

#[test]
fn a_stream_that_outgrows_what_is_left_ends_with_a_clear_word() {
    // 1,024 tokens are expected and 8,000 the most; the upstream writes 400,000.
    let event = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": "x".repeat(4_000)}, "finish_reason": null}]});
    let demo = scripted(Behaviour { events: Some(vec![event.to_string(); 400]), ..Behaviour::default() });
    let more = [
        team(r#"amount = 10, period = "month""#),
        "[catalog.models.\"a/demo-small\"]\nmax_output = 8_000\nprice = { input = 0, output = 50 }\n".to_owned(),
    ];
    let bursar = Setup::over(&[&demo]).more(&more.concat()).start();

    let answer = post(&mut bursar.client(), "/v1/chat/completions", &stream(json!({})));

    assert_eq!((answer.status, answer.stream_error().as_str()), (200, "budget_exceeded"), "{}", answer.text().len());
    assert!(!answer.is_done());
    let ledger = Ledger::settled(&bursar);
    assert!((9 * DOLLAR..=10 * DOLLAR).contains(&spent(&ledger)), "{}", spent(&ledger));
}
