//! `bursar providers`: every endpoint and key of the running gateway, and the operator's hand on them.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::control::{self, Answer};
use super::list::{self, Column};
use super::{Output, complain};
use crate::config::load::Sources;

const COLUMNS: [Column; 15] = [
    ("ENDPOINT", "endpoint"),
    ("BREAKER", "breaker"),
    ("PAUSED", "paused"),
    ("KEY", "key"),
    ("STATE", "state"),
    ("BACK IN (s)", "back_in_s"),
    ("IN FLIGHT", "in_flight"),
    ("SERVED", "served"),
    ("FAILED", "failed"),
    ("LAST ERROR", "last_error"),
    ("REQUESTS LEFT", "requests_left"),
    ("TOKENS LEFT", "tokens_left"),
    ("FIRST TOKEN (ms)", "first_token_ms"),
    ("LAST PROBE", "probe"),
    ("PROBED (s ago)", "probe_ago_s"),
];

/// Prints a row per key; JSON keeps the nested form of the admin API.
pub fn run(sources: &Sources, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let endpoints = match control::get(sources, "/admin/api/providers") {
        Ok(endpoints) => endpoints,
        Err(message) => return Ok(complain(message)),
    };
    if form == Output::Json {
        writeln!(output, "{endpoints:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Value> = endpoints.as_array().into_iter().flatten().flat_map(rows).collect();
    list::write(&rows, &COLUMNS, form, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes an endpoint or `endpoint/key` out, or brings it back.
pub fn steer(
    sources: &Sources,
    action: &str,
    name: &str,
    time: Option<&str>,
    output: &mut dyn Write,
) -> io::Result<ExitCode> {
    let (endpoint, key) = name.split_once('/').map_or((name, None), |(endpoint, key)| (endpoint, Some(key)));
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    // What goes into a path and a query must not need escaping.
    if !is_word(endpoint) || !key.is_none_or(is_word) || !time.is_none_or(is_word) {
        return Ok(complain(format!("`{name}` is no endpoint or endpoint/key; `bursar providers list` shows them")));
    }
    let pairs = [("key", key), ("for", time)];
    let query: Vec<_> = pairs.iter().filter_map(|(field, value)| Some(format!("{field}={}", (*value)?))).collect();
    let path = format!("/admin/api/providers/{endpoint}/{action}?{}", query.join("&"));
    match control::call(sources, "POST", &path) {
        Ok(Answer::Done(_)) => {
            let until = time.filter(|_| action == "rest").map(|time| format!(" for {time}")).unwrap_or_default();
            writeln!(output, "{action} {name}{until}: done")?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Answer::Refused(faults)) => Ok(complain(faults.join("\n"))),
        Err(message) => Ok(complain(message)),
    }
}

fn rows(endpoint: &Value) -> Vec<Value> {
    let keys = endpoint["keys"].as_array().cloned().unwrap_or_default();
    let of_key = |mut key: Value| {
        for field in ["endpoint", "breaker", "paused", "first_token_ms", "probe", "probe_ago_s"] {
            key[field] = endpoint[field].clone();
        }
        key
    };
    if keys.is_empty() {
        return vec![of_key(json!({}))];
    }
    keys.into_iter().map(of_key).collect()
}
