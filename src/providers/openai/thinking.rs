//! A chat that passes to one of OpenAI's models that think: what these reject is left out or goes by its newer name. Every
//! other member of the body stays as it came, byte for byte.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::providers::chat::models::{is_known_to_think, rejects_sampling};
use crate::providers::dialect::ModelFacts;
use crate::schema::chat::Effort;

/// Parameters that such a model takes at their defaults only, and how these are written.
const SAMPLING: [(&str, &[&str]); 7] = [
    ("temperature", &["1", "1.0", "null"]),
    ("top_p", &["1", "1.0", "null"]),
    ("presence_penalty", &["0", "0.0", "null"]),
    ("frequency_penalty", &["0", "0.0", "null"]),
    ("logit_bias", &["null", "{}"]),
    ("logprobs", &["false", "null"]),
    ("top_logprobs", &["null"]),
];

/// Returns the body that `model` takes, and a warning for each parameter left out; `None` where it takes the client's own, or
/// nobody knows what it takes.
pub fn fit_thinking(body: &Bytes, model: &str, facts: &ModelFacts) -> Option<(Bytes, Vec<String>)> {
    if !is_known_to_think(model, facts) {
        return None;
    }
    let members = members(body)?;
    let value = |name: &str| members.iter().find(|(key, _)| is(key, name)).map(|(_, value)| value.get());
    let effort = value("reasoning_effort").and_then(|word| Effort::from_word(word.trim_matches('"')));
    let rejects = rejects_sampling(model, facts, effort);
    let has_newer = value("max_completion_tokens").is_some_and(|value| value != "null");
    let mut warnings = Vec::new();
    let mut changed = false;
    let mut kept: Vec<(&str, &str)> = Vec::with_capacity(members.len());
    for (key, value) in &members {
        let (key, value) = (key.get(), value.get());
        let sampling = SAMPLING.iter().find(|(name, _)| key.trim_matches('"') == *name);
        if key == "\"max_tokens\"" {
            changed = true;
            if !has_newer {
                kept.push(("\"max_completion_tokens\"", value));
            }
        } else if let Some((name, _)) = sampling.filter(|(_, defaults)| rejects && !defaults.contains(&value)) {
            changed = true;
            warnings.push(format!("`{name}` was dropped: {model} does not take it while it thinks"));
        } else if has_newer || key != "\"max_completion_tokens\"" {
            kept.push((key, value));
        }
    }
    let members: Vec<String> = kept.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    changed.then(|| (format!("{{{}}}", members.join(",")).into(), warnings))
}

fn is(key: &RawValue, name: &str) -> bool {
    key.get().trim_matches('"') == name
}

/// Returns the members of an object as they are written; `None` where it is none.
fn members(body: &[u8]) -> Option<Vec<(&RawValue, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(&'de RawValue, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_slice(body).deserialize_map(Members).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(model: &str, body: &str) -> Option<(String, usize)> {
        let (body, warnings) = fit_thinking(&Bytes::from(body.to_owned()), model, &ModelFacts::default())?;
        Some((String::from_utf8(body.to_vec()).unwrap(), warnings.len()))
    }

    #[test]
    fn a_model_that_thinks_gets_only_what_it_takes_and_the_rest_as_it_came() {
        let body = r#"{"max_tokens": 9, "temperature":0.2 ,"messages":[ {"a":1e0} ], "top_p":1, "n":1}"#;

        let sent = r#"{"max_completion_tokens":9,"messages":[ {"a":1e0} ],"top_p":1,"n":1}"#;
        assert_eq!(fitted("gpt-5-mini", body), Some((sent.to_owned(), 1)));
        let sent = r#"{"max_completion_tokens":9,"temperature":0.2,"messages":[ {"a":1e0} ],"top_p":1,"n":1}"#;
        assert_eq!(fitted("gpt-5.1", body), Some((sent.to_owned(), 0)), "it does not think unless told to");
    }

    #[test]
    fn a_bound_told_twice_is_told_once() {
        let twice = |newer: &str| format!(r#"{{"max_tokens":9,"max_completion_tokens":{newer}}}"#);

        assert_eq!(fitted("o3", &twice("5")), Some((r#"{"max_completion_tokens":5}"#.to_owned(), 0)));
        assert_eq!(fitted("o3", &twice("null")), Some((r#"{"max_completion_tokens":9}"#.to_owned(), 0)));
    }

    #[test]
    fn what_is_not_known_to_think_or_asks_for_nothing_odd_gets_the_very_same_bytes() {
        assert_eq!(fitted("gpt-4o", r#"{"max_tokens":9,"temperature":0.2}"#), None);
        assert_eq!(fitted("my-deployment", r#"{"max_tokens":9,"temperature":0.2}"#), None);
        assert_eq!(fitted("gpt-5", r#"{"max_completion_tokens":9,"temperature":1}"#), None);
        assert_eq!(fitted("gpt-5", "[1]"), None);
    }
}
