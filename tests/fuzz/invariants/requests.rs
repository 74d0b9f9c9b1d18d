//! What clients send: the body, and the headers that may hold their key.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bursar::config::callers::KEY_HEADERS;
use bursar::http::auth::key_in;
use bursar::providers::openai::{Quirks, encode};
use bursar::schema::{Operation, RequestHead, read};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::header;

/// The members of an object, each value as its own text.
type Members<'d> = BTreeMap<Cow<'d, str>, &'d RawValue>;

/// The upstream's name for the model, with characters that JSON must escape.
const UPSTREAM_MODEL: &str = "up \"1\"\\\n\u{e9}";

/// The input is a body, read as each operation.
///
/// What is accepted is a JSON object, places lie on value borders, and only what must change is changed.
pub fn request_intake(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for operation in [Operation::ChatCompletions, Operation::Completions, Operation::Embeddings] {
        let head = match read(operation, &body) {
            Ok(head) => head,
            Err(refusal) => {
                assert!(!refusal.message.is_empty() && refusal.message.len() < 300, "{refusal}");
                continue;
            }
        };
        places(&body, &head);
        for supports_stream_options in [true, false] {
            let quirks = Quirks { supports_stream_options };
            let sent = encode(&body, &head, UPSTREAM_MODEL, quirks);
            let (before, after) = (members(&body), members(&sent));
            only_what_must_change(&head, &before, &after, quirks);
            if let Some(own) = &head.model {
                members(&encode(&body, &head, own, quirks));
            }
        }
    }
}

fn members(body: &[u8]) -> Members<'_> {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
}

fn places(body: &Bytes, head: &RequestHead) {
    let all = members(body);
    assert_eq!(body[head.insert_at - 1], b'{');
    assert!(body[..head.insert_at - 1].trim_ascii().is_empty());
    if let Some(span) = &head.model_span {
        assert_eq!(&body[span.clone()], all["model"].get().as_bytes());
        assert_eq!(serde_json::from_slice::<String>(&body[span.clone()]).ok(), head.model);
    }
    if let Some(span) = &head.own_span {
        assert_eq!(&body[span.clone()], all["bursar"].get().as_bytes());
    }
    assert_eq!(head.own_span.is_some(), all.contains_key("bursar"));
    assert!(head.choices >= 1 && head.tokens_in_estimate > 0);
}

fn only_what_must_change(head: &RequestHead, before: &Members<'_>, after: &Members<'_>, quirks: Quirks) {
    // An embedding is never streamed, so its options are a field like any other that nobody knows.
    let options_are_ours = head.operation != Operation::Embeddings;
    let ours: &[&str] = if options_are_ours { &["model", "bursar", "stream_options"] } else { &["model", "bursar"] };
    let others = |all: &Members<'_>| -> Vec<(String, String)> {
        let rest = all.iter().filter(|(key, _)| !ours.contains(&key.as_ref()));
        rest.map(|(key, value)| (key.to_string(), value.get().to_owned())).collect()
    };
    assert_eq!(others(before), others(after), "something else was changed");
    assert_eq!(serde_json::from_str::<String>(after["model"].get()).ok().as_deref(), Some(UPSTREAM_MODEL));
    assert!(!after.contains_key("bursar"), "the gateway's own field is sent");

    let options = |all: &Members<'_>| -> BTreeMap<String, String> {
        let text = all.get("stream_options").map_or("null", |options| options.get());
        let options: Option<Members<'_>> = serde_json::from_str(text).expect("options are an object or null");
        options.into_iter().flatten().map(|(key, value)| (key.into_owned(), value.get().to_owned())).collect()
    };
    if !options_are_ours {
        return;
    }
    if !quirks.supports_stream_options {
        assert!(!after.contains_key("stream_options"), "options are sent to an upstream that does not know them");
        return;
    }
    let mut expected = options(before);
    if head.stream {
        expected.insert("include_usage".to_owned(), "true".to_owned());
    }
    assert_eq!(options(after), expected);
}

/// The input is header lines, `name: value`.
///
/// A key is part of one header's value, has no blanks around it, and is never empty.
pub fn auth_header(data: &[u8]) {
    let lines: Vec<(String, &[u8])> = data.split(|&byte| byte == b'\n').filter_map(header).collect();

    let key =
        key_in(&KEY_HEADERS, |name| lines.iter().find(|(known, _)| known == name.as_str()).map(|(_, value)| *value));

    let Some(key) = key else { return };
    assert!(!key.is_empty() && key == key.trim(), "{key:?}");
    assert!(key.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)), "{key:?}");
    assert!(lines.iter().any(|(_, value)| value.windows(key.len()).any(|part| part == key.as_bytes())), "{key:?}");
}
