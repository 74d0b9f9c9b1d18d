//! A client that sees bytes: one connection, no retries, and nothing hidden.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// Longest silence a test puts up with.
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn of(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends bytes as they are. An upstream that has closed already is for the reader to find out.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Sends a request with a length.
    pub fn begin(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.send(format!("{head}\r\n{body}").as_bytes());
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.begin(method, path, headers, body);
        self.answer(method)
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[], &body.to_string())
    }

    pub fn chat(&mut self, body: &Value) -> Answer {
        self.post("/v1/chat/completions", body)
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    /// Reads one whole answer.
    pub fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method).expect("a whole answer")
    }

    /// Reads one whole answer, where the gateway may have hung up.
    pub fn try_answer(&mut self, method: &str) -> std::io::Result<Answer> {
        let answer = self.try_head()?;
        if method == "HEAD" || answer.status == 204 { Ok(answer) } else { self.try_body(answer) }
    }

    /// Reads the body of an answer whose head was read.
    pub fn try_body(&mut self, mut answer: Answer) -> std::io::Result<Answer> {
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend(chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            answer.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Reads a head only.
    pub fn head(&mut self) -> Answer {
        self.try_head().expect("a head")
    }

    /// Reads a head only, where the gateway may have hung up.
    pub fn try_head(&mut self) -> std::io::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).expect("a status").parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Ok(Answer { status, headers, body: Vec::new() })
    }

    /// Waits for the next bytes for as long, and tells whether some came.
    pub fn hears_within(&mut self, time: Duration) -> bool {
        self.stream.get_mut().set_read_timeout(Some(time)).unwrap();
        let heard = self.stream.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        self.stream.get_mut().set_read_timeout(Some(PATIENCE)).unwrap();
        heard
    }

    /// Reads a chunk of the body; none at its end.
    pub fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.line()?, 16).unwrap();
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk)?;
        assert_eq!(self.line()?, "");
        Ok((size > 0).then_some(chunk))
    }

    /// Reads all that still comes; returns once the other side has closed the connection.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return rest,
                Ok(length) => rest.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return rest,
                Err(error) => panic!("the connection is not closed: {error}"),
            }
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches("\r\n").to_owned()),
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Returns the error's code, after a look at the shape that OpenAI's clients expect.
    #[track_caller]
    pub fn error_code(&self) -> String {
        let body = self.json();
        let error = &body["error"];
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        assert!(error["type"].is_string() && error.get("param").is_some(), "{body}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.header("x-request-id").is_some());
        error["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the text that a client puts together from a stream's deltas.
    pub fn streamed_text(&self) -> String {
        let content = |event: &Value| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
        self.events().iter().filter_map(content).collect()
    }

    /// Returns the payloads of a stream, `[DONE]` and comments left out.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        let payloads = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ").map(str::to_owned));
        payloads.filter(|payload| payload != "[DONE]").map(|payload| serde_json::from_str(&payload).unwrap()).collect()
    }

    pub fn is_done(&self) -> bool {
        self.text().ends_with("data: [DONE]\n\n")
    }

    /// Returns the code of the error event that ends a stream without `[DONE]`.
    #[track_caller]
    pub fn stream_error(&self) -> String {
        let text = self.text();
        assert!(!text.contains("[DONE]"), "{text}");
        let last = self.events().pop().unwrap_or_else(|| panic!("no event in {text}"));
        assert!(last["error"]["message"].is_string(), "{text}");
        last["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A chat request for the alias of the tests.
/// What is asked where a test says nothing else: it may stand nowhere in what the gateway writes.
pub const PROMPT: &str = "Hello, canary-4713";

pub fn chat(more: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": PROMPT}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

pub fn stream(more: Value) -> Value {
    let mut body = chat(more);
    body["stream"] = true.into();
    body
}
