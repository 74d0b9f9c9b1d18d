//! `bursar usage reconcile`: a provider's bill beside what the running gateway counted.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::bill::{self, Bill, day_after};
use super::exact::Exact;
use super::formats::Measure;
use super::matching::{Ours, Report, Row, reconcile};
use crate::cli::list::{self, Column};
use crate::cli::{Output, complain, control};
use crate::config::load::{Sources, load};
use crate::config::units;

/// Exit code where both sums differ by more than they may.
const BEYOND: u8 = 2;

/// A bill, and how it is compared.
#[derive(Args)]
pub struct Reconcile {
    /// A CSV file: the costs or usage of an OpenAI organisation, the cost or usage of the Anthropic Console, or a report or
    /// cost table of Google Cloud Billing
    file: PathBuf,
    /// Only what this provider of the configuration served; may be repeated. All of the bill's vendor where none is named
    #[arg(long, value_name = "ID")]
    provider: Vec<String>,
    /// By how many percent of the bill both sums may differ
    #[arg(long, value_name = "PERCENT", default_value = "1")]
    tolerance: String,
    /// Form of the list
    #[arg(long, visible_alias = "format", value_enum, default_value_t)]
    output: Output,
}

/// Runs it. Exit code: 0 where both sums agree, 2 where they do not, 1 where they could not be compared.
pub fn run(command: &Reconcile, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    let compared = read(command).and_then(|(bill, ppm)| {
        let providers = providers(command, &bill, sources)?;
        let ours = ours(sources, &bill, &providers)?;
        Ok((reconcile(&bill, &ours, ppm), bill, providers))
    });
    let (report, bill, providers) = match compared {
        Ok(compared) => compared,
        Err(message) => return Ok(complain(message)),
    };
    match command.output {
        Output::Json => writeln!(output, "{:#}", as_json(&report, &bill, &providers, &command.tolerance))?,
        Output::Csv => list::write(&rows(&report.rows), columns(&report), Output::Csv, output)?,
        Output::Table => {
            let shown: Vec<Row> = report.rows.iter().chain([&report.total]).cloned().collect();
            list::write(&rows(&shown), columns(&report), Output::Table, output)?;
            tell(&report, &bill, &providers, &command.tolerance)?;
        }
    }
    Ok(if report.within { ExitCode::SUCCESS } else { ExitCode::from(BEYOND) })
}

fn read(command: &Reconcile) -> Result<(Bill, u64), String> {
    let written = command.tolerance.trim().trim_end_matches('%');
    // A percent is ten thousand millionths.
    let ppm = units::decimal(written, 4).filter(|ppm| *ppm <= 1_000_000);
    let ppm =
        ppm.ok_or_else(|| format!("--tolerance is `{written}`; it is a percentage from 0 to 100, such as 0.5"))?;
    let file = command.file.display();
    let text = fs::read(&command.file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let bill = bill::read(&String::from_utf8_lossy(&text)).map_err(|why| format!("{file}: {why}"))?;
    Ok((bill, ppm))
}

/// Returns whose requests are on the bill.
fn providers(command: &Reconcile, bill: &Bill, sources: &Sources) -> Result<Vec<String>, String> {
    if !command.provider.is_empty() {
        return Ok(command.provider.clone());
    }
    let config =
        load(sources).map_err(|_| "the configuration has faults (bursar check); name --provider".to_owned())?;
    let billed = config.providers.values().filter(|provider| bill.vendor.bills(provider.kind));
    let billed: Vec<String> = billed.map(|provider| provider.id.clone()).collect();
    if billed.is_empty() {
        let known: Vec<&str> = config.providers.keys().map(String::as_str).collect();
        let (vendor, known) = (bill.vendor.as_str(), known.join(", "));
        return Err(format!("no provider is of {vendor}, whose bill this is; name one by --provider: {known}"));
    }
    Ok(billed)
}

/// Asks the running gateway for its own figures.
fn ours(sources: &Sources, bill: &Bill, providers: &[String]) -> Result<Vec<Ours>, String> {
    let (from, to) = (&bill.first, day_after(&bill.last));
    let path = format!("/admin/api/usage?by=day,provider,model&from={from}&to={to}");
    let rows = control::get(sources, &path)?;
    let rows: Vec<Ours> = rows.as_array().into_iter().flatten().filter_map(Ours::of).collect();
    Ok(rows.into_iter().filter(|row| providers.contains(&row.provider)).collect())
}

const DOLLARS: [Column; 9] = [
    ("DAY (UTC)", "when"),
    ("MODEL", "model"),
    ("BILL (USD)", "bill"),
    ("BURSAR (USD)", "bursar"),
    ("DIFFERENCE (USD)", "difference"),
    ("DIFFERENCE (%)", "percent"),
    ("BILL (REQUESTS)", "bill_requests"),
    ("BURSAR (REQUESTS)", "bursar_requests"),
    ("WHY", "why"),
];
const TOKENS: [Column; 9] = [
    ("DAY (UTC)", "when"),
    ("MODEL", "model"),
    ("BILL (TOKENS)", "bill"),
    ("BURSAR (TOKENS)", "bursar"),
    ("DIFFERENCE (TOKENS)", "difference"),
    ("DIFFERENCE (%)", "percent"),
    ("BILL (REQUESTS)", "bill_requests"),
    ("BURSAR (REQUESTS)", "bursar_requests"),
    ("WHY", "why"),
];

fn columns(report: &Report) -> &'static [Column] {
    match report.measure {
        Measure::Dollars => &DOLLARS,
        Measure::Tokens => &TOKENS,
    }
}

fn rows(rows: &[Row]) -> Vec<Value> {
    rows.iter().map(|row| row_as_json(row, &row.why.join("; ").into())).collect()
}

fn row_as_json(row: &Row, why: &Value) -> Value {
    json!({
        "when": row.when,
        "model": row.model,
        "bill": row.theirs.to_string(),
        "bursar": row.ours.to_string(),
        "difference": row.difference().to_string(),
        "percent": percent(row),
        "bill_requests": row.their_requests,
        "bursar_requests": row.our_requests,
        "why": why,
    })
}

/// Returns the difference in percent of the bill, `-1.25`; none of nothing.
fn percent(row: &Row) -> Option<String> {
    let hundredths = row.difference().share_of(row.theirs)?;
    let sign = if hundredths < 0 { "-" } else { "" };
    Some(format!("{sign}{}.{:02}", hundredths.abs() / 100, hundredths.abs() % 100))
}

fn as_json(report: &Report, bill: &Bill, providers: &[String], tolerance: &str) -> Value {
    let row = |row: &Row| row_as_json(row, &json!(row.why));
    json!({
        "bill": bill.name,
        "vendor": bill.vendor.as_str(),
        "unit": match report.measure { Measure::Dollars => "USD", Measure::Tokens => "tokens" },
        "providers": providers,
        "from": bill.first,
        "to": bill.last,
        "rows": report.rows.iter().map(row).collect::<Vec<_>>(),
        "total": row(&report.total),
        "tolerance_percent": tolerance.trim().trim_end_matches('%'),
        "within": report.within,
        "notes": bill.notes,
    })
}

/// Says on standard error what the list means, so that standard output is the list alone.
fn tell(report: &Report, bill: &Bill, providers: &[String], tolerance: &str) -> io::Result<()> {
    let mut words = io::stderr();
    writeln!(words, "{}, {} to {}, against {}", bill.name, bill.first, bill.last, providers.join(", "))?;
    for note in &bill.notes {
        writeln!(words, "note: {note}")?;
    }
    let (unit, decimals) = match report.measure {
        Measure::Dollars => ("USD", 6),
        Measure::Tokens => ("tokens", 0),
    };
    let figure = |number: Exact| number.rounded(decimals);
    let Row { theirs, ours, .. } = &report.total;
    let verdict = if report.within { "agrees with" } else { "differs from" };
    let (theirs, ours, tolerance) = (figure(*theirs), figure(*ours), tolerance.trim().trim_end_matches('%'));
    writeln!(words, "Bursar's {ours} {unit} {verdict} the bill's {theirs} {unit} (tolerance {tolerance} %)")
}
