//! Budgets of organisations, teams and client keys in the admin API: read, shown, and in words for the books. Names and rules
//! are those of the configuration.

use std::borrow::Cow;

use bursar_actors::access::{self, Owner, Team};
use bursar_actors::budget::{Act, BudgetSpec, Step};
use bursar_actors::limits::Holder;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::config::budgets::Deed;
use crate::config::check::budgets_by_hand;
use crate::config::settings::dollars;
use crate::config::{Config, units};
use crate::error::{Cause, GatewayError};
use crate::http::gateway::Gateway;

/// Returns the budgets that `field`, with this value, states in the place of all there were; `null` takes them away.
pub fn read(field: &str, value: Option<Value>, gateway: &Gateway) -> Result<Option<Vec<BudgetSpec>>, GatewayError> {
    let Some(value) = value else { return Ok(None) };
    let invalid = |faults| GatewayError::Refused { cause: Cause::Invalid, faults };
    let budgets = budgets_by_hand(field, value, &gateway.config.load()).map_err(invalid)?;
    if gateway.books.is_none() && !budgets.is_empty() {
        let why = format!("{field}: audit.enabled is false, but budgets count what the books record");
        return Err(invalid(vec![why]));
    }
    Ok(Some(budgets))
}

/// Returns the budgets of a holder, whoever defines it.
pub fn of<'a>(holder: &'a access::Holder, config: &'a Config) -> Cow<'a, [BudgetSpec]> {
    let (owner, made, name) = match holder {
        access::Holder::Org(org) => (&org.owner, &org.budgets, Holder::Org(org.id.clone())),
        access::Holder::Team(team) => (&team.owner, &team.budgets, Holder::Team(team.id.clone())),
        access::Holder::Key(key) => (&key.owner, &key.budgets, Holder::Key(key.id.as_str().into())),
    };
    match owner {
        Owner::Api => Cow::Borrowed(made),
        Owner::File(_) => config.budgets.of(&name).map(|specs| Cow::Borrowed(&**specs)).unwrap_or_default(),
    }
}

/// Returns the budgets of each end user of a team, whoever defines it.
pub fn of_members<'a>(team: &'a Team, config: &'a Config) -> Cow<'a, [BudgetSpec]> {
    match team.owner {
        Owner::Api => Cow::Borrowed(&team.members_budgets),
        Owner::File(_) => config.budgets.members.get(&team.id).map(|specs| Cow::Borrowed(&**specs)).unwrap_or_default(),
    }
}

/// Returns budgets as [`read`] takes them.
pub fn shown(budgets: &[BudgetSpec]) -> Value {
    budgets.iter().map(one_shown).collect()
}

fn one_shown(budget: &BudgetSpec) -> Value {
    let BudgetSpec { id, amount_nano, period, zone, rollover_ppm, soft, steps } = budget;
    json!({
        "id": id,
        "amount": dollars(*amount_nano),
        "period": period.to_string(),
        "timezone": zone,
        "rollover": units::share_text(*rollover_ppm),
        "soft": soft,
        "steps": steps.iter().map(step_shown).collect::<Vec<_>>(),
    })
}

fn step_shown(Step { at_ppm, act }: &Step) -> Value {
    let mut shown = json!({ "at": units::share_text(*at_ppm), "do": act.word() });
    match act {
        Act::Downgrade { to: Some(to) } => shown["to"] = to.as_str().into(),
        Act::Throttle { rpm } => shown["rpm"] = (*rpm).into(),
        Act::Queue { max_wait, priority } => {
            shown["max_wait"] = humantime::format_duration(*max_wait).to_string().into();
            shown["priority"] = priority.word().into();
        }
        Act::Notify | Act::Downgrade { to: None } | Act::Block => {}
    }
    shown
}

/// Returns what budgets say, for the books: `month: 50 USD a month, downgrade to fast at 0.8`.
pub fn in_words(budgets: &[BudgetSpec]) -> String {
    if budgets.is_empty() {
        return "none".to_owned();
    }
    budgets.iter().map(one_in_words).collect::<Vec<_>>().join("; ")
}

fn one_in_words(budget: &BudgetSpec) -> String {
    let BudgetSpec { id, amount_nano, period, zone, rollover_ppm, soft, steps } = budget;
    let mut words = format!("{id}: {} USD per {period}, {zone}", dollars(*amount_nano));
    if *rollover_ppm > 0 {
        words.push_str(&format!(", rollover {}", units::share_text(*rollover_ppm)));
    }
    if *soft {
        words.push_str(", soft");
    }
    for Step { at_ppm, act } in steps {
        let detail = match act {
            Act::Downgrade { to: Some(to) } => format!(" to {to}"),
            Act::Throttle { rpm } => format!(" to {rpm} rpm"),
            Act::Queue { max_wait, .. } => format!(" for {} at most", humantime::format_duration(*max_wait)),
            Act::Notify | Act::Downgrade { to: None } | Act::Block => String::new(),
        };
        words.push_str(&format!(", {}{detail} at {}", act.word(), units::share_text(*at_ppm)));
    }
    words
}

/// Returns what [`read`] takes.
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    let share = json!({ "type": ["number", "string"], "description": "A share, from 0 to 1." });
    let step = json!({
        "type": "object",
        "required": ["at", "do"],
        "properties": {
            "at": share,
            "do": { "enum": Deed::ALL.map(Deed::as_str) },
            "to": { "type": "string", "description": "downgrade: an alias; the cheapest that is enough where left out" },
            "rpm": { "type": "integer", "minimum": 1, "description": "throttle: requests in any minute" },
            "max_wait": { "type": "string", "description": "queue: the longest wait, such as 60s" },
            "priority": { "enum": ["low", "normal", "high"], "description": "queue" },
        },
        "additionalProperties": false,
    });
    let budget = json!({
        "type": "object",
        "required": ["amount", "period"],
        "properties": {
            "id": { "type": "string", "description": "The word of its period by default." },
            "amount": { "type": ["string", "integer"], "description": "US dollars for each window: \"50.25\"" },
            "period": { "type": "string", "description": "day, week, month, quarter, year, or a length such as 30d" },
            "timezone": { "type": "string", "description": "An IANA name, or UTC." },
            "rollover": share,
            "soft": { "type": "boolean" },
            "steps": { "type": "array", "items": step },
        },
        "additionalProperties": false,
    });
    json_schema!({
        "description": "All budgets: one, several, or null for none.",
        "anyOf": [budget, { "type": "array", "items": budget }, { "type": "null" }],
    })
}
