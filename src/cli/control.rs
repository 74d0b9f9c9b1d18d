//! Asks the running gateway over the socket in its data directory: the admin API, without a token.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::data::socket_path;
use crate::config::load::{Sources, data_path};

/// A gateway that does not answer within this is not well.
const TIMEOUT: Duration = Duration::from_secs(10);
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

/// Returns what the gateway answers to `method path`, or in words why there is no answer.
pub fn call(sources: &Sources, method: &str, path: &str) -> Result<Answer, String> {
    let data = sources.data.clone().unwrap_or_else(|| data_path(sources));
    let socket = socket_path(&sources.working_dir.join(data));
    let asked = ask(&socket, method, path).map_err(|error| {
        format!("no gateway answers at {} ({error}); is it running, with the same --data?", socket.display())
    })?;
    let (status, body) = asked.ok_or_else(|| format!("{} gave no HTTP answer", socket.display()))?;
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

/// Sends one request and reads to the end of the connection. `None` stands for an answer that is not HTTP.
fn ask(socket: &Path, method: &str, path: &str) -> std::io::Result<Option<(u16, Vec<u8>)>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let head = "HTTP/1.1\r\nhost: bursar\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    write!(stream, "{method} {path} {head}")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(&answer) else { return Ok(None) };
    Ok(head.code.map(|status| (status, answer[length..].to_vec())))
}
