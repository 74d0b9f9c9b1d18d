//! The table of an export: which columns it has, and the table as CSV that a spreadsheet opens without harm.

use std::io::{self, Write};

use crate::audit::record::{Phase, Record};

/// A record with its place in the log.
#[derive(Debug)]
pub struct Row<'a> {
    /// Its index.
    pub index: u64,
    /// What it says.
    pub record: &'a Record<'a>,
}

/// What stands in one column of a row.
#[derive(Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Words, where there are any.
    Text(Option<&'a str>),
    /// A whole number, where there is one.
    Number(Option<u64>),
    /// Microseconds since 1970.
    Time(u64),
    /// Yes or no.
    Flag(bool),
}

/// A column: its name and what stands in it.
pub type Column = (&'static str, for<'a> fn(&'a Row<'a>) -> Cell<'a>);

macro_rules! text {
    ($field:ident) => {
        (stringify!($field), |row| Cell::Text(row.record.$field.as_deref()))
    };
}

/// Every column, in order. New ones go to the end, because reports count them.
pub const COLUMNS: &[Column] = &[
    ("index", |row| Cell::Number(Some(row.index))),
    ("time", |row| Cell::Time(row.record.at_us)),
    ("phase", |row| Cell::Text(row.record.phase.map(Phase::as_str))),
    text!(request),
    text!(actor),
    text!(team),
    text!(user),
    text!(network),
    ("action", |row| Cell::Text(Some(&row.record.action))),
    text!(asked),
    text!(alias),
    text!(provider),
    text!(model),
    text!(endpoint),
    text!(region),
    text!(key),
    ("stream", |row| Cell::Flag(row.record.stream)),
    text!(outcome),
    ("status", |row| Cell::Number(row.record.status.map(u64::from))),
    text!(error),
    text!(finish),
    ("prompt_tokens", |row| Cell::Number(row.record.tokens.map(|tokens| tokens.prompt))),
    ("completion_tokens", |row| Cell::Number(row.record.tokens.map(|tokens| tokens.completion))),
    ("cached_tokens", |row| Cell::Number(row.record.tokens.map(|tokens| tokens.cached))),
    ("cost_nano_usd", |row| Cell::Number(row.record.cost_nano)),
    text!(price),
    ("estimated", |row| Cell::Flag(row.record.estimated)),
    ("attempts", |row| Cell::Number(Some(row.record.attempts_made.into()))),
    ("first_token_us", |row| Cell::Number(row.record.latency_us.map(|latency| latency.first_token))),
    ("total_us", |row| Cell::Number(row.record.latency_us.map(|latency| latency.total))),
    ("overhead_us", |row| Cell::Number(row.record.latency_us.map(|latency| latency.overhead))),
    ("redactions", |row| Cell::Number(Some(row.record.redactions.values().copied().map(u64::from).sum()))),
    text!(body_hash),
    ("call", |row| Cell::Number(row.record.call)),
    text!(config),
    text!(build),
    ("count", |row| Cell::Number(row.record.count)),
    text!(note),
    text!(session),
    text!(org),
    ("held_nano_usd", |row| Cell::Number(row.record.held_nano)),
    ("overrun_nano_usd", |row| Cell::Number(Some(row.record.overrun_nano))),
    ("unpriced", |row| Cell::Flag(row.record.unpriced)),
    text!(downgraded_from),
];

/// Writes the names of the columns.
pub fn write_head(output: &mut impl Write) -> io::Result<()> {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    writeln!(output, "{}\r", names.join(","))
}

/// Writes one row.
pub fn write_row(output: &mut impl Write, row: &Row<'_>) -> io::Result<()> {
    for (position, (_, cell)) in COLUMNS.iter().enumerate() {
        if position > 0 {
            output.write_all(b",")?;
        }
        match cell(row) {
            Cell::Text(None) | Cell::Number(None) => {}
            Cell::Text(Some(text)) => output.write_all(quoted(text).as_bytes())?,
            Cell::Number(Some(number)) => write!(output, "{number}")?,
            Cell::Time(at_us) => output.write_all(time_text(at_us).as_bytes())?,
            Cell::Flag(flag) => write!(output, "{flag}")?,
        }
    }
    output.write_all(b"\r\n")
}

/// Returns `text` as a field of a CSV file. What a spreadsheet would take for a formula gets an apostrophe in front.
fn quoted(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains(['"', ',', '\n', '\r']) {
        return format!("\"{guard}{}\"", text.replace('"', "\"\""));
    }
    format!("{guard}{text}")
}

/// Returns microseconds since 1970 as `2026-11-23T17:34:41.000000Z`.
///
/// Source of the arithmetic: the proleptic Gregorian calendar has 146,097 days in 400 years; years are counted from
/// March, so that the leap day is a year's last.
fn time_text(at_us: u64) -> String {
    let (seconds, micros) = (at_us / 1_000_000, at_us % 1_000_000);
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_is_taken_for_a_formula_or_ends_early() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"] {
            assert_eq!(quoted(formula), format!("'{formula}"));
        }
        assert_eq!(quoted("\r=1"), "\"'\r=1\"");
        assert_eq!(quoted("=a,\"b\""), "\"'=a,\"\"b\"\"\"");
        assert_eq!(quoted("a=1"), "a=1");
    }

    #[test]
    fn a_row_has_as_many_fields_as_the_head() {
        let record = Record { at_us: 1, action: "chat".into(), ..Record::default() };
        let (mut head, mut row) = (Vec::new(), Vec::new());

        write_head(&mut head).unwrap();
        write_row(&mut row, &Row { index: 3, record: &record }).unwrap();

        let commas = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b',').count();
        assert_eq!(commas(&head), commas(&row));
        assert!(row.starts_with(b"3,1970-01-01T00:00:00.000001Z,"));
    }

    #[test]
    fn times_are_told_by_the_calendar() {
        assert_eq!(time_text(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(time_text(1_795_455_281_000_042), "2026-11-23T17:34:41.000042Z");
        assert_eq!(time_text(4_102_444_799_999_999), "2099-12-31T23:59:59.999999Z");
    }
}
