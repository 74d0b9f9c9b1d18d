//! Why answers ended, as the books have it: the same word on every way from a provider to a client.

use bursar::demo::Behaviour;
use bursar_actors::audit::filter::Filter;
use bursar_actors::audit::log::Search;
use bursar_actors::audit::record::Record;
use serde_json::{Value, json};

use crate::client::{Answer, chat, stream};
use crate::dialects::{KINDS, SPEAKERS, Speaker, Turn, gateway};
use crate::harness::{Bursar, Setup, demo, scripted, until};

/// Waits for the last record about a request that has ended, and returns it.
#[track_caller]
fn record(bursar: &Bursar, answer: &Answer) -> Record<'static> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let filter = Filter { request: answer.header("x-request-id").map(str::to_owned), ..Filter::default() };
    assert!(filter.request.is_some(), "{answer:?}");
    let last = || {
        let search = Search { filter: filter.clone(), before: u64::MAX, limit: 1 };
        let page = runtime.block_on(bursar.gateway.books.as_ref().unwrap().log.send(search)).unwrap().unwrap();
        let leaf: Value = serde_json::from_slice(&page.records.first()?.1).unwrap();
        leaf["outcome"].is_string().then(|| serde_json::from_value(leaf).unwrap())
    };
    until("the end of the request is in the books", || last().is_some());
    last().unwrap()
}

/// Bounds the answer of `body` to a few tokens.
fn cut(speaker: Speaker, body: &mut Value) {
    match speaker {
        Speaker::Chat => body["max_completion_tokens"] = 16.into(),
        Speaker::Responses => body["max_output_tokens"] = 16.into(),
        Speaker::Anthropic => body["max_tokens"] = 16.into(),
        Speaker::Gemini => body["generationConfig"] = json!({"maxOutputTokens": 16}),
    }
}

#[test]
fn every_way_from_a_provider_to_a_client_tells_the_same_word() {
    for kind in KINDS {
        let demo = demo();
        let bursar = gateway(kind, &demo);
        for (speaker, streamed) in SPEAKERS.into_iter().flat_map(|speaker| [(speaker, false), (speaker, true)]) {
            for expected in ["stop", "length", "tool_calls", "content_filter"] {
                let turn = if expected == "tool_calls" { Turn::Tool } else { Turn::Text };
                let mut body = speaker.body(&turn, streamed);
                match expected {
                    "length" => cut(speaker, &mut body),
                    "content_filter" => {
                        body = serde_json::from_str(&body.to_string().replace("How is Rome?", "demo:block")).unwrap();
                    }
                    _ => {}
                }

                let answer = bursar.client().post(speaker.path(streamed), &body);

                let case = format!("{speaker:?} to {kind}, streamed: {streamed}: {}", answer.text());
                let record = record(&bursar, &answer);
                assert_eq!((answer.status, record.stream, record.outcome.as_deref()), (200, streamed, Some("served")));
                assert_eq!(record.finish.as_deref(), Some(expected), "{case}");
            }
        }
    }
}

#[test]
fn the_word_is_the_one_that_the_client_reads_of_the_first_choice() {
    let called = json!({"role": "assistant", "content": null,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let old = json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}});
    let said = json!({"role": "assistant", "content": "x"});
    let cases = [
        (json!([{"index": 0, "message": called, "finish_reason": "stop"}]), "tool_calls"),
        (json!([{"index": 0, "message": old, "finish_reason": "function_call"}]), "tool_calls"),
        (json!([{"index": 0, "message": said, "finish_reason": "MAX_TOKENS"}]), "length"),
        (
            json!([{"index": 0, "message": said, "finish_reason": "length"},
                {"index": 1, "message": said, "finish_reason": "stop"}]),
            "length",
        ),
    ];
    for (mut choices, expected) in cases {
        let whole = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices});
        for choice in choices.as_array_mut().unwrap() {
            choice["delta"] = choice["message"].take();
            if let Some(call) = choice.pointer_mut("/delta/tool_calls/0") {
                call["index"] = 0.into();
            }
        }
        let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": choices});
        let behaviours = [
            (false, Behaviour { body: Some(whole.to_string().as_str().into()), ..Behaviour::default() }),
            (true, Behaviour { events: Some(vec![chunk.to_string()]), ..Behaviour::default() }),
        ];
        for (streamed, behaviour) in behaviours {
            let demo = scripted(behaviour);
            let bursar = Setup::over(&[&demo]).start();

            let answer = bursar.client().chat(&if streamed { stream(json!({})) } else { chat(json!({})) });

            assert_eq!(record(&bursar, &answer).finish.as_deref(), Some(expected), "{}", answer.text());
        }
    }
}

#[test]
fn an_answer_that_never_ended_has_no_word() {
    let event = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "x"}, "finish_reason": null}]});
    let broken = scripted(Behaviour { events: Some(vec![event.to_string()]), omit_done: true, ..Behaviour::default() });
    let bursar = Setup::over(&[&broken]).start();

    let cut = record(&bursar, &bursar.client().chat(&stream(json!({}))));
    let refused = record(&bursar, &bursar.client().chat(&chat(json!({"model": "nobody/none"}))));

    assert_eq!((cut.outcome.as_deref(), cut.finish), (Some("failed"), None));
    assert!(cut.content.unwrap().reply.is_some());
    // Nothing went out of an answer, so there is nothing to have a hash of.
    assert_eq!((refused.finish, refused.content), (None, None));
}
