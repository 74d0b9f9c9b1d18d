//! Asks the running gateway over the socket in its data directory: the admin API, without a token.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use super::data::socket_path;
use crate::config::load::{Sources, data_path};

/// A gateway that does not answer within this is not well.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Status of an answer that lists faults.
const UNPROCESSABLE: u16 = 422;

/// What the gateway has to say.
pub enum Answer {
    Done(Value),
    /// It would not, for these reasons.
    Refused(Vec<String>),
}

/// Returns what `GET path` answers, or in words why there is no answer.
pub fn get(sources: &Sources, path: &str) -> Result<Value, String> {
    match call(sources, "GET", path)? {
        Answer::Done(answer) => Ok(answer),
        Answer::Refused(faults) => Err(faults.join("\n")),
    }
}

/// Why there is no answer, in words.
pub enum Unanswered {
    /// No gateway listens there.
    NoGateway(String),
    /// One does, and something went wrong.
    Broken(String),
}

/// Returns status and body of what the gateway answers to `method path` with `body`. `patience` bounds its silence; none
/// for what takes as long as it takes.
pub fn exchange(
    sources: &Sources,
    (method, path, body): (&str, &str, &[u8]),
    patience: Option<Duration>,
) -> Result<(u16, Vec<u8>), Unanswered> {
    let data = sources.data.clone().unwrap_or_else(|| data_path(sources));
    let socket = socket_path(&sources.working_dir.join(data));
    let unanswered = |error: &std::io::Error| {
        format!("no gateway answers at {} ({error}); is it running, with the same --data?", socket.display())
    };
    let stream = UnixStream::connect(&socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Unanswered::NoGateway(unanswered(&error)),
        _ => Unanswered::Broken(unanswered(&error)),
    })?;
    let asked = ask(stream, (method, path, body), patience);
    let asked = asked.map_err(|error| Unanswered::Broken(unanswered(&error)))?;
    asked.ok_or_else(|| Unanswered::Broken(format!("{} gave no HTTP answer", socket.display())))
}

/// Returns what the gateway answers to `method path`, or in words why there is no answer.
pub fn call(sources: &Sources, method: &str, path: &str) -> Result<Answer, String> {
    let (status, body) = exchange(sources, (method, path, b""), Some(TIMEOUT)).map_err(|error| match error {
        Unanswered::NoGateway(why) | Unanswered::Broken(why) => why,
    })?;
    if status != 200 && status != UNPROCESSABLE {
        return Err(format!("the gateway answered {status} to {path}"));
    }
    let answer: Value =
        serde_json::from_slice(&body).map_err(|error| format!("the gateway's answer to {path} is no JSON: {error}"))?;
    if status == UNPROCESSABLE {
        let faults = answer["faults"].as_array().into_iter().flatten().filter_map(Value::as_str);
        return Ok(Answer::Refused(faults.map(str::to_owned).collect()));
    }
    Ok(Answer::Done(answer))
}

/// Returns what the gateway answers to an order. What it refuses is an error in its own words.
pub fn order(sources: &Sources, method: &str, path: &str, body: &str) -> Result<Value, String> {
    let asked = exchange(sources, (method, path, body.as_bytes()), Some(TIMEOUT));
    let (status, answer) = asked.map_err(|error| match error {
        Unanswered::NoGateway(why) | Unanswered::Broken(why) => why,
    })?;
    let answer: Value = serde_json::from_slice(&answer)
        .map_err(|error| format!("the gateway's answer {status} to {path} is no JSON: {error}"))?;
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let faults: Vec<&str> = answer["faults"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let message = answer["error"]["message"].as_str().map(str::to_owned);
    Err(if faults.is_empty() {
        message.unwrap_or_else(|| format!("the gateway answered {status}"))
    } else {
        faults.join("\n")
    })
}

/// Returns `text` as a query can hold it.
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

/// Sends one request and reads to the end of the connection. `None` stands for an answer that is not HTTP.
fn ask(
    mut stream: UnixStream,
    (method, path, body): (&str, &str, &[u8]),
    patience: Option<Duration>,
) -> std::io::Result<Option<(u16, Vec<u8>)>> {
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let length = body.len();
    let head = format!("HTTP/1.1\r\nhost: bursar\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    write!(stream, "{method} {path} {head}")?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(&answer) else { return Ok(None) };
    Ok(head.code.map(|status| (status, answer[length..].to_vec())))
}
