//! `bursar status`: how the running gateway is.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::list::{self, Column};
use super::{Output, complain, control};
use crate::config::load::Sources;

const COLUMNS: [Column; 2] = [("WHAT", "what"), ("VALUE", "value")];

/// Prints the status, or nothing if `quiet`. Returns 0 where a gateway serves.
pub fn run(sources: &Sources, form: Output, quiet: bool, output: &mut dyn Write) -> io::Result<ExitCode> {
    let status = match control::get(sources, "/admin/api/status") {
        Ok(status) => status,
        Err(_) if quiet => return Ok(ExitCode::FAILURE),
        Err(message) => return Ok(complain(message)),
    };
    let stopping = status["stopping"] == true;
    let code = if stopping { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if quiet {
        return Ok(code);
    }
    if form == Output::Json {
        writeln!(output, "{status:#}")?;
        return Ok(code);
    }
    let fields = status.as_object().into_iter().flatten();
    let row = |(what, value): (&String, &Value)| serde_json::json!({ "what": what, "value": shown(value) });
    list::write(&fields.map(row).collect::<Vec<_>>(), &COLUMNS, form, output)?;
    Ok(code)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
