//! Asks the running gateway over the socket in its data directory: the admin API, without a token.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::data::socket_path;
use crate::config::load::{Sources, load};

/// A gateway that does not answer within this is not well.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns what `GET path` answers, or in words why there is no answer.
pub fn get(sources: &Sources, path: &str) -> Result<Value, String> {
    let data = match &sources.data {
        Some(data) => data.clone(),
        None => load(sources).map_err(|faults| faults.to_string())?.storage.path,
    };
    let socket = socket_path(&data);
    let asked = ask(&socket, path).map_err(|error| {
        format!("no gateway answers at {} ({error}); is it running, with the same --data?", socket.display())
    })?;
    let (status, body) = asked.ok_or_else(|| format!("{} gave no HTTP answer", socket.display()))?;
    if status != 200 {
        return Err(format!("the gateway answered {status} to {path}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("the gateway's answer to {path} is no JSON: {error}"))
}

/// Sends one request and reads to the end of the connection. `None` stands for an answer that is not HTTP.
fn ask(socket: &Path, path: &str) -> std::io::Result<Option<(u16, Vec<u8>)>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: bursar\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(&answer) else { return Ok(None) };
    Ok(head.code.map(|status| (status, answer[length..].to_vec())))
}
