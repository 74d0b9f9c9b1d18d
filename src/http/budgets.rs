//! Budgets and spending in the admin API: how budgets stand, where they are bound for, more for a while, and what was spent by whom.

use std::collections::HashSet;
use std::time::Duration;

use actix_web::HttpResponse;
use bursar_actors::TeamId;
use bursar_actors::access;
use bursar_actors::budget::forecast::Forecast;
use bursar_actors::budget::keeper::{Raise, RaiseError, Statements, UsageOf};
use bursar_actors::budget::ledger::{Dimension, FollowError, UsageAsked, UsageRow};
use bursar_actors::budget::{HolderName, Override, Statement, WHOLE_PPM, Window};
use bursar_actors::limits::Holder;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::authorize::{Asked, invalid};
use crate::books::Books;
use crate::call::unix_s;
use crate::config::settings::dollars;
use crate::config::units;
use crate::error::{Cause, GatewayError};

/// Of usage where nobody says otherwise.
const LAST: Duration = Duration::from_secs(30 * 86_400);
/// Longest time that a budget is raised for.
const RAISED_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Longest reason, in characters.
const REASON_MAX: usize = 500;

/// More to spend, for a while.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raised {
    /// Whose budget: `team:support`, as the list says it.
    holder: String,
    /// Which of them, by its id; not needed where there is one.
    budget: Option<String>,
    /// Dollars on top of the limit, as a decimal; 0 takes an earlier order back.
    extra: String,
    /// For how long, for example `7d`.
    #[serde(rename = "for")]
    time: Option<String>,
    /// Until when, for example `2026-12-31T00:00:00Z`.
    until: Option<String>,
    /// Why, for the books.
    reason: String,
}

/// What is asked of the ledger.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Question {
    by: Option<String>,
    last: Option<String>,
    from: Option<String>,
    to: Option<String>,
    org: Option<String>,
    team: Option<String>,
    key: Option<String>,
    user: Option<String>,
    alias: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    provider_key: Option<String>,
    tag: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Which {
    holder: Option<String>,
}

/// `GET /admin/api/budgets`: how every budget stands, and where it is bound for.
pub async fn list(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let which: Which = asked.query()?;
    let only = which.holder.as_deref().map(holder_of).transpose()?;
    let stated = books(&asked)?.budget.send(Statements).await.map_err(|_| GatewayError::ShuttingDown)?;
    let own = own(&asked).await?;
    let of_team = |holder: &Holder| own.as_ref().is_none_or(|own| own.has(holder));
    let shown = stated.map_err(unusable)?;
    let shown = shown.iter().filter(|(statement, _)| only.as_ref().is_none_or(|holder| *holder == statement.holder));
    let shown = shown.filter(|(statement, _)| of_team(&statement.holder));
    Ok(HttpResponse::Ok().json(shown.map(|(statement, forecast)| row(statement, forecast)).collect::<Vec<_>>()))
}

/// `POST /admin/api/budgets/override`: gives a budget more for a while, or takes that back. The record of it is durable before
/// it counts.
pub async fn raise(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let Raised { holder, budget, extra, time, until, reason } = asked.fields()?;
    let words = holder.clone();
    let holder = holder_of(&holder)?;
    let extra_nano = units::dollars(&extra).map_err(|why| invalid(format!("extra: {why}")))?;
    let now_s = unix_s();
    let until_s = match (time, until) {
        (Some(time), None) => {
            let time = units::duration(&time).map_err(|why| invalid(format!("for: {why}")))?;
            now_s.saturating_add_unsigned(time.as_secs())
        }
        (None, Some(until)) => units::time(&until).map_err(|why| invalid(format!("until: {why}")))?.cast_signed(),
        (None, None) if extra_nano == 0 => now_s,
        _ => return Err(invalid("say either `for`, such as 7d, or `until`, such as 2026-12-31T00:00:00Z".into())),
    };
    if until_s < now_s || until_s > now_s.saturating_add_unsigned(RAISED_MAX.as_secs()) {
        return Err(invalid(
            "it has to end later than now, and within a year; change the budget itself for longer".into(),
        ));
    }
    if reason.trim().is_empty() || reason.chars().count() > REASON_MAX {
        return Err(invalid(format!("`reason` has to say why, in at most {REASON_MAX} characters")));
    }
    let books = books(&asked)?;
    let table = books.accounts.table();
    let ids = table.of(&holder).map(|specs| specs.iter().map(|spec| spec.id.clone()).collect::<Vec<_>>());
    let budget = match (budget, ids.as_deref()) {
        (Some(budget), _) => budget,
        (None, Some([only])) => only.clone(),
        (None, Some(several)) => {
            return Err(invalid(format!("{words} has several budgets: name one as `budget`: {}", several.join(", "))));
        }
        (None, None) => String::new(),
    };
    let by = Override { extra_nano, until_s, reason, by: asked.admin.id.to_string() };
    let order = Raise { holder: holder.clone(), budget: budget.clone(), by };
    let raised = books.budget.send(order).await.map_err(|_| GatewayError::ShuttingDown)?;
    raised.map_err(|why| match why {
        RaiseError::NoSuch { .. } => {
            let fault = format!("{words} has no such budget; `bursar budgets list` shows those that there are");
            GatewayError::Refused { cause: Cause::Missing, faults: vec![fault] }
        }
        RaiseError::Refused(why) => GatewayError::NotRecorded { why: why.to_string() },
    })?;
    let until = (extra_nano > 0).then(|| units::time_text(until_s.unsigned_abs()));
    Ok(HttpResponse::Ok().json(json!({
        "holder": words, "budget": budget, "extra_usd": dollars(extra_nano), "until": until,
    })))
}

/// `GET /admin/api/usage`: what was used and spent, told apart by what `by` names.
pub async fn usage(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let question: Question = asked.query()?;
    let window = window(&question)?;
    let by = question.by.as_deref().unwrap_or("team,model").split(',').map(dimension).collect::<Result<Vec<_>, _>>()?;
    let mut only = Vec::new();
    let named = [
        (Dimension::Org, question.org),
        (Dimension::Team, question.team),
        (Dimension::Key, question.key),
        (Dimension::User, question.user),
        (Dimension::Alias, question.alias),
        (Dimension::Provider, question.provider),
        (Dimension::Model, question.model),
        (Dimension::ProviderKey, question.provider_key),
    ];
    only.extend(named.into_iter().filter_map(|(dimension, value)| Some((dimension, value?))));
    if let Some(tag) = &question.tag {
        let (name, value) = tag.split_once('=').ok_or_else(|| invalid("`tag` has to be name=value".into()))?;
        only.push((Dimension::Tag(name.into()), value.into()));
    }
    if let Some(team) = asked.admin.role.team() {
        only.push((Dimension::Team, team.to_string()));
    }
    let names: Vec<String> = by.iter().map(Dimension::name).collect();
    let books = books(&asked)?;
    let rows =
        books.budget.send(UsageOf(UsageAsked { by, window, only })).await.map_err(|_| GatewayError::ShuttingDown)?;
    let rows = rows.map_err(unusable)?;
    Ok(HttpResponse::Ok().json(rows.iter().map(|row| usage_row(&names, row)).collect::<Vec<_>>()))
}

fn books(asked: &Asked) -> Result<&Books, GatewayError> {
    let none = || {
        let fault = "this gateway keeps no books (audit.enabled = false), by which budgets and usage are counted";
        GatewayError::Refused { cause: Cause::Missing, faults: vec![fault.into()] }
    };
    asked.worker.gateway.books.as_deref().ok_or_else(none)
}

fn unusable(why: FollowError) -> GatewayError {
    GatewayError::StoreUnavailable { why: why.to_string() }
}

/// What belongs to the one team of an admin.
struct Own {
    team: TeamId,
    keys: HashSet<String>,
}

impl Own {
    fn has(&self, holder: &Holder) -> bool {
        match holder {
            Holder::Team(team) | Holder::User(team, _) | Holder::FurtherUsers(team) => *team == self.team,
            Holder::Key(key) => self.keys.contains(&**key),
            Holder::Org(_) | Holder::Model(_) | Holder::Tag(_) | Holder::ProviderKey(..) => false,
        }
    }
}

/// Returns what whoever asks may see; `None` is everything.
async fn own(asked: &Asked) -> Result<Option<Own>, GatewayError> {
    let Some(team) = asked.admin.role.team().cloned() else { return Ok(None) };
    let list = access::List { kind: access::Kind::Key, within: Some(team.clone()) };
    let listed = asked.worker.gateway.directory.send(list).await.map_err(|_| GatewayError::ShuttingDown)?;
    let id = |holder: access::Holder| match holder {
        access::Holder::Key(key) => Some(key.id),
        _ => None,
    };
    Ok(Some(Own { team, keys: listed.into_iter().filter_map(id).collect() }))
}

/// Reads a holder as the list writes it.
fn holder_of(words: &str) -> Result<Holder, GatewayError> {
    let unknown = || {
        invalid(format!(
            "`{words}` names no holder of a budget: write org:acme, team:support, key:ci, user:support/u_1a2b, model:fast, \
             tag:cost_center=4711 or provider_key:openai/pool_01"
        ))
    };
    let (kind, name) = words.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(unknown)?;
    let (of, name) = match kind {
        "user" | "provider_key" => name.split_once('/').ok_or_else(unknown)?,
        _ => ("", name),
    };
    HolderName { kind: kind.into(), of: of.into(), name: name.into() }.to_holder().ok_or_else(unknown)
}

fn holder_in_words(holder: &Holder) -> String {
    let HolderName { kind, of, name } = HolderName::of(holder);
    if of.is_empty() { format!("{kind}:{name}") } else { format!("{kind}:{of}/{name}") }
}

fn dimension(name: &str) -> Result<Dimension, GatewayError> {
    let known = || Dimension::NAMED.iter().map(Dimension::name).collect::<Vec<_>>().join(", ");
    Dimension::of_name(name.trim()).ok_or_else(|| {
        invalid(format!("`{}` is nothing to tell usage apart by; known: {}, tag:<name>", name.trim(), known()))
    })
}

/// Returns the time that is asked about: `last` up to now, or from one day or moment to before another.
fn window(question: &Question) -> Result<Window, GatewayError> {
    let now_s = unix_s();
    let moment = |name: &str, text: &str| {
        units::time(text).map(u64::cast_signed).map_err(|why| invalid(format!("{name}: {why}")))
    };
    let end_s = question.to.as_ref().map_or(Ok(now_s.saturating_add(1)), |to| moment("to", to))?;
    let start_s = match (&question.last, &question.from) {
        (Some(_), Some(_)) => return Err(invalid("say either `last` or `from`".into())),
        (None, Some(from)) => moment("from", from)?,
        (last, None) => {
            let last = last.as_deref().map_or(Ok(LAST), units::duration);
            end_s.saturating_sub_unsigned(last.map_err(|why| invalid(format!("last: {why}")))?.as_secs())
        }
    };
    if start_s < end_s { Ok(Window { start_s, end_s }) } else { Err(invalid("`from` has to be before `to`".into())) }
}

fn usage_row(names: &[String], row: &UsageRow) -> Value {
    let mut shown: Map<String, Value> =
        names.iter().cloned().zip(row.by.iter().map(|value| value.as_str().into())).collect();
    let sums = &row.sums;
    let figures = [
        ("requests", sums.requests),
        ("failed", sums.failed),
        ("prompt_tokens", sums.prompt_tokens),
        ("cached_tokens", sums.cached_tokens),
        ("completion_tokens", sums.completion_tokens),
        ("unpriced_requests", sums.unpriced),
        ("overruns", sums.overruns),
    ];
    shown.extend(figures.map(|(name, figure)| (name.to_owned(), figure.into())));
    let money =
        [("cost_usd", sums.cost_nano), ("estimated_usd", sums.estimated_nano), ("overrun_usd", sums.overrun_nano)];
    shown.extend(money.map(|(name, nano)| (name.to_owned(), dollars(nano).into())));
    shown.into()
}

/// A budget as the list shows it. Moments are in UTC, money in dollars.
fn row(statement: &Statement, forecast: &Forecast) -> Value {
    let Statement { holder, budget, standing, raised, step, waiting } = statement;
    let used_ppm = u128::from(standing.used_nano()) * u128::from(WHOLE_PPM) / u128::from(standing.limit_nano.max(1));
    let moment = |at_s: i64| units::time_text(at_s.max(0).unsigned_abs());
    let raised = raised.as_ref().map(|by| {
        json!({ "extra_usd": dollars(by.extra_nano), "until": moment(by.until_s), "reason": by.reason, "by": by.by })
    });
    json!({
        "holder": holder_in_words(holder),
        "budget": budget.id,
        "period": budget.period.to_string(),
        "timezone": budget.zone,
        "from": moment(standing.window.start_s),
        "to": moment(standing.window.end_s),
        "limit_usd": dollars(standing.limit_nano),
        "spent_usd": dollars(standing.posted_nano),
        "held_usd": dollars(standing.pending_nano),
        "left_usd": dollars(standing.limit_nano.saturating_sub(standing.used_nano())),
        "used": units::share_text(u32::try_from(used_ppm).unwrap_or(u32::MAX)),
        "step": step.as_ref().map(|step| step.act.word()),
        "waiting": waiting,
        "override": raised,
        "forecast_low_usd": dollars(forecast.low_nano),
        "forecast_high_usd": dollars(forecast.high_nano),
        "runs_out": forecast.runs_out_s.map(moment),
    })
}
