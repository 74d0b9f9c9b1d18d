//! The client of the benchmark: raw keep-alive sockets on one thread, so that it costs little beside what it measures.
//!
//! A reply counts only if it is a 200 and complete: its full length, or its last chunk, and `[DONE]` for a stream.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

/// What a request is sent to: the mock itself, a proxy, or the gateway.
#[derive(Clone)]
pub struct Target {
    pub label: &'static str,
    pub address: SocketAddr,
    /// Sent with every request: credentials, mostly.
    pub headers: Vec<(&'static str, String)>,
    /// The process whose tree is charged; none for the mock itself, which is the baseline.
    pub pid: Option<u32>,
}

/// What the mock is told to answer.
#[derive(Clone, Copy)]
pub enum Ask {
    Plain,
    Stream { chunks: u32, chunk_ms: u32 },
}

/// One answer that was complete.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub total: Duration,
    /// From the request sent to the first byte of the body.
    pub first: Duration,
    /// The longest wait between two reads of the body; zero for a plain answer.
    pub longest_gap: Duration,
    /// Server-sent events in the body; zero for a plain answer.
    pub events: u64,
}

/// What several connections saw together.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub answers: u64,
    pub events: u64,
    pub longest_gap: Duration,
    pub elapsed: Duration,
    pub errors: u64,
    pub first_error: Option<String>,
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

impl Target {
    /// Renders a request of about 1 KiB.
    pub fn request(&self, ask: Ask) -> Vec<u8> {
        let (streams, script) = match ask {
            Ask::Plain => (false, "mock:0,0,0".to_owned()),
            Ask::Stream { chunks, chunk_ms } => (true, format!("mock:0,{chunks},{chunk_ms}")),
        };
        let question =
            "The ledger shows three entries that nobody remembers; tell me which to ask about first. ".repeat(7);
        let mut body = serde_json::json!({
            "model": "bench",
            "messages": [
                { "role": "system", "content": "You are a careful clerk. Answer in one short paragraph." },
                { "role": "user", "content": format!("{question}{script}") },
            ],
            "temperature": 0.2, "max_tokens": 256, "user": "bench-user-1",
        });
        if streams {
            body["stream"] = true.into();
            body["stream_options"] = serde_json::json!({ "include_usage": true });
        }
        let body = body.to_string();
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: */*\r\n\
             {headers}content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .into_bytes()
    }
}

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The server said that it will close behind its last answer.
    closes: bool,
}

impl Connection {
    /// Connects with Nagle's algorithm off.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024), closes: false })
    }

    /// Sends `request` and reads the whole answer; anything but a complete 200 within 30 s is an error.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        timeout(ANSWER_TIMEOUT, self.exchange(request)).await.map_err(|_| broken("no complete answer within 30 s"))?
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let sent = Instant::now();
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut body = loop {
            self.read().await?;
            if let Some(body) = Body::begin(&mut self.buffer)? {
                break body;
            }
        };
        self.closes = body.closes;
        let mut first = None;
        let mut last = sent;
        let mut longest_gap = Duration::ZERO;
        loop {
            let advanced = body.advance(&self.buffer)?;
            self.buffer.clear();
            if advanced || body.ended {
                let now = Instant::now();
                if first.is_some() {
                    longest_gap = longest_gap.max(now - last);
                }
                first.get_or_insert(now - sent);
                last = now;
            }
            if body.ended {
                break;
            }
            self.read().await?;
        }
        let first = first.unwrap_or_default();
        if !body.is_stream {
            return Ok(Answer { total: last - sent, first, longest_gap: Duration::ZERO, events: 0 });
        }
        if !body.tail.ends_with(b"data: [DONE]\n\n") {
            return Err(broken("the stream ended without [DONE]"));
        }
        Ok(Answer { total: last - sent, first, longest_gap, events: body.events })
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(broken("the connection closed inside an answer")),
            _ => Ok(()),
        }
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::other(why)
}

/// Where a chunked or length-delimited body stands, fed piece by piece.
struct Body {
    is_stream: bool,
    /// `connection: close` stood in the head.
    closes: bool,
    framing: Framing,
    ended: bool,
    events: u64,
    /// The last bytes of the body, enough to recognise its end.
    tail: Vec<u8>,
}

enum Framing {
    /// Bytes to come.
    Length(usize),
    /// Reading a chunk's size line; the digits so far.
    Size(Vec<u8>),
    /// Bytes of the current chunk to come, its line end included.
    Chunk(usize),
}

impl Body {
    /// Parses the head at the start of `buffer` and removes it; nothing while it is incomplete.
    fn begin(buffer: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let head = match response.parse(buffer) {
            Ok(httparse::Status::Complete(head)) => head,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(broken(&format!("the head cannot be parsed: {error}"))),
        };
        if response.code != Some(200) {
            let shown = String::from_utf8_lossy(&buffer[head..]).into_owned();
            return Err(broken(&format!("status {}: {shown}", response.code.unwrap_or_default())));
        }
        let header = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok()
        };
        let is_stream = header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let framing = match header("content-length").and_then(|length| length.trim().parse().ok()) {
            Some(length) => Framing::Length(length),
            None if header("transfer-encoding").is_some() => Framing::Size(Vec::new()),
            None => return Err(broken("the answer has neither a length nor chunks")),
        };
        let ended = matches!(framing, Framing::Length(0));
        buffer.drain(..head);
        Ok(Some(Self { is_stream, closes, framing, ended, events: 0, tail: Vec::new() }))
    }

    /// Takes in `bytes` from the wire; returns whether any of them belonged to the body itself.
    fn advance(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        let mut advanced = false;
        while !bytes.is_empty() && !self.ended {
            match &mut self.framing {
                Framing::Length(left) => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    self.ended = *left == 0;
                    self.content(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    advanced |= taken > 0;
                }
                Framing::Size(digits) => {
                    let (byte, rest) = bytes.split_first().expect("bytes is not empty");
                    bytes = rest;
                    if *byte != b'\n' {
                        digits.push(*byte);
                        continue;
                    }
                    let text = String::from_utf8_lossy(digits);
                    let size = usize::from_str_radix(text.trim(), 16).map_err(|_| broken("a chunk without a size"))?;
                    // The last chunk is followed by an empty line; we do not pipeline, so nothing follows that.
                    self.ended = size == 0;
                    self.framing = Framing::Chunk(size + 2);
                }
                Framing::Chunk(left) => {
                    let taken = bytes.len().min(*left);
                    let of_body = taken.min(left.saturating_sub(2));
                    *left -= taken;
                    if *left == 0 {
                        self.framing = Framing::Size(Vec::new());
                    }
                    self.content(&bytes[..of_body]);
                    bytes = &bytes[taken..];
                    advanced |= of_body > 0;
                }
            }
        }
        Ok(advanced)
    }

    fn content(&mut self, bytes: &[u8]) {
        if !self.is_stream || bytes.is_empty() {
            return;
        }
        let joins = bytes[0] == b'\n' && self.tail.last() == Some(&b'\n');
        self.events += memchr::memmem::find_iter(bytes, b"\n\n").count() as u64 + u64::from(joins);
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(32);
        self.tail.drain(..surplus);
    }
}

impl Tally {
    fn add(&mut self, result: io::Result<Answer>) -> bool {
        match result {
            Ok(answer) => {
                self.answers += 1;
                self.events += answer.events;
                self.longest_gap = self.longest_gap.max(answer.longest_gap);
                true
            }
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert(error.to_string());
                false
            }
        }
    }

    /// Adds what another stretch of the same measurement saw.
    pub fn merge(&mut self, other: Self) {
        self.answers += other.answers;
        self.events += other.events;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.elapsed += other.elapsed;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// When a set of connections stops asking.
#[derive(Clone, Copy)]
pub enum Until {
    /// Each connection asks this often.
    Rounds(u32),
    /// Each connection asks until the time is over.
    Elapsed(Duration),
}

/// Asks on `connections` keep-alive connections at once, the first requests spread over `ramp`.
pub async fn closed_loop(target: &Target, ask: Ask, connections: u32, ramp: Duration, until: Until) -> Tally {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let request: Rc<[u8]> = target.request(ask).into();
    let began = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|index| {
            let (tally, request, address) = (Rc::clone(&tally), Rc::clone(&request), target.address);
            spawn_local(async move {
                sleep(ramp * index / connections).await;
                let mut connection = None;
                let mut rounds = 0;
                loop {
                    match until {
                        Until::Rounds(count) if rounds == count => break,
                        Until::Elapsed(limit) if began.elapsed() >= limit => break,
                        _ => rounds += 1,
                    }
                    let result = ask_once(&mut connection, address, &request).await;
                    if !tally.borrow_mut().add(result) {
                        // A target that refuses every request must not make this spin.
                        sleep(Duration::from_millis(10)).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        let _ = task.await;
    }
    let mut tally = tally.take();
    tally.elapsed = began.elapsed();
    tally
}

/// Asks on `connection`, which is opened first where there is none, and given up where it cannot serve again.
pub async fn ask_once(connection: &mut Option<Connection>, address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address).await?,
    };
    let answer = open.ask(request).await?;
    if !open.closes {
        *connection = Some(open);
    }
    Ok(answer)
}
