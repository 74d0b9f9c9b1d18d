//! `bursar budgets`: how budgets stand, where they are bound for, and more for a while, by the running gateway.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::directory::Form;
use super::list::{self, Column};
use super::{Output, complain, control};
use crate::config::load::Sources;

const COLUMNS: [Column; 11] = [
    ("HOLDER", "holder"),
    ("BUDGET", "budget"),
    ("PERIOD", "period"),
    ("LIMIT (USD)", "limit_usd"),
    ("SPENT (USD)", "spent_usd"),
    ("HELD (USD)", "held_usd"),
    ("LEFT (USD)", "left_usd"),
    ("USED (SHARE)", "used"),
    ("STEP", "step"),
    ("WAITING (REQUESTS)", "waiting"),
    ("RESETS (UTC)", "to"),
];
const FORECAST: [Column; 8] = [
    ("HOLDER", "holder"),
    ("BUDGET", "budget"),
    ("LIMIT (USD)", "limit_usd"),
    ("SPENT (USD)", "spent_usd"),
    ("AT THE END, AT LEAST (USD)", "forecast_low_usd"),
    ("AT MOST (USD)", "forecast_high_usd"),
    ("RUNS OUT (UTC)", "runs_out"),
    ("RESETS (UTC)", "to"),
];
const DETAILS: [Column; 2] = [("WHAT", "what"), ("VALUE", "value")];

#[derive(Subcommand)]
pub enum BudgetsCommand {
    /// List how every budget stands; of end users those that have spent
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Show all that is known of one holder's budgets
    Show {
        /// Whose: org:acme, team:support, key:ci, model:fast, tag:cost_center=4711, provider_key:openai/pool_01
        holder: String,
        #[command(flatten)]
        form: Form,
    },
    /// Give a budget more to spend for a while; --extra 0 takes that back
    Override {
        /// Whose: team:support, as the list says it
        holder: String,
        /// Which of them, by its id, where there are several
        #[arg(long, value_name = "ID")]
        budget: Option<String>,
        /// Dollars on top of its limit, for example 250 or 12.50
        #[arg(long, value_name = "USD")]
        extra: String,
        /// For how long, for example 7d
        #[arg(long = "for", value_name = "TIME", conflicts_with = "until")]
        time: Option<String>,
        /// Until when, for example 2026-12-31 or 2026-12-31T12:00:00Z
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Why; it stands in the books
        #[arg(long)]
        reason: String,
    },
    /// List where budgets are bound for, if spending goes on as in the last week or as in the last day
    Forecast {
        #[command(flatten)]
        form: Form,
    },
}

/// Runs `bursar budgets`.
pub fn run(command: BudgetsCommand, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    match command {
        BudgetsCommand::List { form } => rows(sources, "", &COLUMNS, form.output, output),
        BudgetsCommand::Forecast { form } => rows(sources, "", &FORECAST, form.output, output),
        BudgetsCommand::Show { holder, form } => show(sources, &holder, form.output, output),
        BudgetsCommand::Override { holder, budget, extra, time, until, reason } => {
            let body = json!({
                "holder": holder, "budget": budget, "extra": extra, "for": time, "until": until, "reason": reason,
            });
            match control::order(sources, "POST", "/admin/api/budgets/override", &body.to_string()) {
                Err(why) => Ok(complain(why)),
                Ok(done) => {
                    let (budget, extra) = (list::text(&done["budget"]), list::text(&done["extra_usd"]));
                    match done["until"].as_str() {
                        Some(until) => writeln!(output, "{holder} `{budget}` has {extra} dollars more until {until}")?,
                        None => writeln!(output, "{holder} `{budget}` has its own limit again")?,
                    }
                    Ok(ExitCode::SUCCESS)
                }
            }
        }
    }
}

fn asked(sources: &Sources, query: &str) -> Result<Vec<Value>, String> {
    let answer = control::get(sources, &format!("/admin/api/budgets{query}"))?;
    Ok(answer.as_array().cloned().unwrap_or_default())
}

fn rows(
    sources: &Sources,
    query: &str,
    columns: &[Column],
    form: Output,
    output: &mut dyn Write,
) -> io::Result<ExitCode> {
    match asked(sources, query) {
        Err(why) => Ok(complain(why)),
        Ok(rows) => {
            list::write(&rows, columns, form, output)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show(sources: &Sources, holder: &str, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let escaped = control::escaped(holder);
    let rows = match asked(sources, &format!("?holder={escaped}")) {
        Err(why) => return Ok(complain(why)),
        Ok(rows) if rows.is_empty() => {
            return Ok(complain(format!("{holder} has no budget; `bursar budgets list` shows those that there are")));
        }
        Ok(rows) => rows,
    };
    if form == Output::Json {
        list::write(&rows, &COLUMNS, form, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let facts = |row: &Value| row.as_object().cloned().unwrap_or_default();
    let fact = |(what, value): (String, Value)| json!({ "what": what, "value": list::text(&value) });
    let details: Vec<Value> = rows.iter().flat_map(|row| facts(row).into_iter().map(fact)).collect();
    list::write(&details, &DETAILS, form, output)?;
    Ok(ExitCode::SUCCESS)
}
