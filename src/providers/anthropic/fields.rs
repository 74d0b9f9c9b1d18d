//! The fields of a client's object, taken out one by one with their types checked.

use serde_json::{Map, Value};

use crate::schema::IntakeError;

/// An object of the request and where it stands.
pub(super) struct Fields {
    map: Map<String, Value>,
    path: String,
}

/// Builds an error for the field at `path`; `what` continues "`path` …".
pub(super) fn fault(code: &'static str, path: &str, what: &str) -> IntakeError {
    IntakeError { message: format!("`{path}` {what}"), param: Some(path.to_owned()), code: Some(code) }
}

pub(super) fn wrong_type(path: &str, wanted: &str) -> IntakeError {
    fault("invalid_type", path, &format!("must be {wanted}"))
}

impl Fields {
    /// Takes `value` apart, which stands at `path`; the body itself has an empty one.
    pub(super) fn of(value: Value, path: String) -> Result<Self, IntakeError> {
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            _ if path.is_empty() => {
                let message = "the body must be a JSON object".to_owned();
                Err(IntakeError { message, param: None, code: Some("invalid_type") })
            }
            _ => Err(wrong_type(&path, "an object")),
        }
    }

    /// Returns where a field of the object stands.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Returns where the object itself stands.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Takes a field of any type; null is as good as nothing.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn string(&mut self, key: &str) -> Result<Option<String>, IntakeError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(&self.at(key), "a string")),
        }
    }

    pub(super) fn required(&mut self, key: &str) -> Result<String, IntakeError> {
        let missing = |path: String| fault("missing_required_parameter", &path, "is missing; send a string");
        self.string(key)?.ok_or_else(|| missing(self.at(key)))
    }

    pub(super) fn list(&mut self, key: &str) -> Result<Vec<Value>, IntakeError> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(wrong_type(&self.at(key), "an array")),
        }
    }

    pub(super) fn object(&mut self, key: &str) -> Result<Option<Self>, IntakeError> {
        let path = self.at(key);
        self.take(key).map(|value| Self::of(value, path)).transpose()
    }

    pub(super) fn boolean(&mut self, key: &str) -> Result<Option<bool>, IntakeError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(wrong_type(&self.at(key), "true or false")),
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<f64>, IntakeError> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong_type(&self.at(key), "a number")),
        }
    }

    pub(super) fn count(&mut self, key: &str) -> Result<Option<u64>, IntakeError> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| wrong_type(&self.at(key), "an integer, not less than 0"))
            }
        }
    }

    /// Returns what nobody has taken.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.map
    }
}
