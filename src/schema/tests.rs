//! What the intake reads and refuses, one behaviour each.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const CHAT: Operation = Operation::ChatCompletions;

fn chat(body: &str) -> RequestHead {
    read(CHAT, body.as_bytes()).unwrap()
}

fn refused(body: &str) -> IntakeError {
    read(CHAT, body.as_bytes()).unwrap_err()
}

/// Puts `fields` in front of a sound request's messages.
fn with(fields: &str) -> String {
    format!(r#"{{{fields},"messages":[{{"role":"user","content":"hi"}}]}}"#)
}

#[test]
fn the_head_says_what_the_request_says() {
    let body = with(
        r#""model":"fast","stream":true,"stream_options":{"include_usage":true},"n":3,"user":"u-1","max_tokens":5,"max_completion_tokens":7,"tools":[{}],"response_format":{"type":"json_schema"}"#,
    );

    let head = chat(&body);

    assert_eq!(head.model.as_deref(), Some("fast"));
    assert_eq!(&body[head.model_span.unwrap()], r#""fast""#);
    assert!(head.stream && head.include_usage && head.ask_usage.is_none());
    assert_eq!((head.choices, head.max_output_tokens), (3, Some(7)));
    assert_eq!(head.needs, Needs::TOOLS.with(Needs::JSON_SCHEMA));
}

#[test]
fn parts_say_what_the_model_must_read_and_an_image_is_not_counted_by_bytes() {
    let image = "A".repeat(100_000);
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"what"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}}]}}]}}"#
    );

    let head = chat(&body);

    assert_eq!(head.needs, Needs::VISION);
    assert!((1_600..1_700).contains(&head.tokens_in_estimate), "{}", head.tokens_in_estimate);
}

#[test]
fn a_picture_that_a_tool_gave_back_has_to_be_seen_too() {
    let body = r#"{"model":"m","max_tokens":9,"tools":[],"messages":[{"role":"user","content":[{"type":"tool_result",
        "tool_use_id":"t","content":[{"type":"image","source":{"type":"base64","data":"AAAA"}}]}]}]}"#;

    let head = read(Operation::Messages, body.as_bytes()).unwrap();

    assert_eq!((head.needs, head.max_output_tokens), (Needs::VISION, Some(9)));
}

#[test]
fn the_needs_of_geminis_clients_stand_in_its_own_places() {
    let body = r#"{"contents":[{"parts":[{"fileData":{"mimeType":"audio/wav","fileUri":"gs://a"}}]}],
        "generationConfig":{"maxOutputTokens":7,"thinkingConfig":{"thinkingLevel":"HIGH"}}}"#;

    let head = read(Operation::GenerateContent, body.as_bytes()).unwrap();

    assert_eq!((head.needs, head.max_output_tokens), (Needs::AUDIO.with(Needs::REASONING), Some(7)));
}

#[test]
fn nulls_stand_for_missing_fields() {
    let head = chat(&with(r#""stream":null,"stream_options":null,"n":null,"user":null,"tools":null,"stop":null"#));

    assert_eq!((head.stream, head.choices, head.needs), (false, 1, Needs::default()));
}

#[test]
fn an_escaped_key_is_the_same_key() {
    assert_eq!(chat(&with(r#""mod\u0065l":"fast""#)).model.as_deref(), Some("fast"));
    assert_eq!(refused(&with(r#""mod\u0065l":"fast","model":"slow""#)).code, Some("duplicate_parameter"));
}

#[test]
fn what_is_wrong_is_told_by_field_and_code() {
    let cases = [
        (with(r#""model":7"#), "model", "invalid_type"),
        (with(r#""model":"""#), "model", "invalid_value"),
        (with(r#""model":"a\nb""#), "model", "invalid_value"),
        (with(r#""stream":"yes""#), "stream", "invalid_type"),
        (with(r#""temperature":"hot""#), "temperature", "invalid_type"),
        (with(r#""max_tokens":1.5"#), "max_tokens", "invalid_type"),
        (with(r#""n":0"#), "n", "invalid_value"),
        (with(r#""n":129"#), "n", "invalid_value"),
        (with(r#""stream_options":{}"#), "stream_options", "invalid_value"),
        (with(r#""stream":true,"stream_options":{"include_usage":1}"#), "stream_options.include_usage", "invalid_type"),
        (with(r#""response_format":{}"#), "response_format.type", "invalid_value"),
        (with(r#""tools":{}"#), "tools", "invalid_type"),
        (with(r#""tool_choice":[]"#), "tool_choice", "invalid_type"),
        (with(r#""bursar":1"#), "bursar", "invalid_type"),
        (with(r#""model":"a","model":"b""#), "model", "duplicate_parameter"),
        ("{}".into(), "messages", "missing_required_parameter"),
        (r#"{"messages":[]}"#.into(), "messages", "empty_array"),
        (r#"{"messages":"hi"}"#.into(), "messages", "invalid_type"),
        (r#"{"messages":[{"role":"user"},7]}"#.into(), "messages[1]", "invalid_type"),
        (r#"{"messages":[{"content":"hi"}]}"#.into(), "messages[0].role", "missing_required_parameter"),
        (r#"{"messages":[{"role":1}]}"#.into(), "messages[0].role", "invalid_type"),
        (r#"{"messages":[{"role":"user","content":7}]}"#.into(), "messages[0].content", "invalid_type"),
        (r#"{"messages":[{"role":"user","content":["hi"]}]}"#.into(), "messages[0].content", "invalid_type"),
        (r#"{"messages":[{"role":"a","role":"b"}]}"#.into(), "messages[0].role", "duplicate_parameter"),
    ];
    for (body, param, code) in cases {
        let error = refused(&body);

        assert_eq!((error.param.as_deref(), error.code), (Some(param), Some(code)), "{body}: {error}");
    }
}

#[test]
fn what_is_no_json_object_is_refused_without_a_param() {
    let deep = with(&format!(r#""x":{}1{}"#, "[".repeat(64), "]".repeat(64)));
    let bodies: [&[u8]; 9] = [
        b"",
        b" \n",
        b"\xff{}",
        b"[]",
        b"7",
        br#"{"messages":[{"role":"user"}]"#,
        br#"{"messages":[{"role":"user"}]} x"#,
        br#"{"messages":[{"role":"user","content":"\ud83d"}]}"#,
        deep.as_bytes(),
    ];
    for body in bodies {
        let error = read(CHAT, body).unwrap_err();

        assert_eq!(error.param, None, "{error}");
    }
}

#[test]
fn broken_json_is_told_by_line_and_column_and_never_quoted() {
    let error = refused("{\"messages\":[{\"role\":\"user\",\n\"content\":\"secret\" \"more\"}]}");

    assert!(error.message.contains("line 2 column 20"), "{error}");
    assert!(!error.message.contains("secret") && !error.message.contains("more"), "{error}");
}

#[test]
fn completions_and_embeddings_need_their_own_input() {
    assert!(read(Operation::Completions, br#"{"model":"a","prompt":"once"}"#).is_ok());
    assert!(read(Operation::Embeddings, br#"{"model":"a","input":[1,2]}"#).is_ok());
    for (operation, body, param) in [
        (Operation::Completions, r#"{"model":"a"}"#, "prompt"),
        (Operation::Embeddings, r#"{"input":[]}"#, "input"),
        (Operation::Embeddings, r#"{"input":{}}"#, "input"),
    ] {
        assert_eq!(read(operation, body.as_bytes()).unwrap_err().param.as_deref(), Some(param));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_intake_panic(body in proptest::collection::vec(any::<u8>(), 0..80), text in r#"[\[\]{}",:a-z0-9\\u ]{0,80}"#) {
        for body in [&body, text.as_bytes()] {
            for operation in [CHAT, Operation::Completions, Operation::Embeddings] {
                let _ = read(operation, body);
            }
        }
    }

    /// Members in any order and spacing, with any subset present: what is sent on is what came, save what must change.
    #[test]
    fn patching_changes_only_what_it_must(
        picks in proptest::sample::subsequence((0..7).collect::<Vec<usize>>(), 0..=7).prop_shuffle(),
        space in "[ \n\t]{0,2}",
        usage in prop_oneof![Just("{}"), Just("null"), Just(r#"{"include_usage":false}"#), Just(r#"{"a":1}"#), Just(r#"{"include_usage":true}"#)],
        supports in any::<bool>(),
    ) {
        let members = [
            ("\"model\"", "\"fast\""), ("\"bursar\"", r#"{"a":"},{"}"#), ("\"stream_options\"", usage), ("\"x\"", "[1, 2.50]"),
            ("\"temperature\"", "1"), ("\"stream\"", "true"), ("\"messages\"", r#"[{"role":"user","content":"\"bursar\":{}"}]"#),
        ];
        let mut picks = picks;
        picks.extend([5, 6].into_iter().filter(|must| !picks.contains(must)).collect::<Vec<_>>());
        let shown: Vec<String> = picks.iter().map(|&pick| {
            let (key, value) = members[pick];
            format!("{space}{key}{space}:{space}{value}{space}")
        }).collect();
        let body = bytes::Bytes::from(format!("{space}{{{}}}", shown.join(",")));

        let head = read(CHAT, &body).unwrap();
        let quirks = crate::providers::openai::Quirks { supports_stream_options: supports };
        let sent = crate::providers::openai::encode(&body, &head, "up \"1\"", quirks);

        let mut expected: Value = serde_json::from_slice(&body).unwrap();
        expected["model"] = "up \"1\"".into();
        let fields = expected.as_object_mut().unwrap();
        fields.remove("bursar");
        if supports {
            let options = fields.entry("stream_options").or_insert(Value::Null);
            if options.is_null() { *options = serde_json::json!({}); }
            options["include_usage"] = true.into();
        } else {
            fields.remove("stream_options");
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), expected);
    }
}
