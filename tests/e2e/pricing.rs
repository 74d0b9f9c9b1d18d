//! What answers cost: in the header, in the metrics, by the upstream's word or by an estimate.

use bursar::demo::Behaviour;
use serde_json::json;

use crate::client::{chat, stream};
use crate::harness::{Bursar, Setup, at_first, demo};

/// A tenth of a micro-dollar for each token read, a whole one for each written.
const PRICED: &str = "[catalog.models.\"a/demo-small\"]\nprice = { input = 0.1, output = 1 }\n";

fn metric(bursar: &Bursar, series: &str) -> u64 {
    let metrics = bursar.client().get("/metrics").text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |figure| figure.trim().parse().unwrap())
}

const COST: &str = "bursar_cost_nano_dollars_total{alias=\"m\",team=\"none\"}";

#[test]
fn a_whole_answer_says_what_it_cost() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).more(PRICED).start();

    let answer = bursar.client().chat(&chat(json!({})));

    let figure = |name: &str| answer.json()["usage"][name].as_u64().unwrap();
    let nano = figure("prompt_tokens") * 100 + figure("completion_tokens") * 1000;
    let usd = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    assert_eq!(answer.header("x-bursar-cost-usd"), Some(usd.trim_end_matches('0')));
    assert_eq!(answer.header("x-bursar-cost-estimated"), None);
    assert_eq!(metric(&bursar, COST), nano);
}

#[test]
fn a_stream_is_priced_at_its_end() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).more(PRICED).start();

    let answer = bursar.client().chat(&stream(json!({"stream_options": {"include_usage": true}})));

    let usage = answer.events().pop().unwrap()["usage"].clone();
    let figure = |name: &str| usage[name].as_u64().unwrap();
    assert_eq!(answer.header("x-bursar-cost-usd"), None);
    assert_eq!(metric(&bursar, COST), figure("prompt_tokens") * 100 + figure("completion_tokens") * 1000);
}

#[test]
fn a_stream_that_breaks_off_costs_about_what_it_said() {
    let text = "x".repeat(400);
    let event = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": null}]});
    let broken = Behaviour { events: Some(vec![event.to_string()]), omit_done: true, ..Behaviour::default() };
    let demo = at_first(9, broken);
    let bursar = Setup::over(&[&demo]).more(PRICED).start();

    let answer = bursar.client().chat(&stream(json!({})));

    assert_eq!(answer.streamed_text(), text);
    assert!(!answer.is_done());
    let cost = metric(&bursar, COST);
    // 100 tokens written, and few read.
    assert!((100_100..105_000).contains(&cost), "{cost}");
}

#[test]
fn an_answer_without_a_price_is_counted_and_not_free() {
    let demo = demo();
    let bursar = Setup::over(&[&demo]).start();

    let answer = bursar.client().chat(&chat(json!({})));

    assert_eq!(answer.header("x-bursar-cost-usd"), None);
    assert_eq!(metric(&bursar, "bursar_unpriced_requests_total{reason=\"model\"}"), 1);
    assert_eq!(metric(&bursar, COST), 0);
}
