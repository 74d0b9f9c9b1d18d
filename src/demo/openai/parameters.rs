//! Reading single parameters of a request body, each with the refusal OpenAI would answer to a wrong one.
//!
//! A parameter that is `null` counts as absent, as it does at OpenAI.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::super::reply::Refusal;

/// Most stop sequences of a request.
const MAX_STOPS: usize = 4;

pub(in crate::demo) fn present<'a>(body: &'a Value, name: &str) -> Option<&'a Value> {
    body.get(name).filter(|value| !value.is_null())
}

fn wrong_type(name: &str, wanted: &str, found: &Value) -> Refusal {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Refusal::invalid(name, "invalid_type", format!("`{name}` must be {wanted}, not {found}"))
}

pub(in crate::demo) fn text<'a>(body: &'a Value, name: &str) -> Result<Option<&'a str>, Refusal> {
    present(body, name).map(|value| value.as_str().ok_or_else(|| wrong_type(name, "a string", value))).transpose()
}

pub(in crate::demo) fn flag(body: &Value, name: &str) -> Result<Option<bool>, Refusal> {
    present(body, name).map(|value| value.as_bool().ok_or_else(|| wrong_type(name, "a boolean", value))).transpose()
}

pub(in crate::demo) fn list<'a>(body: &'a Value, name: &str) -> Result<Option<&'a [Value]>, Refusal> {
    present(body, name)
        .map(|value| value.as_array().map(Vec::as_slice).ok_or_else(|| wrong_type(name, "an array", value)))
        .transpose()
}

/// Reads a whole number within bounds.
pub(in crate::demo) fn whole(body: &Value, name: &str, bounds: RangeInclusive<u64>) -> Result<Option<usize>, Refusal> {
    let Some(value) = present(body, name) else { return Ok(None) };
    if value.as_i64().is_some_and(|number| number < 0) || value.as_u64().is_some_and(|number| number < *bounds.start())
    {
        let message = format!("`{name}` must be at least {}, not {value}", bounds.start());
        return Err(Refusal::invalid(name, "integer_below_min_value", message));
    }
    let number = value.as_u64().ok_or_else(|| wrong_type(name, "a whole number", value))?;
    if number > *bounds.end() {
        let message = format!("`{name}` must be at most {}, not {value}", bounds.end());
        return Err(Refusal::invalid(name, "integer_above_max_value", message));
    }
    Ok(Some(usize::try_from(number).unwrap_or(usize::MAX)))
}

/// Checks a number the demo provider has no use for, so that a wrong one is noticed all the same.
pub(in crate::demo) fn check_decimal(body: &Value, name: &str, bounds: RangeInclusive<f64>) -> Result<(), Refusal> {
    let Some(value) = present(body, name) else { return Ok(()) };
    let number = value.as_f64().ok_or_else(|| wrong_type(name, "a number", value))?;
    let code = if number < *bounds.start() {
        "decimal_below_min_value"
    } else if number > *bounds.end() {
        "decimal_above_max_value"
    } else {
        return Ok(());
    };
    let message = format!("`{name}` must lie between {} and {}, not at {value}", bounds.start(), bounds.end());
    Err(Refusal::invalid(name, code, message))
}

/// Checks the parameters that both kinds of completion have in common.
pub(in crate::demo) fn check_sampling(body: &Value) -> Result<(), Refusal> {
    check_decimal(body, "temperature", 0.0..=2.0)?;
    check_decimal(body, "top_p", 0.0..=1.0)?;
    check_decimal(body, "presence_penalty", -2.0..=2.0)?;
    check_decimal(body, "frequency_penalty", -2.0..=2.0)
}

/// Reads `stop`: a string or up to four.
pub(in crate::demo) fn stop(body: &Value) -> Result<Vec<&str>, Refusal> {
    match present(body, "stop") {
        None => Ok(Vec::new()),
        Some(Value::String(stop)) => Ok(vec![stop]),
        Some(Value::Array(stops)) if stops.len() <= MAX_STOPS => {
            stops.iter().map(|stop| stop.as_str().ok_or_else(|| wrong_type("stop", "strings", stop))).collect()
        }
        Some(Value::Array(stops)) => {
            let message = format!("`stop` takes at most {MAX_STOPS} sequences, not {}", stops.len());
            Err(Refusal::invalid("stop", "array_above_max_length", message))
        }
        Some(other) => Err(wrong_type("stop", "a string or an array of strings", other)),
    }
}

/// Whether the answer streams, and whether the stream ends with the usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::demo) struct Streaming {
    pub(super) on: bool,
    pub(super) include_usage: bool,
}

pub(in crate::demo) fn streaming(body: &Value) -> Result<Streaming, Refusal> {
    let on = flag(body, "stream")?.unwrap_or(false);
    let options = present(body, "stream_options");
    if options.is_some() && !on {
        let message = "`stream_options` is allowed only together with `stream: true`";
        return Err(Refusal::invalid("stream_options", "invalid_value", message));
    }
    let include_usage = options.map(|options| flag(options, "include_usage")).transpose()?.flatten().unwrap_or(false);
    Ok(Streaming { on, include_usage })
}
