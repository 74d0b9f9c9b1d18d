//! Tools, whatever the dialect: which of them the demo provider calls, and with which arguments.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::dice::Dice;
use super::{schema_value, text};

/// The tools of a request that may be called now, and whether more than one may.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Callable<'a> {
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) parallel: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tool<'a> {
    pub(super) name: &'a str,
    /// Whether it takes free text instead of arguments.
    pub(super) custom: bool,
    pub(super) parameters: Option<Cow<'a, Value>>,
}

/// A call the demo provider makes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// Without the prefix that the dialect puts before it.
    pub(super) id: String,
    pub(super) name: String,
    /// The arguments as a JSON object, or the input of a custom tool.
    pub(super) arguments: String,
    pub(super) custom: bool,
}

impl Callable<'_> {
    /// Returns the calls that fit the user's words: the tools named in full, or else the one that fits best.
    pub(super) fn calls(&self, user_text: &str, dice: &mut Dice) -> Vec<Call> {
        let named: Vec<&Tool<'_>> = self.tools.iter().filter(|tool| user_text.contains(tool.name)).collect();
        let called = match self.tools.iter().reduce(|best, tool| tool.better(best, user_text)) {
            None => return Vec::new(),
            Some(_) if self.parallel && named.len() > 1 => named,
            Some(best) => vec![best],
        };
        called.into_iter().map(|tool| tool.call(user_text, dice)).collect()
    }
}

impl Tool<'_> {
    /// Returns this tool if more words of its name stand in the text than of the other's.
    fn better<'t>(&'t self, other: &'t Self, user_text: &str) -> &'t Self {
        if self.words_in(user_text) > other.words_in(user_text) { self } else { other }
    }

    fn words_in(&self, user_text: &str) -> usize {
        let text = user_text.to_lowercase();
        self.name.split(['_', '-']).filter(|word| word.len() > 2 && text.contains(&word.to_lowercase())).count()
    }

    fn call(&self, user_text: &str, dice: &mut Dice) -> Call {
        let arguments = match &self.parameters {
            _ if self.custom => text::excerpt(user_text, 200),
            None => "{}".to_owned(),
            Some(parameters) => match schema_value::satisfying(parameters, user_text, dice) {
                arguments @ Value::Object(_) => arguments.to_string(),
                // A schema such as `{}` allows anything; arguments are an object all the same.
                _ => Value::Object(Map::new()).to_string(),
            },
        };
        Call { id: dice.letters(24), name: self.name.to_owned(), arguments, custom: self.custom }
    }
}

impl Call {
    /// Returns the arguments as the object they are; empty for a custom tool.
    pub(super) fn input(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| Value::Object(Map::new()))
    }

    /// Returns how many tokens the call takes.
    pub(super) fn tokens(&self) -> usize {
        text::count(&self.name) + text::count(&self.arguments)
    }
}
