//! One request of a storm: sent as the plan says, and its answer held against what an undisturbed upstream says.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::Storm;
use super::plan::{Ask, HALF_SAID, Manner, PROMPTS, What};
use crate::client::{Answer, Client};

/// Every status and code that a client with a well-formed request may meet.
const ERRORS: [(u16, &str); 18] = [
    (400, "context_length_exceeded"),
    (400, "invalid_request"),
    (404, "model_not_found"),
    (413, "request_too_large"),
    (429, "rate_limit_exceeded"),
    (429, "insufficient_quota"),
    (500, "internal_error"),
    (502, "upstream_auth"),
    (502, "upstream_permission"),
    (502, "upstream_model_not_found"),
    (502, "upstream_unreachable"),
    (502, "upstream_failed"),
    (503, "server_is_overloaded"),
    (503, "no_healthy_target"),
    (504, "upstream_timeout"),
    (504, "deadline_exceeded"),
    // Of a stream that broke after its first output.
    (200, "stream_broken_after_output"),
    (200, "server_error"),
];

/// What an undisturbed upstream answers to the prompts.
pub struct Expected {
    texts: Vec<String>,
    embeddings: Vec<Value>,
}

impl Expected {
    pub fn of(upstream: std::net::SocketAddr) -> Self {
        let ask = |path: &str, body: Value| Client::of(upstream).post(path, &body).json();
        let text = |prompt| ask("/v1/chat/completions", chat("demo-small", prompt, false));
        let text = |prompt| text(prompt)["choices"][0]["message"]["content"].as_str().expect("a text").to_owned();
        let vector = |prompt| ask("/v1/embeddings", embedding("demo-embed", prompt))["data"].clone();
        let all = 0..PROMPTS.len();
        Self { texts: all.clone().map(text).collect(), embeddings: all.map(vector).collect() }
    }
}

pub fn chat(model: &str, prompt: usize, streamed: bool) -> Value {
    json!({"model": model, "stream": streamed, "messages": [{"role": "user", "content": PROMPTS[prompt]}]})
}

fn embedding(model: &str, prompt: usize) -> Value {
    json!({"model": model, "input": PROMPTS[prompt]})
}

/// Asks, on the connection left over from the last request if there is one. Returns it if it may be used again.
///
/// # Panics
/// When the gateway does what it must not.
pub fn perform(ask: &Ask, connection: Option<Client>, storm: &Storm) -> Option<Client> {
    let mut client = connection.unwrap_or_else(|| storm.bursar.client());
    let close: &[(&str, &str)] = if ask.keep_alive { &[] } else { &[("connection", "close")] };
    let (path, body, timeout) = match ask.what {
        What::Chat { model, prompt, streamed, timeout } => {
            ("/v1/chat/completions", chat(model, prompt, streamed), timeout)
        }
        What::Embedding { prompt } => ("/v1/embeddings", embedding("embed", prompt), None),
        What::UnknownModel => ("/v1/chat/completions", chat("nobody/knows", 0, true), None),
        What::Oversized { chunked } => return oversized(client, chunked),
        What::Malformed(which) => return malformed(client, which),
    };
    let timeout = timeout.map(|timeout| ("x-bursar-timeout", timeout));
    let headers: Vec<_> = close.iter().copied().chain(timeout).collect();
    let body = body.to_string();
    if matches!(ask.manner, Manner::HalfAsked) {
        client.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n{body}").as_bytes());
        return None;
    }
    client.begin("POST", path, &headers, &body);
    match taken(&mut client, ask.manner).expect("no answer is cut off") {
        None => {
            storm.tally.hung_up();
            None
        }
        Some(answer) => {
            check(&answer, &ask.what, &storm.expected);
            storm.tally.answered(outcome(&answer));
            (ask.keep_alive && answer.header("connection") != Some("close")).then_some(client)
        }
    }
}

/// Reads the answer; none where the client hung up before its end.
fn taken(client: &mut Client, manner: Manner) -> io::Result<Option<Answer>> {
    let (pause, pieces) = match manner {
        Manner::HangsUpWithin(time) if !client.hears_within(time) => return Ok(None),
        Manner::HangsUpAfter(pieces) => (Duration::ZERO, pieces),
        Manner::Slow(pause) => (pause, usize::MAX),
        _ => return client.try_answer("POST").map(Some),
    };
    let mut answer = client.try_head()?;
    if answer.header("transfer-encoding") != Some("chunked") {
        return if pieces < usize::MAX { Ok(None) } else { client.try_body(answer).map(Some) };
    }
    for _ in 0..pieces {
        let Some(chunk) = client.chunk()? else { return Ok(Some(answer)) };
        answer.body.extend(chunk);
        #[expect(clippy::disallowed_methods, reason = "a slow reader is slow; nothing waits for it")]
        std::thread::sleep(pause);
    }
    Ok(None)
}

/// How a complete answer counts.
fn outcome(answer: &Answer) -> Result<(), String> {
    match answer.status {
        200 if answer.header("content-type") == Some("application/json") || answer.is_done() => Ok(()),
        200 => Err(answer.stream_error()),
        _ => Err(answer.error_code()),
    }
}

fn check(answer: &Answer, what: &What, expected: &Expected) {
    let Err(code) = outcome(answer) else {
        match *what {
            What::Chat { prompt, streamed: false, .. } => {
                let reply = answer.json();
                assert_eq!(reply["object"], "chat.completion");
                assert_eq!(reply["choices"][0]["message"]["content"], *expected.texts[prompt]);
                assert_eq!(reply["choices"][0]["finish_reason"], "stop");
            }
            What::Chat { prompt, streamed: true, .. } => {
                assert_eq!(answer.text().matches("[DONE]").count(), 1, "{}", answer.text());
                assert!(answer.events().iter().all(|event| event.get("error").is_none()), "{}", answer.text());
                assert_eq!(answer.streamed_text(), expected.texts[prompt]);
            }
            What::Embedding { prompt } => assert_eq!(answer.json()["data"], expected.embeddings[prompt]),
            _ => panic!("served: {answer:?}"),
        }
        return;
    };
    // An error event may carry any of the codes.
    let known = |(status, known): &(u16, &str)| *known == code && (answer.status == 200 || answer.status == *status);
    assert!(ERRORS.iter().any(known), "{} {code}: {}", answer.status, answer.text());
    if let What::UnknownModel = what {
        assert_eq!((answer.status, code.as_str()), (404, "model_not_found"));
    }
    if let (200, What::Chat { prompt, .. }) = (answer.status, what) {
        let errors = answer.events().iter().filter(|event| event.get("error").is_some()).count();
        let said = answer.streamed_text();
        assert_eq!(errors, 1, "{}", answer.text());
        assert!(expected.texts[*prompt].starts_with(&said) || said == HALF_SAID, "{said}");
    }
}

/// A body that is too long is refused; who goes on sending may miss the words.
fn oversized(mut client: Client, chunked: bool) -> Option<Client> {
    let body = "x".repeat(70_000);
    let (framing, body) = match chunked {
        true => ("transfer-encoding: chunked".to_owned(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        false => (format!("content-length: {}", body.len()), body),
    };
    client.send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n{body}").as_bytes());
    if let Ok(answer) = client.try_answer("POST") {
        assert_eq!((answer.status, answer.error_code().as_str()), (413, "request_too_large"));
    }
    None
}

fn malformed(mut client: Client, which: usize) -> Option<Client> {
    let (chat, good) = ("/v1/chat/completions", chat("m", 0, false).to_string());
    let (method, path, header, body, expected) = match which {
        0 => ("POST", chat, None, "{\"model\": \"m\"", (400, "invalid_json")),
        1 => ("POST", chat, None, "[]", (400, "invalid_type")),
        2 => ("POST", chat, None, "{\"model\": 7, \"messages\": []}", (400, "invalid_type")),
        3 => ("POST", chat, Some(("x-bursar-timeout", "soon")), good.as_str(), (400, "invalid_request")),
        4 => ("POST", chat, Some(("content-encoding", "gzip")), good.as_str(), (415, "unsupported_content_encoding")),
        5 => ("PUT", chat, None, good.as_str(), (405, "method_not_allowed")),
        6 => ("POST", "/v1/chat/completion", None, good.as_str(), (404, "unknown_url")),
        7 => ("POST", chat, Some(("origin", "http://elsewhere.example")), good.as_str(), (403, "foreign_origin")),
        _ => {
            client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}");
            // What is no HTTP may be answered by a hang-up.
            if let Ok(answer) = client.try_answer("POST") {
                assert_eq!(answer.status, 400);
            }
            return None;
        }
    };
    client.begin(method, path, &header.into_iter().collect::<Vec<_>>(), body);
    let answer = client.try_answer(method).expect("an answer");
    assert_eq!((answer.status, answer.error_code().as_str()), expected);
    (answer.header("connection") != Some("close")).then_some(client)
}
