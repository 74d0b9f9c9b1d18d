//! `GET /admin/api/usage`: what was used and spent, told apart as is asked, by the ledger of the books.

use actix_web::HttpResponse;
use bursar_actors::budget::Window;
use bursar_actors::budget::keeper::UsageOf;
use bursar_actors::budget::ledger::{Dimension, Sums, UsageAsked, UsageRow};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::authorize::{Asked, invalid};
use crate::call::unix_s;
use crate::config::settings::dollars;
use crate::config::units;
use crate::error::{Cause, GatewayError};

/// Most rows of an answer; more is a slip of the question.
const ROWS_MAX: usize = 20_000;
/// What is asked where nothing says of when.
const LAST: &str = "30d";

/// What is asked for.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Question {
    /// Names of dimensions, split at commas; none for one sum.
    by: String,
    /// From then on: a day, or a moment.
    from: Option<String>,
    /// Before then; now where nothing is said.
    to: Option<String>,
    /// In the place of `from`: how long before `to`.
    last: Option<String>,
    org: Option<String>,
    team: Option<String>,
    key: Option<String>,
    user: Option<String>,
    alias: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    provider_key: Option<String>,
    /// `name=value`.
    tag: Option<String>,
}

impl Question {
    /// Returns what the ledger is asked at `now_s`, or in words what is wrong.
    fn asked(self, now_s: i64) -> Result<UsageAsked, String> {
        let by = self.by.split(',').map(str::trim).filter(|name| !name.is_empty()).map(dimension);
        let by = by.collect::<Result<Vec<_>, _>>()?;
        let moment = |name: &str, text: &str| {
            let read = units::time(text).map(u64::cast_signed);
            read.map_err(|why| format!("{name}: {why}"))
        };
        let end_s = self.to.as_deref().map_or(Ok(now_s.saturating_add(1)), |text| moment("to", text))?;
        let start_s = match (&self.from, &self.last) {
            (Some(_), Some(_)) => return Err("from and last both say since when; leave one of them out".to_owned()),
            (Some(from), None) => moment("from", from)?,
            (None, last) => {
                let last = units::duration(last.as_deref().unwrap_or(LAST)).map_err(|why| format!("last: {why}"))?;
                end_s.saturating_sub(i64::try_from(last.as_secs()).unwrap_or(i64::MAX))
            }
        };
        if start_s >= end_s {
            return Err("from is not before to, so that there is no time between them".to_owned());
        }
        let tag = match self.tag.as_deref().map(|tag| tag.split_once('=')) {
            None => None,
            Some(Some((name, value))) if !name.is_empty() => Some((Dimension::Tag(name.into()), Some(value.into()))),
            Some(_) => return Err("tag is not of the form name=value".to_owned()),
        };
        let only = [
            (Dimension::Org, self.org),
            (Dimension::Team, self.team),
            (Dimension::Key, self.key),
            (Dimension::User, self.user),
            (Dimension::Alias, self.alias),
            (Dimension::Provider, self.provider),
            (Dimension::Model, self.model),
            (Dimension::ProviderKey, self.provider_key),
        ];
        let only = only.into_iter().chain(tag).filter_map(|(dimension, value)| Some((dimension, value?))).collect();
        Ok(UsageAsked { by, window: Window { start_s, end_s }, only })
    }
}

fn dimension(name: &str) -> Result<Dimension, String> {
    Dimension::of_name(name).ok_or_else(|| {
        let known = Dimension::NAMED.map(|dimension| dimension.name()).join(", ");
        format!("by has `{name}`, which nothing can be told apart by; known: {known}, tag:<name>")
    })
}

/// Answers with a row for each combination of values: these, and figures.
pub async fn list(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let question: Question = asked.query()?;
    let Some(books) = &asked.worker.gateway.books else {
        let why = "no books are kept, which would know: audit.enabled = false".to_owned();
        return Err(GatewayError::Refused { cause: Cause::Missing, faults: vec![why] });
    };
    let question = question.asked(unix_s()).map_err(invalid)?;
    let by = question.by.clone();
    let rows = books.budget.send(UsageOf(question)).await.map_err(|_| GatewayError::ShuttingDown)?;
    let failed = |why: String| GatewayError::Refused { cause: Cause::Failed, faults: vec![why] };
    let rows = rows.map_err(|why| failed(why.to_string()))?;
    if rows.len() > ROWS_MAX {
        let count = rows.len();
        return Err(invalid(format!(
            "this would have {count} rows; {ROWS_MAX} are the most: ask for less time, or by less"
        )));
    }
    Ok(HttpResponse::Ok().json(rows.iter().map(|row| shown(&by, row)).collect::<Value>()))
}

fn shown(by: &[Dimension], row: &UsageRow) -> Value {
    let names = by.iter().zip(&row.by).map(|(dimension, value)| (dimension.name(), value.as_str().into()));
    let mut shown = Value::Object(names.collect::<Map<_, _>>());
    let Sums { requests, failed, prompt_tokens, completion_tokens, cached_tokens, overruns, unpriced, .. } = row.sums;
    let figures = json!({
        "requests": requests,
        "failed": failed,
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "cached_tokens": cached_tokens,
        "cost_usd": dollars(row.sums.cost_nano),
        "estimated_usd": dollars(row.sums.estimated_nano),
        "unpriced_requests": unpriced,
        "overruns": overruns,
        "overrun_usd": dollars(row.sums.overrun_nano),
    });
    for (name, figure) in figures.as_object().into_iter().flatten() {
        shown[name] = figure.clone();
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: i64 = 1_796_083_200;

    fn asked(question: Question) -> Result<UsageAsked, String> {
        question.asked(NOW)
    }

    #[test]
    fn a_question_without_words_is_for_the_sum_of_thirty_days() {
        let asked = asked(Question::default()).unwrap();

        let window = Window { start_s: NOW + 1 - 30 * 86_400, end_s: NOW + 1 };
        assert_eq!(asked, UsageAsked { by: vec![], window, only: vec![] });
    }

    #[test]
    fn dimensions_filters_and_times_are_read() {
        let text = |text: &str| Some(text.to_owned());
        let (from, to) = (text("2026-11-01"), text("2026-12-01T00:00:00Z"));
        let (team, tag) = (text("search"), text("env=prod"));
        let question = Question { by: "day, tag:env,model".into(), from, to, team, tag, ..Question::default() };

        let asked = asked(question).unwrap();

        assert_eq!(asked.by, [Dimension::Day, Dimension::Tag("env".into()), Dimension::Model]);
        assert_eq!(asked.window, Window { start_s: NOW - 30 * 86_400, end_s: NOW });
        let only = [(Dimension::Team, "search".to_owned()), (Dimension::Tag("env".into()), "prod".to_owned())];
        assert_eq!(asked.only, only);
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        let text = |text: &str| Some(text.to_owned());
        for (question, words) in [
            (
                Question { by: "colour".into(), ..Question::default() },
                "by has `colour`, which nothing can be told apart by; known: day",
            ),
            (Question { last: text("soon"), ..Question::default() }, "last: `soon` is not a duration"),
            (Question { from: text("soon"), ..Question::default() }, "from: `soon` is no time"),
            (Question { from: text("2026-11-01"), last: text("1d"), ..Question::default() }, "from and last both"),
            (Question { from: text("2027-11-01"), ..Question::default() }, "from is not before to"),
            (Question { tag: text("prod"), ..Question::default() }, "tag is not of the form name=value"),
        ] {
            let fault = asked(question).unwrap_err();
            assert!(fault.starts_with(words), "{fault}");
        }
    }
}
