//! What reading, patching and forwarding costs per request, per reply and per streamed chunk.

use std::hint::black_box;

use bursar::providers::anthropic::Anthropic;
use bursar::providers::chat::{Compatible, OpenAiChat, row};
use bursar::providers::dialect::{ClientDialect, ModelFacts, Target, UpstreamDialect};
use bursar::providers::framing::Frame;
use bursar::providers::gemini::Gemini;
use bursar::providers::openai::{Quirks, StreamRepair, encode, whole_facts};
use bursar::providers::sequence::Sequence;
use bursar::providers::sse::{SseItem, SseReader};
use bursar::schema::chat::Chunk;
use bursar::schema::{self, Operation};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const OPERATION: Operation = Operation::ChatCompletions;

fn request(stream: bool) -> Bytes {
    let prompt = "My parcel was delivered to a neighbour, but no neighbour of mine has it. What now? ".repeat(12);
    let body = serde_json::json!({
        "model": "fast", "temperature": 0.7, "max_tokens": 256, "stream": stream,
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": prompt }],
    });
    body.to_string().into()
}

fn reply() -> Bytes {
    let text = "Please tell me your house number, so that I can ask the carrier to look for it. ".repeat(8);
    let body = serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "m",
        "choices": [{ "index": 0, "finish_reason": "stop", "logprobs": null,
                      "message": { "role": "assistant", "content": text, "refusal": null } }],
        "usage": { "prompt_tokens": 180, "completion_tokens": 140, "total_tokens": 320 },
    });
    body.to_string().into()
}

fn chunk(content: &str) -> Bytes {
    let payload = serde_json::json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "gpt-4o-mini",
        "system_fingerprint": "fp_1", "usage": null,
        "choices": [{ "index": 0, "delta": { "content": content }, "logprobs": null, "finish_reason": null }],
    });
    format!("data: {payload}\n\n").into()
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request_1_KiB");
    let body = request(false);
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("read", |bencher| bencher.iter(|| schema::read(OPERATION, black_box(&body))));
    let head = schema::read(OPERATION, &body).expect("the request is sound");
    group.bench_function("encode", |bencher| {
        bencher.iter(|| encode(black_box(&body), &head, "qwen3-32b", Quirks::default()));
    });
    let streamed = request(true);
    let head = schema::read(OPERATION, &streamed).expect("the request is sound");
    group.bench_function("encode_streamed", |bencher| {
        bencher.iter(|| encode(black_box(&streamed), &head, "qwen3-32b", Quirks::default()));
    });
}

fn replies(criterion: &mut Criterion) {
    let body = reply();
    criterion.bench_function("reply_1_KiB/facts", |bencher| {
        bencher.iter(|| whole_facts(OPERATION, black_box(&body)));
    });
}

fn streams(criterion: &mut Criterion) {
    let chunks: Vec<Bytes> = ["alpha", "brave", "coral", "delta"].map(chunk).into();
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Elements(chunks.len() as u64));
    group.bench_function("4_chunks_of_250_B", |bencher| {
        let (mut reader, mut repair) = (SseReader::new(), StreamRepair::new(OPERATION, false));
        bencher.iter(|| {
            let mut forwarded = 0;
            for chunk in &chunks {
                reader.feed(chunk.clone());
                while let Some(Ok(SseItem::Event(event))) = reader.next_event() {
                    forwarded += usize::from(repair.on_event(&event).is_ok());
                }
            }
            forwarded
        });
    });
}

/// A chat client's request and reply on their way through the canonical types, as for an upstream of another dialect.
fn chat(criterion: &mut Criterion) {
    let mut body: serde_json::Value = serde_json::from_slice(&request(false)).expect("the request is sound");
    let more = body["messages"][1].clone();
    body["messages"].as_array_mut().expect("there are messages").push(more);
    let body = body.to_string();
    let upstream = Compatible { row: row("openai").expect("it has a row") };
    let facts = ModelFacts::default();
    let target = Target { model: "gpt-4o", model_facts: &facts, strict: false };
    let read = OpenAiChat.read(body.as_bytes()).expect("the request is sound");
    criterion.bench_function("chat read 2 KiB", |bencher| bencher.iter(|| OpenAiChat.read(black_box(body.as_bytes()))));
    criterion.bench_function("chat encode", |bencher| {
        bencher.iter(|| UpstreamDialect::encode(&upstream, black_box(&read), &target));
    });
    let whole = reply();
    criterion.bench_function("chat decode", |bencher| {
        bencher.iter(|| UpstreamDialect::decode(&upstream, black_box(&whole)))
    });
    let event = chunk("alpha");
    let data = &event["data: ".len()..];
    criterion.bench_function("reader per chunk", |bencher| {
        let (mut reader, mut out) = (upstream.reader(), Vec::new());
        bencher.iter(|| {
            out.clear();
            reader.frame(&Frame { event: None, data: black_box(data) }, &mut out)
        });
    });
    criterion.bench_function("writer per chunk", |bencher| {
        let (mut writer, mut out) = (OpenAiChat.writer(&read), Vec::new());
        let (id, model) = ("chatcmpl-1".to_owned(), "gpt-4o-mini".to_owned());
        let start = Chunk::Start { id, created: 1, model, service_tier: None, system_fingerprint: None };
        writer.chunk(&start, &mut out);
        let text = Chunk::Text { choice: 0, text: "alpha".to_owned() };
        bencher.iter(|| {
            out.clear();
            writer.chunk(black_box(&text), &mut out);
        });
    });
}

/// A chat client before upstreams of other dialects: what one request, one reply and one streamed chunk cost.
fn translations(criterion: &mut Criterion) {
    let body = request(false);
    let words = "Please tell me your house number. ".repeat(20);
    let upstreams: [(&str, &dyn UpstreamDialect, serde_json::Value, serde_json::Value); 2] = [
        (
            "anthropic",
            &Anthropic,
            serde_json::json!({"type": "message", "id": "msg_1", "role": "assistant", "model": "claude-opus-4-8",
                "content": [{"type": "text", "text": words}], "stop_reason": "end_turn",
                "usage": {"input_tokens": 180, "output_tokens": 140}}),
            serde_json::json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": " house"}}),
        ),
        (
            "gemini",
            &Gemini { vertex: false },
            serde_json::json!({"candidates": [{"content": {"role": "model", "parts": [{"text": words}]},
                "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 180, "candidatesTokenCount": 140}}),
            serde_json::json!({"candidates": [{"content": {"role": "model", "parts": [{"text": " house"}]}}],
                "usageMetadata": {"promptTokenCount": 180}}),
        ),
    ];
    let facts = ModelFacts::default();
    let mut group = criterion.benchmark_group("translate");
    for (name, upstream, reply, chunk) in &upstreams {
        let target = Target { model: "m", model_facts: &facts, strict: false };
        let asked = OpenAiChat.read(&body).expect("the request is sound");
        group.bench_function(format!("{name}/request_1_KiB"), |bencher| {
            bencher.iter(|| {
                let asked = OpenAiChat.read(black_box(&body)).expect("the request is sound");
                upstream.encode(&asked, &target)
            });
        });
        let reply = reply.to_string();
        group.bench_function(format!("{name}/reply"), |bencher| {
            bencher.iter(|| {
                let read = upstream.decode(black_box(reply.as_bytes())).expect("the reply is sound");
                OpenAiChat.write(&read, &asked)
            });
        });
        let chunk = chunk.to_string();
        let (mut reader, mut sequence) = (upstream.reader(), Sequence::default());
        let mut writer = OpenAiChat.writer(&asked);
        let (mut read, mut ordered, mut out) = (Vec::new(), Vec::new(), Vec::new());
        group.bench_function(format!("{name}/chunk"), |bencher| {
            bencher.iter(|| {
                let frame = Frame { event: None, data: black_box(chunk.as_bytes()) };
                reader.frame(&frame, &mut read).expect("the chunk is sound");
                read.drain(..).for_each(|chunk| sequence.push(chunk, &mut ordered));
                ordered.drain(..).for_each(|chunk| writer.chunk(&chunk, &mut out));
                out.clear();
            });
        });
    }
}

criterion_group!(benches, requests, replies, streams, chat, translations);
criterion_main!(benches);
