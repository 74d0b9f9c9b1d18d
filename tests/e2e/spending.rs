//! How budgets stand and what was spent, by the admin API and the command line.

use serde_json::{Value, json};

use crate::books::Ledger;
use crate::client::{Answer, chat};
use crate::harness::{ADMIN, Bursar, Setup, demo};
use crate::process::Place;

const PRICED: &str =
    "[catalog.models.\"a/demo-small\"]\nmax_output = 64\nprice = { input = 0, output = 0 }\nrequest_price = 1\n";

/// Two teams with a key each, and a budget.
fn teams() -> String {
    let team = |team: &str| {
        format!(
            "[teams.{team}]\ntags = {{ cost_center = \"cc_{team}\" }}\n\
             budget = [{{ amount = 4, period = \"month\" }}, {{ amount = 9, period = \"7d\" }}]\n\
             [[client_keys]]\nid = \"key_{team}\"\nteam = \"{team}\"\nvalue = \"client-key-of-the-tests-{team}\"\n"
        )
    };
    [PRICED.to_owned(), team("red"), team("blue")].concat()
}

fn ask(bursar: &Bursar, team: &str) -> u16 {
    let key = format!("client-key-of-the-tests-{team}");
    let body = chat(json!({"user": "ann"})).to_string();
    bursar.client().request("POST", "/v1/chat/completions", &[("x-api-key", &key)], &body).status
}

fn admin(bursar: &Bursar, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    bursar.client().request(method, &format!("/admin/api/{path}"), &[("x-api-key", ADMIN)], &body)
}

fn get(bursar: &Bursar, path: &str) -> Value {
    let answer = admin(bursar, "GET", path, &Value::Null);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[test]
fn usage_is_the_sum_of_the_records_by_whatever_it_is_told_apart() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).more(&teams()).start();
    let statuses: Vec<u16> = ["red", "red", "red", "blue"].iter().map(|team| ask(&bursar, team)).collect();
    assert_eq!(statuses, [200; 4]);
    let _settled = Ledger::settled(&bursar);

    let rows = get(&bursar, "usage?by=team,tag:cost_center,provider,model&last=1d");
    let shown: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| (&row["team"], &row["requests"], &row["cost_usd"])).collect();
    assert_eq!(shown, [(&json!("blue"), &json!(1), &json!("1")), (&json!("red"), &json!(3), &json!("3"))]);
    assert_eq!((&rows[1]["tag:cost_center"], &rows[1]["model"]), (&json!("cc_red"), &json!("demo-small")));
    assert!(rows[1]["prompt_tokens"].as_u64().unwrap() > 0);
    let of_red = get(&bursar, "usage?by=key,user&team=red");
    assert_eq!((of_red[0]["key"].as_str(), of_red[0]["cost_usd"].as_str()), (Some("key_red"), Some("3")));
    assert!(of_red[0]["user"].as_str().unwrap().starts_with("u_") && !of_red.to_string().contains("ann"));
    assert_eq!(get(&bursar, "usage?by=team&from=2020-01-01&to=2020-02-01"), json!([]));
    for wrong in ["usage?by=colour", "usage?last=soon", "usage?last=1d&from=2020-01-01", "usage?tag=x", "usage?of=red"]
    {
        assert_eq!(admin(&bursar, "GET", wrong, &Value::Null).status, 422, "{wrong}");
    }
}

#[test]
fn a_spent_budget_is_raised_by_an_admin_for_a_while_and_the_books_say_why() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).more(&teams()).start();
    let statuses: Vec<u16> = (0..5).map(|_| ask(&bursar, "red")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429]);

    let raise = |body: Value| admin(&bursar, "POST", "budgets/override", &body);
    let unclear = raise(json!({"holder": "team:red", "extra": "1.5", "for": "7d", "reason": "a launch"}));
    assert!((unclear.status, unclear.text().contains("several budgets")) == (422, true), "{}", unclear.text());
    let raised =
        raise(json!({"holder": "team:red", "budget": "month", "extra": "1.5", "for": "7d", "reason": "a launch"}));
    assert_eq!((raised.status, raised.json()["extra_usd"].as_str()), (200, Some("1.5")), "{}", raised.text());
    assert_eq!([ask(&bursar, "red"), ask(&bursar, "red")], [200, 429]);

    let _settled = Ledger::settled(&bursar);
    let rows = get(&bursar, "budgets?holder=team:red");
    let month = rows.as_array().unwrap().iter().find(|row| row["budget"] == "month").unwrap();
    let money = ["limit_usd", "spent_usd", "held_usd", "left_usd"].map(|field| month[field].as_str().unwrap());
    assert_eq!(money, ["5.5", "5", "0", "0.5"]);
    assert_eq!((&month["override"]["reason"], &month["override"]["by"]), (&json!("a launch"), &json!("admin")));
    assert!(month["forecast_high_usd"].as_str().unwrap().parse::<f64>().unwrap() >= 5.0);
    let record = Ledger::settled(&bursar).records.into_iter().find(|record| record["phase"] == "budget").unwrap();
    assert_eq!(
        (&record["action"], &record["note"], &record["actor"]),
        (&json!("override"), &json!("a launch"), &json!("admin"))
    );
    let nobody = raise(json!({"holder": "team:green", "extra": "1", "for": "1d", "reason": "x"}));
    assert_eq!(nobody.status, 404, "{}", nobody.text());
    for wrong in [
        json!({"holder": "green", "extra": "1", "for": "1d", "reason": "x"}),
        json!({"holder": "team:red", "budget": "month", "extra": "-1", "for": "1d", "reason": "x"}),
        json!({"holder": "team:red", "budget": "month", "extra": "1", "for": "900d", "reason": "x"}),
        json!({"holder": "team:red", "budget": "month", "extra": "1", "for": "1d", "reason": " "}),
        json!({"holder": "team:red", "budget": "month", "extra": "1", "reason": "x"}),
    ] {
        assert_eq!(raise(wrong.clone()).status, 422, "{wrong}");
    }
}

#[test]
fn the_admin_of_a_team_sees_what_its_own_team_spends() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).more(&teams()).start();
    assert_eq!([ask(&bursar, "red"), ask(&bursar, "blue")], [200, 200]);
    let _settled = Ledger::settled(&bursar);
    let made = admin(&bursar, "POST", "users", &json!({"id": "rita", "role": "team_admin", "team": "red"}));
    assert_eq!(made.status, 200, "{}", made.text());
    let token = admin(&bursar, "POST", "users/rita/tokens", &Value::Null).json()["token"].as_str().unwrap().to_owned();
    let rita = |path: &str| bursar.client().request("GET", &format!("/admin/api/{path}"), &[("x-api-key", &token)], "");

    for path in ["budgets", "usage?by=team,key", "usage?by=team&team=blue"] {
        let answer = rita(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains("blue"), "{path}: {}", answer.text());
    }
    assert!(rita("budgets").text().contains("team:red"));
    assert_eq!(rita("usage?by=team").json()[0]["cost_usd"], "1");
}

#[test]
fn the_command_line_shows_and_raises_budgets() {
    let demo = demo();
    let place = Place::with(&Setup::over(&[&demo]).more(&teams()).file());
    let program = place.serve(&[]);
    let run = |arguments: &[&str]| {
        let output = place.run(arguments);
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), words(&output.stdout) + &words(&output.stderr))
    };
    let key = [("x-api-key", "client-key-of-the-tests-red")];
    let answer = program.client().request("POST", "/v1/chat/completions", &key, &chat(json!({})).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());

    let (_, table) = run(&["budgets", "list"]);
    assert!(table.contains("LEFT (USD)") && table.contains("team:red") && table.contains("team:blue"), "{table}");
    let (_, csv) = run(&["budgets", "forecast", "--output", "csv"]);
    assert!(csv.starts_with("HOLDER,BUDGET,LIMIT (USD)"), "{csv}");
    let raise =
        ["budgets", "override", "team:red", "--budget", "month", "--extra", "2", "--for", "1d", "--reason", "a test"];
    let (done, words) = run(&raise);
    assert!(done && words.contains("has 2 dollars more until"), "{words}");
    let (_, shown) = run(&["budgets", "show", "team:red", "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown.as_array().unwrap().iter().find(|row| row["budget"] == "month").unwrap()["limit_usd"], "6");
    let (done, words) = run(&["budgets", "show", "team:green"]);
    assert!(!done && words.contains("team:green has no budget"), "{words}");
}
