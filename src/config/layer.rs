//! One file's worth of settings: read, compared with the schema, and every value's place remembered.
//!
//! What does not fit the schema is reported and left out, so that one pass finds all of it and the later checks work
//! on the rest. A path is written as in messages: `models.alias."gpt-4.1".targets[1].provider`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::fault::{Fault, Faults, Origin, Shown, SourceFile};
use super::schema::{Shape, schema};

/// Settings from one place, and where each came from.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    pub table: toml::Table,
    pub origins: Origins,
}

/// Where each value came from.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    places: BTreeMap<String, Origin>,
    /// Tables in which something was left out; a key missing there may be the one that was misspelt.
    spoiled: BTreeSet<String>,
}

impl Origins {
    /// Remembers where the value at `path` came from.
    pub fn insert(&mut self, path: &str, origin: Origin) {
        self.places.insert(path.to_owned(), origin);
    }

    /// Returns where the value at `path` came from, or else the nearest table around it.
    pub fn find(&self, path: &str) -> Option<&Origin> {
        let mut path = path;
        loop {
            if let Some(origin) = self.places.get(path) {
                return Some(origin);
            }
            path = parent(path)?;
        }
    }

    /// Remembers that something in the table at `path` was left out because it was wrong.
    pub fn spoil(&mut self, path: &str) {
        self.spoiled.insert(path.to_owned());
    }

    /// Returns whether something in the table at `path` was left out because it was wrong.
    pub fn is_spoiled(&self, path: &str) -> bool {
        self.spoiled.contains(path)
    }

    /// Renumbers what stands in the list at `path`, because `by` elements have come before it.
    pub fn shift(&mut self, path: &str, by: usize) {
        let start = format!("{path}[");
        let moved = |place: &str| {
            let (index, rest) = place.strip_prefix(&start)?.split_once(']')?;
            let index: usize = index.parse().ok()?;
            Some(format!("{start}{}]{rest}", index + by))
        };
        let places = std::mem::take(&mut self.places).into_iter();
        self.places = places.map(|(place, origin)| (moved(&place).unwrap_or(place), origin)).collect();
        let spoiled = std::mem::take(&mut self.spoiled).into_iter();
        self.spoiled = spoiled.map(|place| moved(&place).unwrap_or(place)).collect();
    }

    /// Takes over what a stronger layer says.
    pub fn extend(&mut self, stronger: Self) {
        self.places.extend(stronger.places);
        self.spoiled.extend(stronger.spoiled);
    }
}

/// Returns the path of `key` in the table at `path`.
pub fn child(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Returns the path of element `index` of the list at `path`.
pub fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// Returns the table or list that holds `path`. A dot inside a quoted key costs one step more, no more than that.
fn parent(path: &str) -> Option<&str> {
    path.rfind(['.', '[']).map(|at| &path[..at])
}

/// Returns what a message calls the table at `path`.
fn place_name(path: &str) -> String {
    if path.is_empty() { "at the top level".to_owned() } else { format!("in {path}") }
}

/// Reads the file `name`. Whatever is wrong with it goes to `faults`; the layer holds the rest. `None` where the file
/// is not TOML.
pub fn read(name: &str, order: usize, text: &str, faults: &mut Faults) -> Option<Layer> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        syntax_faults(name, order, text, &errors, faults);
        return None;
    }
    let mut strings = Vec::new();
    classify_table(table.get_ref(), Some(schema()), &mut strings);
    strings.sort_by_key(|(range, _)| range.start);
    let file = Arc::new(SourceFile { name: name.to_owned(), order, text: text.to_owned(), strings });
    let mut reader =
        Reader { at: &|span| Origin::File { file: Arc::clone(&file), span }, origins: Origins::default(), faults };
    let table = reader.table(table.get_ref(), schema(), "");
    Some(Layer { table, origins: reader.origins })
}

/// Reads `table` as [`read`] does, but with one origin for everything in it.
pub fn read_from(origin: &Origin, table: &DeTable<'_>, faults: &mut Faults) -> Layer {
    let mut reader = Reader { at: &|_| origin.clone(), origins: Origins::default(), faults };
    let table = reader.table(table, schema(), "");
    Layer { table, origins: reader.origins }
}

/// Reports every place where `text` is not TOML. Of the line only the key is shown: where quotes are missing, nobody
/// can tell a secret from the rest.
fn syntax_faults(name: &str, order: usize, text: &str, errors: &[toml::de::Error], faults: &mut Faults) {
    let mut strings = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        let shown = match (content.trim_start().starts_with('['), content.find(['=', '"', '\''])) {
            (false, Some(at)) if content[at..].starts_with('=') => at + 1,
            (true, Some(at)) => at,
            (true, None) => content.len(),
            (false, _) => 0,
        };
        // Inside a multi-line string any line may be part of a secret.
        let shown = if text.contains("\"\"\"") || text.contains("'''") { 0 } else { shown };
        if shown < content.len() {
            strings.push((offset + shown..offset + content.len(), Shown::No));
        }
        offset += line.len();
    }
    let file = Arc::new(SourceFile { name: name.to_owned(), order, text: text.to_owned(), strings });
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let origin = Origin::File { file: Arc::clone(&file), span };
        faults.push(Fault::error(format!("not TOML: {}", error.message())).at(Some(origin)));
    }
}

/// Keys whose strings are secrets, or may be.
const SECRET_KEYS: [&str; 7] =
    ["value", "hash", "client_secret", "secret_access_key", "session_token", "secret", "url"];

/// Notes for every string of `table` where it stands and whether a message may show it: only strings that the schema
/// knows and that are no secrets. `shape` is `None` where the schema knows nothing.
fn classify_table(table: &DeTable<'_>, shape: Option<&Shape>, strings: &mut Vec<(Range<usize>, Shown)>) {
    for (key, value) in table {
        let name: &str = key.get_ref();
        let inner = match shape {
            Some(Shape::Table(keys)) => keys.get(name),
            Some(Shape::Map(item)) => Some(&**item),
            _ => None,
        };
        let secret = SECRET_KEYS.contains(&name) || name == "headers";
        classify(value, inner.filter(|_| !secret), name, strings);
    }
}

fn classify(value: &Spanned<DeValue<'_>>, shape: Option<&Shape>, key: &str, strings: &mut Vec<(Range<usize>, Shown)>) {
    match (value.get_ref(), shape) {
        // Somebody may have put a key where a word belongs.
        (DeValue::String(text), Some(Shape::WordOr(_))) => {
            let shown = if is_bare_reference(text) { Shown::Yes } else { Shown::No };
            strings.push((value.span(), shown));
        }
        (DeValue::Table(table), Some(Shape::WordOr(shape) | Shape::OneOrMany(shape))) => {
            classify_table(table, Some(shape), strings)
        }
        (DeValue::String(text), _) => {
            let in_url = matches!(key, "base_url" | "proxy") && text.contains(['@', '?']);
            let in_default = text.contains("${") && text.contains(":-");
            let harmless = shape.is_some() && !in_url && !in_default;
            let shown = if harmless || is_bare_reference(text) { Shown::Yes } else { Shown::No };
            strings.push((value.span(), shown));
        }
        (DeValue::Table(table), shape) => classify_table(table, shape, strings),
        (DeValue::Array(array), shape) => {
            let inner = match shape {
                Some(Shape::List(item) | Shape::OneOrMany(item)) => Some(&**item),
                _ => None,
            };
            array.iter().for_each(|element| classify(element, inner, key, strings));
        }
        _ => {}
    }
}

/// Returns whether `text` only names where a secret is: `${OPENAI_API_KEY}`, without a default.
pub fn is_bare_reference(text: &str) -> bool {
    text.strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.contains(":-") && !name.contains(['$', '{', '}']))
}

/// Walks a parsed table along the schema.
struct Reader<'r> {
    at: &'r dyn Fn(Range<usize>) -> Origin,
    origins: Origins,
    faults: &'r mut Faults,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, shape: &Shape, path: &str) -> toml::Table {
        let mut kept = toml::Table::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let inner = match shape {
                Shape::Table(keys) => keys.get(name),
                Shape::Map(item) => Some(&**item),
                _ => None,
            };
            let Some(inner) = inner else {
                self.unknown(name, key.span(), shape, path);
                continue;
            };
            let path_here = child(path, name);
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            let span = if is_table { key.span() } else { value.span() };
            let origin = (self.at)(span);
            self.origins.insert(&path_here, origin);
            match self.value(value, inner, &path_here) {
                Some(value) => _ = kept.insert(name.to_owned(), value),
                None => self.origins.spoil(path),
            }
        }
        kept
    }

    fn unknown(&mut self, name: &str, span: Range<usize>, shape: &Shape, path: &str) {
        let known: Vec<&str> = match shape {
            Shape::Table(keys) => keys.keys().copied().collect(),
            _ => Vec::new(),
        };
        let origin = (self.at)(span);
        let mut fault = Fault::error(format!("unknown key `{name}` {}", place_name(path)))
            .at(Some(origin))
            .near(name, known.iter().copied());
        if fault.near.is_none() {
            fault = fault.help(format!("known: {}", known.join(", ")));
        }
        self.faults.push(fault);
        self.origins.spoil(path);
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, shape: &Shape, path: &str) -> Option<Value> {
        let kept = match (shape, value.get_ref()) {
            (Shape::WordOr(shape) | Shape::OneOrMany(shape), DeValue::Table(table)) => {
                Value::Table(self.table(table, shape, path))
            }
            (Shape::WordOr(_), DeValue::String(text)) => Value::String(text.to_string()),
            (Shape::Table(_) | Shape::Map(_), DeValue::Table(table)) => Value::Table(self.table(table, shape, path)),
            (Shape::List(inner) | Shape::OneOrMany(inner), DeValue::Array(array)) => {
                return Some(self.list(array, inner, path));
            }
            // A reference may stand for any single value; it is read once it is expanded.
            (Shape::Truth | Shape::Whole(_) | Shape::Number, DeValue::String(text)) if text.contains("${") => {
                Value::String(text.to_string())
            }
            (Shape::Text, DeValue::String(text)) => Value::String(text.to_string()),
            (Shape::Text, DeValue::Datetime(date)) => Value::String(date.to_string()),
            (Shape::Choice(_), DeValue::String(text)) if text.contains("${") => Value::String(text.to_string()),
            (Shape::Choice(words), DeValue::String(text)) => {
                if let Some(fault) = choice_fault(path, text, words) {
                    return self.refuse(fault, value.span());
                }
                Value::String(text.to_string())
            }
            // What was written, and no float made of it.
            (Shape::Amount, DeValue::String(text)) => Value::String(text.to_string()),
            (Shape::Amount, DeValue::Float(digits)) => Value::String(digits.as_str().to_owned()),
            (Shape::Amount, DeValue::Integer(digits)) if digits.radix() == 10 => {
                Value::String(digits.as_str().to_owned())
            }
            (Shape::Truth, DeValue::Boolean(truth)) => Value::Boolean(*truth),
            (Shape::Whole(most), DeValue::Integer(digits)) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(number) if u64::try_from(number).is_ok_and(|number| number <= *most) => Value::Integer(number),
                    _ => return self.refuse(Fault::error(format!("{path} is not between 0 and {most}")), value.span()),
                }
            }
            (Shape::Number, DeValue::Float(digits)) => match digits.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Value::Float(number),
                _ => return self.refuse(Fault::error(format!("{path} is not a finite number")), value.span()),
            },
            (Shape::Number, DeValue::Integer(digits)) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) => Value::Float(number as f64),
                Err(_) => return self.refuse(Fault::error(format!("{path} is too large")), value.span()),
            },
            (shape, found) => {
                let message = format!("{path} takes {}, not {}", shape.noun(), noun(found));
                return self.refuse(with_advice(Fault::error(message), shape, found), value.span());
            }
        };
        Some(kept)
    }

    fn list(&mut self, array: &[Spanned<DeValue<'_>>], inner: &Shape, path: &str) -> Value {
        let mut kept = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let path_here = item(path, index);
            let origin = (self.at)(element.span());
            self.origins.insert(&path_here, origin);
            match self.value(element, inner, &path_here) {
                Some(value) => kept.push(value),
                // An empty table keeps the numbers of those behind it as they are in the file.
                None if matches!(inner, Shape::Table(_)) => {
                    self.origins.spoil(&path_here);
                    kept.push(Value::Table(toml::Table::new()));
                }
                None => self.origins.spoil(path),
            }
        }
        Value::Array(kept)
    }

    fn refuse(&mut self, fault: Fault, span: Range<usize>) -> Option<Value> {
        let origin = (self.at)(span);
        self.faults.push(fault.at(Some(origin)));
        None
    }
}

/// Returns what is wrong with `text` where one of `words` has to stand.
pub fn choice_fault(path: &str, text: &str, words: &'static [&'static str]) -> Option<Fault> {
    if words.contains(&text) {
        return None;
    }
    let fault = Fault::error(format!("{path} is `{text}`, which is not one of: {}", words.join(", ")));
    Some(fault.near(text, words.iter().copied()))
}

fn noun(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn with_advice(fault: Fault, shape: &Shape, found: &DeValue<'_>) -> Fault {
    match (shape, found) {
        (Shape::Text, DeValue::Integer(_) | DeValue::Float(_)) => fault.help("put it in quotes, with its unit"),
        (Shape::Whole(_) | Shape::Number | Shape::Truth, DeValue::String(_)) => fault.help("write it without quotes"),
        (Shape::List(_), DeValue::String(_) | DeValue::Table(_)) => fault.help("put it in square brackets"),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn faults_of(text: &str) -> Vec<String> {
        let mut faults = Faults::default();
        read("bursar.toml", 0, text, &mut faults);
        faults.sort();
        faults.iter().map(Fault::one_line).collect()
    }

    #[test]
    fn every_unknown_key_and_wrong_type_of_a_file_is_reported() {
        let text = "[server]\nlisen = \"x\"\nworkers = \"4\"\n[models.alias.\"gpt-4.1\"]\ntargets = [{ modle = \"m\", weight = -1 }]\n";

        assert_eq!(
            faults_of(text),
            [
                "bursar.toml:2:1: unknown key `lisen` in server; did you mean `listen`?",
                "bursar.toml:3:11: server.workers takes a whole number, not a string; write it without quotes",
                "bursar.toml:5:14: unknown key `modle` in models.alias.\"gpt-4.1\".targets[0]; did you mean `model`?",
                "bursar.toml:5:36: models.alias.\"gpt-4.1\".targets[0].weight is not between 0 and 4294967295",
            ]
        );
    }

    #[test]
    fn a_syntax_fault_shows_the_key_and_never_the_value() {
        let mut faults = Faults::default();

        read("bursar.toml", 0, "[[providers.openai.keys]]\nvalue = sk-very-secret\n", &mut faults);

        assert!(faults.is_fatal());
        let printed = faults.to_string();
        assert!(printed.contains("bursar.toml:2:"), "{printed}");
        assert!(!printed.contains("very"), "{printed}");
    }

    #[test]
    fn a_misspelt_secret_key_does_not_show_the_secret() {
        let mut faults = Faults::default();

        read("bursar.toml", 0, "[[providers.openai.keys]]\nvlaue = \"sk-very-secret\"\n", &mut faults);

        assert!(!faults.to_string().contains("very"), "{faults}");
    }

    #[test]
    fn a_place_inside_an_unplaced_table_is_the_table_around_it() {
        let mut faults = Faults::default();
        let layer = read("b.toml", 0, "[models]\n\n[[client_keys]]\nid = \"a\"\n", &mut faults).unwrap();

        assert_eq!(layer.origins.find("client_keys[0].team").unwrap().label(), "b.toml:3:1");
        assert_eq!(layer.origins.find("models.default").unwrap().label(), "b.toml:1:2");
        assert!(layer.origins.find("server").is_none());
    }

    proptest! {
        #[test]
        fn no_text_panics_in_reading_or_printing(
            parts in prop::collection::vec("[a-zé]{1,3}|server|value|providers|keys|\\[|\\]|=|\\.|\"|#|\n|\r\n|\t|🦀|[0-9]|\\{|,", 0..30)
        ) {
            let mut faults = Faults::default();

            read("b.toml", 0, &parts.concat(), &mut faults);

            _ = faults.to_string();
        }
    }
}
