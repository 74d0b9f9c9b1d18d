//! `bursar reload` and `bursar config diff`: what a new configuration changes in the running gateway.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::control::{self, Answer};
use super::list::{self, Column};
use super::{Output, complain};
use crate::books::counted;
use crate::config::load::Sources;

const COLUMNS: [Column; 4] = [("SETTING", "path"), ("BEFORE", "before"), ("AFTER", "after"), ("COUNTS", "counts")];

/// Makes the gateway read its configuration again and prints what changed. Returns 1 where it has faults.
pub fn run(sources: &Sources, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    print(control::call(sources, "POST", "/admin/api/reload"), "now", form, output)
}

/// Prints what a reload would change. Returns 1 where it would be refused.
pub fn preview(sources: &Sources, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    print(control::call(sources, "GET", "/admin/api/config/diff"), "after a reload", form, output)
}

fn print(answer: Result<Answer, String>, when: &str, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let answer = match answer {
        Ok(Answer::Done(answer)) => answer,
        Ok(Answer::Refused(faults)) => {
            let count = counted(faults.len() as u64, "fault", "faults");
            let all = faults.join("\n");
            return Ok(complain(format!("the configuration has {count}; nothing was changed\n{all}")));
        }
        Err(message) => return Ok(complain(message)),
    };
    if form == Output::Json {
        writeln!(output, "{answer:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let with_time = |change: &Value| {
        let mut row = change.clone();
        row["counts"] = if change["needs_restart"] == true { "after a restart" } else { when }.into();
        row
    };
    let rows: Vec<Value> = answer["changes"].as_array().into_iter().flatten().map(with_time).collect();
    if rows.is_empty() && form == Output::Table {
        writeln!(output, "nothing differs from what is running")?;
    } else {
        list::write(&rows, &COLUMNS, form, output)?;
    }
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(io::stderr(), "{warning} [warning]");
    }
    Ok(ExitCode::SUCCESS)
}
