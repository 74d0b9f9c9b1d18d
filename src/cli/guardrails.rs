//! `bursar guardrails test`: whether the policies in the configuration do to texts what their author expects.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use bursar_actors::{OrgId, TeamId};

use serde::Deserialize;
use serde_json::{Value, json};

use super::list::{self, Column};
use super::{Output, complain};
use crate::config::load::{Sources, load};
use crate::config::privacy::{Asker, Stage};
use crate::pipeline::guards::Guards;

const COLUMNS: [Column; 5] =
    [("LINE", "line"), ("RESULT", "result"), ("EXPECTED", "expected"), ("FOUND", "found"), ("BECOMES", "becomes")];

/// One line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    text: String,
    /// Entities that have to be found, and no others; nothing has to be found without it.
    #[serde(default)]
    expect: BTreeSet<String>,
    /// Whether the request has to be refused.
    #[serde(default)]
    blocked: bool,
    /// Whose policy counts; everybody's without it.
    team: Option<String>,
    /// The organisation of the team.
    org: Option<String>,
    /// The alias that is asked for.
    #[serde(default)]
    route: String,
    #[serde(default = "input")]
    stage: Stage,
}

fn input() -> Stage {
    Stage::Input
}

/// Prints a row for each line of `file`, a JSON object each with `text`, and what is expected of it: `expect` (entities), `blocked`,
/// and for whom: `team`, `org`, `route`, `stage`. Exit code: 0 all as expected, 1 not, or a file that cannot be read.
pub fn test(sources: &Sources, file: &Path, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let guards = match load(sources) {
        Ok(config) => Guards::new(&config),
        Err(faults) => return Ok(complain(format!("the configuration has faults\n{faults}"))),
    };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(fault) => return Ok(complain(format!("{} cannot be read: {fault}", file.display()))),
    };
    let (mut rows, mut failed) = (Vec::new(), 0);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let case: Case = match serde_json::from_str(line) {
            Ok(case) => case,
            Err(fault) => return Ok(complain(format!("{}:{}: {fault}", file.display(), number + 1))),
        };
        let (row, passed) = tried(&guards, &case, number + 1);
        failed += usize::from(!passed);
        rows.push(row);
    }
    list::write(&rows, &COLUMNS, form, output)?;
    if failed > 0 {
        return Ok(complain(format!("{failed} of {} texts are not treated as expected", rows.len())));
    }
    Ok(ExitCode::SUCCESS)
}

fn tried(guards: &Guards, case: &Case, line: usize) -> (Value, bool) {
    let (team, org) = (case.team.as_deref().map(TeamId::from), case.org.as_deref().map(OrgId::from));
    let asker = Asker { team: team.as_ref(), org: org.as_ref() };
    let (becomes, report) = guards.of_text(asker, &case.route, case.stage, &case.text);
    let found: BTreeSet<String> = report.counts.keys().map(|(_, entity, _)| entity.as_str().to_owned()).collect();
    let blocked = report.blocked.is_some();
    let passed = found == case.expect && blocked == case.blocked;
    let words = |names: &BTreeSet<String>, blocked: bool| {
        let refused = blocked.then(|| "refused".to_owned());
        names.iter().cloned().chain(refused).collect::<Vec<_>>().join(", ")
    };
    let row = json!({
        "line": line,
        "result": if passed { "ok" } else { "FAILED" },
        "expected": words(&case.expect, case.blocked),
        "found": words(&found, blocked),
        "becomes": if blocked { None } else { Some(becomes) },
    });
    (row, passed)
}
