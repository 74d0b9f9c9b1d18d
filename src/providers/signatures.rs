//! What is remembered of thinking, because clients lose it: the signature of each call by the call's id, and by each
//! signature the model that made it.
//!
//! Bounded by count, bytes and time; the oldest goes first. Plain data behind a lock per shard, held for a look-up only; the
//! time comes in from outside. What is forgotten costs quality, never a request.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::schema::chat::{ChatReply, ChatRequest, Chunk, Content, Dialect, Part, Thinking};

/// How long something is remembered: as long as somebody may come back to a conversation on the same day.
pub const TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Most entries, both kinds together.
pub const CAPACITY: usize = 65_536;
/// Most bytes of what is remembered, without the keys (16 bytes each) and what the tables take.
pub const BYTES_MAX: usize = 32 * 1024 * 1024;

const SHARDS: usize = 16;

/// The memory, one for the process.
#[derive(Debug)]
pub struct Signatures {
    shards: [Mutex<Shard>; SHARDS],
}

/// A hash: ids and signatures may be long, and differ per vendor.
type Key = [u8; 16];

/// One part of the memory.
#[derive(Debug)]
struct Shard {
    entries: HashMap<Key, Entry>,
    /// Oldest first; an entry told anew stands in it more than once, and only its last place counts.
    order: VecDeque<(Key, u64)>,
    serial: u64,
    bytes: usize,
    capacity: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    value: Arc<str>,
    serial: u64,
    until: Instant,
}

/// What a key stands for, so that an id never finds what a signature left.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Call,
    Maker,
}

impl Default for Signatures {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(Shard::new(CAPACITY / SHARDS, BYTES_MAX / SHARDS))) }
    }
}

impl Signatures {
    /// Remembers the signature that came with a call.
    pub fn remember(&self, call_id: &str, signature: &str, now: Instant) {
        self.put(Kind::Call, call_id, signature, now);
    }

    /// Returns the signature that came with a call.
    pub fn recall(&self, call_id: &str, now: Instant) -> Option<Arc<str>> {
        self.get(Kind::Call, call_id, now)
    }

    /// Remembers which model made a signature or an encrypted thought.
    pub fn remember_maker(&self, signature: &str, model: &str, now: Instant) {
        self.put(Kind::Maker, signature, model, now);
    }

    /// Returns which model made a signature or an encrypted thought.
    pub fn maker(&self, signature: &str, now: Instant) -> Option<Arc<str>> {
        self.get(Kind::Maker, signature, now)
    }

    fn put(&self, kind: Kind, name: &str, value: &str, now: Instant) {
        if name.is_empty() || value.is_empty() {
            return;
        }
        let key = key(kind, name);
        self.shard(key).put(key, value, now);
    }

    fn get(&self, kind: Kind, name: &str, now: Instant) -> Option<Arc<str>> {
        let key = key(kind, name);
        self.shard(key).get(key, now)
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        // Whoever panicked with the lock left at worst an entry too many.
        self.shards[usize::from(key[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(kind: Kind, name: &str) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind as u8]);
    hasher.update(name.as_bytes());
    let mut key = Key::default();
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}

impl Shard {
    fn new(capacity: usize, bytes_max: usize) -> Self {
        let (entries, order) = Default::default();
        Self { entries, order, serial: 0, bytes: 0, capacity, bytes_max }
    }

    fn put(&mut self, key: Key, value: &str, now: Instant) {
        if value.len() > self.bytes_max {
            return;
        }
        self.serial += 1;
        let entry = Entry { value: value.into(), serial: self.serial, until: now + TTL };
        self.bytes += value.len();
        if let Some(before) = self.entries.insert(key, entry) {
            self.bytes -= before.value.len();
        }
        self.order.push_back((key, self.serial));
        self.evict(now);
    }

    fn get(&self, key: Key, now: Instant) -> Option<Arc<str>> {
        self.entries.get(&key).filter(|entry| entry.until > now).map(|entry| entry.value.clone())
    }

    /// Forgets the oldest until all bounds hold, and what is past its time.
    fn evict(&mut self, now: Instant) {
        while let Some((key, serial)) = self.order.front().copied() {
            let live = self.entries.get(&key).filter(|entry| entry.serial == serial);
            let full = self.entries.len() > self.capacity || self.bytes > self.bytes_max;
            match live {
                Some(entry) if entry.until > now && !full => {
                    // Repeats behind a live entry are bounded, too.
                    if self.order.len() <= 2 * self.capacity {
                        return;
                    }
                    self.order.retain(|(key, serial)| self.entries.get(key).is_some_and(|e| e.serial == *serial));
                    return;
                }
                Some(entry) => {
                    self.bytes -= entry.value.len();
                    self.entries.remove(&key);
                }
                None => {}
            }
            self.order.pop_front();
        }
    }
}

/// Remembers what a chunk of `model`'s reply carries.
pub fn note_chunk(chunk: &Chunk, model: &str, signatures: &Signatures, now: Instant) {
    match chunk {
        Chunk::ToolCall { id, signature: Some(signature), .. } => {
            signatures.remember(id, signature, now);
            signatures.remember_maker(signature, model, now);
        }
        Chunk::ThinkingEnd { signature, encrypted, .. } => {
            for made in [signature, encrypted].into_iter().flatten() {
                signatures.remember_maker(made, model, now);
            }
        }
        _ => {}
    }
}

/// Remembers what `model`'s whole reply carries.
pub fn note_reply(reply: &ChatReply, model: &str, signatures: &Signatures, now: Instant) {
    for part in reply.choices.iter().flat_map(|choice| &choice.parts) {
        match &part.content {
            Content::ToolCall(call) => {
                if let Some(signature) = &call.signature {
                    signatures.remember(&call.id, signature, now);
                    signatures.remember_maker(signature, model, now);
                }
            }
            Content::Thinking(thinking) => {
                for made in [&thinking.signature, &thinking.encrypted].into_iter().flatten() {
                    signatures.remember_maker(made, model, now);
                }
            }
            _ => {}
        }
    }
}

/// Gives the calls of the history back the signatures that the client lost.
pub fn fill(request: &mut ChatRequest, signatures: &Signatures, now: Instant) {
    for part in request.messages.iter_mut().flat_map(|message| &mut message.parts) {
        if let Content::ToolCall(call) = &mut part.content
            && call.signature.is_none()
        {
            call.signature = signatures.recall(&call.id, now).map(|signature| signature.as_ref().to_owned());
        }
    }
}

/// Takes out what `model`, spoken to in `target`, would refuse: thinking and signatures of other models. Whose it is nobody
/// remembers goes by its vendor. Thoughts in plain text stay.
pub fn strip_foreign(request: &mut ChatRequest, target: Dialect, model: &str, signatures: &Signatures, now: Instant) {
    let is_own = |made: &str, vendor: Option<Dialect>| match signatures.maker(made, now) {
        Some(maker) => maker.as_ref() == model,
        None => vendor == Some(target),
    };
    retain(request, is_own);
}

/// Takes out every signature, and every thought that has one: for an upstream that refused them.
pub fn strip(request: &mut ChatRequest) {
    retain(request, |_, _| false);
}

fn retain(request: &mut ChatRequest, is_own: impl Fn(&str, Option<Dialect>) -> bool) {
    let keeps = |thinking: &Thinking| {
        let mut proofs = [&thinking.signature, &thinking.encrypted].into_iter().flatten();
        proofs.all(|made| is_own(made, thinking.vendor))
    };
    for message in &mut request.messages {
        let had_parts = !message.parts.is_empty();
        message.parts.retain(|part| !matches!(&part.content, Content::Thinking(thinking) if !keeps(thinking)));
        for part in &mut message.parts {
            if let Part { content: Content::ToolCall(call), .. } = part
                && call.signature.as_deref().is_some_and(|made| !is_own(made, Some(Dialect::Gemini)))
            {
                call.signature = None;
            }
        }
        if had_parts && message.parts.is_empty() {
            // An assistant's message of nothing but thoughts; dialects that refuse empty ones skip an empty text.
            message.parts.push(Part::text(""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::chat::{Choice, Message, Role, ToolCall};

    fn thinking(signature: Option<&str>, vendor: Option<Dialect>) -> Part {
        let signature = signature.map(str::to_owned);
        Part::new(Content::Thinking(Thinking { text: "t".into(), signature, vendor, ..Thinking::default() }))
    }

    fn call(signature: Option<&str>) -> Part {
        let signature = signature.map(str::to_owned);
        Part::new(Content::ToolCall(ToolCall { id: "c".into(), name: "f".into(), signature, ..ToolCall::default() }))
    }

    fn request(parts: Vec<Part>) -> ChatRequest {
        ChatRequest { messages: vec![Message::new(Role::Assistant, parts)], ..ChatRequest::default() }
    }

    #[test]
    fn a_lost_signature_is_given_back_until_its_time_is_over() {
        let (signatures, now) = (Signatures::default(), Instant::now());
        let choices = vec![Choice { parts: vec![call(Some("s"))], ..Choice::default() }];
        note_reply(&ChatReply { choices, ..ChatReply::default() }, "m", &signatures, now);

        let mut early = request(vec![call(None)]);
        fill(&mut early, &signatures, now);
        let mut late = request(vec![call(None)]);
        fill(&mut late, &signatures, now + TTL);

        assert_eq!(early.messages[0].parts, [call(Some("s"))]);
        assert_eq!(late.messages[0].parts, [call(None)]);
    }

    #[test]
    fn thinking_goes_only_to_the_model_that_made_it() {
        let (signatures, now) = (Signatures::default(), Instant::now());
        let end = |signature: &str| Chunk::ThinkingEnd {
            choice: 0,
            signature: Some(signature.into()),
            encrypted: None,
            vendor: Some(Dialect::Anthropic),
            id: None,
        };
        note_chunk(&end("mine"), "claude-a", &signatures, now);
        note_chunk(&end("other"), "claude-b", &signatures, now);
        let anthropic = Some(Dialect::Anthropic);
        let parts = vec![
            thinking(Some("mine"), anthropic),
            thinking(Some("other"), anthropic),
            thinking(Some("forgotten"), anthropic),
            thinking(Some("foreign"), Some(Dialect::Gemini)),
            thinking(None, None),
            call(Some("unknown")),
        ];

        let mut claude = request(parts.clone());
        strip_foreign(&mut claude, Dialect::Anthropic, "claude-a", &signatures, now);
        let mut gemini = request(parts);
        strip_foreign(&mut gemini, Dialect::Gemini, "gemini-3", &signatures, now);

        let kept = [
            thinking(Some("mine"), anthropic),
            thinking(Some("forgotten"), anthropic),
            thinking(None, None),
            call(None),
        ];
        assert_eq!(claude.messages[0].parts, kept);
        let kept = [thinking(Some("foreign"), Some(Dialect::Gemini)), thinking(None, None), call(Some("unknown"))];
        assert_eq!(gemini.messages[0].parts, kept);
    }

    #[test]
    fn the_oldest_is_forgotten_when_a_bound_is_reached() {
        let now = Instant::now();
        let mut shard = Shard::new(2, 10);
        let key = |number: u8| [number; 16];

        shard.put(key(1), "a", now);
        shard.put(key(2), "b", now);
        shard.put(key(1), "again", now);
        shard.put(key(3), "c", now);

        let known: Vec<bool> = (1..4).map(|number| shard.get(key(number), now).is_some()).collect();
        assert_eq!(known, [true, false, true]);
        shard.put(key(4), "0123456789", now);
        assert_eq!((shard.entries.len(), shard.bytes), (1, 10));
        shard.put(key(5), "too long by far", now);
        assert!(shard.get(key(5), now).is_none());
    }

    #[test]
    fn telling_the_same_again_and_again_takes_no_more_room() {
        let now = Instant::now();
        let mut shard = Shard::new(4, 100);
        let key = |number: u8| [number; 16];

        shard.put(key(0), "first", now);
        for _ in 0..1_000 {
            shard.put(key(1), "same", now);
        }

        assert!(shard.order.len() <= 9, "{}", shard.order.len());
        assert_eq!((shard.entries.len(), shard.bytes), (2, 9));
    }

    #[test]
    fn what_is_past_its_time_makes_room() {
        let now = Instant::now();
        let mut shard = Shard::new(4, 100);

        shard.put([1; 16], "old", now);
        shard.put([2; 16], "new", now + TTL);

        assert_eq!(shard.entries.len(), 1);
    }
}
