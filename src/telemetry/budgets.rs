//! The figures of budgets, as they stand when the metrics are read. Dollars are written as exact decimals.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use bursar_actors::budget::Statement;
use bursar_actors::budget::keeper::BudgetView;
use bursar_actors::limits::Holder;

use super::metrics::{counter, gauge};
use crate::config::settings::dollars;

/// A gauge: its name, what it tells, and its value.
type Gauge = (&'static str, &'static str, fn(&Statement) -> String);

const FAMILIES: [Gauge; 4] = [
    ("bursar_budget_limit_usd", "What may be spent in the window under way", |of| dollars(of.standing.limit_nano)),
    ("bursar_budget_spent_usd", "What is in the ledger for it", |of| dollars(of.standing.posted_nano)),
    ("bursar_budget_held_usd", "What is held, or spent and not in the ledger yet", |of| {
        dollars(of.standing.pending_nano)
    }),
    ("bursar_budget_reset_timestamp_seconds", "When the window ends, in seconds since 1970", |of| {
        of.standing.window.end_s.to_string()
    }),
];

/// How budgets stand.
pub struct BudgetFigures<'a> {
    /// Each budget; those of end users are left out, because there may be any number of them.
    pub statements: &'a [Statement],
    /// Requests that wait for room.
    pub waiting: u32,
    /// The ledger, and how many records of the books are durable, where books are kept.
    pub ledger: Option<(&'a BudgetView, u64)>,
}

impl BudgetFigures<'_> {
    /// Writes them in Prometheus' text format.
    pub fn render(&self, text: &mut String) {
        let told: Vec<_> = self.statements.iter().filter_map(|of| Some((labels(of)?, of))).collect();
        for (name, help, value) in FAMILIES {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
            for (labels, statement) in &told {
                let _ = writeln!(text, "{name}{{{labels}}} {}", value(statement));
            }
        }
        let one = |value: f64| [(String::new(), value)];
        gauge(
            text,
            "bursar_budget_waiting_requests",
            "Requests that wait for room in a budget",
            one(self.waiting.into()),
        );
        let Some((view, durable)) = self.ledger else { return };
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let lag = durable.saturating_sub(read(&view.applied));
        gauge(text, "bursar_ledger_lag_records", "Durable records that are not in the ledger yet", one(lag as f64));
        counter(
            text,
            "bursar_ledger_rebuilds_total",
            "Times the ledger was made again",
            one(read(&view.rebuilds) as f64),
        );
        let fault = u8::from(view.fault.load().is_some());
        gauge(text, "bursar_ledger_fault", "1 while the ledger cannot be written", one(fault.into()));
        let notices = read(&view.notices) as f64;
        counter(
            text,
            "bursar_budget_notices_total",
            "Steps of budgets that were told, each once a window",
            one(notices),
        );
    }
}

/// Returns whose budget it is and which; `None` for those of end users.
fn labels(statement: &Statement) -> Option<String> {
    let name = match &statement.holder {
        Holder::User(..) | Holder::FurtherUsers(_) => return None,
        Holder::Team(id) => id.to_string(),
        Holder::Org(id) => id.to_string(),
        Holder::Key(name) | Holder::Model(name) | Holder::Tag(name) => name.to_string(),
        Holder::ProviderKey(provider, id) => format!("{provider}/{id}"),
    };
    let (kind, name, budget) = (statement.holder.kind(), escaped(&name), escaped(&statement.budget.id));
    Some(format!("holder=\"{kind}\",name=\"{name}\",budget=\"{budget}\""))
}

/// Returns `text` as the value of a label. Source: Prometheus' exposition formats, "Comments, help text, and type information".
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_label() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
