//! A provider's bill held against what the gateway counted, by the command line.

use std::time::{SystemTime, UNIX_EPOCH};

use bursar::demo::{Demo, DemoOptions};
use serde_json::{Value, json};

use crate::harness::Setup;
use crate::process::Place;

/// Half a dollar a call, and something for each token.
const PRICED: &str = "[catalog.models.\"a/demo-small\"]\nprice = { input = 0.1, output = 1 }\nrequest_price = 0.5\n";

fn nano(dollars: &str) -> u64 {
    let (whole, fraction) = dollars.split_once('.').unwrap_or((dollars, ""));
    whole.parse::<u64>().unwrap() * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().unwrap()
}

/// A bill over yesterday, today and tomorrow, whichever it is by now.
fn bill(nano_dollars: u64) -> String {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400 * 86_400;
    let dollars = format!("{}.{:09}000", nano_dollars / 1_000_000_000, nano_dollars % 1_000_000_000);
    format!(
        "start_time,end_time,amount_value,amount_currency,line_item\n{},{},{dollars},usd,\"demo-small, output\"\n",
        today - 86_400,
        today + 172_800
    )
}

#[test]
fn a_bill_agrees_with_what_was_counted_or_the_exit_code_says_so() {
    let demo = Demo::start(DemoOptions { any_model: true, ..DemoOptions::default() }).unwrap();
    let place = Place::with(&Setup::over(&[&demo]).more(PRICED).file());
    let program = place.serve(&[]);
    let ask = || {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
        let answer = program.client().chat(&body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        nano(answer.header("x-bursar-cost-usd").unwrap())
    };
    let cost = ask() + ask() + ask();
    let reconcile = |bill: &str, more: &[&str]| {
        std::fs::write(place.path().join("bill.csv"), bill).unwrap();
        let output = place.run(&[&["usage", "reconcile", "bill.csv", "--provider", "a"], more].concat());
        let words = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), words(output.stdout), words(output.stderr))
    };

    let (code, table, words) = reconcile(&bill(cost), &["--tolerance", "0"]);
    assert_eq!(code, 0, "{table}{words}");
    assert!(table.contains("demo-small") && table.contains("BILL (USD)") && table.contains("total"), "{table}");
    assert!(words.contains("agrees with the bill's"), "{words}");

    let (code, json, _) = reconcile(&bill(cost * 2), &["--output", "json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let total = &report["total"];
    assert_eq!((code, &report["within"], &total["percent"]), (2, &json!(false), &json!("-50.00")));
    assert_eq!((&total["bursar_requests"], &report["rows"][0]["model"]), (&json!(3), &json!("demo-small")));
    assert_eq!(nano(total["bursar"].as_str().unwrap()), cost);
    let (code, csv, _) = reconcile(&bill(cost * 2), &["--output", "csv", "--tolerance", "50%"]);
    assert_eq!((code, csv.lines().count()), (0, 2), "{csv}");

    let usage = place.run(&["usage", "--by", "provider,model", "--last", "1d", "--provider", "a", "--output", "csv"]);
    let csv = String::from_utf8(usage.stdout).unwrap();
    assert!(csv.starts_with("PROVIDER,MODEL,REQUESTS,") && csv.contains("\na,demo-small,3,0,"), "{csv}");
    let refused = place.run(&["usage", "--by", "colour"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("known: day, month"), "{:?}", refused.status);

    let (code, _, words) = reconcile("what,is,this\n1,2,3\n", &[]);
    assert!(code == 1 && words.contains("bill.csv: its columns are of no export that is known"), "{words}");
    let unnamed = place.run(&["usage", "reconcile", "bill.csv"]);
    assert_eq!(unnamed.status.code(), Some(1));
}
