//! The upstream of the benchmark: answers an OpenAI chat request from memory, as fast as one thread can.
//!
//! It runs as a child process of the benchmark (the same binary, started again), prints the port it listens on, and ends
//! when its stdin closes, so it cannot outlive a benchmark that was killed. It understands just enough: HTTP/1.1 with
//! `Content-Length` and keep-alive. The text `mock:LATENCY_MS,CHUNKS,CHUNK_MS` anywhere in a body says how to answer:
//! how long to wait first, how many chunks to stream, how long to wait between two of them.

use std::io::{self, Read, Write};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

/// The waits and the length of one answer.
#[derive(Clone, Copy)]
struct Script {
    latency_ms: u64,
    chunks: usize,
    chunk_ms: u64,
}

const DEFAULT_SCRIPT: Script = Script { latency_ms: 0, chunks: 200, chunk_ms: 0 };

/// Everything the mock ever sends, rendered once.
struct Replies {
    plain: Vec<u8>,
    models: Vec<u8>,
    stream_head: &'static [u8],
    /// Chunks of different text, because some gateways take identical chunks for a model that runs in circles.
    chunks: Vec<Vec<u8>>,
    stream_tail: Vec<u8>,
}

/// Serves until stdin closes; never returns otherwise.
pub fn serve() -> io::Result<()> {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut stdout = io::stdout();
        writeln!(stdout, "{}", listener.local_addr()?.port())?;
        stdout.flush()?;
        // Rendered once and never freed: the process ends with the benchmark.
        let replies: &'static Replies = Box::leak(Box::new(Replies::render()));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn_local(async move {
                let _ = converse(stream, replies).await; // A client that hangs up ends its own conversation only.
            });
        }
    })
}

async fn converse(mut stream: TcpStream, replies: &Replies) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let (head, length) = loop {
            if let Some(found) = request_length(&buffer) {
                break found;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        while buffer.len() < head + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let is_get = buffer.starts_with(b"GET ");
        let body = &buffer[head..head + length];
        let script = Script::find(body);
        let streams = contains(body, b"\"stream\":true") || contains(body, b"\"stream\": true");
        buffer.drain(..head + length);
        if is_get {
            stream.write_all(&replies.models).await?;
            continue;
        }
        if script.latency_ms > 0 {
            sleep(Duration::from_millis(script.latency_ms)).await;
        }
        if streams {
            send_stream(&mut stream, replies, script).await?;
        } else {
            stream.write_all(&replies.plain).await?;
        }
    }
}

async fn send_stream(stream: &mut TcpStream, replies: &Replies, script: Script) -> io::Result<()> {
    stream.write_all(replies.stream_head).await?;
    for chunk in replies.chunks.iter().cycle().take(script.chunks) {
        stream.write_all(chunk).await?;
        if script.chunk_ms > 0 {
            sleep(Duration::from_millis(script.chunk_ms)).await;
        }
    }
    stream.write_all(&replies.stream_tail).await
}

/// Returns the length of the head and of the body of the request at the start of `buffer`, once the head is complete.
fn request_length(buffer: &[u8]) -> Option<(usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = request.parse(buffer) else { return None };
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    Some((head, length.unwrap_or(0)))
}

fn contains(body: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(body, needle).is_some()
}

impl Script {
    fn find(body: &[u8]) -> Self {
        Self::parse(body).unwrap_or(DEFAULT_SCRIPT)
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let begin = memchr::memmem::find(body, b"mock:")? + b"mock:".len();
        let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b',';
        let end = begin + body[begin..].iter().position(|byte| !is_part(byte))?;
        let mut numbers = std::str::from_utf8(&body[begin..end]).ok()?.split(',').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        Some(Self { latency_ms: next()?, chunks: usize::try_from(next()?).ok()?, chunk_ms: next()? })
    }
}

impl Replies {
    fn render() -> Self {
        let text =
            "Rain fell on the harbour, and the clerk counted the coins twice before he wrote them down. ".repeat(6);
        let plain = serde_json::json!({
            "id": "chatcmpl-bench0001", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-4o-mini",
            "choices": [{
                "index": 0, "logprobs": null, "finish_reason": "stop",
                "message": { "role": "assistant", "content": text, "refusal": null },
            }],
            "usage": {
                "prompt_tokens": 180, "completion_tokens": 140, "total_tokens": 320,
                "prompt_tokens_details": { "cached_tokens": 0 },
                "completion_tokens_details": { "reasoning_tokens": 0 },
            },
            "system_fingerprint": "fp_bench",
        });
        let models = serde_json::json!({ "object": "list", "data": [{ "id": "gpt-4o-mini", "object": "model" }] });
        let delta = |index: usize| serde_json::json!([{ "index": 0, "delta": { "content": format!(" word{index}") } }]);
        let finish = serde_json::json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]);
        let usage = serde_json::json!({ "prompt_tokens": 180, "completion_tokens": 200, "total_tokens": 380 });
        let mut stream_tail = frame(&event(&finish, &serde_json::Value::Null));
        stream_tail.extend(frame(&event(&serde_json::json!([]), &usage)));
        stream_tail.extend(frame("data: [DONE]\n\n"));
        stream_tail.extend(b"0\r\n\r\n");
        Self {
            plain: whole(&plain),
            models: whole(&models),
            stream_head: b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                transfer-encoding: chunked\r\n\r\n",
            chunks: (0..64).map(|index| frame(&event(&delta(index), &serde_json::Value::Null))).collect(),
            stream_tail,
        }
    }
}

fn event(choices: &serde_json::Value, usage: &serde_json::Value) -> String {
    let chunk = serde_json::json!({
        "id": "chatcmpl-bench0001", "object": "chat.completion.chunk", "created": 1_700_000_000,
        "model": "gpt-4o-mini", "system_fingerprint": "fp_bench", "choices": choices, "usage": usage,
    });
    format!("data: {chunk}\n\n")
}

/// One HTTP chunk around `text`.
fn frame(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

fn whole(body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
