//! A provider's list of models, reduced to the names in it: OpenAI's shape, which Anthropic shares, or Google's, which
//! Cohere comes close to.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Longest name that is taken, in bytes.
const NAME_MAX: usize = 256;
/// Most names of one provider; OpenRouter, the largest known, has some hundreds.
const NAMES_MAX: usize = 20_000;

#[derive(Deserialize)]
struct List {
    data: Option<Vec<Entry>>,
    models: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    id: Option<String>,
    /// What a person reads, where there is an id besides.
    name: Option<String>,
}

/// Returns the names in `body`, sorted, each once; `None` if it is no list of models. Names that could not be sent back
/// in a URL or shown on one line are left out.
pub fn model_names(body: &[u8]) -> Option<Vec<String>> {
    let wrapped = serde_json::from_slice::<List>(body).ok().and_then(|list| list.data.or(list.models));
    // Together answers with the bare list.
    let entries = wrapped.or_else(|| serde_json::from_slice::<Vec<Entry>>(body).ok())?;
    let plain = |name: &String| {
        !name.is_empty()
            && name.len() <= NAME_MAX
            && !name.chars().any(|letter| letter.is_whitespace() || letter.is_control())
    };
    // Google's names are paths.
    let bare = |id: String| id.strip_prefix("models/").map(str::to_owned).unwrap_or(id);
    let names = entries.into_iter().filter_map(|entry| entry.id.or(entry.name)).map(bare).filter(plain);
    let names: BTreeSet<String> = names.collect();
    Some(names.into_iter().take(NAMES_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_sorted_and_once_from_either_shape() {
        let wrapped = br#"{"object":"list","data":[{"id":"b","x":[1]},{"id":"a/c"},{"id":"b"}]}"#;
        let bare = br#"[{"id":"b"},{"id":"a/c","pricing":{}}]"#;

        let googles = br#"{"models":[{"name":"models/b","displayName":"B"},{"name":"a/c"}]}"#;
        let shown = br#"{"data":[{"id":"a/c","name":"A: C"},{"id":"b","name":"B"}]}"#;

        for list in [&googles[..], shown] {
            assert_eq!(model_names(list).unwrap(), ["a/c", "b"]);
        }
        assert_eq!(model_names(wrapped).unwrap(), ["a/c", "b"]);
        assert_eq!(model_names(bare).unwrap(), ["a/c", "b"]);
        assert_eq!(model_names(br#"{"data":[]}"#).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_list_is_none() {
        for body in [&b"<html>"[..], b"", b"{}", br#"{"error":{"message":"no"}}"#, br#"{"data":"x"}"#, b"[1]", b"null"]
        {
            assert_eq!(model_names(body), None, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn names_that_would_break_a_line_or_a_url_are_left_out() {
        let long = "x".repeat(NAME_MAX + 1);
        let body = format!(
            r#"{{"data":[{{"id":""}},{{"id":null}},{{"id":"a b"}},{{"id":"a\nb"}},{{"id":"{long}"}},{{"id":"ok"}},{{}}]}}"#
        );

        assert_eq!(model_names(body.as_bytes()).unwrap(), ["ok"]);
    }

    #[test]
    fn a_list_without_end_is_cut() {
        let entries: Vec<String> = (0..=NAMES_MAX).map(|n| format!(r#"{{"id":"m{n}"}}"#)).collect();

        assert_eq!(model_names(format!("[{}]", entries.join(",")).as_bytes()).unwrap().len(), NAMES_MAX);
    }
}
