//! What chunks Gemini's events become.

use proptest::prelude::*;

use super::*;
use crate::providers::framing::{Framer, Framing};
use bytes::Bytes;

fn read(events: &[&str]) -> Result<(Vec<Chunk>, bool), Nonsense> {
    let (mut reader, mut out) = (Reader::default(), Vec::new());
    for event in events {
        let step = reader.frame(&Frame { event: None, data: event.as_bytes() }, &mut out)?;
        assert_eq!(step, Step::More);
    }
    Ok((out, reader.is_complete()))
}

fn call(tool: u32, id: &str, name: &str) -> Chunk {
    Chunk::ToolCall { choice: 0, tool, id: id.into(), name: name.into(), custom: false, signature: None }
}

fn arguments_of(tool: u32, fragment: &str) -> Chunk {
    Chunk::ToolArguments { choice: 0, tool, fragment: fragment.into() }
}

fn finish(finish: Finish) -> Chunk {
    Chunk::Finish { choice: 0, finish }
}

#[test]
fn parts_become_chunks_in_their_order() {
    let event = r#"{"responseId":"r","modelVersion":"m","createTime":"1970-01-01T00:01:00.5Z","candidates":[{"content":{"parts":[
        {"text":"hm","thought":true},{"text":"hi"},{"text":"","thoughtSignature":"s"},{"executableCode":{"code":"1"}}]},"finishReason":"STOP"}]}"#;

    let (out, complete) = read(&[event]).unwrap();

    let (service_tier, system_fingerprint) = (None, None);
    let (signature, vendor) = (Some("s".into()), Some(Dialect::Gemini));
    let expected = [
        Chunk::Start { id: "r".into(), created: 60, model: "m".into(), service_tier, system_fingerprint },
        Chunk::Thinking { choice: 0, text: "hm".into() },
        Chunk::Text { choice: 0, text: "hi".into() },
        Chunk::ThinkingEnd { choice: 0, signature, encrypted: None, vendor, id: None },
        Chunk::Native {
            choice: 0,
            dialect: Dialect::Gemini,
            value: serde_json::json!({"executableCode": {"code": "1"}}),
        },
        finish(Finish::Stop { sequence: None }),
    ];
    assert_eq!(out, expected);
    assert!(complete);
}

#[test]
fn calls_whole_and_in_pieces_are_told_apart() {
    let events = [
        r#"{"responseId":"r/1","candidates":[{"content":{"parts":[{"functionCall":{"name":"a"}},{"functionCall":{"id":"x","name":"b","args":{"n":1}}}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"c","willContinue":true}}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.id","stringValue":"A","willContinue":true}],"willContinue":true}}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{}}]},"finishReason":"STOP"}]}"#,
    ];

    let (out, complete) = read(&events).unwrap();

    let expected = [
        call(0, "call_r1_0_0", "a"),
        arguments_of(0, "{}"),
        call(1, "x", "b"),
        arguments_of(1, r#"{"n":1}"#),
        call(2, "call_r1_0_2", "c"),
        arguments_of(2, r#"{"id":"A"}"#),
        finish(Finish::ToolCalls),
    ];
    assert_eq!(out[1..], expected);
    assert!(complete);
}

#[test]
fn a_call_that_is_never_ended_ends_with_the_next_or_the_reply() {
    let events = [
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"id":"1","name":"a","willContinue":true}},{"functionCall":{"id":"2","name":"b","willContinue":true}}]}}]}"#,
        r#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#,
    ];

    let (out, _) = read(&events).unwrap();

    let expected =
        [call(0, "1", "a"), arguments_of(0, "{}"), call(1, "2", "b"), arguments_of(1, "{}"), finish(Finish::Length)];
    assert_eq!(out[1..], expected);
}

#[test]
fn a_blocked_prompt_is_a_filtered_answer() {
    let (out, complete) =
        read(&[r#"{"promptFeedback":{"blockReason":"MODEL_ARMOR","blockReasonMessage":"no"}}"#]).unwrap();

    assert_eq!(out[1..], [Chunk::Refusal { choice: 0, text: "no".into() }, finish(Finish::ContentFilter)]);
    assert!(complete);
}

#[test]
fn reasons_are_read_as_what_they_mean() {
    let stop = || Ending::Finished(Finish::Stop { sequence: None });
    for (reason, expected) in [
        ("STOP", stop()),
        ("OTHER", stop()),
        ("SOMETHING_NEW", stop()),
        ("", Ending::Open),
        ("MAX_TOKENS", Ending::Finished(Finish::Length)),
        ("SPII", Ending::Finished(Finish::ContentFilter)),
        ("IMAGE_SAFETY", Ending::Finished(Finish::ContentFilter)),
        ("UNEXPECTED_TOOL_CALL", Ending::Malformed),
    ] {
        assert_eq!(ending(reason), expected, "{reason}");
    }
}

#[test]
fn unusable_output_of_the_model_is_said_to_be_that() {
    let error = read(&[r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#]).unwrap_err();

    assert!(error.what.contains("MALFORMED_FUNCTION_CALL"), "{error}");
}

#[test]
fn errors_are_handed_to_the_judge_in_either_wrapping() {
    for data in [r#"{"error":{"code":503}}"#, r#"[{"error":{"code":503}}]"#] {
        let step = Reader::default().frame(&Frame { event: None, data: data.as_bytes() }, &mut Vec::new());

        assert_eq!(step, Ok(Step::Error));
    }
}

#[test]
fn a_stream_cut_before_its_reason_is_not_complete() {
    let (_, complete) = read(&[r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#]).unwrap();

    assert!(!complete);
}

#[test]
fn nulls_and_unknown_fields_do_no_harm() {
    let events = [
        r#"{"candidates":null,"promptFeedback":null,"usageMetadata":null,"modelVersion":null,"new":{}}"#,
        r#"{"candidates":[{"content":{"parts":null}},{"index":1,"content":null,"finishReason":null}]}"#,
        r#"{"candidates":[{"content":{"parts":[null,7,{"text":null},{"functionCall":null},{"functionCall":{}}]},"finishReason":"STOP"}]}"#,
    ];

    let (out, _) = read(&events).unwrap();

    assert_eq!(out.len(), 2, "{out:?}");
}

#[test]
fn pretty_printed_arguments_lose_their_line_breaks_only() {
    let raw = RawValue::from_string("{\n  \"a b\": \"c \\\" \\\\\",\n \"d\": [1, 2]\n}".into()).unwrap();

    assert_eq!(arguments(Some(&raw)), r#"{"a b":"c \" \\","d":[1,2]}"#);
}

proptest! {
    #[test]
    fn a_stream_reads_the_same_wherever_it_is_split(cuts in proptest::collection::vec(0usize..1000, 0..8)) {
        let stream = [
            r#"{"responseId":"r","candidates":[{"content":{"parts":[{"text":"é","thought":true}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"b"}},"thoughtSignature":"s"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}"#,
        ];
        let bytes: String = stream.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % bytes.len()).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let (mut framer, mut reader, mut out) = (Framer::new(Framing::Sse), Reader::default(), Vec::new());

        for pair in cuts.windows(2) {
            framer.feed(Bytes::copy_from_slice(&bytes.as_bytes()[pair[0]..pair[1]]));
            while let Some(framed) = framer.next_frame() {
                reader.frame(&framed.unwrap().frame(), &mut out).unwrap();
            }
        }

        prop_assert_eq!(out, read(&stream).unwrap().0);
    }
}
