//! Budgets on the command line: TOML as in a file, sent digit by digit; the gateway judges keys and figures.

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

/// Takes all budgets away.
const NONE: &str = "none";

/// Returns what `texts` say about budgets, if anything; each is one budget, or a list of them.
pub fn read(texts: &[String]) -> Result<Option<Value>, String> {
    match texts {
        [] => Ok(None),
        [text] if text == NONE => Ok(Some(Value::Null)),
        texts => {
            let mut budgets = Vec::new();
            for text in texts {
                match one(text)? {
                    Value::Array(list) => budgets.extend(list),
                    budget => budgets.push(budget),
                }
            }
            Ok(Some(Value::Array(budgets)))
        }
    }
}

fn one(text: &str) -> Result<Value, String> {
    let wrong = |why: &str| {
        format!(
            "`{text}` is no budget in TOML{why}; write for example '{{ amount = 50, period = \"month\" }}', or none"
        )
    };
    let line = format!("budget = {}", text.trim());
    let table = DeTable::parse(&line).map_err(|error| wrong(&format!(" ({})", error.message().trim())))?;
    let mut values = table.get_ref().values();
    match (values.next().map(|value| value.get_ref()), values.next()) {
        (Some(budget @ (DeValue::Table(_) | DeValue::Array(_))), None) => Ok(json(budget)),
        _ => Err(wrong("")),
    }
}

/// Returns the value in JSON. A fraction stays the digits that were written.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::Integer(digits) => match digits.as_str().parse::<u64>() {
            Ok(number) if digits.radix() == 10 => number.into(),
            _ => digits.as_str().into(),
        },
        DeValue::Float(digits) => digits.as_str().into(),
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(truth) => (*truth).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(list) => list.iter().map(|element| json(element.get_ref())).collect(),
        DeValue::Table(table) => {
            let pairs = table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

/// Returns budgets as a list of holders shows them: `50/month 400/90d`.
pub fn in_short(budgets: &Value) -> String {
    let text = |budget: &Value, key: &str| budget[key].as_str().unwrap_or_default().to_owned();
    let one = |budget: &Value| format!("{}/{}", text(budget, "amount"), text(budget, "period"));
    budgets.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn read_of(texts: &[&str]) -> Result<Option<Value>, String> {
        read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn budgets_are_sent_as_they_were_written() {
        let month = "{amount=50, period=\"month\", steps=[{at=0.85, do=\"throttle\", rpm=10}]}";
        let sent = json!({ "amount": 50, "period": "month", "steps": [{ "at": "0.85", "do": "throttle", "rpm": 10 }] });

        assert_eq!(read_of(&[]), Ok(None));
        assert_eq!(read_of(&["none"]), Ok(Some(Value::Null)));
        assert_eq!(read_of(&[month]), Ok(Some(json!([sent]))));
        let day = "[{ amount = 0.000000001, period = 'day', soft = true }]";
        let both = json!([sent, { "amount": "0.000000001", "period": "day", "soft": true }]);
        assert_eq!(read_of(&[month, day]), Ok(Some(both)));
    }

    #[test]
    fn what_is_no_budget_is_told_with_an_example() {
        for text in ["50", "amount = 50", "{ amount = }", "none of it", "{ amount = 5 }\nother = 1", ""] {
            let fault = read_of(&[text]).unwrap_err();
            assert!(fault.contains("is no budget in TOML") && fault.contains("{ amount = 50"), "{fault}");
        }
        assert!(read_of(&["none", "none"]).is_err());
    }

    #[test]
    fn a_list_shows_amounts_and_periods() {
        let budgets =
            json!([{ "amount": "50", "period": "month", "soft": false }, { "amount": "0.5", "period": "90d" }]);

        assert_eq!(in_short(&budgets), "50/month 0.5/90d");
        assert_eq!(in_short(&json!([])), "");
    }
}
