//! References in string values: `${NAME}`, `${NAME:-default}`, `${file:/path}`, and `$${` for a literal `${`.
//!
//! They are replaced after the TOML is parsed, so a value can never become a key or a table. What they stand for goes
//! into the configuration and nowhere else: no message shows it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Value;

use super::fault::{Fault, Faults};
use super::layer::{Origins, child, choice_fault, is_bare_reference, item};
use super::schema::{Shape, schema};

/// Where references are looked up.
pub struct Lookup {
    pub environment: BTreeMap<String, String>,
    /// What relative file names are relative to.
    working_dir: PathBuf,
    /// Files that references named so far, there or not.
    files: RefCell<Vec<PathBuf>>,
}

/// Why a string could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("${{{0}}} is not set")]
    Unset(String),
    #[error("${{file:{path}}} cannot be read: {reason}")]
    File { path: String, reason: String },
    #[error("`${{` has no closing brace")]
    Open,
    #[error("a reference is not ${{NAME}}, ${{NAME:-default}} or ${{file:/path}}")]
    Name,
}

impl ReferenceError {
    fn help(&self) -> Option<String> {
        match self {
            Self::Unset(name) => Some(format!("export {name}=..., or write ${{{name}:-default}}")),
            Self::File { .. } => None,
            Self::Open | Self::Name => Some("write $${ for a literal ${".to_owned()),
        }
    }
}

impl Lookup {
    /// Looks up names in `environment` and files from `working_dir`.
    pub fn new(environment: BTreeMap<String, String>, working_dir: PathBuf) -> Self {
        Self { environment, working_dir, files: RefCell::default() }
    }

    /// Returns the files that references named, there or not.
    pub fn files_read(self) -> Vec<PathBuf> {
        self.files.into_inner()
    }

    /// Returns `text` with its references replaced.
    ///
    /// A variable that is set but empty counts as unset where a default is given, as in a shell. What a reference
    /// stands for is not searched for references again.
    pub fn expand(&self, text: &str) -> Result<String, ReferenceError> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                expanded.push_str(&rest[..at - 1]);
                expanded.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            expanded.push_str(&rest[..at]);
            let body = &rest[at + 2..];
            let end = body.find('}').ok_or(ReferenceError::Open)?;
            expanded.push_str(&self.value_of(&body[..end])?);
            rest = &body[end + 1..];
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn value_of(&self, reference: &str) -> Result<String, ReferenceError> {
        if let Some(path) = reference.strip_prefix("file:") {
            return self.file(path);
        }
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let is_name = starts_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name || default.is_some_and(|default| default.contains("${")) {
            return Err(ReferenceError::Name);
        }
        match (self.environment.get(name), default) {
            (Some(value), None) => Ok(value.clone()),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value.clone()),
            (_, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(ReferenceError::Unset(name.to_owned())),
        }
    }

    fn file(&self, path: &str) -> Result<String, ReferenceError> {
        let whole = self.working_dir.join(path);
        self.files.borrow_mut().push(whole.clone());
        // Secrets that are mounted as files usually end in a line feed that is not part of them.
        std::fs::read_to_string(whole)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| ReferenceError::File { path: path.to_owned(), reason: error.kind().to_string() })
    }
}

/// Expands every string of `table` and gives numbers and words that came from references their type.
///
/// In a table with `optional = true` a `value` that cannot be looked up becomes empty, which later skips the key.
pub fn expand_all(table: &mut toml::Table, lookup: &Lookup, origins: &mut Origins, faults: &mut Faults) {
    Expander { lookup, origins, faults }.table(table, schema(), "");
}

struct Expander<'e> {
    lookup: &'e Lookup,
    origins: &'e mut Origins,
    faults: &'e mut Faults,
}

impl Expander<'_> {
    fn table(&mut self, table: &mut toml::Table, shape: &Shape, path: &str) {
        let optional = table.get("optional").and_then(Value::as_bool).unwrap_or(false);
        let mut refused = Vec::new();
        for (key, value) in table.iter_mut() {
            let inner = match shape {
                Shape::Table(keys) => keys.get(key.as_str()),
                Shape::Map(item) => Some(&**item),
                _ => None,
            };
            let Some(inner) = inner else { continue };
            match self.value(value, inner, &child(path, key)) {
                Ok(()) => {}
                Err(fault) if optional && key == "value" && fault.missing => *value = Value::String(String::new()),
                Err(fault) => {
                    self.faults.push(fault.fault);
                    refused.push(key.clone());
                }
            }
        }
        for key in refused {
            table.remove(&key);
            self.origins.spoil(path);
        }
    }

    fn value(&mut self, value: &mut Value, shape: &Shape, path: &str) -> Result<(), Refusal> {
        match (value, shape) {
            (Value::Table(table), Shape::WordOr(shape) | Shape::OneOrMany(shape)) => self.table(table, shape, path),
            (Value::Table(table), shape) => self.table(table, shape, path),
            (Value::Array(list), Shape::List(inner) | Shape::OneOrMany(inner)) => {
                for (index, element) in list.iter_mut().enumerate() {
                    if let Err(refusal) = self.value(element, inner, &item(path, index)) {
                        self.faults.push(refusal.fault);
                    }
                }
            }
            (value, shape) => {
                if let Value::String(text) = value {
                    *value = self.text(text, shape, path)?;
                }
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str, shape: &Shape, path: &str) -> Result<Value, Refusal> {
        if !text.contains("${") {
            return Ok(Value::String(text.to_owned()));
        }
        let origin = self.origins.find(path).cloned();
        let refuse = |fault: Fault, missing| Refusal { fault: fault.at(origin.clone()), missing };
        let expanded = self.lookup.expand(text).map_err(|error| {
            let missing = matches!(error, ReferenceError::Unset(_) | ReferenceError::File { .. });
            let mut help = error.help();
            if missing && path.ends_with("].value") {
                help = Some(match help {
                    Some(help) => format!("{help}, or `optional = true` to do without this key"),
                    None => "`optional = true` does without this key".to_owned(),
                });
            }
            let fault = Fault::error(error.to_string());
            refuse(help.map_or(fault.clone(), |help| fault.help(help)), missing)
        })?;
        self.faults.hide(&expanded, if is_bare_reference(text) { text } else { "${…}" });
        typed(&expanded, shape, path).map_err(|fault| refuse(fault, false))
    }
}

struct Refusal {
    fault: Fault,
    /// Whether what was referred to does not exist.
    missing: bool,
}

/// Returns `text` as the type that `shape` asks for. The fault does not show the text: it may be a secret.
fn typed(text: &str, shape: &Shape, path: &str) -> Result<Value, Fault> {
    let wrong = || Fault::error(format!("{path} takes {}, but what its reference stands for is none", shape.noun()));
    match shape {
        Shape::Truth => text.trim().parse().map(Value::Boolean).map_err(|_| wrong()),
        Shape::Whole(most) => match text.trim().replace('_', "").parse::<u64>() {
            Ok(number) if number <= *most => i64::try_from(number).map(Value::Integer).map_err(|_| wrong()),
            _ => Err(wrong()),
        },
        Shape::Number => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(wrong()),
        },
        Shape::Choice(words) => match choice_fault(path, text, words) {
            Some(_) => Err(Fault::error(format!("{path} is not one of: {}", words.join(", ")))),
            None => Ok(Value::String(text.to_owned())),
        },
        _ => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn lookup() -> Lookup {
        let environment = [("KEY", "sk-1"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        Lookup::new(environment.into(), PathBuf::from("."))
    }

    #[test]
    fn names_defaults_and_escapes_are_replaced() {
        let lookup = lookup();

        assert_eq!(lookup.expand("a ${KEY} b").unwrap(), "a sk-1 b");
        assert_eq!(lookup.expand("${NONE:-x}${EMPTY:-y}${KEY:-z}").unwrap(), "xysk-1");
        assert_eq!(lookup.expand("${NONE:-}").unwrap(), "");
        assert_eq!(lookup.expand("$${KEY} costs $5").unwrap(), "${KEY} costs $5");
    }

    #[test]
    fn what_cannot_be_looked_up_is_told_apart() {
        let lookup = lookup();

        assert_eq!(lookup.expand("${NONE}"), Err(ReferenceError::Unset("NONE".to_owned())));
        assert_eq!(lookup.expand("${KEY"), Err(ReferenceError::Open));
        assert_eq!(lookup.expand("${A B}"), Err(ReferenceError::Name));
        assert_eq!(lookup.expand("${}"), Err(ReferenceError::Name));
        assert!(matches!(lookup.expand("${file:/no/such/file}"), Err(ReferenceError::File { .. })));
    }

    #[test]
    fn a_file_gives_its_content_without_the_last_line_feed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "sk-9\n").unwrap();
        let lookup = Lookup::new(BTreeMap::new(), folder.path().to_owned());

        assert_eq!(lookup.expand("${file:key}").unwrap(), "sk-9");
    }

    proptest! {
        #[test]
        fn expansion_never_panics(text in "[$:{}A-Z_éfile/-]{0,40}") {
            _ = lookup().expand(&text);
        }

        #[test]
        fn text_without_references_stays_as_it_is(text in "[^$]{0,40}") {
            prop_assert_eq!(lookup().expand(&text).unwrap(), text);
        }
    }
}
