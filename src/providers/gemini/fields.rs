//! Fields of a request by their proto names: camelCase or snake_case, numbers bare or as text, as protobuf's JSON has them.

use serde_json::{Map, Value};

use crate::schema::IntakeError;

/// A JSON object.
pub(super) type Fields = Map<String, Value>;

/// Takes the field `name` (in camelCase) out, however it is spelt; null counts as absent.
pub(super) fn take(fields: &mut Fields, name: &str) -> Option<Value> {
    let spelt = match fields.contains_key(name) {
        true => name.to_owned(),
        false => fields.keys().find(|key| key.contains('_') && same(key, name))?.clone(),
    };
    fields.remove(&spelt).filter(|value| !value.is_null())
}

/// Returns the field `name` (in camelCase), however it is spelt; null counts as absent.
pub(super) fn peek<'f>(fields: &'f Fields, name: &str) -> Option<&'f Value> {
    let other = || fields.iter().find(|(key, _)| key.contains('_') && same(key, name)).map(|(_, value)| value);
    fields.get(name).or_else(other).filter(|value| !value.is_null())
}

/// Returns whether `key` is `name` in snake_case.
fn same(key: &str, name: &str) -> bool {
    let letters = key.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase());
    letters.eq(name.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// Returns the name in camelCase.
pub(super) fn camel(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for (position, word) in key.split('_').enumerate() {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if position > 0 && !name.is_empty() => name.push(first.to_ascii_uppercase()),
            Some(first) => name.push(first),
            None => {}
        }
        name.push_str(letters.as_str());
    }
    name
}

/// Returns the refusal of a value of the wrong type.
pub(super) fn wrong_type(path: &str, must_be: &str) -> IntakeError {
    let message = format!("`{path}` must be {must_be}; correct it and send the request again");
    IntakeError { message, param: Some(path.to_owned()), code: Some("invalid_type") }
}

/// Returns `path.name`, or the name alone at the top.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Takes an object out.
pub(super) fn object(fields: &mut Fields, path: &str, name: &str) -> Result<Option<Fields>, IntakeError> {
    take(fields, name).map(|value| as_object(value, &join(path, name))).transpose()
}

/// Takes a list out; a single object counts as a list of one, as protobuf's readers have it.
pub(super) fn list(fields: &mut Fields, path: &str, name: &str) -> Result<Vec<Value>, IntakeError> {
    match take(fields, name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(one @ Value::Object(_)) => Ok(vec![one]),
        Some(_) => Err(wrong_type(&join(path, name), "an array of objects")),
    }
}

/// Takes text out.
pub(super) fn text(fields: &mut Fields, path: &str, name: &str) -> Result<Option<String>, IntakeError> {
    match take(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(&join(path, name), "a string")),
    }
}

/// Takes a list of texts out.
pub(super) fn texts(fields: &mut Fields, path: &str, name: &str) -> Result<Vec<String>, IntakeError> {
    let wrong = || wrong_type(&join(path, name), "an array of strings");
    let text = |value| match value {
        Value::String(text) => Ok(text),
        _ => Err(wrong()),
    };
    match take(fields, name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items.into_iter().map(text).collect(),
        Some(_) => Err(wrong()),
    }
}

/// Takes true or false out.
pub(super) fn flag(fields: &mut Fields, path: &str, name: &str) -> Result<Option<bool>, IntakeError> {
    match take(fields, name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(_) => Err(wrong_type(&join(path, name), "true or false")),
    }
}

/// Takes a number out.
pub(super) fn number(fields: &mut Fields, path: &str, name: &str) -> Result<Option<f64>, IntakeError> {
    let Some(value) = take(fields, name) else { return Ok(None) };
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| number.is_finite());
    number.map(Some).ok_or_else(|| wrong_type(&join(path, name), "a number"))
}

/// Takes a whole number out.
pub(super) fn integer(fields: &mut Fields, path: &str, name: &str) -> Result<Option<i64>, IntakeError> {
    let Some(value) = take(fields, name) else { return Ok(None) };
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    let number = value.as_i64().or_else(|| value.as_f64().and_then(whole));
    let number = number.or_else(|| value.as_str()?.trim().parse().ok());
    number.map(Some).ok_or_else(|| wrong_type(&join(path, name), "a whole number"))
}

/// Takes a count out.
pub(super) fn count(fields: &mut Fields, path: &str, name: &str) -> Result<Option<u64>, IntakeError> {
    let number = integer(fields, path, name)?;
    let count =
        |number| u64::try_from(number).map_err(|_| wrong_type(&join(path, name), "a whole number of at least 0"));
    number.map(count).transpose()
}

/// Returns the object that `value` must be.
pub(super) fn as_object(value: Value, path: &str) -> Result<Fields, IntakeError> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(wrong_type(path, "an object")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_in_either_spelling() {
        for key in ["topK", "top_k"] {
            let mut fields = json!({ key: "40", "rest": 1 }).as_object().unwrap().clone();

            assert_eq!(count(&mut fields, "", "topK").unwrap(), Some(40));
            assert_eq!(fields.len(), 1);
        }
        assert_eq!(camel("speech_config"), "speechConfig");
        assert_eq!(camel("_responseJsonSchema"), "responseJsonSchema");
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path_without_its_value() {
        let mut fields = json!({ "top_k": -1 }).as_object().unwrap().clone();

        let error = count(&mut fields, "generationConfig", "topK").unwrap_err();

        assert_eq!(error.param.as_deref(), Some("generationConfig.topK"));
        assert!(!error.message.contains("-1"));
    }
}
