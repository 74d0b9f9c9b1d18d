//! A client that sees bytes, and the providers it talks to.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bursar::demo::{Behaviour, Demo, DemoOptions, Ending, Exchange, Rule};
use serde_json::{Value, json};

/// A client that sees bytes: one connection, no retries.
pub struct Client {
    pub stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn of(demo: &Demo) -> Self {
        let stream = TcpStream::connect(demo.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, head: &str, body: &[u8]) {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Response {
        self.send(&format!("POST {path} HTTP/1.1\r\nhost: demo"), body.to_string().as_bytes());
        self.response().unwrap()
    }

    pub fn response(&mut self) -> std::io::Result<Response> {
        let mut response = self.head()?;
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut response.body)?;
        } else {
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    pub fn head(&mut self) -> std::io::Result<Response> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        Ok(Response { status, headers, body: Vec::new() })
    }

    pub fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.line()?, 16).unwrap();
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk)?;
        assert_eq!(self.line()?, "");
        Ok((size > 0).then_some(chunk))
    }

    pub fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches("\r\n").to_owned()),
        }
    }

    /// Reads until the provider closes: all bytes, and whether it closed with a reset.
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let reset = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            Err(error) => panic!("neither an end nor a reset: {error}"),
        };
        (bytes, reset)
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the payloads of the events before `[DONE]`, which must come last.
    pub fn events(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).unwrap();
        let payloads: Vec<&str> =
            text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
        let (last, before) = payloads.split_last().unwrap();
        assert_eq!(*last, "[DONE]");
        before.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect()
    }
}

pub fn demo() -> Demo {
    Demo::start(DemoOptions::default()).unwrap()
}

pub fn scripted(then: Behaviour) -> Demo {
    let demo = demo();
    demo.script(vec![Rule { then, ..Rule::default() }]);
    demo
}

/// Returns the body with these fields added or replaced.
pub fn extended(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

pub fn chat(more: Value) -> Value {
    let body = json!({"model": "demo-small", "messages": [{"role": "user", "content": "Hello from ada@example.org"}]});
    extended(body, more)
}

/// Returns the payloads of a stream whose events are named by their payloads' `type`.
pub fn named_events(response: &Response) -> Vec<Value> {
    let text = std::str::from_utf8(&response.body).unwrap();
    let payload = |event: &str| {
        let (name, data) = event.split_once("\ndata: ").unwrap();
        let payload: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name.strip_prefix("event: "), payload["type"].as_str());
        payload
    };
    text.split_terminator("\n\n").map(payload).collect()
}

pub fn ask(demo: &Demo, more: Value) -> Response {
    Client::of(demo).post("/v1/chat/completions", &chat(more))
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn wait_for_ending(demo: &Demo, wanted: impl Fn(Ending) -> bool) -> Exchange {
    block_on(demo.wait_for(|exchanges| exchanges.last().is_some_and(|exchange| wanted(exchange.ending))));
    demo.exchanges().pop().unwrap()
}

pub fn hung_up(ending: Ending) -> bool {
    matches!(ending, Ending::PeerClosed { .. })
}
