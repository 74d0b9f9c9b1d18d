//! Recorded replies and streams, decoded for a client of another dialect: nothing fails, and usage is right.

use bursar::providers::chat::{Compatible, OpenAiChat, row};
use bursar::providers::dialect::{ClientDialect, Step, UpstreamDialect};
use bursar::providers::framing::{Framer, Framing};
use bursar::providers::sequence::Sequence;
use bursar::schema::chat::{Accumulator, ChatReply, ChatRequest};
use bytes::Bytes;

/// Decodes a whole reply and a reply written from it; returns what is wrong.
pub fn whole(provider: &str, body: &str) -> Result<(), String> {
    let upstream = upstream(provider);
    if upstream.is_error(body.as_bytes()) {
        return Ok(());
    }
    let reply = upstream.decode(body.as_bytes()).map_err(|nonsense| nonsense.to_string())?;
    let written = OpenAiChat.write(&reply, &ChatRequest::default());
    let again = upstream.decode(&written).map_err(|nonsense| format!("not even when written: {nonsense}"))?;
    if again.usage != reply.usage || again.choices.len() != reply.choices.len() {
        return Err(format!("it changed on the way: {again:?}"));
    }
    sound(&reply)
}

/// Decodes a stream, up to its error if it has one; returns what is wrong.
pub fn stream(provider: &str, body: &str) -> Result<(), String> {
    let (mut framer, mut reader) = (Framer::new(Framing::Sse), upstream(provider).reader());
    let (mut chunks, mut ordered, mut accumulator) = (Vec::new(), Vec::new(), Accumulator::default());
    framer.feed(Bytes::from(body.to_owned()));
    let frames = std::iter::from_fn(|| framer.next_frame()).collect::<Vec<_>>().into_iter().chain(framer.finish());
    let mut done = false;
    for framed in frames {
        match reader.frame(&framed?.frame(), &mut chunks).map_err(|nonsense| nonsense.to_string())? {
            Step::Error => return Ok(()),
            Step::More => {}
            Step::Done => done = true,
        }
    }
    if !done && !reader.is_complete() {
        return Err("read as truncated".to_owned());
    }
    let mut sequence = Sequence::default();
    chunks.into_iter().for_each(|chunk| sequence.push(chunk, &mut ordered));
    sequence.finish(&mut ordered);
    ordered.iter().for_each(|chunk| accumulator.push(chunk));
    let reply = accumulator.finish();
    if body.contains("\"usage\":{") { sound(&reply) } else { Ok(()) }
}

fn upstream(provider: &str) -> Compatible {
    Compatible { row: row(provider).or_else(|| row("openai_compatible")).expect("there is always the plain row") }
}

fn sound(reply: &ChatReply) -> Result<(), String> {
    if reply.choices.iter().any(|choice| choice.parts.is_empty() || choice.finish.is_none()) {
        return Err(format!("a choice is empty: {reply:?}"));
    }
    match reply.usage {
        Some(usage) if usage.prompt > 0 && usage.completion > 0 && !usage.suspect => Ok(()),
        usage => Err(format!("usage is {usage:?}")),
    }
}
