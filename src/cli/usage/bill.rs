//! Reads a provider's export of costs or usage.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::exact::Exact;
use super::formats::{End, FORMATS, Format, Measure, ModelIn, Vendor, column_name, model_of_sku};
use crate::config::units;

/// Lines before the heading that are looked at: Google writes some about the invoice.
const PREAMBLE_MAX: usize = 40;
/// Services of Google whose models are called here.
const SERVICES: [&str; 4] = ["gemini", "vertex", "generative language", "agent platform"];
/// A day, in seconds.
const DAY_S: u64 = 86_400;

/// What a provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    pub vendor: Vendor,
    /// What kind of export it is, for people.
    pub name: &'static str,
    pub measure: Measure,
    pub lines: Vec<Line>,
    /// The first and the last day that it is about, `2026-11-01`.
    pub first: String,
    pub last: String,
    /// Whether its lines say how many requests they are about.
    pub has_requests: bool,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// One line that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub from: String,
    /// The same day, as a rule.
    pub to: String,
    /// As the bill calls it; `None` where it names none.
    pub model: Option<String>,
    /// Dollars or tokens.
    pub amount: Exact,
    pub requests: u64,
}

/// A format, and where its columns are in this file.
struct Columns {
    format: &'static Format,
    names: Vec<String>,
}

impl Columns {
    fn of(record: &StringRecord) -> Option<Self> {
        let names: Vec<String> = record.iter().map(column_name).collect();
        let fits = |format: &&Format| format.known_by.iter().all(|column| names.iter().any(|name| name == column));
        FORMATS.iter().find(fits).map(|format| Self { format, names })
    }

    fn cell<'r>(&self, record: &'r StringRecord, column: &str) -> Option<&'r str> {
        let place = self.names.iter().position(|name| name == column)?;
        record.get(place).filter(|cell| !cell.is_empty())
    }

    fn first<'r>(&self, record: &'r StringRecord, columns: &[&str]) -> Option<&'r str> {
        columns.iter().find_map(|column| self.cell(record, column))
    }

    /// Returns the model that a line names.
    fn model(&self, record: &StringRecord) -> Option<String> {
        match self.format.model {
            ModelIn::Name(column) => self.cell(record, column).map(str::to_owned),
            ModelIn::LineItem(column) => {
                let item = self.cell(record, column)?;
                Some(item.split_once(',').map_or(item, |(model, _)| model).trim().to_owned())
            }
            ModelIn::Sku(column) => {
                let sku = self.cell(record, column)?;
                Some(model_of_sku(sku).unwrap_or_else(|| sku.to_owned()))
            }
        }
    }

    /// Returns what a line counts; `None` where it has no figure.
    fn amount(&self, record: &StringRecord) -> Result<Option<Exact>, String> {
        let read = |column: &&str| {
            let cell = self.cell(record, column)?;
            Some(Exact::parse(cell).ok_or_else(|| format!("{column} is `{cell}`, which is no number")))
        };
        let mut figures = self.format.amounts.iter().filter_map(read);
        match self.format.measure {
            Measure::Dollars => figures.next().transpose(),
            Measure::Tokens => {
                let figures: Vec<Exact> = figures.collect::<Result<_, _>>()?;
                Ok((!figures.is_empty()).then(|| figures.into_iter().sum()))
            }
        }
    }

    /// Returns the days that a line is about; `None` where it names none.
    fn days(&self, record: &StringRecord) -> Result<Option<(String, String)>, String> {
        let Some(from) = self.first(record, self.format.day) else { return Ok(None) };
        let from = day(from, End::Inclusive)?;
        let to = match self.first(record, self.format.until) {
            Some(until) => day(until, self.format.end)?,
            None => from.clone(),
        };
        Ok(Some((from.clone(), to.max(from))))
    }
}

/// Reads an export. An error says what is wrong with it, and where.
pub fn read(text: &str) -> Result<Bill, String> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let mut heading = None;
    let mut seen = Vec::new();
    for record in records.by_ref().take(PREAMBLE_MAX) {
        let record = record.map_err(|error| error.to_string())?;
        heading = Columns::of(&record).map(|columns| (columns, record.clone()));
        if heading.is_some() {
            break;
        }
        seen.push(record);
    }
    let Some((columns, record)) = heading else { return Err(unknown(&seen)) };
    in_dollars(&columns, &record)?;
    let mut lines = Lines::default();
    for record in records {
        let record = record.map_err(|error| error.to_string())?;
        let line = record.position().map_or(0, csv::Position::line);
        lines.take(&columns, &record).map_err(|why| format!("line {line}: {why}"))?;
    }
    lines.bill(columns.format)
}

/// Returns what separates the cells, by what the file has most of in its beginning.
fn delimiter(text: &str) -> u8 {
    let beginning: Vec<u8> = text.bytes().take(4_096).collect();
    let count = |delimiter: u8| beginning.iter().filter(|byte| **byte == delimiter).count();
    [b',', b'\t', b';'].into_iter().max_by_key(|delimiter| (count(*delimiter), *delimiter == b',')).unwrap_or(b',')
}

fn unknown(seen: &[StringRecord]) -> String {
    let widest = seen.iter().rev().max_by_key(|record| record.len());
    let columns = widest.map(|record| record.iter().take(12).collect::<Vec<_>>().join(", ")).unwrap_or_default();
    let known = FORMATS.map(|format| format!("{} ({})", format.name, format.known_by.join(", ")));
    format!("its columns are of no export that is known: {columns}; known, by these columns: {}", known.join("; "))
}

/// Refuses a bill whose heading says another currency: `Cost (€)`.
fn in_dollars(columns: &Columns, heading: &StringRecord) -> Result<(), String> {
    if columns.format.measure != Measure::Dollars {
        return Ok(());
    }
    for (written, name) in heading.iter().zip(&columns.names) {
        let currency = written.split_once('(').map(|(_, rest)| rest.trim_end_matches(')').trim());
        let counts = columns.format.amounts.contains(&name.as_str());
        if let Some(currency) = currency.filter(|currency| counts && !is_dollars(currency)) {
            return Err(format!("it counts in {currency}; only bills in US dollars can be compared"));
        }
    }
    Ok(())
}

fn is_dollars(currency: &str) -> bool {
    ["$", "usd", "us$"].contains(&currency.to_ascii_lowercase().as_str())
}

/// Returns the day of a moment as exports write it: a date, with or without a time, or seconds since 1970. The end of a span
/// that has no part of a day is the day before.
fn day(text: &str, end: End) -> Result<String, String> {
    let wrong = || format!("`{text}` is no day; a day is written as 2026-11-30");
    let before = u64::from(end == End::Exclusive);
    let plain = text.trim();
    if plain.len() >= 9 && plain.bytes().all(|byte| byte.is_ascii_digit()) {
        let at: u64 = plain.parse().map_err(|_| wrong())?;
        return Ok(date(at.saturating_sub(before)));
    }
    let (written, rest) = plain.split_at_checked(10).ok_or_else(wrong)?;
    let at = units::time(&written.replace('/', "-")).map_err(|_| wrong())?;
    let time = rest.get(1..).unwrap_or_default();
    let midnight = time.is_empty() || time.starts_with("00:00:00") || time == "00:00";
    Ok(date(at.saturating_sub(if midnight { before } else { 0 })))
}

/// Returns the day in which that second lies.
pub fn date(unix_s: u64) -> String {
    let mut text = units::time_text(unix_s);
    text.truncate(10);
    text
}

/// Returns the day after `day`.
pub fn day_after(day: &str) -> String {
    units::time(day).map_or_else(|_| day.to_owned(), |at| date(at + DAY_S))
}

/// What was read so far.
#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    /// The first and the last day, of lines without a figure, too.
    span: Option<(String, String)>,
    foreign: usize,
    foreign_amount: Exact,
    undated: usize,
}

impl Lines {
    fn take(&mut self, columns: &Columns, record: &StringRecord) -> Result<(), String> {
        let format = columns.format;
        let Some((from, to)) = columns.days(record).or_else(|why| {
            // Below the table Google writes sums, which have no day.
            if columns.amount(record).ok().flatten().is_some() { Err(why) } else { Ok(None) }
        })?
        else {
            self.undated += usize::from(columns.amount(record).is_ok_and(|amount| amount.is_some()));
            return Ok(());
        };
        self.span = Some(match self.span.take() {
            Some((first, last)) => (first.min(from.clone()), last.max(to.clone())),
            None => (from.clone(), to.clone()),
        });
        let Some(amount) = columns.amount(record)? else { return Ok(()) };
        if let Some(currency) =
            format.currency.and_then(|column| columns.cell(record, column)).filter(|c| !is_dollars(c))
        {
            return Err(format!("it counts in {currency}; only bills in US dollars can be compared"));
        }
        if !is_of_models(columns, record) {
            self.foreign += 1;
            self.foreign_amount += amount;
            return Ok(());
        }
        let requests = format.requests.and_then(|column| columns.cell(record, column));
        let requests = requests.map_or(Some(0), |cell| cell.replace(',', "").parse().ok());
        let requests = requests.ok_or("the number of requests is no whole number")?;
        self.lines.push(Line { from, to, model: columns.model(record), amount, requests });
        Ok(())
    }

    fn bill(self, format: &'static Format) -> Result<Bill, String> {
        let Self { lines, span, foreign, foreign_amount, undated } = self;
        let Some((first, last)) = span else {
            let columns = format.day.join(", ");
            return Err(format!("no line of it has a day ({columns}); group the export by day"));
        };
        let mut notes = Vec::new();
        if foreign > 0 {
            let amount = foreign_amount.rounded(2);
            notes.push(format!("{foreign} lines ({amount} USD) are of other services than models, and left out"));
        }
        if undated > 0 {
            notes.push(format!("{undated} lines without a day are left out: sums, as a rule"));
        }
        if format.vendor == Vendor::Google {
            notes.push("Google's days begin at midnight Pacific time, Bursar's at midnight UTC".to_owned());
        }
        let Format { vendor, name, measure, requests, .. } = *format;
        Ok(Bill { vendor, name, measure, lines, first, last, has_requests: requests.is_some(), notes })
    }
}

/// Returns whether the line is about models: a bill of Google has all services.
fn is_of_models(columns: &Columns, record: &StringRecord) -> bool {
    if columns.format.vendor != Vendor::Google {
        return true;
    }
    let service = columns.cell(record, "service_description").unwrap_or_default().to_ascii_lowercase();
    let sku = columns.cell(record, "sku_description").unwrap_or_default();
    SERVICES.iter().any(|known| service.contains(known)) || model_of_sku(sku).is_some()
}

#[cfg(test)]
#[path = "bill_tests.rs"]
mod tests;
