//! Single settings from outside the files: `BURSAR__SERVER__LISTEN=…` and `--set server.listen=…`.
//!
//! The environment reaches only what is there already: keys of the schema, and providers, teams or aliases that a file
//! names. A name it does not know is a warning, because the environment belongs to others too. `--set` is typed for
//! us, so there an unknown path is an error.

use toml::Value;
use toml::de::DeTable;

use super::fault::{Fault, Faults, Origin, nearest};
use super::layer::{Layer, child, choice_fault, read_from};
use super::schema::{Shape, schema};

/// What the names of our variables start with.
const PREFIX: &str = "BURSAR__";

/// Reads the overrides among `environment` on top of `below`; returns one layer and how many values it has.
pub fn from_environment(environment: &[(String, String)], below: &toml::Table, faults: &mut Faults) -> (Layer, usize) {
    let mut layer = Layer::default();
    let mut count = 0;
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let origin = Origin::Environment(name.clone());
        let steps: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        let shape = match settable(&steps, below) {
            Ok(shape) => shape,
            Err(why) => {
                let all = names(below);
                let mut fault = Fault::warning(why).at(Some(origin)).near(name, all.iter().map(String::as_str));
                if fault.message.contains("list") {
                    fault.near = None;
                }
                faults.push(fault);
                continue;
            }
        };
        let path = steps.iter().fold(String::new(), |path, step| child(&path, step));
        match typed(value, shape, &path) {
            Ok(value) => {
                layer.origins.insert(&path, origin);
                insert(&mut layer.table, &steps, value);
                count += 1;
            }
            Err(fault) => faults.push(fault.at(Some(origin))),
        }
    }
    (layer, count)
}

/// Returns what `steps` may be set to, or why they cannot be set.
fn settable(steps: &[String], below: &toml::Table) -> Result<&'static Shape, String> {
    let mut shape = schema();
    let mut there = Some(below);
    for (index, step) in steps.iter().enumerate() {
        let none = || "no such setting".to_owned();
        shape = match within_one(shape, there) {
            Shape::Table(keys) => keys.get(step.as_str()).ok_or_else(none)?,
            Shape::Map(inner) => {
                if !there.is_some_and(|table| table.contains_key(step)) {
                    let table = steps[..index].join(".");
                    return Err(format!("no file has `{step}` in {table}; the environment only changes what is there"));
                }
                inner
            }
            Shape::List(_) | Shape::OneOrMany(_) => {
                let advice = "elements of a list cannot be set from the environment";
                return Err(format!("{advice}; for provider keys use key_pool"));
            }
            _ => return Err(none()),
        };
        there = there.and_then(|table| table.get(step)).and_then(Value::as_table);
    }
    match shape {
        Shape::Table(_) | Shape::Map(_) | Shape::OneOrMany(_) => Err("names a table, not a setting".to_owned()),
        Shape::List(inner) if !matches!(**inner, Shape::Text) => {
            Err("a list of tables cannot be set from the environment; for provider keys use key_pool".to_owned())
        }
        shape => Ok(shape),
    }
}

/// Returns what the one table may hold that is `there` in the place of a list.
fn within_one<'s>(shape: &'s Shape, there: Option<&toml::Table>) -> &'s Shape {
    match shape {
        Shape::OneOrMany(table) if there.is_some() => table,
        shape => shape,
    }
}

/// Returns the names of all variables that would be understood on top of `below`.
fn names(below: &toml::Table) -> Vec<String> {
    fn walk(shape: &Shape, there: Option<&toml::Table>, name: &str, names: &mut Vec<String>) {
        let inner = |step: &str| there.and_then(|table| table.get(step)).and_then(Value::as_table);
        match within_one(shape, there) {
            Shape::Table(keys) => {
                for (key, shape) in keys {
                    walk(shape, inner(key), &format!("{name}__{}", key.to_ascii_uppercase()), names);
                }
            }
            Shape::Map(item) => {
                for key in there.into_iter().flat_map(toml::Table::keys) {
                    walk(item, inner(key), &format!("{name}__{}", key.to_ascii_uppercase()), names);
                }
            }
            Shape::List(item) if !matches!(**item, Shape::Text) => {}
            Shape::OneOrMany(_) => {}
            _ => names.push(name.to_owned()),
        }
    }
    let mut names = Vec::new();
    walk(schema(), Some(below), PREFIX.trim_end_matches('_'), &mut names);
    names
}

/// Returns the text of a variable as the type that `shape` asks for. References in it are taken literally: whoever
/// sets a variable has the value at hand.
fn typed(text: &str, shape: &Shape, path: &str) -> Result<Value, Fault> {
    let wrong = || Fault::error(format!("{path} takes {}", shape.noun()));
    let literal = |text: &str| Value::String(text.replace("${", "$${"));
    match shape {
        Shape::Truth => text.parse().map(Value::Boolean).map_err(|_| wrong().help("write true or false")),
        Shape::Whole(most) => match text.replace('_', "").parse::<u64>() {
            Ok(number) if number <= *most => i64::try_from(number).map(Value::Integer).map_err(|_| wrong()),
            _ => Err(wrong()),
        },
        Shape::Number => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(wrong()),
        },
        Shape::Choice(words) => match choice_fault(path, text, words) {
            Some(fault) => Err(fault),
            None => Ok(Value::String(text.to_owned())),
        },
        Shape::List(_) => {
            Ok(Value::Array(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(literal).collect()))
        }
        _ => Ok(literal(text)),
    }
}

/// Puts `value` at `steps`, making the tables on the way.
pub fn insert(table: &mut toml::Table, steps: &[String], value: Value) {
    let Some((first, rest)) = steps.split_first() else { return };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return;
    }
    let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(toml::Table::new()));
    if let Value::Table(inner) = inner {
        insert(inner, rest, value);
    }
}

/// Reads one `path=value` of `--set`. The value is TOML where it parses as such, otherwise the text itself.
pub fn from_set(assignment: &str, faults: &mut Faults) -> Layer {
    let Some((steps, text)) = split(assignment) else {
        let origin = Some(Origin::CommandLine("--set".to_owned()));
        faults.push(Fault::error("not of the form path=value").at(origin).help("for example --set server.workers=2"));
        return Layer::default();
    };
    let path = steps.iter().fold(String::new(), |path, step| child(&path, step));
    let origin = Origin::CommandLine(format!("--set {path}"));
    let shape = match reach(&steps) {
        Ok(shape) => shape,
        Err(near) => {
            let mut fault = Fault::error("no such setting").at(Some(origin));
            fault.near = near;
            faults.push(fault);
            return Layer::default();
        }
    };
    // `2024-01-01`, `7` and `true` are TOML, but where a string is wanted they are that string.
    let is_text = matches!(shape, Shape::Text | Shape::Choice(_));
    let quoted = Value::String(text.to_owned()).to_string();
    let candidates = [format!("{path} = {text}"), format!("{path} = {quoted}")];
    let parsed = candidates.iter().filter_map(|line| DeTable::parse(line).ok()).find(|table| {
        let one = table.get_ref().len() == 1;
        one && (!is_text || is_string(table.get_ref(), &steps))
    });
    match parsed {
        Some(table) => read_from(&origin, table.get_ref(), faults),
        None => {
            faults.push(Fault::error("the value cannot be read").at(Some(origin)));
            Layer::default()
        }
    }
}

/// Returns the keys before the first `=` that ends a TOML key, and the text behind it.
fn split(assignment: &str) -> Option<(Vec<String>, &str)> {
    assignment.match_indices('=').find_map(|(at, _)| {
        let (key, text) = (assignment[..at].trim(), &assignment[at + 1..]);
        let table: toml::Table = format!("{key} = 0").parse().ok()?;
        let mut steps = Vec::new();
        let mut inner = Value::Table(table);
        while let Value::Table(table) = inner {
            let (step, value) = table.into_iter().next()?;
            steps.push(step);
            inner = value;
        }
        Some((steps, text))
    })
}

fn is_string(table: &DeTable<'_>, steps: &[String]) -> bool {
    let Some((first, rest)) = steps.split_first() else { return false };
    let value = table.iter().find(|(key, _)| key.get_ref() == first).map(|(_, value)| value.get_ref());
    match value {
        Some(toml::de::DeValue::Table(inner)) => is_string(inner, rest),
        Some(toml::de::DeValue::String(_)) => rest.is_empty(),
        _ => false,
    }
}

/// Returns the shape at `steps`, or the whole path that was probably meant.
fn reach(steps: &[String]) -> Result<&'static Shape, Option<String>> {
    let mut shape = schema();
    for (index, step) in steps.iter().enumerate() {
        if let Shape::OneOrMany(table) = shape {
            shape = table;
        }
        shape = match shape {
            Shape::Map(inner) => inner,
            Shape::Table(keys) => match keys.get(step.as_str()) {
                Some(inner) => inner,
                None => {
                    let near = nearest(step, keys.keys().copied()).map(|near| {
                        let before = steps[..index].iter().map(String::as_str);
                        let after = steps[index + 1..].iter().map(String::as_str);
                        before.chain([near]).chain(after).fold(String::new(), |path, step| child(&path, step))
                    });
                    return Err(near);
                }
            },
            _ => return Err(None),
        };
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn set(assignment: &str) -> Result<toml::Table, String> {
        let mut faults = Faults::default();
        let layer = from_set(assignment, &mut faults);
        if faults.is_fatal() { Err(faults.iter().next().unwrap().one_line()) } else { Ok(layer.table) }
    }

    fn environment(name: &str, value: &str) -> (toml::Table, Vec<String>) {
        let below = "[providers.local]\nkind = \"demo\"".parse().unwrap();
        let mut faults = Faults::default();
        let (layer, _) = from_environment(&[(name.to_owned(), value.to_owned())], &below, &mut faults);
        (layer.table, faults.iter().map(Fault::one_line).collect())
    }

    #[test]
    fn set_takes_toml_where_it_parses_and_text_otherwise() {
        assert_eq!(set("server.workers=2").unwrap(), "server.workers = 2".parse().unwrap());
        assert_eq!(set("server.listen=0.0.0.0:80").unwrap(), "server.listen = \"0.0.0.0:80\"".parse().unwrap());
        assert_eq!(set("storage.path=7").unwrap(), "storage.path = \"7\"".parse().unwrap());
        assert_eq!(
            set("models.alias.\"a.B=c\".fallback=['x']").unwrap(),
            "models.alias.\"a.B=c\".fallback = ['x']".parse().unwrap()
        );
    }

    #[test]
    fn set_refuses_a_path_that_does_not_exist_and_suggests_one() {
        assert_eq!(
            set("server.lisen=1").unwrap_err(),
            "--set server.lisen: no such setting; did you mean `server.listen`?"
        );
        assert!(set("nothing").unwrap_err().contains("path=value"));
        assert!(set("server.workers=many").unwrap_err().contains("takes a whole number"));
    }

    #[test]
    fn the_environment_reaches_settings_and_what_files_name() {
        assert_eq!(environment("BURSAR__SERVER__WORKERS", "3").0, "server.workers = 3".parse().unwrap());
        assert_eq!(
            environment("BURSAR__PROVIDERS__LOCAL__TAGS", "a, b").0,
            "providers.local.tags = ['a', 'b']".parse().unwrap()
        );
        assert_eq!(environment("BURSAR__STORAGE__PATH", "${X}").0, "storage.path = '$${X}'".parse().unwrap());
    }

    #[test]
    fn the_environment_reaches_into_one_table_and_into_no_list() {
        let budget = |written: &str| {
            let below = format!("teams.t.budget = {written}").parse().unwrap();
            let variable = ("BURSAR__TEAMS__T__BUDGET__AMOUNT".to_owned(), "7.5".to_owned());
            let mut faults = Faults::default();
            let (layer, count) = from_environment(&[variable], &below, &mut faults);
            (layer.table, count, faults.warnings())
        };

        let changed = "teams.t.budget.amount = '7.5'".parse().unwrap();
        assert_eq!(budget("{ amount = 5 }"), (changed, 1, 0));
        assert_eq!(budget("[{ amount = 5 }]"), (toml::Table::new(), 0, 1));
    }

    #[test]
    fn an_unknown_variable_is_a_warning_with_a_suggestion() {
        let (table, faults) = environment("BURSAR__SERVER__LISTN", "x");

        assert!(table.is_empty());
        assert_eq!(faults, ["env BURSAR__SERVER__LISTN: no such setting; did you mean `BURSAR__SERVER__LISTEN`?"]);
        assert!(environment("BURSAR__PROVIDERS__NEW__KIND", "demo").1[0].contains("no file has `new`"));
        assert!(environment("BURSAR__PROVIDERS__LOCAL__KEYS__0__VALUE", "x").1[0].contains("key_pool"));
    }

    proptest! {
        #[test]
        fn no_assignment_panics(text in "[a-z.=\"'\\[\\]{}\n$ ]{0,30}") {
            _ = set(&text);
        }
    }
}
