//! What the gateway tells its operator: metrics that add up, and an admin API that is not for everybody.

use std::collections::{BTreeMap, BTreeSet};

use bursar::demo::Behaviour;
use serde_json::json;

use crate::client::{chat, stream};
use crate::harness::{ADMIN, Setup, at_first, demo, scripted};

/// Parses Prometheus' text format strictly; returns every sample by its name and labels.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let (mut helped, mut typed, mut samples) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(rest.split(' ').next().unwrap()), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(typed.insert(name, kind).is_none(), "twice: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(typed.contains_key(name) || typed.get(family) == Some(&"histogram"), "no type: {line}");
            let bad = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            assert!(!name.contains(bad), "{line}");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

#[test]
fn the_metrics_parse_and_their_numbers_fit_what_happened() {
    let demo = at_first(1, Behaviour::status(500));
    let bursar = Setup::over(&[&demo]).start();
    let mut client = bursar.client();
    client.chat(&chat(json!({})));
    client.chat(&stream(json!({})));
    client.chat(&chat(json!({"model": "no/such"})));
    bursar.client().request("POST", "/v1/chat/completions", &[], "{");
    bursar.books();

    let answer = client.get("/metrics");
    let samples = parse(&answer.text());

    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let at = |series: &str| *samples.get(series).unwrap_or_else(|| panic!("no {series} in {}", answer.text()));
    assert_eq!(at("bursar_requests_admitted_total"), 3.0);
    assert_eq!(at(r#"bursar_requests_total{alias="m",operation="chat",outcome="served",team="none"}"#), 2.0);
    assert_eq!(at(r#"bursar_attempts_total{endpoint="a",outcome="server_error"}"#), 1.0);
    // The one upstream takes every name, so the model that nobody has is served as well.
    assert_eq!(at(r#"bursar_requests_total{alias="direct",operation="chat",outcome="served",team="none"}"#), 1.0);
    assert_eq!(at(r#"bursar_attempts_total{endpoint="a",outcome="served"}"#), 3.0);
    assert_eq!(at(r#"bursar_errors_total{code="invalid_request"}"#), 1.0);
    assert_eq!(at(r#"bursar_request_duration_seconds_count{alias="m"}"#), 2.0);
    assert_eq!(at(r#"bursar_request_duration_seconds_bucket{alias="m",le="+Inf"}"#), 2.0);
    assert_eq!(at(r#"bursar_first_token_seconds_count{alias="m"}"#), 1.0);
    assert_eq!((at("bursar_leases_granted_total"), at("bursar_leases_reported_total")), (4.0, 4.0));
    let prompt = at(r#"bursar_tokens_total{alias="m",kind="prompt",team="none"}"#);
    assert!(prompt > 0.0 && prompt % 2.0 == 0.0, "the same prompt twice: {prompt}");
}

#[test]
fn what_clients_send_never_becomes_a_label() {
    let (one, two) = (demo(), demo());
    let bursar = Setup::over(&[&one, &two]).start();
    let mut client = bursar.client();

    for number in 0..20 {
        client.chat(&chat(json!({"model": format!("a/made-up-{number}")})));
        client.chat(&chat(json!({"model": format!("made-up-{number}")})));
    }

    let metrics = client.get("/metrics").text();
    assert!(!metrics.contains("made-up"), "{metrics}");
}

#[test]
fn the_admin_api_is_closed_without_the_token_and_tells_all_with_it() {
    let demo = demo();
    let more = "[[client_keys]]\nid = \"app\"\nvalue = \"client-key-0123456789\"\n";
    let bursar = Setup::over(&[&demo]).keys(2).more(more).start();
    let client_key = [("x-api-key", "client-key-0123456789")];
    bursar.client().request("POST", "/v1/chat/completions", &client_key, &chat(json!({})).to_string());
    let ask = |path: &str, key: &str| bursar.client().request("GET", path, &[("x-api-key", key)], "");

    for path in ["/admin/api/status", "/admin/api/providers"] {
        assert_eq!(ask(path, "client-key-0123456789").status, 401, "a client key is no admin token");
        assert_eq!(bursar.client().get(path).status, 401);
    }

    let status = ask("/admin/api/status", ADMIN).json();
    let providers = ask("/admin/api/providers", ADMIN);
    assert_eq!((&status["requests_admitted"], &status["client_keys"]), (&json!(1), &json!(1)));
    assert_eq!(providers.json()[0]["keys"].as_array().unwrap().len(), 2);
    assert!(!providers.text().contains("sk-a"), "{}", providers.text());
}

#[test]
fn probes_need_no_key() {
    let demo = demo();
    let more = "[[client_keys]]\nid = \"app\"\nvalue = \"client-key-0123456789\"\n";
    let bursar = Setup::over(&[&demo]).more(more).start();

    for path in ["/", "/healthz", "/readyz", "/metrics"] {
        assert_eq!(bursar.client().get(path).status, 200, "{path}");
        let head = bursar.client().request("HEAD", path, &[], "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
}

#[test]
fn usage_that_makes_no_sense_is_passed_on_and_never_counted_beyond_reason() {
    const REASON: f64 = 1e9;
    let odd = [
        r#""usage":null,"#,
        "",
        r#""usage":{},"#,
        r#""usage":{"prompt_tokens":-5,"completion_tokens":-1},"#,
        r#""usage":{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551615},"#,
        r#""usage":{"prompt_tokens":99999999999999999999999999,"completion_tokens":1e300},"#,
        r#""usage":{"prompt_tokens":"many","completion_tokens":[1]},"#,
    ];
    let choice = r#""choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]"#;
    let delta = r#""choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]"#;

    for usage in odd {
        let whole = format!(r#"{{"id":"x","object":"chat.completion","created":1,"model":"m",{usage}{choice}}}"#);
        let event = format!(r#"{{"id":"x","object":"chat.completion.chunk","created":1,"model":"m",{usage}{delta}}}"#);
        let rules = [(false, whole), (true, format!("data: {event}\n\ndata: [DONE]\n\n"))];
        for (streamed, body) in rules {
            let demo = scripted(Behaviour { body: Some(body.into()), ..Behaviour::default() });
            let bursar = Setup::over(&[&demo]).start();

            let answer = bursar.client().chat(&if streamed { stream(json!({})) } else { chat(json!({})) });

            assert_eq!(answer.status, 200, "{usage}: {}", answer.text());
            assert!(answer.text().contains(r#""content":"x""#), "{usage}: {}", answer.text());
            assert_eq!(bursar.books().endings(), (1, 0, 0), "{usage}");
            let metrics = bursar.client().get("/metrics").text();
            let counted = metrics.lines().filter(|line| line.starts_with("bursar_tokens_total{"));
            let counted = counted.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
            assert!(counted.into_iter().all(|count| (0.0..=REASON).contains(&count)), "{usage}: {metrics}");
        }
    }
}
