//! Budgets given by hand, in JSON: the keys, words and rules of a file, without a place in one.

use bursar_actors::budget::BudgetSpec;
use serde_json::Value;

use super::{one, specs};
use crate::config::Config;
use crate::config::check::Checker;
use crate::config::fault::{Faults, Level};
use crate::config::layer::{Origins, child, item};
use crate::config::one_or_many::OneOrMany;
use crate::config::raw::RawBudget;

/// Returns the budgets that `written` states, or all that is wrong with them, in words that begin with `field`.
///
/// It is one budget, a list of them, or null for none, each with the keys of a file; dollars are whole numbers or decimal
/// strings. Whether its holder may use what a budget downgrades to is for whoever knows the holder.
pub fn by_hand(field: &str, written: Value, config: &Config) -> Result<Vec<BudgetSpec>, Vec<String>> {
    let raw = read(field, written).map_err(|fault| vec![fault])?;
    let mut faults = Faults::default();
    let mut checker = Checker { origins: Origins::default(), faults: &mut faults };
    let ground = one::Ground { zone: &config.budget_policy.zone, models: &config.models, whose: None, scope: None };
    let specs = specs(&mut checker, raw.placed(field), None, &ground);
    let errors: Vec<String> =
        faults.iter().filter(|fault| fault.level == Level::Error).map(|fault| fault.one_line()).collect();
    if errors.is_empty() { Ok(specs) } else { Err(errors) }
}

fn read(field: &str, mut written: Value) -> Result<OneOrMany<RawBudget>, String> {
    match &mut written {
        Value::Null => return Ok(OneOrMany::default()),
        Value::Array(list) => {
            for (index, budget) in list.iter_mut().enumerate() {
                write_amounts(&item(field, index), budget)?;
            }
        }
        budget => write_amounts(field, budget)?,
    }
    serde_path_to_error::deserialize(written).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => format!("{field}: {}", error.inner()),
            list if list.starts_with('[') => format!("{field}{list}: {}", error.inner()),
            key => format!("{field}.{key}: {}", error.inner()),
        }
    })
}

/// Puts what was written in the place of the numbers that a file takes digit by digit.
fn write_amounts(path: &str, budget: &mut Value) -> Result<(), String> {
    let Some(budget) = budget.as_object_mut() else { return Ok(()) };
    if let Some(Value::Number(amount)) = budget.get("amount").filter(|amount| amount.is_f64()) {
        let here = child(path, "amount");
        return Err(format!("{here} is {amount}; write dollars as a string, for example \"0.50\""));
    }
    let steps = budget.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten();
    for share in steps.filter_map(|step| step.get_mut("at")) {
        write(share);
    }
    for key in ["amount", "rollover"] {
        if let Some(number) = budget.get_mut(key) {
            write(number);
        }
    }
    Ok(())
}

fn write(number: &mut Value) {
    if number.is_number() {
        *number = number.to_string().into();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bursar_actors::budget::{Act, Period, Step};
    use serde_json::json;

    use super::*;
    use crate::config::load::{Sources, load};

    fn config() -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = "[budgets]\ntimezone = 'Europe/Berlin'\n[providers.p]\nkind = 'openai_compatible'\n\
                    base_url = 'http://a/v1'\nkeys = [{ id = 'k', value = 'sk-0123456789' }]\n\
                    [models.alias.fast]\ntargets = [{ provider = 'p', model = 'small' }]\n";
        std::fs::write(folder.path().join("bursar.toml"), file).unwrap();
        let (working_dir, system_file) = (folder.path().to_owned(), folder.path().join("none.toml"));
        load(&Sources { working_dir, system_file, ..Sources::default() }).unwrap()
    }

    #[test]
    fn one_budget_or_several_are_read_as_a_file_says_them() {
        let config = config();
        let month =
            json!({ "amount": 50, "period": "month", "steps": [{ "at": 0.8, "do": "downgrade", "to": "fast" }] });
        let day = json!({ "id": "daily", "amount": "2.5", "period": "day", "timezone": "UTC", "rollover": "0.5" });

        let one = by_hand("budget", month.clone(), &config).unwrap();
        let both = by_hand("budget", json!([month, day]), &config).unwrap();

        assert_eq!((one.len(), &one[0]), (1, &both[0]));
        let step = Step { at_ppm: 800_000, act: Act::Downgrade { to: Some("fast".to_owned()) } };
        assert_eq!((one[0].id.as_str(), one[0].amount_nano, one[0].period), ("month", 50_000_000_000, Period::Month));
        assert_eq!((one[0].zone.name(), &one[0].steps), ("Europe/Berlin", &vec![step]));
        assert_eq!((both[1].id.as_str(), both[1].amount_nano, both[1].rollover_ppm), ("daily", 2_500_000_000, 500_000));
        assert_eq!(both[1].zone.name(), "UTC");
        assert_eq!(by_hand("budget", Value::Null, &config).unwrap(), []);
        assert_eq!(by_hand("budget", json!([]), &config).unwrap(), []);
    }

    #[test]
    fn every_fault_is_told_with_its_field() {
        let config = config();
        let month = json!({ "amount": 1, "period": "month" });
        for (written, words) in [
            (json!({}), "budget has no `period`; day, week"),
            (json!({ "amount": 1, "period": "month", "amout": 2 }), "budget.amout: unknown field `amout`"),
            (json!({ "amount": 0.5, "period": "month" }), "budget.amount is 0.5; write dollars as a string"),
            (json!({ "amount": "much", "period": "day" }), "budget.amount: `much` is not an amount of dollars"),
            (
                json!({ "amount": 1, "period": "moth" }),
                "budget.period is `moth`, which is no period; did you mean `month`?",
            ),
            (json!({ "amount": 1, "period": "day", "steps": [{ "at": 2, "do": "block" }] }), "budget.steps[0].at is 2"),
            (
                json!({ "amount": 1, "period": "day", "steps": [{ "at": 1, "do": "downgrade", "to": "quick" }] }),
                "budget.steps[0].to names alias `quick`, which is not defined",
            ),
            (
                json!({ "amount": 1, "period": "day", "steps": [{ "at": 1, "do": "stop" }] }),
                "budget.steps[0].do: unknown",
            ),
            (json!([month, month]), "budget id `month` is taken by budget[0]"),
            (json!([5]), "budget[0]: invalid type"),
            (json!("50"), "budget: invalid type"),
        ] {
            let faults = by_hand("budget", written.clone(), &config).unwrap_err();
            assert!(faults.iter().any(|fault| fault.starts_with(words)), "{written}: {faults:?}");
        }
    }
}
