//! Limits of organisations, teams and client keys in the admin API: read, shown, and in words for the books. Names and units are
//! those of the configuration.

use bursar_actors::access::LimitChange;
use bursar_actors::limits::{Limit, Limits};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::config::settings::dollars;
use crate::config::units;

/// Longest part of a wrong value that a refusal repeats.
const REPEATED_MAX: usize = 40;

/// Returns what `field`, with this value, says about limits: `null` takes one away, or all of them; those that are not named
/// stay. Otherwise says what is wrong.
pub fn read(field: &str, value: Option<Value>) -> Result<Vec<LimitChange>, String> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Null) => Ok(Limit::ALL.map(|limit| (limit, None)).to_vec()),
        Some(Value::Object(figures)) => figures.iter().map(|(name, value)| change(field, name, value)).collect(),
        Some(_) => Err(format!("{field} is no object; write for example {{\"rpm\": 600}}, or null for no limits")),
    }
}

fn change(field: &str, name: &str, value: &Value) -> Result<LimitChange, String> {
    let Some(limit) = Limit::ALL.into_iter().find(|limit| limit.key() == name) else {
        let known = Limit::ALL.map(Limit::key).join(", ");
        return Err(format!("{field} has `{}`, which is no limit; known: {known}", short(name)));
    };
    if value.is_null() {
        return Ok((limit, None));
    }
    let here = format!("{field}.{name}");
    if limit == Limit::CostPerRequest {
        let text = value.as_str().ok_or_else(|| {
            format!("{here} is {}; write dollars as a string, for example \"0.50\"", short(&value.to_string()))
        })?;
        let figure = units::dollars(text).map_err(|why| format!("{here}: {why}"))?;
        return Ok((limit, Some(figure)));
    }
    match value.as_u64() {
        Some(0) => Err(format!("{here} is 0, so that nothing could pass; write null for no limit")),
        Some(figure) => Ok((limit, Some(figure))),
        None => Err(format!("{here} is {}; write a whole number above 0", short(&value.to_string()))),
    }
}

fn short(text: &str) -> String {
    text.chars().take(REPEATED_MAX).collect()
}

/// Returns the limits there are, as [`read`] takes them.
pub fn shown(limits: &Limits) -> Value {
    let figures = Limit::ALL.into_iter().filter_map(|limit| Some((limit, limits.get(limit)?)));
    let figures = figures.map(|(limit, figure)| {
        let figure = if limit == Limit::CostPerRequest { dollars(figure).into() } else { figure.into() };
        (limit.key().to_owned(), figure)
    });
    Value::Object(figures.collect::<Map<_, _>>())
}

/// Returns what a change says, for the books: `rpm = 600`, `tpd = none`, `cost_per_request = 0.5 USD`.
pub fn in_words((limit, figure): &LimitChange) -> String {
    let figure = match (limit, figure) {
        (_, None) => "none".to_owned(),
        (Limit::CostPerRequest, Some(figure)) => format!("{} USD", dollars(*figure)),
        (Limit::Metered(_), Some(figure)) => figure.to_string(),
    };
    format!("{} = {figure}", limit.key())
}

/// Returns what [`read`] takes.
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    let figures = Limit::ALL.map(|limit| {
        let figure = match limit {
            Limit::CostPerRequest => json!({ "type": ["string", "null"], "description": "US dollars: \"0.50\"" }),
            Limit::Metered(_) => json!({ "type": ["integer", "null"], "minimum": 1 }),
        };
        (limit.key().to_owned(), figure)
    });
    json_schema!({
        "type": ["object", "null"],
        "description": "Requests (r) and tokens (t) per minute, hour and day, and at the same time; null takes away.",
        "properties": Map::from_iter(figures),
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits_by(value: Value) -> Result<Limits, String> {
        let mut limits = Limits { rpd: Some(7), ..Limits::default() };
        read("limits", Some(value))?.into_iter().for_each(|(limit, figure)| limits.set(limit, figure));
        Ok(limits)
    }

    #[test]
    fn every_limit_is_shown_as_it_is_read() {
        let all = json!({
            "rpm": 1, "rph": 2, "rpd": 3, "tpm": 4, "tph": 5, "tpd": 6, "concurrency": 7, "cost_per_request": "0.000000008"
        });

        assert_eq!(shown(&limits_by(all.clone()).unwrap()), all);
    }

    #[test]
    fn what_is_not_named_stays_and_null_takes_away() {
        assert_eq!(shown(&limits_by(json!({ "rpm": 1 })).unwrap()), json!({ "rpm": 1, "rpd": 7 }));
        assert_eq!(shown(&limits_by(json!({ "rpd": null })).unwrap()), json!({}));
        assert_eq!(shown(&limits_by(Value::Null).unwrap()), json!({}));
    }

    #[test]
    fn a_fault_names_its_field_and_what_would_be_right() {
        for (value, words) in [
            (json!(5), "limits is no object"),
            (json!({ "rpx": 5 }), "limits has `rpx`, which is no limit; known: rpm, rph"),
            (json!({ "rpm": 0 }), "limits.rpm is 0"),
            (json!({ "tpm": -1 }), "limits.tpm is -1; write a whole number"),
            (json!({ "tph": 1.5 }), "limits.tph is 1.5"),
            (json!({ "concurrency": "9" }), "limits.concurrency is \"9\""),
            (json!({ "cost_per_request": 0.5 }), "limits.cost_per_request is 0.5; write dollars as a string"),
            (json!({ "cost_per_request": "much" }), "limits.cost_per_request: `much` is not an amount of dollars"),
        ] {
            let fault = limits_by(value).unwrap_err();
            assert!(fault.starts_with(words), "{fault}");
        }
    }
}
