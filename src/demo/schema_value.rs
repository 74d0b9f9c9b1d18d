//! JSON that satisfies a JSON schema, with values from the user's text where they fit.
//!
//! Covers what structured outputs and tool parameters use: types, `enum`, `const`, bounds, `format`, simple
//! `pattern`s, `required`, `$ref`, `allOf`, the first of `anyOf` or `oneOf`. Not covered: `not`, `if`,
//! `patternProperties`, `dependentRequired`, `contains`. Depth and size are bounded, so a schema that demands an
//! endless value gets a finite one that does not satisfy it.

use std::borrow::Cow;

use serde_json::{Map, Number, Value, json};

use super::dice::Dice;
use super::{pattern, text};

/// Depth from which on only what is demanded is made.
const SPARING_DEPTH: usize = 5;
const MAX_DEPTH: usize = 40;
/// Most values made for one schema.
const MAX_VALUES: usize = 10_000;
const MAX_CHARS: usize = 10_000;
/// Longest text of the user's that becomes a value.
const EXCERPT: usize = 80;

/// Makes a value for the schema; `text` is what the user wrote.
pub(super) fn satisfying(schema: &Value, text: &str, dice: &mut Dice) -> Value {
    Maker { root: schema, text, dice, left: MAX_VALUES, turn: 0 }.value(schema, "", 0)
}

struct Maker<'a> {
    root: &'a Value,
    text: &'a str,
    dice: &'a mut Dice,
    /// How many values may still be made.
    left: usize,
    /// Which of several values that must differ is being made.
    turn: usize,
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth > MAX_DEPTH || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        let schema = self.flattened(schema, depth);
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return self.one_of(values);
        }
        match kind(&schema, depth) {
            "object" => self.object(&schema, depth),
            "array" => self.array(&schema, name, depth),
            "integer" => self.number(&schema, true),
            "number" => self.number(&schema, false),
            "boolean" => Value::Bool(self.turn.is_multiple_of(2)),
            "null" => Value::Null,
            _ => Value::String(self.string(&schema, name)),
        }
    }

    /// Follows `$ref`, merges `allOf`, and chooses among `anyOf` or `oneOf`, until none of them is left.
    fn flattened<'s>(&self, schema: &'s Value, depth: usize) -> Cow<'s, Value> {
        let mut schema = Cow::Borrowed(schema);
        // Each step takes one keyword away; the bound stops a reference to itself.
        for _ in 0..MAX_DEPTH {
            let Some(object) = schema.as_object() else { break };
            let (keyword, parts): (_, Vec<Value>) = if let Some(reference) = object.get("$ref").and_then(Value::as_str)
            {
                ("$ref", self.referenced(reference).cloned().into_iter().collect())
            } else if let Some(all) = object.get("allOf").and_then(Value::as_array) {
                ("allOf", all.clone())
            } else if let Some((keyword, any)) =
                ["anyOf", "oneOf"].iter().find_map(|keyword| Some((*keyword, object.get(*keyword)?.as_array()?)))
            {
                (keyword, branch(any, depth).cloned().into_iter().collect())
            } else {
                break;
            };
            let mut merged = object.clone();
            merged.remove(keyword);
            parts.iter().for_each(|part| merge(&mut merged, part));
            schema = Cow::Owned(Value::Object(merged));
        }
        schema
    }

    fn referenced(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    /// Chooses the value the user mentioned, or the first, or a later one when values must differ.
    fn one_of(&self, values: &[Value]) -> Value {
        let mentioned = || {
            let text = self.text.to_lowercase();
            values.iter().find(|value| value.as_str().is_some_and(|value| text.contains(&value.to_lowercase())))
        };
        let chosen = if self.turn == 0 { mentioned().or(values.first()) } else { values.get(self.turn % values.len()) };
        chosen.cloned().unwrap_or_default()
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let additional = schema.get("additionalProperties").filter(|additional| additional.is_object());
        let required: Vec<&str> = strings(schema.get("required")).collect();
        let mut made = Map::new();
        for name in &required {
            let value = self.value(properties.get(*name).or(additional).unwrap_or(&Value::Null), name, depth + 1);
            made.insert((*name).to_owned(), value);
        }
        let all_optional = required.is_empty() && depth < SPARING_DEPTH;
        let at_least = size(schema, "minProperties");
        for (name, schema) in properties {
            if (all_optional || made.len() < at_least) && !made.contains_key(name) {
                made.insert(name.clone(), self.value(schema, name, depth + 1));
            }
        }
        let free = usize::from(properties.is_empty() && additional.is_some() && depth < SPARING_DEPTH);
        let wanted = at_least.max(free).min(self.left);
        for number in 1.. {
            if made.len() >= wanted {
                break;
            }
            let name = format!("key{number}");
            let value = self.value(additional.unwrap_or(&Value::Null), &name, depth + 1);
            made.entry(name).or_insert(value);
        }
        Value::Object(made)
    }

    fn array(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        let first = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let items = schema.get("items").unwrap_or(&Value::Null);
        let wished = if depth < SPARING_DEPTH { first.len().max(usize::from(*items != json!(false))) } else { 0 };
        let most = schema.get("maxItems").map_or(usize::MAX, |_| size(schema, "maxItems"));
        let length = size(schema, "minItems").max(wished.min(most)).min(self.left);
        let distinct = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let outer = self.turn;
        let mut made: Vec<Value> = Vec::new();
        for index in 0..length {
            if distinct {
                self.turn = index;
            }
            made.push(self.value(first.get(index).unwrap_or(items), name, depth + 1));
        }
        self.turn = outer;
        Value::Array(made)
    }

    fn number(&mut self, schema: &Value, whole: bool) -> Value {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let step = bound("multipleOf").filter(|step| *step > 0.0).or(whole.then_some(1.0));
        let nudge = step.unwrap_or(0.0);
        // For a number without a step the middle between the bounds is taken, which lies inside exclusive ones too.
        let low =
            bound("minimum").into_iter().chain(bound("exclusiveMinimum").map(|low| above(low, step))).reduce(f64::max);
        let high = bound("maximum")
            .into_iter()
            .chain(bound("exclusiveMaximum").map(|high| below(high, step)))
            .reduce(f64::min);
        let fits = |number: f64| {
            bound("minimum").is_none_or(|low| number >= low)
                && bound("exclusiveMinimum").is_none_or(|low| number > low)
                && bound("maximum").is_none_or(|high| number <= high)
                && bound("exclusiveMaximum").is_none_or(|high| number < high)
                && step.is_none_or(|step| number % step == 0.0)
        };
        if let Some(number) = text::number(self.text).filter(|number| self.turn == 0 && fits(*number)) {
            return as_json(number);
        }
        let turn = self.turn as f64;
        let chosen = match (low, high, step) {
            (Some(low), Some(high), None) => low + (high - low) * (turn + 1.0) / (turn + 2.0),
            (Some(low), _, None) => low + turn + 1.0,
            (None, Some(high), None) => high - turn - 1.0,
            (Some(low), _, Some(step)) => (low / step).ceil() * step + turn * nudge,
            (None, Some(high), Some(step)) => (high / step).floor() * step - turn * nudge,
            (None, None, _) => (1.0 + self.dice.below(9) as f64 + 10.0 * turn) * step.unwrap_or(1.0),
        };
        as_json(chosen)
    }

    fn string(&self, schema: &Value, name: &str) -> String {
        let least = size(schema, "minLength");
        let most = schema.get("maxLength").map_or(MAX_CHARS, |_| size(schema, "maxLength"));
        let pattern = schema.get("pattern").and_then(Value::as_str);
        if let Some(matching) = pattern.and_then(|pattern| pattern::matching(pattern, least..=most)) {
            return matching;
        }
        let format = schema.get("format").and_then(Value::as_str).and_then(|format| self.formatted(format));
        let mut made = match format {
            Some(formatted) if self.turn == 0 => return formatted,
            Some(formatted) => formatted,
            None => self.guessed(&name.to_lowercase()),
        };
        if self.turn > 0 {
            made = format!("{} {made}", self.turn + 1);
        }
        if made.chars().count() > most {
            made = made.chars().take(most).collect();
        }
        let short = least.saturating_sub(made.chars().count());
        made.extend(" and so on".chars().cycle().take(short));
        made
    }

    /// Returns a text of the format, from the user's words where there is one; none for a format not known here.
    fn formatted(&self, format: &str) -> Option<String> {
        let example = match format {
            "email" | "idn-email" => text::emails(self.text).next().unwrap_or("ada@example.com"),
            "date" => text::day(self.text).unwrap_or("2026-01-15"),
            "date-time" => "2026-01-15T09:30:00Z",
            "time" => "09:30:00Z",
            "duration" => "PT15M",
            "uuid" => "7c9e6679-7425-40de-944b-e07fc1f90ae7",
            "uri" | "url" | "iri" | "uri-reference" => text::web_address(self.text).unwrap_or("https://example.com/"),
            "hostname" | "idn-hostname" => "example.com",
            "ipv4" => "192.0.2.1",
            "ipv6" => "2001:db8::1",
            _ => return None,
        };
        Some(example.to_owned())
    }

    /// Returns what the user may have meant for a property of that name.
    fn guessed(&self, property: &str) -> String {
        const NAMED: [&str; 9] =
            ["city", "location", "place", "country", "town", "name", "person", "origin", "destination"];
        let says = |words: &[&str]| words.iter().any(|word| property.contains(word));
        let from_text = if says(&["email", "mail", "recipient"]) {
            text::emails(self.text).next().map(str::to_owned)
        } else if says(&["url", "link"]) {
            text::web_address(self.text).map(str::to_owned)
        } else if says(&["date", "day"]) {
            text::day(self.text).map(str::to_owned)
        } else if says(&NAMED) {
            text::name(self.text)
        } else {
            None
        };
        let excerpt = || Some(text::excerpt(self.text, EXCERPT)).filter(|excerpt| !excerpt.is_empty());
        from_text.or_else(excerpt).unwrap_or_else(|| "example".to_owned())
    }
}

/// Returns the type to make: the first named that is not null, or what the other keywords suggest.
fn kind(schema: &Value, depth: usize) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            if depth >= SPARING_DEPTH && kinds.clone().any(|kind| kind == "null") {
                return "null";
            }
            kinds.find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() || schema.get("required").is_some() => "object",
        _ if schema.get("items").is_some() || schema.get("prefixItems").is_some() => "array",
        _ if schema.get("minimum").is_some() || schema.get("maximum").is_some() => "number",
        _ => "string",
    }
}

/// Chooses the first branch, or deep down the one that ends soonest.
fn branch(branches: &[Value], depth: usize) -> Option<&Value> {
    let ends = |branch: &&Value| {
        ["null", "boolean", "integer", "number", "string"].contains(&kind(branch, 0)) && branch.get("$ref").is_none()
    };
    let simplest = if depth >= SPARING_DEPTH { branches.iter().find(ends) } else { None };
    simplest.or(branches.first())
}

/// Adds the keywords of a part: properties and required names unite, any other keyword of the part wins.
fn merge(into: &mut Map<String, Value>, part: &Value) {
    for (keyword, value) in part.as_object().into_iter().flatten() {
        match (into.get_mut(keyword), value) {
            (Some(Value::Object(known)), Value::Object(more)) if keyword == "properties" => {
                known.extend(more.clone());
            }
            (Some(Value::Array(known)), Value::Array(more)) if keyword == "required" => known.extend(more.clone()),
            _ => {
                into.insert(keyword.clone(), value.clone());
            }
        }
    }
}

fn strings(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn size(schema: &Value, keyword: &str) -> usize {
    let size = schema.get(keyword).and_then(Value::as_u64).unwrap_or(0);
    usize::try_from(size).unwrap_or(usize::MAX).min(MAX_CHARS)
}

/// The smallest multiple of the step above a bound; the bound itself where there is no step.
fn above(bound: f64, step: Option<f64>) -> f64 {
    step.map_or(bound, |step| ((bound / step).floor() + 1.0) * step)
}

fn below(bound: f64, step: Option<f64>) -> f64 {
    step.map_or(bound, |step| ((bound / step).ceil() - 1.0) * step)
}

/// Writes a number without a fraction as an integer, as models do.
fn as_json(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        return Value::Number(Number::from(number as i64));
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
#[path = "schema_value_tests.rs"]
mod tests;
