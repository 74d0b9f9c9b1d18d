//! `bursar providers list`: every endpoint and key of the running gateway.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::list::{self, Column};
use super::{Output, complain, control};
use crate::config::load::Sources;

const COLUMNS: [Column; 12] = [
    ("ENDPOINT", "endpoint"),
    ("BREAKER", "breaker"),
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

fn rows(endpoint: &Value) -> Vec<Value> {
    let keys = endpoint["keys"].as_array().cloned().unwrap_or_default();
    let of_key = |mut key: Value| {
        for field in ["endpoint", "breaker", "first_token_ms"] {
            key[field] = endpoint[field].clone();
        }
        key
    };
    if keys.is_empty() {
        return vec![of_key(json!({}))];
    }
    keys.into_iter().map(of_key).collect()
}
