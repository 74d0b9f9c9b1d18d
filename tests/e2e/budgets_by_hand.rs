//! Budgets given by the admin API and the command line: read by the rules of a file, kept with their holder, shown and recorded.

use std::thread;

use bursar::demo::{Demo, DemoOptions};
use bursar_actors::limits::Holder;
use serde_json::{Value, json};

use crate::client::{Answer, chat};
use crate::harness::{ADMIN, Bursar, Setup, demo};
use crate::process::Place;

const CHAT: &str = "/v1/chat/completions";

fn order(bursar: &Bursar, method: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {ADMIN}");
    let path = format!("/admin/api/{path}");
    bursar.client().request(method, &path, &[("authorization", &bearer)], &body.to_string())
}

#[track_caller]
fn done(bursar: &Bursar, method: &str, path: &str, body: Value) -> Value {
    let answer = order(bursar, method, path, &body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[test]
fn budgets_given_by_hand_are_kept_shown_and_recorded_and_a_files_are_the_files() {
    let demo = demo();
    let more = "[teams.filed]\nbudget = { amount = 7, period = \"day\" }\n";
    let bursar = Setup::over(&[&demo]).more(more).start();
    let month = json!({ "amount": "50.25", "period": "month", "steps": [{ "at": 0.8, "do": "downgrade", "to": "m" }] });

    done(&bursar, "POST", "orgs", json!({ "id": "acme", "budget": { "amount": 900, "period": "quarter" } }));
    let each = json!({ "amount": 2, "period": "week", "soft": true, "timezone": "Europe/Berlin" });
    let team = json!({ "id": "t", "org": "acme", "budget": month, "members_budget": each });
    let team = done(&bursar, "POST", "teams", team);
    let day = json!({ "id": "daily", "amount": 1, "period": "day" });
    let key = done(&bursar, "POST", "keys", json!({ "id": "app", "team": "t", "budget": [month, day] }));
    let renamed = done(&bursar, "POST", "keys/app", json!({ "name": "App" }));
    let without = done(&bursar, "POST", "keys/app", json!({ "budget": null }));

    let shown = json!({
        "id": "month", "amount": "50.25", "period": "month", "timezone": "UTC", "rollover": "0", "soft": false,
        "steps": [{ "at": "0.8", "do": "downgrade", "to": "m" }],
    });
    assert_eq!(team["budget"], json!([shown]));
    assert_eq!(team["members_budget"][0]["timezone"], "Europe/Berlin");
    assert_eq!((&key["budget"][0], &key["budget"][1]["id"]), (&shown, &json!("daily")));
    assert_eq!((&renamed["budget"], &without["budget"]), (&key["budget"], &json!([])));
    assert_eq!(done(&bursar, "GET", "teams/filed", Value::Null)["budget"][0]["amount"], "7");
    // What is shown is taken as it is.
    assert_eq!(done(&bursar, "POST", "keys/app", json!({ "budget": key["budget"] }))["budget"], key["budget"]);
    for (path, body, status, words) in [
        ("teams/filed", json!({ "budget": null }), 409, "bursar.toml:"),
        ("keys/app", json!({ "members_budget": null }), 422, "`members_budget`, which has no place here"),
        ("keys/app", json!({ "budget": { "amount": 0, "period": "month" } }), 422, "budget.amount is 0"),
        ("orgs/acme", json!({ "budget": { "amount": 5 }, "models": ["m"] }), 422, "budget has no `period`"),
        ("keys/app", json!({ "models": ["other"] }), 422, "alias `m`, which client key `app` may not use"),
    ] {
        let answer = order(&bursar, "POST", path, &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
    let records = done(&bursar, "GET", "audit/records?phase=admin", Value::Null).to_string();
    assert!(records.contains("budget = month: 50.25 USD per month, UTC, downgrade to m at 0.8"), "{records}");
    assert!(records.contains("members_budget = week: 2 USD per week, Europe/Berlin, soft"), "{records}");
}

#[test]
fn a_budget_given_by_hand_holds_from_the_next_request_on_until_it_is_taken_away() {
    let demo = demo();
    let price =
        "[catalog.models.\"a/demo-small\"]\nmax_output = 1\nprice = { input = 0, output = 0 }\nrequest_price = 0.5\n";
    let bursar = Setup::over(&[&demo]).more(price).start();
    let made = done(&bursar, "POST", "keys", json!({ "id": "app", "budget": { "amount": 1, "period": "year" } }));
    let value = made["value"].as_str().unwrap().to_owned();
    let ask = || bursar.client().request("POST", CHAT, &[("x-api-key", &value)], &chat(json!({})).to_string());

    let first = [ask().status, ask().status, ask().status];
    done(&bursar, "POST", "keys/app", json!({ "budget": { "amount": "1.5", "period": "year" } }));
    let raised = [ask().status, ask().status];
    done(&bursar, "POST", "keys/app", json!({ "budget": null }));
    let free = ask().status;
    done(&bursar, "POST", "teams/default", json!({ "members_budget": { "amount": "0.5", "period": "year" } }));
    let of_user = |user: &str| {
        let headers = [("x-api-key", value.as_str()), ("x-bursar-user", user)];
        bursar.client().request("POST", CHAT, &headers, &chat(json!({})).to_string()).status
    };
    let members = [of_user("ann"), of_user("ann"), of_user("bob")];

    // What was spent before counts, whatever the budget was then.
    assert_eq!((first, raised, free), ([200, 200, 429], [200, 429], 200));
    assert_eq!(members, [200, 429, 200]);
    bursar.books();
}

#[test]
fn of_changes_at_the_same_time_none_is_lost() {
    let demo = demo();
    let file = |amount: u32| format!("[models.alias.m.budget]\namount = {amount}\nperiod = \"year\"\n");
    let setup = || Setup::over(&[&demo]);
    let bursar = setup().workers(2).more(&file(1)).start();
    bursar.write(&setup().more(&file(2)).file());

    thread::scope(|scope| {
        for number in 0..8 {
            let bursar = &bursar;
            scope.spawn(move || {
                let budget = json!({ "amount": number + 1, "period": "year" });
                done(bursar, "POST", "teams", json!({ "id": format!("t{number}"), "budget": budget }));
            });
        }
        scope.spawn(|| done(&bursar, "POST", "reload", Value::Null));
    });

    let table = bursar.gateway.budgets.accounts.table();
    let dollars = |holder: Holder| table.of(&holder).map(|specs| specs[0].amount_nano / 1_000_000_000);
    for number in 0..8 {
        assert_eq!(dollars(Holder::Team(format!("t{number}").into())), Some(number + 1));
    }
    assert_eq!(dollars(Holder::Model("m".into())), Some(2));
}

#[test]
fn the_command_line_gives_budgets_and_they_outlive_a_restart() {
    let demo = Demo::start(DemoOptions { any_model: true, ..DemoOptions::default() }).unwrap();
    let place = Place::with(&Setup::over(&[&demo]).file());
    let program = place.serve(&[]);
    let run = |arguments: &[&str]| {
        let output = place.run(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    run(&["orgs", "create", "acme", "--budget", "{ amount = 0.000000001, period = \"90d\" }"]);
    let month = "{amount=50, period=\"month\", steps=[{at=0.85, do=\"throttle\", rpm=10}]}";
    run(&["teams", "create", "t", "--budget", month, "--members-budget", "{ amount = 1, period = \"day\" }"]);
    run(&["keys", "create", "ci", "--team", "t", "--budget", month, "--budget", "{ amount = 4, period = \"day\" }"]);
    let wrong = place.run(&["keys", "update", "ci", "--budget", "{ amount = 5, perod = \"day\" }"]);
    let table = run(&["orgs", "list"]);

    assert!(table.contains("BUDGETS (USD)") && table.contains("0.000000001/90d"), "{table}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("budget[0].perod: unknown field"), "{wrong:?}");
    drop(program);

    let _program = place.serve(&[]);
    let keys = run(&["keys", "list", "--output", "csv"]);
    let team: Value = serde_json::from_str(&run(&["teams", "show", "t"])).unwrap();
    assert!(keys.contains(",50/month 4/day,"), "{keys}");
    assert_eq!(
        (&team["budget"][0]["steps"][0]["at"], &team["members_budget"][0]["amount"]),
        (&json!("0.85"), &json!("1"))
    );
    run(&["keys", "update", "ci", "--budget", "none"]);
    assert!(run(&["keys", "show", "ci"]).contains("\"budget\": []"));
}
