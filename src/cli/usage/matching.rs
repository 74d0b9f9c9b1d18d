//! Holds a bill against Bursar's own figures: by day and model, and in all. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::bill::Bill;
use super::exact::Exact;
use super::formats::{Measure, one_name};

/// What Bursar counted of a model on a day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ours {
    pub day: String,
    pub provider: String,
    pub model: String,
    pub requests: u64,
    /// Read and written.
    pub tokens: u64,
    pub dollars: Exact,
    /// The part of `dollars` that nobody told, but was estimated.
    pub estimated: Exact,
    /// Requests whose price nobody knows.
    pub unpriced: u64,
}

impl Ours {
    /// Reads a row of the admin API's usage by day, provider and model; `None` where it is none.
    pub fn of(row: &Value) -> Option<Self> {
        let text = |field: &str| Some(row[field].as_str()?.to_owned());
        let count = |field: &str| row[field].as_u64().unwrap_or_default();
        let dollars = |field: &str| row[field].as_str().and_then(Exact::parse);
        Some(Self {
            day: text("day")?.get(..10)?.to_owned(),
            provider: text("provider").unwrap_or_default(),
            model: text("model").unwrap_or_default(),
            requests: count("requests"),
            tokens: count("prompt_tokens").saturating_add(count("completion_tokens")),
            dollars: dollars("cost_usd")?,
            estimated: dollars("estimated_usd").unwrap_or_default(),
            unpriced: count("unpriced_requests"),
        })
    }
}

/// A bill beside what Bursar counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub measure: Measure,
    /// Of each model on each day; of whole spans where the bill tells no days, of all models where it tells no models.
    pub rows: Vec<Row>,
    pub total: Row,
    /// Whether both sums are as close as they have to be.
    pub within: bool,
}

/// Both figures of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// A day, or a span: `2026-11-01 to 2026-11-30`.
    pub when: String,
    pub model: String,
    /// What the provider says, in dollars or tokens.
    pub theirs: Exact,
    pub ours: Exact,
    /// Requests by the bill, where it tells them.
    pub their_requests: Option<u64>,
    pub our_requests: u64,
    /// Why they may differ.
    pub why: Vec<String>,
}

impl Row {
    /// Returns what Bursar counted more; less than nothing where it counted less.
    pub fn difference(&self) -> Exact {
        self.ours - self.theirs
    }
}

/// One row in the making.
#[derive(Default)]
struct Sum {
    row: Row,
    on_bill: bool,
    estimated: Exact,
    unpriced: u64,
}

/// Compares `bill` with what Bursar counted in the same days of the same providers. Sums that differ by at most
/// `tolerance_ppm` millionths of the bill agree.
pub fn reconcile(bill: &Bill, ours: &[Ours], tolerance_ppm: u64) -> Report {
    let by_model = bill.lines.iter().any(|line| line.model.is_some());
    let by_day = bill.lines.iter().all(|line| line.from == line.to);
    let span = format!("{} to {}", bill.first, bill.last);
    let when = |day: &str| if by_day { day.to_owned() } else { span.clone() };
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for line in &bill.lines {
        let model = line.model.as_deref().unwrap_or_default();
        let sum = sums.entry((when(&line.from), one_name(model))).or_default();
        sum.row.theirs += line.amount;
        sum.row.their_requests = bill.has_requests.then(|| sum.row.their_requests.unwrap_or_default() + line.requests);
        sum.on_bill = true;
        name(&mut sum.row.model, model);
    }
    let within = |day: &str| bill.first.as_str() <= day && day <= bill.last.as_str();
    for count in ours.iter().filter(|count| within(&count.day)) {
        let model = if by_model { count.model.as_str() } else { "" };
        let sum = sums.entry((when(&count.day), one_name(model))).or_default();
        sum.row.ours += match bill.measure {
            Measure::Dollars => count.dollars,
            Measure::Tokens => Exact::whole(count.tokens),
        };
        sum.row.our_requests += count.requests;
        sum.estimated += count.estimated;
        sum.unpriced += count.unpriced;
        name(&mut sum.row.model, model);
    }
    let known: BTreeSet<String> = ours.iter().map(|count| one_name(&count.model)).collect();
    let mut total = Sum { row: Row { when: span.clone(), model: "total".into(), ..Row::default() }, ..Sum::default() };
    total.on_bill = true;
    let mut rows = Vec::with_capacity(sums.len());
    for ((when, key), mut sum) in sums {
        sum.row.when = when;
        if sum.row.model.is_empty() {
            sum.row.model = if by_model { "(none named)" } else { "(all)" }.to_owned();
        }
        total.add(&sum);
        sum.row.why = sum.why(bill.measure, !by_model || known.contains(&key), tolerance_ppm);
        rows.push(sum.row);
    }
    let within = total.row.ours.is_within(total.row.theirs, tolerance_ppm);
    Report { measure: bill.measure, rows, total: total.row, within }
}

/// Gives a row the shortest of the names that its model has.
fn name(place: &mut String, model: &str) {
    if !model.is_empty() && (place.is_empty() || model.len() < place.len()) {
        *place = model.to_owned();
    }
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.row.theirs += other.row.theirs;
        self.row.ours += other.row.ours;
        self.row.our_requests += other.row.our_requests;
        if let Some(requests) = other.row.their_requests {
            self.row.their_requests = Some(self.row.their_requests.unwrap_or_default() + requests);
        }
    }

    fn why(&self, measure: Measure, is_known: bool, tolerance_ppm: u64) -> Vec<String> {
        let Row { theirs, ours, our_requests, .. } = &self.row;
        let mut why = Vec::new();
        if measure == Measure::Dollars && self.unpriced > 0 {
            let unpriced = self.unpriced;
            why.push(format!("{unpriced} of {our_requests} requests have no price here; see [catalog.models]"));
        }
        if measure == Measure::Dollars && !self.estimated.is_zero() {
            why.push(format!("{} USD are estimated: nobody told the tokens", self.estimated.rounded(6)));
        }
        if ours.is_within(*theirs, tolerance_ppm) {
            return why;
        }
        if *our_requests == 0 {
            why.push(
                if is_known { "no request of that day went through Bursar" } else { "went past Bursar" }.to_owned(),
            );
        } else if !self.on_bill {
            why.push("not on the bill: billed later, or to another account".to_owned());
        } else if why.is_empty() {
            let words = match (measure, ours < theirs) {
                (_, true) => "calls that went past Bursar, or were cut off before they told their tokens",
                (Measure::Dollars, false) => "discounts or credits, or prices that have changed",
                (Measure::Tokens, false) => "counted by the provider on another day, or estimated here",
            };
            why.push(words.to_owned());
        }
        why
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::cli::usage::bill::Line;
    use crate::cli::usage::formats::Vendor;

    fn exact(text: &str) -> Exact {
        Exact::parse(text).unwrap()
    }

    fn line(day: &str, model: Option<&str>, amount: &str) -> Line {
        let (from, to) = (day.to_owned(), day.to_owned());
        Line { from, to, model: model.map(str::to_owned), amount: exact(amount), requests: 2 }
    }

    fn bill(measure: Measure, lines: Vec<Line>) -> Bill {
        let (first, last) = ("2026-11-01".to_owned(), "2026-11-02".to_owned());
        let (vendor, name, notes) = (Vendor::Anthropic, "a bill", vec![]);
        Bill { vendor, name, measure, lines, first, last, has_requests: measure == Measure::Tokens, notes }
    }

    fn ours(day: &str, model: &str, dollars: &str) -> Ours {
        let (day, model) = (day.to_owned(), model.to_owned());
        Ours { day, model, provider: "p".into(), requests: 3, tokens: 100, dollars: exact(dollars), ..Ours::default() }
    }

    #[test]
    fn models_are_matched_by_day_whatever_either_calls_them() {
        let bill = bill(
            Measure::Dollars,
            vec![
                line("2026-11-01", Some("Claude Haiku 4.5"), "1.5"),
                line("2026-11-01", Some("Claude Haiku 4.5"), "0.5"),
                line("2026-11-02", Some("Claude Opus 5"), "4"),
            ],
        );
        let counted = [
            ours("2026-11-01", "claude-haiku-4-5-20251001", "1.25"),
            ours("2026-11-01", "claude-haiku-4-5", "0.74"),
            ours("2026-11-02", "claude-sonnet-5", "1"),
            ours("2026-11-03", "claude-haiku-4-5", "9"),
        ];

        let report = reconcile(&bill, &counted, 10_000);

        let row = |row: &Row| (row.when.clone(), row.model.clone(), row.theirs.to_string(), row.ours.to_string());
        let rows: Vec<_> = report.rows.iter().map(row).collect();
        let expected = [
            ("2026-11-01", "Claude Haiku 4.5", "2", "1.99"),
            ("2026-11-02", "Claude Opus 5", "4", "0"),
            ("2026-11-02", "claude-sonnet-5", "0", "1"),
        ];
        let expected =
            expected.map(|(when, model, theirs, ours)| (when.into(), model.into(), theirs.into(), ours.into()));
        assert_eq!(rows, expected);
        assert_eq!(report.rows[0].why, Vec::<String>::new(), "one percent is within the tolerance");
        assert_eq!(report.rows[1].why, ["went past Bursar"]);
        assert_eq!(report.rows[2].why, ["not on the bill: billed later, or to another account"]);
        assert_eq!(
            (report.total.theirs.to_string(), report.total.difference().to_string()),
            ("6".into(), "-3.01".into())
        );
        assert!(!report.within);
    }

    #[test]
    fn a_bill_without_models_is_compared_by_the_day_and_one_of_a_month_as_a_whole() {
        let by_day = bill(Measure::Dollars, vec![line("2026-11-01", None, "3")]);
        let mut month = bill(Measure::Dollars, vec![line("2026-11-01", Some("gemini-3-flash"), "3")]);
        month.lines[0].to = "2026-11-02".to_owned();
        let counted = [ours("2026-11-01", "gemini-3-flash", "1"), ours("2026-11-02", "gemini-3-flash", "2")];

        let days = reconcile(&by_day, &counted, 0);
        let whole = reconcile(&month, &counted, 0);

        assert_eq!((days.rows.len(), days.rows[0].model.as_str()), (2, "(all)"));
        assert_eq!((whole.rows.len(), whole.rows[0].when.as_str()), (1, "2026-11-01 to 2026-11-02"));
        assert!(whole.within && days.within);
        assert!(whole.rows[0].why.is_empty());
    }

    #[test]
    fn tokens_and_requests_are_compared_where_the_bill_has_no_money() {
        let bill =
            bill(Measure::Tokens, vec![line("2026-11-01", Some("m"), "90"), line("2026-11-01", Some("m"), "20")]);

        let report = reconcile(&bill, &[ours("2026-11-01", "m", "1")], 10_000);

        let row = &report.rows[0];
        assert_eq!((row.theirs.to_string(), row.ours.to_string()), ("110".into(), "100".into()));
        assert_eq!((row.their_requests, row.our_requests), (Some(4), 3));
        assert!(row.why[0].contains("went past Bursar"), "{:?}", row.why);
    }

    #[test]
    fn what_was_estimated_or_has_no_price_is_told() {
        let bill = bill(Measure::Dollars, vec![line("2026-11-01", Some("m"), "2")]);
        let counted = Ours { estimated: exact("0.25"), unpriced: 2, ..ours("2026-11-01", "m", "1") };

        let report = reconcile(&bill, &[counted], 10_000);

        let why = [
            "2 of 3 requests have no price here; see [catalog.models]",
            "0.250000 USD are estimated: nobody told the tokens",
        ];
        assert_eq!(report.rows[0].why, why);
    }

    #[test]
    fn rows_of_the_admin_api_are_read_exactly() {
        let row = json!({
            "day": "2026-11-01", "provider": "openai", "model": "gpt-5", "requests": 7, "prompt_tokens": 100,
            "completion_tokens": 20, "cached_tokens": 50, "cost_usd": "0.000000001",
        });

        let read = Ours::of(&row).unwrap();

        assert_eq!((read.requests, read.tokens, read.dollars.to_string()), (7, 120, "0.000000001".into()));
        assert_eq!(Ours::of(&json!({ "day": "2026-11-01" })), None);
        assert_eq!(Ours::of(&json!({ "day": "é", "cost_usd": "1" })), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_between_rows_and_total(
            lines in prop::collection::vec((1_u8..3, prop::option::of(0_u8..4), 0_u32..1_000), 0..12),
            counts in prop::collection::vec((1_u8..3, 0_u8..5, 0_u32..1_000), 0..12),
        ) {
            let day = |day: u8| format!("2026-11-0{day}");
            let model = |model: u8| format!("model-{model}x");
            let lines = lines.iter().map(|(at, of, amount)| {
                line(&day(*at), of.map(model).as_deref(), &amount.to_string())
            });
            let bill = bill(Measure::Dollars, lines.collect());
            let counted: Vec<_> =
                counts.iter().map(|(at, of, amount)| ours(&day(*at), &model(*of), &amount.to_string())).collect();

            let report = reconcile(&bill, &counted, 0);

            prop_assert_eq!(report.total.theirs, bill.lines.iter().map(|line| line.amount).sum());
            prop_assert_eq!(report.total.ours, counted.iter().map(|count| count.dollars).sum());
            prop_assert_eq!(report.rows.iter().map(Row::difference).sum::<Exact>(), report.total.difference());
            prop_assert_eq!(report.within, report.total.difference().is_zero());
        }
    }
}
