//! The fields of a request, taken out one by one; an error names the path and never shows a value.

use serde_json::{Map, Value};

use crate::schema::IntakeError;

/// An object of the request, and where it stands.
pub(super) struct Fields {
    at: String,
    map: Map<String, Value>,
}

impl Fields {
    /// Returns the fields of the object at `at`; empty for the request itself.
    pub(super) fn of(value: Value, at: impl Into<String>) -> Result<Self, IntakeError> {
        let at = at.into();
        match value {
            Value::Object(map) => Ok(Self { at, map }),
            _ => Err(invalid(&at, "must be an object")),
        }
    }

    /// Returns the path of a field.
    pub(super) fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    /// Returns the text of a field that stays where it is.
    pub(super) fn peek(&self, key: &str) -> Option<&str> {
        self.map.get(key)?.as_str()
    }

    /// Returns a field that stays where it is, unless it is null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Takes a field; null is as good as missing.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, IntakeError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "must be a string")),
        }
    }

    pub(super) fn needed_text(&mut self, key: &str) -> Result<String, IntakeError> {
        self.text(key)?.ok_or_else(|| missing(&self.path(key)))
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<f64>, IntakeError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.wrong(key, "must be a number"))
    }

    pub(super) fn count(&mut self, key: &str) -> Result<Option<u64>, IntakeError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| self.wrong(key, "must be a whole number, 0 or more"))
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, IntakeError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(key, "must be true or false"))
    }

    pub(super) fn list(&mut self, key: &str) -> Result<Option<Vec<Value>>, IntakeError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "must be a list")),
        }
    }

    pub(super) fn object(&mut self, key: &str) -> Result<Option<Self>, IntakeError> {
        let at = self.path(key);
        self.take(key).map(|value| Self::of(value, at)).transpose()
    }

    /// Returns what was not taken.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.map
    }

    pub(super) fn wrong(&self, key: &str, what: &str) -> IntakeError {
        invalid(&self.path(key), what)
    }
}

/// Returns the error for a field of the wrong type; `what` says what it must be.
pub(super) fn invalid(path: &str, what: &str) -> IntakeError {
    error("invalid_type", path, format!("`{path}` {what}"))
}

/// Returns the error for a field that cannot be missing.
pub(super) fn missing(path: &str) -> IntakeError {
    error("missing_required_parameter", path, format!("`{path}` is missing; send it"))
}

/// Returns the error for what can be had at OpenAI and not here; `what` says what to do.
pub(super) fn unsupported(path: &str, what: &str) -> IntakeError {
    error("unsupported_parameter", path, format!("`{path}` is not supported for this model: {what}"))
}

pub(super) fn error(code: &'static str, path: &str, message: String) -> IntakeError {
    IntakeError { message, param: Some(path.to_owned()), code: Some(code) }
}
