//! An object of a client's request, taken apart field by field: a wrong kind is refused with the field's path, and what
//! nobody took is left over.

use std::fmt;

use serde_json::{Map, Value};

use crate::schema::IntakeError;

/// Where a value stands in the body, spelt only when a client has to be told.
#[derive(Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    /// Returns the path of the body itself.
    pub(super) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    /// Returns the path of a field of the object here.
    pub(super) fn field(&'p self, name: &'p str) -> Path<'p> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// Returns the path of an element of the array here.
    pub(super) fn index(&'p self, index: usize) -> Path<'p> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// Returns the refusal of the value here; `problem` goes on after the path: `must be a string`.
    pub(super) fn refuse(&self, code: &'static str, problem: &str) -> IntakeError {
        let path = self.to_string();
        if path.is_empty() {
            return IntakeError { message: format!("the body {problem}"), param: None, code: Some(code) };
        }
        IntakeError { message: format!("`{path}` {problem}"), param: Some(path), code: Some(code) }
    }

    /// Returns the refusal of a value that is not `wanted`.
    pub(super) fn wrong(&self, wanted: &str) -> IntakeError {
        self.refuse("invalid_type", &format!("must be {wanted}"))
    }

    /// Returns the refusal of an object without this field.
    pub(super) fn missing(&self) -> IntakeError {
        self.refuse("missing_required_parameter", "is missing; the request needs it")
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.step, self.parent) {
            (Step::Root, _) => Ok(()),
            (Step::Index(index), _) => write!(f, "[{index}]"),
            (Step::Field(name), Some(Path { step: Step::Root, .. })) => f.write_str(name),
            (Step::Field(name), _) => write!(f, ".{name}"),
        }
    }
}

/// The fields of one object that were not taken yet. `null` counts as missing.
pub(super) struct Fields<'p> {
    map: Map<String, Value>,
    pub(super) path: &'p Path<'p>,
}

impl<'p> Fields<'p> {
    /// Returns the fields of an object.
    pub(super) fn of(value: Value, path: &'p Path<'p>) -> Result<Self, IntakeError> {
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ => Err(path.wrong("an object")),
        }
    }

    /// Takes a field of any kind.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Looks at a field without taking it.
    pub(super) fn peek(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Puts back what is to be left over after all.
    pub(super) fn put(&mut self, name: &str, value: Value) {
        self.map.insert(name.to_owned(), value);
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, IntakeError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.path.field(name).wrong("a string")),
        }
    }

    pub(super) fn required_text(&mut self, name: &str) -> Result<String, IntakeError> {
        self.text(name)?.ok_or_else(|| self.path.field(name).missing())
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, IntakeError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.path.field(name).wrong("true or false")),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, IntakeError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.path.field(name).wrong("a number"))
    }

    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, IntakeError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let whole = |float: f64| (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64);
        let found = value.as_i64().or_else(|| value.as_f64().and_then(whole));
        found.map(Some).ok_or_else(|| self.path.field(name).wrong("an integer"))
    }

    /// Takes a count; a negative one, which to some servers means "no bound", is none.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u64>, IntakeError> {
        Ok(self.integer(name)?.and_then(|count| u64::try_from(count).ok()))
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, IntakeError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.path.field(name).wrong("an array")),
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, IntakeError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.path.field(name).wrong("an object")),
        }
    }

    /// Returns what was not taken.
    pub(super) fn rest(mut self) -> Map<String, Value> {
        self.map.retain(|_, value| !value.is_null());
        self.map
    }
}
