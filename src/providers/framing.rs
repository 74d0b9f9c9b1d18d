//! Streams cut into frames, whatever they are framed by.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::bedrock::event_stream::{EventMessage, EventStreamReader};
use super::sse::{EVENT_MAX, SseEvent, SseItem, SseReader};

/// How an upstream frames its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// One JSON text per line.
    Lines,
    /// AWS's binary messages; exceptions come out as [`EventMessage`] says.
    EventStream,
}

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The event's name, where it has one.
    pub event: Option<&'a [u8]>,
    pub data: &'a [u8],
}

/// A stream's frame, owning its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    Event(SseEvent),
    Line(Bytes),
    Message(EventMessage),
}

impl Framed {
    /// Returns the frame.
    pub fn frame(&self) -> Frame<'_> {
        match self {
            Self::Event(event) => Frame { event: event.name(), data: event.data() },
            Self::Line(line) => Frame { event: None, data: line },
            Self::Message(message) => Frame { event: Some(message.name()), data: message.data() },
        }
    }
}

/// Reads frames; feed it, then take frames until there are none.
#[derive(Debug)]
pub enum Framer {
    Sse(SseReader),
    /// What has come of a line, and how far it has been searched for its end.
    Lines(BytesMut, usize),
    EventStream(EventStreamReader),
}

impl Framer {
    /// Starts at the beginning of a body.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Sse => Self::Sse(SseReader::new()),
            Framing::Lines => Self::Lines(BytesMut::new(), 0),
            Framing::EventStream => Self::EventStream(EventStreamReader::default()),
        }
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, piece: Bytes) {
        match self {
            Self::Sse(reader) => reader.feed(piece),
            Self::Lines(gathered, _) => gathered.extend_from_slice(&piece),
            Self::EventStream(reader) => reader.feed(&piece),
        }
    }

    /// Returns the next frame that is complete, or why the stream cannot be read on.
    pub fn next_frame(&mut self) -> Option<Result<Framed, String>> {
        match self {
            Self::Sse(reader) => loop {
                match reader.next_event()? {
                    Ok(SseItem::Comment) => {}
                    Ok(SseItem::Event(event)) => return Some(Ok(Framed::Event(event))),
                    Err(error) => return Some(Err(error.to_string())),
                }
            },
            Self::Lines(gathered, searched) => loop {
                let Some(end) = memchr(b'\n', &gathered[*searched..]).map(|end| *searched + end) else {
                    *searched = gathered.len();
                    let too_large = gathered.len() > EVENT_MAX;
                    return too_large.then(|| Err("a line is larger than 4 MiB".into()));
                };
                *searched = 0;
                let line = gathered.split_to(end).freeze();
                gathered.advance(1);
                if !line.trim_ascii().is_empty() {
                    return Some(Ok(Framed::Line(line)));
                }
            },
            Self::EventStream(reader) => Some(reader.next_message()?.map(Framed::Message)),
        }
    }

    /// Returns what is left at the end of the body: a last frame without its end.
    pub fn finish(&mut self) -> Option<Result<Framed, String>> {
        match self {
            Self::Sse(reader) => match reader.finish()? {
                Ok(SseItem::Comment) => None,
                Ok(SseItem::Event(event)) => Some(Ok(Framed::Event(event))),
                Err(error) => Some(Err(error.to_string())),
            },
            Self::Lines(gathered, _) => {
                let line = std::mem::take(gathered).freeze();
                (!line.trim_ascii().is_empty()).then_some(Ok(Framed::Line(line)))
            }
            Self::EventStream(reader) => Some(reader.finish()?.map(Framed::Message)),
        }
    }
}
